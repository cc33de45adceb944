//! Decodes a request's body, of known length or in chunks.
//!
//! Memory grows with the bytes received: a length that is only announced takes none.

use super::{Length, Refusal};
use crate::service::limits::{BODY_BYTES_MAX, CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

const TOO_LARGE: Refusal = Refusal::new(413, "the body is too large");
const BAD_CHUNK: Refusal = Refusal::new(400, "invalid chunk");

/// A body that is being received.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    at: At,
}

/// The next part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The last bytes of the body.
    Whole(usize),
    /// The line with the size of a chunk.
    Size,
    /// Bytes of a chunk.
    Chunk(usize),
    /// The end of line after a chunk.
    ChunkEnd,
    /// The trailer after the last chunk, with the bytes left of its limit.
    Trailer(usize),
    End,
}

impl Body {
    /// A body of which nothing is received.
    pub(super) fn new(length: Length) -> Result<Self, Refusal> {
        let at = match length {
            Length::None => At::End,
            Length::Bytes(bytes) => match usize::try_from(bytes) {
                Ok(bytes) if bytes <= BODY_BYTES_MAX => At::Whole(bytes),
                _ => return Err(TOO_LARGE),
            },
            Length::Chunked => At::Size,
        };
        let bytes = Vec::new();
        Ok(Self { bytes, at })
    }

    /// Decodes `input`. Returns how many bytes were used, and whether the body is complete.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        while self.at != At::End {
            let rest = input.get(used..).unwrap_or_default();
            let Some(n) = self.step(rest)? else {
                return Ok((used, false));
            };
            used += n;
        }
        Ok((used, true))
    }

    /// The complete body.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Decodes one part. Returns the number of bytes used; `None`: more are needed.
    fn step(&mut self, rest: &[u8]) -> Result<Option<usize>, Refusal> {
        match self.at {
            At::Whole(0) => {
                self.at = At::End;
                Ok(Some(0))
            }
            At::Chunk(0) => {
                self.at = At::ChunkEnd;
                Ok(Some(0))
            }
            At::Whole(left) => Ok(self.take(rest, left, At::Whole)),
            At::Chunk(left) => Ok(self.take(rest, left, At::Chunk)),
            At::Size => self.size(rest),
            At::ChunkEnd => match rest {
                [b'\r', b'\n', ..] => {
                    self.at = At::Size;
                    Ok(Some(2))
                }
                [] | [b'\r'] => Ok(None),
                _ => Err(BAD_CHUNK),
            },
            At::Trailer(left) => self.trailer(rest, left),
            At::End => Ok(None),
        }
    }

    fn take(&mut self, rest: &[u8], left: usize, at: fn(usize) -> At) -> Option<usize> {
        let taken = rest.get(..left).unwrap_or(rest);
        self.bytes.extend_from_slice(taken);
        self.at = at(left - taken.len());
        (!taken.is_empty()).then_some(taken.len())
    }

    fn size(&mut self, rest: &[u8]) -> Result<Option<usize>, Refusal> {
        let Some((text, len)) = line(rest, CHUNK_LINE_BYTES_MAX, BAD_CHUNK)? else {
            return Ok(None);
        };
        let digits = text.split(|&byte| byte == b';').next().unwrap_or_default();
        self.at = match chunk_size(digits.trim_ascii_end())? {
            0 => At::Trailer(TRAILER_BYTES_MAX),
            size if size > BODY_BYTES_MAX - self.bytes.len() => return Err(TOO_LARGE),
            size => At::Chunk(size),
        };
        Ok(Some(len))
    }

    fn trailer(&mut self, rest: &[u8], left: usize) -> Result<Option<usize>, Refusal> {
        let too_large = Refusal::new(431, "the trailer is too large");
        let Some((text, len)) = line(rest, left, too_large)? else {
            return Ok(None);
        };
        self.at = match text {
            [] => At::End,
            _ => At::Trailer(left - len),
        };
        Ok(Some(len))
    }
}

/// The first line without its line end, and its length with it; `None`: it is incomplete.
fn line(bytes: &[u8], max: usize, too_long: Refusal) -> Result<Option<(&[u8], usize)>, Refusal> {
    let seen = bytes.get(..max).unwrap_or(bytes);
    match seen.iter().position(|&byte| byte == b'\n') {
        Some(at) => match seen.get(..at) {
            Some([text @ .., b'\r']) => Ok(Some((text, at + 1))),
            _ => Err(BAD_CHUNK),
        },
        None if seen.len() < max => Ok(None),
        None => Err(too_long),
    }
}

fn chunk_size(digits: &[u8]) -> Result<usize, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BAD_CHUNK);
    }
    let text = str::from_utf8(digits).map_err(|_| BAD_CHUNK)?;
    // Digits that do not fit are a valid size that is too large.
    usize::from_str_radix(text, 16).map_err(|_| TOO_LARGE)
}
