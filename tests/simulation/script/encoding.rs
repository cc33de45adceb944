//! Invalid last requests of a client, and inline commands.

use super::super::client::Op;
use super::super::rng::Rng;
use super::super::wire;
use super::Line;

/// Bytes after which no request is answered.
pub(super) fn last_words(rng: &mut Rng) -> Line {
    let (bytes, op): (&[u8], Op) = match rng.below(9) {
        0..=2 => (b"*1\r\n$4\r\nQUIT\r\n", Op::Quit),
        3 => (b"*3\r\nfoo\r\n", Op::Malformed),
        4 => (b"*abc\r\n", Op::Malformed),
        5 => (b"GET \"half\r\n", Op::Malformed),
        6 => (b"*1\r\n$-5\r\n", Op::Malformed),
        7 => (b"*1\r\n$4\r\nPINGPONG\r\n", Op::Malformed),
        _ => (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", Op::Http),
    };
    Line::raw(bytes.to_vec(), Some(op))
}

/// The same request as an inline command.
pub(super) fn as_inline(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let Ok(Some((_, args))) = wire::request(bytes) else {
        return bytes.to_vec();
    };
    let mut words = Vec::new();
    for arg in &args {
        let arg = String::from_utf8_lossy(arg);
        let plain = !arg.is_empty() && !arg.contains(' ');
        words.push(match rng.below(4) {
            0 => format!("\"{arg}\""),
            1 => format!("'{arg}'"),
            _ if plain => arg.into_owned(),
            _ => format!("\"{arg}\""),
        });
    }
    let end = if rng.one_in(2) { "\r\n" } else { "\n" };
    format!("{}{end}", words.join(*rng.pick(&[" ", "  "]))).into_bytes()
}
