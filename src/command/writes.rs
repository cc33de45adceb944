//! What surely writes.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::resp::Args;

use super::category::is_in;

/// Is it certain that a server sends something to its replicas because of this request, unless it
/// replies with an error? Of most others that depends on what there is.
pub fn writes_if_done(frame: &[u8]) -> bool {
    // With more arguments, SET may leave the key as it is.
    const ALWAYS: [&[u8]; 12] = [
        b"decr", b"decrby", b"hincrby", b"hset", b"incr", b"incrby", b"lpush", b"mset", b"psetex",
        b"rpush", b"set", b"setex",
    ];
    static WRITES: LazyLock<HashSet<&[u8]>> = LazyLock::new(|| ALWAYS.into_iter().collect());
    let mut args = Args::new(frame);
    let plain = args.len() <= 3;
    let is_set = args
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(b"set"));
    (plain || !is_set) && is_in(&WRITES, frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_always_writes_is_certain_to() {
        for frame in [
            "*3\r\n$3\r\nSet\r\n$1\r\nk\r\n$1\r\nv\r\n",
            "*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n",
        ] {
            assert!(writes_if_done(frame.as_bytes()), "{frame}");
        }
        for frame in [
            "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nNX\r\n",
            "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n",
            "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            "*1\r\n$6\r\nFT.ADD\r\n",
        ] {
            assert!(!writes_if_done(frame.as_bytes()), "{frame}");
        }
    }
}
