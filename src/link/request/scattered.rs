//! Requests that several nodes of a Redis Cluster execute in parts. The client has one record,
//! which is in no link's queue; each part has a record of its own, without a client.

use std::collections::HashMap;

use slab::Slab;

use super::Requests;
use crate::command::scan::Scan;
use crate::command::scatter::Merge;
use crate::store::key::{ClientKey, InstanceKey};

/// The place of a part: its request, and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    request: usize,
    index: usize,
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
}

/// What becomes of the replies.
#[derive(Debug)]
pub(crate) enum Gather {
    /// They are merged.
    Merge(Merge),
    /// They are those to one step of a SCAN, which has one part.
    Scan(Box<RunningScan>),
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
    pub(crate) fn add_part(&mut self, record: u32, request: usize, index: usize) {
        let part = Part { request, index };
        self.scattered.parts.insert(record, part);
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
            Gather::Scan(..) => true,
        };
        let requests = &mut self.scattered.requests;
        complete
            .then(|| requests.try_remove(part.request))
            .flatten()
    }
}
