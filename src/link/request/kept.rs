//! Replies that are kept with their record until it is their turn: those that were made here, and
//! those that a link brings before the replies of another one.

use super::{Fifo, Kind, Reply, Request, Requests};
use crate::store::chunk::{ChunkList, ChunkPool, FIRST_BYTES};
use crate::store::key::ClientKey;

/// What parked replies count as beside their bytes: their record, their list and its first chunk.
const PARKED_BYTES: usize = size_of::<Request>() + size_of::<ChunkList>() + FIRST_BYTES;

/// What parked replies count as towards the limits on unread bytes.
pub(crate) fn parked_size(replies: &ChunkList) -> usize {
    PARKED_BYTES + replies.len()
}

impl Requests {
    /// Adds a reply that has to wait for those before it, to the one before it if that waits, too.
    /// Returns what it counts as.
    pub(crate) fn park(
        &mut self,
        of_client: &mut Fifo,
        client: ClientKey,
        reply: &[u8],
        chunks: &mut ChunkPool,
    ) -> usize {
        let last = self.get(of_client.tail).map(|last| last.reply());
        if let Some(Reply::Done(last)) = last
            && let Some(replies) = self.kept.get_mut(last as usize)
        {
            chunks.append(replies, reply);
            return reply.len();
        }
        let mut replies = ChunkList::default();
        chunks.append(&mut replies, reply);
        let size = parked_size(&replies);
        let index = self.insert(client, Kind::Deliver, 0, 0);
        self.finish(index, replies);
        self.link_client(of_client, index);
        size
    }

    /// Bytes of a reply have come before the record's turn. Returns what they count as.
    pub(crate) fn keep(&mut self, index: u32, part: &[u8], chunks: &mut ChunkPool) -> usize {
        let Some(record) = self.records.get_mut(index as usize) else {
            return 0;
        };
        if let Reply::Arriving(kept) = record.reply()
            && let Some(replies) = self.kept.get_mut(kept as usize)
        {
            chunks.append(replies, part);
            return part.len();
        }
        let mut replies = ChunkList::default();
        chunks.append(&mut replies, part);
        let size = parked_size(&replies);
        record.set_reply(Reply::Arriving(self.kept.insert(replies) as u32));
        size
    }

    /// All replies of a record have come, before its turn; it has left its link's queue.
    pub(crate) fn complete(&mut self, index: u32) {
        match self.get(index).map(|record| record.reply()) {
            Some(Reply::Arriving(kept)) => {
                if let Some(record) = self.get_mut(index) {
                    record.set_reply(Reply::Done(kept));
                    self.done += 1;
                }
            }
            Some(Reply::Waiting) => self.finish(index, ChunkList::default()),
            Some(Reply::Done(_)) | None => {}
        }
    }

    /// The replies to a record are these.
    pub(super) fn finish(&mut self, index: u32, replies: ChunkList) {
        if let Some(record) = self.records.get_mut(index as usize) {
            record.set_reply(Reply::Done(self.kept.insert(replies) as u32));
            self.done += 1;
        }
    }

    /// What is kept of the replies of the head of a client's queue, whose turn it is. A record
    /// whose replies are done is forgotten.
    pub(crate) fn take_kept(&mut self, fifo: &mut Fifo) -> Option<ChunkList> {
        let record = self.records.get_mut(fifo.head as usize)?;
        let kept = match record.reply() {
            Reply::Waiting => return None,
            Reply::Arriving(kept) => {
                record.set_reply(Reply::Waiting);
                kept
            }
            Reply::Done(kept) => {
                self.leave_client(fifo);
                self.done -= 1;
                kept
            }
        };
        self.kept.try_remove(kept as usize)
    }

    /// A client goes: what is kept of its replies is forgotten. The records of what links still
    /// owe stay in their queues, and find no client.
    pub(crate) fn abandon(&mut self, fifo: &mut Fifo, chunks: &mut ChunkPool) {
        let mut index = fifo.head;
        while let Some(record) = self.records.get_mut(index as usize) {
            let (here, reply) = (index, record.reply());
            index = record.next_of_client;
            record.set_reply(Reply::Waiting);
            let (Reply::Arriving(kept) | Reply::Done(kept)) = reply else {
                continue;
            };
            if let Some(mut replies) = self.kept.try_remove(kept as usize) {
                chunks.clear(&mut replies);
            }
            if matches!(reply, Reply::Done(_)) {
                self.records.try_remove(here as usize);
                self.done -= 1;
            }
        }
        *fifo = Fifo::default();
    }

    /// A client hears no more: what is still to come for it is dropped.
    pub(crate) fn silence(&mut self, fifo: Fifo, chunks: &mut ChunkPool) {
        let mut index = fifo.head;
        while let Some(record) = self.records.get_mut(index as usize) {
            if record.kind == Kind::Deliver {
                record.kind = Kind::Swallow;
            }
            if let Reply::Arriving(kept) | Reply::Done(kept) = record.reply()
                && let Some(replies) = self.kept.get_mut(kept as usize)
            {
                chunks.clear(replies);
            }
            index = record.next_of_client;
        }
    }

    /// What replies that wait for those before them take up beside their bytes.
    pub(crate) fn parked_bytes(&self) -> usize {
        self.kept.len() * PARKED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Key;

    #[test]
    fn replies_that_wait_one_behind_the_other_share_a_record() {
        let (mut requests, mut fifo) = (Requests::default(), Fifo::default());
        let mut chunks = ChunkPool::of_short_lists();
        let client = ClientKey::new(1, 1);
        let mut park = |reply| requests.park(&mut fifo, client, reply, &mut chunks);
        assert_eq!(park(b"+1\r\n"), PARKED_BYTES + 4);
        assert_eq!(park(b"+2\r\n"), 4);
        assert_eq!((requests.len(), requests.parked_bytes()), (1, PARKED_BYTES));
        let mut replies = requests.take_kept(&mut fifo).unwrap();
        assert_eq!(chunks.to_vec(&replies), b"+1\r\n+2\r\n");
        chunks.clear(&mut replies);
        assert!(fifo.is_empty());
        assert_eq!((requests.len(), requests.parked_bytes()), (0, 0));
    }
}
