//! Finds the elements of EXEC's reply.

use crate::resp::{ReplyError, ReplyScanner, Scan};

/// Finds the elements of EXEC's reply, in whatever pieces it arrives.
#[derive(Debug, Default)]
pub(crate) struct ExecScanner {
    /// The header with the number of elements was read, or there is none.
    begun: bool,
    /// The reply is no array: an error, or null.
    whole: bool,
    scanner: ReplyScanner,
    element: u32,
}

/// What a part of the reply contains.
pub(crate) struct Step {
    /// Its length in bytes, at least one.
    pub(crate) len: usize,
    /// The element that the bytes belong to, if any.
    pub(crate) element: Option<u32>,
    /// The type of the element that ends with these bytes.
    pub(crate) ended: Option<u8>,
    /// The element is an error.
    pub(crate) error: bool,
    /// The bytes belong to a push between elements: whether they start it, and whether they end it.
    pub(crate) push: Option<(bool, bool)>,
}

impl Step {
    /// Bytes that belong to no element.
    fn outside(len: usize) -> Self {
        Self {
            len,
            element: None,
            ended: None,
            error: false,
            push: None,
        }
    }
}

impl ExecScanner {
    /// The number of complete elements.
    pub(crate) fn ended(&self) -> u32 {
        if self.begun { self.element } else { 0 }
    }

    pub(crate) fn step(&mut self, part: &[u8]) -> Result<Step, ReplyError> {
        if !self.begun {
            self.whole |= self.element == 0 && !part.starts_with(b"*");
            let end = part.iter().position(|byte| *byte == b'\n');
            self.begun = end.is_some();
            // So that the type is inspected only once.
            self.element = u32::from(!self.begun && !self.whole);
            return Ok(Step::outside(end.map_or(part.len(), |end| end + 1)));
        }
        if self.whole {
            return Ok(Step::outside(part.len()));
        }
        let at_start = self.scanner.at_start();
        let (len, whole) = match self.scanner.scan(part)? {
            Scan::Complete { len } => (len, true),
            Scan::Partial => (part.len(), false),
        };
        // A push between the elements is not an element.
        let push = if at_start {
            part.first() == Some(&b'>')
        } else {
            self.scanner.is_push()
        };
        let element = (!push).then_some(self.element);
        let ended = (whole && !push).then(|| self.scanner.kind());
        self.element += u32::from(ended.is_some());
        Ok(Step {
            len,
            element,
            ended,
            error: matches!(self.scanner.kind(), b'-' | b'!'),
            push: push.then_some((at_start, whole)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(reply: &[u8], piece: usize) -> (Vec<(u32, Vec<u8>)>, Vec<u8>) {
        let (mut scanner, mut found, mut kinds) = (ExecScanner::default(), Vec::new(), Vec::new());
        for mut part in reply.chunks(piece) {
            while !part.is_empty() {
                let step = scanner.step(part).unwrap();
                let (now, later) = part.split_at(step.len);
                if let Some(element) = step.element {
                    match found.last_mut() {
                        Some((last, bytes)) if *last == element => Vec::extend(bytes, now),
                        _ => found.push((element, now.to_vec())),
                    }
                }
                kinds.extend(step.ended);
                part = later;
            }
        }
        (found, kinds)
    }

    #[test]
    fn elements_are_found_whatever_the_pieces() {
        let reply =
            b"*4\r\n+OK\r\n*2\r\n:1\r\n:2\r\n>2\r\n+message\r\n+x\r\n-ERR no\r\n$3\r\nabc\r\n";
        for piece in 1..=reply.len() {
            let (found, kinds) = elements(reply, piece);
            let texts: Vec<&[u8]> = found.iter().map(|(_, bytes)| bytes.as_slice()).collect();
            assert_eq!(
                texts,
                [
                    &b"+OK\r\n"[..],
                    b"*2\r\n:1\r\n:2\r\n",
                    b"-ERR no\r\n",
                    b"$3\r\nabc\r\n"
                ]
            );
            assert_eq!(kinds, b"+*-$");
        }
        for reply in [&b"*-1\r\n"[..], b"_\r\n", b"-EXECABORT no\r\n", b"*0\r\n"] {
            for piece in 1..=reply.len() {
                assert_eq!(elements(reply, piece).0, []);
            }
        }
    }
}
