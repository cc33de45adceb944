//! The handshake of a link, in flights: each is one write, and the next is sent when all replies of
//! the one before have arrived.
//!
//! ```text
//!   SELECT n          with a login and a database that is not 0
//!   AUTH user pw      with a login: alone
//!   HELLO p SETNAME …, SELECT n, COMMAND LIST …
//! ```
//! AUTH is alone in its flight, because Redis 7.2 to 8.2 and Valkey up to 8.1 send no reply to a
//! failed AUTH while other replies of the link wait to be sent: each later reply would be taken for
//! the one before. AUTH is a command of its own (not an option of HELLO), because its error is then
//! exactly the one that a client gets for its own AUTH, and because it works with servers that have
//! no HELLO.
//!
//! SELECT is sent twice, before AUTH and at the end: a client may select its database first and
//! then log in as a user that may not do so. One successful SELECT is enough.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::command::blocking::{self, BlockingCommands};
use crate::command::client::Dialect;
use crate::command::hello;
use crate::command::proxy_command;
use crate::resp::{Protocol, write};

use crate::link::credential::Credential;
use crate::link::failure::Failure;
use crate::link::server_error::{ServerError, error_text};

/// The name of our links in the server's own CLIENT LIST.
const CONNECTION_NAME: &[u8] = b"elika";

/// A server's reply to HELLO in one protocol, with a gap for the client's id.
#[derive(Clone, Debug)]
pub(crate) enum HelloReply {
    /// The bytes before and after the digits of the id.
    Around(Box<[u8]>, Box<[u8]>),
    /// The server does not know HELLO: its error, without the `-`.
    Unknown(String),
}

impl HelloReply {
    /// How this version of the server shows clients.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Around(before, _) => Dialect::of(before),
            Self::Unknown(_) => Dialect::default(),
        }
    }

    /// Is the server a node of a Redis Cluster? Clients do not see that: the reply then says that
    /// it is a server of its own.
    pub(crate) fn hide_cluster(&mut self) -> bool {
        const MODE: &[u8] = b"$4\r\nmode\r\n$7\r\ncluster\r\n";
        const HIDDEN: &[u8] = b"$4\r\nmode\r\n$10\r\nstandalone\r\n";
        let Self::Around(_, after) = self else {
            return false;
        };
        let Some(at) = after.windows(MODE.len()).position(|it| it == MODE) else {
            return false;
        };
        let (before, rest) = after.split_at(at);
        let rest = rest.get(MODE.len()..).unwrap_or_default();
        *after = [before, HIDDEN, rest].concat().into();
        true
    }

    pub(crate) fn write(&self, id: u64, out: &mut Vec<u8>) {
        match self {
            Self::Around(before, after) => {
                out.extend_from_slice(before);
                out.extend_from_slice(id.to_string().as_bytes());
                out.extend_from_slice(after);
            }
            Self::Unknown(text) => write::error(out, text),
        }
    }

    /// This reply with the values of a newer reply for these keys. `None`: no other value changed.
    pub(crate) fn adopt(&self, newer: &[u8], keys: &[&[u8]]) -> Option<Self> {
        if matches!(self, Self::Unknown(_)) {
            return None;
        }
        let mut whole = Vec::new();
        self.write(0, &mut whole);
        let (adopted, _) = split_hello(&hello::adopt(&whole, newer, keys)?)?;
        Some(adopted)
    }
}

/// Splits a reply to HELLO into the reply for clients, and the server's number of the link.
pub(crate) fn split_hello(reply: &[u8]) -> Option<(HelloReply, u64)> {
    let (before, after) = hello::split_at(reply, b"id")?;
    let part = |range: Range<usize>| reply.get(range).unwrap_or_default();
    let id = std::str::from_utf8(part(before.end..after.start)).ok()?;
    let around = HelloReply::Around(part(before).into(), part(after).into());
    Some((around, id.parse().ok()?))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The database, before the login.
    EarlySelect,
    Auth,
    Hello,
    Select,
    /// The commands that may block.
    Learn,
}

/// A handshake in progress: the replies that are outstanding, and the flights that follow.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// Outstanding replies, in order.
    awaited: VecDeque<Step>,
    /// Flights that are not sent, in order.
    flights: VecDeque<Vec<Step>>,
    /// For the flight of AUTH.
    credential: Option<Arc<Credential>>,
    db: u32,
    /// SELECT before the login succeeded.
    selected_early: bool,
    /// SELECT after the login succeeded.
    selected: bool,
    protocol: Protocol,
    hello: Option<HelloReply>,
    /// The server's number of the link, if known.
    id: Option<u64>,
    learned: Option<BlockingCommands>,
}

/// The result of a successful handshake.
#[derive(Debug)]
pub(crate) struct HandshakeDone {
    pub hello: HelloReply,
    /// The server's number of the link, if known.
    pub id: Option<u64>,
    /// The commands that may block, if the server was asked and answered.
    pub learned: Option<BlockingCommands>,
    /// The user may select the database, after its login if it has one.
    pub selected: bool,
}

/// What a server's reply means for the handshake.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More replies are outstanding.
    More,
    /// These bytes are to be written next.
    Send(Vec<u8>),
    Done(HandshakeDone),
    Failed(Failure),
}

