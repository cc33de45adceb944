//! A second implementation of RESP for the fake ends, so that a mistake is not made twice.
//!
//! Simple on purpose: it starts from the first byte each time, and recurses.

/// A request as an array of bulk strings.
pub(crate) fn command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend(bulk(arg.as_ref()));
    }
    out
}

pub(crate) fn bulk(bytes: &[u8]) -> Vec<u8> {
    let mut out = format!("${}\r\n", bytes.len()).into_bytes();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

pub(crate) fn error(text: &str) -> Vec<u8> {
    format!("-{text}\r\n").into_bytes()
}

/// The text of an error reply.
pub(crate) fn error_text(reply: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(reply.strip_prefix(b"-")?).ok()?;
    text.strip_suffix("\r\n")
}

/// The payload of a bulk, or of a verbatim string of text.
pub(crate) fn text(reply: &[u8]) -> Option<&[u8]> {
    let mark = *reply.first()?;
    let line = line(reply)?;
    let payload = reply.get(line + 2..reply.len() - 2)?;
    match mark {
        b'$' => Some(payload),
        b'=' => payload.strip_prefix(b"txt:"),
        _ => None,
    }
}

/// The number of an integer reply.
pub(crate) fn integer(reply: &[u8]) -> Option<usize> {
    let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The elements of an array or a push.
pub(crate) fn elements(reply: &[u8]) -> Result<Vec<&[u8]>, String> {
    let (count, mut at) = match reply.first() {
        Some(b'*' | b'>') => header(reply)?.ok_or("no header")?,
        _ => return Err("no array".into()),
    };
    let mut elements = Vec::new();
    for _ in 0..count.max(0) {
        let len = reply_len(&reply[at..])?.ok_or("an element is missing")?;
        elements.push(&reply[at..at + len]);
        at += len;
    }
    Ok(elements)
}

/// The position of the CR of the first line.
fn line(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

fn number(digits: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(digits).map_err(|e| e.to_string())?;
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// A header line such as `*3`: its number, and its length.
fn header(bytes: &[u8]) -> Result<Option<(i64, usize)>, String> {
    match line(bytes.get(..bytes.len().min(64)).unwrap_or(bytes)) {
        Some(end) => Ok(Some((number(&bytes[1..end])?, end + 2))),
        None if bytes.len() > 60 => Err("a header without an end".into()),
        None => Ok(None),
    }
}

/// A complete request at the front of `bytes`: its length and arguments. Only arrays, because a
/// proxy sends nothing else.
pub(crate) type Request = (usize, Vec<Vec<u8>>);

pub(crate) fn request(bytes: &[u8]) -> Result<Option<Request>, String> {
    match bytes.first() {
        None => return Ok(None),
        Some(b'*') => {}
        Some(other) => return Err(format!("a request that begins with {:?}", *other as char)),
    }
    let Some((argc, mut at)) = header(bytes)? else {
        return Ok(None);
    };
    if argc < 1 {
        return Err("an empty request".into());
    }
    let mut args = Vec::new();
    for _ in 0..argc {
        let rest = &bytes[at..];
        if rest.first().is_some_and(|mark| *mark != b'$') {
            return Err("an argument that is no bulk".into());
        }
        let Some((len, head)) = header(rest)? else {
            return Ok(None);
        };
        let end = at + head + len as usize;
        let Some(tail) = bytes.get(end..end + 2) else {
            return Ok(None);
        };
        if tail != b"\r\n" {
            return Err("a bulk without CRLF".into());
        }
        args.push(bytes[at + head..end].to_vec());
        at = end + 2;
    }
    Ok(Some((at, args)))
}

/// The length of the complete reply at the front of `bytes`, with attributes.
pub(crate) fn reply_len(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(mark) = bytes.first() else {
        return Ok(None);
    };
    let children = match mark {
        b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {
            return Ok(line(bytes).map(|end| end + 2));
        }
        b'$' | b'=' | b'!' => {
            let Some((len, head)) = header(bytes)? else {
                return Ok(None);
            };
            let end = match len {
                -1 => head,
                len => head + len as usize + 2,
            };
            if bytes.len() >= end && len >= 0 && &bytes[end - 2..end] != b"\r\n" {
                return Err("a bulk without CRLF".into());
            }
            return Ok((bytes.len() >= end).then_some(end));
        }
        b'*' | b'~' | b'>' => 1,
        b'%' | b'|' => 2,
        other => return Err(format!("a reply that begins with {:?}", *other as char)),
    };
    let Some((count, mut at)) = header(bytes)? else {
        return Ok(None);
    };
    // The value of an attribute follows it.
    let values = count.max(0) * children + i64::from(*mark == b'|');
    for _ in 0..values {
        let Some(len) = reply_len(&bytes[at..])? else {
            return Ok(None);
        };
        at += len;
    }
    Ok(Some(at))
}

#[test]
fn fake_ends_parse_their_own_output() {
    let bytes = command(&["SET", "k", "v"]);
    assert_eq!(request(&bytes).unwrap().unwrap().0, bytes.len());
    let reply = b"|1\r\n+a\r\n+b\r\n%1\r\n$2\r\nab\r\n*2\r\n:1\r\n_\r\n";
    for end in 0..reply.len() {
        assert_eq!(reply_len(&reply[..end]).unwrap(), None);
    }
    assert_eq!(reply_len(reply).unwrap(), Some(reply.len()));
    assert!(request(&bytes[..bytes.len() - 1]).unwrap().is_none());
}
