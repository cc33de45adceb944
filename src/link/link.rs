//! A connection to a backend: its queue of requests, its handshake, and why it may fail.

use std::net::SocketAddr;

use crate::metrics::Traffic;
use crate::resp::ReplyScanner;

use crate::link::frame::Frame;
use crate::link::handshake::Handshake;
use crate::link::request::Fifo;
use crate::link::role::{IllegalRole, Role};
use crate::link::sent::Recent;
use crate::link::stall::Stall;
use crate::link::waits::Waits;
use crate::store::chunk::ChunkList;
use crate::store::key::{ClientKey, InstanceKey, PoolKey};
use crate::store::time::Millis;

/// ```text
///   Connecting --of a pool--> Greeting --all replies good--> Ready
///       |                        ^
///       |                        | a pool needs it
///       +---to verify logins---> Verifying
///
///   any of them --failed--> removed from the table
/// ```
/// Requests may be queued in any state; they are sent in `Ready` only.
#[derive(Debug)]
pub(crate) enum State {
    Connecting,
    /// It verifies logins, one at a time, and is of no pool: see `verify`.
    Verifying(Verifying),
    Greeting(Box<Handshake>),
    Ready,
}

/// What a connection that verifies logins does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verifying {
    /// Nothing is asked and nothing is owed. `proven`: it has verified a login before.
    Idle { proven: bool },
    /// AUTH is asked for this client, and nothing else.
    Asked { client: ClientKey, proven: bool },
}

impl Verifying {
    pub(crate) fn is_proven(self) -> bool {
        match self {
            Self::Idle { proven } | Self::Asked { proven, .. } => proven,
        }
    }
}

/// One backend connection of this worker.
#[derive(Debug)]
pub(crate) struct Link {
    pub instance: InstanceKey,
    /// `NONE`: it verifies logins.
    pub pool: PoolKey,
    pub state: State,
    /// Handshake bytes, sent before anything in `outbound`.
    pub greeting: ChunkList,
    /// Requests. Held back until the state is `Ready`.
    pub outbound: ChunkList,
    /// Bytes ever appended to `outbound`.
    pub queued: u64,
    /// Bytes of `outbound` that the kernel took. `sent + outbound.len() == queued`.
    pub sent: u64,
    pub fifo: Fifo,
    pub scanner: ReplyScanner,
    /// Bytes of the reply under way that have come so far.
    pub reply_bytes: u64,
    /// A reply that must be seen whole: an auth result, or a part of the handshake.
    pub collected: Vec<u8>,
    /// Bytes of pushes that nobody asked for.
    pub pushed_bytes: usize,
    /// Not read, because the client at its head does not read either.
    pub paused: bool,
    pub dirty: bool,
    role: Role,
    /// Clients that wait until replicas have what was written here.
    pub waits: Waits,
    /// When the server last answered that.
    pub asked_wait: Millis,
    /// Requests in flight that wait for something to come: then silence is no failure.
    pub blocking: u32,
    /// Who waits behind a big reply that its client reads slowly.
    pub stall: Stall,
    /// Records of replies that nobody waits for: they are asked for again elsewhere.
    pub forsaken: u32,
    /// What it was asked and has not answered.
    pub recent: Recent,
    /// Scripts in flight: others had better not stand behind them.
    pub scripts: u32,
    /// The two ends of the frame under way, where it is a client's own.
    pub frame: Frame,
    /// Its number on the server, if that told.
    pub id: Option<u64>,
    /// It took over the unsent requests of a lost connection, and has not sent a byte of them.
    pub is_heir: bool,
    /// When its handshake was over.
    pub ready_at: Millis,
    /// Where it leads, if its name resolved.
    pub address: Option<SocketAddr>,
    /// Addresses that were tried before this one.
    pub tried: usize,
    /// What went over it.
    pub traffic: Traffic,
    /// Since when it was begun, or last heard of, or has owed a reply: for the deadline.
    pub since: Millis,
    /// Its reply is late when it has been silent for so long, ms.
    pub late_ms: u64,
}

impl Link {
    pub(crate) fn new(instance: InstanceKey, pool: PoolKey, role: Role, now: Millis) -> Self {
        Self {
            instance,
            pool,
            state: State::Connecting,
            greeting: ChunkList::default(),
            outbound: ChunkList::default(),
            queued: 0,
            sent: 0,
            fifo: Fifo::default(),
            scanner: ReplyScanner::default(),
            reply_bytes: 0,
            collected: Vec::new(),
            pushed_bytes: 0,
            paused: false,
            dirty: false,
            role,
            waits: Waits::default(),
            asked_wait: Millis::default(),
            blocking: 0,
            stall: Stall::None,
            forsaken: 0,
            recent: Recent::default(),
            scripts: 0,
            frame: Frame::default(),
            id: None,
            is_heir: false,
            ready_at: now,
            address: None,
            tried: 0,
            traffic: Traffic::default(),
            since: now,
            late_ms: LATE_MS,
        }
    }

