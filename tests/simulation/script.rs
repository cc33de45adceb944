//! The requests of a fake client, drawn by the seed.

use std::collections::VecDeque;
use std::mem;

use super::client::Op;
use super::clusters::Tenant;
use super::plan::Plan;
use super::redis::{Redis, SEQUENCE, Tag};
use super::rng::Rng;
use super::wire;

mod admin;
mod encoding;
mod line;
mod lists;
mod login;
mod long_script;
mod subscriber;
mod transactions;
mod writer;

use encoding::{as_inline, last_words};
pub(crate) use line::{Asks, Line};
use login::{change, enter};

/// Bytes that are not a request and have no reply.
const NOTHING: &[&[u8]] = &[b"*0\r\n", b"\r\n", b"*-1\r\n", b"\n"];

/// The main behaviour of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Data commands, rarely other ones.
    Data,
    /// Logs in as another user, changes database and protocol, repeatedly.
    Logins,
    /// Lists clients and kills them.
    Admin,
    /// Large values.
    LargeValues,
    /// Reads, one after the other, small and large.
    Reads,
    /// Transactions.
    Transactions,
    /// Pushes to lists, and waits for elements of others.
    Lists,
    /// Writes, and waits for replicas.
    Replication,
    /// Subscribes, and caches the keys that it has read.
    Subscriptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyMode {
    On,
    Off,
    SkipNext,
}

#[derive(Debug)]
pub(crate) struct Script {
    id: u64,
    pub(crate) behaviour: Behaviour,
    /// The number of requests still to send.
    pub(crate) left: u64,
    pub(crate) pending_max: usize,
    number: u64,
    /// It has had its chance to log in first.
    entered: bool,
    /// The mode of CLIENT REPLY after all sent requests.
    voice: ReplyMode,
    /// The following requests of a group.
    block: VecDeque<Line>,
    /// It may be subscribed, where CLIENT REPLY is refused.
    listens: bool,
    /// It may be inside MULTI, where CLIENT REPLY is refused too.
    inside: bool,
    /// It may do what fails if CLIENT REPLY is refused, or want silence. Where requests may be
    /// refused, it does only one of the two: otherwise it would be unknown whether it is inside
    /// MULTI.
    may_trade: bool,
    may_be_silent: bool,
    /// It may be inside a MULTI whose reply it did not get.
    pub(crate) unheard: bool,
    /// Nothing more may be sent.
    pub(crate) ended: bool,
}

/// The part of the world that a script sees.
pub(crate) struct Around<'a> {
    pub(crate) servers: &'a [Redis],
    pub(crate) tenants: &'a [Tenant],
    pub(crate) plan: &'a Plan,
    /// Ids of clients that may be killed.
    pub(crate) ids: &'a [u64],
}

impl Around<'_> {
    /// The tenant with this name, if the name is not an alias of another one.
    fn called(&self, name: &str) -> Option<usize> {
        let named = |it: &Tenant| it.key.as_str() == name || it.alias.as_deref() == Some(name);
        self.tenants.iter().position(named)
    }
}

impl Script {
    pub(crate) fn new(id: u64, left: u64, plan: &Plan, rng: &mut Rng) -> Self {
        use Behaviour::{
            Admin, Data, LargeValues, Lists, Logins, Reads, Replication, Subscriptions,
            Transactions,
        };
        let behaviours: &[Behaviour] = match (plan.narrow, plan.huge) {
            (true, _) => &[
                Data,
                LargeValues,
                LargeValues,
                Reads,
                Reads,
                Reads,
                Reads,
                Reads,
            ],
            _ if plan.crowded => &[LargeValues, LargeValues, LargeValues, Logins],
            _ if plan.own => &[
                Data,
                Logins,
                Admin,
                Transactions,
                Lists,
                Subscriptions,
                Replication,
                Replication,
            ],
            (_, true) => &[
                Data,
                Logins,
                Admin,
                LargeValues,
                LargeValues,
                LargeValues,
                Reads,
            ],
            (_, false) => &[Data, Data, Logins, Logins, Admin, LargeValues, Reads],
        };
        let silent = rng.one_in(2);
        Self {
            id,
            may_trade: !plan.limited || !silent,
            may_be_silent: !plan.limited || silent,
            behaviour: *rng.pick(behaviours),
            // In a narrow world every client keeps its user.
            entered: plan.narrow,
            left,
            pending_max: *rng.pick(&[1, 10, 300]),
            number: 0,
            voice: ReplyMode::On,
            block: VecDeque::new(),
            listens: false,
            inside: false,
            unheard: false,
            ended: false,
        }
    }

    /// Whether it sends pipelines with large replies.
    pub(crate) fn writes_much(&self) -> bool {
        matches!(self.behaviour, Behaviour::LargeValues | Behaviour::Reads) && self.pending_max > 1
    }

    fn tag(&mut self) -> Tag {
        self.number += 1;
        self.id * SEQUENCE + self.number
    }

