//! Requests that several nodes of a Redis Cluster execute in parts, and transactions that one node
//! gets in one piece. The client has one record, which is in no link's queue; each part has a
//! record of its own, without a client.

use std::collections::HashMap;

use slab::Slab;

use super::{Reason, Requests};
use crate::command::scan::Scan;
use crate::command::scatter::Merge;
use crate::command::slot::Slot;
use crate::store::key::{ClientKey, InstanceKey};

/// The place of a part: its request, and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    request: usize,
    index: usize,
    /// Its node serves this slot.
    slot: Slot,
}

impl Part {
    pub(crate) fn new(request: usize, index: usize, slot: Slot) -> Self {
        Self {
            request,
            index,
            slot,
        }
    }
}

/// What became of a part.
#[derive(Debug)]
pub(crate) enum PartEnd {
    Reply(Vec<u8>),
    /// It was sent, and there is no reply.
    Lost(Box<[u8]>),
}

/// One request.
#[derive(Debug)]
pub(crate) struct Scattered {
    /// The client's record.
    pub record: u32,
    pub client: ClientKey,
    pub gather: Gather,
    /// The nodes of the parts, if each node executes one part of the request at most.
    pub nodes: Vec<InstanceKey>,
}

/// What becomes of the replies.
#[derive(Debug)]
pub(crate) enum Gather {
    /// They are merged.
    Merge(Merge),
    /// They are those to one step of a SCAN, which has one part.
    Scan(Box<RunningScan>),
    /// They are those to a transaction, which has one part. The client gets the last one.
    Transaction(Box<Piece>),
}

/// A SCAN of which a step is in flight.
#[derive(Debug)]
pub(crate) struct RunningScan {
    pub scan: Scan,
    /// The node that has the slot.
    pub node: InstanceKey,
    /// The client's request, to start anew.
    pub frame: Box<[u8]>,
}

/// A transaction that one node gets in one piece.
#[derive(Debug)]
pub(crate) struct Piece {
    pub slot: Slot,
    pub bytes: Box<[u8]>,
    /// The number of the replies to it.
    pub replies: u32,
    /// How often it was sent to another node.
    pub redirections: u8,
    /// Since when no node has executed it, on the clock of [`Requests`].
    pub held: Option<u32>,
}

/// All such requests, and their parts by their records.
#[derive(Debug, Default)]
pub(super) struct AllScattered {
    requests: Slab<Scattered>,
    parts: HashMap<u32, Part>,
}

impl Requests {
    /// The number of requests that wait for parts.
    pub(crate) fn scattered(&self) -> usize {
        self.scattered.requests.len()
    }

    /// Adds a request whose parts follow.
    pub(crate) fn scatter(&mut self, scattered: Scattered) -> usize {
        self.scattered.requests.insert(scattered)
    }

    /// A record is a part of a request.
    pub(crate) fn add_part(&mut self, record: u32, part: Part) {
        self.scattered.parts.insert(record, part);
    }

    /// The slot whose node executes the part with this record. `None`: it is no part.
    pub(crate) fn slot_of_part(&self, record: u32) -> Option<Slot> {
        Some(self.scattered.parts.get(&record)?.slot)
    }

    /// Must the node of a part be the one that serves its slot? Other parts are sent away by a node
    /// that does not.
    pub(crate) fn is_for_one_node(&self, record: u32) -> bool {
        let part = self.scattered.parts.get(&record);
        let request = part.and_then(|part| self.scattered.requests.get(part.request));
        request.is_some_and(|request| !request.nodes.is_empty())
    }

    /// Does this node execute another part of the request already, which it must not?
    pub(crate) fn has_other_part(&self, record: u32, node: InstanceKey) -> bool {
        let part = self.scattered.parts.get(&record);
        part.is_some_and(|part| {
            let request = self.scattered.requests.get(part.request);
            let mut nodes = request.iter().flat_map(|it| it.nodes.iter().enumerate());
            nodes.any(|(index, it)| index != part.index && *it == node)
        })
    }

    /// The client whose request has a part with this record.
    pub(crate) fn client_of_part(&self, record: u32) -> Option<ClientKey> {
        let part = self.scattered.parts.get(&record)?;
        Some(self.scattered.requests.get(part.request)?.client)
    }

    /// A part leaves its link for good: its reply has arrived, or will not.
    pub(crate) fn end_part(&mut self, record: u32) -> Option<Part> {
        self.scattered.parts.remove(&record)
    }

    /// Adds what became of a part. Returns the request if it was the last part.
    pub(crate) fn merge_part(
        &mut self,
        part: Part,
        add: impl FnOnce(&mut Merge, usize),
    ) -> Option<Scattered> {
        let request = self.scattered.requests.get_mut(part.request)?;
        let complete = match &mut request.gather {
            Gather::Merge(merge) => {
                add(merge, part.index);
                merge.is_complete()
            }
            Gather::Scan(_) | Gather::Transaction(_) => true,
        };
        complete.then(|| self.end_scattered(part)).flatten()
    }

    /// The transaction that a part is, and its client.
    pub(crate) fn piece(&mut self, part: Part) -> Option<(&mut Piece, ClientKey)> {
        let request = self.scattered.requests.get_mut(part.request)?;
        match &mut request.gather {
            Gather::Transaction(piece) => Some((piece, request.client)),
            Gather::Merge(_) | Gather::Scan(_) => None,
        }
    }

    /// Is the part with this record a transaction?
    pub(crate) fn is_transaction(&self, record: u32) -> bool {
        let part = self.scattered.parts.get(&record);
        let request = part.and_then(|part| self.scattered.requests.get(part.request));
        request.is_some_and(|request| matches!(request.gather, Gather::Transaction(_)))
    }

    /// Adds a record for a transaction that is about to be sent, to no queue. Returns it.
    pub(crate) fn push_piece(&mut self, part: Part) -> Option<u32> {
        let (piece, _) = self.piece(part)?;
        let (replies, held) = (piece.replies, piece.held);
        let record = self.push_batch(replies);
        if let Some(it) = self.get_mut(record)
            && let Some(since) = held
        {
            it.retried = it.retried.and(Reason::Held);
            it.queued = since;
        }
        self.scattered.parts.insert(record, part);
        Some(record)
    }

    /// Removes a request that has no parts any more.
    pub(crate) fn end_scattered(&mut self, part: Part) -> Option<Scattered> {
        self.scattered.requests.try_remove(part.request)
    }
}