    /// What it is for; [`Links::assign`](super::links::Links::assign) changes it.
    #[inline]
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The role from now on.
    ///
    /// # Errors
    ///
    /// A link of the present role cannot have this one; it stays as it is.
    pub(super) fn assign(&mut self, role: Role) -> Result<(), IllegalRole> {
        self.role = self.role.to(role)?;
        Ok(())
    }

    /// See [`Role::owner`].
    #[inline]
    pub(crate) fn owner(&self) -> ClientKey {
        self.role.owner()
    }

    /// See [`Role::is_dedicated`].
    #[inline]
    pub(crate) fn is_dedicated(&self) -> bool {
        self.role.is_dedicated()
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.role.is_retired()
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Is it being opened, its handshake included?
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, State::Connecting | State::Greeting(_))
    }

    /// Has it been of use before, or is nothing asked of it yet? Then its end says nothing.
    pub(crate) fn has_worked(&self) -> bool {
        match self.state {
            State::Ready | State::Verifying(Verifying::Idle { .. }) => true,
            State::Verifying(Verifying::Asked { proven, .. }) => proven,
            State::Connecting | State::Greeting(_) => false,
        }
    }

    /// Does it verify logins, and is of no pool?
    pub(crate) fn is_verifier(&self) -> bool {
        self.pool == PoolKey::NONE
    }

    /// May clients of its pool send on it? Not while it is kept for one of them, nor behind big
    /// replies that nobody wants.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.role, Role::Shared | Role::Idle) && self.forsaken == 0
    }

    /// Is it kept for clients that wait until nothing is in flight?
    pub(crate) fn is_reserved(&self) -> bool {
        self.role == Role::Reserved
    }

    /// Is it out of its pool so that its server can be asked about replicas? It owes nothing else.
    pub(crate) fn is_asked_only(&self) -> bool {
        let taken = [ClientKey::NONE].map(Role::Borrowed).contains(&self.role)
            || self.is_dedicated() && self.owner() == ClientKey::NONE;
        taken && self.waits.is_asking()
    }

    /// Ends a pause of reading. Returns whether there was one: then the link must be read at once.
    /// The silence until now was not the server's.
    pub(crate) fn unpause(&mut self, now: Millis) -> bool {
        let was = std::mem::take(&mut self.paused);
        if was {
            self.since = now;
        }
        was
    }

    /// Is it nobody's own, and not on its way out?
    pub(crate) fn is_shared(&self) -> bool {
        !self.role.is_retired() && self.owner() == ClientKey::NONE
    }

    /// Is it the own connection of another client than those who wait on it?
    pub(crate) fn is_anothers(&self) -> bool {
        let owner = self.owner();
        owner != ClientKey::NONE && self.waits.clients().all(|it| it != owner)
    }

    /// Should requests that can choose take another connection, even one that is being opened? It
    /// is in the middle of a big reply, or runs a script. That a reply takes long is no reason: the
    /// server may be busy, and then it is so on every connection.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        const BIG: u64 = 64 * 1024;
        self.scripts > 0
            || self.paused
            || self.forsaken > 0
            || self.reply_bytes > BIG
            || self.scanner.bulk_left() > BIG
    }

    /// Is its next reply late? Of two ready connections the other one is the better choice.
    #[inline]
    pub(crate) fn is_late(&self, now: Millis) -> bool {
        !self.fifo.is_empty() && !self.paused && now.since(self.since) >= self.late_ms
    }

    /// Is a reply due, whose deadline is now running?
    pub(crate) fn owes(&self) -> bool {
        self.sent > 0 && !self.fifo.is_empty() && !self.paused && self.blocking == 0
    }

    /// What makes a ready connection worse than another one, the worst last.
    pub(crate) fn drawbacks(&self, now: Millis) -> (bool, bool) {
        (self.is_busy(), self.is_late(now))
    }
}

/// A reply is late when its connection has brought nothing for so long, ms.
const LATE_MS: u64 = 50;

/// The same at most, ms, of a server that is far away.
const LATE_MS_MAX: u64 = 1_000;

/// When a reply is late of a server whose handshakes take so long, ms: it takes a round trip, and
/// what its connection brings may be delayed by as much.
pub(crate) fn late_after(handshake_ms: u64) -> u64 {
    handshake_ms.saturating_mul(2).clamp(LATE_MS, LATE_MS_MAX)
}