impl Handshake {
    /// A handshake on a new link.
    pub(crate) fn new(
        credential: Option<Arc<Credential>>,
        protocol: Protocol,
        db: u32,
        learn: bool,
    ) -> Self {
        let mut handshake = Self::of_verified(protocol, db, learn);
        if credential.is_some() {
            handshake.flights.push_front(vec![Step::Auth]);
            if db != 0 {
                handshake.flights.push_front(vec![Step::EarlySelect]);
            }
        }
        handshake.credential = credential;
        handshake
    }

    /// A handshake on a link on which AUTH has succeeded.
    pub(crate) fn of_verified(protocol: Protocol, db: u32, learn: bool) -> Self {
        let mut last = vec![Step::Hello];
        last.extend((db != 0).then_some(Step::Select));
        last.extend(learn.then_some(Step::Learn));
        Self {
            awaited: VecDeque::new(),
            flights: VecDeque::from([last]),
            credential: None,
            db,
            selected_early: false,
            selected: false,
            protocol,
            hello: None,
            id: None,
            learned: None,
        }
    }

    /// The bytes of the next flight; empty if there is none.
    pub(crate) fn next_flight(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for step in self.flights.pop_front().unwrap_or_default() {
            self.write(step, &mut out);
            self.awaited.push_back(step);
        }
        out
    }

    fn write(&self, step: Step, out: &mut Vec<u8>) {
        match step {
            Step::EarlySelect | Step::Select => {
                proxy_command::write(out, &[b"SELECT", self.db.to_string().as_bytes()]);
            }
            Step::Auth => {
                if let Some(credential) = &self.credential {
                    credential.write_auth_again(out);
                }
            }
            Step::Hello => {
                let version = self.protocol.number().to_string();
                let setname = &[b"HELLO", version.as_bytes(), b"SETNAME", CONNECTION_NAME];
                proxy_command::write(out, setname);
            }
            Step::Learn => blocking::write_request(out),
        }
    }

    /// Handles one complete reply.
    pub(crate) fn reply(&mut self, reply: &[u8]) -> Progress {
        let Some(step) = self.awaited.pop_front() else {
            let why = "sent an unexpected reply";
            return Progress::Failed(match error_text(reply) {
                Some(text) if ServerError::of(&text) == ServerError::Script => Failure::Busy(text),
                // The server rejects connections at the moment.
                Some(text) => Failure::TurnedAway(text),
                None => Failure::Desync(why.into()),
            });
        };
        if let Err(failure) = self.take(step, reply) {
            return Progress::Failed(failure);
        }
        if !self.awaited.is_empty() {
            return Progress::More;
        }
        if !self.flights.is_empty() {
            return Progress::Send(self.next_flight());
        }
        match self.hello.take() {
            Some(hello) => Progress::Done(HandshakeDone {
                hello,
                id: self.id,
                learned: self.learned.take(),
                selected: self.selected,
            }),
            None => Progress::Failed(Failure::Desync("no reply to HELLO".into())),
        }
    }

    fn take(&mut self, step: Step, reply: &[u8]) -> Result<(), Failure> {
        let text = error_text(&proxy_command::unmark(reply));
        let error = text.map(|text| (ServerError::of(&text), text));
        match (step, error) {
            // The user may not send COMMAND, or the server is busy or loading: the known commands
            // stay as they are.
            (Step::Learn, Some((error, _))) if error.is_passing() => {}
            (Step::Learn, _) => {
                self.learned = Some(BlockingCommands::read(reply).unwrap_or_default())
            }
            // The error was about the connection, not the command; no other reply will follow.
            (Step::EarlySelect, Some((ServerError::Rejects, text))) => {
                return Err(Failure::TurnedAway(text));
            }
            (Step::EarlySelect | Step::Select | Step::Auth, None) if reply != b"+OK\r\n" => {
                return Err(Failure::Desync("sent another reply than OK".into()));
            }
            (Step::EarlySelect, error) => self.selected_early = error.is_none(),
            (Step::Select, Some(_)) if self.selected_early => {}
            (_, Some((ServerError::Script, text))) => return Err(Failure::Busy(text)),
            (Step::Auth, Some((error, text))) if error.refuses_login() => {
                return Err(Failure::Refused(text));
            }
            (Step::Hello, Some((ServerError::NoAuth, text))) => return Err(Failure::Refused(text)),
            // A server before 6.0 speaks RESP2 only, and needs no HELLO for it.
            (Step::Hello, Some((ServerError::UnknownCommand, text)))
                if self.protocol == Protocol::Resp2 =>
            {
                self.hello = Some(HelloReply::Unknown(text));
            }
            (Step::Hello, Some((ServerError::UnknownCommand | ServerError::NoProtocol, text)))
            | (Step::Select, Some((_, text))) => return Err(Failure::Rejected(text)),
            (_, Some((_, text))) => return Err(Failure::TurnedAway(text)),
            (Step::Hello, None) => match split_hello(reply) {
                Some((hello, id)) => (self.hello, self.id) = (Some(hello), Some(id)),
                None => return Err(Failure::Desync("unknown form of HELLO reply".into())),
            },
            (Step::Auth, None) => {}
            (Step::Select, None) => self.selected = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
