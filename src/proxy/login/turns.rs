//! The order in which logins are verified, and when links are opened for them. The wait queues are
//! in `upstream::logins`.

use std::mem;

use crate::link::role::Role;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::client::Client;
use crate::store::key::{ClientKey, InstanceKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::logins::{ASK_AGAIN_MS, Class};
use crate::upstream::pool::Pool;

/// Clients of one instance that have left and whose logins still wait, per worker.
const LEFT_MAX: usize = 256;

impl Machine {
    /// Records whether a client's login succeeded: this decides the class of the user's next login.
    pub(in crate::proxy) fn note_login(&mut self, key: ClientKey, good: bool) {
        let waiting = self.clients.get(key).and_then(|it| it.waiting());
        let access = waiting.and_then(|it| self.upstreams.access.get(it.access));
        if let Some(access) = access
            && let Some(account) = self.upstreams.accounts.get(access.account)
            && let Some(instance) = self.upstreams.instances.get_mut(access.instance)
        {
            instance.logins.note(account.name(), good);
        }
    }

    /// Opens one verifier, now or when there is a token.
    pub(in crate::proxy) fn want_verifier(&mut self, of: InstanceKey) {
        let Some(instance) = self.upstreams.instances.get(of) else {
            return;
        };
        if instance.is_out(self.now) && instance.logins.verifiers == 0 {
            let error = instance.down_error.clone();
            return self.fail_logins(of, &error);
        }
        if !instance.logins.wants_verifier() {
            return;
        }
        if !self.take_token(of) {
            self.stats.counters.logins_delayed += 1;
            return;
        }
        if self.connect(of, PoolKey::NONE, Role::Login).is_some()
            && let Some(instance) = self.upstreams.instances.get_mut(of)
        {
            instance.logins.verifiers += 1;
            instance.logins.opening += 1;
        }
    }

    /// The next login to verify, with its class. Drops logins whose client is closed or no longer
    /// waits, and requeues logins whose priority has become lower.
    pub(in crate::proxy) fn next_login(&mut self, of: InstanceKey) -> Option<(usize, ClientKey)> {
        loop {
            let logins = &mut self.upstreams.instances.get_mut(of)?.logins;
            let mut queues = logins.waiting.iter().enumerate();
            let (class, key) = queues.find_map(|(class, it)| Some((class, it.front()?)))?;
            let waits = self.clients.get(key).is_some_and(Client::waits_for_login);
            let now = waits.then(|| self.login_class(key)).flatten();
            if now.is_some_and(|now| now as usize <= class) {
                return Some((class, key));
            }
            let logins = &mut self.upstreams.instances.get_mut(of)?.logins;
            if let Some(queue) = logins.waiting.get_mut(class) {
                queue.pop();
            }
            if let Some(now) = now {
                self.queue_login(key, now);
            }
        }
    }

    /// The present class of a client's login.
    pub(in crate::proxy) fn login_class(&self, key: ClientKey) -> Option<Class> {
        let client = self.clients.get(key)?;
        let access = self.upstreams.access.get(client.waiting()?.access)?;
        let account = self.upstreams.accounts.get(access.account)?;
        let logins = &self.upstreams.instances.get(access.instance)?.logins;
        let known = account.clients > 0;
        Some(match client.has_left() {
            true => Class::Left,
            false if known => Class::Known,
            false if client.login_refused() => Class::Refused,
            false if logins.is_familiar(account.name()) => Class::Familiar,
            false => Class::New,
        })
    }

    /// Queues a login in this class. The login of a client that has left is still verified, because
    /// the client may read the reply; above `LEFT_MAX` such logins, a client is closed instead.
    pub(in crate::proxy) fn queue_login(&mut self, key: ClientKey, class: Class) {
        let client = self.clients.get(key);
        let access = client.and_then(|it| self.upstreams.access.get(it.waiting()?.access));
        let account = access.and_then(|it| self.upstreams.accounts.get(it.account));
        let instance = access.and_then(|it| self.upstreams.instances.get_mut(it.instance));
        let queue = instance.and_then(|it| it.logins.waiting.get_mut(class as usize));
        let (Some(client), Some(account), Some(queue)) = (client, account, queue) else {
            return;
        };
        queue.push((client.ends().0.ip(), account.name()), key);
        let many = matches!(class, Class::Left) && queue.len > LEFT_MAX;
        if many && let Some(client) = queue.pop() {
            self.work.push(Work::CloseClient(client));
        }
    }

    /// Takes a token for opening a link to this instance. Returns `false` if none is left; the
    /// instance then waits in the ring.
    fn take_token(&mut self, of: InstanceKey) -> bool {
        self.upstreams
            .tokens
            .refill(self.settings.logins_per_second, self.now);
        if self.upstreams.tokens.left > 0 && self.upstreams.tokens.ring.is_empty() {
            self.upstreams.tokens.left -= 1;
            return true;
        }
        self.upstreams.enter_ring(of);
        false
    }

    /// Takes a token for a session change that opens a link of a pool. Returns `false` if none is
    /// left; the client then waits in `openers`.
    pub(in crate::proxy) fn take_token_for(&mut self, key: ClientKey, of: InstanceKey) -> bool {
        let taken = self.take_token(of);
        if !taken && let Some(instance) = self.upstreams.instances.get_mut(of) {
            self.stats.counters.logins_delayed += 1;
            instance.logins.openers.push_back(key);
        }
        taken
    }

    /// A pool lost its last link while it has clients. Queues the pool to open a link, whose
    /// handshake shows whether the credential is still valid.
    pub(in crate::proxy) fn ask_about_lost(&mut self, pool: PoolKey, of: InstanceKey) {
        let now = self.now;
        let Some(lost) = self.upstreams.pools.get_mut(pool) else {
            return;
        };
        // If the pool's links end soon after they are opened, the next one is opened for a request
        // only.
        let asked = lost.asked_about.replace(now);
        if asked.is_some_and(|at| now.since(at) < ASK_AGAIN_MS) {
            return;
        }
        if let Some(instance) = self.upstreams.instances.get_mut(of) {
            instance.logins.lost.push_back(pool);
            self.upstreams.enter_ring(of);
        }
    }

    /// Hands out the tokens that have accrued, one to each instance in turn.
    pub(in crate::proxy) fn grant_tokens(&mut self) {
        if self.upstreams.tokens.ring.is_empty() {
            return;
        }
        self.upstreams
            .tokens
            .refill(self.settings.logins_per_second, self.now);
        while self.upstreams.tokens.left > 0
            && let Some(of) = self.upstreams.tokens.ring.pop_front()
        {
            let Some(instance) = self.upstreams.instances.get_mut(of) else {
                continue;
            };
            // The ring is emptied so that `take_token` gives the token to this instance.
            let mut others = mem::take(&mut self.upstreams.tokens.ring);
            let logins = &mut instance.logins;
            logins.in_ring = false;
            if let Some(client) = logins.openers.pop_front() {
                self.advance(client);
            } else if let Some(pool) = logins.lost.pop_front() {
                self.reopen(pool);
            } else {
                self.serve_logins(of);
            }
            others.append(&mut self.upstreams.tokens.ring);
            self.upstreams.tokens.ring = others;
            let instance = self.upstreams.instances.get(of);
            if instance.is_some_and(|it| it.logins.wants_token()) {
                self.upstreams.enter_ring(of);
            }
        }
    }

    /// When [`grant_tokens`](Self::grant_tokens) has something to do.
    pub(in crate::proxy) fn next_token(&self) -> Option<Millis> {
        self.upstreams.tokens.due(self.settings.logins_per_second)
    }

    /// Opens a link for a pool that lost its last one, if the pool has clients, still has no link,
    /// and its instance is not down.
    fn reopen(&mut self, key: PoolKey) {
        let lone = |pool: &Pool| pool.clients > 0 && pool.links.is_empty();
        let wanted = self.upstreams.pools.get(key).is_some_and(lone);
        if wanted && !self.upstreams.is_out(key, self.now) {
            self.upstreams.tokens.left -= 1;
            self.open_shared(key);
        }
    }
}
