//! The record of a client: its unanswered requests, its account, and the settings of its session.
//! An idle client owns no heap memory.

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

/// Flow control: the reasons why a client's bytes are not decoded now, whatever its [`Phase`] is.
/// Any bit stops decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold(u8);

impl Hold {
    /// The next command changes the session: all replies must arrive first.
    pub(crate) const BARRIER: Self = Self(1);
    /// Too many requests are in flight.
    pub(crate) const IN_FLIGHT: Self = Self(2);
    /// The link has too many unsent bytes.
    pub(crate) const LINK: Self = Self(16);
    /// The tenant is paused or above its rate, or the client has used its share of the turn: the
    /// client is in the list for that reason, see `forward::pause` and `sessions::turns`.
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
    /// CLIENT REPLY SKIP was the last command: the reply to the next one is dropped.
    SkipNext,
}

/// The addresses of a client's connection, in as few bytes as most clients need.
#[derive(Clone, Debug)]
enum Addresses {
    V4(SocketAddrV4, SocketAddrV4),
    Other(Box<(SocketAddr, SocketAddr)>),
}

/// The origin of a client, set when its connection is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Unique in the process and increasing: the reply to CLIENT ID.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The proxy's address.
    pub local: SocketAddr,
}

impl Addresses {
    fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        match (peer, local) {
            (SocketAddr::V4(peer), SocketAddr::V4(local)) => Self::V4(peer, local),
            addresses => Self::Other(Box::new(addresses)),
        }
    }
}

/// One connection from a client.
#[derive(Debug)]
pub(crate) struct Client {
    /// See [`Origin::id`].
    pub id: u64,
    addresses: Addresses,
    /// Replies to send.
    pub outbound: ChunkList,
    /// Bytes that were read and are not consumed, if there are any.
    pub inbound: Option<Box<Inbound>>,
    /// The client's records, in the order of its requests.
    pub fifo: Fifo,
    /// Commands forwarded and not answered.
    pub in_flight: u32,
    /// The shared link that the client keeps while anything is in flight, or its dedicated link.
    pub link: LinkKey,
    /// What the client's dedicated link holds, while it has one. [`Client::set_pin`] changes it.
    pin: Option<Box<Pin>>,
    /// The client's account. `NONE`: the client is neither logged in nor admitted as the default
    /// user.
    account: AccountKey,
    /// The pool of (account, instance, db, protocol). `NONE`: the client has no instance, until it
    /// sends a request and its tenant has an instance.
    pub pool: PoolKey,
    pub db: u32,
    pub protocol: Protocol,
    pub reply_mode: ReplyMode,
    phase: Phase,
    pub hold: Hold,
    flags: u16,
    pub opened: Tenths,
    pub active: Tenths,
    /// The client's totals; their upper halves are in its [`Details`].
    pub totals: Halves,
    pub command: LastCommand,
    pub details: Option<Box<Details>>,
}

/// There may be many thousands of idle clients; each costs its record, a slot and a socket.
const _: () = assert!(size_of::<Client>() <= 152);

/// Yes-or-no properties of a client, one bit each.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flag {
    /// The client is read paused.
    Paused = 1,
    /// The client is in the list of connections with bytes to send.
    Dirty = 2,
    /// The client is in the list of clients to resume.
    Ready = 4,
    /// The client sent FIN: it is closed once all of its requests are answered.
    Eof = 8,
    /// The client hung up or is half-closed; some of its bytes may still be unread.
    Gone = 16,
    /// The client's instance is a Redis Cluster: its writes may be on several links.
    ManyNodes = 32,
    /// The client has sent a command of a Redis Cluster.
    KnowsCluster = 256,
    /// The client has left links that may carry its last write: see [`Details::former`].
    Moved = 64,
    /// The client uses its present link only because its previous one was blocked.
    RetriedElsewhere = 128,
}

