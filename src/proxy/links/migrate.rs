//! The instance of a client: how it is chosen, and how clients leave an instance that is offline or
//! deleted.
//!
//! ```text
//!   offline, deleted ──► no new clients; a client with nothing in flight moves to the pool of its
//!                        account on another instance, as soon as a link of that pool is ready
//!   no instance left ──► deleted: it leaves at once; offline: after the grace period. It stays
//!                        logged in; its next request gets it an instance if there is one
//!   after the grace  ──► blocked clients and clients with a dedicated link are closed, and so are
//!                        clients of a deleted tenant
//! ```
//! A move needs no login by the client: the links of the new pool authenticate with the credential
//! that the client logged in with. If the new instance refuses the credential, the client is
//! closed.

use std::collections::HashSet;

use crate::command::ErrorReply;

use crate::link::failure::Failure;
use crate::link::link::{State, Verifying};
use crate::proxy::machine::Machine;
use crate::session::change::{Goal, Target};
use crate::session::client::{Client, Hold};
use crate::session::phase::Phase;
use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey, TenantSlot};

/// Between two attempts of an instance's clients to move elsewhere, ms.
const MOVE_AGAIN_MS: u64 = 1_000;

impl Machine {
    /// The instance for a client of this tenant: the present one if it is usable, else the
    /// balancer's choice.
    pub(in crate::proxy) fn instance_for(
        &mut self,
        key: ClientKey,
        slot: TenantSlot,
    ) -> Option<InstanceKey> {
        let has = self.instance_of_client(key);
        let own = self.clients.get(key).is_some_and(|it| it.pin().is_some());
        match has.filter(|&has| self.upstreams.may_stay(has, slot, own)) {
            has @ Some(_) => has,
            None => self.upstreams.balance(slot),
        }
    }

    /// The client's instance, if it has one.
    pub(in crate::proxy) fn instance_of_client(&self, key: ClientKey) -> Option<InstanceKey> {
        let pool = self.clients.get(key)?.pool;
        self.upstreams.instance_of(pool)
    }

    /// Starts to move the clients of these instances. Each client moves when nothing of it is in
    /// flight; until then no more of its requests are sent.
    pub(in crate::proxy) fn start_moves(&mut self, draining: &HashSet<InstanceKey>) {
        if draining.is_empty() {
            return;
        }
        for key in self.clients.keys() {
            let instance = self.instance_of_client(key);
            if !instance.is_some_and(|instance| draining.contains(&instance)) {
                continue;
            }
            if let Some(client) = self.clients.get(key)
                && client.phase() == Phase::Queued
                && client.pin().is_none()
            {
                // The wait queue belongs to the old instance. The client's command is decoded again
                // and waits at the new one.
                self.leave_queue(key);
            }
            self.hold_for_move(key);
        }
    }

