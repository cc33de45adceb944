//! The errors of the decoders.
//!
//! A client gets the text of a [`ProtocolError`], and its connection is closed. After a
//! [`ReplyError`] the ends of a backend's replies are unknown, so its connection is closed and the
//! text is logged.

use std::fmt;

/// An error in a request. The client gets the text as its last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The line after `*` is too long.
    MultibulkHeaderTooLong,
    /// The text after `*` is not a number, or the number is too large.
    InvalidMultibulkLength,
    /// The request has more arguments than a client may send before its login.
    UnauthenticatedMultibulkLength,
    /// An argument begins with this byte instead of `$`.
    ExpectedDollar(u8),
    /// The line after `$` is too long.
    BulkHeaderTooLong,
    /// The text after `$` is not a number, or the number is negative or too large.
    InvalidBulkLength,
    /// An argument is longer than a client may send before its login.
    UnauthenticatedBulkLength,
    /// A length or an argument is not followed by CRLF. Redis does not check this. The proxy must,
    /// because the server could read other requests from the same bytes.
    ExpectedCrlf,
    /// All arguments together exceed the size of a request.
    RequestTooBig,
    /// An inline line is too long.
    InlineTooBig,
    /// A quote of an inline line is not closed, or a closing quote is not followed by a space.
    UnbalancedQuotes,
    /// An inline line has a zero byte. Redis does not find the end of such a line.
    InlineZeroByte,
}

impl ProtocolError {
    /// The text for the client, `ERR Protocol error: …`, without the leading `-` and CRLF.
    pub fn text(&self) -> impl fmt::Display + use<> {
        *self
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ERR Protocol error: ")?;
        f.write_str(match *self {
            Self::MultibulkHeaderTooLong => "too big mbulk count string",
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::ExpectedDollar(got) => return write!(f, "expected '$', got '{}'", Shown(got)),
            Self::BulkHeaderTooLong => "too big bulk count string",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::ExpectedCrlf => "invalid CRLF in request",
            Self::RequestTooBig => "too big request",
            Self::InlineTooBig => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::InlineZeroByte => "zero byte in inline request",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// An error in a reply. The following bytes of the connection cannot be interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A value begins with a byte that is not a type of RESP2 or RESP3.
    UnknownType(u8),
    /// A value has an unknown length. RESP3 describes such values; no server sends them.
    Streamed,
    /// A length or count is not a plain decimal number.
    InvalidLength,
    /// A string is longer than [`BULK_BYTES_MAX`](super::reply::BULK_BYTES_MAX).
    BulkTooLong,
    /// An aggregate has more than [`ELEMENTS_MAX`](super::reply::ELEMENTS_MAX) elements, or more
    /// than [`PENDING_MAX`](super::reply::PENDING_MAX) elements of the reply are outstanding.
    TooManyElements,
    /// A line or a string is not followed by CRLF.
    ExpectedCrlf,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::UnknownType(got) => return write!(f, "unknown reply type '{}'", Shown(got)),
            Self::Streamed => "streamed reply types are not supported",
            Self::InvalidLength => "invalid length in reply",
            Self::BulkTooLong => "too long string in reply",
            Self::TooManyElements => "too many elements in reply",
            Self::ExpectedCrlf => "expected CRLF in reply",
        })
    }
}

impl std::error::Error for ReplyError {}

/// Displays one byte in one line: CR and LF as a space, as Redis does, and other unprintable bytes
/// in hexadecimal.
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\r' | b'\n' => f.write_str(" "),
            byte @ b' '..=b'~' => write!(f, "{}", char::from(byte)),
            byte => write!(f, "\\x{byte:02x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_are_those_of_redis() {
        let cases = [
            (
                ProtocolError::MultibulkHeaderTooLong,
                "too big mbulk count string",
            ),
            (
                ProtocolError::InvalidMultibulkLength,
                "invalid multibulk length",
            ),
            (
                ProtocolError::UnauthenticatedMultibulkLength,
                "unauthenticated multibulk length",
            ),
            (ProtocolError::ExpectedDollar(b'f'), "expected '$', got 'f'"),
            (
                ProtocolError::ExpectedDollar(b'\r'),
                "expected '$', got ' '",
            ),
            (
                ProtocolError::BulkHeaderTooLong,
                "too big bulk count string",
            ),
            (ProtocolError::InvalidBulkLength, "invalid bulk length"),
            (
                ProtocolError::UnauthenticatedBulkLength,
                "unauthenticated bulk length",
            ),
            (ProtocolError::InlineTooBig, "too big inline request"),
            (
                ProtocolError::UnbalancedQuotes,
                "unbalanced quotes in request",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(
                error.text().to_string(),
                format!("ERR Protocol error: {text}")
            );
        }
    }

    #[test]
    fn error_texts_are_one_printable_line() {
        for byte in 0..=u8::MAX {
            for text in [
                ProtocolError::ExpectedDollar(byte).text().to_string(),
                ReplyError::UnknownType(byte).to_string(),
            ] {
                assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text:?}");
            }
        }
    }
}
