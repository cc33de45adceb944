//! Opening a link: connect, handshake, and the start of its use.

use std::mem;

use crate::command::Permission;

use crate::link::failure::Failure;
use crate::link::handshake::{Greeted, Handshake};
use crate::link::link::{Link, State, late_after};
use crate::link::role::Role;
use crate::proxy::action::{Action, News};
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey};

/// A server is asked again which of its commands may block when a link is opened this long after
/// the last time, ms: a module may have been loaded.
const LEARN_AGAIN_MS: u64 = 60_000;

/// The least time for each of several addresses, ms.
const ADDRESS_MS_MIN: u64 = 250;

impl Machine {
    /// Opens a link that the pool's clients share.
    pub(in crate::proxy) fn open_shared(&mut self, pool: PoolKey) -> Option<LinkKey> {
        self.open(pool, Role::Shared)
    }

    /// Opens a link of the pool, with its account's credential. `None`: the instance has as many
    /// links as it may have, and all are in use.
    pub(in crate::proxy) fn open(&mut self, pool: PoolKey, role: Role) -> Option<LinkKey> {
        let of = self.upstreams.access_of(pool)?.instance;
        // Closes unused links until there is room.
        while self.is_full(of) {
            if !self.close_unused(of) {
                self.stats.counters.connections_refused += 1;
                return None;
            }
        }
        let key = self.connect(of, pool, role)?;
        self.upstreams.instances.get_mut(of)?.connections += 1;
        Some(key)
    }

    /// Has this instance as many links as it may have?
    pub(in crate::proxy) fn is_full(&self, of: InstanceKey) -> bool {
        let max = self.settings.instance_connections_max;
        let instance = self.upstreams.instances.get(of);
        instance.is_some_and(|instance| instance.connections >= max)
    }

    /// Closes an unused link to this instance, to make room for another.
    fn close_unused(&mut self, of: InstanceKey) -> bool {
        let now = self.now;
        let Some(instance) = self.upstreams.instances.get_mut(of) else {
            return false;
        };
        // At most one search per millisecond: there may be many pools.
        if instance.all_used_at == Some(now) {
            return false;
        }
        let unused = |key: &LinkKey| {
            let link = self.links.get(*key);
            link.is_some_and(|it| it.is_ready() && it.fifo.is_empty())
        };
        let pools = self.upstreams.pools_of(of);
        let mut keys = pools.flat_map(|pool| {
            // A pool with clients keeps one link.
            let spared = usize::from(pool.clients > 0);
            pool.idle.iter().chain(pool.links.iter().skip(spared))
        });
        let found = keys.find(|key| unused(key)).copied();
        drop(keys);
        let Some(key) = found else {
            if let Some(instance) = self.upstreams.instances.get_mut(of) {
                instance.all_used_at = Some(now);
            }
            return false;
        };
        self.fail(key, &Failure::Removed);
        true
    }

    /// Starts a link to an instance: one of a pool, or, with `NONE`, a verifier.
    pub(in crate::proxy) fn connect(
        &mut self,
        of: InstanceKey,
        pool: PoolKey,
        role: Role,
    ) -> Option<LinkKey> {
        let instance = self.upstreams.instances.get_mut(of)?;
        instance.connecting += 1;
        let address = instance.address(0);
        let mut link = Link::new(of, pool, role, self.now);
        link.address = address;
        let key = self.links.open(link);
        self.upstreams.enlist(pool, key, role);
        if let Some(address) = address {
            self.actions.push_back(Action::Connect(key, address));
        }
        self.stats.counters.backends_opened += 1;
        Some(key)
    }

    /// Tries another address of the same instance after a connect failed. Returns whether there is
    /// one.
    pub(in crate::proxy) fn try_next_address(&mut self, key: LinkKey, failure: &Failure) -> bool {
        let Some(link) = self.links.get_mut(key) else {
            return false;
        };
        // `Starved` as well: this machine may lack IPv6, for example.
        let elsewhere = !matches!(failure, Failure::Removed);
        if !elsewhere || !matches!(link.state, State::Connecting) || link.address.is_none() {
            return false;
        }
        let instance = self.upstreams.instances.get(link.instance);
        let next = instance.and_then(|instance| instance.address(link.tried + 1));
        let Some(next) = next else { return false };
        (link.tried, link.address, link.since) = (link.tried + 1, Some(next), self.now);
        self.stats.counters.addresses_skipped += 1;
        self.actions.push_back(Action::Connect(key, next));
        true
    }

