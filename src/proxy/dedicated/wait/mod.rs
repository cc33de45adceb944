//! WAIT and WAITAOF: which links are asked, and which clients wait for them.
//!
//! A server answers WAIT for the last write of the same link. So each link that may carry the
//! client's last write is asked, one after the other: the links that it has left (see `former`),
//! and the present one. The reply to the client is the minimum of their replies: that is true for
//! the last write, whichever link carried it. Each link is asked once for all clients that wait
//! there (see `round`).
//! ```text
//!   the next link ── error ──► the client gets it
//!     ▲         │ as many as are wanted; or the time is over
//!     └─────────┤
//!               │ it was the last link
//!               ▼
//!         the client gets the minimum
//! ```
//! The writes of a client of a Redis Cluster are on several nodes. All links that it has used are
//! asked, and the minimum is true for its last write on each node.

use std::collections::BTreeSet;

use crate::command::ErrorReply;
use crate::session::client::Client;
use crate::session::phase::Phase;

use crate::link::counts::Counts;
use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::link::waits::{Next, Waiter};
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::key::{ClientKey, LinkKey};

mod round;

/// The error if a link cannot be asked: a reply of another link would be wrong.
const UNKNOWN: ErrorReply =
    ErrorReply::Proxy("ERR elika: the connection that carried the writes is in use or closed");

/// A server's error for a client whose wait is ended by CLIENT UNBLOCK with ERROR.
const UNBLOCKED: &[u8] = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";

/// Additional time for a client about whose writes the server could not be asked in time, ms. After
/// it, the reply says that no replica has the writes.
const GRACE_MS: u64 = 1_000;

/// How long a client waits for a link that is dedicated to another client, ms: that client may keep
/// it for any time.
const IN_USE_MS: u64 = 1_000;

impl Machine {
    /// Handles WAIT or WAITAOF outside MULTI.
    pub(super) fn wait(&mut self, key: ClientKey, frame: &[u8]) -> Handled {
        let pinned = self.clients.get(key).is_some_and(|it| it.pin().is_some());
        let Some((wanted, ms)) = Counts::parse(frame) else {
            return match pinned {
                true => self.send(key, Verb::Block, 1, None, frame),
                false => self.forward_one(key, frame),
            };
        };
        if !self.at_barrier(key) {
            return Handled::Later;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        let mut on = client.former().to_vec();
        on.extend(client.lanes_to_ask());
        if client.link != LinkKey::NONE {
            on.push(client.link);
        }
        let mut seen = BTreeSet::new();
        on.retain(|link| seen.insert(*link));
        if on.is_empty() {
            // The client has written nothing: any link can be asked.
            match self.route(key, frame) {
                Ok(any) => on.push(any),
                Err(refusal) => return self.refuse(key, refusal),
            }
        }
        let known = on.iter().all(|&on| self.may_wait_on(on, key));
        let Some(client) = self.clients.get_mut(key) else {
            return Handled::Yes;
        };
        let kind = kind_of(client);
        let until = (ms > 0).then(|| self.now.after(ms));
        let first = on.pop().unwrap_or_default();
        self.stats.counters.requests += 1;
        let waiter = Waiter::new(key, kind, wanted, until, on);
        if !known {
            self.end_waits(vec![waiter]);
            return Handled::Yes;
        }
        self.enlist(first, waiter);
        self.work.push(Work::ServeWaits);
        Handled::Yes
    }

    /// May this client ask about its writes on this link? Not if the link has changed to another
    /// user.
    fn may_wait_on(&self, on: LinkKey, key: ClientKey) -> bool {
        let link = self.links.get(on).filter(|it| !it.is_retired());
        let client = self.clients.get(key);
        link.is_some_and(|link| {
            let same = |client: &Client| self.upstreams.same_login(client.pool, link.pool);
            self.upstreams.has_pool(link.pool) && client.is_some_and(same)
        })
    }

    /// Makes a client wait on a link. Its next commands are decoded after the reply.
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

    /// Handles a link's reply: asks the client's next link, or answers the client.
    fn go_on_waiting(&mut self, mut waiter: Waiter, reply: &[u8]) {
        match waiter.next(reply) {
            Next::Refused => self.end_wait(&waiter, reply),
            Next::Ask(on) => self.enlist(on, waiter),
            Next::Done => self.end_wait_with_last_reply(&waiter),
        }
    }

    /// Ends a client's wait with this reply.
    fn end_wait(&mut self, waiter: &Waiter, reply: &[u8]) {
        let key = waiter.client;
        if !self.clients.contains(key) {
            return;
        }
        self.clients.end_wait(key);
        match waiter.kind {
            Kind::Deliver => {
                self.stats.counters.replies += 1;
                self.write_reply(key, reply);
            }
            _ => self.stats.counters.replies_dropped += 1,
        }
    }

    /// The link that carried the writes is lost: its waiters get an error, or are closed if
    /// `close_on_loss` says so.
    pub(in crate::proxy) fn fail_waits(&mut self, waiters: Vec<Waiter>) {
        if !self.settings.close_on_loss {
            return self.end_waits(waiters);
        }
        for waiter in waiters {
            let key = waiter.client;
            if self.clients.end_wait(key) {
                self.stats.counters.closed_on_loss += 1;
                self.finish_client(key);
            }
        }
    }

    /// The link that carried the writes is closed, retired or in use, so it is unknown whether a
    /// replica has the writes. A waiter that asks for no replicas gets the counts so far; the
    /// others get an error.
    pub(in crate::proxy) fn end_waits(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            let mut reply = Vec::new();
            if waiter.wants_nothing() {
                waiter.so_far().write(&mut reply);
            } else {
                self.stats.counters.errors += 1;
                if let Some(client) = self.clients.get_mut(waiter.client) {
                    client.writes_lost();
                }
                UNKNOWN.write(&mut reply);
            }
            self.end_wait(&waiter, &reply);
        }
    }

