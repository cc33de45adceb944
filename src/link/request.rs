//! The request record: the only thing that knows both a client and a backend.
//!
//! Each record hangs in two queues, whose links live in the record itself:
//!
//! ```text
//!   client  c1: head -> R1 -> R3 -> R4          (its replies go out in this order)
//!   backend b1: head -> R1 -> R2(c2) -> R3      (replies come in in this order)
//!                              R4 = parked: its reply was made here and waits for R1 and R3
//! ```
//!
//! A record stands for one or more *consecutive* commands of one client on one backend connection
//! (`count`), so a pipeline of a hundred commands costs one record.

mod moves;

use slab::Slab;

use crate::command::Permission;

use crate::link::verb::Verb;
use crate::store::allocator::give_back;
use crate::store::chunk::{ChunkList, ChunkPool, FIRST_BYTES};
use crate::store::key::ClientKey;

pub(crate) use moves::{Reason, Retried};

/// No record.
pub(crate) const NIL: u32 = u32::MAX;

/// What happens with the replies of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They go to the client, byte for byte.
    Deliver,
    /// They are swallowed: the client asked for silence (CLIENT REPLY OFF or SKIP).
    Swallow,
    /// It is the answer to a question of ours; there is no client.
    Check,
    /// It is the answer to our question which role a server has; there is no client.
    Role,
    /// It is the answer to our question whether a user may give a command; there is no client.
    Permission(Permission),
    /// That it comes shows that the server answers; there is no client.
    Alive,
    /// It is the answer to a WAIT, on behalf of all who wait on the connection.
    Wait,
    /// They are asked for again on another connection: nobody waits for these.
    Forsaken,
    /// Replies were made here; the index is into [`Requests::parked`]. Never in a backend's queue.
    Parked(u32),
}

impl Kind {
    /// Is it what a client wants of its backend? Our questions have counters of their own.
    pub(crate) fn is_counted(self) -> bool {
        !matches!(
            self,
            Self::Check
                | Self::Role
                | Self::Permission(_)
                | Self::Alive
                | Self::Wait
                | Self::Forsaken
        )
    }

    /// Is it an answer that is read here, once all of it has come?
    pub(crate) fn is_collected(self) -> bool {
        matches!(
            self,
            Self::Check | Self::Role | Self::Permission(_) | Self::Wait
        )
    }
}

/// See the module. `count > 0`, except for a parked record.
#[derive(Debug)]
pub(crate) struct Request {
    /// May have gone meanwhile: then the replies are swallowed.
    pub client: ClientKey,
    pub next_of_client: u32,
    pub next_of_link: u32,
    /// Replies still to come.
    pub count: u32,
    pub kind: Kind,
    /// What the reply says about the client's own connection. One that says anything has a record
    /// to itself.
    pub verb: Verb,
    /// Where its first byte stands in all that was ever queued for the backend: with the
    /// connection's count of bytes sent it tells whether the backend may have seen it.
    pub start: u64,
    /// When the client asked, and when it was put into the backend's queue, on the clock of
    /// [`Requests`].
    pub asked: u32,
    /// See `asked`.
    pub queued: u32,
    /// Why it was asked again so far.
    pub retried: Retried,
    /// Unless its reply is an error, it wrote something: see `former`. It has a record to itself.
    pub writes: bool,
}

/// Records are many.
const _: () = assert!(size_of::<Request>() <= 48);

/// A queue of records; which link it follows is up to its owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fifo {
    pub head: u32,
    pub tail: u32,
}

impl Default for Fifo {
    fn default() -> Self {
        Self {
            head: NIL,
            tail: NIL,
        }
    }
}

impl Fifo {
    pub(crate) fn is_empty(self) -> bool {
        self.head == NIL
    }
}

/// All records of a worker, and the replies that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    records: Slab<Request>,
    parked: Slab<ChunkList>,
    /// Records whose replies may take as long as they like.
    patient: usize,
    /// Microseconds since the start, at the beginning of this turn; it wraps, and only differences
    /// count.
    pub clock: u32,
    /// When what is decoded now arrived: in this turn, but for what was kept.
    pub asked: u32,
}