impl Client {
    pub(crate) fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u16 != 0
    }

    pub(crate) fn set(&mut self, flag: Flag) {
        self.flags |= flag as u16;
    }

    pub(crate) fn clear(&mut self, flag: Flag) {
        self.flags &= !(flag as u16);
    }

    /// Clears the flag, and returns whether it was set.
    pub(crate) fn take(&mut self, flag: Flag) -> bool {
        let was = self.is(flag);
        self.clear(flag);
        was
    }

    pub(crate) fn new(origin: Origin, now: Millis) -> Self {
        Self {
            id: origin.id,
            addresses: Addresses::new(origin.peer, origin.local),
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

    /// The client's address, and the proxy's.
    pub(crate) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        match &self.addresses {
            Addresses::V4(peer, local) => ((*peer).into(), (*local).into()),
            Addresses::Other(addresses) => **addresses,
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Changes the phase; the only function that does.
    ///
    /// # Errors
    ///
    /// The table has no transition from the present phase to this one; the phase stays.
    pub(crate) fn enter(&mut self, phase: Phase) -> Result<(), IllegalPhase> {
        self.phase = self.phase.to(phase)?;
        Ok(())
    }

    /// The phase of a client that waits for nothing, from what it has.
    pub(crate) fn base(&self) -> Phase {
        match (&self.pin, self.account) {
            (Some(_), _) => Phase::Dedicated,
            (None, AccountKey::NONE) => Phase::Anonymous,
            (None, _) => Phase::Shared,
        }
    }

    /// Updates the phase after a change of account or link, unless the client waits or is closing.
    fn follow_base(&mut self) {
        if self.phase.decodes() {
            let entered = self.enter(self.base());
            debug_assert!(entered.is_ok(), "{entered:?}");
        }
    }

    pub(crate) fn account(&self) -> AccountKey {
        self.account
    }

    /// Changes the client's account. Returns the previous one.
    pub(crate) fn set_account(&mut self, account: AccountKey) -> AccountKey {
        let before = mem::replace(&mut self.account, account);
        self.follow_base();
        before
    }

    /// What the client's dedicated link holds, while it has one.
    #[inline]
    pub(crate) fn pin(&self) -> Option<&Pin> {
        self.pin.as_deref()
    }

    /// See [`pin`](Self::pin).
    pub(crate) fn pin_mut(&mut self) -> Option<&mut Pin> {
        self.pin.as_deref_mut()
    }

    /// Sets or removes what the dedicated link holds. Returns the previous value.
    pub(crate) fn set_pin(&mut self, pin: Option<Box<Pin>>) -> Option<Box<Pin>> {
        let before = mem::replace(&mut self.pin, pin);
        self.follow_base();
        before
    }

    /// Does anything stop the decoding of the client's bytes? Then it is read paused. A closing
    /// client is still read: a socket that is closed with unread bytes loses the bytes sent on it.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.hold.any() || !(self.phase.decodes() || self.is_closing())
    }

    /// Are the client's bytes decoded now?
    #[inline]
    pub(crate) fn decodes(&self) -> bool {
        !self.hold.any() && self.phase.decodes()
    }

    /// Is the client closing? It gets the replies that are buffered, and no more.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    /// Bytes that were read and are not consumed.
    pub(crate) fn inbound_bytes(&self) -> usize {
        self.inbound.as_ref().map_or(0, |inbound| inbound.len())
    }

    /// Bytes that are buffered for the client to read.
    #[inline]
    pub(crate) fn unread_bytes(&self) -> usize {
        let parked = self.details.as_ref().map_or(0, |it| it.parked_bytes);
        self.outbound.len() + parked as usize
    }

    /// Bytes that are buffered for the client, in both directions.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.unread_bytes() + self.inbound_bytes() + self.name_bytes() + self.answer_bytes()
    }

    /// Bytes of the other workers' answers to the client's question.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.waiting().map_or(0, Waiting::answer_bytes)
    }

    /// Bytes of the client's name and its library's.
    pub(crate) fn name_bytes(&self) -> usize {
        let details = self.details.as_deref();
        details.map_or(0, |it| it.name.len() + it.lib_name.len() + it.lib_ver.len())
    }

    /// Has the client hung up, or sent FIN?
    pub(crate) fn has_left(&self) -> bool {
        self.is(Flag::Eof) || self.is(Flag::Gone)
    }

    /// Is nothing of the client in flight or buffered? Then a drain, or its FIN, may close it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.fifo.is_empty() && self.outbound.is_empty() && self.waiting().is_none()
    }
}
