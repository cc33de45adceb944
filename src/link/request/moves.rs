//! Records that leave their link's queue out of turn: for another link, or because the proxy
//! answers them.

use crate::link::request::kept::parked_size;
use crate::link::request::{Fifo, Kind, NIL, Reply, Request, Requests};
use crate::link::verb::Verb;
use crate::store::chunk::{ChunkList, ChunkPool};
use crate::store::key::ClientKey;

/// Why a read-only request is retried on another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A large reply in front of its reply is read slowly.
    SlowReader = 1,
    /// A reply in front of its reply is late.
    LateReply = 2,
    /// Its link was lost.
    LinkLost = 4,
    /// No node of a Redis Cluster executed it: [`Request::queued`] says since when.
    Held = 8,
}

/// The bits from here on count redirections.
const REDIRECTIONS: u32 = 4;

/// The reasons for which a request was retried, and how often it was redirected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retried(u8);

impl Retried {
    pub(crate) fn has(self, reason: Reason) -> bool {
        self.0 & reason as u8 != 0
    }

    /// How often the request was sent to another node of a Redis Cluster.
    pub(crate) fn redirections(self) -> u8 {
        self.0 >> REDIRECTIONS
    }

    /// The request is sent to another node once more.
    #[must_use]
    pub(crate) fn redirected(self) -> Self {
        Self(self.0.saturating_add(1 << REDIRECTIONS))
    }

    /// The request waits, and begins anew.
    #[must_use]
    pub(crate) fn rested(self) -> Self {
        Self(self.0 & ((1 << REDIRECTIONS) - 1))
    }

    #[must_use]
    pub(crate) fn and(self, reason: Reason) -> Self {
        Self(self.0 | reason as u8)
    }
}

impl Requests {
    /// Appends a record to a client's queue again, after the records before it.
    pub(crate) fn append_to_client(&mut self, fifo: &mut Fifo, index: u32) {
        if let Some(record) = self.get_mut(index) {
            record.next_of_client = NIL;
            self.link_client(fifo, index);
        }
    }

    /// Abandons the replies to a record: the server still sends them.
    pub(crate) fn abandon_replies(&mut self, index: u32) {
        if let Some(record) = self.get_mut(index) {
            debug_assert_eq!(record.reply(), Reply::Waiting);
            record.client = ClientKey::NONE;
            record.kind = Kind::Abandoned;
            record.next_of_client = NIL;
        }
    }

    /// Splits a record after its first `count` replies. The others get a record of their own behind
    /// it in both queues; their bytes start at `start`. Returns the new record.
    pub(crate) fn split(
        &mut self,
        (index, count, start): (u32, u32, u64),
        of_client: &mut Fifo,
        of_link: &mut Fifo,
    ) -> u32 {
        let new = self.insert(ClientKey::NONE, Kind::Deliver, 0, start);
        let Some(record) = self.records.get_mut(index as usize) else {
            return new;
        };
        let second = Request {
            count: record.count.saturating_sub(count),
            start,
            // Replies that have arrived belong to the first record.
            kept: NIL,
            is_done: false,
            ..*record
        };
        record.count = count;
        (record.next_of_client, record.next_of_link) = (new, new);
        if let Some(record) = self.get_mut(new) {
            *record = second;
        }
        for queue in [of_client, of_link] {
            if queue.tail == index {
                queue.tail = new;
            }
        }
        new
    }

    /// Appends a record to the queue of another link; its bytes start at `start`.
    pub(crate) fn append_to_link(&mut self, index: u32, of_link: &mut Fifo, start: u64) {
        if let Some(record) = self.get_mut(index) {
            (record.start, record.next_of_link) = (start, NIL);
            match self.get_mut(of_link.tail) {
                Some(tail) => tail.next_of_link = index,
                None => of_link.head = index,
            }
            of_link.tail = index;
        }
    }

    /// Answers a record that was removed from its link's queue: these replies follow those of the
    /// record that have arrived, and wait for earlier ones. A partial reply is dropped, because no
    /// link completes it. Returns the bytes that are to be counted for the client, and those that
    /// were counted for the replies that have arrived.
    pub(crate) fn answer(
        &mut self,
        index: u32,
        mut replies: ChunkList,
        chunks: &mut ChunkPool,
    ) -> (usize, usize) {
        let Some(record) = self.records.get_mut(index as usize) else {
            return (0, 0);
        };
        self.untimed -= usize::from(record.verb.is_untimed());
        (record.verb, record.count, record.next_of_link) = (Verb::Plain, 0, NIL);
        let (mut all, before) = self.take_arrived(index, chunks);
        chunks.append_list(&mut all, &mut replies);
        let size = parked_size(&all);
        self.finish(index, all);
        (size, before)
    }

    /// Removes a record that is in no queue any more.
    pub(crate) fn forget(&mut self, index: u32) {
        if let Some(record) = self.records.try_remove(index as usize) {
            self.untimed -= usize::from(record.verb.is_untimed());
        }
    }
}