    /// Answers the waiters whose time is over with the server's last reply.
    pub(in crate::proxy) fn check_waits(&mut self) {
        let now = self.now;
        for on in self.links.waits().to_vec() {
            let link = self.links.get_mut(on);
            let overdue = link.map(|it| it.waits.overdue(now, GRACE_MS));
            for waiter in overdue.unwrap_or_default() {
                self.end_wait_with_last_reply(&waiter);
            }
            let kept = self
                .links
                .get_mut(on)
                .filter(|it| it.is_dedicated_to_other());
            let waiters = kept.map(|it| it.waits.unasked(now, IN_USE_MS));
            self.end_waits(waiters.unwrap_or_default());
        }
        self.work.push(Work::ServeWaits);
    }

    fn end_wait_with_last_reply(&mut self, waiter: &Waiter) {
        let mut out = Vec::new();
        waiter.so_far().write(&mut out);
        self.end_wait(waiter, &out);
    }

    /// Removes a client from the waiters.
    pub(in crate::proxy) fn leave_waits(&mut self, key: ClientKey) {
        if self.take_waiter(key).is_some() {
            self.work.push(Work::ServeWaits);
        }
    }

    fn take_waiter(&mut self, key: ClientKey) -> Option<Waiter> {
        let client = self.clients.get(key);
        client.filter(|it| it.phase() == Phase::Replicas)?;
        let all = self.links.waits().to_vec();
        let mut all = all.into_iter();
        let waiter = all.find_map(|on| self.links.get_mut(on)?.waits.remove(key))?;
        self.clients.end_wait(key);
        Some(waiter)
    }

    /// CLIENT UNBLOCK of a client that waits on a shared link. Returns `false` if it does not.
    pub(in crate::proxy) fn unblock_wait(&mut self, key: ClientKey, with_error: bool) -> bool {
        let Some(waiter) = self.take_waiter(key) else {
            return false;
        };
        match with_error {
            true => self.end_wait(&waiter, UNBLOCKED),
            false => self.end_wait_with_last_reply(&waiter),
        }
        self.work.push(Work::ServeWaits);
        true
    }
}
