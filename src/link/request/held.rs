//! Requests that wait to be sent again: their server did not execute them, and may later.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::{Fifo, Kind, Reason, Reply, Request, Requests};
use crate::command::keys::slot_of;
use crate::command::slot::Slot;
use crate::link::verb::Verb;
use crate::store::key::ClientKey;
use crate::store::time::Millis;

/// A request that is in its client's queue, and in no link's.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its record.
    pub index: u32,
    pub client: ClientKey,
    /// The slot of its keys.
    pub slot: Option<Slot>,
    /// What its reply changes on its link.
    pub verb: Verb,
    pub bytes: Box<[u8]>,
    /// The reply for its client when it has waited long enough.
    pub reply: Box<[u8]>,
    /// When it is sent again.
    pub due: Millis,
    /// The record of an earlier request of the same client for the same slot, which was sent again:
    /// this one is sent when that one has its reply.
    pub behind: Option<u32>,
    /// The reply may be a script's own.
    pub doubt: Option<Doubt>,
}

/// A reply that says that the slot has left its node, which a script may have chosen: the slots are
/// asked for, and say whether it is so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    /// The address of the node, and the one that the reply names, if it is no host name.
    pub node: Option<SocketAddr>,
    pub named: Option<SocketAddr>,
    /// How often the slots were learned before.
    pub learned: u32,
}

impl Held {
    pub(crate) fn new(index: u32, client: ClientKey, bytes: &[u8], reply: &[u8]) -> Self {
        Self {
            index,
            client,
            slot: slot_of(bytes),
            verb: Verb::Plain,
            bytes: bytes.into(),
            reply: reply.into(),
            due: Millis::default(),
            behind: None,
            doubt: None,
        }
    }
}

impl Requests {
    /// Holds a request that is in no link's queue. Its time counts from the first call. Requests
    /// that wait for its reply stay behind it.
    pub(crate) fn hold(&mut self, mut held: Held) {
        let clock = self.clock;
        held.slot = self.slot_of_part(held.index).or(held.slot);
        if let Some(record) = self.get_mut(held.index) {
            if !record.retried.has(Reason::Held) {
                record.queued = clock;
            }
            record.retried = record.retried.rested().and(Reason::Held);
        }
        let waits = |it: &Held| it.behind == Some(held.index);
        let at = self.held.iter().position(waits);
        self.held.insert(at.unwrap_or(self.held.len()), held);
    }

    /// How long ago a request was first held, ms.
    pub(crate) fn held_ms(&self, held: &Held) -> u64 {
        let record = self.get(held.index);
        let us = record.map_or(0, |record| self.clock.wrapping_sub(record.queued));
        u64::from(us / 1_000)
    }

    /// Adds a record at the end of a client's queue, and to no link's.
    pub(crate) fn push_held(&mut self, of_client: &mut Fifo, client: ClientKey, kind: Kind) -> u32 {
        let index = self.insert(client, kind, 1, 0);
        self.link_client(of_client, index);
        index
    }

    /// Adds a record for a part of a request, to no queue.
    pub(crate) fn push_part(&mut self) -> u32 {
        self.insert(ClientKey::NONE, Kind::Part, 1, 0)
    }

    /// Adds a record for this many requests that are sent together, to no queue.
    pub(crate) fn push_batch(&mut self, count: u32) -> u32 {
        self.insert(ClientKey::NONE, Kind::Batch, count, 0)
    }

    /// The number of requests that wait.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// When the next of them is due.
    pub(crate) fn next_held(&self) -> Option<Millis> {
        self.held.iter().map(|held| held.due).min()
    }

    /// Takes all of them; the caller puts back those that go on waiting.
    pub(crate) fn take_held(&mut self) -> VecDeque<Held> {
        std::mem::take(&mut self.held)
    }

    /// Does an earlier request of this client for this slot than this one wait?
    pub(crate) fn holds_before(&self, index: u32, client: ClientKey, slot: Option<Slot>) -> bool {
        let same = |held: &Held| held.client == client && held.slot == slot;
        let waits = |held: &Held| held.behind == Some(index);
        self.held.iter().any(|held| same(held) && !waits(held))
    }

    /// Does the request of this record have its reply, or no client?
    pub(crate) fn is_answered(&self, index: u32, client: ClientKey) -> bool {
        let done = |it: &Request| it.client != client || matches!(it.reply(), Reply::Done(_));
        self.slot_of_part(index).is_none() && self.get(index).is_none_or(done)
    }
}
