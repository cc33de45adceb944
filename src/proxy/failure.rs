//! A backend connection ends: who hears what, and what moves on.

use std::collections::HashSet;

use super::action::{Action, News, Report};
use super::backend::{Backend, Failure};
use super::client::Flag;
use super::key::{BackendKey, ClientKey, ConnKey, InstanceKey, PoolKey};
use super::login::Goal;
use super::machine::Machine;
use super::outbound::{mark_client_dirty, release_parked};
use super::pin::Verb;
use super::pool::Pools;
use super::request::{Fifo, Kind, Requests};
use super::settings::Millis;
use crate::resp::write;

impl Machine {
    /// A connection could not be opened, or is broken. The reactor drops the socket by itself.
    pub fn backend_failed(&mut self, key: BackendKey, failure: &Failure, now: Millis) {
        self.now = now;
        self.end(key, failure);
        self.check_invariants();
    }

    /// Ends a connection for a reason found here.
    pub(super) fn fail(&mut self, key: BackendKey, failure: &Failure) {
        if self.end(key, failure) {
            self.actions.push_back(Action::Close(ConnKey::Backend(key)));
        }
    }

    /// Takes a connection out, and tells everybody who waits for it.
    fn end(&mut self, key: BackendKey, failure: &Failure) -> bool {
        let Some(backend) = self.backends.get(key) else {
            return false;
        };
        let (was_ready, pool_key) = (backend.is_ready(), backend.pool);
        if !was_ready {
            self.connecting_ended(key);
        }
        let Some(mut backend) = self.backends.remove(key) else {
            return false;
        };
        self.counters.backends_failed += u64::from(*failure != Failure::Removed);
        if let Some(pool) = self.pools.pools.get_mut(pool_key) {
            pool.backends.retain(|&other| other != key);
            pool.idle.retain(|&other| other != key);
            pool.dedicated -= usize::from(backend.dedicated);
        }
        self.lose_owner(&backend);
        self.count_ended(key, &backend);
        self.to_backends.clear(&mut backend.greeting);
        self.judge(&backend, was_ready, failure);
        self.settle_sent(&mut backend, failure);
        self.settle_unsent(&mut backend, was_ready, failure);
        self.to_backends.clear(&mut backend.outbound);
        self.release_crowd(key);
        self.tell_waiters(&backend, failure);
        self.serve_line(pool_key);
        true
    }

    /// What went over a connection that has ended is not forgotten.
    fn count_ended(&mut self, key: BackendKey, backend: &Backend) {
        let account = self.pools.account_of(backend.pool);
        let Some(of) = account.map(|account| account.instance) else {
            return;
        };
        if let Some(instance) = self.pools.instances.get_mut(of) {
            instance.traffic.add(&backend.traffic);
        }
        self.end_check(of, key);
    }

    /// What a failure says about the instance or the account.
    fn judge(&mut self, backend: &Backend, was_ready: bool, failure: &Failure) {
        let Some(account) = self.pools.account_of(backend.pool) else {
            return;
        };
        let instance = account.instance;
        if let Failure::Desync(why) = failure {
            self.report(instance, News::Distrusted(why.clone()));
        }
        match failure {
            // It did answer: the instance is there. A stranger's wrong password is his own matter.
            Failure::Refused(_) | Failure::Rejected(_) => {
                if self.pools.came_up(instance) {
                    self.report(instance, News::Up);
                }
                if backend.login_of.is_none() {
                    self.may_not_ask(instance);
                }
                if matches!(failure, Failure::Refused(_)) && backend.login_of.is_none() {
                    self.refuse_account(backend.pool, backend.epoch, failure);
                }
            }
            // A ready connection that ends says nothing yet: the next one will tell. Unless it is
            // the next one.
            Failure::Lost | Failure::Desync(_) if was_ready && !backend.is_heir => {}
            Failure::Removed => {}
            // It may be what was asked for: an old server knows no users.
            Failure::TurnedAway(_) if backend.login_of.is_some() => {}
            // It runs a script, and will have done so at some time; until then everybody hears so.
            Failure::TurnedAway(text) if text.starts_with("BUSY ") => {}
            // Nobody asked it.
            Failure::Starved(_) => {}
            // It has moved meanwhile.
            _ if !self.pools.is_at(instance, backend.address) => {}
            _ => {
                let jitter = self.next_random();
                self.probing = true;
                if self.pools.went_down(instance, failure, self.now, jitter) {
                    self.report(instance, News::Down(failure.reason()));
                }
            }
        }
    }

    /// A password that had been good was refused, or nobody may be the default user: connections
    /// that came in with it serve nobody any more.
    fn refuse_account(&mut self, pool: PoolKey, epoch: u32, failure: &Failure) {
        let now = self.now;
        if let Some(account) = self.pools.account_of_mut(pool) {
            account.refuse(epoch, failure.text_if_unsent(), now);
            for pool in account.pools.clone() {
                self.retire_pool(pool, epoch);
            }
        }
    }

