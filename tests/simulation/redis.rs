//! A fake Redis server: users, databases and protocols per connection, and a journal of all
//! executed commands, which the oracle reads.
//!
//! Passwords: `g3:anything` is valid for a user whose generation is 3. So every login can have its
//! own password, and the journal shows which login was verified.

use std::collections::{BTreeMap, VecDeque};

use elika::cluster::TenantKey;

use super::plan::TenantPlan;
use super::wire;

mod data;
mod degraded;
mod lists;
mod pubsub;
mod replicas;
mod replies;
mod scripts;
mod session;
mod transactions;

use data::tag_of;
pub(crate) use data::{any_tag, is_read};
pub(crate) use degraded::{Degraded, DegradedPeriod, is_busy, is_degraded_error, is_write};
pub(crate) use pubsub::Span;
pub(crate) use replicas::Replication;
pub(crate) use replies::{array, hello, null, null_array};
pub(crate) use scripts::NOT_BUSY;
pub(crate) use session::{MAY_NOT_LIST, NO_LIST, Session, Verdict};
pub(crate) use transactions::{Outcome, Watch};

/// The client and its request: `client * SEQUENCE + number`.
pub(crate) type Tag = u64;
pub(crate) const SEQUENCE: u64 = 1_000_000;

/// The time of the simulation: events so far, and virtual milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    pub(crate) step: u64,
    pub(crate) ms: u64,
}

/// A user of a server.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) generation: u32,
    pub(crate) enabled: bool,
    /// The user accepts any password or none.
    pub(crate) nopass: bool,
}

impl User {
    /// Whether the user accepts this password.
    pub(crate) fn admits(&self, password: &str) -> bool {
        let right = password.starts_with(&format!("g{}:", self.generation));
        self.enabled && (right || self.nopass)
    }
}

/// An executed command with a tag.
#[derive(Debug)]
pub(crate) struct Execution {
    /// The connection.
    pub(crate) session: u64,
    pub(crate) user: String,
    /// The password of the connection's login.
    pub(crate) password: Option<String>,
    pub(crate) db: u32,
    pub(crate) protocol: u8,
    pub(crate) reply: Vec<u8>,
    /// Its replication offset, if it wrote anything.
    pub(crate) offset: Option<u64>,
    /// The settings of the connection.
    pub(crate) tracking: bool,
    pub(crate) no_touch: bool,
    /// The EXEC that executed it.
    pub(crate) exec: Option<u64>,
    /// CLIENT UNBLOCK ended it.
    pub(crate) unblocked: bool,
    /// A later request of its client had been executed.
    pub(crate) late: bool,
    /// Its client has read this reply.
    pub(crate) heard: bool,
    pub(crate) at: Moment,
}

/// A key whose write was reported to a session that had read it.
#[derive(Debug, Default)]
pub(crate) struct Invalidation {
    pub(crate) session: u64,
    pub(crate) client: Option<u64>,
    pub(crate) key: String,
}

