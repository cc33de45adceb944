//! Logins that wait to be verified, and the tokens for opening connections.
//!
//! A worker opens so many connections a second for logins and for session changes that need one of
//! another pool. Instances that want a token stand in a ring and get one at a time, so that
//! guessing at one tenant costs the logins of another one turn at most.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::net::IpAddr;

use super::key::{BackendKey, ClientKey, InstanceKey, PoolKey};
use super::machine::Machine;
use super::pool::Pool;
use super::settings::Millis;

/// Connections of one instance that verify logins at the same time, per worker.
const VERIFIERS_MAX: usize = 16;

/// Between two questions about the credential of a pool that lost its last connection, ms.
const ASK_AGAIN_MS: u64 = 1_000;

/// The logins of one instance that wait, and the connections that verify them.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// Clients that wait to be verified, by [`Class`].
    pub waiting: [InTurn; 3],
    /// Clients that wait for a token to open a connection of their pool.
    pub openers: VecDeque<ClientKey>,
    /// Pools that lost their last connection: their credential is asked about once more.
    lost: VecDeque<PoolKey>,
    /// Verifiers on which nothing is under way; the last is taken first.
    pub idle: Vec<BackendKey>,
    /// All verifiers.
    pub verifiers: usize,
    /// Those of them that are being opened.
    pub opening: usize,
    /// It has a place in the ring of those that want a token.
    in_ring: bool,
}

/// Clients that wait, by the address that they come from: each address has one turn after the
/// other, so that many who guess from one keep nobody waiting who comes from another.
#[derive(Debug, Default)]
pub(super) struct InTurn {
    clients: HashMap<IpAddr, VecDeque<ClientKey>>,
    /// Every address that has clients here, once.
    turns: VecDeque<IpAddr>,
    len: usize,
}

impl InTurn {
    pub(super) fn push(&mut self, from: IpAddr, client: ClientKey) {
        let from = source(from);
        let clients = self.clients.entry(from).or_insert_with(|| {
            self.turns.push_back(from);
            VecDeque::new()
        });
        clients.push_back(client);
        self.len += 1;
    }

    /// The client whose turn it is.
    pub(super) fn front(&self) -> Option<ClientKey> {
        self.clients.get(self.turns.front()?)?.front().copied()
    }

    /// Takes it out; the next turn is another address's.
    pub(super) fn pop(&mut self) -> Option<ClientKey> {
        let from = self.turns.pop_front()?;
        let clients = self.clients.get_mut(&from)?;
        let client = clients.pop_front();
        self.len -= usize::from(client.is_some());
        match clients.is_empty() {
            true => drop(self.clients.remove(&from)),
            false => self.turns.push_back(from),
        }
        client
    }
}

/// Whom an address belongs to: of IPv6, one host has as many as it likes.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Which logins come first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    /// The credential serves clients at the moment.
    Known = 0,
    New = 1,
    /// The client was refused before.
    Refused = 2,
}

impl Logins {
    fn len(&self) -> usize {
        self.waiting.iter().map(|queue| queue.len).sum()
    }

    fn wants_verifier(&self) -> bool {
        self.len() > self.opening && self.verifiers < VERIFIERS_MAX
    }

    fn wants_token(&self) -> bool {
        !self.openers.is_empty() || !self.lost.is_empty() || self.wants_verifier()
    }
}

/// The tokens for opening connections, and the instances that wait for one, in turn.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    left: u32,
    /// Up to when they were handed out.
    at: Millis,
    ring: VecDeque<InstanceKey>,
}

impl Tokens {
    /// As many as there may be in one second.
    pub(super) fn full(rate: u32) -> Self {
        Self {
            left: rate.max(1),
            ..Self::default()
        }
    }

    /// Adds those of the time gone by: at most those of a second. A rate of 0 would lock everybody
    /// out.
    fn refill(&mut self, rate: u32, now: Millis) {
        let rate = u64::from(rate.max(1));
        let new = now.since(self.at) * rate / 1_000;
        if new == 0 {
            return;
        }
        let left = (u64::from(self.left) + new).min(rate);
        self.left = u32::try_from(left).unwrap_or(u32::MAX);
        // The rest of a token is not lost, unless there are as many as there may be.
        self.at = match left == rate {
            true => now,
            false => self.at.after(new * 1_000 / rate),
        };
    }

