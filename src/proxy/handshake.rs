//! What a backend connection says first: `AUTH`, `HELLO p SETNAME …`, `SELECT n`, in one write.
//!
//! `SELECT` is said twice, before AUTH and at the end: on a connection that a client has to itself
//! it may choose its database first and log in as a user who may not do so later. One that goes
//! well is enough.
//!
//! AUTH is a command of its own (not HELLO's option), because its error is then exactly the one a
//! client gets for its own AUTH, and because it works with servers that have no HELLO.

use std::fmt;
use std::ops::Range;

use crate::command::hello;
use crate::command::learned::{self, Learned};
use crate::resp::{Protocol, write};

use super::backend::Failure;

/// How the backend's own CLIENT LIST shows our connections.
const CONNECTION_NAME: &[u8] = b"elika";

/// What a client logged in with. Kept as long as its account is used, for new connections.
#[derive(PartialEq, Eq)]
pub(super) struct Credential {
    /// `None` is the one-argument AUTH.
    pub user: Option<Box<[u8]>>,
    pub password: Box<[u8]>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

impl Credential {
    /// The AUTH command, as the client gave it.
    pub(super) fn write_auth(&self, out: &mut Vec<u8>) {
        match &self.user {
            Some(user) => write::command(out, &[b"AUTH", user, &self.password]),
            None => write::command(out, &[b"AUTH", &self.password]),
        }
    }

    /// HELLO with this credential; one without a user is the default user's.
    pub(super) fn write_hello(&self, version: &str, out: &mut Vec<u8>) {
        let user = self.user.as_deref().unwrap_or(b"default");
        let version = version.as_bytes();
        write::command(out, &[b"HELLO", version, b"AUTH", user, &self.password]);
    }
}

/// A HELLO reply of the backend, in one protocol, ready to carry a client's id instead of ours.
#[derive(Clone, Debug)]
pub(super) enum HelloReply {
    /// What comes before and after the id's digits.
    Around(Box<[u8]>, Box<[u8]>),
    /// The server knows no HELLO: its error, without the `-`.
    Unknown(String),
}

impl HelloReply {
    pub(super) fn write(&self, id: u64, out: &mut Vec<u8>) {
        match self {
            Self::Around(before, after) => {
                out.extend_from_slice(before);
                out.extend_from_slice(id.to_string().as_bytes());
                out.extend_from_slice(after);
            }
            Self::Unknown(text) => write::error(out, text),
        }
    }
}

/// Takes a reply to HELLO apart: what clients hear, and the connection's number on the backend.
pub(super) fn split_hello(reply: &[u8]) -> Option<(HelloReply, u64)> {
    let (before, after) = hello::split_at(reply, b"id")?;
    let part = |range: Range<usize>| reply.get(range).unwrap_or_default();
    let id = std::str::from_utf8(part(before.end..after.start)).ok()?;
    let around = HelloReply::Around(part(before).into(), part(after).into());
    Some((around, id.parse().ok()?))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The database, as who one is without a login.
    EarlySelect,
    Auth,
    Hello,
    Select,
    /// Which commands may block.
    Learn,
}

/// The replies that are still to come, in order.
#[derive(Debug)]
pub(super) struct Handshake {
    steps: [Option<Step>; 5],
    next: usize,
    /// The database is the right one already.
    selected: bool,
    protocol: Protocol,
    hello: Option<HelloReply>,
    /// The connection's number on the backend, if it told.
    id: Option<u64>,
    learned: Option<Learned>,
}

/// What a backend told in a handshake that went well.
#[derive(Debug)]
pub(super) struct Greeted {
    pub hello: HelloReply,
    /// The connection's number on the backend, if it told.
    pub id: Option<u64>,
    /// Its commands that may block, if it was asked and told.
    pub learned: Option<Learned>,
}

/// What a reply of the backend means for its handshake.
#[derive(Debug)]
pub(super) enum Progress {
    More,
    Done(Greeted),
    Failed(Failure),
}

impl Handshake {
    /// Starts a handshake: its bytes are appended to `out`.
    pub(super) fn start(
        credential: Option<&Credential>,
        protocol: Protocol,
        db: u32,
        learn: bool,
        out: &mut Vec<u8>,
    ) -> Self {
        let index = db.to_string();
        let select: &[&[u8]] = &[b"SELECT", index.as_bytes()];
        if let Some(credential) = credential {
            if db != 0 {
                write::command(out, select);
            }
            credential.write_auth(out);
        }
        let version = protocol.number().to_string();
        write::command(
            out,
            &[b"HELLO", version.as_bytes(), b"SETNAME", CONNECTION_NAME],
        );
        if db != 0 {
            write::command(out, select);
        }
        let steps = [
            (db != 0 && credential.is_some()).then_some(Step::EarlySelect),
            credential.is_some().then_some(Step::Auth),
            Some(Step::Hello),
            (db != 0).then_some(Step::Select),
            learn.then_some(Step::Learn),
        ];
        if learn {
            learned::ask(out);
        }
        Self {
            steps,
            next: 0,
            selected: false,
            protocol,
            hello: None,
            id: None,
            learned: None,
        }
    }

