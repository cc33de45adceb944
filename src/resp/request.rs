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
        let mut next = self.next;
        let mut left = self.left;
        while left > 0 {
            let rest = input.get(next..).unwrap_or_default();
            match argument_end(
                rest,
                limits.request_bytes_max.saturating_sub(next as u64),
                limits,
            )? {
                Argument::Complete { len } => next += len,
                Argument::NeedMore { at_least } => {
                    (self.next, self.left) = (next, left);
                    return Ok(Step::NeedMore { at_least });
                }
            }
            left -= 1;
        }
        Ok(Step::Array {
            len: next,
            argc: self.argc,
        })
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
