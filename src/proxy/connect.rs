//! A backend connection comes up: it is opened, says its handshake, and is shared from then on.

use std::mem;
use std::sync::Arc;

use crate::command::learned::Learned;

use super::action::{Action, News};
use super::backend::{Backend, State};
use super::forward::mark_dirty;
use super::handshake::{Credential, Greeted, Handshake};
use super::key::{BackendKey, ClientKey, InstanceKey, PoolKey};
use super::machine::Machine;
use super::settings::Millis;

/// A backend is asked again which of its commands may block, when a connection to it is opened so
/// long after, ms: a module may have been loaded meanwhile.
const LEARN_AGAIN_MS: u64 = 60_000;

impl Machine {
    /// Opens a connection that the pool's clients share, as the account's user.
    pub(super) fn open_shared(&mut self, pool: PoolKey) -> Option<BackendKey> {
        let key = self.open_as_user(pool)?;
        self.pools.pools.get_mut(pool)?.backends.push(key);
        Some(key)
    }

    /// Opens a connection of the pool, as the account's user. Nobody uses it yet.
    pub(super) fn open_as_user(&mut self, pool: PoolKey) -> Option<BackendKey> {
        let account = self.pools.account_of(pool)?;
        if account.user.is_some() && account.credential.is_none() {
            return None;
        }
        let (credential, epoch) = (account.credential.clone(), account.epoch);
        let key = self.open(pool, credential, None)?;
        self.backends.get_mut(key)?.epoch = epoch;
        Some(key)
    }

    /// Begins a connection. It belongs to `login_of` until that login is decided.
    pub(super) fn open(
        &mut self,
        pool: PoolKey,
        credential: Option<Arc<Credential>>,
        login_of: Option<ClientKey>,
    ) -> Option<BackendKey> {
        let account = self.pools.account_of_mut(pool)?;
        account.connecting += 1;
        let instance = account.instance;
        let instance = self.pools.instances.get_mut(instance)?;
        instance.connecting += 1;
        let address = instance.next_address();
        let backend = Backend {
            address,
            ..Backend::new(pool, credential, login_of, self.now)
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

    /// A connection is open: the handshake begins.
    pub fn backend_connected(&mut self, key: BackendKey, now: Millis) {
        self.now = now;
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        let Some(pool) = self.pools.pools.get(backend.pool) else {
            return;
        };
        let mut bytes = Vec::new();
        let credential = backend.credential.as_deref();
        let instance = self.pools.instance_of_pool(backend.pool);
        let learn = instance.is_none_or(|instance| {
            let asked = instance.asked_at;
            asked.is_none_or(|at| now.since(at) >= LEARN_AGAIN_MS)
        });
        let handshake = Handshake::start(credential, pool.protocol, pool.db, learn, &mut bytes);
        backend.since = now;
        backend.state = State::Greeting(Box::new(handshake));
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
    pub(super) fn greet(&mut self, key: BackendKey, bytes: &[u8]) {
        if let Some(backend) = self.backends.get_mut(key) {
            self.to_backends.append(&mut backend.greeting, bytes);
            mark_dirty(&mut self.dirty_backends, backend, key);
        }
    }

    /// The handshake went well: the connection can be used from now on.
    pub(super) fn greeted(&mut self, key: BackendKey, greeted: Greeted) {
        let Greeted { hello, id, learned } = greeted;
        let Some(backend) = self.backends.get_mut(key) else {
            return;
        };
        backend.state = State::Ready;
        (backend.since, backend.ready_at, backend.id) = (self.now, self.now, id);
        let shared = !backend.dedicated && !backend.retired;
        let (pool_key, login_of) = (backend.pool, backend.login_of.take());
        let credential = backend.credential.clone();
        mark_dirty(&mut self.dirty_backends, backend, key);
        self.connecting_ended(key);
        self.count_ready(pool_key, true);
        let Some(pool) = self.pools.pools.get_mut(pool_key) else {
            return;
        };
        pool.hello = Some(hello);
        if shared && !pool.backends.contains(&key) {
            pool.backends.push(key);
        }
        let (waiters, account_key) = (mem::take(&mut pool.waiters), pool.account);
        let Some(account) = self.pools.accounts.get_mut(account_key) else {
            return;
        };
        if login_of.is_some() || account.user.is_none() {
            account.accept(credential);
        }
        let (instance, epoch, valid_from) = (account.instance, account.epoch, account.valid_from);
        let logins = mem::take(&mut account.logins);
        if let Some(backend) = self.backends.get_mut(key) {
            if login_of.is_some() {
                backend.epoch = epoch;
            }
            if backend.epoch < valid_from {
                // Its password was refused on another connection meanwhile.
                self.retire(key);
            }
        }
        if let Some(learned) = learned {
            self.learn(instance, learned);
        }
        if let (Some(backend), Some(instance)) =
            (self.backends.get(key), self.pools.instances.get(instance))
            && !instance.is_at(backend.address)
        {
            // It moved while the connection was opened. One that is a client's own has until the
            // end of the grace.
            match (backend.owner == ClientKey::NONE, instance.moved_at) {
                (true, _) => self.retire(key),
                (false, None) => self.retire_owned(key),
                (false, Some(_)) => {}
            }
        }
        if self.pools.came_up(instance) {
            self.report(instance, News::Up);
        }
        if let Some(client) = login_of {
            self.counters.logins += 1;
            self.accepted(client);
            self.conclude(client, Ok(()));
        }
        for client in waiters.into_iter().chain(logins) {
            self.advance(client);
        }
    }

    /// A connection has become ready, or one that was has ended.
    pub(super) fn count_ready(&mut self, pool: PoolKey, more: bool) {
        let instance = self.pools.account_of(pool).map(|it| it.instance);
        if let Some(instance) = instance.and_then(|key| self.pools.instances.get_mut(key)) {
            match more {
                true => instance.ready += 1,
                false => instance.ready -= 1,
            }
        }
    }

    /// A connection is no longer being opened.
    pub(super) fn connecting_ended(&mut self, key: BackendKey) {
        let Some(backend) = self.backends.get(key) else {
            return;
        };
        self.opening -= 1;
        let Some(account) = self.pools.account_of_mut(backend.pool) else {
            return;
        };
        account.connecting -= 1;
        let instance = account.instance;
        if let Some(instance) = self.pools.instances.get_mut(instance) {
            instance.connecting -= 1;
        }
    }
}
