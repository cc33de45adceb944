//! Reads HELLO, and takes a backend's reply to it apart.
//!
//! The proxy answers HELLO with what a backend said, so that fields it never heard of arrive too;
//! only the client's number must be the proxy's own.

use std::ops::Range;

use crate::resp::number::parse_i64;
use crate::resp::{Args, Protocol, ReplyScanner, Scan};

use super::Refusal;
use super::client::{NAME_BYTES_MAX, is_printable};
use super::refusal::shown;

/// HELLO's arguments.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct HelloRequest<'a> {
    /// The protocol to switch to; None leaves it as it is.
    pub protocol: Option<Protocol>,
    /// User and password, in the clear: not to be shown, hence no `Debug`.
    pub auth: Option<(&'a [u8], &'a [u8])>,
    /// The name to give the connection; empty takes it away.
    pub name: Option<&'a [u8]>,
}

/// Reads `HELLO [version [AUTH user password] [SETNAME name]]`.
///
/// What is checked first is what Redis checks first. Of an option given twice the last one counts.
pub fn parse(mut args: Args<'_>) -> Result<HelloRequest<'_>, Refusal> {
    let mut request = HelloRequest::default();
    let Some(version) = args.nth(1) else {
        return Ok(request);
    };
    request.protocol = Some(parse_version(version)?);
    while let Some(option) = args.next() {
        let left = args.len();
        if option.eq_ignore_ascii_case(b"auth") && left >= 2 {
            request.auth = args.next().zip(args.next());
        } else if option.eq_ignore_ascii_case(b"setname") && left >= 1 {
            request.name = args.next();
            if request.name.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
                return Err(Refusal::NAME_TOO_LONG);
            }
            if !request.name.is_some_and(is_printable) {
                return Err(Refusal::BAD_NAME);
            }
        } else {
            let option = shown(option);
            return Err(Refusal::new(format!(
                "ERR Syntax error in HELLO option '{option}'"
            )));
        }
    }
    Ok(request)
}

fn parse_version(version: &[u8]) -> Result<Protocol, Refusal> {
    match parse_i64(version) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(Refusal::fixed("NOPROTO unsupported protocol version")),
        None => Err(Refusal::fixed(
            "ERR Protocol version is not an integer or out of range",
        )),
    }
}

/// Where in a complete reply of keys and values, such as that to HELLO, another number can stand
/// for that of `key`: the bytes before its digits and the bytes after them. None: it has no such
/// number.
pub fn split_at(reply: &[u8], key: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let number = find(reply, key)?;
    if reply.get(number.start) != Some(&b':') {
        return None;
    }
    // The digits stand between the type byte and the line's end.
    Some((0..number.start + 1, number.end.checked_sub(2)?..reply.len()))
}

/// A text or number of a backend's complete reply to HELLO, such as `version`.
pub fn field<'a>(reply: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    payload(reply.get(find(reply, key)?)?)
}

/// A complete reply to HELLO, in which these keys have the values of another one. None: both have
/// the same.
pub fn adopt(reply: &[u8], from: &[u8], keys: &[&[u8]]) -> Option<Vec<u8>> {
    let mut adopted = reply.to_vec();
    for key in keys {
        if let (Some(old), Some(new)) = (find(&adopted, key), find(from, key)) {
            adopted.splice(old, from.get(new)?.iter().copied());
        }
    }
    (adopted != reply).then_some(adopted)
}

/// The frame of the value that belongs to `key`, in a map or in an array of keys and values.
fn find(reply: &[u8], key: &[u8]) -> Option<Range<usize>> {
    let (count, mut at) = header(reply)?;
    let pairs = match reply.first()? {
        b'%' => count,
        b'*' => count / 2,
        _ => return None,
    };
    for _ in 0..pairs {
        let name = frame(reply, at)?;
        let value = frame(reply, name.end)?;
        if payload(reply.get(name)?) == Some(key) {
            return Some(value);
        }
        at = value.end;
    }
    None
}

/// The number in the first line of a frame, and where the next line begins.
fn header(frame: &[u8]) -> Option<(i64, usize)> {
    let end = frame.iter().position(|byte| *byte == b'\r')?;
    Some((parse_i64(frame.get(1..end)?)?, end + 2))
}

/// Where the frame that begins `at` ends.
fn frame(reply: &[u8], at: usize) -> Option<Range<usize>> {
    match ReplyScanner::default().scan(reply.get(at..)?) {
        Ok(Scan::Complete { len }) => Some(at..at + len),
        Ok(Scan::Partial) | Err(_) => None,
    }
}

/// What a frame that is a string or a number says.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let start = match frame.first()? {
        b'$' => header(frame)?.1,
        b'+' | b':' => 1,
        _ => return None,
    };
    frame.get(start..frame.len().checked_sub(2)?)
}
