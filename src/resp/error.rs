//! Why bytes were refused, sorted by who sent them.
//!
//! A [`ProtocolError`] is the client's: it is told why and its connection is closed. A
//! [`ReplyError`] is the backend's: nobody knows any longer where its replies end, so that
//! connection is given up and the text goes to the log.

use std::fmt;

/// What is wrong with a request. The client gets the text as its last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The line after `*` does not end.
    MultibulkHeaderTooLong,
    /// The number after `*` is none, or too big.
    InvalidMultibulkLength,
    /// More arguments than a client may send before it has logged in.
    UnauthenticatedMultibulkLength,
    /// An argument begins with this byte instead of `$`.
    ExpectedDollar(u8),
    /// The line after `$` does not end.
    BulkHeaderTooLong,
    /// The number after `$` is none, negative, or too big.
    InvalidBulkLength,
    /// A longer argument than a client may send before it has logged in.
    UnauthenticatedBulkLength,
    /// A length or an argument is not followed by CRLF. Redis does not look; a proxy has to, since
    /// the next server might read the bytes in another way.
    ExpectedCrlf,
    /// All arguments together are longer than a request may be.
    RequestTooBig,
    /// An inline line does not end.
    InlineTooBig,
    /// The quotes of an inline line do not match, or something is glued to a closing one.
    UnbalancedQuotes,
    /// A zero byte in an inline line, behind which Redis never finds the end of the line.
    InlineZeroByte,
}

impl ProtocolError {
    /// The text for the client, `ERR Protocol error: …`: an error reply without its `-` and CRLF.
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

/// Why a backend's bytes cannot be trusted any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A value begins with a byte that is no type of RESP2 or RESP3.
    UnknownType(u8),
    /// A value of unknown length, which RESP3 describes and no server sends.
    Streamed,
    /// A length or count is not a plain decimal number.
    InvalidLength,
    /// A string longer than [`BULK_BYTES_MAX`](super::reply::BULK_BYTES_MAX).
    BulkTooLong,
    /// More elements than [`ELEMENTS_MAX`](super::reply::ELEMENTS_MAX) in one aggregate, or more
    /// than [`PENDING_MAX`](super::reply::PENDING_MAX) outstanding in the whole reply.
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

/// One byte for human eyes, in one line: CR and LF as a space like Redis does, other
/// unprintable ones in hex.
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
    fn texts_are_those_of_redis() {
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
    fn texts_fit_in_one_line() {
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