    /// The next request.
    pub(crate) fn next(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        self.left = self.left.saturating_sub(1);
        if let Some(line) = self.block.pop_front() {
            return line;
        }
        if self.voice != ReplyMode::On {
            return self.silent(around, rng);
        }
        if self.left == 0 && rng.one_in(3) {
            self.ended = true;
            return last_words(rng);
        }
        // Most clients that need a login log in first, with a valid password.
        let enters = rng.one_in(2) || self.behaviour == Behaviour::Replication;
        let enters = enters || around.plan.crowded && !rng.one_in(6);
        if !mem::replace(&mut self.entered, true) && enters {
            return enter(around, rng);
        }
        let roll = rng.below(100);
        let mut line = match self.behaviour {
            Behaviour::Data if roll < 90 => self.data(around, rng),
            Behaviour::Logins if roll < 45 => self.data(around, rng),
            Behaviour::Logins if roll < 85 => change(around, rng, self.number),
            Behaviour::Admin if roll < 40 => self.data(around, rng),
            Behaviour::Admin if roll < 75 => self.admin_command(around, rng),
            Behaviour::LargeValues if around.plan.crowded && roll < 97 => self.data(around, rng),
            Behaviour::LargeValues if roll < 80 => self.data(around, rng),
            Behaviour::Reads if roll < 97 => self.read(around, rng, roll < 15),
            Behaviour::LargeValues if roll < 75 && around.plan.narrow => {
                self.read(around, rng, true)
            }
            Behaviour::Transactions if roll < 75 && self.may_trade => {
                self.transaction_command(around, rng)
            }
            Behaviour::Lists if roll < 75 => self.queuer(around, rng),
            Behaviour::Replication if roll < 85 => self.block_of(Self::write_and_wait, rng),
            Behaviour::Subscriptions if roll < 75 => self.listener(around, rng),
            _ => self.other(around, rng),
        };
        if line.bytes.len() < 120 && rng.one_in(10) {
            line.bytes = as_inline(&line.bytes, rng);
        }
        if rng.one_in(40) {
            let nothing: &&[u8] = rng.pick(NOTHING);
            line.bytes.splice(0..0, nothing.iter().copied());
        }
        line
    }

    /// The first of these requests; the others follow.
    fn block_of(
        &mut self,
        lines: impl FnOnce(&mut Self, &mut Rng) -> Vec<Line>,
        rng: &mut Rng,
    ) -> Line {
        let mut lines = lines(self, rng).into_iter();
        let first = lines.next();
        self.block.extend(lines);
        first.unwrap_or_else(|| Line::new(&["PING"], Op::Ping(None)))
    }

    /// Whether every request has a reply.
    pub(crate) fn is_heard(&self) -> bool {
        self.voice == ReplyMode::On && self.block.is_empty()
    }

    /// A small read, or a small write.
    pub(crate) fn plain(&mut self, write: bool) -> Line {
        let tag = self.tag();
        let (t, op) = (format!("t{tag}"), Op::Data { tag, big: false });
        match write {
            true => Line::new(&["SET", "k0", "v", &t], op),
            false => Line::new(&["GET", "k0", &t], op),
        }
    }

    /// The last request: checks that the client gets a reply, and its data command works.
    pub(crate) fn last_requests(&mut self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.block.drain(..).collect();
        if self.voice != ReplyMode::On {
            self.voice = ReplyMode::On;
            lines.push(Line::new(&["CLIENT", "REPLY", "ON"], Op::ReplyOn));
        }
        let tag = self.tag();
        let op = Op::Data { tag, big: false };
        lines.push(Line::new(&["ECHOALL", "last", &format!("t{tag}")], op));
        lines.push(Line::new(&["PING"], Op::Ping(None)));
        lines
    }

    /// After CLIENT REPLY OFF or SKIP: only requests that change nothing.
    fn silent(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        if self.voice == ReplyMode::Off && rng.one_in(4) {
            self.voice = ReplyMode::On;
            return Line::new(&["CLIENT", "REPLY", "ON"], Op::ReplyOn);
        }
        if self.voice == ReplyMode::SkipNext {
            self.voice = ReplyMode::On;
        }
        match rng.below(7) {
            6 if self.voice == ReplyMode::Off
                && self.behaviour == Behaviour::Transactions
                && self.may_trade =>
            {
                self.unheard = true;
                for _ in 0..rng.below(3) {
                    let data = self.small(around, rng);
                    self.block.push_back(Line { op: None, ..data });
                }
                let end = if rng.one_in(4) { "DISCARD" } else { "EXEC" };
                self.block.push_back(Line::unheard(&[end]));
                Line::unheard(&["MULTI"])
            }
            0 => Line::unheard(&["PING"]),
            1 => Line::unheard(&["CLIENT", "ID"]),
            // A large request may end the connection of an anonymous client without a reply.
            _ => Line {
                op: None,
                ..self.small(around, rng)
            },
        }
    }

    /// A data command that an anonymous client may send too.
    fn small(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        loop {
            let line = self.data(around, rng);
            if !matches!(line.op, Some(Op::Data { big: true, .. })) {
                return line;
            }
        }
    }

