//! Finds the end of a client's request.
//!
//! The decoder keeps its position in an incomplete request; the caller keeps the bytes. It rejects
//! everything that a server could read in another way, and does not read payloads.

use super::error::ProtocolError;
use super::length::{Length, LengthError, read_length};
use super::limits::RequestLimits;

/// Finds the ends of the requests of a connection, over any number of calls.
///
/// The input of every call starts at the first byte of the request. After [`Step::NeedMore`], the
/// next input has the same bytes and more behind them. The decoder continues at its position, so
/// that the work is linear in the bytes for pieces of any size. After an error the connection
/// cannot be used.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    /// The position in an array, when its header is complete. For an inline line, `next` is the
    /// number of bytes that have no newline.
    arguments: Arguments,
    /// Arguments of the request.
    argc: u32,
    /// A request is incomplete.
    incomplete: bool,
}

/// Every client has a decoder, also while it is idle.
const _: () = assert!(size_of::<RequestDecoder>() <= 24);

/// The result of [`RequestDecoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first `len` bytes are one complete command as a RESP array.
    Array {
        /// Bytes of the command.
        len: usize,
        /// Arguments, including the name of the command; at least 1.
        argc: u32,
    },
    /// The first `len` bytes are one inline line with its newline.
    Inline {
        /// Bytes of the line.
        len: usize,
    },
    /// The first `len` bytes are an empty request (`*0`, `*-1`), which has no reply.
    Empty {
        /// Bytes to skip.
        len: usize,
    },
    /// The request is not complete.
    NeedMore {
        /// The number of missing bytes to the end of the current argument, or 1 in a header.
        at_least: usize,
    },
}

impl RequestDecoder {
    /// Searches for the end of the request at the start of `input`.
    #[inline]
    pub fn decode(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Step, ProtocolError> {
        let step = match input.first() {
            None => return Ok(Step::NeedMore { at_least: 1 }),
            Some(b'*') => self.decode_array(input, limits)?,
            Some(_) => self.decode_inline(input, limits)?,
        };
        match step {
            Step::NeedMore { .. } => self.incomplete = true,
            _ => *self = Self::default(),
        }
        Ok(step)
    }

    /// Whether no request is incomplete.
    pub fn is_idle(&self) -> bool {
        !self.incomplete
    }

    #[inline]
    fn decode_array(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
    ) -> Result<Step, ProtocolError> {
        let arguments = &mut self.arguments;
        if arguments.line_lacks_end(input, limits) {
            return Ok(Step::NeedMore { at_least: 1 });
        }
        if arguments.left == 0 {
            let header = read_length(input, limits.inline_bytes_max).map_err(multibulk_error)?;
            let Some(header) = header else {
                arguments.search_line(input, limits);
                return Ok(Step::NeedMore { at_least: 1 });
            };
            self.argc = limits.args(header.value)?;
            if self.argc == 0 {
                return Ok(Step::Empty {
                    len: header.line_bytes,
                });
            }
            arguments.left = self.argc;
            arguments.next = header.line_bytes;
        }
        match arguments.end(input, limits, 0)? {
            Argument::Complete { len } => Ok(Step::Array {
                len,
                argc: self.argc,
            }),
            Argument::NeedMore { at_least } => Ok(Step::NeedMore { at_least }),
            Argument::NeedHeader => Ok(Step::NeedMore { at_least: 1 }),
        }
    }

    fn decode_inline(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
    ) -> Result<Step, ProtocolError> {
        let next = &mut self.arguments.next;
        let unseen = input.get(*next..).unwrap_or_default();
        let newline = unseen
            .iter()
            .position(|&byte| byte == b'\n')
            .map(|at| *next + at);
        *next = input.len();
        match newline {
            Some(newline) if newline <= limits.inline_bytes_max => {
                Ok(Step::Inline { len: newline + 1 })
            }
            None if input.len() <= limits.inline_bytes_max => Ok(Step::NeedMore { at_least: 1 }),
            _ => Err(ProtocolError::InlineTooBig),
        }
    }
}

/// Continues the decoding of a large request from the middle of an argument, without the bytes that
/// were decoded before: the caller has already forwarded them. The input has each byte once, except
/// that an incomplete header line is passed again.
#[derive(Clone, Copy, Debug)]
pub struct RestDecoder {
    /// Bytes of the request before the next input.
    before: usize,
    /// Bytes that the incomplete argument lacks, its CRLF included.
    lacking: usize,
    /// The last two bytes before the next input.
    last: [u8; 2],
    /// The arguments behind the incomplete one.
    behind: Arguments,
}

/// The result of [`RestDecoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The request ends with the first `len` bytes.
    Complete {
        /// Bytes of the request in this input.
        len: usize,
    },
    /// The request is not complete. The next input starts behind the first `used` bytes.
    NeedMore {
        /// All bytes of this input, except those of a header line that was cut.
        used: usize,
    },
}

impl RequestDecoder {
    /// A decoder for the bytes after `seen`, when [`Step::NeedMore`] has returned `at_least` for
    /// `seen`. `None` when a header line may be incomplete.
    pub fn rest(&self, seen: &[u8], at_least: usize) -> Option<RestDecoder> {
        let &[.., one, two] = seen else { return None };
        let left = self.arguments.left.checked_sub(1)?;
        (at_least > 1).then_some(RestDecoder {
            before: seen.len(),
            lacking: at_least,
            last: [one, two],
            behind: Arguments {
                left,
                ..Arguments::default()
            },
        })
    }
}