    /// These instances are not to be used any more.
    pub(super) fn retire_instances(&mut self, which: &HashSet<InstanceKey>) {
        if which.is_empty() {
            return;
        }
        let theirs = |pools: &Pools, key: PoolKey| {
            let account = pools.account_of(key);
            account.is_some_and(|account| which.contains(&account.instance))
        };
        for pool in self.pools.pools.keys() {
            if theirs(&self.pools, pool) {
                self.retire_pool(pool, u32::MAX);
            }
        }
        let mut owned: Vec<BackendKey> = Vec::new();
        for (key, backend) in self.backends.iter() {
            if backend.owner != ClientKey::NONE && theirs(&self.pools, backend.pool) {
                owned.push(key);
            }
        }
        for key in owned {
            self.retire_owned(key);
        }
    }

    /// Retires a pool's ready connections of this epoch and before.
    fn retire_pool(&mut self, pool: PoolKey, epoch: u32) {
        let pool = self.pools.pools.get(pool);
        let backends = pool.map(|pool| [&pool.backends[..], &pool.idle[..]].concat());
        for key in backends.unwrap_or_default() {
            let outdated = |backend: &Backend| backend.is_ready() && backend.epoch <= epoch;
            if self.backends.get(key).is_some_and(outdated) {
                self.retire(key);
            }
        }
    }

    /// Takes a ready connection out of its pool: what it owes it still brings.
    pub(super) fn retire(&mut self, key: BackendKey) {
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        backend.retired = true;
        if let Some(pool) = self.pools.pools.get_mut(backend.pool) {
            pool.backends.retain(|&other| other != key);
            pool.idle.retain(|&other| other != key);
        }
        self.close_retired(key);
    }

    /// Closes a connection that was retired and owes nothing.
    pub(super) fn close_retired(&mut self, key: BackendKey) {
        let done = |backend: &Backend| backend.retired && backend.fifo.is_empty();
        if self.backends.get(key).is_some_and(done) {
            self.fail(key, &Failure::Removed);
        }
    }

    /// Requests that the backend may have seen: each gets its error, in order.
    fn settle_sent(&mut self, backend: &mut Backend, failure: &Failure) {
        let mut sent = backend.fifo;
        let unsent = self.requests.split_unsent(&mut sent, backend.sent);
        // The first bytes of a reply are with its client already: an error cannot follow them.
        if backend.reply_bytes > 0
            && let Some(head) = self.requests.get(sent.head)
            && head.kind == Kind::Deliver
            && let key = head.client
            && let Some(client) = self.clients.get_mut(key)
        {
            client.finish(&mut self.to_backends);
            self.requests.silence(client.fifo);
            mark_client_dirty(&mut self.dirty_clients, client, key);
        }
        self.fail_all(&mut sent, failure.text_if_sent());
        backend.fifo = unsent;
    }

    /// Requests that the backend cannot have seen: they move to a new connection, once; if there
    /// is none to be had, each gets its error.
    fn settle_unsent(&mut self, backend: &mut Backend, was_ready: bool, failure: &Failure) {
        let Some(first) = self.requests.get(backend.fifo.head) else {
            return;
        };
        // What is left of a request that was sent in part stays behind.
        let skip = first.start - backend.sent;
        self.to_backends
            .consume(&mut backend.outbound, skip as usize);
        // On another connection WAIT would say yes to what it knows nothing of.
        let shared = !backend.dedicated && backend.is_shared() && backend.blocking == 0;
        let wanted =
            (self.requests.of_backend(backend.fifo)).any(|(_, it)| it.kind != Kind::Forsaken);
        if was_ready && shared && wanted && !backend.is_heir && *failure != Failure::Removed {
            let heir = self.open_shared(backend.pool);
            if let Some(heir) = heir {
                self.inherit(heir, backend);
                return;
            }
        }
        let text = failure.text_if_unsent();
        let mut fifo = std::mem::take(&mut backend.fifo);
        self.fail_all(&mut fifo, &text);
    }

