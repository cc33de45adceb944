//! One client: batches of random commands, and the replies that they may have.

use std::net::SocketAddr;
use std::ops::Add;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::World;
use crate::model::{Model, Place};
use crate::support::{Random, TENANT, Wire, array, now, text};

const LOST: &str = "-ERR elika: backend connection lost, outcome unknown";
const UNAVAILABLE: &str = "-ERR elika: backend unavailable: ";
const WRONGPASS: &str = "-WRONGPASS ";
/// The error of servers up to Redis 7.0, and that of later ones.
const NOPERMS: [&str; 2] = [
    "-NOPERM this user has no permissions to access one of the keys used as arguments",
    "-NOPERM No permissions to access a key",
];

const USERS: [&str; 4] = ["default", "one", "two", "three"];

/// The number of clients that guess passwords all the time.
const GUESSERS: u64 = 3;

/// The most commands of one batch.
const BATCH_MAX: u64 = 40;

/// The outcomes of a client's commands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) good: u64,
    /// Successful logins and changes of database and protocol.
    pub(crate) switches: u64,
    pub(crate) lost: u64,
    pub(crate) unavailable: u64,
    /// How often the client was closed in the middle of a reply.
    pub(crate) closed: u64,
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            good: self.good + other.good,
            switches: self.switches + other.switches,
            lost: self.lost + other.lost,
            unavailable: self.unavailable + other.unavailable,
            closed: self.closed + other.closed,
        }
    }
}

