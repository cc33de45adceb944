//! WAIT and WAITAOF: which connections are asked, and who waits for them.
//!
//! A server measures them by the last write of the very connection. So each connection is asked
//! that may carry the client's last write, one after the other: those that it has left (see
//! `former`), and the present one. What is true of the last write, whichever it was, is the least
//! that any of them says. Each of them is asked on behalf of all who wait there (see `round`).
//!
//! ```text
//!   the next connection ── error ──► the client hears it
//!     ▲         │ so many, and so many are wanted; or the time is over
//!     └─────────┤
//!               │ it was the last one
//!               ▼
//!         the client hears the least of all
//! ```

use crate::resp::write;
use crate::session::phase::Phase;

use crate::link::counts::Counts;
use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::link::waits::{Next, Waiter};
use crate::proxy::forward::answer::{Taken, kind_of};
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::client::Flag;
use crate::store::key::{ClientKey, LinkKey};

mod round;

/// The error where no connection can tell: an answer from another one would be wrong.
const UNKNOWN: &str = "ERR elika: the connection that carried the writes is in use or closed";

/// What a server says to a client whose wait is ended by CLIENT UNBLOCK with ERROR.
const UNBLOCKED: &[u8] = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";

/// A client about whose writes the server could not be asked in time waits so much longer for
/// that, ms. Then it hears that no replica is known to have them.
const GRACE_MS: u64 = 1_000;

/// A client waits so long for a connection on which the server cannot be asked because another
/// client has it for itself, ms: that one may keep it for ever.
const IN_USE_MS: u64 = 1_000;

impl Machine {
    /// WAIT or WAITAOF, outside of MULTI.
    pub(super) fn wait(&mut self, key: ClientKey, frame: &[u8]) -> Taken {
        let pinned = self.clients.get(key).is_some_and(|it| it.pin().is_some());
        let Some((wanted, ms)) = Counts::parse(frame) else {
            return match pinned {
                true => self.send(key, Verb::Block, 1, None, frame),
                false => self.forward_one(key, frame),
            };
        };
        if !self.at_barrier(key) {
            return Taken::No;
        }
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let mut on = client.former().to_vec();
        if client.link != LinkKey::NONE {
            on.push(client.link);
        }
        if on.is_empty() {
            // It has written nothing: any connection will do.
            match self.route(key, frame) {
                Ok(any) => on.push(any),
                Err(refusal) => return self.refuse(key, refusal),
            }
        }
        let known = on.iter().all(|&on| self.may_wait_on(on, key));
        let Some(client) = self.clients.get_mut(key) else {
            return Taken::Yes;
        };
        let kind = kind_of(client);
        let until = (ms > 0).then(|| self.now.after(ms));
        let first = on.pop().unwrap_or_default();
        self.stats.counters.requests += 1;
        let waiter = Waiter::new(key, kind, wanted, until, on);
        if !known {
            self.end_waits(vec![waiter]);
            return Taken::Yes;
        }
        self.enlist(first, waiter);
        self.work.push(Work::ServeWaits);
        Taken::Yes
    }

    /// Must other connections be asked beside its own? Not where that does not wait, or refuses.
    pub(super) fn waits_elsewhere(&self, key: ClientKey) -> bool {
        let client = self.clients.get(key).filter(|it| it.is(Flag::Moved));
        let pin = client.and_then(|it| Some((it.protocol, it.pin()?)));
        pin.is_some_and(|(protocol, pin)| !pin.multi && !pin.is_modal(protocol))
    }

    /// May this client ask what it wrote on this connection? Not if the connection is another
    /// user's by now.
    fn may_wait_on(&self, on: LinkKey, key: ClientKey) -> bool {
        let link = self.links.get(on).filter(|it| !it.is_retired());
        let pool = link.and_then(|it| self.upstreams.pools.get(it.pool));
        let client = self.clients.get(key);
        let client = client.and_then(|it| self.upstreams.pools.get(it.pool));
        pool.is_some_and(|pool| client.is_some_and(|client| client.access == pool.access))
    }

