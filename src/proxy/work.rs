//! What an event means for others than the client or the link that it happened to. A handler
//! pushes it, and `Machine::run_work` does it when the handler is done: so no handler runs another
//! client's or link's state machine, however deep.

use std::collections::VecDeque;

use crate::link::failure::Failure;
use crate::link::request::Kind;
use crate::link::waits::Waiter;
use crate::metrics::ErrorKind;
use crate::stats::notice::Bound;
use crate::store::allocator::shrink_queue;
use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey};

/// One consequence.
#[derive(Debug)]
pub(super) enum Work {
    /// A session change takes its next step.
    Advance(ClientKey),
    /// A session change ends: it is done, or the client hears why not.
    Conclude(ClientKey, Result<(), String>),
    /// The credential of a session change is verified again.
    LogIn(ClientKey),
    /// A reply came to the owner of a link, which may hold nothing any more.
    Settle(ClientKey),
    /// A client reached a limit on the bytes that wait for it.
    Evict(ClientKey, Bound),
    /// A client is closed.
    CloseClient(ClientKey),
    /// The clients in a pool's wait queue get what is free.
    ServeQueue(PoolKey),
    /// The logins of an instance get the verifiers that are idle.
    ServeLogins(InstanceKey),
    /// No login of an instance can be verified now, and why.
    FailLogins(InstanceKey, String),
    /// A pool of this instance has lost a link: if it was the last, its credential is asked about.
    AskAboutLost(PoolKey, InstanceKey),
    /// Links on which clients wait for replicas have their turns.
    ServeWaits,
    /// The link is lost on which these clients waited for replicas.
    LoseWaits(Vec<Waiter>),
    /// A server answered a question of ours.
    Answered(LinkKey, Kind, Vec<u8>),
    /// A reply said something about its server.
    Suspect(LinkKey, ErrorKind),
    /// A link ends.
    CloseLink(LinkKey, Failure),
}

/// Consequences in the order in which they came up.
#[derive(Debug, Default)]
pub(super) struct WorkQueue(VecDeque<Work>);

impl WorkQueue {
    pub(super) fn push(&mut self, work: Work) {
        self.0.push_back(work);
    }

    /// The session changes of these clients take their next steps.
    pub(super) fn advance(&mut self, clients: impl IntoIterator<Item = ClientKey>) {
        self.0.extend(clients.into_iter().map(Work::Advance));
    }

    pub(super) fn pop(&mut self) -> Option<Work> {
        self.0.pop_front()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives memory back that was needed once.
    pub(super) fn trim(&mut self) {
        shrink_queue(&mut self.0);
    }
}
