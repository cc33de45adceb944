//! Finds the end of a backend's reply.
//!
//! The scanner keeps its position in an incomplete reply of RESP2 or RESP3. It reads each byte once
//! and keeps no payloads. A reply is complete when no element is outstanding, so one counter is
//! enough for any depth. The contents of lines (is `:x` a number?) are not checked.

use super::error::ReplyError;

/// Bytes of one string in a reply. The limit is far above that of servers (512 MB), and sums of
/// lengths do not overflow.
pub const BULK_BYTES_MAX: u64 = 1 << 40;
/// Elements of one aggregate. A pair of a map counts as one.
pub const ELEMENTS_MAX: u64 = u32::MAX as u64;
/// Outstanding elements of a reply, at all levels together.
pub const PENDING_MAX: u64 = 1 << 40;

/// Finds the ends of the replies of a connection, over any number of calls.
///
/// Unlike the request decoder, it reads each byte once: a call continues where the previous call
/// ended, so that the caller can forward an incomplete reply at once. After an error the connection
/// cannot be used.
///
/// ```text
///             ┌─ + - : _ # , ( ─► Line ────CR─► LineEnd ───LF─► one element less
///  ┌─► Start ─┼─ $ ! = ────────► Length ──CR─► LengthEnd ─LF─► Body ─CRLF─► one element less
///  │          └─ * % ~ > | ────► Length ──CR─► LengthEnd ─LF─► its elements more
///  └──────────────────────────── until no element is pending ◄──┘
/// ```
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// Outstanding elements of the current reply; 0 between replies.
    pending: u64,
    /// Outstanding bytes of the current string, including its CRLF.
    bulk_left: u64,
    /// The digits of the current length.
    length: Length,
    /// The type of the value whose line is being read.
    value_kind: u8,
    /// The type of the reply without its attributes; 0 until it is known.
    reply_kind: u8,
    /// Set by [`ReplyScanner::pushes_between`].
    pushes_between: bool,
    stage: Stage,
}

/// The result of [`ReplyScanner::scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The reply ends after the first `len` bytes of the input. The next reply starts there.
    Complete {
        /// Bytes of this input that belong to the reply, at least 1.
        len: usize,
    },
    /// The whole input belongs to the reply, which is not complete.
    Partial,
}

/// The meaning of the next byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The type of a value.
    #[default]
    Start,
    /// A byte of a line, or its CR.
    Line,
    /// The LF of a line.
    LineEnd,
    /// A digit of a length or count, or its CR.
    Length,
    /// The LF of a length or count.
    LengthEnd,
    /// A byte of a string or of its CRLF; see `bulk_left`.
    Body,
}

impl ReplyScanner {
    /// Searches `input` for the end of the current reply. `input` continues that reply, or starts
    /// the next one.
    #[inline]
    pub fn scan(&mut self, input: &[u8]) -> Result<Scan, ReplyError> {
        if self.pending == 0 {
            if input.is_empty() {
                return Ok(Scan::Partial);
            }
            self.pending = 1;
            self.reply_kind = 0;
        }
        let mut rest = input;
        while !rest.is_empty() {
            rest = match self.stage {
                Stage::Start => self.start(rest)?,
                Stage::Line => self.line(rest)?,
                Stage::LineEnd => self.line_end(rest)?,
                Stage::Length => self.length(rest)?,
                Stage::LengthEnd => self.length_end(rest)?,
                Stage::Body => self.body(rest)?,
            };
            if self.pending == 0 {
                self.pushes_between = false;
                return Ok(Scan::Complete {
                    len: input.len() - rest.len(),
                });
            }
        }
        Ok(Scan::Partial)
    }

    /// Whether the next byte is the first byte of a reply.
    pub fn at_start(&self) -> bool {
        self.pending == 0
    }

    /// Whether the current or last reply is a push, which is not the reply to a request.
    ///
    /// Only the type of the whole reply counts: after a SUBSCRIBE inside MULTI, the reply to EXEC
    /// has pushes as elements.
    pub fn is_push(&self) -> bool {
        self.reply_kind == b'>'
    }

    /// In the next reply, pushes between the elements do not count as elements. Servers up to Redis
    /// 7.0 send pushes inside the reply to EXEC when the client publishes to a channel that it has
    /// subscribed to.
    pub fn pushes_between(&mut self) {
        self.pushes_between = true;
    }

    /// The type of the current or last reply: its first byte after its attributes. 0 while the type
    /// is unknown.
    pub fn kind(&self) -> u8 {
        self.reply_kind
    }

    /// Outstanding bytes of the current string, including its CRLF; 0 outside a string.
    pub fn bulk_left(&self) -> u64 {
        self.bulk_left
    }

