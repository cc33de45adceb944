//! Queued logins, and the tokens for opening links.
//!
//! A worker opens a limited number of links a second for logins and for session changes that need a
//! link of another pool. Instances that want a token wait in a ring and get one at a time, so that
//! guessing passwords at one tenant delays the logins of another one by one token at most. Behind a
//! load balancer all clients have the same address, so users whose last login succeeded come before
//! new ones.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey};
use crate::store::time::Millis;

/// Verifiers of one instance, per worker.
const VERIFIERS_MAX: usize = 16;

/// Between two checks of the credential of a pool that lost its last link, ms.
pub(crate) const ASK_AGAIN_MS: u64 = 1_000;

/// Users of one instance whose last login is remembered as successful, per worker.
const FAMILIAR_MAX: usize = 256;

/// The longest user name that is remembered, bytes.
const FAMILIAR_BYTES_MAX: usize = 64;

/// The queued logins of one instance, and its verifiers.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    /// The queued logins, by [`LoginClass`].
    pub(super) waiting: [LoginQueue; 5],
    /// Users whose last login succeeded.
    familiar: HashSet<Box<[u8]>>,
    /// Clients that wait for a token to open a connection of their pool.
    pub(super) openers: VecDeque<ClientKey>,
    /// Pools that have lost their last link. Each opens one link, which shows whether its
    /// credential is still valid.
    pub(super) lost: VecDeque<PoolKey>,
    /// Idle verifiers; the last one is taken first.
    pub(super) idle: Vec<LinkKey>,
    /// All verifiers.
    pub(super) verifiers: usize,
    /// Verifiers that are connecting.
    pub(super) opening: usize,
    /// The instance is in the ring of instances that want a token.
    pub(super) in_ring: bool,
}

/// A queue of clients, fair by source address, and for each address by user: addresses take turns,
/// and so do the users of each. So many clients that guess passwords do not delay clients from
/// other addresses, or other users behind the same load balancer.
#[derive(Debug, Default)]
pub(crate) struct LoginQueue {
    sources: RoundRobin<IpAddr, RoundRobin<Box<[u8]>, VecDeque<ClientKey>>>,
    pub(super) len: usize,
}

/// Queues that are served round robin.
#[derive(Debug)]
struct RoundRobin<K, Q> {
    queues: HashMap<K, Q>,
    /// Every queue that is not empty, once.
    turns: VecDeque<K>,
}

impl<K, Q> Default for RoundRobin<K, Q> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, Q: Default> RoundRobin<K, Q> {
    fn queue(&mut self, of: K) -> &mut Q {
        let turns = &mut self.turns;
        self.queues.entry(of).or_insert_with_key(|of| {
            turns.push_back(of.clone());
            Q::default()
        })
    }

    fn front(&self) -> Option<&Q> {
        self.queues.get(self.turns.front()?)
    }

    /// Takes an item from the first queue, and moves that queue to the end.
    fn take<T>(&mut self, take: impl FnOnce(&mut Q) -> (T, bool)) -> Option<T> {
        let turn = self.turns.pop_front()?;
        let (taken, is_empty) = take(self.queues.get_mut(&turn)?);
        match is_empty {
            true => drop(self.queues.remove(&turn)),
            false => self.turns.push_back(turn),
        }
        Some(taken)
    }
}

impl LoginQueue {
    pub(crate) fn push(&mut self, (from, user): (IpAddr, &[u8]), client: ClientKey) {
        let users = self.sources.queue(source(from));
        users.queue(user.into()).push_back(client);
        self.len += 1;
    }

    /// The next client.
    pub(crate) fn front(&self) -> Option<ClientKey> {
        self.sources.front()?.front()?.front().copied()
    }

    /// Removes the next client.
    pub(crate) fn pop(&mut self) -> Option<ClientKey> {
        let client = self.sources.take(|users| {
            let client = users.take(|clients| (clients.pop_front(), clients.is_empty()));
            (client.flatten(), users.turns.is_empty())
        });
        let client = client.flatten();
        self.len -= usize::from(client.is_some());
        client
    }
}

/// The source that an address counts as. For IPv6 it is the /64 network, because one host may use
/// all of its addresses.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The priority class of a login, the first one first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoginClass {
    /// The credential is in use by clients.
    Known = 0,
    /// The last login of this user succeeded.
    Familiar = 1,
    New = 2,
    /// The client's last login was refused.
    Refused = 3,
    /// The client has hung up or sent FIN.
    Left = 4,
}

impl Logins {
    pub(crate) fn is_familiar(&self, user: &[u8]) -> bool {
        self.familiar.contains(user)
    }

    /// Records the outcome of a user's login. When too many users are remembered, all are
    /// forgotten.
    pub(crate) fn note(&mut self, user: &[u8], good: bool) {
        if !good {
            self.familiar.remove(user);
        } else if user.len() <= FAMILIAR_BYTES_MAX && !self.is_familiar(user) {
            if self.familiar.len() >= FAMILIAR_MAX {
                self.familiar.clear();
            }
            self.familiar.insert(user.into());
        }
    }

    fn len(&self) -> usize {
        self.waiting.iter().map(|queue| queue.len).sum()
    }

    pub(crate) fn wants_verifier(&self) -> bool {
        self.len() > self.opening && self.verifiers < VERIFIERS_MAX
    }

    pub(crate) fn wants_token(&self) -> bool {
        !self.openers.is_empty() || !self.lost.is_empty() || self.wants_verifier()
    }
}

/// The tokens for opening links, and the ring of instances that wait for one.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Tokens per second.
    rate: u32,
    pub(super) left: u32,
    /// The time up to which tokens were added.
    at: Millis,
    pub(super) ring: VecDeque<InstanceKey>,
}

impl Tokens {
    /// The tokens of one second, which is the maximum.
    pub(crate) fn full(rate: u32) -> Self {
        // With a rate of 0, no client could log in.
        let rate = rate.max(1);
        Self {
            rate,
            left: rate,
            ..Self::default()
        }
    }

    /// Adds the tokens that have accrued, up to those of one second.
    pub(crate) fn refill(&mut self, now: Millis) {
        let rate = u64::from(self.rate);
        let new = now.since(self.at) * rate / 1_000;
        if new == 0 {
            return;
        }
        let left = (u64::from(self.left) + new).min(rate);
        self.left = u32::try_from(left).unwrap_or(u32::MAX);
        // A fraction of a token is kept, unless the maximum is reached.
        self.at = match left == rate {
            true => now,
            false => self.at.after(new * 1_000 / rate),
        };
    }

    /// When the next token accrues, if any instance waits for one.
    pub(crate) fn due(&self) -> Option<Millis> {
        let next = self.at.after(1_000_u64.div_ceil(u64::from(self.rate)));
        (!self.ring.is_empty()).then_some(next)
    }
}
