//! The requests of clients and the replies of servers in a [`check`](super), apart from random
//! bytes.

use crate::resp::{Args, Protocol, write};

/// Requests of clients. `%` stands for the tenant.
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
    "EXEC",
    "DISCARD",
    "WATCH k",
    "UNWATCH",
    "BLPOP k 0",
    "XREAD BLOCK 0 STREAMS s $",
    "WAIT 1 0",
    "SUBSCRIBE a b",
    "UNSUBSCRIBE",
    "UNSUBSCRIBE a",
    "PSUBSCRIBE p*",
    "PUNSUBSCRIBE",
    "MONITOR",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING ON REDIRECT 1",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "CLIENT NO-TOUCH ON",
    "CLIENT NO-TOUCH OFF",
    "CLIENT UNBLOCK 1",
    "CLIENT UNBLOCK 2 ERROR",
    "HELLO 2",
    "SELECT 0",
    "*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n*1\r\n$4\r\nEXEC\r\n",
    "AUTH shop.ann good",
    "SET k v",
    "EVAL x 0",
    "AUTH shop.bob good\r\nGET k\r\nBLPOP k 0\r\nGET k",
    "GET big",
    "GET big\r\nGET k",
    "GET k\r\nPING\r\nGET k",
    "INCR n",
];

/// Replies of servers that ignore the request.
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
    "+QUEUED\r\n",
    "*-1\r\n",
    "*2\r\n+x\r\n:7\r\n",
    "-EXECABORT Transaction discarded because of previous errors.\r\n",
    "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n",
    ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n",
    "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n",
    ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nh",
    "i\r\n",
    ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
    "+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n",
    "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n",
    "-LOADING Redis is loading the dataset in memory\r\n",
    "-MASTERDOWN Wire with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    "-READONLY You can't write against a read only replica.\r\n",
    "*4\r\n$2\r\nid\r\n:7\r\n$4\r\nrole\r\n$7\r\nreplica\r\n",
];

/// A value that is too large to be buffered for a client that does not read it, bytes.
const BIG_BYTES: usize = 1_000_000;

/// What is wrong with a server.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    Loading,
    ReadOnly,
}

/// The state of a connection on a correct server.
#[derive(Default)]
pub(super) struct Session {
    resp3: bool,
    /// Inside MULTI: how many commands are queued.
    queued: Option<usize>,
    channels: usize,
    patterns: usize,
    /// Blocked; unblocked when it is next looked at.
    pub(super) blocked: bool,
}

/// The reply of a correct server. `good` is the right password.
pub(super) fn reply_to(args: Args<'_>, fault: Fault, session: &mut Session, out: &mut Vec<u8>) {
    let words: Vec<&[u8]> = args.collect();
    let name = words.first().map(|name| name.to_ascii_uppercase());
    let (loads, reads) = (fault == Fault::Loading, fault == Fault::ReadOnly);
    match name.as_deref().unwrap_or_default() {
        b"GET" | b"PING" | b"SET" | b"BLPOP" if loads => {
            return write::error(out, "LOADING Redis is loading the dataset in memory");
        }
        b"SET" | b"BLPOP" if reads => {
            return write::error(out, "READONLY You can't write against a read only replica.");
        }
        b"HELLO" if reads && words.len() == 1 => {
            return out.extend_from_slice(b"*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n");
        }
        _ => {}
    }
    match (name.as_deref().unwrap_or_default(), session.queued) {
        (b"EXEC", Some(queued)) => {
            session.queued = None;
            write::array(out, queued);
            for _ in 0..queued {
                write::integer(out, 1);
            }
        }
        (b"DISCARD", Some(_)) => {
            session.queued = None;
            write::simple(out, "OK");
        }
        (_, Some(queued)) => {
            session.queued = Some(queued + 1);
            write::simple(out, "QUEUED");
        }
        (name, None) => plain_reply(name, &words, session, out),
    }
}

fn plain_reply(name: &[u8], words: &[&[u8]], session: &mut Session, out: &mut Vec<u8>) {
    let first = words.get(1).copied().unwrap_or_default();
    match name {
        b"AUTH" if words.last() == Some(&&b"good"[..]) => write::simple(out, "OK"),
        b"AUTH" => write::error(out, "WRONGPASS invalid username-password pair"),
        b"HELLO" if words.get(2) == Some(&&b"AUTH"[..]) && words.get(4) != Some(&&b"good"[..]) => {
            write::error(out, "WRONGPASS invalid username-password pair");
        }
        b"HELLO" if first == b"3" => {
            session.resp3 = true;
            out.extend_from_slice(b"%1\r\n$2\r\nid\r\n:7\r\n");
        }
        b"HELLO" => {
            session.resp3 = false;
            out.extend_from_slice(b"*2\r\n$2\r\nid\r\n:7\r\n");
        }
        b"SELECT" if first == b"99" => write::error(out, "ERR DB index is out of range"),
        b"MULTI" => {
            session.queued = Some(0);
            write::simple(out, "OK");
        }
        b"EXEC" => write::error(out, "ERR EXEC without MULTI"),
        b"SELECT" | b"WATCH" | b"UNWATCH" | b"MONITOR" => write::simple(out, "OK"),
        b"CLIENT" if first.eq_ignore_ascii_case(b"unblock") => write::integer(out, 0),
        b"CLIENT" => write::simple(out, "OK"),
        b"BLPOP" | b"XREAD" => session.blocked = true,
        b"WAIT" => write::integer(out, 1),
        b"SUBSCRIBE" | b"PSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" => {
            confirm(name, words, session, out);
        }
        b"GET" if first == b"big" => write::bulk(out, &[b'v'; BIG_BYTES]),
        b"INCR" => write::integer(out, 1),
        _ => write::bulk(out, b"a value"),
    }
}

/// One confirmation per channel; all channels are taken for different ones.
fn confirm(name: &[u8], words: &[&[u8]], session: &mut Session, out: &mut Vec<u8>) {
    let more = !name.ends_with(b"UNSUBSCRIBE");
    let protocol = match session.resp3 {
        true => Protocol::Resp3,
        false => Protocol::Resp2,
    };
    let (topic, others) = match name.starts_with(b"P") {
        true => (&mut session.patterns, session.channels),
        false => (&mut session.channels, session.patterns),
    };
    let times = match words.len() {
        0 | 1 => (*topic).max(1),
        named => named - 1,
    };
    for _ in 0..times {
        *topic = match more {
            true => *topic + 1,
            false => topic.saturating_sub(1),
        };
        write::push(out, protocol, 3);
        write::bulk(out, &name.to_ascii_lowercase());
        write::bulk(out, b"a");
        write::integer(out, i64::try_from(*topic + others).unwrap_or_default());
    }
}
