//! The logins of instances: their wait queues, verifiers and tokens, and what AUTH's results say of
//! accounts.

use std::collections::VecDeque;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::command::ErrorReply;
use crate::link::credential::Credential;
use crate::link::handshake::Handshake;
use crate::link::link::{Link, State};
use crate::store::key::{
    AccessKey, AccountKey, ClientKey, InstanceKey, LinkKey, PoolKey, TenantSlot,
};
use crate::store::time::Millis;
use crate::upstream::logins::{ASK_AGAIN_MS, LoginClass};
use crate::upstream::upstreams::Upstreams;

/// Connections of one instance that are kept for the next logins, per worker.
const IDLE_VERIFIERS_MAX: usize = 4;

/// Clients of one instance that have left and whose logins still wait, per worker.
const LEFT_MAX: usize = 256;

/// What an instance needs for its logins.
#[derive(Debug)]
pub(crate) enum VerifierNeed {
    /// Nothing now.
    Nothing,
    /// A new verifier; its token is taken.
    New,
    /// A token: the instance waits for its turn.
    Token,
    /// The instance is down: all logins fail with this error.
    Down(ErrorReply),
}

/// What an instance uses a token for.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This client's session change opens a connection of its pool.
    Change(ClientKey),
    /// This pool lost its last connection.
    Lost(PoolKey),
    /// Logins wait for a verifier.
    Logins,
}

/// The wait queues.
impl Upstreams {
    /// The class of a client's login that leads to this access.
    pub(crate) fn login_class(
        &self,
        access: AccessKey,
        has_left: bool,
        was_refused: bool,
    ) -> Option<LoginClass> {
        let access = self.access.get(access)?;
        let account = self.accounts.get(access.account)?;
        let logins = &self.instances.get(access.instance)?.logins;
        Some(match has_left {
            true => LoginClass::Left,
            false if account.clients > 0 => LoginClass::Known,
            false if was_refused => LoginClass::Refused,
            false if logins.is_familiar(account.name()) => LoginClass::Familiar,
            false => LoginClass::New,
        })
    }

    /// Queues a login in this class. The login of a client that has left is still verified, because
    /// the client may read the reply; above `LEFT_MAX` such logins, a client is closed instead:
    /// the one that is returned.
    pub(crate) fn queue_login(
        &mut self,
        access: AccessKey,
        (client, from): (ClientKey, IpAddr),
        class: LoginClass,
    ) -> Option<ClientKey> {
        let access = self.access.get(access)?;
        let account = self.accounts.get(access.account)?;
        let logins = &mut self.instances.get_mut(access.instance)?.logins;
        let queue = logins.waiting.get_mut(class as usize)?;
        queue.push((from, account.name()), client);
        let many = matches!(class, LoginClass::Left) && queue.len > LEFT_MAX;
        if many { queue.pop() } else { None }
    }

    /// The login at the head of an instance's queues, with the number of its queue.
    pub(crate) fn first_login(&self, of: InstanceKey) -> Option<(usize, ClientKey)> {
        let logins = &self.instances.get(of)?.logins;
        let mut queues = logins.waiting.iter().enumerate();
        queues.find_map(|(class, it)| Some((class, it.front()?)))
    }

    /// Removes the login at the head of this queue.
    pub(crate) fn pop_login(&mut self, of: InstanceKey, class: usize) {
        if let Some(instance) = self.instances.get_mut(of)
            && let Some(queue) = instance.logins.waiting.get_mut(class)
        {
            queue.pop();
        }
    }

    /// Notes the result of a login: users whose last login succeeded are verified earlier.
    pub(crate) fn note_login(&mut self, access: AccessKey, good: bool) {
        if let Some(access) = self.access.get(access)
            && let Some(account) = self.accounts.get(access.account)
            && let Some(instance) = self.instances.get_mut(access.instance)
        {
            instance.logins.note(account.name(), good);
        }
    }

    /// The credential of an access.
    pub(crate) fn credential(&self, access: AccessKey) -> Option<&Arc<Credential>> {
        let account = self.access.get(access)?.account;
        self.accounts.get(account)?.credential.as_ref()
    }

    /// The instance of an access.
    pub(crate) fn instance_of_access(&self, access: AccessKey) -> Option<InstanceKey> {
        let instance = self.access.get(access)?.instance;
        self.instances.contains(instance).then_some(instance)
    }