    /// Nothing more of the client is decoded until it is answered.
    fn enlist(&mut self, on: LinkKey, mut waiter: Waiter) {
        let key = waiter.client;
        if !self.may_wait_on(on, key) {
            return self.end_waits(vec![waiter]);
        }
        let Some(link) = self.links.get_mut(on) else {
            return;
        };
        waiter.since = self.now;
        link.waits.add(waiter);
        self.links.add_wait(on);
        self.enter(key, Phase::Replicas);
    }

    /// One connection has told. The next one is asked, unless this was the last.
    fn go_on_waiting(&mut self, mut waiter: Waiter, reply: &[u8]) {
        match waiter.next(reply) {
            Next::Refused => self.end_wait(&waiter, reply),
            Next::Ask(on) => self.enlist(on, waiter),
            Next::Done => self.end_wait_as_told(&waiter),
        }
    }

    /// The client goes on, and hears this.
    fn end_wait(&mut self, waiter: &Waiter, reply: &[u8]) {
        let key = waiter.client;
        if !self.clients.contains(key) {
            return;
        }
        self.clients.go_on(key);
        match waiter.kind {
            Kind::Deliver => {
                self.stats.counters.replies += 1;
                self.tell(key, reply);
            }
            _ => self.stats.counters.replies_dropped += 1,
        }
    }

    /// The connection that could tell is lost: the clients hear so, or lose theirs as well, as the
    /// operator wants it.
    pub(in crate::proxy) fn lose_waits(&mut self, waiters: Vec<Waiter>) {
        if !self.settings.close_on_loss {
            return self.end_waits(waiters);
        }
        for waiter in waiters {
            let key = waiter.client;
            if self.clients.go_on(key) {
                self.stats.counters.closed_on_loss += 1;
                self.finish_client(key);
            }
        }
    }

    /// The connection that could tell has gone, or goes. Of no replica is known that it has what
    /// was written: where none is wanted, that is an answer.
    pub(in crate::proxy) fn end_waits(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            let mut reply = Vec::new();
            if waiter.wants_nothing() {
                waiter.so_far().write(&mut reply);
            } else {
                self.stats.counters.errors += 1;
                if let Some(client) = self.clients.get_mut(waiter.client) {
                    client.lose_writes();
                }
                write::error(&mut reply, UNKNOWN);
            }
            self.end_wait(&waiter, &reply);
        }
    }

    /// Those whose time is over hear what the server said last.
    pub(in crate::proxy) fn check_waits(&mut self) {
        let now = self.now;
        for on in self.links.waits().to_vec() {
            let link = self.links.get_mut(on);
            let overdue = link.map(|it| it.waits.overdue(now, GRACE_MS));
            for waiter in overdue.unwrap_or_default() {
                self.end_wait_as_told(&waiter);
            }
            let kept = self.links.get_mut(on).filter(|it| it.is_anothers());
            let waiters = kept.map(|it| it.waits.unasked(now, IN_USE_MS));
            self.end_waits(waiters.unwrap_or_default());
        }
        self.work.push(Work::ServeWaits);
    }

    fn end_wait_as_told(&mut self, waiter: &Waiter) {
        let mut out = Vec::new();
        waiter.so_far().write(&mut out);
        self.end_wait(waiter, &out);
    }

    /// A client that waits goes.
    pub(in crate::proxy) fn leave_waits(&mut self, key: ClientKey) {
        if self.take_waiter(key).is_some() {
            self.work.push(Work::ServeWaits);
        }
    }

    fn take_waiter(&mut self, key: ClientKey) -> Option<Waiter> {
        let client = self.clients.get(key);
        client.filter(|it| it.phase() == Phase::Replicas)?;
        self.clients.go_on(key);
        let all = self.links.waits().to_vec();
        let mut all = all.into_iter();
        all.find_map(|on| self.links.get_mut(on)?.waits.remove(key))
    }

    /// CLIENT UNBLOCK of a client that waits for a shared connection. False: it does not.
    pub(in crate::proxy) fn unblock_wait(&mut self, key: ClientKey, with_error: bool) -> bool {
        let Some(waiter) = self.take_waiter(key) else {
            return false;
        };
        match with_error {
            true => self.end_wait(&waiter, UNBLOCKED),
            false => self.end_wait_as_told(&waiter),
        }
        self.work.push(Work::ServeWaits);
        true
    }
}
