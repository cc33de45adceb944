//! Iterates over the arguments of a request.
//!
//! The iterator borrows a frame that the decoder has found complete. On any other bytes it ends
//! without a panic.

use std::iter::FusedIterator;

use super::length::read_length;

/// An iterator over the arguments of a complete request. The first argument is the name of the
/// command.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    /// Starts with the `$` of the next argument.
    rest: &'a [u8],
    left: usize,
}

impl<'a> Args<'a> {
    /// The arguments of `frame`, a complete request that
    /// [`RequestDecoder`](super::RequestDecoder) has returned as [`Step::Array`](super::Step).
    #[inline]
    pub fn new(frame: &'a [u8]) -> Self {
        let header = match read_length(frame, usize::MAX) {
            Ok(Some(header)) if frame.first() == Some(&b'*') => header,
            _ => return Self { rest: &[], left: 0 },
        };
        Self {
            rest: frame.get(header.line_bytes..).unwrap_or_default(),
            left: usize::try_from(header.value).unwrap_or(0),
        }
    }

    /// The encoded arguments that `next` has not returned.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn split_first(&self) -> Option<(&'a [u8], &'a [u8])> {
        let Ok(Some(header)) = read_length(self.rest, usize::MAX) else {
            return None;
        };
        let bytes = usize::try_from(header.value).ok()?;
        let (arg, rest) = self
            .rest
            .get(header.line_bytes..)?
            .split_at_checked(bytes)?;
        Some((arg, rest.get(2..)?))
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        match self.split_first() {
            Some((arg, rest)) => {
                self.rest = rest;
                self.left -= 1;
                Some(arg)
            }
            None => {
                self.left = 0;
                None
            }
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Args<'_> {}

impl FusedIterator for Args<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_returned_in_order() {
        let mut args = Args::new(b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\n$1\r\nx\r\n$1\r\ny\r\n");
        assert_eq!(args.len(), 3);
        assert_eq!(args.next(), Some(b"SET".as_slice()));
        let rest = args.clone();
        assert_eq!(rest.rest(), b"$0\r\n\r\n$12\r\n$1\r\nx\r\n$1\r\ny\r\n");
        assert_eq!(args.next(), Some(b"".as_slice()));
        assert_eq!(args.len(), 1);
        assert_eq!(args.next(), Some(b"$1\r\nx\r\n$1\r\ny".as_slice()));
        assert_eq!((args.len(), args.next()), (0, None));
        assert_eq!((args.rest(), rest.count()), (b"".as_slice(), 2));
    }

    #[test]
    fn iterator_ends_on_invalid_bytes() {
        let garbage: [&[u8]; 9] = [
            b"",
            b"*",
            b"*x\r\n",
            b"PING\r\n",
            b"*-1\r\n",
            b"*2\r\n",
            b"*9223372036854775807\r\n$",
            b"*1\r\n$9223372036854775807\r\nx",
            b"*1\r\n$-1\r\n",
        ];
        for frame in garbage {
            assert_eq!(Args::new(frame).next(), None);
        }
    }
}