#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) index: usize,
    /// Its tenant, and which of the tenant's instances it is or was.
    pub(crate) tenant: usize,
    pub(crate) tenant_key: TenantKey,
    pub(crate) instance: String,
    /// A server before 6.0: no HELLO, no users.
    pub(crate) old: bool,
    /// It sends no reply to a failed AUTH while other replies of the connection wait to be sent.
    pub(crate) silent: bool,
    pub(crate) databases: u32,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) sessions: BTreeMap<u64, Session>,
    data: BTreeMap<(u32, String), Vec<u8>>,
    lists: BTreeMap<(u32, String), VecDeque<String>>,
    /// Blocked sessions, in the order in which they are served.
    waiters: Vec<u64>,
    /// Pushes to other sessions because of the current command.
    late: Vec<(u64, Vec<u8>)>,
    /// The number of executions, see [`is_read`].
    pub(crate) executed: BTreeMap<Tag, Vec<Execution>>,
    pub(crate) verdicts: Vec<Verdict>,
    /// The last request of each client that was executed here.
    last: BTreeMap<u64, u64>,
    /// Every written key, in order.
    pub(crate) writes: Vec<(u32, String)>,
    pub(crate) replication: Replication,
    pub(crate) watches: BTreeMap<Tag, Watch>,
    /// The outcomes of the transactions, under each tag that was part of one.
    pub(crate) outcomes: BTreeMap<Tag, Outcome>,
    execs: u64,
    /// Published messages: by channel, and all of them under the pattern that matches every
    /// channel.
    pub(crate) messages: BTreeMap<String, Vec<Tag>>,
    pub(crate) spans: BTreeMap<(Tag, String), Span>,
    /// Invalidations, in order; the first is a placeholder.
    pub(crate) invalidations: Vec<Invalidation>,
    /// The client of each unexpected push: `None`: unknown, `Some(0)`: no client.
    pub(crate) noises: Vec<Option<u64>>,
    /// When it was degraded, and what it refused because of that.
    pub(crate) spells: Vec<DegradedPeriod>,
    pub(crate) refusals: BTreeMap<Tag, Vec<(&'static str, Moment)>>,
    /// The running script, and its connection.
    running: Option<(u64, Tag)>,
    /// It does nothing before this time, ms.
    pub(crate) mute_until: u64,
    /// It executes no write before this time, ms.
    pub(crate) pauses_writes_until: u64,
    /// Bytes that were received and sent.
    pub(crate) bytes: u64,
    /// The limit of dedicated connections of one user, in one database and protocol.
    pub(crate) own_max: usize,
    /// No session is blocked for long.
    pub(crate) calm: bool,
    /// When a connection was lost or failed.
    failures: Vec<Moment>,
    /// When a password was changed.
    pub(crate) changes: Vec<Moment>,
    /// It accepts no connections before this time, ms.
    pub(crate) down_until: u64,
    /// It goes down permanently at this time, ms.
    pub(crate) stops_at: Option<u64>,
    /// The registry does not list its instance at the moment.
    pub(crate) unlisted: bool,
    /// The name of its instance does not resolve.
    pub(crate) nameless: bool,
    next_connection: u64,
    /// When the current request is executed.
    now: Moment,
}

const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
pub(crate) const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured \
    for the default user. Are you sure your configuration is correct?";
pub(crate) const HELLO_NOAUTH: &str = "NOAUTH HELLO must be called with the client already \
    authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
    authenticate the client and select the RESP protocol version at the same time";
pub(crate) const DB_RANGE: &str = "ERR DB index is out of range";

impl Redis {
    pub(crate) fn new(index: usize, seat: (usize, TenantKey, String), home: TenantPlan) -> Self {
        let (tenant, tenant_key, instance) = seat;
        let TenantPlan {
            old,
            silent,
            databases,
            open,
            ..
        } = home;
        let user = |enabled, nopass| User {
            generation: 1,
            enabled,
            nopass,
        };
        let mut users = BTreeMap::from([("default".to_owned(), user(true, open))]);
        if !old {
            for (name, enabled) in [
                ("ann", true),
                ("bob", true),
                ("eve.x", true),
                ("off", false),
            ] {
                users.insert(name.to_owned(), user(enabled, false));
            }
        }
        Self {
            index,
            tenant,
            tenant_key,
            instance,
            old,
            silent,
            databases,
            users,
            sessions: BTreeMap::new(),
            data: BTreeMap::new(),
            lists: BTreeMap::new(),
            waiters: Vec::new(),
            late: Vec::new(),
            executed: BTreeMap::new(),
            verdicts: Vec::new(),
            last: BTreeMap::new(),
            writes: Vec::new(),
            replication: Replication::default(),
            watches: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            execs: 0,
            messages: BTreeMap::new(),
            spans: BTreeMap::new(),
            invalidations: vec![Invalidation::default()],
            noises: Vec::new(),
            spells: Vec::new(),
            refusals: BTreeMap::new(),
            running: None,
            mute_until: 0,
            pauses_writes_until: 0,
            bytes: 0,
            own_max: usize::MAX,
            calm: false,
            failures: Vec::new(),
            changes: Vec::new(),
            down_until: 0,
            stops_at: None,
            unlisted: false,
            nameless: false,
            next_connection: 1,
            now: Moment::default(),
        }
    }

    /// Whether a client may use it without a login.
    pub(crate) fn is_open(&self) -> bool {
        self.users["default"].nopass
    }

    pub(crate) fn accept(&mut self) -> u64 {
        self.next_connection += 1;
        let id = self.next_connection;
        let user = self.is_open().then(|| "default".to_owned());
        self.sessions.insert(id, Session::new(user));
        id
    }

    /// A connection has ended: its session is dropped.
    pub(crate) fn close(&mut self, id: u64) {
        self.waiters.retain(|waiter| *waiter != id);
        self.sessions.remove(&id);
    }

