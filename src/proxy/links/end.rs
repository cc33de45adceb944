//! The end of a link: what its clients get, and which requests move.

use std::collections::HashSet;

use crate::command::ErrorReply;

use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::proxy::action::{Action, HealthChange, HealthEvent};
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::change::Goal;
use crate::session::client::Client;
use crate::store::key::{ClientKey, ConnKey, InstanceKey, LinkKey, PoolKey};

impl Machine {
    /// A link could not be opened, or its socket failed. The reactor drops the socket itself.
    pub fn link_failed(&mut self, key: LinkKey, failure: &Failure) {
        if !self.try_next_address(key, failure) {
            self.end(key, failure);
        }
        self.finish_call();
    }

    /// Ends a link for a reason found by the machine.
    pub(in crate::proxy) fn fail(&mut self, key: LinkKey, failure: &Failure) {
        if self.end(key, failure) {
            self.actions.push_back(Action::Close(ConnKey::Link(key)));
        }
    }

    /// Removes a link, and handles all clients that wait for it.
    fn end(&mut self, key: LinkKey, failure: &Failure) -> bool {
        let Some(mut link) = self.links.remove(key) else {
            return false;
        };
        let was_ready = link.is_ready();
        self.stats.counters.backends_failed += u64::from(!failure.is_own());
        self.upstreams.link_ended(key, &link);
        self.save_unexecuted(key, &mut link);
        self.dedicated_link_lost(&link);
        self.update_health(&link, failure);
        if link.is_verifier() {
            self.verifier_ended(key, &link, failure);
            return true;
        }
        self.hand_over(&mut link, was_ready, failure);
        self.fail_waiters(&link, failure);
        if *failure != Failure::Removed {
            self.work.push(Work::FailWaits(link.waits.take()));
        }
        let (pool, of) = (link.pool, link.instance);
        self.leave_link(key, link);
        if was_ready && *failure == Failure::Lost {
            self.work.push(Work::CheckCredential(pool, of));
        }
        true
    }

    /// Closes a ready link on which nothing is in flight, and which no client has.
    pub(in crate::proxy) fn close_unused(&mut self, key: LinkKey) {
        if let Some(link) = self.links.remove(key) {
            debug_assert!(link.fifo.is_empty() && link.owner() == ClientKey::NONE);
            self.upstreams.link_ended(key, &link);
            self.leave_link(key, link);
            self.actions.push_back(Action::Close(ConnKey::Link(key)));
        }
    }

    /// Frees what a removed link holds. What waits for it, or for a place, is queued.
    fn leave_link(&mut self, key: LinkKey, mut link: Link) {
        self.links.chunks_mut().clear(&mut link.outbound);
        self.clients.end_wait_for_room(key);
        self.work.push(Work::EndWaits(link.waits.take()));
        // What was asked on it is asked again.
        self.work.advance(self.upstreams.lose_probes(key));
        let tenant = self.upstreams.tenant_of_pool(link.pool);
        self.work.push(Work::ServeQueues(tenant));
        self.work.push(Work::ServeWaits);
    }

    /// Updates the health of the instance or the account after a failure.
    fn update_health(&mut self, link: &Link, failure: &Failure) {
        let instance = link.instance;
        if !link.has_worked() && !failure.is_own() && !matches!(failure, Failure::Refused(_)) {
            self.upstreams.prefer(instance, link.address, false);
        }
        if let Failure::Desync(why) = failure {
            self.log_health(instance, HealthChange::ProtocolError(why.clone()));
        }
        match failure {
            // The server answered: the instance is up.
            Failure::Refused(_) | Failure::Rejected(_) => {
                if self.upstreams.came_up(instance) {
                    self.log_health(instance, HealthChange::Up);
                }
                let result = self
                    .upstreams
                    .check_not_permitted(instance, &self.links, self.now);
                self.end_check(instance, result);
                if matches!(failure, Failure::Refused(_)) {
                    self.refuse_access(link.pool);
                }
            }
            // The end of a ready link alone is no sign of a failed instance; the end of its
            // successor is.
            Failure::Lost | Failure::Desync(_) if link.has_worked() && !link.is_successor => {}
            Failure::Fenced | Failure::Removed => {}
            Failure::TurnedAway(_) if link.is_verifier() => {}
            // The server runs a script and will answer again; until then all clients get this
            // error.
            Failure::Busy(_) => {}
            // The server was not asked.
            Failure::Starved(_) => {}
            // The instance has moved to another address.
            _ if !self.upstreams.is_at(instance, link.address) => {}
            _ => {
                if self.upstreams.went_down(instance, failure, self.now) {
                    self.log_health(instance, HealthChange::Down(failure.reason()));
                }
            }
        }
    }

