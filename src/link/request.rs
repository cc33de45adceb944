//! The request record: the only thing that knows both a client and a link.
//!
//! Each record hangs in two queues, whose links live in the record itself:
//!
//! ```text
//!   client c1: head -> R1 -> R3 -> R4          (its replies go out in this order)
//!   link   b1: head -> R1 -> R2(c2) -> R3      (replies come in in this order)
//!                             R4 = done: its reply was made here and waits for R1 and R3
//! ```
//!
//! A record stands for one or more *consecutive* commands of one client on one link (`count`), so a
//! pipeline of a hundred commands costs one record. What links bring before a record's turn is kept
//! with the record ([`Reply`]), so the records of one client may be on several links.

mod kept;
mod moves;

use slab::Slab;

use crate::command::Permission;

use crate::link::verb::Verb;
use crate::store::allocator::give_back;
use crate::store::chunk::ChunkList;
use crate::store::key::ClientKey;

pub(crate) use kept::parked_size;
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

/// How far the replies of a record have come on their way to its client. Replies go to a client in
/// the order of its requests, whichever links bring them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Nothing is kept: what comes goes to the client at once if it is the record's turn.
    Waiting,
    /// A part has come before the record's turn, and is kept.
    Arriving(u32),
    /// All has come, or was made here, and waits for those before it. The record is in no link's
    /// queue.
    Done(u32),
}

/// See the module. `count > 0`, except for a record whose replies are [done](Reply::Done).
#[derive(Debug)]
pub(crate) struct Request {
    /// May have gone meanwhile: then the replies are swallowed.
    pub client: ClientKey,
    pub next_of_client: u32,
    pub next_of_link: u32,
    /// Replies still to come.
    pub count: u32,
    pub kind: Kind,
    /// Where its replies are in [`Requests::kept`], and whether they are done: see [`Reply`].
    kept: u32,
    is_done: bool,
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

impl Request {
    /// How far its replies have come.
    #[inline]
    pub(crate) fn reply(&self) -> Reply {
        match (self.kept, self.is_done) {
            (NIL, _) => Reply::Waiting,
            (kept, false) => Reply::Arriving(kept),
            (kept, true) => Reply::Done(kept),
        }
    }

    fn set_reply(&mut self, reply: Reply) {
        (self.kept, self.is_done) = match reply {
            Reply::Waiting => (NIL, false),
            Reply::Arriving(kept) => (kept, false),
            Reply::Done(kept) => (kept, true),
        };
    }
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
    /// Replies that wait for those before them.
    kept: Slab<ChunkList>,
    /// Records whose replies are done.
    done: usize,
    /// Records whose replies may take as long as they like.
    patient: usize,
    /// Microseconds since the start, at the beginning of this turn; it wraps, and only differences
    /// count.
    pub clock: u32,
    /// When what is decoded now arrived: in this turn, but for what was kept.
    pub asked: u32,
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

    /// Bytes of the tables that hold them.
    pub(crate) fn table_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Request>()
            + self.kept.capacity() * size_of::<ChunkList>()
    }

    /// How many records there are: requests under way, and replies that wait for their turn.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Records whose replies a backend owes, but for those that may take as long as they like.
    pub(crate) fn moving(&self) -> usize {
        self.records.len() - self.done - self.patient
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
            give_back(&mut self.kept, ChunkList::default());
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

    #[inline]
    fn insert(&mut self, client: ClientKey, kind: Kind, count: u32, start: u64) -> u32 {
        let (next_of_client, next_of_link) = (NIL, NIL);
        let record = Request {
            client,
            next_of_client,
            next_of_link,
            count,
            kind,
            kept: NIL,
            is_done: false,
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

    /// Takes the head off a link's queue. The record stays in its client's.
    #[inline]
    pub(crate) fn leave_link(&mut self, fifo: &mut Fifo) {
        if let Some(record) = self.records.get(fifo.head as usize) {
            self.patient -= usize::from(record.verb.is_patient());
            fifo.head = record.next_of_link;
            if fifo.head == NIL {
                fifo.tail = NIL;
            }
        }
    }

    /// Forgets the head of a client's queue, whose replies are with the client.
    #[inline]
    pub(crate) fn leave_client(&mut self, fifo: &mut Fifo) {
        if let Some(record) = self.records.try_remove(fifo.head as usize) {
            fifo.head = record.next_of_client;
            if fifo.head == NIL {
                fifo.tail = NIL;
            }
        }
    }

    /// Forgets a record that is in no queue any more.
    pub(crate) fn remove(&mut self, index: u32) {
        self.records.try_remove(index as usize);
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
