//! Writes RESP values.
//!
//! Every function appends one value or one header to `out`. A function without a [`Protocol`]
//! parameter writes the same bytes in both versions.

use super::Protocol;
use super::number::{append_i64, append_u64};

/// `+text`: a simple string. CR and LF become spaces.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    line(out, b'+', text);
}

/// `-text`: an error. `text` begins with its code, as in `ERR syntax error`. CR and LF become
/// spaces.
pub fn error(out: &mut Vec<u8>, text: &str) {
    line(out, b'-', text);
}

/// `:number`.
pub fn integer(out: &mut Vec<u8>, number: i64) {
    out.push(b':');
    append_i64(out, number);
    crlf(out);
}

/// `$length` and the bytes.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    crlf(out);
}

/// A text for people: a verbatim string in RESP3, a bulk string in RESP2.
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, text: &[u8]) {
    match protocol {
        Protocol::Resp2 => bulk(out, text),
        Protocol::Resp3 => {
            header(out, b'=', text.len() + 4);
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            crlf(out);
        }
    }
}

/// Null: `_` in RESP3, a bulk string of length -1 in RESP2.
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// The header of an array; `n` values follow.
pub fn array(out: &mut Vec<u8>, n: usize) {
    header(out, b'*', n);
}

/// The header of a map; `pairs` keys, each with its value, follow. In RESP2 it is a flat array.
pub fn map(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    match protocol {
        Protocol::Resp2 => header(out, b'*', pairs * 2),
        Protocol::Resp3 => header(out, b'%', pairs),
    }
}

/// The header of a set; `n` values follow. In RESP2 it is an array.
pub fn set(out: &mut Vec<u8>, protocol: Protocol, n: usize) {
    aggregate(out, protocol, b'~', n);
}

/// The header of a push; `n` values follow. In RESP2 it is an array.
pub fn push(out: &mut Vec<u8>, protocol: Protocol, n: usize) {
    aggregate(out, protocol, b'>', n);
}

/// The header of an aggregate that is an array in RESP2.
fn aggregate(out: &mut Vec<u8>, protocol: Protocol, kind: u8, n: usize) {
    match protocol {
        Protocol::Resp2 => header(out, b'*', n),
        Protocol::Resp3 => header(out, kind, n),
    }
}

/// A whole request.
pub fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    // Reserves room for all arguments and headers, so that the buffer grows only once.
    out.reserve(args.iter().map(|arg| arg.len() + 16).sum());
    array(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    append_u64(out, number as u64);
    crlf(out);
}

fn line(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.push(kind);
    out.extend(text.bytes().map(|byte| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        }
    }));
    crlf(out);
}

fn crlf(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn common_types_are_written() {
        assert_eq!(written(|out| simple(out, "OK")), "+OK\r\n");
        assert_eq!(written(|out| error(out, "ERR a\r\nb")), "-ERR a  b\r\n");
        assert_eq!(written(|out| integer(out, -17)), ":-17\r\n");
        assert_eq!(
            written(|out| bulk(out, b"hello\r\n")),
            "$7\r\nhello\r\n\r\n"
        );
        assert_eq!(written(|out| bulk(out, b"")), "$0\r\n\r\n");
        assert_eq!(written(|out| array(out, 12)), "*12\r\n");
        assert_eq!(
            written(|out| command(out, &[b"GET", b"k"])),
            "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
        );
    }

    #[test]
    fn other_types_depend_on_the_protocol_version() {
        let both = |write: fn(&mut Vec<u8>, Protocol)| {
            (
                written(|out| write(out, Protocol::Resp2)),
                written(|out| write(out, Protocol::Resp3)),
            )
        };
        let pair = |two: &str, three: &str| (two.to_owned(), three.to_owned());
        assert_eq!(both(null), pair("$-1\r\n", "_\r\n"));
        assert_eq!(
            both(|out, p| verbatim(out, p, b"hi")),
            pair("$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n")
        );
        assert_eq!(both(|out, p| map(out, p, 3)), pair("*6\r\n", "%3\r\n"));
        assert_eq!(both(|out, p| set(out, p, 3)), pair("*3\r\n", "~3\r\n"));
        assert_eq!(both(|out, p| push(out, p, 3)), pair("*3\r\n", ">3\r\n"));
    }
}
