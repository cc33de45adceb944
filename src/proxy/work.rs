//! The queue of consequences: what an event means for other clients and links than its own. A
//! handler pushes them, and `Machine::run_work` runs them after the handler: no handler runs
//! another client's or link's state machine.

use std::collections::VecDeque;

use crate::command::ErrorReply;
use crate::dedicated::repeat::Transaction;
use crate::link::failure::Failure;
use crate::link::redirection::Redirected;
use crate::link::request::{Kind, Part, PartEnd};
use crate::link::waits::Waiter;
use crate::metrics::ErrorKind;
use crate::stats::notice::NoticeKind;
use crate::store::allocator::shrink_queue;
use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey, TenantSlot};

/// One consequence.
#[derive(Debug)]
pub(super) enum Work {
    /// Take the next step of a session change.
    Advance(ClientKey),
    /// End a session change: it succeeded, or the client gets this error.
    Conclude(ClientKey, Result<(), ErrorReply>),
    /// Verify the credential of a session change again.
    LogIn(ClientKey),
    /// Continue a login at another instance of the tenant: its instance is removed.
    LogInElsewhere(ClientKey),
    /// A reply arrived on a client's dedicated link: return the link to the pool if it holds
    /// nothing, and close the client if it has nothing left to do.
    ReplyArrived(ClientKey),
    /// Evict a client whose buffer is above a limit.
    Evict(ClientKey, NoticeKind),
    /// Close a client.
    CloseClient(ClientKey),
    /// Serve a tenant's wait queues.
    ServeQueues(TenantSlot),
    /// Give the logins of an instance the idle verifiers.
    ServeLogins(InstanceKey),
    /// Fail all logins of an instance with this error.
    FailLogins(InstanceKey, ErrorReply),
    /// A pool lost a link to this instance. If it was the last one, check whether the pool's
    /// credential is still valid.
    CheckCredential(PoolKey, InstanceKey),
    /// Send WAIT to the servers of links on which clients wait for replicas.
    ServeWaits,
    /// Fail the WAIT of clients whose link is lost.
    FailWaits(Vec<Waiter>),
    /// End the WAIT of clients whose link the proxy has closed.
    EndWaits(Vec<Waiter>),
    /// Handle the reply to one of the proxy's own requests.
    Answered(LinkKey, Kind, Vec<u8>),
    /// A reply was an error that says that its server may not be able to serve requests: make a
    /// health check due.
    Suspect(LinkKey, ErrorKind),
    /// Merge a part of a client's request with the others.
    PartEnded(Part, PartEnd),
    /// Send a transaction to another node of a Redis Cluster. The record is that of EXEC.
    Execute(ClientKey, u32, Box<Transaction>),
    /// Send a request to another node of a Redis Cluster.
    Redirect(Box<Redirected>),
    /// Close a link that was retired, if nothing is in flight on it.
    CloseRetired(LinkKey),
    /// End a link.
    CloseLink(LinkKey, Failure),
}

/// Consequences in the order in which they were pushed.
#[derive(Debug, Default)]
pub(super) struct WorkQueue(VecDeque<Work>);

impl WorkQueue {
    pub(super) fn push(&mut self, work: Work) {
        self.0.push_back(work);
    }

    /// Take the next steps of these clients' session changes.
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

    /// Frees memory that is not needed now.
    pub(super) fn trim(&mut self) {
        shrink_queue(&mut self.0);
    }
}
