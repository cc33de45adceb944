//! The worker that accepts for all: when it looks at the listener, and how long it takes.

use std::io;
use std::mem;

use mio::net::TcpStream;
use mio::{Events, Interest};

use crate::proxy::{Millis, Origin};

use super::{Message, Outside, Reactor, token};

/// Events of a turn for each client accepted in it, beside the first: connections that are there
/// do not wait for many new ones.
const EVENTS_PER_ACCEPT: usize = 8;

/// How long accepting rests when the process has no file descriptor left, or the accept rate is
/// used up, ms.
const REST_MS: u64 = 50;

/// A client that was accepted.
pub(crate) type Newcomer = (TcpStream, Origin);

/// How accepting went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Nobody waits: the next client makes an event.
    All,
    /// Somebody may wait, of whom no event tells.
    Some,
    /// So too, but it cannot go on for a while.
    Rest,
}

/// What is known of the listener.
#[derive(Debug, Default)]
pub(super) struct Door {
    knocked: bool,
    rests_until: Option<Millis>,
}

impl Door {
    /// An event says that somebody waits.
    pub(super) fn knock(&mut self) {
        self.knocked = true;
    }

    /// When it goes on, if it rests.
    pub(super) fn rests_until(&self) -> Option<Millis> {
        self.rests_until
    }
}

impl<O: Outside> Reactor<O> {
    /// Clients may come from now on.
    pub(super) fn open_door(&mut self) -> io::Result<()> {
        let Some(listener) = self.outside.listener() else {
            return Ok(());
        };
        let registry = self.poll.registry();
        registry.register(listener, token::LISTENER, Interest::READABLE)
    }

    /// Accepts, if somebody waits: one in a quiet turn, more in a busy one. Whether there is yet
    /// another is asked of the poll: an accept in vain costs as much as ten of these questions.
    pub(super) fn accept(&mut self, events: &Events) -> io::Result<()> {
        if self.door.rests_until.is_some_and(|at| self.now >= at) {
            self.door.rests_until = None;
            return self.ask_again();
        }
        if !mem::take(&mut self.door.knocked) || self.door.rests_until.is_some() {
            return Ok(());
        }
        let max = 1 + events.iter().count() / EVENTS_PER_ACCEPT;
        let mut mine = Vec::new();
        let accepted = self.outside.accept(max, self.turn.began_us, &mut mine);
        for (stream, origin) in mine {
            self.open_client(stream, origin);
        }
        match accepted {
            Accepted::All => {}
            Accepted::Some => self.ask_again()?,
            Accepted::Rest => self.door.rests_until = Some(self.now.after(REST_MS)),
        }
        Ok(())
    }

    /// Makes an event if somebody waits.
    fn ask_again(&mut self) -> io::Result<()> {
        let Some(listener) = self.outside.listener() else {
            return Ok(());
        };
        let registry = self.poll.registry();
        registry.reregister(listener, token::LISTENER, Interest::READABLE)
    }

    /// No new clients, and those that are there go when nothing of theirs is in flight.
    pub(super) fn drain(&mut self) {
        if self.outside.close_listener() {
            self.door = Door::default();
            for (worker, peer) in self.outside.peers().iter().enumerate() {
                if worker != usize::from(self.worker) {
                    // One that has ended has no clients.
                    peer.send(Message::Drain);
                }
            }
        }
        self.machine.drain();
    }
}
