//! WAIT and WAITAOF: which connections carried what the client wrote, and who waits for them.
//!
//! A server measures them by the last write of the very connection. What went over a shared one is
//! asked for there, together for all who wait for it (see `round`). A client that had a connection
//! to itself before may have written there, too: then that one is asked first, and the shared one
//! only if it says yes.
//!
//! ```text
//!   own connection of before, if any ── yes ──► among those who wait on the shared one
//!                 │ no: the answer
//!                 ▼
//! ```

use crate::resp::write;

use super::super::answer::{Taken, kind_of};
use super::super::client::{Flag, Hold};
use super::super::key::{BackendKey, ClientKey};
use super::super::machine::{Machine, mark_ready};
use super::super::request::Kind;
use super::{Change, Verb};

mod round;
mod waits;

pub(super) use waits::Counts;
use waits::Waiter;
pub(in super::super) use waits::Waits;

/// The error where no connection can tell: an answer from another one would be wrong.
const UNKNOWN: &str = "ERR elika: the connection that carried the writes is in use or closed";

/// What a server says to a client whose wait is ended by CLIENT UNBLOCK with ERROR.
const UNBLOCKED: &[u8] = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";

/// A client about whose writes the server could not be asked in time waits so much longer for
/// that, ms. Then it hears that no replica is known to have them.
const GRACE_MS: u64 = 1_000;

impl Machine {
    /// WAIT or WAITAOF of a client that has no connection of its own.
    pub(super) fn wait(&mut self, key: ClientKey, frame: &[u8]) -> Taken {
        let Some((wanted, ms)) = Counts::parse(frame) else {
            return self.forward_one(key, frame);
        };
        if !self.at_barrier(key) {
            return Taken::No;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Taken::Yes;
        };
        let (shared, own) = (client.backend, client.last_own());
        let moved = client.is(Flag::Moved);
        let has_shared = self.may_wait_on(shared);
        if moved || shared != BackendKey::NONE && !has_shared {
            // Nobody can tell of what it wrote on a connection that it has left or lost, however
            // often it is asked.
            if let Some(client) = self.clients.get_mut(key) {
                client.set(Flag::Moved);
            }
            self.say_error(key, UNKNOWN);
            return Taken::Yes;
        }
        let until = (ms > 0).then(|| self.now.after(ms));
        if own == BackendKey::NONE && has_shared {
            let kind = self.clients.get_mut(key).map_or(Kind::Swallow, kind_of);
            self.enlist(shared, Waiter::new(key, kind, wanted, until));
            self.serve_waits();
            return Taken::Yes;
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.forget_last_own();
        }
        if own != BackendKey::NONE && !self.take_idle(own, key) {
            // What it wrote there no other one can tell.
            if let Some(client) = self.clients.get_mut(key) {
                client.set(Flag::Moved);
            }
            self.say_error(key, UNKNOWN);
            return Taken::Yes;
        }
        if own == BackendKey::NONE
            && let Err(refusal) = self.pin(key)
        {
            return self.refuse(key, refusal);
        }
        let then = has_shared.then_some(Change::Wait {
            wanted,
            until,
            shared,
        });
        self.send_wait(key, then, frame)
    }

    /// Asks the connection that the client has to itself for this.
    fn send_wait(&mut self, key: ClientKey, then: Option<Change>, frame: &[u8]) -> Taken {
        let verb = match then.is_some() {
            true => Verb::Wait,
            false => Verb::Block,
        };
        let taken = self.send(key, verb, 1, then, frame);
        if let Some(client) = self.clients.get_mut(key) {
            // Nothing else of it may go there: it is about what was written before.
            client.hold.set(Hold::BARRIER);
        }
        if let Some(pin) = self.pin_mut(key) {
            pin.provisional = true;
        }
        taken
    }

    /// Is it a shared connection that can be asked?
    pub(super) fn may_wait_on(&self, shared: BackendKey) -> bool {
        let backend = self.backends.get(shared);
        backend.is_some_and(|it| !it.dedicated && !it.retired)
    }

    /// The first answer is here. If it is a yes, the shared connection is asked as well, once this
    /// one is given back.
    pub(super) fn waited(&mut self, key: ClientKey, change: Change, reply: &[u8], silent: bool) {
        let Change::Wait {
            wanted,
            until,
            shared,
        } = change
        else {
            return;
        };
        if wanted.is_met(reply) {
            let kind = if silent { Kind::Swallow } else { Kind::Deliver };
            self.enlist(shared, Waiter::new(key, kind, wanted, until));
        } else if !silent {
            self.tell_own(key, reply);
        }
    }

    /// Nothing more of the client is decoded until it is answered.
    fn enlist(&mut self, on: BackendKey, waiter: Waiter) {
        let key = waiter.client;
        let Some(backend) = self.backends.get_mut(on) else {
            return self.end_wait(&waiter, &unknown());
        };
        backend.waits.add(waiter);
        self.counters.requests += 1;
        if !self.waits.contains(&on) {
            self.waits.push(on);
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.hold.set(Hold::WAIT);
        }
    }

    /// The client goes on, and hears this.
    pub(super) fn end_wait(&mut self, waiter: &Waiter, reply: &[u8]) {
        let key = waiter.client;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.hold.clear(Hold::WAIT);
        mark_ready(&mut self.ready, client, key);
        match waiter.kind {
            Kind::Deliver => {
                self.counters.replies += 1;
                self.tell(key, reply);
            }
            _ => self.counters.replies_dropped += 1,
        }
    }

    /// The connection that could tell has gone, or goes.
    pub(in super::super) fn end_waits(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            self.counters.errors += 1;
            self.end_wait(&waiter, &unknown());
        }
    }

    /// Those whose time is over hear what the server said last.
    pub(in super::super) fn check_waits(&mut self) {
        let now = self.now;
        for on in self.waits.clone() {
            let backend = self.backends.get_mut(on);
            let overdue = backend.map(|it| it.waits.overdue(now, GRACE_MS));
            for waiter in overdue.unwrap_or_default() {
                self.end_wait_as_told(&waiter);
            }
        }
        self.serve_waits();
    }

    fn end_wait_as_told(&mut self, waiter: &Waiter) {
        let mut out = Vec::new();
        waiter.told.write(&mut out);
        self.end_wait(waiter, &out);
    }

    /// A client that waits goes.
    pub(in super::super) fn leave_waits(&mut self, key: ClientKey) {
        if self.take_waiter(key).is_some() {
            self.serve_waits();
        }
    }

    fn take_waiter(&mut self, key: ClientKey) -> Option<Waiter> {
        let client = self.clients.get_mut(key);
        let client = client.filter(|it| it.hold.has(Hold::WAIT))?;
        client.hold.clear(Hold::WAIT);
        let mut all = self.waits.iter();
        all.find_map(|&on| self.backends.get_mut(on)?.waits.remove(key))
    }

    /// CLIENT UNBLOCK of a client that waits for a shared connection. False: it does not.
    pub(in super::super) fn unblock_wait(&mut self, key: ClientKey, with_error: bool) -> bool {
        let Some(waiter) = self.take_waiter(key) else {
            return false;
        };
        match with_error {
            true => self.end_wait(&waiter, UNBLOCKED),
            false => self.end_wait_as_told(&waiter),
        }
        self.serve_waits();
        true
    }
}

fn unknown() -> Vec<u8> {
    let mut out = Vec::new();
    write::error(&mut out, UNKNOWN);
    out
}
