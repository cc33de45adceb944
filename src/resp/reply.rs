//! Where a backend's reply ends.
//!
//! Owns the progress through one unfinished reply of RESP2 or RESP3, whatever its size. Must not
//! look at a byte twice, keep payloads, or need more memory for a deeper reply: a reply is
//! over when no element is outstanding, and for that one counter is enough. Payloads are
//! skipped, and the contents of lines (is `:x` a number?) are the client's business.

use super::error::ReplyError;

/// Bytes of one string in a reply. Far beyond what servers allow (512 MB), and small enough that
/// no sum of lengths overflows.
pub const BULK_BYTES_MAX: u64 = 1 << 40;
/// Elements of one aggregate, where a pair of a map counts as one.
pub const ELEMENTS_MAX: u64 = u32::MAX as u64;
/// Elements outstanding in a whole reply, at all levels.
pub const PENDING_MAX: u64 = 1 << 40;

/// Finds the end of one reply after another, over any number of calls.
///
/// Unlike the request decoder it never sees a byte again: each call continues where the last one
/// ended, so that what has come of a reply can be passed on at once. After an error nothing
/// that connection says can be trusted.
///
/// ```text
///             ┌─ + - : _ # , ( ─► Line ────CR─► LineEnd ───LF─► one element less
///  ┌─► Start ─┼─ $ ! = ────────► Length ──CR─► LengthEnd ─LF─► Body ─CRLF─► one element less
///  │          └─ * % ~ > | ────► Length ──CR─► LengthEnd ─LF─► its elements more
///  └──────────────────────────── until no element is pending ◄──┘
/// ```
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// Elements still to come before the reply is complete; 0 between replies.
    pending: u64,
    /// Bytes of the string under way still to come, its CRLF included.
    bulk_left: u64,
    /// The digits of the length under way.
    length: Length,
    /// Type of the value whose line is under way.
    value_kind: u8,
    /// Type of the reply proper; 0 until it is known.
    reply_kind: u8,
    /// See [`ReplyScanner::pushes_between`].
    pushes_between: bool,
    stage: Stage,
}

/// What a call found out about its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The reply ends with the first `len` bytes of the input; what is behind them belongs to the
    /// next.
    Complete {
        /// Bytes of this input, at least 1.
        len: usize,
    },
    /// The whole input belongs to the reply, and there is more to come.
    Partial,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The type of a value.
    #[default]
    Start,
    /// Within a line, up to its CR.
    Line,
    /// The LF of such a line.
    LineEnd,
    /// Within the number of a length or count, up to its CR.
    Length,
    /// The LF of such a number.
    LengthEnd,
    /// Within a string or its CRLF; `bulk_left` says where.
    Body,
}

impl ReplyScanner {
    /// Looks for the end of the reply under way, or of the one that begins with `input`.
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

    /// Whether the next byte begins a reply: nothing of one has been consumed yet.
    pub fn at_start(&self) -> bool {
        self.pending == 0
    }

    /// Whether the reply under way, or the one just completed, is a push, which answers no request.
    ///
    /// Only at the top: a server that is told to SUBSCRIBE within MULTI puts pushes into the reply
    /// of EXEC, where they are elements like others.
    pub fn is_push(&self) -> bool {
        self.reply_kind == b'>'
    }

    /// In the reply that begins next, pushes stand between the elements and are none of them: so
    /// servers up to Redis 7.0 send what a client publishes to itself within MULTI.
    pub fn pushes_between(&mut self) {
        self.pushes_between = true;
    }

    /// The type of the reply under way or just completed: its first byte, or the first one behind
    /// the attributes that precede it. 0 as long as it is not known.
    pub fn kind(&self) -> u8 {
        self.reply_kind
    }

    /// Bytes still to come of the string under way, its CRLF included; 0 if none is.
    pub fn bulk_left(&self) -> u64 {
        self.bulk_left
    }

    #[inline]
    fn start<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], ReplyError> {
        let Some((&kind, rest)) = input.split_first() else {
            return Ok(input);
        };
        // Within the elements of a top-level attribute more than the reply itself is pending.
        if self.pending == 1 && self.reply_kind == 0 && kind != b'|' {
            self.reply_kind = kind;
        }
        self.value_kind = kind;
        match kind {
            b'$' | b'*' | b'!' | b'=' | b'%' | b'~' | b'>' | b'|' => {
                // Most lengths have one digit or two, and have come whole.
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
        // An LF alone ends the line for some clients and not for others; no server sends one.
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
            // RESP2 says null by a length of -1.
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

    /// The line of a value with a length or a count is complete.
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
        // An attribute comes on top of the element it precedes; any other aggregate is one.
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
        // In range: not more than the input's length, which is a usize.
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

/// A length that comes digit by digit.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    value: u64,
    digits: u8,
    negative: bool,
}

impl Length {
    /// Enough for every length and count that is allowed, and no overflow of an u64.
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
    // BULK_BYTES_MAX has as many digits as may come.
    assert!(BULK_BYTES_MAX >= 10_u64.pow(Length::DIGITS_MAX as u32 - 1));
    assert!(BULK_BYTES_MAX < 10_u64.pow(Length::DIGITS_MAX as u32));
    assert!(ELEMENTS_MAX < PENDING_MAX);
};

#[cfg(test)]
mod tests;