    /// Takes one complete reply.
    pub(super) fn reply(&mut self, reply: &[u8]) -> Progress {
        let step = loop {
            let Some(step) = self.steps.get(self.next) else {
                return Progress::Failed(Failure::Desync(
                    "unexpected reply in the handshake".into(),
                ));
            };
            self.next += 1;
            if let Some(step) = step {
                break *step;
            }
        };
        let error = error_text(reply);
        match (step, error) {
            // What it may not tell changes nothing; a server of before knows none.
            (Step::Learn, Some(text)) if is_passing(&text) => {}
            (Step::Learn, _) => self.learned = Some(Learned::read(reply).unwrap_or_default()),
            (Step::EarlySelect, error) => self.selected = error.is_none(),
            (Step::Select, Some(_)) if self.selected => {}
            (Step::Auth, Some(text)) if is_refusal(&text) => {
                return Progress::Failed(Failure::Refused(text));
            }
            (Step::Hello, Some(text)) if text.starts_with("NOAUTH") => {
                return Progress::Failed(Failure::Refused(text));
            }
            // A server before 6.0 speaks RESP2 only, and needs no HELLO for that.
            (Step::Hello, Some(text)) if is_unknown(&text) && self.protocol == Protocol::Resp2 => {
                self.hello = Some(HelloReply::Unknown(text));
            }
            (Step::Select, Some(text)) if !text.starts_with("BUSY ") => {
                return Progress::Failed(Failure::Rejected(text));
            }
            (Step::Hello, Some(text)) if is_unknown(&text) || text.starts_with("NOPROTO") => {
                return Progress::Failed(Failure::Rejected(text));
            }
            (_, Some(text)) => return Progress::Failed(Failure::TurnedAway(text)),
            (Step::Hello, None) => match split_hello(reply) {
                Some((hello, id)) => (self.hello, self.id) = (Some(hello), Some(id)),
                None => {
                    return Progress::Failed(Failure::Desync("unknown form of HELLO reply".into()));
                }
            },
            (Step::Auth | Step::Select, None) => {}
        }
        if self.steps.iter().skip(self.next).any(Option::is_some) {
            return Progress::More;
        }
        match self.hello.take() {
            Some(hello) => Progress::Done(Greeted {
                hello,
                id: self.id,
                learned: self.learned.take(),
            }),
            None => Progress::Failed(Failure::Desync("no reply to HELLO".into())),
        }
    }
}

/// The text of an error reply (RESP2, or RESP3's blob error), without the mark.
pub(super) fn error_text(reply: &[u8]) -> Option<String> {
    let text = match reply.split_first()? {
        (b'-', text) => text,
        (b'!', blob) => blob.splitn(2, |&b| b == b'\n').nth(1)?,
        _ => return None,
    };
    Some(String::from_utf8_lossy(text).trim_end().to_owned())
}

/// Does an error to AUTH say that the credential is wrong? (Others are about the connection:
/// too many clients, protected mode.) The texts are those of Redis 2 to 8.
pub(super) fn is_refusal(text: &str) -> bool {
    [
        "WRONGPASS",
        "NOAUTH",
        "ERR invalid password",
        "ERR Client sent AUTH",
        "ERR AUTH ",
    ]
    .iter()
    .any(|start| text.starts_with(start))
}

/// Does an error say nothing of what others hear, or the same one hears later?
fn is_passing(text: &str) -> bool {
    let passing = ["NOPERM", "NOAUTH", "BUSY", "LOADING", "MASTERDOWN"];
    passing.iter().any(|start| text.starts_with(start))
}

/// Does an error say that there is no such command?
fn is_unknown(text: &str) -> bool {
    text.starts_with("ERR unknown command")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO2: &[u8] = b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n";

    fn start(auth: bool, protocol: Protocol, db: u32) -> (Handshake, String) {
        let credential = Credential {
            user: Some((*b"ann").into()),
            password: (*b"pw").into(),
        };
        let mut out = Vec::new();
        let handshake =
            Handshake::start(auth.then_some(&credential), protocol, db, false, &mut out);
        (handshake, String::from_utf8(out).unwrap())
    }

    #[test]
    fn all_steps_in_one_write() {
        let (mut handshake, bytes) = start(true, Protocol::Resp2, 3);
        let words: Vec<&str> = bytes
            .split("\r\n")
            .filter(|w| !w.starts_with(['*', '$']) && !w.is_empty())
            .collect();
        assert_eq!(
            words,
            [
                "SELECT", "3", "AUTH", "ann", "pw", "HELLO", "2", "SETNAME", "elika", "SELECT", "3"
            ]
        );
        let early = b"-NOAUTH Authentication required.\r\n";
        assert!(matches!(handshake.reply(early), Progress::More));
        assert!(matches!(handshake.reply(b"+OK\r\n"), Progress::More));
        assert!(matches!(handshake.reply(HELLO2), Progress::More));
        let Progress::Done(Greeted {
            hello,
            id: Some(77),
            learned: None,
        }) = handshake.reply(b"+OK\r\n")
        else {
            panic!()
        };
        let mut out = Vec::new();
        hello.write(5, &mut out);
        assert_eq!(
            out,
            b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:5\r\n"
        );
    }

    #[test]
    fn a_user_that_may_not_select_gets_its_database_all_the_same() {
        let (mut handshake, _) = start(true, Protocol::Resp2, 3);
        let denied = b"-NOPERM this user has no permissions to run the 'select' command\r\n";
        assert!(matches!(handshake.reply(b"+OK\r\n"), Progress::More));
        assert!(matches!(handshake.reply(b"+OK\r\n"), Progress::More));
        assert!(matches!(handshake.reply(HELLO2), Progress::More));
        assert!(matches!(handshake.reply(denied), Progress::Done(..)));
    }

    #[test]
    fn refusals_are_told_from_other_errors() {
        let wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        let (mut handshake, _) = start(true, Protocol::Resp2, 0);
        let Progress::Failed(Failure::Refused(text)) = handshake.reply(wrong) else {
            panic!()
        };
        assert!(text.starts_with("WRONGPASS"));
        let (mut handshake, _) = start(true, Protocol::Resp2, 0);
        let full = b"-ERR max number of clients reached\r\n";
        assert!(matches!(
            handshake.reply(full),
            Progress::Failed(Failure::TurnedAway(_))
        ));
        let (mut handshake, _) = start(false, Protocol::Resp3, 0);
        let noauth = b"-NOAUTH HELLO must be called with the client already authenticated\r\n";
        assert!(matches!(
            handshake.reply(noauth),
            Progress::Failed(Failure::Refused(_))
        ));
    }

    #[test]
    fn an_old_server_is_served_in_resp2_only() {
        let unknown = b"-ERR unknown command 'HELLO'\r\n";
        let (mut handshake, _) = start(false, Protocol::Resp2, 0);
        assert!(matches!(
            handshake.reply(unknown),
            Progress::Done(Greeted {
                hello: HelloReply::Unknown(_),
                ..
            })
        ));
        let (mut handshake, _) = start(false, Protocol::Resp3, 0);
        assert!(matches!(
            handshake.reply(unknown),
            Progress::Failed(Failure::Rejected(_))
        ));
    }

    #[test]
    fn a_database_that_is_not_there() {
        let (mut handshake, _) = start(false, Protocol::Resp2, 99);
        assert!(matches!(handshake.reply(HELLO2), Progress::More));
        let Progress::Failed(Failure::Rejected(text)) =
            handshake.reply(b"-ERR DB index is out of range\r\n")
        else {
            panic!()
        };
        assert_eq!(text, "ERR DB index is out of range");
    }
}
