//! The record of a link: its queue of requests, its handshake, its role.

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
use crate::store::key::{AccessKey, ClientKey, InstanceKey, PoolKey};
use crate::store::time::Millis;

/// ```text
///   Connecting --of a pool--> Handshake --all replies good--> Ready
///       |                         ^
///       |                         | a pool needs it
///       +---to verify logins---> Verifying
///
///   any of them --failed--> removed from the table
/// ```
/// Requests may be queued in any state; they are sent in `Ready` only.
#[derive(Debug)]
pub(crate) enum State {
    Connecting,
    /// Verifies logins, one at a time, and belongs to no pool: see `verify`.
    Verifying(Verifying),
    Handshake(Box<Handshake>),
    Ready,
}

/// What a verifier is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verifying {
    /// Nothing is in flight. `proven`: it has verified a login before.
    Idle { proven: bool },
    /// AUTH is in flight for this client and this access, and nothing else.
    Asked {
        client: ClientKey,
        access: AccessKey,
        proven: bool,
    },
}

impl Verifying {
    pub(crate) fn is_proven(self) -> bool {
        match self {
            Self::Idle { proven } | Self::Asked { proven, .. } => proven,
        }
    }
}

/// One connection of this worker to a server.
#[derive(Debug)]
pub(crate) struct Link {
    pub instance: InstanceKey,
    /// `NONE`: it is a verifier.
    pub pool: PoolKey,
    pub state: State,
    /// Handshake bytes, sent before anything in `outbound`.
    pub handshake_bytes: ChunkList,
    /// Requests. They are sent once the state is `Ready`.
    pub outbound: ChunkList,
    /// Bytes ever appended to `outbound`.
    pub(super) queued: u64,
    /// Bytes of `outbound` that the kernel took. `sent + outbound.len() == queued`.
    pub sent: u64,
    pub fifo: Fifo,
    pub scanner: ReplyScanner,
    /// Bytes of the current reply that have arrived.
    pub reply_bytes: u64,
    /// A reply or a push that must be read whole: of the handshake, to AUTH, to the proxy's own
    /// requests, or one whose contents the proxy replaces.
    pub collected: Vec<u8>,
    /// Bytes of unexpected pushes.
    pub pushed_bytes: usize,
    /// Read paused: the client at the head does not read.
    pub paused: bool,
    pub dirty: bool,
    role: Role,
    /// Clients that wait until replicas have their writes on this link.
    pub waits: Waits,
    /// When the server last answered WAIT.
    pub asked_wait: Millis,
    /// Blocking requests in flight. While there are any, the link has no reply deadline.
    pub(super) blocking: u32,
    /// The state of clients that wait behind a slowly read or late reply.
    pub stall: Stall,
    /// Abandoned records in flight: their requests were retried elsewhere.
    pub(super) abandoned: u32,
    /// The bytes of requests that are not answered.
    pub(super) recent: Recent,
    /// Scripts in flight: requests should not go behind them.
    pub(super) scripts: u32,
    /// The start and the end of the current frame on a dedicated link.
    pub frame: Frame,
    /// The server's number of the link, if known.
    pub id: Option<u64>,
    /// Its server is a node of a Redis Cluster: errors may redirect requests.
    pub clustered: bool,
    /// Its server has no HELLO: its first MOVED says that it is such a node.
    pub without_hello: bool,
    /// Redirections are for the clients: a label says that the instance is no Redis Cluster.
    pub is_single: bool,
    /// The link took over requests of a lost link, and has not sent a byte of them.
    pub is_successor: bool,
    /// When the handshake was complete.
    pub ready_at: Millis,
    /// The address, if the name resolved.
    pub address: Option<SocketAddr>,
    /// Addresses that were tried before this one.
    pub tried: usize,
    /// Bytes and requests of the link, for the stats.
    pub traffic: Traffic,
    /// When the link was started, became ready, was last read, or got its first outstanding
    /// request. Its deadline is measured from here.
    pub since: Millis,
    /// The time of silence after which a reply is late, ms.
    pub late_ms: u64,
}

impl Link {
    pub(crate) fn new(instance: InstanceKey, pool: PoolKey, role: Role, now: Millis) -> Self {
        Self {
            instance,
            pool,
            state: State::Connecting,
            handshake_bytes: ChunkList::default(),
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
            abandoned: 0,
            recent: Recent::default(),
            scripts: 0,
            frame: Frame::default(),
            id: None,
            clustered: false,
            without_hello: false,
            is_single: false,
            is_successor: false,
            ready_at: now,
            address: None,
            tried: 0,
            traffic: Traffic::default(),
            since: now,
            late_ms: LATE_MS,
        }
    }

