//! A backend connection comes up: it is opened, says its handshake, and is shared from then on.

use std::mem;

use crate::command::Permission;
use crate::command::learned::Learned;

use crate::link::failure::Failure;
use crate::link::handshake::{Greeted, Handshake};
use crate::link::link::{Backend, State, late_after};
use crate::proxy::action::{Action, News};
use crate::proxy::forward::route::mark_dirty;
use crate::proxy::machine::Machine;
use crate::store::key::{BackendKey, ClientKey, InstanceKey, PoolKey};

/// A backend is asked again which of its commands may block, when a connection to it is opened so
/// long after, ms: a module may have been loaded meanwhile.
const LEARN_AGAIN_MS: u64 = 60_000;

/// One of several addresses is tried for so long at least, ms.
const ADDRESS_MS_MIN: u64 = 250;

impl Machine {
    /// Opens a connection that the pool's clients share.
    pub(in crate::proxy) fn open_shared(&mut self, pool: PoolKey) -> Option<BackendKey> {
        let key = self.open(pool)?;
        self.pools.pools.get_mut(pool)?.backends.push(key);
        Some(key)
    }

    /// Opens a connection of the pool, with its account's credential. Nobody uses it yet. `None`:
    /// there are as many to the instance as there may be, and all are in use.
    pub(in crate::proxy) fn open(&mut self, pool: PoolKey) -> Option<BackendKey> {
        let of = self.pools.account_of(pool)?.instance;
        // A client in line may take the place of the one that was closed.
        while self.is_full(of) {
            if !self.close_unused(of) {
                self.counters.connections_refused += 1;
                return None;
            }
        }
        let key = self.connect(of, pool)?;
        self.pools.instances.get_mut(of)?.connections += 1;
        Some(key)
    }

    /// Are there as many connections to this instance as there may be?
    pub(in crate::proxy) fn is_full(&self, of: InstanceKey) -> bool {
        let max = self.settings.instance_connections_max;
        let instance = self.pools.instances.get(of);
        instance.is_some_and(|instance| instance.connections >= max)
    }

    /// Closes a connection to this instance that nobody uses, to make room for another.
    fn close_unused(&mut self, of: InstanceKey) -> bool {
        let now = self.now;
        let Some(instance) = self.pools.instances.get_mut(of) else {
            return false;
        };
        // Looked for once a millisecond: there may be many pools.
        if instance.all_used_at == Some(now) {
            return false;
        }
        let unused = |key: &BackendKey| {
            let backend = self.backends.get(*key);
            backend.is_some_and(|it| it.is_ready() && it.fifo.is_empty())
        };
        let pools = self.pools.pools_of(of);
        let mut keys = pools.flat_map(|pool| {
            // One connection of a pool that has clients stays.
            let spared = usize::from(pool.clients > 0);
            pool.idle.iter().chain(pool.backends.iter().skip(spared))
        });
        let found = keys.find(|key| unused(key)).copied();
        drop(keys);
        let Some(key) = found else {
            if let Some(instance) = self.pools.instances.get_mut(of) {
                instance.all_used_at = Some(now);
            }
            return false;
        };
        self.fail(key, &Failure::Removed);
        true
    }

    /// Begins a connection to an instance: of a pool, or with `NONE` one that verifies logins.
    pub(in crate::proxy) fn connect(
        &mut self,
        of: InstanceKey,
        pool: PoolKey,
    ) -> Option<BackendKey> {
        let instance = self.pools.instances.get_mut(of)?;
        instance.connecting += 1;
        let address = instance.address(0);
        let backend = Backend {
            address,
            ..Backend::new(of, pool, self.now)
        };
        let key = self.backends.insert(backend);
        match address {
            Some(address) => self.actions.push_back(Action::Connect(key, address)),
            None => self.unresolved.push(key),
        }
        self.opening += 1;
        self.counters.backends_opened += 1;
        Some(key)
    }

    /// A connection could not be opened to its address. Is it opened to another one of the same
    /// instance instead?
    pub(in crate::proxy) fn try_next_address(
        &mut self,
        key: BackendKey,
        failure: &Failure,
    ) -> bool {
        let Some(backend) = self.backends.get_mut(key) else {
            return false;
        };
        // Starved, too: this machine may have no IPv6, say.
        let elsewhere = !matches!(failure, Failure::Removed);
        if !elsewhere || !matches!(backend.state, State::Connecting) || backend.address.is_none() {
            return false;
        }
        let instance = self.pools.instances.get(backend.instance);
        let next = instance.and_then(|instance| instance.address(backend.tried + 1));
        let Some(next) = next else { return false };
        (backend.tried, backend.address, backend.since) = (backend.tried + 1, Some(next), self.now);
        self.counters.addresses_skipped += 1;
        self.actions.push_back(Action::Connect(key, next));
        true
    }

    /// How long one of an instance's addresses is tried, ms: all of them get their share.
    pub(in crate::proxy) fn connect_ms(&self, backend: &Backend) -> u64 {
        let all = self.settings.backend_connect_ms;
        let instance = self.pools.instances.get(backend.instance);
        let addresses = instance.map_or(1, |instance| instance.addresses.len().max(1));
        (all / addresses as u64).max(ADDRESS_MS_MIN).min(all)
    }

