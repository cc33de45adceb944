//! Reads RESP values: the counterpart of [`write`](super::write), for the few replies that the
//! proxy interprets.
//!
//! A function takes one whole value. It returns `None` for a value of another type, for an
//! incomplete value, and when bytes follow the value.

use super::length::read_length;
use super::number::parse_i64;
use super::reply::{ReplyScanner, Scan};

/// The number of `:number`.
pub fn integer(value: &[u8]) -> Option<i64> {
    parse_i64(line(value, b':')?)
}

/// The bytes of a bulk string, or of a verbatim string without its format. `None` for null.
pub fn string(value: &[u8]) -> Option<&[u8]> {
    match value.first()? {
        b'$' => counted(value),
        b'=' => counted(value)?.get(4..),
        _ => None,
    }
}

/// The text of an error, which begins with its code, as in `ERR syntax error`.
pub fn error(value: &[u8]) -> Option<&[u8]> {
    match value.first()? {
        b'-' => line(value, b'-'),
        b'!' => counted(value),
        _ => None,
    }
}

/// Whether the value is null.
pub fn is_null(value: &[u8]) -> bool {
    matches!(value, b"$-1\r\n" | b"_\r\n" | b"*-1\r\n")
}

/// Whether the bytes are exactly one value.
pub fn is_complete(value: &[u8]) -> bool {
    let end = ReplyScanner::default().scan(value);
    end == Ok(Scan::Complete { len: value.len() })
}

/// What a value of one line has behind its type.
fn line(value: &[u8], kind: u8) -> Option<&[u8]> {
    let (first, rest) = value.split_first()?;
    let text = rest.strip_suffix(b"\r\n")?;
    let ends = text.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
    (*first == kind && !ends).then_some(text)
}

/// The bytes of a value with a length in bytes.
fn counted(value: &[u8]) -> Option<&[u8]> {
    let header = read_length(value, usize::MAX).ok()??;
    let bytes = value.get(header.line_bytes..)?.strip_suffix(b"\r\n")?;
    (usize::try_from(header.value) == Ok(bytes.len())).then_some(bytes)
}

/// An iterator over the encoded elements of an array, a set, a map or a push. The elements of a map
/// are its keys and values in turn.
///
/// It ends early at bytes that are not a value.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: u64,
}

impl<'a> Elements<'a> {
    /// The elements of `value`. `None` when it is null or no aggregate.
    pub fn new(value: &'a [u8]) -> Option<Self> {
        let per_count = match value.first()? {
            b'*' | b'~' | b'>' => 1,
            b'%' => 2,
            _ => return None,
        };
        let header = read_length(value, usize::MAX).ok()??;
        Some(Self {
            rest: value.get(header.line_bytes..)?,
            left: u64::try_from(header.value).ok()?.checked_mul(per_count)?,
        })
    }

    /// The encoded elements that `next` has not returned, and any bytes behind the last one.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all elements have been returned, and nothing follows them.
    pub fn is_exhausted(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let Ok(Scan::Complete { len }) = ReplyScanner::default().scan(self.rest) else {
            return None;
        };
        let (element, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.left -= 1;
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_whole() {
        assert_eq!(integer(b":-12\r\n"), Some(-12));
        assert_eq!(string(b"$3\r\na\r\n\r\n"), Some(b"a\r\n".as_slice()));
        assert_eq!(string(b"=6\r\ntxt:hi\r\n"), Some(b"hi".as_slice()));
        assert_eq!(error(b"-ERR no\r\n"), Some(b"ERR no".as_slice()));
        assert_eq!(error(b"!6\r\nERR no\r\n"), Some(b"ERR no".as_slice()));
        assert!(is_null(b"_\r\n") && is_null(b"$-1\r\n") && !is_null(b"$0\r\n\r\n"));
        assert!(is_complete(b"*1\r\n:1\r\n") && !is_complete(b"*1\r\n"));
    }

    #[test]
    fn other_bytes_are_no_value() {
        let bytes: [&[u8]; 13] = [
            b"",
            b":",
            b":\r\n",
            b":1",
            b":1\r\n:2\r\n",
            b":01\r\n",
            b"$-1\r\n",
            b"$3\r\nab\r\n",
            b"$1\r\nab\r\n",
            b"$9223372036854775807\r\na\r\n",
            b"=1\r\na\r\n",
            b"-a\nb\r\n",
            b"!9\r\nERR\r\n",
        ];
        for value in bytes {
            let read = (integer(value), string(value), error(value));
            assert_eq!(read, (None, None, None), "{:?}", value.escape_ascii());
        }
    }

    #[test]
    fn elements_are_whole_values() {
        let mut elements = Elements::new(b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n_\r\n").unwrap();
        assert_eq!(elements.next(), Some(b"$1\r\na\r\n".as_slice()));
        assert_eq!(elements.rest(), b"*2\r\n:1\r\n*0\r\n_\r\n");
        assert_eq!(elements.next(), Some(b"*2\r\n:1\r\n*0\r\n".as_slice()));
        assert!(!elements.is_exhausted());
        assert_eq!(elements.next(), Some(b"_\r\n".as_slice()));
        assert!(elements.is_exhausted() && elements.next().is_none());
        assert_eq!(Elements::new(b"%1\r\n:1\r\n:2\r\n").unwrap().count(), 2);
    }

    #[test]
    fn elements_end_at_bytes_that_are_no_value() {
        for value in [
            "*2\r\n:1\r\n",
            "*2\r\n:1\r\nx\r\n",
            "*2\r\n:1\r\n$5\r\nab\r\n",
        ] {
            let mut elements = Elements::new(value.as_bytes()).unwrap();
            assert_eq!(elements.by_ref().count(), 1, "{value}");
            assert!(!elements.is_exhausted(), "{value}");
        }
        for value in [
            "",
            "*",
            "*-1\r\n",
            "*x\r\n",
            ":1\r\n",
            "%9223372036854775807\r\n",
        ] {
            let elements = Elements::new(value.as_bytes());
            assert!(elements.is_none_or(|it| it.count() == 0), "{value}");
        }
        let behind = Elements::new(b"*1\r\n:1\r\n:2\r\n").map(|mut it| {
            it.next();
            it.is_exhausted()
        });
        assert_eq!(behind, Some(false));
    }
}
