//! Where a client's request ends.
//!
//! Owns the progress through one unfinished request; the bytes stay with the caller. Must not
//! accept anything that some server would read in another way, and must not read a byte of a
//! payload.

use super::error::ProtocolError;
use super::length::{Length, LengthError, read_length};
use super::limits::RequestLimits;

/// Finds the end of one request after another, over any number of calls.
///
/// Every call gets a slice that begins at the first byte of the request. When more was needed, the
/// next call presents the same bytes again, with more behind them; the decoder goes on where it
/// was, so that the work is linear in the bytes however small the pieces are. After an error the
/// connection is beyond saving.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    /// Those of an array, once its header is complete. Of an inline line it is only known that no
    /// newline stands before `next`.
    arguments: Arguments,
    /// Arguments in all.
    argc: u32,
    /// Some bytes of a request were seen, but not all.
    under_way: bool,
}

/// Millions of idle clients each keep one.
const _: () = assert!(size_of::<RequestDecoder>() <= 24);

/// What the bytes at the front of the input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first `len` bytes are one complete command as a RESP array, byte for byte strict.
    Array {
        /// Bytes of the command, at least one argument's worth.
        len: usize,
        /// Arguments, the command's name among them; at least 1.
        argc: u32,
    },
    /// The first `len` bytes are one inline line with its newline.
    Inline {
        /// Bytes of the line.
        len: usize,
    },
    /// The first `len` bytes ask for nothing (`*0`, `*-1`): skip them, there is no reply.
    Empty {
        /// Bytes to skip.
        len: usize,
    },
    /// The request is not complete.
    NeedMore {
        /// At least this many bytes are missing: exact up to the end of an argument under way, else
        /// 1.
        at_least: usize,
    },
}

impl RequestDecoder {
    /// Looks for the end of the request that `input` begins with.
    #[inline]
    pub fn decode(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Step, ProtocolError> {
        let step = match input.first() {
            None => return Ok(Step::NeedMore { at_least: 1 }),
            Some(b'*') => self.decode_array(input, limits)?,
            Some(_) => self.decode_inline(input, limits)?,
        };
        match step {
            Step::NeedMore { .. } => self.under_way = true,
            _ => *self = Self::default(),
        }
        Ok(step)
    }

    /// Whether no request is under way: the last one was complete, or there was none yet.
    pub fn is_idle(&self) -> bool {
        !self.under_way
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

/// Finds the end of a request that is too large to be gathered in one piece, from behind its first
/// large argument on.
#[derive(Clone, Copy, Debug)]
pub struct RestDecoder(Arguments);

/// How much of the rest of a request there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The first `len` bytes are all of it.
    Complete {
        /// Bytes of the arguments that were left; 0 if there was none.
        len: usize,
    },
    /// It is not complete.
    NeedMore {
        /// As in [`Step::NeedMore`].
        at_least: usize,
    },
}

impl RequestDecoder {
    /// What is left of the request behind the argument under way, if the last call needed more than
    /// one byte to its end, and the command's name is complete.
    pub fn behind_argument(&self) -> Option<RestDecoder> {
        let behind = self.arguments.behind_next()?;
        (self.arguments.left < self.argc).then_some(RestDecoder(behind))
    }
}

impl RestDecoder {
    /// Looks for the end of the request. `input` begins behind an argument that was large, and
    /// there are `before` bytes of the request before it; calls are repeated as those of
    /// [`RequestDecoder::decode`].
    pub fn decode(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        before: usize,
    ) -> Result<Rest, ProtocolError> {
        if self.0.line_lacks_end(input, limits) {
            return Ok(Rest::NeedMore { at_least: 1 });
        }
        match self.0.end(input, limits, before)? {
            Argument::Complete { len } => Ok(Rest::Complete { len }),
            Argument::NeedMore { at_least } => Ok(Rest::NeedMore { at_least }),
        }
    }

    /// The argument under way is large as well: the next call is about what is behind it. Only
    /// after [`Rest::NeedMore`] with more than one byte.
    pub fn leave_argument(&mut self) {
        self.0 = self.0.behind_next().unwrap_or_default();
    }
}

/// The arguments of a request whose ends have not been seen.
#[derive(Clone, Copy, Debug, Default)]
struct Arguments {
    /// Offset of the first of them.
    next: usize,
    /// How many begin at `next` or behind it.
    left: u32,
    /// Bytes of the header line at `next` that have no CR; 0 unless the last call ended there.
    searched: u32,
}

enum Argument {
    Complete { len: usize },
    NeedMore { at_least: usize },
}

impl Arguments {
    /// Those behind the first one, counted from its end on.
    fn behind_next(self) -> Option<Self> {
        let left = self.left.checked_sub(1)?;
        Some(Self {
            left,
            ..Self::default()
        })
    }

    /// Whether the line that the last call waited for still has no end, and may have one.
    #[inline]
    fn line_lacks_end(&mut self, input: &[u8], limits: &RequestLimits) -> bool {
        self.searched != 0 && self.search_line(input, limits)
    }

    /// Goes on searching the header line at `next` for its end.
    #[cold]
    fn search_line(&mut self, input: &[u8], limits: &RequestLimits) -> bool {
        let line = input.get(self.next..).unwrap_or_default();
        let unseen = line.get(self.searched as usize..).unwrap_or_default();
        let lacks_end = line.len() <= limits.inline_bytes_max && !unseen.contains(&b'\r');
        self.searched = if lacks_end { line.len() as u32 } else { 0 };
        lacks_end
    }

    /// Where the last of them ends; goes on as far as the input does. `before` bytes of the request
    /// are not in it.
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
                more @ Argument::NeedMore { .. } => {
                    *self = rest;
                    return Ok(more);
                }
            }
            rest.left -= 1;
        }
        Ok(Argument::Complete { len: rest.next })
    }

    /// How long the first of them is.
    #[inline]
    fn next_end(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        before: usize,
    ) -> Result<Argument, ProtocolError> {
        let rest = input.get(self.next..).unwrap_or_default();
        match rest.first() {
            None => return Ok(Argument::NeedMore { at_least: 1 }),
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedDollar(other)),
        }
        let header = read_length(rest, limits.inline_bytes_max).map_err(bulk_error)?;
        let Some(Length { value, line_bytes }) = header else {
            self.search_line(input, limits);
            return Ok(Argument::NeedMore { at_least: 1 });
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