    /// A connection is open: the handshake begins, or it verifies logins.
    pub fn backend_connected(&mut self, key: BackendKey) {
        let Some(backend) = self.backends.get(key) else {
            return;
        };
        if let Some(instance) = self.pools.instances.get_mut(backend.instance) {
            instance.prefer(backend.address, true);
        }
        if backend.is_verifier() {
            self.verifier_connected(key);
            return self.check_invariants();
        }
        let (Some(pool), Some(account)) = (
            self.pools.pools.get(backend.pool),
            self.pools.account_of(backend.pool),
        ) else {
            return;
        };
        let learn = self.is_to_learn(backend.instance);
        let credential = account.credential.clone();
        let handshake = Handshake::new(credential, pool.protocol, pool.db, learn);
        self.begin_handshake(key, handshake);
    }

    /// Is a backend to be asked which of its commands may block?
    pub(in crate::proxy) fn is_to_learn(&self, instance: InstanceKey) -> bool {
        let asked = self
            .pools
            .instances
            .get(instance)
            .and_then(|it| it.asked_at);
        asked.is_none_or(|at| self.now.since(at) >= LEARN_AGAIN_MS)
    }

    /// The first flight of a handshake goes out.
    pub(in crate::proxy) fn begin_handshake(&mut self, key: BackendKey, mut handshake: Handshake) {
        let bytes = handshake.next_flight();
        if let Some(backend) = self.backends.get_mut(key) {
            backend.since = self.now;
            backend.state = State::Greeting(Box::new(handshake));
        }
        self.greet(key, &bytes);
    }

    /// Some commands of this backend may block.
    fn learn(&mut self, key: InstanceKey, learned: Learned) {
        if let Some(instance) = self.pools.instances.get_mut(key) {
            (instance.asked_at, instance.learned) = (Some(self.now), learned);
        }
        let mut all = self.pools.instances.iter();
        self.learned_any = all.any(|(_, instance)| !instance.learned.is_empty());
    }

    /// Sends what a backend has to say first.
    pub(in crate::proxy) fn greet(&mut self, key: BackendKey, bytes: &[u8]) {
        if let Some(backend) = self.backends.get_mut(key) {
            self.to_backends.append(&mut backend.greeting, bytes);
            mark_dirty(&mut self.dirty_backends, backend, key);
        }
    }

    /// The handshake went well: the connection can be used from now on.
    pub(in crate::proxy) fn greeted(&mut self, key: BackendKey, greeted: Greeted) {
        let Greeted {
            hello,
            id,
            learned,
            selected,
        } = greeted;
        self.opened(key);
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        backend.state = State::Ready;
        if let Some(instance) = self.pools.instances.get_mut(backend.instance) {
            let took = self.now.since(backend.since);
            instance.handshake_ms = instance.handshake_ms.min(took);
            backend.late_ms = late_after(instance.handshake_ms);
        }
        (backend.since, backend.ready_at, backend.id) = (self.now, self.now, id);
        let (pool_key, instance) = (backend.pool, backend.instance);
        mark_dirty(&mut self.dirty_backends, backend, key);
        self.count_ready(instance, true);
        if let Some(instance) = self.pools.instances.get_mut(instance) {
            instance.dialect = hello.dialect();
        }
        let Some(pool) = self.pools.pools.get_mut(pool_key) else {
            return;
        };
        pool.hello = Some(hello);
        if selected {
            pool.permits.add(Permission::Select, self.now);
        }
        let (waiters, account) = (mem::take(&mut pool.waiters), pool.account);
        if let Some(account) = self.pools.accounts.get_mut(account) {
            account.accept();
        }
        if let Some(learned) = learned {
            self.learn(instance, learned);
        }
        self.leave_if_moved(key);
        if self.pools.came_up(instance) {
            self.report(instance, News::Up);
        }
        for client in waiters {
            self.advance(client);
        }
        self.serve_waits();
    }

    /// The instance may have moved while the connection was opened. One that is a client's own has
    /// until the end of the grace.
    fn leave_if_moved(&mut self, key: BackendKey) {
        if let Some(backend) = self.backends.get(key)
            && let Some(instance) = self.pools.instances.get(backend.instance)
            && !instance.is_at(backend.address)
        {
            match (backend.owner == ClientKey::NONE, instance.moved_at) {
                (true, _) => self.retire(key),
                (false, None) => self.retire_owned(key),
                (false, Some(_)) => {}
            }
        }
    }

    /// A connection has become ready, or one that was has ended.
    pub(in crate::proxy) fn count_ready(&mut self, instance: InstanceKey, more: bool) {
        if let Some(instance) = self.pools.instances.get_mut(instance) {
            match more {
                true => instance.ready += 1,
                false => instance.ready -= 1,
            }
        }
    }

    /// A connection is no longer being opened; its state is about to say so.
    pub(in crate::proxy) fn opened(&mut self, key: BackendKey) {
        let Some(backend) = self.backends.get(key).filter(|it| it.is_opening()) else {
            return;
        };
        self.opening -= 1;
        if let Some(instance) = self.pools.instances.get_mut(backend.instance) {
            instance.connecting -= 1;
        }
    }
}
