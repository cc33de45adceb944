//! Records that leave their queue out of turn: for another connection, or because they are answered
//! here.

use crate::link::request::{Fifo, Kind, NIL, Reply, Request, Requests};
use crate::link::verb::Verb;
use crate::store::chunk::{ChunkList, ChunkPool};
use crate::store::key::ClientKey;

/// Why a request that only reads is asked again on another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A big reply in front of its reply, whose client reads slowly.
    SlowReader = 1,
    /// A reply in front of its reply is late.
    LateReply = 2,
    /// Its connection was lost.
    LinkLost = 4,
}

/// The reasons for which a request was asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retried(u8);

impl Retried {
    pub(crate) fn has(self, reason: Reason) -> bool {
        self.0 & reason as u8 != 0
    }

    #[must_use]
    pub(crate) fn and(self, reason: Reason) -> Self {
        Self(self.0 | reason as u8)
    }
}

impl Requests {
    /// Hangs a record at the end of a client's queue again, after those that went before it.
    pub(crate) fn relink(&mut self, fifo: &mut Fifo, index: u32) {
        if let Some(record) = self.get_mut(index) {
            record.next_of_client = NIL;
            self.link_client(fifo, index);
        }
    }

    /// Nobody waits for the replies to a record any more; the backend brings them all the same.
    pub(crate) fn forsake(&mut self, index: u32) {
        if let Some(record) = self.get_mut(index) {
            record.client = ClientKey::NONE;
            record.kind = Kind::Forsaken;
            record.next_of_client = NIL;
        }
    }

    /// Leaves a record its first `count` replies. The others get a record of their own behind it in
    /// both queues; their bytes begin at `start`. Returns the new record.
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

    /// Hangs a record at the end of a backend's queue, wherever it was before; its bytes will begin
    /// at `start`.
    pub(crate) fn rehang(&mut self, index: u32, of_link: &mut Fifo, start: u64) {
        if let Some(record) = self.get_mut(index) {
            (record.start, record.next_of_link) = (start, NIL);
            match self.get_mut(of_link.tail) {
                Some(tail) => tail.next_of_link = index,
                None => of_link.head = index,
            }
            of_link.tail = index;
        }
    }

    /// A record that was taken off its backend's queue is answered here: the replies wait for those
    /// before them.
    pub(crate) fn answer(&mut self, index: u32, replies: ChunkList, chunks: &mut ChunkPool) {
        let Some(record) = self.records.get_mut(index as usize) else {
            return;
        };
        self.patient -= usize::from(record.verb.is_patient());
        (record.verb, record.count, record.next_of_link) = (Verb::Plain, 0, NIL);
        let before = record.reply();
        self.finish(index, replies);
        // A part of the replies that no link completes is of no use.
        if let Reply::Arriving(kept) = before
            && let Some(mut kept) = self.kept.try_remove(kept as usize)
        {
            chunks.clear(&mut kept);
        }
    }

    /// Forgets a record that was taken off its backend's queue, and is in no client's.
    pub(crate) fn forget(&mut self, index: u32) {
        if let Some(record) = self.records.try_remove(index as usize) {
            self.patient -= usize::from(record.verb.is_patient());
        }
    }
}