impl RestDecoder {
    /// Bytes that the incomplete argument lacks.
    pub fn lacking(&self) -> usize {
        self.lacking
    }

    /// Finds the end of the request. After an error it must be decoded from its first byte on.
    pub fn decode(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Rest, ProtocolError> {
        let mut used = self.lacking.min(input.len());
        let (argument, later) = input.split_at(used);
        self.pass(argument);
        if self.lacking == 0 {
            if used > 0 && self.last != *b"\r\n" {
                return Err(ProtocolError::ExpectedCrlf);
            }
            self.behind.next = used;
            if !self.behind.line_lacks_end(input, limits) {
                match self.behind.end(input, limits, self.before)? {
                    Argument::Complete { len } => return Ok(Rest::Complete { len }),
                    Argument::NeedMore { at_least } => {
                        self.pass(later);
                        self.lacking = at_least;
                        self.behind.left -= 1;
                        used = input.len();
                    }
                    Argument::NeedHeader => used = self.behind.next,
                }
            }
        }
        self.before += used;
        Ok(Rest::NeedMore { used })
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.lacking = self.lacking.saturating_sub(bytes.len());
        self.last = match *bytes {
            [.., one, two] => [one, two],
            [two] => [self.last[1], two],
            [] => self.last,
        };
    }
}

/// The arguments of a request whose ends have not been found.
#[derive(Clone, Copy, Debug, Default)]
struct Arguments {
    /// The offset of the first of them.
    next: usize,
    /// The number of arguments at `next` and behind it.
    left: u32,
    /// Bytes of the header line at `next` that have no CR; 0 when the last call did not end there.
    searched: u32,
}

enum Argument {
    Complete {
        len: usize,
    },
    /// It lacks so many bytes.
    NeedMore {
        at_least: usize,
    },
    /// Its header line is incomplete.
    NeedHeader,
}

impl Arguments {
    /// Whether the header line in which the last call ended is still incomplete and not too long.
    #[inline]
    fn line_lacks_end(&mut self, input: &[u8], limits: &RequestLimits) -> bool {
        self.searched != 0 && self.search_line(input, limits)
    }

    /// Searches the new bytes of the header line at `next` for its end.
    #[cold]
    fn search_line(&mut self, input: &[u8], limits: &RequestLimits) -> bool {
        let line = input.get(self.next..).unwrap_or_default();
        let unseen = line.get(self.searched as usize..).unwrap_or_default();
        let lacks_end = line.len() <= limits.inline_bytes_max && !unseen.contains(&b'\r');
        self.searched = if lacks_end { line.len() as u32 } else { 0 };
        lacks_end
    }

    /// Searches for the end of the last argument. `before` bytes of the request are before `input`.
    #[inline]
    fn end(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        before: usize,
    ) -> Result<Argument, ProtocolError> {
        let mut rest = *self;
        while rest.left > 0 {
            match rest.next_end(input, limits, before)? {
                Argument::Complete { len } => rest.next += len,
                more => {
                    *self = rest;
                    return Ok(more);
                }
            }
            rest.left -= 1;
        }
        Ok(Argument::Complete { len: rest.next })
    }

    /// The length of the first argument with its header.
    #[inline]
    fn next_end(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        before: usize,
    ) -> Result<Argument, ProtocolError> {
        let rest = input.get(self.next..).unwrap_or_default();
        match rest.first() {
            None => return Ok(Argument::NeedHeader),
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedDollar(other)),
        }
        let header = read_length(rest, limits.inline_bytes_max).map_err(bulk_error)?;
        let Some(Length { value, line_bytes }) = header else {
            self.search_line(input, limits);
            return Ok(Argument::NeedHeader);
        };
        let bytes = limits
            .arg_bytes(value)?
            .saturating_add(line_bytes as u64 + 2);
        let taken = (before + self.next) as u64;
        if bytes > limits.request_bytes_max.saturating_sub(taken) {
            return Err(ProtocolError::RequestTooBig);
        }
        let len = usize::try_from(bytes).map_err(|_| ProtocolError::RequestTooBig)?;
        match rest.get(..len) {
            Some([.., b'\r', b'\n']) => Ok(Argument::Complete { len }),
            Some(_) => Err(ProtocolError::ExpectedCrlf),
            None => Ok(Argument::NeedMore {
                at_least: len - rest.len(),
            }),
        }
    }
}

#[cold]
fn multibulk_error(error: LengthError) -> ProtocolError {
    match error {
        LengthError::TooLong => ProtocolError::MultibulkHeaderTooLong,
        LengthError::NotANumber => ProtocolError::InvalidMultibulkLength,
        LengthError::NoLineFeed => ProtocolError::ExpectedCrlf,
    }
}

#[cold]
fn bulk_error(error: LengthError) -> ProtocolError {
    match error {
        LengthError::TooLong => ProtocolError::BulkHeaderTooLong,
        LengthError::NotANumber => ProtocolError::InvalidBulkLength,
        LengthError::NoLineFeed => ProtocolError::ExpectedCrlf,
    }
}

#[cfg(test)]
mod tests;
