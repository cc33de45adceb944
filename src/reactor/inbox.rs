//! The inbox of a worker: a queue of messages from other threads, and a waker.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;
use mio::net::TcpStream;

use crate::cluster::{Snapshot, TenantKey};
use crate::proxy::{Answer, ClientKey, Origin, Question, StatsRequest, WorkerStats};

/// A message to a worker.
#[derive(Debug)]
pub(crate) enum Message {
    /// A new client.
    Client(TcpStream, Origin),
    /// A new snapshot of the clusters.
    Snapshot(Arc<Snapshot>),
    /// Worker `.0` asks on behalf of its client.
    Question(u16, ClientKey, Question),
    /// The answer to this worker's client.
    Answer(ClientKey, Answer),
    /// Collect these statistics and send them.
    Collect(StatsRequest, Sender<WorkerStats>),
    /// Pause this tenant's requests, for at most this number of milliseconds.
    Pause(TenantKey, u64),
    /// Resume this tenant's requests.
    Unpause(TenantKey),
    /// Drain: finish the requests in flight, then end. Worker 0 closes the listener and passes this
    /// on to the others.
    Drain,
    /// End now.
    Stop,
}

/// The sending end of an inbox, which any thread may hold.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    sender: Sender<Message>,
    waker: Arc<Waker>,
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> (Self, Receiver<Message>) {
        let (sender, receiver) = channel();
        (
            Self {
                sender,
                waker: Arc::new(waker),
            },
            receiver,
        )
    }

    /// Sends a message and wakes the worker. `false`: the worker has ended.
    pub(crate) fn send(&self, message: Message) -> bool {
        self.sender.send(message).is_ok() && self.waker.wake().is_ok()
    }
}
