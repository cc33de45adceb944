//! A client and its instance: which one it gets, that it keeps it, and how it leaves one that is
//! on its way out.
//!
//! ```text
//!   offline, deleted ──► no new clients; a client with nothing in flight moves to another instance
//!                        of its tenant: a session change that it does not hear of
//!   after the grace  ──► who is still there (blocked, subscribed, or nowhere to go) is closed
//! ```

use std::collections::HashSet;

use crate::cluster::TenantKey;
use crate::session::phase::Phase;

use crate::link::failure::Failure;
use crate::link::handshake::is_refusal;
use crate::link::link::{State, Verifying};
use crate::proxy::machine::Machine;
use crate::session::change::{Goal, Target};
use crate::session::client::Hold;
use crate::stats::worker_stats::Limit;
use crate::store::key::{AccountKey, ClientKey, InstanceKey, LinkKey, PoolKey, TenantSlot};
use crate::upstream::tenant::Use;

/// Between two attempts of an instance's clients to move elsewhere, ms.
const MOVE_AGAIN_MS: u64 = 1_000;

impl Machine {
    /// The instance for a client of this tenant: the one that it has, or what the balancer says.
    pub(in crate::proxy) fn instance_for(
        &mut self,
        key: ClientKey,
        tenant: &TenantKey,
    ) -> Option<InstanceKey> {
        let slot = self.upstreams.tenant(tenant)?;
        let has = self.instance_of_client(key);
        let usable = &self.upstreams.tenants.get(slot)?.instances;
        // What a connection of its own holds does not move.
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

    /// The instance where a client is logged in.
    pub(in crate::proxy) fn instance_of_client(&self, key: ClientKey) -> Option<InstanceKey> {
        let account = self.clients.get(key)?.account();
        Some(self.upstreams.accounts.get(account)?.instance)
    }

    /// One of the tenant's instances that are the fittest.
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

    /// Counts a client as one of the account's tenant. False: that has as many as it may.
    pub(in crate::proxy) fn join(&mut self, key: ClientKey, account: AccountKey) -> bool {
        let instance = self.upstreams.accounts.get(account).map(|it| it.instance);
        let instance = instance.and_then(|key| self.upstreams.instances.get(key));
        let (Some(client), Some(instance)) = (self.clients.get_mut(key), instance) else {
            return true;
        };
        if client.tenant == instance.slot {
            return true;
        }
        let Some(tenant) = self.upstreams.tenants.get_mut(instance.slot) else {
            return true;
        };
        if !tenant.take(Use::Client, tenant.limits.clients) {
            let slot = instance.slot;
            self.note_limit_of(key, account, slot, Limit::Clients);
            return false;
        }
        let before = std::mem::replace(&mut client.tenant, instance.slot);
        self.upstreams.release(before, Use::Client);
        true
    }

    /// A client is nobody's any more.
    pub(in crate::proxy) fn leave_tenant(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            let before = std::mem::take(&mut client.tenant);
            self.upstreams.release(before, Use::Client);
        }
    }

    /// A client is of this account from now on, of no one with `NONE`.
    pub(in crate::proxy) fn count_client(&mut self, from: AccountKey, to: AccountKey) {
        for (key, more) in [(from, false), (to, true)] {
            let Some(account) = self.upstreams.accounts.get_mut(key) else {
                continue;
            };
            let instance = self.upstreams.instances.get_mut(account.instance);
            let counts = [
                Some(&mut account.clients),
                instance.map(|it| &mut it.clients),
            ];
            for count in counts.into_iter().flatten() {
                *count = if more { *count + 1 } else { *count - 1 };
            }
        }
    }

    /// The clients of these instances shall go elsewhere: each as soon as nothing of it is in
    /// flight. Until then no more of it is sent.
    pub(in crate::proxy) fn disperse(&mut self, leaving: &HashSet<InstanceKey>) {
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
                // The line is one of the old instance; what it stood there for is asked again.
                self.leave_phase(key);
            }
            self.gather(key);
        }
    }

    /// Nothing more of a client is sent until nothing of it is in flight; then it is looked at.
    pub(in crate::proxy) fn gather(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            if client.pin().is_none() && !client.is_closing() {
                client.hold.set(Hold::BARRIER);
            }
            self.wake(key);
        }
    }

    /// Is the instance of a client on its way out?
    pub(in crate::proxy) fn is_leaving(&self, key: ClientKey) -> bool {
        let instance = self.instance_of_client(key);
        let instance = instance.and_then(|key| self.upstreams.instances.get(key));
        instance.is_some_and(|instance| instance.leaving.is_some())
    }

    /// Has a client leave an instance that is on its way out, if nothing of it is in flight.
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
        let (slot, may) = (instance.slot, self.now >= instance.moves_after);
        let to = if may { self.balance(slot) } else { None };
        let to = to.filter(|&to| {
            let instance = self.upstreams.instances.get(to);
            instance.is_some_and(|instance| !instance.is_out(self.now))
        });
        let moves = to.is_some_and(|to| self.move_to(key, to));
        if !moves && self.now.since(since) >= self.settings.offline_grace_ms {
            self.close_left(key);
        }
    }

    /// The client logs in over there with what it logged in with here. False: it has gone.
    fn move_to(&mut self, key: ClientKey, to: InstanceKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let (db, protocol) = (client.db, client.protocol);
        let Some(account) = self.upstreams.accounts.get(client.account()) else {
            return false;
        };
        let Some(credential) = account.credential.clone() else {
            // Who never logged in is let in over there, or not, with its next request.
            self.become_user(key, AccountKey::NONE);
            self.move_client(key, PoolKey::NONE);
            self.stats.counters.clients_moved += 1;
            return true;
        };
        let account = self.upstreams.account((to, Some(credential)));
        let target = Target {
            account,
            login: true,
            db,
            protocol,
        };
        self.change(key, Goal::Move, Some(target));
        true
    }

    /// A client could not move: it stays for now, unless it is not let in there.
    pub(in crate::proxy) fn move_failed(&mut self, key: ClientKey, text: &str) {
        if is_refusal(text) {
            return self.close_left(key);
        }
        let again = self.now.after(MOVE_AGAIN_MS);
        if let Some(from) = self.instance_of_client(key)
            && let Some(instance) = self.upstreams.instances.get_mut(from)
        {
            instance.moves_after = again;
        }
    }

    /// A client goes with its instance, when it has read what it was told.
    fn close_left(&mut self, key: ClientKey) {
        self.stats.counters.clients_left_behind += 1;
        self.finish_client(key);
        self.wake(key);
    }

    /// Once a second: instances on their way out are left by those who could not do so at once,
    /// and in the end by all.
    pub(in crate::proxy) fn clear_leaving(&mut self) {
        let grace = self.settings.offline_grace_ms;
        let (mut leaving, mut left, mut over) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut moved = HashSet::new();
        // There may be many that are offline for good, and cost nothing.
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
        self.disperse(&leaving);
        self.end_grace(&over);
        self.retire_instances(&left);
        self.leave_addresses(&moved, true);
    }

    /// The grace is over: who still has something in flight has until that is answered, unless
    /// it waits for something to come.
    fn end_grace(&mut self, over: &HashSet<InstanceKey>) {
        if over.is_empty() {
            return;
        }
        self.disperse(over);
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

    /// Connections to addresses that these instances do not have any more serve nobody new. Those
    /// that are clients' own go at the end of the grace.
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
                // When its login is verified.
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

    /// A connection being opened takes nothing more, and serves what it has. Who waits for it
    /// begins again.
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
