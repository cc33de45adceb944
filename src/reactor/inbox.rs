//! How other threads reach a worker: a queue and one wake-up.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;
use mio::net::TcpStream;

use crate::cluster::{Snapshot, TenantKey};
use crate::proxy::{Answer, ClientKey, Origin, Question, Survey, Wanted};

/// What a worker is told by other threads.
#[derive(Debug)]
pub(crate) enum Message {
    /// A new client.
    Client(TcpStream, Origin),
    /// The registry has a new picture.
    Snapshot(Arc<Snapshot>),
    /// Worker `.0` asks on behalf of its client.
    Question(u16, ClientKey, Question),
    /// The answer for this worker's client.
    Answer(ClientKey, Answer),
    /// Tell about yourself.
    Survey(Wanted, Sender<Survey>),
    /// Requests of this tenant wait from now on, so many milliseconds at most.
    Pause(TenantKey, u64),
    /// They go on.
    Unpause(TenantKey),
    /// No new clients; finish what is in flight, then end. Who accepts for all tells the others.
    Drain,
    /// End now.
    Stop,
}

/// The sending end; any thread may have one.
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

    /// Leaves a message and wakes the worker. `false`: it ended.
    pub(crate) fn send(&self, message: Message) -> bool {
        self.sender.send(message).is_ok() && self.waker.wake().is_ok()
    }
}
