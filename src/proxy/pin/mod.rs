//! A backend connection of a client's own: for transactions, blocking commands, subscriptions,
//! tracking and MONITOR.
//!
//! ```text
//!            a command that needs it,                  nothing in flight,
//!            nothing in flight                         and nothing held
//!   shared ───────────────────────────► pinned ───────────────────────────► shared
//!              │      ▲                    │
//!              │      │ its turn           │ the connection is lost while it holds anything
//!              ▼      │                    ▼
//!            in the pool's line          closed: the client must not go on as if nothing was lost
//! ```
//!
//! While a client is pinned, all of its requests go to its own connection: what is held there (a
//! [`Pin`]) is decided by requests only in so far as nothing goes elsewhere, and by replies in all
//! else. So `MULTI` that was refused holds nothing, and `EXEC` ends what its `MULTI` began.
//!
//! | file | what is there |
//! |---|---|
//! | `take` | a connection is taken from the pool, and given back |
//! | `line` | the line of those who wait for one |
//! | `leave` | a client goes, or its connection |
//! | `send` | client to its connection: which reply will say what |
//! | `queue` | commands inside MULTI, and the reply to EXEC |
//! | `session` | SELECT, AUTH, HELLO and tracking on a connection of one's own |
//! | `wait` | WAIT, on the connections that carried the writes: who waits, and what is asked when |
//! | `fate` | where a frame goes |
//! | `frame` | what a frame of the backend is: a reply, a confirmation, or neither |
//! | `receive` | its connection to the client: what the replies said |

use std::collections::VecDeque;

use crate::command::Topic;
use crate::resp::Protocol;

use super::credential::Identity;
use super::key::{BackendKey, TenantSlot};

mod fate;
mod frame;
mod leave;
mod line;
mod queue;
mod receive;
mod send;
mod session;
mod take;
mod wait;
mod walker;
mod watches;

pub(super) use frame::Frame;
use queue::Effect;
pub(super) use wait::Waits;
use walker::Walker;
use watches::Watches;

/// What the reply to a request says about the connection that it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Nothing.
    Plain,
    /// Nothing, but it may be long in coming.
    Script,
    /// A transaction has begun.
    Multi,
    /// It has ended, well or not.
    Exec,
    /// It was dropped.
    Discard,
    /// Nothing is watched any more.
    Unwatch,
    /// The client waits for something to come.
    Block,
    /// All who wait for replicas on the connection do so, for a moment.
    Wait,
    /// As many confirmations as the record counts, or one error.
    Confirm(Topic),
    /// Confirmations until nothing of this topic is subscribed to.
    ConfirmAll(Topic),
    /// What the first of [`Pin::changes`] says.
    Change,
}

impl Verb {
    /// May its reply begin or end a transaction?
    fn is_transaction(self) -> bool {
        matches!(self, Self::Multi | Self::Exec | Self::Discard)
    }

    /// Are its replies confirmations, one per channel?
    pub(super) fn confirms(self) -> bool {
        matches!(self, Self::Confirm(_) | Self::ConfirmAll(_))
    }

    /// Is it open what the connection will hold afterwards?
    fn is_unsettled(self) -> bool {
        !matches!(self, Self::Plain | Self::Script | Self::Block | Self::Wait)
    }

    /// May its reply take as long as it likes?
    pub(super) fn is_patient(self) -> bool {
        matches!(self, Self::Block | Self::Wait)
    }

    /// Does silence of its connection say nothing? The proxy's own WAIT lasts for a moment only.
    pub(super) fn blocks(self) -> bool {
        self == Self::Block
    }
}

/// What becomes of a client or its connection once the backend has said yes.
#[derive(Debug)]
enum Change {
    /// These keys are watched too, by their hashes.
    Watch(Box<[u64]>),
    Monitor,
    Tracking(Option<Tracking>),
    /// CLIENT TRACKINGINFO: the reply has another connection's number in it.
    TrackingInfo,
    NoTouch(bool),
    /// HIMPORT PREPARE: something stays there until the connection ends.
    Keep,
    Select(u32),
    /// The account may be swept away until the backend has answered.
    Login(Identity),
    Hello {
        login: Option<Identity>,
        protocol: Protocol,
        name: Option<Vec<u8>>,
    },
    /// If it is queued, EXEC will have this effect.
    Queue(Effect),
}

impl Change {
    /// Must the reply be seen whole, and maybe changed, before the client gets it?
    fn rewrites(&self) -> bool {
        matches!(self, Self::Hello { .. } | Self::TrackingInfo)
    }
}

