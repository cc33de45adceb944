//! What a client's own connection holds for it, as the replies told.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::Topic;
use crate::resp::Protocol;

use crate::dedicated::effect::Effect;
use crate::dedicated::walker::Walker;
use crate::dedicated::watches::Watches;
use crate::link::credential::Credential;
use crate::link::verb::Verb;
use crate::store::key::{LinkKey, TenantSlot};

/// What becomes of a client or its connection once the backend has said yes.
#[derive(Debug)]
pub(crate) enum Change {
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
    Login(Arc<Credential>),
    Hello {
        login: Option<Arc<Credential>>,
        protocol: Protocol,
        name: Option<Vec<u8>>,
    },
    /// If it is queued, EXEC will have this effect.
    Queue(Effect),
}

impl Change {
    /// Must the reply be seen whole, and maybe changed, before the client gets it?
    pub(crate) fn rewrites(&self) -> bool {
        matches!(self, Self::Hello { .. } | Self::TrackingInfo)
    }
}

/// Client-side caching is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracking {
    /// The client that gets the invalidations, by its number here.
    pub redirect: Option<u64>,
}

/// What a client's own connection holds for it, as the replies told.
#[derive(Debug, Default)]
pub(crate) struct Pin {
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
    pub(crate) shared: LinkKey,
    /// Somebody may act on it by its number, or it is not as the pool's others: it serves nobody
    /// afterwards.
    pub(crate) soiled: bool,
    /// Requests in flight after which more or less may be held.
    pub(crate) unsettled: u32,
    /// Those of them that may begin or end a transaction.
    pub(crate) transactions: u32,
    /// For each request in flight with [`Verb::Change`], in order.
    pub(crate) changes: VecDeque<Change>,
    /// What EXEC will do beside what the backend does: the place of a command in the queue, and
    /// its effect here.
    pub(crate) effects: VecDeque<(u32, Effect)>,
    pub(crate) effect_bytes: usize,
    pub(crate) walker: Walker,
}

impl Pin {
    /// Does the connection hold anything, as far as the replies told?
    pub(crate) fn holds(&self) -> bool {
        self.multi
            || !self.watched.is_empty()
            || self.subscriptions() > 0
            || self.tracking.is_some()
            || self.monitor
            || self.no_touch
            || self.kept
    }

    /// Somebody knows the connection by its number.
    pub(crate) fn soil(&mut self) {
        self.soiled = true;
    }

    /// How many commands EXEC has carried out, as far as its reply is looked at.
    pub(crate) fn carried_out(&self) -> u32 {
        self.walker.ended()
    }

    /// Is something in the reply to EXEC replaced?
    pub(crate) fn walks(&self) -> bool {
        let redirects = self.tracking.is_some_and(|it| it.redirect.is_some());
        redirects || !self.effects.is_empty()
    }

    /// Does it hold a transaction or watches and nothing else? Such a client is expected to go on.
    pub(crate) fn holds_transaction_only(&self) -> bool {
        let lasting = self.subscriptions() > 0 || self.tracking.is_some() || self.monitor;
        (self.multi || !self.watched.is_empty()) && !lasting
    }

    /// Channels, patterns and shard channels.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.channels + self.patterns + self.shard_channels
    }

    /// Are the only commands those of a subscriber? In RESP2 messages could not be told from
    /// replies otherwise.
    pub(crate) fn is_modal(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Resp2 && self.subscriptions() > 0
    }

    pub(crate) fn topic_mut(&mut self, topic: Topic) -> &mut u32 {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Shard => &mut self.shard_channels,
        }
    }

    /// A confirmation came. The number in it counts channels and patterns together, and shard
    /// channels apart.
    pub(crate) fn confirmed(&mut self, topic: Topic, count: u32) {
        let others = match topic {
            Topic::Channel => self.patterns,
            Topic::Pattern => self.channels,
            Topic::Shard => 0,
        };
        *self.topic_mut(topic) = count.saturating_sub(others);
    }

    /// The transaction is over, and with it all watches.
    pub(crate) fn end_transaction(&mut self) {
        (self.multi, self.queued) = (false, 0);
        self.watched.clear();
        self.effects.clear();
        self.effect_bytes = 0;
    }

    /// A request with this verb went out.
    pub(crate) fn sent(&mut self, verb: Verb) {
        self.unsettled += u32::from(verb.is_unsettled());
        self.transactions += u32::from(verb.is_transaction());
    }

    /// The last of its replies came.
    pub(crate) fn answered(&mut self, verb: Verb) {
        self.unsettled -= u32::from(verb.is_unsettled());
        self.transactions -= u32::from(verb.is_transaction());
    }

    /// The backend did what changes nothing but this.
    pub(crate) fn change(&mut self, change: &Change) {
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
