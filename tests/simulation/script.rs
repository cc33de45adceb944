//! What a fake client says: one request after the other, drawn by the seed.

use std::mem;

use super::client::Op;
use super::plan::Plan;
use super::redis::{Redis, SEQUENCE, Tag};
use super::rng::Rng;
use super::wire;

mod login;

use login::{change, enter};

/// What is no request, and has no reply.
const NOTHING: &[&[u8]] = &[b"*0\r\n", b"\r\n", b"*-1\r\n", b"\n"];

/// What a client mostly does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Data commands, rarely anything else.
    Worker,
    /// Logs in as another, changes database and protocol, all the time.
    Changer,
    /// Asks about clients and kills them.
    Warden,
    /// Big values.
    Hauler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    On,
    Off,
    SkipNext,
}

#[derive(Debug)]
pub(crate) struct Script {
    id: u64,
    pub(crate) temper: Temper,
    /// Requests still to come.
    pub(crate) left: u64,
    pub(crate) pending_max: usize,
    number: u64,
    /// It has had its chance to log in first.
    entered: bool,
    /// CLIENT REPLY as it will be when all that was sent is done.
    voice: Voice,
    /// Nothing more may be sent.
    pub(crate) ended: bool,
}

/// What a script can see of the world.
pub(crate) struct Around<'a> {
    pub(crate) servers: &'a [Redis],
    /// By server: what to write before the dot.
    pub(crate) tenants: &'a [String],
    pub(crate) default_tenant: bool,
    pub(crate) huge: bool,
    /// Ids of clients that may be killed.
    pub(crate) ids: &'a [u64],
}

/// A request, ready to be sent.
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    /// `None`: no reply will come.
    pub(crate) op: Option<Op>,
    /// Whom it wants to kill.
    pub(crate) victim: Option<u64>,
}

impl Line {
    fn new(args: &[&str], op: Op) -> Self {
        Self {
            bytes: wire::command(args),
            op: Some(op),
            victim: None,
        }
    }

    fn unheard(args: &[&str]) -> Self {
        Self {
            bytes: wire::command(args),
            op: None,
            victim: None,
        }
    }
}

impl Script {
    pub(crate) fn new(id: u64, left: u64, plan: &Plan, rng: &mut Rng) -> Self {
        use Temper::{Changer, Hauler, Warden, Worker};
        let tempers: &[Temper] = match (plan.narrow, plan.huge) {
            (true, _) => &[Worker, Hauler],
            (_, true) => &[Worker, Changer, Warden, Hauler, Hauler, Hauler],
            (_, false) => &[Worker, Worker, Changer, Changer, Warden, Hauler],
        };
        Self {
            id,
            temper: *rng.pick(tempers),
            // In a narrow world everybody stays who he is.
            entered: plan.narrow,
            left,
            pending_max: *rng.pick(&[1, 10, 300]),
            number: 0,
            voice: Voice::On,
            ended: false,
        }
    }

    fn tag(&mut self) -> Tag {
        self.number += 1;
        self.id * SEQUENCE + self.number
    }