    /// Stops the use of these instances.
    pub(in crate::proxy) fn retire_instances(&mut self, which: &HashSet<InstanceKey>) {
        if which.is_empty() {
            return;
        }
        for pool in self.upstreams.pools_at(which) {
            self.retire_pool(pool);
        }
        for &instance in which {
            self.end_logins(instance);
        }
        let owned = self.links.iter().filter(|(_, link)| {
            let instance = self.upstreams.instance_of(link.pool);
            link.owner() != ClientKey::NONE && instance.is_some_and(|it| which.contains(&it))
        });
        let owned: Vec<LinkKey> = owned.map(|(key, _)| key).collect();
        for key in owned {
            self.retire_dedicated(key);
        }
    }

    /// Retires a pool's ready links.
    pub(in crate::proxy) fn retire_pool(&mut self, pool: PoolKey) {
        for key in self.upstreams.links_of_pool(pool) {
            if self.links.get(key).is_some_and(Link::is_ready) {
                self.retire(key);
            }
        }
    }

    /// Takes a ready link out of its pool: it only delivers its outstanding replies.
    pub(in crate::proxy) fn retire(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get(key) {
            self.assign(key, link.role().retired());
            self.work.push(Work::CloseRetired(key));
        }
    }

    /// Closes a retired link that has no outstanding replies.
    pub(in crate::proxy) fn close_retired(&mut self, key: LinkKey) {
        let done = |link: &Link| link.is_retired() && link.fifo.is_empty();
        if self.links.get(key).is_some_and(done) {
            self.fail(key, &Failure::Removed);
        }
    }

    /// Handles the clients that wait for this link to become ready.
    fn fail_waiters(&mut self, link: &Link, failure: &Failure) {
        if link.is_ready() {
            return;
        }
        // A server that runs a script gives this error on every link.
        let others = !self.upstreams.shared_links(link.pool).is_empty();
        if others && !matches!(failure, Failure::Busy(_)) {
            return;
        }
        if *failure == Failure::Fenced {
            // They start again, at the present address.
            return self.work.advance(self.upstreams.take_waiters(link.pool));
        }
        let account = self.upstreams.account_of(link.pool);
        for client in self.upstreams.take_waiters(link.pool) {
            let is_of = |it: &Client| Some(it.account()) == account;
            let of_it = self.clients.get(client).is_some_and(is_of);
            if of_it && self.upstreams.is_refused(link.pool, self.now) {
                self.log_out(client);
            } else {
                let error = self.error_for_waiter(client, link.pool, failure);
                self.work.push(Work::Conclude(client, Err(error)));
            }
        }
    }

    /// The error for a waiting client. If a login is required, HELLO gets the server's own error
    /// text.
    fn error_for_waiter(&self, key: ClientKey, pool: PoolKey, failure: &Failure) -> ErrorReply {
        let waiting = self.clients.get(key).and_then(|c| c.waiting());
        let hello = waiting.is_some_and(|waiting| matches!(waiting.goal, Goal::Hello { .. }));
        let anonymous = self.upstreams.is_anonymous(pool);
        match failure {
            Failure::Refused(_) if hello && anonymous => failure.error_for_login(),
            _ => failure.error_if_unsent(),
        }
    }

    /// Logs a change of an instance's health.
    pub(in crate::proxy) fn log_health(&mut self, key: InstanceKey, change: HealthChange) {
        if let Some((tenant, id, address)) = self.upstreams.describe(key) {
            self.actions.push_back(Action::HealthEvent(HealthEvent {
                instance: id.to_string(),
                tenant: tenant.to_string(),
                address: address.to_owned(),
                change,
            }));
        }
    }
}