/// A command. Keys begin with the name of the user for whom it is planned.
enum Op {
    Set(&'static str, String, String),
    Get(&'static str, String),
    Incr(&'static str, String),
    HSet(&'static str, String, String),
    HGetAll(&'static str, String),
    Echo(String),
    Ping,
    Unknown(String),
    Id,
    Select(u8),
    /// The user, and whether the password is valid.
    Auth(&'static str, bool),
    /// The protocol; the user.
    Hello(u8, Option<&'static str>),
    /// HELLO with a wrong password: the protocol; the user.
    WrongHello(u8, &'static str),
    Reset,
}

impl Op {
    fn line(&self) -> String {
        match self {
            Self::Set(_, key, value) => format!("SET {key} {value}"),
            Self::Get(_, key) => format!("GET {key}"),
            Self::Incr(_, key) => format!("INCR {key}"),
            Self::HSet(_, key, value) => format!("HSET {key} f {value}"),
            Self::HGetAll(_, key) => format!("HGETALL {key}"),
            Self::Echo(word) => format!("ECHO {word}"),
            Self::Ping => "PING".into(),
            Self::Unknown(word) => word.clone(),
            Self::Id => "CLIENT ID".into(),
            Self::Select(db) => format!("SELECT {db}"),
            Self::Auth(user, true) => format!("AUTH {user} pw-{user}"),
            Self::Auth(user, false) => format!("AUTH {TENANT}.{user} wrong"),
            Self::Hello(version, None) => format!("HELLO {version}"),
            Self::Hello(version, Some(user)) => {
                format!("HELLO {version} AUTH {TENANT}.{user} pw-{user}")
            }
            Self::WrongHello(version, user) => {
                format!("HELLO {version} AUTH {TENANT}.{user} wrong")
            }
            Self::Reset => "RESET".into(),
        }
    }
}

/// The user, database and protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    user: &'static str,
    db: u8,
    protocol: u8,
}

impl Session {
    const START: Self = Self {
        user: "default",
        db: 0,
        protocol: 2,
    };
}

pub(crate) struct Client<'a> {
    number: u64,
    address: SocketAddr,
    world: &'a World,
    random: Random,
    wire: Wire,
    /// According to the replies so far.
    session: Session,
    id: Option<String>,
    model: Model,
    /// Numbers the commands.
    count: u64,
    tally: Tally,
}

impl<'a> Client<'a> {
    pub(crate) fn new(number: u64, address: SocketAddr, world: &'a World, random: Random) -> Self {
        Self {
            number,
            address,
            world,
            random,
            wire: Wire::connect(address),
            session: Session::START,
            id: None,
            model: Model::default(),
            count: 0,
            tally: Tally::default(),
        }
    }

    /// Runs until the last restart of the backend, and then until all commands succeed.
    pub(crate) fn run(&mut self) -> Tally {
        while !self.world.calm.load(Ordering::SeqCst) {
            self.batch();
        }
        let start = now();
        loop {
            let before = self.tally;
            self.batch();
            let after = self.tally;
            if (before.lost, before.unavailable, before.closed)
                == (after.lost, after.unavailable, after.closed)
            {
                return after;
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not recover"
            );
        }
    }

    /// Sends some commands at once, in pieces or not, and checks their replies.
    fn batch(&mut self) {
        let sent = self.epoch();
        let mut plan = self.session;
        let ops: Vec<Op> = (0..=self.random.below(BATCH_MAX))
            .map(|_| self.plan(&mut plan))
            .collect();
        let bytes: Vec<u8> = ops.iter().flat_map(|op| array(&op.line())).collect();
        let (first, second) = bytes.split_at(self.random.below(bytes.len() as u64) as usize);
        let open = self.wire.try_send(first) && self.wire.try_send(second);
        let mut replies = 0;
        while open && replies < ops.len() {
            match self.wire.try_frame() {
                Ok(frame) => self.check(&ops[replies], &text(&frame), sent),
                Err(end) if end == "the end" => break,
                Err(why) => panic!("client {}: {why}", self.number),
            }
            replies += 1;
        }
        if replies < ops.len() {
            self.closed(&ops[replies..], sent);
        }
    }

    /// The client was closed. That is correct only if a part of a reply had been forwarded when the
    /// backend was killed.
    fn closed(&mut self, unanswered: &[Op], sent: u64) {
        let line = unanswered[0].line();
        assert!(
            self.world.excuses(sent),
            "client {} was closed at {line}",
            self.number
        );
        for op in unanswered {
            self.maybe(op);
        }
        self.tally.closed += 1;
        self.wire = Wire::connect(self.address);
        (self.session, self.id) = (Session::START, None);
    }

    fn epoch(&self) -> u64 {
        self.world.epoch.load(Ordering::SeqCst)
    }

    /// A random command for a client that has the state `plan` if all earlier commands succeed.
    fn plan(&mut self, plan: &mut Session) -> Op {
        self.count += 1;
        let Session { user, db, protocol } = *plan;
        let key = |kind, n: u64| format!("{user}:{kind}:{}:{n}", self.number);
        let word = format!("{user}:{db}:{protocol}:{}:{}", self.number, self.count);
        let n = self.random.below(4);
        if self.number < GUESSERS && self.random.below(6) == 0 {
            let (user, version) = (self.random.pick(&USERS[1..]), self.random.pick(&[2, 3]));
            return match n {
                0 | 1 => Op::WrongHello(version, user),
                _ => Op::Auth(user, false),
            };
        }
        match self.random.below(40) {
            0..8 => Op::Set(user, key("s", n), word),
            8..16 => Op::Get(user, key("s", n)),
            16..20 => Op::Incr(user, key("n", n)),
            20..23 => Op::Get(user, key("n", n)),
            23..26 => Op::HSet(user, key("h", n), word),
            26..29 => Op::HGetAll(user, key("h", n)),
            29..31 => Op::Echo(word),
            31 => Op::Ping,
            32 => Op::Unknown(format!("NOSUCH{}", self.count)),
            33 => Op::Id,
            34..36 => {
                plan.db = self.random.below(3) as u8;
                Op::Select(plan.db)
            }
            36 => {
                plan.protocol = self.random.pick(&[2, 3]);
                Op::Hello(plan.protocol, None)
            }
            37 => {
                plan.protocol = self.random.pick(&[2, 3]);
                plan.user = self.random.pick(&USERS[1..]);
                Op::Hello(plan.protocol, Some(plan.user))
            }
            38 => {
                let right = self.random.below(3) > 0;
                let other = self.random.pick(&USERS[1..]);
                plan.user = if right { other } else { user };
                Op::Auth(other, right)
            }
            _ if n == 0 => {
                *plan = Session::START;
                Op::Reset
            }
            _ => Op::Ping,
        }
    }

    fn check(&mut self, op: &Op, reply: &str, sent: u64) {
        let is_lost = reply == LOST;
        if is_lost || reply.starts_with(UNAVAILABLE) {
            let context = || format!("client {}: {reply} to {}", self.number, op.line());
            assert!(!matches!(op, Op::Reset), "{}", context());
            assert!(
                self.world.excuses(sent),
                "{}, in the best of health",
                context()
            );
            if is_lost {
                self.tally.lost += 1;
                self.maybe(op);
            } else {
                self.tally.unavailable += 1;
            }
            return;
        }
        let before = self.session;
        assert!(
            self.is_right(op, reply, sent),
            "client {}, as {before:?}: {reply} to {}",
            self.number,
            op.line()
        );
        self.tally.good += 1;
        self.tally.switches += u64::from(self.session != before);
    }

    /// The outcome of a command is unknown.
    fn maybe(&mut self, op: &Op) {
        let (epoch, db) = (self.epoch(), self.session.db);
        match op {
            Op::Set(_, key, value) | Op::HSet(_, key, value) => {
                self.model
                    .maybe_set(&(db, key.clone()), value.clone(), epoch);
            }
            Op::Incr(_, key) => self.model.maybe_raised(&(db, key.clone()), epoch),
            _ => {}
        }
    }

    fn is_right(&mut self, op: &Op, reply: &str, sent: u64) -> bool {
        let Session { user, db, protocol } = self.session;
        let epoch = self.epoch();
        let (null, map) = if protocol == 3 {
            ("_", "%1")
        } else {
            ("$-1", "*2")
        };
        let place = |key: &String| -> Place { (db, key.clone()) };
        match op {
            // The command was planned for another user: an earlier login failed.
            Op::Set(whose, ..)
            | Op::Get(whose, _)
            | Op::Incr(whose, _)
            | Op::HSet(whose, ..)
            | Op::HGetAll(whose, _)
                if *whose != user =>
            {
                NOPERMS.contains(&reply)
            }
            Op::Set(_, key, value) => {
                self.model.set(&place(key), value.clone(), sent, epoch);
                reply == "+OK"
            }
            Op::Get(_, key) => {
                let value = (reply != null).then(|| bulk(reply));
                value != Some(None) && self.model.is(&place(key), value.flatten(), sent, epoch)
            }
            Op::Incr(_, key) => {
                let number = reply
                    .strip_prefix(':')
                    .and_then(|digits| digits.parse().ok());
                number.is_some_and(|n| self.model.raised(&place(key), n, sent, epoch))
            }
            Op::HSet(_, key, value) => {
                let (old, new) = self.model.set(&place(key), value.clone(), sent, epoch);
                reply == ":0" && old || reply == ":1" && new
            }
            Op::HGetAll(_, key) => {
                let none = if protocol == 3 { "%0" } else { "*0" };
                let value =
                    (reply != none).then(|| bulk(reply.strip_prefix(map)?.strip_prefix(" $1 f ")?));
                value != Some(None) && self.model.is(&place(key), value.flatten(), sent, epoch)
            }
            Op::Echo(word) => bulk(reply).as_ref() == Some(word),
            Op::Ping => reply == "+PONG",
            // The quotes depend on the version.
            Op::Unknown(word) => reply.starts_with("-ERR unknown command ") && reply.contains(word),
            Op::Id => self.is_my_id(reply),
            Op::Select(db) => {
                self.session.db = *db;
                reply == "+OK"
            }
            Op::Auth(_, false) | Op::WrongHello(..) => reply.starts_with(WRONGPASS),
            Op::Auth(user, true) => {
                self.session.user = user;
                reply == "+OK"
            }
            Op::Hello(version, login) => {
                self.session.protocol = *version;
                self.session.user = login.unwrap_or(user);
                let head = if *version == 3 { "%7 " } else { "*14 " };
                let id = reply
                    .split(" $2 id ")
                    .nth(1)
                    .and_then(|rest| rest.split(' ').next());
                reply.starts_with(head)
                    && reply.contains(&format!(" $5 proto :{version} "))
                    && self.is_my_id(id.unwrap_or_default())
            }
            Op::Reset => {
                self.session = Session::START;
                reply == "+RESET"
            }
        }
    }

    /// The id never changes on one connection.
    fn is_my_id(&mut self, reply: &str) -> bool {
        let id = self.id.get_or_insert_with(|| reply.to_owned());
        reply.starts_with(':') && id == reply
    }
}

/// The content of a bulk string.
fn bulk(reply: &str) -> Option<String> {
    let (len, content) = reply.strip_prefix('$')?.split_once(' ')?;
    (len.parse() == Ok(content.len())).then(|| content.to_owned())
}
