//! A simple decoder of requests and replies: recursive, and without state between calls.
//!
//! It shares no code with the real decoders, so that an error must be in both to stay undetected.

use crate::resp::Step;
use crate::resp::limits::RequestLimits;
use crate::resp::reply::{BULK_BYTES_MAX, ELEMENTS_MAX, PENDING_MAX};

/// The reason why no complete frame was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The input ended.
    Partial,
    /// No continuation of the input is valid.
    Refused,
}

/// A complete reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Bytes of the reply.
    pub len: usize,
    /// The type of the reply, without its attributes.
    pub kind: u8,
}

/// The request at the start of `input`; `None` if it is not complete.
pub fn request(input: &[u8], limits: &RequestLimits) -> Result<Option<Step>, Stop> {
    match read_request(&mut Cursor { input, at: 0 }, limits) {
        Ok(step) => Ok(Some(step)),
        Err(Stop::Partial) => Ok(None),
        Err(Stop::Refused) => Err(Stop::Refused),
    }
}

/// The reply at the start of `input`.
pub fn reply(input: &[u8]) -> Result<Reply, Stop> {
    let mut cursor = Cursor { input, at: 0 };
    let kind = read_value(&mut cursor, 0)?;
    Ok(Reply {
        len: cursor.at,
        kind,
    })
}

fn read_request(cursor: &mut Cursor<'_>, limits: &RequestLimits) -> Result<Step, Stop> {
    if cursor.byte()? != b'*' {
        cursor.at = 0;
        while cursor.at <= limits.inline_bytes_max {
            if cursor.byte()? == b'\n' {
                return Ok(Step::Inline { len: cursor.at });
            }
        }
        return Err(Stop::Refused);
    }
    let argc = read_announced(cursor, limits)?;
    if argc <= 0 {
        return Ok(Step::Empty { len: cursor.at });
    }
    let argc = u32::try_from(argc).map_err(|_| Stop::Refused)?;
    refuse_if(argc > limits.args_max)?;
    for _ in 0..argc {
        refuse_if(cursor.byte()? != b'$')?;
        let bytes = u64::try_from(read_announced(cursor, limits)?).map_err(|_| Stop::Refused)?;
        refuse_if(bytes > limits.arg_bytes_max)?;
        refuse_if(cursor.at as u64 + bytes + 2 > limits.request_bytes_max)?;
        // The CRLF is checked when both of its bytes have arrived.
        let end = cursor.at + bytes as usize;
        let crlf = cursor.input.get(end..end + 2).ok_or(Stop::Partial)?;
        refuse_if(crlf != b"\r\n")?;
        cursor.at = end + 2;
    }
    Ok(Step::Array {
        len: cursor.at,
        argc,
    })
}

/// Reads the rest of a header line after its type byte, with CRLF.
fn read_announced(cursor: &mut Cursor<'_>, limits: &RequestLimits) -> Result<i64, Stop> {
    let mut text = String::new();
    for _ in 0..limits.inline_bytes_max {
        match cursor.byte()? {
            b'\r' => {
                let line_feed = cursor.byte()?;
                let number: i64 = text.parse().map_err(|_| Stop::Refused)?;
                refuse_if(number.to_string() != text || line_feed != b'\n')?;
                return Ok(number);
            }
            byte => text.push(char::from(byte)),
        }
    }
    Err(Stop::Refused)
}

/// Reads one value and returns its type. `others` counts the other outstanding elements.
fn read_value(cursor: &mut Cursor<'_>, others: u64) -> Result<u8, Stop> {
    let kind = cursor.byte()?;
    match kind {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => loop {
            match cursor.byte()? {
                b'\r' => {
                    refuse_if(cursor.byte()? != b'\n')?;
                    return Ok(kind);
                }
                byte => refuse_if(byte == b'\n')?,
            }
        },
        b'$' | b'!' | b'=' => {
            let Some(bytes) = read_length(cursor, kind == b'$')? else {
                return Ok(kind);
            };
            refuse_if(bytes > BULK_BYTES_MAX)?;
            for _ in 0..bytes {
                cursor.byte()?;
            }
            refuse_if(cursor.byte()? != b'\r')?;
            refuse_if(cursor.byte()? != b'\n')?;
        }
        b'*' | b'~' | b'>' => {
            let Some(elements) = read_length(cursor, kind == b'*')? else {
                return Ok(kind);
            };
            refuse_if(elements > ELEMENTS_MAX)?;
            read_values(cursor, others, elements)?;
        }
        b'%' | b'|' => {
            let pairs = read_length(cursor, false)?.unwrap_or(0);
            refuse_if(pairs > ELEMENTS_MAX)?;
            if kind == b'%' {
                read_values(cursor, others, pairs * 2)?;
            } else {
                read_values(cursor, others + 1, pairs * 2)?;
                return read_value(cursor, others);
            }
        }
        _ => return Err(Stop::Refused),
    }
    Ok(kind)
}

fn read_values(cursor: &mut Cursor<'_>, others: u64, count: u64) -> Result<(), Stop> {
    refuse_if(others + count > PENDING_MAX)?;
    for after in (0..count).rev() {
        read_value(cursor, others + after)?;
    }
    Ok(())
}

/// Reads the rest of a line with a length. Returns `None` for -1 where that is a null.
fn read_length(cursor: &mut Cursor<'_>, nullable: bool) -> Result<Option<u64>, Stop> {
    let mut text = String::new();
    loop {
        let byte = cursor.byte()?;
        if byte == b'\r' {
            break;
        }
        text.push(char::from(byte));
        // Checks that the text so far can be the start of a length.
        let digits = text.strip_prefix('-').unwrap_or(&text);
        refuse_if(digits.len() > 13 || !digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        refuse_if(digits.len() > 1 && digits.starts_with('0'))?;
    }
    refuse_if(cursor.byte()? != b'\n')?;
    if nullable && text == "-1" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Stop::Refused)
}

fn refuse_if(wrong: bool) -> Result<(), Stop> {
    if wrong { Err(Stop::Refused) } else { Ok(()) }
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = self.input.get(self.at).ok_or(Stop::Partial)?;
        self.at += 1;
        Ok(*byte)
    }
}