    fn at(&mut self, id: u64) -> &mut Session {
        self.sessions.get_mut(&id).unwrap()
    }

    /// Executes one request; a reply that is ready is in the session's output. An error is a fault
    /// of the proxy.
    pub(crate) fn execute(&mut self, id: u64, args: &[Vec<u8>], at: Moment) -> Result<(), String> {
        self.now = at;
        let noisy = self.at(id).protocol == 3;
        let name = text(&args[0]).to_ascii_uppercase();
        let reply = self.command(id, &name, args, at)?;
        if let Some(reply) = reply {
            self.at(id).output.push((reply, noisy));
        }
        self.show(id, &name);
        self.after()
    }

    /// The pushes that a command causes: they follow the reply of the command.
    fn after(&mut self) -> Result<(), String> {
        self.serve_waiters()?;
        for (id, bytes) in std::mem::take(&mut self.late) {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.output.push((bytes, false));
            }
        }
        Ok(())
    }

    fn command(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
        at: Moment,
    ) -> Result<Option<Vec<u8>>, String> {
        if let Some(text) = self.miscounted(id, name, args) {
            return Ok(Some(wire::error(&text)));
        }
        let session = self.at(id);
        if session.is_modal() && !session::is_for_subscribers(name) {
            let text = format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context",
                name.to_lowercase()
            );
            return Ok(Some(wire::error(&text)));
        }
        if session.user.is_none() && name != "AUTH" && name != "HELLO" {
            // A handshake may send SELECT first.
            session.refused |= name != "SELECT";
            session.waited |= session::needs_dedicated(name);
            session.client = any_tag(args).map(|tag| tag / SEQUENCE).or(session.client);
            return Ok(Some(wire::error(NOAUTH)));
        }
        if let Some(error) = self.refused(id, name, args)? {
            return Ok(Some(error));
        }
        match self.transaction(id, name, args)? {
            Some(reply) => Ok(Some(reply)),
            None => self.perform(id, name, args, at, None),
        }
    }

    /// Executes a command, directly or as a part of EXEC.
    fn perform(
        &mut self,
        id: u64,
        name: &str,
        args: &[Vec<u8>],
        at: Moment,
        exec: Option<u64>,
    ) -> Result<Option<Vec<u8>>, String> {
        let inside = exec.is_some();
        match name {
            "AUTH" | "HELLO" | "SUBSCRIBE" | "PSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE"
                if inside =>
            {
                Err(format!("{name} was queued in a transaction"))
            }
            "AUTH" | "HELLO" | "SELECT" => self.identify(id, name, args, at),
            "CLIENT" => self.client_command(id, args, inside).map(Some),
            // The question about blocking commands in a handshake. It does not count as use.
            "COMMAND" if self.old => Ok(Some(wire::error("ERR unknown subcommand"))),
            "COMMAND" => Ok(Some(array(
                &["blpop", "brpop"].map(|it| wire::bulk(it.as_bytes())),
            ))),
            "WAIT" => self.wait(id, args, inside),
            "ROLE" => Ok(Some(array(&[b"$6\r\nmaster\r\n".to_vec()]))),
            "PING" | "ECHO" | "ACL" => Ok(Some(self.small_talk(id, name, args))),
            "BLPOP" | "BRPOP" => self.pop(id, name, args, at, exec),
            "MONITOR" => self.monitor(id),
            "EVAL" => self.run(id, args).map(|()| None),
            "SCRIPT" => self.script_command(id).map(Some),
            "SUBSCRIBE" | "PSUBSCRIBE" => self.subscribe(id, name, args).map(Some),
            "UNSUBSCRIBE" | "PUNSUBSCRIBE" => Ok(Some(self.unsubscribe(id, name, args))),
            _ => {
                self.at(id).shared = true;
                self.data_command(id, name, args, exec).map(Some)
            }
        }
    }

    /// Whether it is unreachable.
    pub(crate) fn is_out(&self, now: Moment) -> bool {
        self.unlisted || self.nameless || self.down_until > now.ms
    }

    pub(crate) fn failed(&mut self, at: Moment) {
        self.failures.push(at);
    }

    pub(crate) fn has_ever_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Whether any failure may affect a request of this moment.
    pub(crate) fn failed_since(&self, at: Moment, grace_ms: u64) -> bool {
        let recent = |failure: &Moment| failure.step >= at.step || failure.ms + grace_ms >= at.ms;
        self.failures.last().is_some_and(recent)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
