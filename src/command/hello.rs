//! Parses HELLO and the backend's reply to HELLO.
//!
//! The proxy replies to HELLO with the reply of the backend, so that unknown fields reach the
//! client too. Only the client id is the proxy's own.

use std::ops::Range;

use crate::resp::number::parse_i64;
use crate::resp::{Args, Protocol, ReplyScanner, Scan};

use super::ErrorReply;
use super::client::{NAME_BYTES_MAX, is_printable};
use super::error_reply::shown;

/// The arguments of HELLO.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct HelloRequest<'a> {
    /// The protocol to switch to; `None` keeps the current protocol.
    pub protocol: Option<Protocol>,
    /// User and password. The password is secret, so the type has no `Debug`.
    pub auth: Option<(&'a [u8], &'a [u8])>,
    /// The name of the connection; an empty name removes it.
    pub name: Option<&'a [u8]>,
}

/// Parses `HELLO [version [AUTH user password] [SETNAME name]]`.
///
/// The checks have the order of Redis. When an option is given twice, the last one counts.
pub fn parse(mut args: Args<'_>) -> Result<HelloRequest<'_>, ErrorReply> {
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
                return Err(ErrorReply::NAME_TOO_LONG);
            }
            if !request.name.is_some_and(is_printable) {
                return Err(ErrorReply::BAD_NAME);
            }
        } else {
            let option = shown(option);
            return Err(ErrorReply::new(format!(
                "ERR Syntax error in HELLO option '{option}'"
            )));
        }
    }
    Ok(request)
}

fn parse_version(version: &[u8]) -> Result<Protocol, ErrorReply> {
    match parse_i64(version) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(ErrorReply::fixed("NOPROTO unsupported protocol version")),
        None => Err(ErrorReply::fixed(
            "ERR Protocol version is not an integer or out of range",
        )),
    }
}

/// Finds the number of `key` in a complete reply of keys and values, such as the reply to HELLO.
/// Returns the bytes before its digits and the bytes after them, between which another number can
/// be written. `None` when `key` has no number.
pub fn split_at(reply: &[u8], key: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let number = find(reply, key)?;
    if reply.get(number.start) != Some(&b':') {
        return None;
    }
    // The digits are between the type byte and the line end.
    Some((0..number.start + 1, number.end.checked_sub(2)?..reply.len()))
}

/// The value of a field of a backend's reply to HELLO, such as `version`: a text or a number.
pub fn field<'a>(reply: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    payload(reply.get(find(reply, key)?)?)
}

/// A complete reply to HELLO in which these keys have the values of the reply `from`. `None` when
/// the values are equal.
pub fn adopt(reply: &[u8], from: &[u8], keys: &[&[u8]]) -> Option<Vec<u8>> {
    let mut adopted = reply.to_vec();
    for key in keys {
        if let (Some(old), Some(new)) = (find(&adopted, key), find(from, key)) {
            adopted.splice(old, from.get(new)?.iter().copied());
        }
    }
    (adopted != reply).then_some(adopted)
}

/// Writes into a complete reply to HELLO whether the server is a node of a Redis Cluster. The mode
/// of a Sentinel stays.
pub fn set_clustered(reply: &mut Vec<u8>, clustered: bool) {
    let modes: [&[u8]; 2] = [b"$10\r\nstandalone\r\n", b"$7\r\ncluster\r\n"];
    let [old, new] = match clustered {
        true => modes,
        false => [modes[1], modes[0]],
    };
    if let Some(at) = find(reply, b"mode")
        && reply.get(at.clone()) == Some(old)
    {
        reply.splice(at, new.iter().copied());
    }
}

/// The frame of the value of `key`, in a map or in an array of keys and values.
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

/// The number in the first line of a frame, and the position of the next line.
fn header(frame: &[u8]) -> Option<(i64, usize)> {
    let end = frame.iter().position(|byte| *byte == b'\r')?;
    Some((parse_i64(frame.get(1..end)?)?, end + 2))
}

/// The frame that begins at position `at`.
fn frame(reply: &[u8], at: usize) -> Option<Range<usize>> {
    match ReplyScanner::default().scan(reply.get(at..)?) {
        Ok(Scan::Complete { len }) => Some(at..at + len),
        Ok(Scan::Partial) | Err(_) => None,
    }
}

/// The content of a frame that is a string or a number.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let start = match frame.first()? {
        b'$' => header(frame)?.1,
        b'+' | b':' => 1,
        _ => return None,
    };
    frame.get(start..frame.len().checked_sub(2)?)
}