    /// The account of an access.
    pub(crate) fn account_of_access(&self, access: AccessKey) -> Option<AccountKey> {
        Some(self.access.get(access)?.account)
    }

    /// The tenant and the user of an access.
    pub(crate) fn user_of_access(&self, access: AccessKey) -> Option<(TenantSlot, &[u8])> {
        let account = self.accounts.get(self.access.get(access)?.account)?;
        Some((account.tenant, account.name()))
    }

    /// Counts a session change in progress that leads to this access.
    pub(crate) fn begin_change(&mut self, access: AccessKey) {
        if let Some(access) = self.access.get_mut(access) {
            access.waiting += 1;
        }
    }

    /// See [`begin_change`](Self::begin_change).
    pub(crate) fn end_change(&mut self, access: AccessKey) {
        if let Some(access) = self.access.get_mut(access) {
            access.waiting -= 1;
        }
    }
}

/// Verifiers.
impl Upstreams {
    /// Does an instance need another verifier?
    pub(crate) fn verifier_need(&mut self, of: InstanceKey, now: Millis) -> VerifierNeed {
        let Some(instance) = self.instances.get(of) else {
            return VerifierNeed::Nothing;
        };
        if instance.fails_fast(now) && instance.logins.verifiers == 0 {
            return VerifierNeed::Down(instance.down_error.clone());
        }
        if !instance.logins.wants_verifier() {
            return VerifierNeed::Nothing;
        }
        match self.take_token(of, now) {
            true => VerifierNeed::New,
            false => VerifierNeed::Token,
        }
    }

    /// A verifier is connected.
    pub(crate) fn verifier_opened(&mut self, of: InstanceKey) {
        if let Some(instance) = self.instances.get_mut(of) {
            instance.logins.opening -= 1;
        }
    }

    /// Keeps a verifier with nothing in flight for the next login, unless the instance is gone or
    /// no longer at its address.
    pub(crate) fn keep_verifier(
        &mut self,
        of: InstanceKey,
        key: LinkKey,
        address: Option<SocketAddr>,
    ) -> bool {
        let instance = self.instances.get_mut(of);
        let Some(instance) = instance.filter(|it| !it.gone && it.is_at(address)) else {
            return false;
        };
        instance.logins.idle.push(key);
        true
    }

    /// Takes an idle verifier for a login.
    pub(crate) fn take_verifier(&mut self, of: InstanceKey) -> Option<LinkKey> {
        self.instances.get_mut(of)?.logins.idle.pop()
    }

    /// An idle verifier to close, if more than `IDLE_VERIFIERS_MAX` are idle.
    pub(crate) fn spare_verifier(&self, of: InstanceKey) -> Option<LinkKey> {
        let idle = &self.instances.get(of)?.logins.idle;
        idle.last()
            .copied()
            .filter(|_| idle.len() > IDLE_VERIFIERS_MAX)
    }

    /// A verifier becomes a link of a pool, for this client. Returns the rest of its handshake.
    pub(crate) fn verifier_joins(
        &mut self,
        of: InstanceKey,
        pool: PoolKey,
        client: ClientKey,
        now: Millis,
    ) -> Option<Handshake> {
        let learn = self.is_to_learn(of, now);
        let pool = self.pools.get_mut(pool)?;
        pool.waiters.push(client);
        let handshake = Handshake::of_verified(pool.protocol, pool.db, learn);
        if let Some(instance) = self.instances.get_mut(of) {
            instance.logins.verifiers -= 1;
            instance.connecting += 1;
            instance.connections += 1;
        }
        Some(handshake)
    }

    /// A verifier has ended. Returns whether its instance is gone, and whether it was the last.
    pub(crate) fn verifier_ended(&mut self, key: LinkKey, link: &Link) -> Option<(bool, bool)> {
        let instance = self.instances.get_mut(link.instance)?;
        let logins = &mut instance.logins;
        logins.verifiers -= 1;
        logins.opening -= usize::from(matches!(link.state, State::Connecting));
        logins.idle.retain(|&other| other != key);
        Some((instance.gone, logins.verifiers == 0))
    }

