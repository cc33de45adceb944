//! Replies that differ between RESP2 and RESP3.

use super::super::wire;

/// The reply to HELLO with the id of this connection.
pub(crate) fn hello(protocol: u8, id: u64, primary: bool) -> Vec<u8> {
    let mut out = match protocol {
        3 => b"%7\r\n".to_vec(),
        _ => b"*14\r\n".to_vec(),
    };
    let mut field = |name: &str, value: Vec<u8>| {
        out.extend(wire::bulk(name.as_bytes()));
        out.extend(value);
    };
    field("server", wire::bulk(b"redis"));
    field("version", wire::bulk(b"7.4.0"));
    field("proto", format!(":{protocol}\r\n").into_bytes());
    field("id", format!(":{id}\r\n").into_bytes());
    field("mode", wire::bulk(b"standalone"));
    field(
        "role",
        wire::bulk(if primary { b"master" } else { b"replica" }),
    );
    field("modules", b"*0\r\n".to_vec());
    out
}

pub(super) fn nest(protocol: u8, stamp: &str) -> Vec<u8> {
    let stamp = wire::bulk(stamp.as_bytes());
    let mut out: Vec<u8> = Vec::new();
    if protocol == 3 {
        out.extend(b"|1\r\n+ttl\r\n:3\r\n%3\r\n");
        out.extend(&stamp);
        out.extend(b"~2\r\n#t\r\n,1.5\r\n+n\r\n_\r\n(123456789012345678901234567890\r\n");
        out.extend(b"*2\r\n=7\r\ntxt:a\r\n\r\n!5\r\nERR x\r\n");
    } else {
        out.extend(b"*4\r\n");
        out.extend(&stamp);
        out.extend(b"*2\r\n*0\r\n*-1\r\n$0\r\n\r\n*3\r\n$-1\r\n-ERR inner\r\n*1\r\n:-7\r\n");
    }
    out
}

pub(crate) fn null(protocol: u8) -> Vec<u8> {
    if protocol == 3 {
        b"_\r\n".to_vec()
    } else {
        b"$-1\r\n".to_vec()
    }
}

pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", items.len()).into_bytes();
    out.extend(items.concat());
    out
}

pub(crate) fn null_array(protocol: u8) -> Vec<u8> {
    if protocol == 3 {
        b"_\r\n".to_vec()
    } else {
        b"*-1\r\n".to_vec()
    }
}
