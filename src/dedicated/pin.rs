//! The state that a dedicated link holds for its client, which replies change.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::command::Topic;
use crate::command::slot::Slot;
use crate::resp::Protocol;

use crate::dedicated::effect::Effect;
use crate::dedicated::exec_scanner::ExecScanner;
use crate::dedicated::repeat::{Repeat, Transaction};
use crate::dedicated::watches::Watches;
use crate::link::credential::Credential;
use crate::link::verb::Verb;
use crate::store::key::{LinkKey, TenantSlot};

/// A change of the client or its link that takes effect when the server accepts it.
#[derive(Debug)]
pub(crate) enum Change {
    /// Adds these watched keys, by their hashes.
    Watch(Box<[u64]>),
    Monitor,
    Tracking(Option<Tracking>),
    /// CLIENT TRACKINGINFO: the reply contains another link's number.
    TrackingInfo,
    NoTouch(bool),
    /// HIMPORT PREPARE, CLIENT IMPORT-SOURCE ON: the link keeps state until it ends.
    Keep,
    Select(u32),
    /// A login. The account may be removed before the server answers.
    Login(Arc<Credential>),
    Hello {
        login: Option<Arc<Credential>>,
        protocol: Protocol,
        name: Option<Vec<u8>>,
    },
    /// A command queued inside MULTI: its effect when EXEC executes it.
    Queue(Effect),
}

impl Change {
    /// Must the complete reply be read, and possibly changed, before it is delivered?
    pub(crate) fn rewrites(&self) -> bool {
        matches!(self, Self::Hello { .. } | Self::TrackingInfo)
    }
}

/// Client-side caching is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracking {
    /// The client that gets the invalidations, by the proxy's number.
    pub redirect: Option<u64>,
    /// OPTIN or OPTOUT: CLIENT CACHING is about the next command on the link.
    pub by_choice: bool,
}

/// The state that a dedicated link holds for its client, which replies change.
#[derive(Debug, Default)]
pub(crate) struct Pin {
    /// Inside MULTI.
    pub multi: bool,
    /// Commands queued in this MULTI.
    pub queued: u32,
    pub watched: Watches,
    pub channels: u32,
    pub patterns: u32,
    pub shard_channels: u32,
    pub tracking: Option<Tracking>,
    pub monitor: bool,
    pub no_touch: bool,
    /// Other clients refer to this link by its number, or it keeps state that replies do not show:
    /// it stays dedicated until it ends.
    pub kept: bool,
    /// The link is borrowed for one request; it may be in another database.
    pub borrowed: bool,
    /// The slot for which a client of a Redis Cluster got the link.
    pub slot: Option<Slot>,
    /// What another node executes if the slot moves.
    pub repeat: Repeat,
    /// The tenant for which it counts as dedicated.
    pub tenant: TenantSlot,
    /// The shared link that the client used before: it may carry some of the client's writes.
    pub(crate) shared: LinkKey,
    /// No other client gets the link: another client may refer to it by its number, or its settings
    /// differ from those of the pool's other links.
    pub(crate) not_reusable: bool,
    /// Requests in flight whose replies may change this state.
    pub(crate) unsettled: u32,
    /// The ones among them that may begin or end a transaction.
    pub(crate) transactions: u32,
    /// For each request in flight with [`Verb::Change`] or [`Verb::Watch`], in order.
    pub(crate) changes: VecDeque<Change>,
    /// The effects of EXEC in the proxy: the place of a command in the queue, and its effect.
    pub(crate) effects: VecDeque<(u32, Effect)>,
    pub(crate) effect_bytes: usize,
    pub(crate) scanner: ExecScanner,
}

impl Pin {
    /// Does the link hold anything?
    pub(crate) fn holds(&self) -> bool {
        self.multi
            || !self.watched.is_empty()
            || self.subscriptions() > 0
            || self.tracking.is_some()
            || self.monitor
            || self.no_touch
            || self.kept
    }

    /// Keeps the link from other clients: a client knows its number.
    pub(crate) fn set_not_reusable(&mut self) {
        self.not_reusable = true;
    }

    /// The number of commands that EXEC has executed so far, if its reply is inspected.
    pub(crate) fn carried_out(&self) -> u32 {
        self.scanner.ended()
    }

    /// Is any element of EXEC's reply replaced?
    pub(crate) fn scans_exec(&self) -> bool {
        let redirects = self.tracking.is_some_and(|it| it.redirect.is_some());
        redirects || !self.effects.is_empty()
    }

    /// Does it hold only a transaction or watches? Such a client is expected to continue soon.
    pub(crate) fn holds_transaction_only(&self) -> bool {
        let lasting = self.subscriptions() > 0 || self.tracking.is_some() || self.monitor;
        (self.multi || !self.watched.is_empty()) && !lasting
    }

    /// Channels, patterns and shard channels.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.channels + self.patterns + self.shard_channels
    }

    /// Are only a subscriber's commands allowed? In RESP2, messages could otherwise not be told
    /// from replies.
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

    /// Handles a confirmation. Its number counts channels and patterns together, and shard channels
    /// apart.
    pub(crate) fn confirmed(&mut self, topic: Topic, count: u32) {
        let others = match topic {
            Topic::Channel => self.patterns,
            Topic::Pattern => self.channels,
            Topic::Shard => 0,
        };
        *self.topic_mut(topic) = count.saturating_sub(others);
    }

    /// Ends the transaction and all watches.
    pub(crate) fn end_transaction(&mut self) {
        (self.multi, self.queued) = (false, 0);
        self.watched.clear();
        self.effects.clear();
        self.effect_bytes = 0;
        self.repeat = Repeat::Nothing;
    }

    /// Takes the commands of the transaction, if they are remembered.
    pub(crate) fn take_transaction(&mut self) -> Option<Box<Transaction>> {
        match mem::take(&mut self.repeat) {
            Repeat::Transaction(mut transaction) => {
                transaction.slot = self.slot;
                Some(transaction)
            }
            other => {
                self.repeat = other;
                None
            }
        }
    }

    /// Does it hold nothing but a transaction that another link may execute as well?
    pub(crate) fn is_movable(&self) -> bool {
        let other = self.subscriptions() > 0
            || self.tracking.is_some()
            || self.monitor
            || self.no_touch
            || self.kept;
        let plain = |(_, effect): &(u32, Effect)| matches!(effect, Effect::Write);
        !other && self.changes.is_empty() && self.effects.iter().all(plain)
    }

    /// A request with this verb was sent.
    pub(crate) fn sent(&mut self, verb: Verb) {
        self.unsettled += u32::from(verb.is_unsettled());
        self.transactions += u32::from(verb.is_transaction());
    }

    /// The last of its replies arrived.
    pub(crate) fn answered(&mut self, verb: Verb) {
        self.unsettled -= u32::from(verb.is_unsettled());
        self.transactions -= u32::from(verb.is_transaction());
    }

    /// Applies an accepted change that affects nothing but this record.
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