    /// When the next one is there for an instance that waits.
    fn due(&self, rate: u32) -> Option<Millis> {
        let next = self.at.after(1_000_u64.div_ceil(u64::from(rate.max(1))));
        (!self.ring.is_empty()).then_some(next)
    }
}

impl Machine {
    /// Opens one verifier, now or when there is a token.
    pub(super) fn want_verifier(&mut self, of: InstanceKey) {
        let Some(instance) = self.pools.instances.get(of) else {
            return;
        };
        if instance.is_out(self.now) && instance.logins.verifiers == 0 {
            let text = instance.down_text.clone();
            return self.fail_logins(of, &text);
        }
        if !instance.logins.wants_verifier() {
            return;
        }
        if !self.take_token(of) {
            self.counters.logins_delayed += 1;
            return;
        }
        if self.connect(of, PoolKey::NONE).is_some()
            && let Some(instance) = self.pools.instances.get_mut(of)
        {
            instance.logins.verifiers += 1;
            instance.logins.opening += 1;
        }
    }

    /// A token to open a connection to this instance with, or a place in the ring.
    fn take_token(&mut self, of: InstanceKey) -> bool {
        self.tokens
            .refill(self.settings.logins_per_second, self.now);
        if self.tokens.left > 0 && self.tokens.ring.is_empty() {
            self.tokens.left -= 1;
            return true;
        }
        self.enter_ring(of);
        false
    }

    fn enter_ring(&mut self, of: InstanceKey) {
        if let Some(instance) = self.pools.instances.get_mut(of)
            && !mem::replace(&mut instance.logins.in_ring, true)
        {
            self.tokens.ring.push_back(of);
        }
    }

    /// A token for a session change that opens a connection of a pool; without one the client goes
    /// on when there is one.
    pub(super) fn take_token_for(&mut self, key: ClientKey, of: InstanceKey) -> bool {
        let taken = self.take_token(of);
        if !taken && let Some(instance) = self.pools.instances.get_mut(of) {
            self.counters.logins_delayed += 1;
            instance.logins.openers.push_back(key);
        }
        taken
    }

    /// A pool has lost its last connection, and its clients may not know: whether their credential
    /// is still good is asked once more.
    pub(super) fn ask_about_lost(&mut self, pool: PoolKey, of: InstanceKey) {
        let now = self.now;
        let Some(lost) = self.pools.pools.get_mut(pool) else {
            return;
        };
        // One whose connections end as soon as they are there waits for who needs one.
        let asked = lost.asked_about.replace(now);
        if asked.is_some_and(|at| now.since(at) < ASK_AGAIN_MS) {
            return;
        }
        if let Some(instance) = self.pools.instances.get_mut(of) {
            instance.logins.lost.push_back(pool);
            self.enter_ring(of);
        }
    }

    /// Hands out the tokens of the time gone by: one to each instance, in turn.
    pub(super) fn grant_tokens(&mut self) {
        if self.tokens.ring.is_empty() {
            return;
        }
        self.tokens
            .refill(self.settings.logins_per_second, self.now);
        while self.tokens.left > 0
            && let Some(of) = self.tokens.ring.pop_front()
        {
            let Some(instance) = self.pools.instances.get_mut(of) else {
                continue;
            };
            // The turn is this instance's.
            let mut others = mem::take(&mut self.tokens.ring);
            let logins = &mut instance.logins;
            logins.in_ring = false;
            if let Some(client) = logins.openers.pop_front() {
                self.advance(client);
            } else if let Some(pool) = logins.lost.pop_front() {
                self.reopen(pool);
            } else {
                self.serve_logins(of);
            }
            others.append(&mut self.tokens.ring);
            self.tokens.ring = others;
            let instance = self.pools.instances.get(of);
            if instance.is_some_and(|it| it.logins.wants_token()) {
                self.enter_ring(of);
            }
        }
    }

    /// When [`grant_tokens`](Self::grant_tokens) has something to do.
    pub(super) fn next_token(&self) -> Option<Millis> {
        self.tokens.due(self.settings.logins_per_second)
    }

    /// Opens a connection for a pool that lost its last one, unless that has happened already, or
    /// can wait for the next request.
    fn reopen(&mut self, key: PoolKey) {
        let lone = |pool: &Pool| pool.clients > 0 && pool.backends.is_empty();
        let wanted = self.pools.pools.get(key).is_some_and(lone);
        if wanted && !self.is_out(key) {
            self.tokens.left -= 1;
            self.open_shared(key);
        }
    }
}