    /// The timeout of one of an instance's addresses, ms: they share the connect timeout.
    pub(in crate::proxy) fn connect_ms(&self, link: &Link) -> u64 {
        let all = self.settings.backend_connect_ms;
        let instance = self.upstreams.instances.get(link.instance);
        let addresses = instance.map_or(1, |instance| instance.addresses.len().max(1));
        (all / addresses as u64).max(ADDRESS_MS_MIN).min(all)
    }

    /// A link is connected: it starts its handshake, or verifies logins.
    pub fn link_connected(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        if let Some(instance) = self.upstreams.instances.get_mut(link.instance) {
            instance.prefer(link.address, true);
        }
        if link.is_verifier() {
            self.verifier_connected(key);
            return self.finish_call();
        }
        let (Some(pool), Some(account)) = (
            self.upstreams.pools.get(link.pool),
            self.upstreams.account_of(link.pool),
        ) else {
            return;
        };
        let learn = self.is_to_learn(link.instance);
        let credential = account.credential.clone();
        let handshake = Handshake::new(credential, pool.protocol, pool.db, learn);
        self.begin_handshake(key, handshake);
    }

    /// Should this server be asked which of its commands may block?
    pub(in crate::proxy) fn is_to_learn(&self, instance: InstanceKey) -> bool {
        let asked = self
            .upstreams
            .instances
            .get(instance)
            .and_then(|it| it.asked_at);
        asked.is_none_or(|at| self.now.since(at) >= LEARN_AGAIN_MS)
    }

    /// Sends the first flight of a handshake.
    pub(in crate::proxy) fn begin_handshake(&mut self, key: LinkKey, mut handshake: Handshake) {
        let bytes = handshake.next_flight();
        if let Some(link) = self.links.get_mut(key) {
            link.since = self.now;
            link.state = State::Greeting(Box::new(handshake));
        }
        self.links.greet(key, &bytes);
    }

    /// The handshake succeeded: the link is ready.
    pub(in crate::proxy) fn greeted(&mut self, key: LinkKey, greeted: Greeted) {
        let Greeted {
            hello,
            id,
            learned,
            selected,
        } = greeted;
        self.opened(key);
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.state = State::Ready;
        if let Some(instance) = self.upstreams.instances.get_mut(link.instance) {
            let took = self.now.since(link.since);
            instance.handshake_ms = instance.handshake_ms.min(took);
            link.late_ms = late_after(instance.handshake_ms);
        }
        (link.since, link.ready_at, link.id) = (self.now, self.now, id);
        let (pool_key, instance) = (link.pool, link.instance);
        self.links.mark_dirty(key);
        self.upstreams.count_ready(instance, true);
        if let Some(instance) = self.upstreams.instances.get_mut(instance) {
            instance.dialect = hello.dialect();
        }
        let Some(pool) = self.upstreams.pools.get_mut(pool_key) else {
            return;
        };
        pool.hello = Some(hello);
        if selected {
            pool.permits.add(Permission::Select, self.now);
        }
        let (waiters, access) = (mem::take(&mut pool.waiters), pool.access);
        if let Some(access) = self.upstreams.access.get_mut(access) {
            access.accept();
        }
        if let Some(learned) = learned {
            self.upstreams.learn(instance, learned, self.now);
        }
        self.leave_if_moved(key);
        if self.upstreams.came_up(instance) {
            self.report(instance, News::Up);
        }
        self.work.advance(waiters);
        self.work.push(Work::ServeWaits);
    }

    /// Retires a link whose instance moved while it was connecting. A dedicated link stays until
    /// the end of the grace period.
    fn leave_if_moved(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get(key)
            && let Some(instance) = self.upstreams.instances.get(link.instance)
            && !instance.is_at(link.address)
        {
            match (link.owner() == ClientKey::NONE, instance.moved_at) {
                (true, _) => self.retire(key),
                (false, None) => self.retire_owned(key),
                (false, Some(_)) => {}
            }
        }
    }

    /// Counts that a link is no longer connecting; the caller changes its state next.
    pub(in crate::proxy) fn opened(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key).filter(|it| it.is_opening()) else {
            return;
        };
        let of = link.instance;
        self.links.opened();
        if let Some(instance) = self.upstreams.instances.get_mut(of) {
            instance.connecting -= 1;
        }
    }
}
