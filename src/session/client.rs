//! A client as the machine sees it: what it sent and has not been answered, who it is, and what
//! its session is set to. An idle client owns no heap.

mod details;
mod totals;

use std::mem;
use std::net::{SocketAddr, SocketAddrV4};

use crate::resp::Protocol;

use crate::dedicated::pin::Pin;
use crate::link::request::Fifo;
use crate::session::change::Waiting;
use crate::session::client::totals::Halves;
use crate::session::inbound::Inbound;
use crate::session::last_command::LastCommand;
use crate::session::phase::{IllegalPhase, Phase};
use crate::store::chunk::ChunkList;
use crate::store::key::{AccountKey, LinkKey, PoolKey};
use crate::store::time::{Millis, Tenths};
pub(crate) use details::{Details, Former};

/// Flow control: why a client's bytes are not decoded just now, whatever its [`Phase`] is; any bit
/// stops it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold(u8);

impl Hold {
    /// The next command changes the connection: first all replies of the old one must be in.
    pub(crate) const BARRIER: Self = Self(1);
    /// Too many requests are not answered yet.
    pub(crate) const IN_FLIGHT: Self = Self(2);
    /// The backend has not taken enough of what it was sent.
    pub(crate) const BACKEND: Self = Self(16);
    /// Its tenant is paused or over its rate, or it has had its share of the turn: it is in one of
    /// the lists of those who wait for that, see `gate` and `share`.
    pub(crate) const LIMIT: Self = Self(64);

    pub(crate) fn set(&mut self, bit: Self) {
        self.0 |= bit.0;
    }

    pub(crate) fn clear(&mut self, bit: Self) {
        self.0 &= !bit.0;
    }

    pub(crate) fn has(self, bit: Self) -> bool {
        self.0 & bit.0 != 0
    }

    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// CLIENT REPLY SKIP was the last command: the next one is silent.
    SkipNext,
}

/// Both ends of a client's connection, in as few bytes as most of them need.
#[derive(Clone, Debug)]
enum Ends {
    V4(SocketAddrV4, SocketAddrV4),
    Other(Box<(SocketAddr, SocketAddr)>),
}

/// Where a client came from; made when it is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Unique in the process, rising: what CLIENT ID answers.
    pub id: u64,
    /// The client's end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
}

impl Ends {
    fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        match (peer, local) {
            (SocketAddr::V4(peer), SocketAddr::V4(local)) => Self::V4(peer, local),
            ends => Self::Other(Box::new(ends)),
        }
    }
}

/// One client connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// See [`Origin::id`].
    pub id: u64,
    ends: Ends,
    /// Replies on their way out.
    pub outbound: ChunkList,
    /// What was read and not yet consumed, if there is anything.
    pub inbound: Option<Box<Inbound>>,
    /// Its records, in the order of its requests.
    pub fifo: Fifo,
    /// Commands forwarded and not answered.
    pub in_flight: u32,
    /// The shared connection it sticks to while anything is in flight, or its own.
    pub link: LinkKey,
    /// What its own connection holds for it, as long as it has one. [`Client::set_pin`] changes it.
    pin: Option<Box<Pin>>,
    /// Who it is; `NONE`: nobody, until it logs in or asks for something.
    account: AccountKey,
    /// Where it is: the pool of (account, instance, db, protocol). `NONE`: nowhere, until it asks
    /// for something and its tenant has an instance.
    pub pool: PoolKey,
    pub db: u32,
    pub protocol: Protocol,
    pub reply_mode: ReplyMode,
    phase: Phase,
    pub hold: Hold,
    flags: u8,
    pub opened: Tenths,
    pub active: Tenths,
    /// What has gone through it; the other halves are in its [`Details`].
    pub totals: Halves,
    pub command: LastCommand,
    pub details: Option<Box<Details>>,
}

/// Thousands of clients are idle, and each costs its record, a slot and a socket.
const _: () = assert!(size_of::<Client>() <= 152);

/// What is so of a client or is not, a bit each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flag {
    /// The reactor was told to stop reading.
    Paused = 1,
    /// In the list of connections that have something to send.
    Dirty = 2,
    /// Already in the list of those that may go on.
    Ready = 4,
    /// The client sent its FIN: it is closed once all it asked for is answered.
    Eof = 8,
    /// The client hung up, or half-closed; what it sent before is not all read yet, maybe.
    Gone = 16,
    /// It has left connections that may carry its last write: see [`Details::former`].
    Moved = 64,
    /// It uses a connection only because another one was held up.
    LedRound = 128,
}

impl Client {
    pub(crate) fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    pub(crate) fn set(&mut self, flag: Flag) {
        self.flags |= flag as u8;
    }

    pub(crate) fn clear(&mut self, flag: Flag) {
        self.flags &= !(flag as u8);
    }

