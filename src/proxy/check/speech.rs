//! What clients and servers say in a [`check`](super), where it is not noise.

use crate::resp::{Args, write};

/// What clients say. `%` stands for the tenant.
pub(super) const REQUESTS: &[&str] = &[
    "GET k",
    "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    "PING",
    "AUTH ann good",
    "AUTH ann bad",
    "AUTH %.ann good",
    "AUTH good",
    "HELLO",
    "HELLO 3",
    "HELLO 2 AUTH ann good SETNAME n",
    "HELLO 3 AUTH bob bad",
    "SELECT 1",
    "SELECT 99",
    "CLIENT ID",
    "CLIENT SETNAME me",
    "CLIENT INFO",
    "CLIENT LIST",
    "CLIENT KILL ID 1",
    "CLIENT KILL TYPE normal SKIPME no",
    "CLIENT REPLY OFF",
    "CLIENT REPLY SKIP",
    "CLIENT REPLY ON",
    "RESET",
    "QUIT",
    "MULTI",
    "SYNC",
    "CONFIG SET a b",
    "*0\r\n",
    "*2\r\n$3\r\nGET\r\n$1\r",
    "*3\r\nfoo",
    "POST / HTTP/1.1",
];

/// What servers say when they do not listen.
pub(super) const REPLIES: &[&str] = &[
    "+OK\r\n",
    "-ERR no\r\n",
    "-NOAUTH Authentication required.\r\n",
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    "-ERR unknown command 'HELLO'\r\n",
    "-ERR max number of clients reached\r\n",
    ":1\r\n",
    "$5\r\nhello\r\n",
    "$300000\r\n",
    "*2\r\n+a\r\n",
    "%1\r\n$2\r\nid\r\n:7\r\n",
    "*2\r\n$2\r\nid\r\n:7\r\n",
    ">2\r\n+push\r\n+me\r\n",
    "|1\r\n+ttl\r\n:3\r\n",
    "_\r\n",
    "@",
];

/// What a good server answers. `good` is the right password.
pub(super) fn reply_to(mut args: Args<'_>, out: &mut Vec<u8>) {
    let argc = args.len();
    match args.next().unwrap_or_default() {
        b"AUTH" if args.nth(argc.saturating_sub(2)) == Some(b"good") => write::simple(out, "OK"),
        b"AUTH" => write::error(out, "WRONGPASS invalid username-password pair"),
        b"HELLO" if args.next() == Some(b"3") => {
            out.extend_from_slice(b"%1\r\n$2\r\nid\r\n:7\r\n");
        }
        b"HELLO" => out.extend_from_slice(b"*2\r\n$2\r\nid\r\n:7\r\n"),
        b"SELECT" if args.next() == Some(b"99") => {
            write::error(out, "ERR DB index is out of range")
        }
        b"SELECT" => write::simple(out, "OK"),
        _ => write::bulk(out, b"a value"),
    }
}
