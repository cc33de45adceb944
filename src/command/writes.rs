//! Commands that write whenever they succeed.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::resp::Args;

use super::category::is_in;

/// Whether a server replicates something for every successful execution of this request. For most
/// other writing commands that depends on the data.
pub fn always_writes(frame: &[u8]) -> bool {
    const ALWAYS: [&[u8]; 19] = [
        b"append",
        b"decr",
        b"decrby",
        b"getset",
        b"hincrby",
        b"hincrbyfloat",
        b"hmset",
        b"hset",
        b"incr",
        b"incrby",
        b"incrbyfloat",
        b"lpush",
        b"lset",
        b"mset",
        b"psetex",
        b"rpush",
        b"set",
        b"setex",
        b"xadd",
    ];
    static WRITES: LazyLock<HashSet<&[u8]>> = LazyLock::new(|| ALWAYS.into_iter().collect());
    is_in(&WRITES, frame) && {
        let mut args = Args::new(frame);
        let name = args.next().unwrap_or_default();
        let mut options = args.skip(if name.len() == 3 { 2 } else { 1 });
        let is = |option: &[u8], word: &str| option.eq_ignore_ascii_case(word.as_bytes());
        match name.to_ascii_lowercase().as_slice() {
            // With other options, SET may leave the key unchanged.
            b"set" => options
                .next()
                .is_none_or(|it| (is(it, "ex") || is(it, "px")) && options.len() == 1),
            b"xadd" => options.next().is_some_and(|it| !is(it, "nomkstream")),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditional_writes_do_not_always_write() {
        for frame in [
            "*3\r\n$3\r\nSet\r\n$1\r\nk\r\n$1\r\nv\r\n",
            "*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n",
            "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nEX\r\n$1\r\n5\r\n",
            "*5\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n",
        ] {
            assert!(always_writes(frame.as_bytes()), "{frame}");
        }
        for frame in [
            "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nNX\r\n",
            "*6\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nEX\r\n$1\r\n5\r\n$2\r\nNX\r\n",
            "*6\r\n$4\r\nXADD\r\n$1\r\nk\r\n$10\r\nNOMKSTREAM\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n",
            "*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n",
            "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            "*1\r\n$6\r\nFT.ADD\r\n",
        ] {
            assert!(!always_writes(frame.as_bytes()), "{frame}");
        }
    }
}