    /// The link's role; [`Links::assign`](super::links::Links::assign) changes it.
    #[inline]
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Changes the role.
    ///
    /// # Errors
    ///
    /// The table has no transition from the present role to this one; the role stays.
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

    /// Is the link connecting or in its handshake?
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, State::Connecting | State::Handshake(_))
    }

    /// Has the link completed its handshake, or is it a verifier that is idle or has verified a
    /// login? If so, its end is no sign that the server is down.
    pub(crate) fn has_worked(&self) -> bool {
        match self.state {
            State::Ready | State::Verifying(Verifying::Idle { .. }) => true,
            State::Verifying(Verifying::Asked { proven, .. }) => proven,
            State::Connecting | State::Handshake(_) => false,
        }
    }

    /// Is the link a verifier, which belongs to no pool?
    pub(crate) fn is_verifier(&self) -> bool {
        self.pool == PoolKey::NONE
    }

    /// May clients of the pool send on the link? Not while it is reserved, borrowed or retired, or
    /// has abandoned replies.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.role, Role::Shared | Role::Idle) && self.abandoned == 0
    }

    /// Is it kept for clients in WAIT until nothing is in flight?
    pub(crate) fn is_reserved(&self) -> bool {
        self.role == Role::Reserved
    }

    /// Does the link belong to no client, and is WAIT in flight on it?
    pub(crate) fn is_asked_only(&self) -> bool {
        let taken = self.role == Role::Borrowed(ClientKey::NONE)
            || self.is_dedicated() && self.owner() == ClientKey::NONE;
        taken && self.waits.is_asking()
    }

    /// Ends a read pause. Returns whether the link was read paused: then it must be read at once.
    /// The reply deadline starts again, because the server may have answered during the pause.
    pub(crate) fn unpause(&mut self, now: Millis) -> bool {
        let was = std::mem::take(&mut self.paused);
        if was {
            self.since = now;
        }
        was
    }

    /// Does it belong to no client, and is it not retired?
    pub(crate) fn is_shared(&self) -> bool {
        !self.role.is_retired() && self.owner() == ClientKey::NONE
    }

    /// Is it dedicated to a client other than those in WAIT on it?
    pub(crate) fn is_dedicated_to_other(&self) -> bool {
        let owner = self.owner();
        owner != ClientKey::NONE && self.waits.clients().all(|it| it != owner)
    }

    /// Should requests prefer another link, even a connecting one? Yes, if the link is in the
    /// middle of a large reply, runs a script, is read paused or has abandoned replies. A late
    /// reply is no reason: the server may be busy, and then all links are slow.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        const BIG: u64 = 64 * 1024;
        self.scripts > 0
            || self.paused
            || self.abandoned > 0
            || self.reply_bytes > BIG
            || self.scanner.bulk_left() > BIG
    }

    /// Does a client that has nothing in flight stay with this link?
    #[inline]
    pub(crate) fn is_fit(&self, now: Millis) -> bool {
        self.is_ready() && !self.is_busy() && self.is_open() && !self.is_late(now)
    }

    /// Is its next reply late? Another ready link is then the better choice.
    #[inline]
    pub(crate) fn is_late(&self, now: Millis) -> bool {
        !self.fifo.is_empty() && !self.paused && now.since(self.since) >= self.late_ms
    }

    /// Is a reply outstanding, so that its deadline is running?
    pub(crate) fn awaits_reply(&self) -> bool {
        self.sent > 0 && !self.fifo.is_empty() && !self.paused && self.blocking == 0
    }

    /// Why a ready link is a worse choice, the stronger reason first: (busy, late).
    pub(crate) fn drawbacks(&self, now: Millis) -> (bool, bool) {
        (self.is_busy(), self.is_late(now))
    }
}

/// The time of silence after which a reply is late, ms.
const LATE_MS: u64 = 50;

/// Its maximum for a distant server, ms.
const LATE_MS_MAX: u64 = 1_000;

/// The time of silence after which a reply is late, for a server with this handshake time: a
/// handshake takes a round trip, and a reply may be delayed by as much.
pub(crate) fn late_after(handshake_ms: u64) -> u64 {
    handshake_ms.saturating_mul(2).clamp(LATE_MS, LATE_MS_MAX)
}
