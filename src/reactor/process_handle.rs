//! The interface between a worker and the rest of the process.

use mio::net::{TcpListener, TcpStream};

use crate::proxy::{HealthEvent, Origin};

use super::inbox::Inbox;

/// A client that was accepted.
pub(crate) type AcceptedClient = (TcpStream, Origin);

/// The outcome of accepting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptOutcome {
    /// The listener's queue is empty: the next client makes an event.
    Drained,
    /// More clients may be queued, for which no event will come.
    More,
    /// As `More`, but accepting must pause: no file descriptor or no rate is left.
    Paused,
}

/// A worker's access to the rest of the process.
pub(crate) trait ProcessHandle: Send {
    /// A client of this worker was closed.
    fn client_closed(&self);
    /// Reports an event of an instance.
    fn health_event(&self, event: HealthEvent);
    /// The inboxes of all workers, by number.
    fn peers(&self) -> &[Inbox];
    /// The listener, if this worker accepts.
    fn listener(&mut self) -> Option<&mut TcpListener>;
    /// Accepts at most `max` clients. Adds this worker's clients to `own`, and sends the others to
    /// their workers.
    fn accept(&mut self, max: usize, now_us: u64, own: &mut Vec<AcceptedClient>) -> AcceptOutcome;
    /// Closes the listener. `false`: this worker does not accept.
    fn close_listener(&mut self) -> bool;
}
