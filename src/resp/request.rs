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
    /// Array: offset of the first argument whose end has not been seen. Inline: no newline before
    /// this offset.
    next: usize,
    /// Arguments in all.
    argc: u32,
    /// Arguments that begin at `next` or behind it; 0 while the array's header is not complete.
    left: u32,
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
        if self.left == 0 {
            let Some(header) = read_length(input).map_err(multibulk_error)? else {
                return Ok(Step::NeedMore { at_least: 1 });
            };
            self.argc = limits.args(header.value)?;
            if self.argc == 0 {
                return Ok(Step::Empty {
                    len: header.line_bytes,
                });
            }
            self.left = self.argc;
            self.next = header.line_bytes;
        }
        match arguments_end(input, &mut self.next, &mut self.left, limits, 0)? {
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
        let unseen = input.get(self.next..).unwrap_or_default();
        let newline = unseen
            .iter()
            .position(|&byte| byte == b'\n')
            .map(|at| self.next + at);
        self.next = input.len();
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
pub struct RestDecoder {
    /// As in [`RequestDecoder`].
    next: usize,
    left: u32,
}

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
        let left = self.left.checked_sub(1)?;
        (self.left < self.argc).then_some(RestDecoder { next: 0, left })
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
        match arguments_end(input, &mut self.next, &mut self.left, limits, before)? {
            Argument::Complete { len } => Ok(Rest::Complete { len }),
            Argument::NeedMore { at_least } => Ok(Rest::NeedMore { at_least }),
        }
    }

    /// The argument under way is large as well: the next call is about what is behind it. Only
    /// after [`Rest::NeedMore`] with more than one byte.
    pub fn leave_argument(&mut self) {
        self.next = 0;
        self.left = self.left.saturating_sub(1);
    }
}

/// Where the arguments end of which `left` begin at `next` or behind it; both go on as far as the
/// input does. `before` bytes of the request are not in it.
#[inline]
fn arguments_end(
    input: &[u8],
    next: &mut usize,
    left: &mut u32,
    limits: &RequestLimits,
    before: usize,
) -> Result<Argument, ProtocolError> {
    let (mut at, mut arguments) = (*next, *left);
    while arguments > 0 {
        let rest = input.get(at..).unwrap_or_default();
        let taken = (before + at) as u64;
        match argument_end(rest, limits.request_bytes_max.saturating_sub(taken), limits)? {
            Argument::Complete { len } => at += len,
            Argument::NeedMore { at_least } => {
                (*next, *left) = (at, arguments);
                return Ok(Argument::NeedMore { at_least });
            }
        }
        arguments -= 1;
    }
    Ok(Argument::Complete { len: at })
}

enum Argument {
    Complete { len: usize },
    NeedMore { at_least: usize },
}

/// Where the argument ends that `rest` begins with. `bytes_left` is what the request may still
/// have.
#[inline]
fn argument_end(
    rest: &[u8],
    bytes_left: u64,
    limits: &RequestLimits,
) -> Result<Argument, ProtocolError> {
    match rest.first() {
        None => return Ok(Argument::NeedMore { at_least: 1 }),
        Some(b'$') => {}
        Some(&other) => return Err(ProtocolError::ExpectedDollar(other)),
    }
    let Some(Length { value, line_bytes }) = read_length(rest).map_err(bulk_error)? else {
        return Ok(Argument::NeedMore { at_least: 1 });
    };
    let bytes = limits
        .arg_bytes(value)?
        .saturating_add(line_bytes as u64 + 2);
    if bytes > bytes_left {
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
