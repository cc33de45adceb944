//! A fake client: its end of the connection, and its unanswered requests.

use std::collections::VecDeque;

use elika::proxy::ClientKey;

use super::pipe::Pipe;
use super::tag::{REQUESTS, Tag};

/// What kind of requests a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Plain,
    Transactions,
    Blocking,
    Subscriber,
}

/// The part of a request that its reply depends on.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Login,
    Select,
    /// One node executes it. `None`: it has no key.
    One {
        slot: Option<usize>,
        write: bool,
    },
    /// EVAL, which fails with its own text or executes as a write.
    Script(Option<usize>),
    /// MGET: the slot of each key.
    Values(Vec<usize>),
    /// EXISTS and TOUCH: the different slots, and the number of keys that always exist.
    Sum(Vec<usize>, usize),
    DbSize,
    Keys,
    /// The keys of a request that is not split have several slots. Inside a transaction that has
    /// failed already, it may look queued.
    CrossSlot {
        queued: bool,
    },
    Multi,
    Queued,
    /// The transaction must fail: one of its commands was refused.
    Exec {
        tags: Vec<Tag>,
        fails: bool,
    },
    Watch,
    Block(usize),
    Subscribe(Vec<u8>),
}

impl Op {
    /// The slots of its keys.
    pub(crate) fn slots(&self) -> Vec<usize> {
        match self {
            Self::One { slot, .. } | Self::Script(slot) => slot.iter().copied().collect(),
            Self::Values(slots) | Self::Sum(slots, _) => slots.clone(),
            Self::Block(slot) => vec![*slot],
            _ => Vec::new(),
        }
    }

    /// Whether several nodes execute it, or refuse it because of its keys.
    pub(crate) fn is_for_several(&self) -> bool {
        let several = matches!(self, Self::DbSize | Self::Keys | Self::CrossSlot { .. });
        several || matches!(self, Self::Values(_) | Self::Sum(..) | Self::Exec { .. })
    }

    /// Whether it may be executed twice.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Self::One { write, .. } => !write,
            Self::Values(_) | Self::Sum(..) | Self::DbSize | Self::Keys => true,
            _ => false,
        }
    }
}

/// A request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) tag: Tag,
    pub(crate) op: Op,
    /// When it was sent, ms.
    pub(crate) at: u64,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) cluster: usize,
    pub(crate) worker: usize,
    pub(crate) key: ClientKey,
    pub(crate) behaviour: Behaviour,
    pub(crate) protocol: u8,
    pub(crate) to_proxy: Pipe,
    pub(crate) from_proxy: Pipe,
    /// The bytes that `from_proxy` holds at most.
    pub(crate) room: usize,
    /// Read and not yet checked.
    pub(crate) read: Vec<u8>,
    pub(crate) pending: VecDeque<Sent>,
    /// Requests so far, and those that it still sends.
    pub(crate) sent: u64,
    pub(crate) left: u64,
    /// The most requests in a pipeline.
    pub(crate) pipeline: usize,
    /// It sends all its requests before it reads.
    pub(crate) writes_first: bool,
    /// It sends nothing before this time, ms.
    pub(crate) asks_at: u64,
    /// It reads nothing before this time, ms.
    pub(crate) asleep_until: u64,
    /// It goes away when it has sent this many requests.
    pub(crate) vanishes_at: Option<u64>,
    pub(crate) paused: bool,
    pub(crate) wants_write: bool,
    /// The proxy has closed it.
    pub(crate) hung_up: bool,
    /// Its connection has ended.
    pub(crate) done: bool,
    /// Requests whose reply says that they were not executed.
    pub(crate) never: Vec<Tag>,
    /// The replies to requests that one node executes.
    pub(crate) heard: Vec<(Tag, Vec<u8>)>,
    /// It got its reply to a login.
    pub(crate) logged_in: bool,
    /// A transaction or a watch may be open.
    pub(crate) bound: bool,
    /// Messages that it got.
    pub(crate) messages: Vec<Vec<u8>>,
    /// When it last got a reply that may have been late for a reason, ms.
    pub(crate) unclean_at: u64,
}

impl Client {
    pub(crate) fn next_tag(&mut self) -> Tag {
        self.sent += 1;
        self.id * REQUESTS + self.sent
    }

    pub(crate) fn may_send(&self) -> bool {
        !self.done && !self.hung_up && self.left > 0
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.done && (self.hung_up || !self.pending.is_empty())
    }
}