    /// The next request.
    pub(crate) fn next(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        self.left = self.left.saturating_sub(1);
        if self.voice != Voice::On {
            return self.silent(around, rng);
        }
        if self.left == 0 && rng.one_in(3) {
            self.ended = true;
            return last_words(rng);
        }
        // Most who have to log in do so first, and well.
        if !mem::replace(&mut self.entered, true) && rng.one_in(2) {
            return enter(around, rng);
        }
        let roll = rng.below(100);
        let mut line = match self.temper {
            Temper::Worker if roll < 90 => self.data(around, rng),
            Temper::Changer if roll < 45 => self.data(around, rng),
            Temper::Changer if roll < 85 => change(around, rng, self.number),
            Temper::Warden if roll < 40 => self.data(around, rng),
            Temper::Warden if roll < 75 => self.warden(around, rng),
            Temper::Hauler if roll < 80 => self.data(around, rng),
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

    /// In the end: is the client heard, and does its data command work?
    pub(crate) fn epilogue(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.voice != Voice::On {
            self.voice = Voice::On;
            lines.push(Line::new(&["CLIENT", "REPLY", "ON"], Op::ReplyOn));
        }
        let tag = self.tag();
        let op = Op::Data { tag, big: false };
        lines.push(Line::new(&["ECHOALL", "last", &format!("t{tag}")], op));
        lines.push(Line::new(&["PING"], Op::Exact(b"+PONG\r\n".to_vec())));
        lines
    }

    /// After CLIENT REPLY OFF or SKIP: only what changes nothing.
    fn silent(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        if self.voice == Voice::Off && rng.one_in(4) {
            self.voice = Voice::On;
            return Line::new(&["CLIENT", "REPLY", "ON"], Op::ReplyOn);
        }
        if self.voice == Voice::SkipNext {
            self.voice = Voice::On;
        }
        match rng.below(6) {
            0 => Line::unheard(&["PING"]),
            1 => Line::unheard(&["CLIENT", "ID"]),
            // A big one may be an end without a word, for a stranger.
            _ => loop {
                let line = self.data(around, rng);
                if !matches!(line.op, Some(Op::Data { big: true, .. })) {
                    break Line { op: None, ..line };
                }
            },
        }
    }

    fn data(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        let tag = self.tag();
        let t = format!("t{tag}");
        let own = format!("ctr:{}", self.id);
        let shared = format!("k{}", rng.below(5));
        let mut big = false;
        let size = |rng: &mut Rng| match rng.below(4) {
            0 => rng.below(100),
            1 => rng.below(5_000),
            2 => rng.below(70_000),
            _ if around.huge => rng.below(3 << 20),
            _ => rng.below(700_000),
        };
        let hauls = self.temper == Temper::Hauler;
        let args: Vec<String> = match rng.below(if hauls { 16 } else { 11 }) {
            0 | 1 => vec!["GET".into(), shared, t],
            2 => vec!["get".into(), own, t],
            3 => vec!["SET".into(), shared, "v".repeat(rng.below(40)), t],
            4 | 5 => vec!["INCR".into(), own, t],
            6 => vec!["EchoAll".into(), "a b".into(), String::new(), "c".into(), t],
            7 => vec!["NEST".into(), t],
            8 => vec!["FAIL".into(), t],
            9 => vec!["TAG".into(), t],
            10 => vec!["NIL".into(), t],
            11 | 12 => vec!["BIG".into(), size(rng).to_string(), t],
            13 => {
                big = true;
                let argc = 10 + rng.below(300);
                let mut args = vec!["MSET".to_owned(); argc];
                args.push(t);
                args
            }
            _ => {
                let len = rng.below(if around.huge { 900_000 } else { 200_000 });
                big = len > 16 * 1024;
                vec!["SET".into(), shared, "v".repeat(len), t]
            }
        };
        Line {
            bytes: wire::command(&args),
            op: Some(Op::Data { tag, big }),
            victim: None,
        }
    }

    fn other(&mut self, around: &Around<'_>, rng: &mut Rng) -> Line {
        let exact = |args: &[&str], reply: &[u8]| Line::new(args, Op::Exact(reply.to_vec()));
        match rng.below(22) {
            0 | 1 => exact(&["PING"], b"+PONG\r\n"),
            2 => exact(&["ping", "hi there"], b"$8\r\nhi there\r\n"),
            3 => exact(&["ECHO", "x"], b"$1\r\nx\r\n"),
            4 => Line::new(&["ACL", "WHOAMI"], Op::WhoAmI),
            5 => exact(&["EXEC"], b"-ERR EXEC without MULTI\r\n"),
            6 => exact(
                &["PING", "a", "b"],
                b"-ERR wrong number of arguments for 'ping' command\r\n",
            ),
            7 => Line::new(&["MULTI"], Op::Own("multi")),
            8 => Line::new(&["BLPOP", "k", "0"], Op::Own("blpop")),
            9 => Line::new(&["SYNC"], Op::Denied("sync")),
            10 => {
                let tag = self.tag();
                let t = format!("t{tag}");
                Line::new(&["CONFIG", "SET", "x", &t], Op::Admin { tag })
            }
            11 => {
                self.voice = Voice::Off;
                Line::unheard(&["CLIENT", "REPLY", "OFF"])
            }
            12 | 13 => {
                self.voice = Voice::SkipNext;
                Line::unheard(&["CLIENT", "REPLY", "SKIP"])
            }
            14 => Line::new(&["RESET"], Op::Reset),
            15..=17 => change(around, rng, self.number),
            _ => self.warden(around, rng),
        }
    }

    fn warden(&self, around: &Around<'_>, rng: &mut Rng) -> Line {
        match rng.below(12) {
            0 | 1 => Line::new(&["CLIENT", "ID"], Op::ClientId),
            2 => Line::new(&["CLIENT", "GETNAME"], Op::GetName),
            3 => {
                let name = format!("n{}", rng.below(100));
                Line::new(&["CLIENT", "SETNAME", &name], Op::SetName(name.clone()))
            }
            4 => Line::new(&["CLIENT", "SETNAME", ""], Op::SetName(String::new())),
            5 | 6 => Line::new(&["CLIENT", "INFO"], Op::Info),
            7..=9 => Line::new(&["CLIENT", "LIST"], Op::List),
            10 if rng.one_in(6) => {
                let id = self.id.to_string();
                Line {
                    victim: Some(self.id),
                    ..Line::new(
                        &["CLIENT", "KILL", "ID", &id, "SKIPME", "no"],
                        Op::Kill { me: true },
                    )
                }
            }
            _ => {
                let victim = *rng.pick(around.ids);
                Line {
                    victim: Some(victim),
                    ..Line::new(
                        &["CLIENT", "KILL", "ID", &victim.to_string()],
                        Op::Kill { me: false },
                    )
                }
            }
        }
    }
}

/// After these nothing is answered any more.
fn last_words(rng: &mut Rng) -> Line {
    let (bytes, op): (&[u8], Op) = match rng.below(9) {
        0..=2 => (b"*1\r\n$4\r\nQUIT\r\n", Op::Quit),
        3 => (b"*3\r\nfoo\r\n", Op::Malformed),
        4 => (b"*abc\r\n", Op::Malformed),
        5 => (b"GET \"half\r\n", Op::Malformed),
        6 => (b"*1\r\n$-5\r\n", Op::Malformed),
        7 => (b"*1\r\n$4\r\nPINGPONG\r\n", Op::Malformed),
        _ => (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", Op::Http),
    };
    Line {
        bytes: bytes.to_vec(),
        op: Some(op),
        victim: None,
    }
}

/// The same request as a person would type it.
fn as_inline(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
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