    fn data(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        let tag = self.tag();
        let t = format!("t{tag}");
        let own = format!("ctr:{}", self.id);
        let shared = format!("k{}", rng.below(5));
        let mut big = false;
        let hauls = self.behaviour == Behaviour::LargeValues;
        let args: Vec<String> = match rng.below(if hauls { 20 } else { 11 }) {
            _ if rng.one_in(12) => vec!["PUBLISH".into(), channel(rng), t],
            _ if rng.one_in(12) => vec!["RPUSH".into(), list(rng), format!("e{tag}"), t],
            0 | 1 => vec!["GET".into(), shared, t],
            2 => vec!["get".into(), own, t],
            3 => vec!["SET".into(), shared, "v".repeat(rng.below(40)), t],
            4 | 5 => vec!["INCR".into(), own, t],
            6 => vec!["EchoAll".into(), "a b".into(), String::new(), "c".into(), t],
            7 => vec!["NEST".into(), t],
            8 => vec!["FAIL".into(), t],
            9 => vec!["TAG".into(), t],
            10 => vec!["NIL".into(), t],
            11 | 12 => {
                let name = *rng.pick(&["BIG", "GETRANGE", "lrange"]);
                vec![name.into(), size(around, rng).to_string(), t]
            }
            13 => {
                big = true;
                let argc = 10 + rng.below(300);
                let mut args = vec!["MSET".to_owned(); argc];
                args.push(t);
                args
            }
            // As large as allowed for an anonymous client.
            14..=16 => {
                let values = (0..7).map(|_| "v".repeat(16_000 + rng.below(300)));
                let mut args = vec!["SET".to_owned(), shared];
                args.extend(values);
                args.push(t);
                args
            }
            _ => {
                let len = rng.below(if around.plan.huge { 900_000 } else { 200_000 });
                big = len > 16 * 1024;
                vec!["SET".into(), shared, "v".repeat(len), t]
            }
        };
        Line::raw(wire::command(&args), Some(Op::Data { tag, big }))
    }

    /// A command that changes nothing and may be retried.
    fn read(&mut self, around: &Around<'_>, rng: &mut Rng, big: bool) -> Line {
        let tag = self.tag();
        let (t, op) = (format!("t{tag}"), Op::Data { tag, big: false });
        let name = *rng.pick(&["GETRANGE", "LRANGE"]);
        match big {
            true => Line::new(&[name, &size(around, rng).to_string(), &t], op),
            false => Line::new(&["GET", &format!("k{}", rng.below(5)), &t], op),
        }
    }

    fn other(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        let exact = |args: &[&str], reply: &[u8]| Line::new(args, Op::Exact(reply.to_vec()));
        match rng.below(22) {
            0 | 1 => Line::new(&["PING"], Op::Ping(None)),
            2 => Line::new(&["ping", "hi there"], Op::Ping(Some("hi there"))),
            3 => exact(&["ECHO", "x"], b"$1\r\nx\r\n"),
            4 => Line::new(&["ACL", "WHOAMI"], Op::WhoAmI),
            5 => Line::new(&["EXEC"], Op::Exec),
            6 => Line::new(&["PING", "a", "b"], Op::Miscounted),
            7 if !around.plan.narrow && self.may_trade => self.transaction_command(around, rng),
            8 if !around.plan.narrow => self.queuer(around, rng),
            11..=13 if self.listens || self.inside || !self.may_be_silent => {
                self.inside = false;
                Line::new(&["DISCARD"], Op::Discard)
            }
            9 => Line::new(&["SYNC"], Op::Denied("sync")),
            10 => {
                let tag = self.tag();
                let t = format!("t{tag}");
                Line::new(&["CONFIG", "SET", "x", &t], Op::Admin { tag })
            }
            11 => {
                self.voice = ReplyMode::Off;
                Line::unheard(&["CLIENT", "REPLY", "OFF"])
            }
            12 | 13 => {
                self.voice = ReplyMode::SkipNext;
                Line::unheard(&["CLIENT", "REPLY", "SKIP"])
            }
            14 => {
                (self.listens, self.inside) = (false, false);
                Line::new(&["RESET"], Op::Reset)
            }
            15..=17 => change(around, rng, self.number),
            _ => self.admin_command(around, rng),
        }
    }
}

/// The size of a large value, bytes.
fn size(around: &Around<'_>, rng: &mut Rng) -> usize {
    match rng.below(4) {
        // Too large to be buffered for a slow reader.
        0 | 1 if around.plan.narrow => 300_000 + rng.below(700_000),
        0 => rng.below(100),
        1 => rng.below(5_000),
        2 => rng.below(70_000),
        _ if around.plan.huge => rng.below(3 << 20),
        _ => rng.below(700_000),
    }
}

fn channel(rng: &mut Rng) -> String {
    format!("ch:{}", rng.below(3))
}

fn list(rng: &mut Rng) -> String {
    format!("q{}", rng.below(3))
}