/// What parked replies count as beside their bytes: their record, their list and its first chunk.
const PARKED_BYTES: usize = size_of::<Request>() + size_of::<ChunkList>() + FIRST_BYTES;

/// What parked replies count as towards the limits on unread bytes.
pub(crate) fn parked_size(replies: &ChunkList) -> usize {
    PARKED_BYTES + replies.len()
}

impl Requests {
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Request> {
        self.records.get(index as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Request> {
        self.records.get_mut(index as usize)
    }

    /// What replies that wait for those before them take up beside their bytes.
    pub(crate) fn parked_bytes(&self) -> usize {
        self.parked.len() * PARKED_BYTES
    }

    /// Bytes of the tables that hold them.
    pub(crate) fn table_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Request>()
            + self.parked.capacity() * size_of::<ChunkList>()
    }

    /// How many records there are: requests under way, and replies that wait for their turn.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Records whose replies a backend owes, but for those that may take as long as they like.
    pub(crate) fn moving(&self) -> usize {
        self.records.len() - self.parked.len() - self.patient
    }

    /// What a backend owes says nothing, and must not take as long as it likes any more.
    pub(crate) fn lose_patience(&mut self, fifo: Fifo) {
        let mut index = fifo.head;
        while let Some(record) = self.records.get_mut(index as usize) {
            let verb = std::mem::replace(&mut record.verb, Verb::Plain);
            self.patient -= usize::from(verb.is_patient());
            index = record.next_of_link;
        }
    }

    /// Gives memory back if there is no record.
    pub(crate) fn trim(&mut self) {
        if self.records.is_empty() {
            let any = self.insert(ClientKey::NONE, Kind::Forsaken, 0, 0);
            let any = self.records.remove(any as usize);
            give_back(&mut self.records, any);
            give_back(&mut self.parked, ChunkList::default());
        }
    }

    /// Adds a record for `client` at the end of both queues.
    #[inline]
    pub(crate) fn push(
        &mut self,
        of_client: &mut Fifo,
        of_link: &mut Fifo,
        client: ClientKey,
        (kind, verb): (Kind, Verb),
        count: u32,
        start: u64,
    ) {
        let index = self.insert(client, kind, count, start);
        self.patient += usize::from(verb.is_patient());
        if let Some(record) = self.get_mut(index) {
            record.verb = verb;
        }
        self.link_client(of_client, index);
        match self.get_mut(of_link.tail) {
            Some(tail) => tail.next_of_link = index,
            None => of_link.head = index,
        }
        of_link.tail = index;
    }

    /// Adds plain commands to the last record of both queues, if it is the same one, of the same
    /// kind, plain, too, and not one byte of it has been sent.
    pub(crate) fn extend(
        &mut self,
        of_client: Fifo,
        of_link: Fifo,
        kind: Kind,
        count: u32,
        sent: u64,
    ) -> bool {
        let same = of_client.tail == of_link.tail;
        let last = self.get_mut(of_client.tail).filter(|last| {
            let unsent = last.start >= sent && last.retried == Retried::default();
            same && !last.writes && last.kind == kind && last.verb == Verb::Plain && unsent
        });
        last.map(|last| last.count += count).is_some()
    }

    /// Adds a reply that has to wait for those before it, to the one before it if that waits, too.
    /// Returns what it counts as.
    pub(crate) fn park(
        &mut self,
        of_client: &mut Fifo,
        client: ClientKey,
        reply: &[u8],
        chunks: &mut ChunkPool,
    ) -> usize {
        let last = self.get(of_client.tail).map(|last| last.kind);
        if let Some(Kind::Parked(last)) = last
            && let Some(replies) = self.parked.get_mut(last as usize)
        {
            chunks.append(replies, reply);
            return reply.len();
        }
        let mut replies = ChunkList::default();
        chunks.append(&mut replies, reply);
        let size = parked_size(&replies);
        let parked = self.parked.insert(replies) as u32;
        let index = self.insert(client, Kind::Parked(parked), 0, 0);
        self.link_client(of_client, index);
        size
    }

    #[inline]
    fn insert(&mut self, client: ClientKey, kind: Kind, count: u32, start: u64) -> u32 {
        let (next_of_client, next_of_link) = (NIL, NIL);
        let record = Request {
            client,
            next_of_client,
            next_of_link,
            count,
            kind,
            verb: Verb::Plain,
            start,
            asked: self.asked,
            queued: self.clock,
            retried: Retried::default(),
            writes: false,
        };
        self.records.insert(record) as u32
    }

    #[inline]
    fn link_client(&mut self, fifo: &mut Fifo, index: u32) {
        match self.get_mut(fifo.tail) {
            Some(tail) => tail.next_of_client = index,
            None => fifo.head = index,
        }
        fifo.tail = index;
    }

    /// Takes the head off a backend's queue and forgets the record.
    #[inline]
    pub(crate) fn pop_of_link(&mut self, fifo: &mut Fifo) -> Option<Request> {
        let record = self.records.try_remove(fifo.head as usize)?;
        self.patient -= usize::from(record.verb.is_patient());
        fifo.head = record.next_of_link;
        if fifo.head == NIL {
            fifo.tail = NIL;
        }
        Some(record)
    }

    /// Follows a record, just taken off its backend's queue, in the client's queue.
    pub(crate) fn advance_client(fifo: &mut Fifo, popped: &Request) {
        fifo.head = popped.next_of_client;
        if fifo.head == NIL {
            fifo.tail = NIL;
        }
    }

    /// The replies at the head of a client's queue, if they were made here.
    pub(crate) fn take_parked(&mut self, fifo: &mut Fifo) -> Option<ChunkList> {
        let &Request {
            kind: Kind::Parked(parked),
            ..
        } = self.get(fifo.head)?
        else {
            return None;
        };
        let record = self.records.try_remove(fifo.head as usize)?;
        Self::advance_client(fifo, &record);
        self.parked.try_remove(parked as usize)
    }

    /// A client goes: its parked replies are forgotten. What a backend still owes stays in that
    /// backend's queue, and finds nobody.
    pub(crate) fn abandon(&mut self, fifo: &mut Fifo, chunks: &mut ChunkPool) {
        let mut index = fifo.head;
        while let Some(record) = self.get(index) {
            let (next, kind) = (record.next_of_client, record.kind);
            if let Kind::Parked(parked) = kind {
                self.records.try_remove(index as usize);
                if let Some(mut replies) = self.parked.try_remove(parked as usize) {
                    chunks.clear(&mut replies);
                }
            }
            index = next;
        }
        *fifo = Fifo::default();
    }

    /// A client hears no more: what is still to come for it is swallowed.
    pub(crate) fn silence(&mut self, fifo: Fifo, chunks: &mut ChunkPool) {
        let mut index = fifo.head;
        while let Some(record) = self.records.get_mut(index as usize) {
            match record.kind {
                Kind::Deliver => record.kind = Kind::Swallow,
                Kind::Parked(replies) => {
                    if let Some(replies) = self.parked.get_mut(replies as usize) {
                        chunks.clear(replies);
                    }
                }
                _ => {}
            }
            index = record.next_of_client;
        }
    }

    /// The records of a backend's queue, for invariants and moves.
    pub(crate) fn of_link(&self, fifo: Fifo) -> impl Iterator<Item = (u32, &Request)> {
        let mut index = fifo.head;
        std::iter::from_fn(move || {
            let record = self.get(index)?;
            let here = index;
            index = record.next_of_link;
            Some((here, record))
        })
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
        let mut replies = requests.take_parked(&mut fifo).unwrap();
        assert_eq!(chunks.to_vec(&replies), b"+1\r\n+2\r\n");
        chunks.clear(&mut replies);
        assert!(fifo.is_empty());
        assert_eq!((requests.len(), requests.parked_bytes()), (0, 0));
    }
}