    /// Was it set? It is not any more.
    pub(crate) fn take(&mut self, flag: Flag) -> bool {
        let was = self.is(flag);
        self.clear(flag);
        was
    }

    pub(crate) fn new(origin: Origin, now: Millis) -> Self {
        Self {
            id: origin.id,
            ends: Ends::new(origin.peer, origin.local),
            outbound: ChunkList::default(),
            inbound: None,
            fifo: Fifo::default(),
            in_flight: 0,
            link: LinkKey::NONE,
            pin: None,
            account: AccountKey::NONE,
            pool: PoolKey::NONE,
            db: 0,
            protocol: Protocol::Resp2,
            reply_mode: ReplyMode::On,
            phase: Phase::default(),
            hold: Hold::default(),
            flags: 0,
            opened: now.tenths(),
            active: now.tenths(),
            totals: Halves::default(),
            command: LastCommand::default(),
            details: None,
        }
    }

    /// The client's end of the connection, and ours.
    pub(crate) fn ends(&self) -> (SocketAddr, SocketAddr) {
        match &self.ends {
            Ends::V4(peer, local) => ((*peer).into(), (*local).into()),
            Ends::Other(ends) => **ends,
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The phase from now on: the only function that changes it.
    ///
    /// # Errors
    ///
    /// A client in the present phase cannot be in this one next; it stays as it is.
    pub(crate) fn enter(&mut self, phase: Phase) -> Result<(), IllegalPhase> {
        self.phase = self.phase.to(phase)?;
        Ok(())
    }

    /// The phase that follows from what the client has, if it waits for nothing.
    pub(crate) fn base(&self) -> Phase {
        match (&self.pin, self.account) {
            (Some(_), _) => Phase::Dedicated,
            (None, AccountKey::NONE) => Phase::Anonymous,
            (None, _) => Phase::Shared,
        }
    }

    /// What the client has is another thing now: so may its phase be, unless it waits or closes.
    fn follow_base(&mut self) {
        if self.phase.decodes() {
            self.phase = self.base();
        }
    }

    pub(crate) fn account(&self) -> AccountKey {
        self.account
    }

    /// The client is of this account from now on. Returns the one before.
    pub(crate) fn set_account(&mut self, account: AccountKey) -> AccountKey {
        let before = mem::replace(&mut self.account, account);
        self.follow_base();
        before
    }

    /// What the client's own link holds for it, as long as it has one.
    #[inline]
    pub(crate) fn pin(&self) -> Option<&Pin> {
        self.pin.as_deref()
    }

    /// See [`pin`](Self::pin).
    pub(crate) fn pin_mut(&mut self) -> Option<&mut Pin> {
        self.pin.as_deref_mut()
    }

    /// The client has a link of its own from now on, or has none. Returns what it had.
    pub(crate) fn set_pin(&mut self, pin: Option<Box<Pin>>) -> Option<Box<Pin>> {
        let before = mem::replace(&mut self.pin, pin);
        self.follow_base();
        before
    }

    /// Does it wait for something before its bytes are decoded? Then it is not read. One that
    /// closes is: a socket that is closed with unread bytes loses what was sent on it.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.hold.any() || !(self.phase.decodes() || self.is_closing())
    }

    /// Are its bytes decoded now?
    #[inline]
    pub(crate) fn decodes(&self) -> bool {
        !self.hold.any() && self.phase.decodes()
    }

    /// Does it hear what is said already, and nothing more?
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Bytes that were read and are not consumed.
    pub(crate) fn inbound_bytes(&self) -> usize {
        self.inbound.as_ref().map_or(0, |inbound| inbound.len())
    }

    /// Bytes that are kept for it to read.
    #[inline]
    pub(crate) fn unread_bytes(&self) -> usize {
        let parked = self.details.as_ref().map_or(0, |it| it.parked_bytes);
        self.outbound.len() + parked as usize
    }

    /// Bytes that are kept for it, whichever way they go.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.unread_bytes() + self.inbound_bytes() + self.name_bytes() + self.gathered_bytes()
    }

    /// Bytes of the answers that it waits for, as far as they have come.
    pub(crate) fn gathered_bytes(&self) -> usize {
        self.waiting().map_or(0, Waiting::gathered_bytes)
    }

    /// Bytes of what it calls itself and its library.
    pub(crate) fn name_bytes(&self) -> usize {
        let details = self.details.as_deref();
        details.map_or(0, |it| it.name.len() + it.lib_name.len() + it.lib_ver.len())
    }

    /// Does it wait for nothing at all? Then a drain, or its own FIN, may end it.
    /// Has it hung up, or ended what it sends?
    pub(crate) fn has_left(&self) -> bool {
        self.is(Flag::Eof) || self.is(Flag::Gone)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.fifo.is_empty() && self.outbound.is_empty() && self.waiting().is_none()
    }
}