    /// Takes the idle verifiers of an instance that is retired, and, if the instance is gone, the
    /// clients that wait for a token. Returns whether it is gone, too.
    pub(crate) fn end_logins(
        &mut self,
        of: InstanceKey,
    ) -> Option<(bool, Vec<LinkKey>, VecDeque<ClientKey>)> {
        let instance = self.instances.get_mut(of)?;
        let logins = &mut instance.logins;
        let openers = match instance.gone {
            true => mem::take(&mut logins.openers),
            false => VecDeque::new(),
        };
        Some((instance.gone, mem::take(&mut logins.idle), openers))
    }
}

/// Tokens.
impl Upstreams {
    /// Takes a token for opening a link to this instance. Returns `false` if none is left; the
    /// instance then waits in the ring.
    fn take_token(&mut self, of: InstanceKey, now: Millis) -> bool {
        self.tokens.refill(now);
        if self.tokens.left > 0 && self.tokens.ring.is_empty() {
            self.tokens.left -= 1;
            return true;
        }
        self.enter_ring(of);
        false
    }

    /// Takes a token for a session change that opens a link of a pool. Returns `false` if none is
    /// left; the client then waits in `openers`.
    pub(crate) fn take_token_for(
        &mut self,
        client: ClientKey,
        of: InstanceKey,
        now: Millis,
    ) -> bool {
        let taken = self.take_token(of, now);
        if !taken && let Some(instance) = self.instances.get_mut(of) {
            instance.logins.openers.push_back(client);
        }
        taken
    }

    /// A pool lost its last link while it has clients. Queues the pool to open a link, whose
    /// handshake shows whether the credential is still valid.
    pub(crate) fn check_credential(&mut self, pool: PoolKey, of: InstanceKey, now: Millis) {
        if self.has_connections(pool) {
            return;
        }
        let Some(lost) = self.pools.get_mut(pool) else {
            return;
        };
        // If the pool's links end soon after they are opened, the next one is opened for a request
        // only.
        let asked = lost.credential_checked_at.replace(now);
        if asked.is_some_and(|at| now.since(at) < ASK_AGAIN_MS) {
            return;
        }
        if let Some(instance) = self.instances.get_mut(of) {
            instance.logins.lost.push_back(pool);
            self.enter_ring(of);
        }
    }

    fn enter_ring(&mut self, of: InstanceKey) {
        if let Some(instance) = self.instances.get_mut(of)
            && !mem::replace(&mut instance.logins.in_ring, true)
        {
            self.tokens.ring.push_back(of);
        }
    }

    /// The next instance that gets a token. The ring is emptied so that `take_token` gives the
    /// token to this instance; [`end_token_turn`](Self::end_token_turn) puts the other instances
    /// back.
    pub(crate) fn begin_token_turn(
        &mut self,
        now: Millis,
    ) -> Option<(InstanceKey, Turn, VecDeque<InstanceKey>)> {
        if self.tokens.ring.is_empty() {
            return None;
        }
        self.tokens.refill(now);
        while self.tokens.left > 0
            && let Some(of) = self.tokens.ring.pop_front()
        {
            let Some(instance) = self.instances.get_mut(of) else {
                continue;
            };
            let logins = &mut instance.logins;
            logins.in_ring = false;
            let turn = match logins.openers.pop_front() {
                Some(client) => Turn::Change(client),
                None => logins.lost.pop_front().map_or(Turn::Logins, Turn::Lost),
            };
            return Some((of, turn, mem::take(&mut self.tokens.ring)));
        }
        None
    }

    /// See [`begin_token_turn`](Self::begin_token_turn).
    pub(crate) fn end_token_turn(&mut self, of: InstanceKey, mut others: VecDeque<InstanceKey>) {
        others.append(&mut self.tokens.ring);
        self.tokens.ring = others;
        let instance = self.instances.get(of);
        if instance.is_some_and(|it| it.logins.wants_token()) {
            self.enter_ring(of);
        }
    }

    /// Takes a token for a pool that lost its last link, if the pool has clients, still has no
    /// link, and its instance is not down.
    pub(crate) fn reopens(&mut self, key: PoolKey, now: Millis) -> bool {
        let pool = self.pools.get(key);
        let lone = pool.is_some_and(|pool| pool.clients > 0 && pool.links.is_empty());
        let wanted = lone && !self.fails_fast(key, now);
        self.tokens.left -= u32::from(wanted);
        wanted
    }

    /// When the next instance gets a token.
    pub(crate) fn next_token(&self) -> Option<Millis> {
        self.tokens.due()
    }
}