/// Client-side caching is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tracking {
    /// The client that gets the invalidations, by its number here.
    pub redirect: Option<u64>,
}

/// What a client's own connection holds for it, as the replies told.
#[derive(Debug, Default)]
pub(super) struct Pin {
    /// Inside MULTI.
    pub multi: bool,
    /// Commands queued since.
    pub queued: u32,
    pub watched: Watches,
    pub channels: u32,
    pub patterns: u32,
    pub shard_channels: u32,
    pub tracking: Option<Tracking>,
    pub monitor: bool,
    pub no_touch: bool,
    /// Others know this connection by its number, or it keeps what cannot be seen: it stays the
    /// client's until that ends.
    pub kept: bool,
    /// It is there for one request only, and in another database or as another user, maybe.
    pub provisional: bool,
    /// Whose connection of a client's own it counts as.
    pub tenant: TenantSlot,
    /// The shared connection that the client used before: some of its writes went there.
    shared: BackendKey,
    /// Somebody may act on it by its number, or it is not as the pool's others: it serves nobody
    /// afterwards.
    soiled: bool,
    /// Requests in flight after which more or less may be held.
    unsettled: u32,
    /// Those of them that may begin or end a transaction.
    transactions: u32,
    /// For each request in flight with [`Verb::Change`], in order.
    changes: VecDeque<Change>,
    /// What EXEC will do beside what the backend does: the place of a command in the queue, and
    /// its effect here.
    effects: VecDeque<(u32, Effect)>,
    effect_bytes: usize,
    walker: Walker,
}

impl Pin {
    /// Does the connection hold anything, as far as the replies told?
    pub(super) fn holds(&self) -> bool {
        self.multi
            || !self.watched.is_empty()
            || self.subscriptions() > 0
            || self.tracking.is_some()
            || self.monitor
            || self.no_touch
            || self.kept
    }

    /// Somebody knows the connection by its number.
    pub(super) fn soil(&mut self) {
        self.soiled = true;
    }

    /// How many commands EXEC has carried out, as far as its reply is looked at.
    pub(super) fn carried_out(&self) -> u32 {
        self.walker.ended()
    }

    /// Is something in the reply to EXEC replaced?
    fn walks(&self) -> bool {
        let redirects = self.tracking.is_some_and(|it| it.redirect.is_some());
        redirects || !self.effects.is_empty()
    }

    /// Does it hold a transaction or watches and nothing else? Such a client is expected to go on.
    pub(super) fn holds_transaction_only(&self) -> bool {
        let lasting = self.subscriptions() > 0 || self.tracking.is_some() || self.monitor;
        (self.multi || !self.watched.is_empty()) && !lasting
    }

    /// Channels, patterns and shard channels.
    pub(super) fn subscriptions(&self) -> u32 {
        self.channels + self.patterns + self.shard_channels
    }

    /// Are the only commands those of a subscriber? In RESP2 messages could not be told from
    /// replies otherwise.
    fn is_modal(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Resp2 && self.subscriptions() > 0
    }

    fn topic_mut(&mut self, topic: Topic) -> &mut u32 {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Shard => &mut self.shard_channels,
        }
    }

    /// A confirmation came. The number in it counts channels and patterns together, and shard
    /// channels apart.
    fn confirmed(&mut self, topic: Topic, count: u32) {
        let others = match topic {
            Topic::Channel => self.patterns,
            Topic::Pattern => self.channels,
            Topic::Shard => 0,
        };
        *self.topic_mut(topic) = count.saturating_sub(others);
    }

    /// The transaction is over, and with it all watches.
    fn end_transaction(&mut self) {
        (self.multi, self.queued) = (false, 0);
        self.watched.clear();
        self.effects.clear();
        self.effect_bytes = 0;
    }

    /// A request with this verb went out.
    fn sent(&mut self, verb: Verb) {
        self.unsettled += u32::from(verb.is_unsettled());
        self.transactions += u32::from(verb.is_transaction());
    }

    /// The last of its replies came.
    fn answered(&mut self, verb: Verb) {
        self.unsettled -= u32::from(verb.is_unsettled());
        self.transactions -= u32::from(verb.is_transaction());
    }

    /// The backend did what changes nothing but this.
    fn change(&mut self, change: &Change) {
        match *change {
            Change::Watch(ref hashes) => self.watched.add(hashes),
            Change::Monitor => self.monitor = true,
            Change::Tracking(tracking) => self.tracking = tracking,
            Change::NoTouch(on) => self.no_touch = on,
            Change::Keep => self.kept = true,
            _ => {}
        }
    }
}