    /// Gives the queue of a lost connection, of which nothing was sent, to a new one.
    fn inherit(&mut self, key: BackendKey, lost: &mut Backend) {
        let Some(heir) = self.backends.get_mut(key) else {
            return;
        };
        let fifo = std::mem::take(&mut lost.fifo);
        let base = self.requests.get(fifo.head).map_or(0, |first| first.start);
        heir.outbound = std::mem::take(&mut lost.outbound);
        heir.queued = heir.outbound.len() as u64;
        heir.recent.skip(heir.outbound.len());
        heir.fifo = fifo;
        heir.is_heir = true;
        for (_, request) in self.requests.of_backend(fifo) {
            heir.scripts += u32::from(request.verb == Verb::Script);
            heir.forsaken += u32::from(request.kind == Kind::Forsaken);
        }
        let moved: Vec<u32> = self
            .requests
            .of_backend(fifo)
            .map(|(index, _)| index)
            .collect();
        for index in moved {
            let Some(request) = self.requests.get_mut(index) else {
                continue;
            };
            request.start -= base;
            // Who only asked for a verdict there is not its client, and maybe never will be.
            if request.kind != Kind::Verdict
                && let Some(client) = self.clients.get_mut(request.client)
            {
                client.go_to(key);
            }
        }
    }

    /// Answers all records of a queue with an error.
    fn fail_all(&mut self, fifo: &mut Fifo, text: &str) {
        let mut error = Vec::new();
        write::error(&mut error, text);
        while let Some(request) = self.requests.pop_of_backend(fifo) {
            let key = request.client;
            let Some(client) = self.clients.get_mut(key) else {
                continue;
            };
            client.in_flight -= request.count;
            Requests::advance_client(&mut client.fifo, &request);
            match request.kind {
                Kind::Deliver | Kind::Swallow if self.settings.close_on_loss => {
                    self.counters.closed_on_loss += u64::from(!client.is(Flag::Closing));
                    client.finish(&mut self.to_backends);
                    self.requests.silence(client.fifo);
                }
                Kind::Deliver => {
                    // However many confirmations were asked for, there is one error.
                    let errors = if request.verb.confirms() {
                        1
                    } else {
                        request.count
                    };
                    for _ in 0..errors {
                        self.to_clients.append(&mut client.outbound, &error);
                    }
                    self.counters.errors += u64::from(errors);
                    mark_client_dirty(&mut self.dirty_clients, client, key);
                }
                Kind::Verdict => self.again.push(key),
                _ => {}
            }
            release_parked(&mut self.requests, &mut self.to_clients, client);
            if !client.outbound.is_empty() {
                mark_client_dirty(&mut self.dirty_clients, client, key);
            }
            self.wake(key);
        }
    }

    /// Those who wait for this connection to get ready.
    fn tell_waiters(&mut self, backend: &Backend, failure: &Failure) {
        for client in std::mem::take(&mut self.again) {
            self.advance(client);
        }
        if let Some(client) = backend.login_of {
            if matches!(failure, Failure::Refused(_)) {
                self.counters.logins_refused += 1;
            }
            self.conclude(client, Err(failure.text_for_login()));
        } else if !backend.is_ready()
            && let Some(pool) = self.pools.pools.get_mut(backend.pool)
            && pool.backends.is_empty()
        {
            for client in std::mem::take(&mut pool.waiters) {
                let text = self.text_for_waiter(client, failure);
                self.conclude(client, Err(text));
            }
        }
        if let Some(account) = self.pools.account_of_mut(backend.pool) {
            for client in std::mem::take(&mut account.logins) {
                self.advance(client);
            }
        }
    }

    /// A refusal means the password that somebody logged in with earlier: to one who only changes
    /// database or protocol it says that a login is needed.
    fn text_for_waiter(&self, key: ClientKey, failure: &Failure) -> String {
        let waiting = self.clients.get(key).and_then(|c| c.waiting.as_deref());
        let hello = waiting.is_some_and(|waiting| matches!(waiting.goal, Goal::Hello { .. }));
        match failure {
            Failure::Refused(text) if hello && text.starts_with("NOAUTH") => text.clone(),
            _ => failure.text_if_unsent(),
        }
    }

    /// Tells the outside of an instance.
    pub(super) fn report(&mut self, key: InstanceKey, news: News) {
        if let Some(instance) = self.pools.instances.get(key) {
            self.actions.push_back(Action::Report(Report {
                instance: instance.id.to_string(),
                tenant: instance.tenant.to_string(),
                address: instance.address_text.clone(),
                news,
            }));
        }
    }

    /// A backend that is silent for too long, or does not get ready, is given up.
    pub(super) fn check_deadlines(&mut self) {
        let (reply, connect) = (
            self.settings.backend_reply_ms,
            self.settings.backend_connect_ms,
        );
        let late = |backend: &Backend, now: Millis| match backend.is_ready() {
            true => {
                let owes = backend.sent > 0 && !backend.fifo.is_empty();
                let patient = backend.paused || backend.blocking > 0;
                reply > 0 && owes && !patient && now.since(backend.since) >= reply
            }
            false => now.since(backend.since) >= connect,
        };
        let late: Vec<BackendKey> = (self.backends.iter())
            .filter(|(_, backend)| late(backend, self.now))
            .map(|(key, _)| key)
            .collect();
        for key in late {
            self.fail(key, &Failure::TimedOut);
        }
    }
}
