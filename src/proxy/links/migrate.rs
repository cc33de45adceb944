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
use crate::upstream::account::Account;
use crate::upstream::tenant::{Tenant, Use};

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
        let usable = &self.upstreams.tenants.get(slot)?.instances;
        // A client with a dedicated link keeps its instance, because the state of the link cannot
        // move.
        let own = self.clients.get(key).is_some_and(|it| it.pin().is_some());
        let same = |has| {
            self.upstreams
                .instances
                .get(has)
                .is_some_and(|it| it.slot == slot)
        };
        match has.filter(|&has| usable.contains(&has) || (own && same(has))) {
            has @ Some(_) => has,
            None => self.balance(slot),
        }
    }

    /// The client's instance, if it has one.
    pub(in crate::proxy) fn instance_of_client(&self, key: ClientKey) -> Option<InstanceKey> {
        let pool = self.clients.get(key)?.pool;
        Some(self.upstreams.access_of(pool)?.instance)
    }

    /// Chooses one of the tenant's fittest instances with the balancer.
    pub(in crate::proxy) fn balance(&mut self, slot: TenantSlot) -> Option<InstanceKey> {
        let random = self.upstreams.random.next();
        let tenant = self.upstreams.tenants.get_mut(slot)?;
        let instances = &self.upstreams.instances;
        let known = tenant.instances.iter();
        let known = known.filter_map(|&key| Some((key, instances.get(key)?)));
        let best = known.clone().map(|(_, it)| it.unfitness()).min()?;
        let fit = known.filter(|(_, it)| it.unfitness() == best);
        let (keys, clients): (Vec<InstanceKey>, Vec<u32>) =
            fit.map(|(key, it)| (key, it.clients)).unzip();
        let turn = tenant.turn.wrapping_add(self.settings.worker.into());
        tenant.turn = tenant.turn.wrapping_add(1);
        let chosen = self.settings.balancer.choose(&clients, turn, random)?;
        keys.get(chosen).copied()
    }

    /// Starts to move the clients of these instances. Each client moves when nothing of it is in
    /// flight; until then no more of its requests are sent.
    pub(in crate::proxy) fn start_moves(&mut self, leaving: &HashSet<InstanceKey>) {
        if leaving.is_empty() {
            return;
        }
        for key in self.clients.keys() {
            let instance = self.instance_of_client(key);
            if !instance.is_some_and(|instance| leaving.contains(&instance)) {
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
            self.gather(key);
        }
    }

    /// Holds a client without a dedicated link until nothing of it is in flight, and queues it for
    /// [`resume`](Self::resume).
    pub(in crate::proxy) fn gather(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            if client.pin().is_none() && !client.is_closing() {
                client.hold.set(Hold::BARRIER);
            }
            self.wake(key);
        }
    }

    /// Is the client's instance draining?
    pub(in crate::proxy) fn is_leaving(&self, key: ClientKey) -> bool {
        let instance = self.instance_of_client(key);
        let instance = instance.and_then(|key| self.upstreams.instances.get(key));
        instance.is_some_and(|instance| instance.leaving.is_some())
    }

    /// Moves a client away from a draining instance, if nothing of the client is in flight.
    pub(in crate::proxy) fn relocate(&mut self, key: ClientKey) {
        let Some(from) = self.instance_of_client(key) else {
            return;
        };
        let (Some(client), Some(instance)) =
            (self.clients.get(key), self.upstreams.instances.get(from))
        else {
            return;
        };
        let Some(since) = instance.leaving else {
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
        let (slot, gone) = (instance.slot, instance.gone);
        let may = self.now >= instance.moves_after;
        let to = if may { self.balance(slot) } else { None };
        let to = to.filter(|&to| {
            let instance = self.upstreams.instances.get(to);
            instance.is_some_and(|instance| !instance.is_out(self.now))
        });
        let over = self.now.since(since) >= self.settings.offline_grace_ms;
        match to {
            Some(to) => self.move_to(key, to),
            None if gone || over => self.leave_place(key),
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
        if { self.upstreams.accounts.get(account) }.is_none_or(Account::is_anonymous) {
            // The client's next request gets it an instance, and shows whether that admits the
            // default user.
            self.leave_place(key);
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
    fn leave_place(&mut self, key: ClientKey) {
        self.move_client(key, PoolKey::NONE);
        let now = self.now.tenths();
        if let Some(client) = self.clients.get_mut(key) {
            // A pending refusal is about the previous instance.
            client.take_refusal();
            let account = self.upstreams.accounts.get(client.account());
            if account.is_none_or(Account::is_anonymous) {
                client.details_mut().anonymous_since = now;
            }
        }
    }

    /// Gives a client without an instance one. Returns `false` if its tenant has none.
    pub(in crate::proxy) fn place(&mut self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let (account, db, protocol) = (client.account(), client.db, client.protocol);
        let tenant = self.upstreams.tenant_of_account(account);
        let Some(instance) = self.balance(tenant) else {
            return false;
        };
        let access = self.upstreams.access_to(instance, account);
        let pool = self.upstreams.pool(access, db, protocol);
        self.move_client(key, pool);
        let account = self.upstreams.accounts.get(account);
        // A client that is logged in had an instance before.
        let moved = account.is_some_and(|account| !account.is_anonymous());
        self.stats.counters.clients_moved += u64::from(moved);
        true
    }

    /// Handles a failed move. The client stays for now; if the new instance refused its credential,
    /// the client is closed.
    pub(in crate::proxy) fn move_failed(&mut self, key: ClientKey, error: &ErrorReply) {
        if *error == ErrorReply::NoAuth {
            return self.close_left(key);
        }
        let again = self.now.after(MOVE_AGAIN_MS);
        let from = self.instance_of_client(key);
        if let Some(instance) = from.and_then(|from| self.upstreams.instances.get_mut(from)) {
            instance.moves_after = again;
        }
    }

    /// Closes a client that cannot move, after its buffered replies are sent.
    fn close_left(&mut self, key: ClientKey) {
        self.stats.counters.clients_left_behind += 1;
        self.finish_client(key);
        self.wake(key);
    }

    /// Runs once a second for draining instances: moves their clients, closes the remaining ones
    /// after the grace period, and retires the links of instances without clients.
    pub(in crate::proxy) fn clear_leaving(&mut self) {
        let grace = self.settings.offline_grace_ms;
        let (mut leaving, mut left, mut over) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut moved = HashSet::new();
        // Only instances in use are visited: many may be offline for a long time.
        for key in self.upstreams.used_instances() {
            let Some(instance) = self.upstreams.instances.get_mut(key) else {
                continue;
            };
            let since = |at: Option<_>| at.map(|at| self.now.since(at));
            match since(instance.leaving) {
                Some(_) if instance.clients == 0 => left.insert(key),
                Some(ms) if ms >= grace => over.insert(key),
                Some(_) => leaving.insert(key),
                None if since(instance.moved_at).is_some_and(|ms| ms >= grace) => {
                    instance.moved_at = None;
                    moved.insert(key)
                }
                None => false,
            };
        }
        self.start_moves(&leaving);
        self.end_grace(&over);
        self.retire_instances(&left);
        self.leave_addresses(&moved, true);
        self.close_clients_of_removed_tenants();
    }

    /// Closes the clients of tenants that the registry removed, when the grace period is over.
    fn close_clients_of_removed_tenants(&mut self) {
        let grace = self.settings.offline_grace_ms;
        let over = |it: &Tenant| it.gone.is_some_and(|at| self.now.since(at) >= grace);
        let tenants = self.upstreams.tenants.iter();
        let tenants = tenants.filter(|(_, it)| it.used(Use::Client) > 0 && over(it));
        let tenants: HashSet<TenantSlot> = tenants.map(|(slot, _)| slot).collect();
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
            self.close_left(key);
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
                self.close_left(key);
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
            let instance = moved.get(&link.instance);
            let instance = instance.and_then(|&key| self.upstreams.instances.get(key));
            if instance.is_none_or(|instance| instance.is_at(link.address)) {
                continue;
            }
            let owned = link.owner() != ClientKey::NONE;
            match link.state {
                State::Ready => left.push((key, owned)),
                State::Verifying(Verifying::Idle { .. }) => idle.push(key),
                // Closed or retired after its login is verified.
                State::Verifying(_) => {}
                State::Connecting | State::Greeting(_) if owned || link.is_verifier() => {}
                State::Connecting | State::Greeting(_) => opening.push(key),
            }
        }
        for (link, owned) in left {
            match owned {
                false => self.retire(link),
                true if owned_too => self.retire_owned(link),
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
        let Some(pool) = self.upstreams.pools.get_mut(of) else {
            return;
        };
        if pool.links.is_empty() {
            self.work.advance(std::mem::take(&mut pool.waiters));
        }
    }
}
