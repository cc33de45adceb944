//! Accepting clients on worker 0: how many in a turn, and when accepting pauses.

use std::io;
use std::mem;

use mio::{Events, Interest};

use crate::proxy::Millis;

use super::{AcceptOutcome, Message, ProcessHandle, Reactor, token};

/// A turn accepts one client, and one more for this many of its events, so that existing
/// connections do not wait for many new ones.
const EVENTS_PER_ACCEPT: usize = 8;

/// How long accepting pauses when the process has no file descriptor left or the accept rate is
/// used up, ms.
const PAUSE_MS: u64 = 50;

/// State of the listener.
#[derive(Debug, Default)]
pub(super) struct ListenerState {
    ready: bool,
    paused_until: Option<Millis>,
}

impl ListenerState {
    /// Notes an event of the listener.
    pub(super) fn set_ready(&mut self) {
        self.ready = true;
    }

    /// When accepting goes on after a pause.
    pub(super) fn paused_until(&self) -> Option<Millis> {
        self.paused_until
    }
}

impl<O: ProcessHandle> Reactor<O> {
    /// Registers the listener with the poll.
    pub(super) fn register_listener(&mut self) -> io::Result<()> {
        let Some(listener) = self.process.listener() else {
            return Ok(());
        };
        let registry = self.poll.registry();
        registry.register(listener, token::LISTENER, Interest::READABLE)
    }

    /// Accepts clients if the listener has had an event: one in a quiet turn, more in a busy turn.
    /// The listener is then registered again, so that the next poll shows whether more clients are
    /// queued: that costs a tenth of an `accept` that returns `WouldBlock`.
    pub(super) fn accept(&mut self, events: &Events) -> io::Result<()> {
        if self.listener.paused_until.is_some_and(|at| self.now >= at) {
            self.listener.paused_until = None;
            return self.rearm_listener();
        }
        if !mem::take(&mut self.listener.ready) || self.listener.paused_until.is_some() {
            return Ok(());
        }
        let max = 1 + events.iter().count() / EVENTS_PER_ACCEPT;
        let mut own = Vec::new();
        let accepted = self.process.accept(max, self.turn.began_us, &mut own);
        for (stream, origin) in own {
            self.open_client(stream, origin);
        }
        match accepted {
            AcceptOutcome::Drained => {}
            AcceptOutcome::More => self.rearm_listener()?,
            AcceptOutcome::Paused => self.listener.paused_until = Some(self.now.after(PAUSE_MS)),
        }
        Ok(())
    }

    /// Registers the listener anew, which makes an event if a client is queued.
    fn rearm_listener(&mut self) -> io::Result<()> {
        let Some(listener) = self.process.listener() else {
            return Ok(());
        };
        let registry = self.poll.registry();
        registry.reregister(listener, token::LISTENER, Interest::READABLE)
    }

    /// Stops accepting, on worker 0 for all workers, and drains this worker's clients.
    pub(super) fn drain(&mut self) {
        if self.process.close_listener() {
            self.listener = ListenerState::default();
            for (worker, peer) in self.process.peers().iter().enumerate() {
                if worker != usize::from(self.worker) {
                    // A worker that has ended has no clients.
                    peer.send(Message::Drain);
                }
            }
        }
        self.machine.drain();
    }
}