    /// Holds a client without a dedicated link until nothing of it is in flight, and queues it for
    /// [`resume`](Self::resume).
    pub(in crate::proxy) fn hold_for_move(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            if client.pin().is_none() && !client.is_closing() {
                client.hold.set(Hold::BARRIER);
            }
            self.mark_ready(key);
        }
    }

    /// Moves a client away from a draining instance, if nothing of the client is in flight.
    pub(in crate::proxy) fn move_if_draining(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(draining) = self.upstreams.draining(client.pool, self.now) else {
            return;
        };
        let busy = !client.fifo.is_empty()
            || client.pin().is_some()
            || client.waiting().is_some()
            || client.is_closing()
            || client.phase() == Phase::Queued
            || client.phase() == Phase::Replicas;
        if busy || self.clients.is_draining() {
            return;
        }
        let to = match draining.may_move {
            true => self.upstreams.balance_move(draining.tenant, self.now),
            false => None,
        };
        let over = draining.ms >= self.settings.offline_grace_ms;
        match to {
            Some(to) => self.move_to(key, to),
            None if draining.gone || over => self.detach_instance(key),
            None => {}
        }
    }

    /// Starts a client's move to another instance: it keeps its account, and moves when a link of
    /// its new pool is ready.
    fn move_to(&mut self, key: ClientKey, to: InstanceKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let account = client.account();
        if !self.upstreams.is_logged_in(account) {
            // The client's next request gets it an instance, and shows whether that admits the
            // default user.
            self.detach_instance(key);
            self.stats.counters.clients_moved += 1;
            return;
        }
        let target = Target {
            access: self.upstreams.access_to(to, account),
            login: false,
            db: client.db,
            protocol: client.protocol,
        };
        self.change(key, Goal::Move, Some(target));
    }

    /// Takes a client off its instance. The client keeps its account; its next request gets it an
    /// instance.
    fn detach_instance(&mut self, key: ClientKey) {
        self.move_client(key, PoolKey::NONE);
        let now = self.now.tenths();
        if let Some(client) = self.clients.get_mut(key) {
            // A pending refusal is about the previous instance.
            client.take_refusal();
            if !self.upstreams.is_logged_in(client.account()) {
                client.details_mut().anonymous_since = now;
            }
        }
    }

    /// Gives a client without an instance one. Returns `false` if its tenant has none.
    pub(in crate::proxy) fn attach_instance(&mut self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let (account, db, protocol) = (client.account(), client.db, client.protocol);
        let tenant = self.upstreams.tenant_of_account(account);
        let Some(instance) = self.upstreams.balance(tenant) else {
            return false;
        };
        let access = self.upstreams.access_to(instance, account);
        let pool = self.upstreams.pool(access, db, protocol);
        self.move_client(key, pool);
        // A client that is logged in had an instance before.
        let moved = self.upstreams.is_logged_in(account);
        self.stats.counters.clients_moved += u64::from(moved);
        true
    }

    /// Handles a failed move. The client stays for now; if the new instance refused its credential,
    /// the client is closed.
    pub(in crate::proxy) fn move_failed(&mut self, key: ClientKey, error: &ErrorReply) {
        if *error == ErrorReply::NoAuth {
            return self.close_unmoved(key);
        }
        if let Some(client) = self.clients.get(key) {
            let again = self.now.after(MOVE_AGAIN_MS);
            self.upstreams.delay_moves(client.pool, again);
        }
    }

    /// Closes a client that cannot move, after its buffered replies are sent.
    fn close_unmoved(&mut self, key: ClientKey) {
        self.stats.counters.clients_left_behind += 1;
        self.finish_client(key);
        self.mark_ready(key);
    }

    /// Runs once a second for draining instances: moves their clients, closes the remaining ones
    /// after the grace period, and retires the links of instances without clients.
    pub(in crate::proxy) fn end_draining(&mut self) {
        let grace = self.settings.offline_grace_ms;
        let found = self.upstreams.draining_instances(grace, self.now);
        self.start_moves(&found.draining);
        self.end_grace(&found.over);
        self.retire_instances(&found.left);
        self.leave_addresses(&found.moved, true);
        self.close_clients_of_removed_tenants();
    }

    /// Closes the clients of tenants that the registry removed, when the grace period is over.
    fn close_clients_of_removed_tenants(&mut self) {
        let grace = self.settings.offline_grace_ms;
        let tenants = self.upstreams.removed_tenants(grace, self.now);
        if tenants.is_empty() {
            return;
        }
        let closed = |client: &Client| {
            let tenant = self.upstreams.tenant_of_account(client.account());
            client.pool == PoolKey::NONE
                && client.waiting().is_none()
                && !client.is_closing()
                && tenants.contains(&tenant)
        };
        let clients = self.clients.iter().filter(|(_, client)| closed(client));
        let clients: Vec<ClientKey> = clients.map(|(key, _)| key).collect();
        for key in clients {
            self.close_unmoved(key);
        }
    }

    /// The grace period is over. Closes blocked clients, and clients with a dedicated link and
    /// nothing in flight; other clients have until their replies have arrived.
    fn end_grace(&mut self, over: &HashSet<InstanceKey>) {
        if over.is_empty() {
            return;
        }
        self.start_moves(over);
        for key in self.clients.keys() {
            let instance = self.instance_of_client(key);
            if !instance.is_some_and(|instance| over.contains(&instance)) {
                continue;
            }
            let Some(client) = self.clients.get(key).filter(|client| !client.is_closing()) else {
                continue;
            };
            if client.pin().is_some() && client.fifo.is_empty() {
                self.drop_pin(key);
                self.close_unmoved(key);
            } else if self.is_blocked(key) {
                self.stats.counters.clients_left_behind += 1;
                self.stop_waiting(key);
            }
        }
        self.retire_instances(over);
    }

    /// Retires links to addresses that these instances no longer have. Dedicated links are retired
    /// only if `owned_too`: at the end of the grace period.
    pub(in crate::proxy) fn leave_addresses(
        &mut self,
        moved: &HashSet<InstanceKey>,
        owned_too: bool,
    ) {
        if moved.is_empty() {
            return;
        }
        let (mut left, mut opening, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for (key, link) in self.links.iter() {
            let of = link.instance;
            if !moved.contains(&of) || self.upstreams.is_at(of, link.address) {
                continue;
            }
            let owned = link.owner() != ClientKey::NONE;
            match link.state {
                State::Ready => left.push((key, owned)),
                State::Verifying(Verifying::Idle { .. }) => idle.push(key),
                // Closed or retired after its login is verified.
                State::Verifying(_) => {}
                State::Connecting | State::Handshake(_) if owned || link.is_verifier() => {}
                State::Connecting | State::Handshake(_) => opening.push(key),
            }
        }
        for (link, owned) in left {
            match owned {
                false => self.retire(link),
                true if owned_too => self.retire_dedicated(link),
                true => {}
            }
        }
        for link in opening {
            self.retire_opening(link);
        }
        for link in idle {
            self.fail(link, &Failure::Removed);
        }
    }

    /// Retires a link that is connecting: it takes no more requests and serves those it has.
    /// Clients that wait for it start again.
    fn retire_opening(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        let of = link.pool;
        self.assign(key, link.role().retired());
        if self.upstreams.shared_links(of).is_empty() {
            self.work.advance(self.upstreams.take_waiters(of));
        }
    }
}