    #[inline]
    fn start<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        let Some((&kind, rest)) = input.split_first() else {
            return Ok(input);
        };
        // Inside a top-level attribute, more than one element is pending.
        if self.pending == 1 && self.reply_kind == 0 && kind != b'|' {
            self.reply_kind = kind;
        }
        self.value_kind = kind;
        match kind {
            b'$' | b'*' | b'!' | b'=' | b'%' | b'~' | b'>' | b'|' => {
                // Most lengths have one or two digits and are complete.
                match *rest {
                    [ones @ b'0'..=b'9', b'\r', b'\n', ref rest @ ..] => {
                        self.announce(u64::from(ones - b'0'))?;
                        Ok(rest)
                    }
                    [
                        tens @ b'1'..=b'9',
                        ones @ b'0'..=b'9',
                        b'\r',
                        b'\n',
                        ref rest @ ..,
                    ] => {
                        self.announce(u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))?;
                        Ok(rest)
                    }
                    _ => {
                        self.stage = Stage::Length;
                        self.length = Length::default();
                        Ok(rest)
                    }
                }
            }
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
                self.stage = Stage::Line;
                Ok(rest)
            }
            b';' | b'.' => Err(ReplyError::Streamed),
            other => Err(ReplyError::UnknownType(other)),
        }
    }

    #[inline]
    fn line<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        // Some clients accept an LF without CR as a line end and others do not. No server sends
        // one.
        let Some(end) = input
            .iter()
            .position(|&byte| byte == b'\r' || byte == b'\n')
        else {
            return Ok(&[]);
        };
        match input.get(end..) {
            Some([b'\r', rest @ ..]) => {
                self.stage = Stage::LineEnd;
                Ok(rest)
            }
            _ => Err(ReplyError::ExpectedCrlf),
        }
    }

    #[inline]
    fn line_end<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        let rest = input.strip_prefix(b"\n").ok_or(ReplyError::ExpectedCrlf)?;
        self.element_done();
        Ok(rest)
    }

    fn length<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        let mut rest = input;
        while let [byte, tail @ ..] = rest {
            rest = tail;
            if *byte == b'\r' {
                self.stage = Stage::LengthEnd;
                break;
            }
            self.length.push(*byte)?;
        }
        Ok(rest)
    }

    fn length_end<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        let rest = input.strip_prefix(b"\n").ok_or(ReplyError::ExpectedCrlf)?;
        match self.length {
            Length { digits: 0, .. } => return Err(ReplyError::InvalidLength),
            Length {
                negative: false,
                value,
                ..
            } => self.announce(value)?,
            // In RESP2, the length -1 means null.
            Length {
                negative: true,
                value: 1,
                ..
            } if matches!(self.value_kind, b'$' | b'*') => {
                self.element_done();
            }
            _ => return Err(ReplyError::InvalidLength),
        }
        Ok(rest)
    }

    /// Processes the length or count of a value when its line is complete.
    #[inline]
    fn announce(&mut self, number: u64) -> Result<(), ReplyError> {
        if matches!(self.value_kind, b'$' | b'!' | b'=') {
            if number > BULK_BYTES_MAX {
                return Err(ReplyError::BulkTooLong);
            }
            self.bulk_left = number + 2;
            self.stage = Stage::Body;
            return Ok(());
        }
        if number > ELEMENTS_MAX {
            return Err(ReplyError::TooManyElements);
        }
        let elements = if matches!(self.value_kind, b'%' | b'|') {
            number * 2
        } else {
            number
        };
        // An attribute is not an element; any other aggregate is one.
        let between = self.pushes_between && self.value_kind == b'>' && self.reply_kind != b'>';
        let own = u64::from(self.value_kind != b'|' && !between);
        self.pending = self.pending - own + elements;
        if self.pending > PENDING_MAX {
            return Err(ReplyError::TooManyElements);
        }
        self.stage = Stage::Start;
        Ok(())
    }

    #[inline]
    fn body<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        let payload = self.bulk_left.saturating_sub(2).min(input.len() as u64);
        // The conversion is exact: the number is at most the length of the input.
        let mut rest = input.get(payload as usize..).unwrap_or_default();
        self.bulk_left -= payload;
        while self.bulk_left > 0 {
            let Some((&byte, tail)) = rest.split_first() else {
                return Ok(rest);
            };
            if byte != if self.bulk_left == 2 { b'\r' } else { b'\n' } {
                return Err(ReplyError::ExpectedCrlf);
            }
            self.bulk_left -= 1;
            rest = tail;
        }
        self.element_done();
        Ok(rest)
    }

    #[inline]
    fn element_done(&mut self) {
        self.pending -= 1;
        self.stage = Stage::Start;
    }
}

/// A length that is read digit by digit.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    value: u64,
    digits: u8,
    negative: bool,
}

impl Length {
    /// Enough for every allowed length and count; the value does not overflow.
    const DIGITS_MAX: u8 = 13;

    fn push(&mut self, byte: u8) -> Result<(), ReplyError> {
        match byte {
            b'-' if self.digits == 0 && !self.negative => self.negative = true,
            b'?' if self.digits == 0 && !self.negative => return Err(ReplyError::Streamed),
            b'0'..=b'9' if self.digits < Self::DIGITS_MAX => {
                if self.digits > 0 && self.value == 0 {
                    return Err(ReplyError::InvalidLength);
                }
                self.value = self.value * 10 + u64::from(byte - b'0');
                self.digits += 1;
            }
            _ => return Err(ReplyError::InvalidLength),
        }
        Ok(())
    }
}

const _: () = {
    // BULK_BYTES_MAX has DIGITS_MAX digits.
    assert!(BULK_BYTES_MAX >= 10_u64.pow(Length::DIGITS_MAX as u32 - 1));
    assert!(BULK_BYTES_MAX < 10_u64.pow(Length::DIGITS_MAX as u32));
    assert!(ELEMENTS_MAX < PENDING_MAX);
};

#[cfg(test)]
mod tests;
