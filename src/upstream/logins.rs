//! Logins that wait to be verified, and the tokens for opening connections.
//!
//! A worker opens so many connections a second for logins and for session changes that need one of
//! another pool. Instances that want a token stand in a ring and get one at a time, so that
//! guessing at one tenant costs the logins of another one turn at most. Behind a load balancer all
//! come from one address: there, users whose last login was good go before those that are new.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;

use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey};
use crate::store::time::Millis;

/// Connections of one instance that verify logins at the same time, per worker.
const VERIFIERS_MAX: usize = 16;

/// Between two questions about the credential of a pool that lost its last connection, ms.
pub(crate) const ASK_AGAIN_MS: u64 = 1_000;

/// Users of one instance that are remembered to have logged in well, per worker.
const FAMILIAR_MAX: usize = 256;

/// The longest name of such a user, bytes.
const FAMILIAR_BYTES_MAX: usize = 64;

/// The logins of one instance that wait, and the connections that verify them.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    /// Clients that wait to be verified, by [`Class`].
    pub waiting: [InTurn; 5],
    /// Users whose last login was good.
    familiar: HashSet<Box<[u8]>>,
    /// Clients that wait for a token to open a connection of their pool.
    pub openers: VecDeque<ClientKey>,
    /// Pools that have lost their last link. Each opens one link, which shows whether its
    /// credential is still valid.
    pub(crate) lost: VecDeque<PoolKey>,
    /// Verifiers on which nothing is under way; the last is taken first.
    pub idle: Vec<LinkKey>,
    /// All verifiers.
    pub verifiers: usize,
    /// Those of them that are being opened.
    pub opening: usize,
    /// It has a place in the ring of those that want a token.
    pub(crate) in_ring: bool,
}

/// Clients that wait, by the address that they come from, and those of one address by the user that
/// they want to be: each address has one turn after the other, and there each user. So many who
/// guess keep nobody waiting who comes from elsewhere, nor who is another user behind the same
/// load balancer.
#[derive(Debug, Default)]
pub(crate) struct InTurn {
    sources: Turns<IpAddr, Turns<Box<[u8]>, VecDeque<ClientKey>>>,
    pub(crate) len: usize,
}

/// Queues that have one turn after the other.
#[derive(Debug)]
struct Turns<K, Q> {
    queues: HashMap<K, Q>,
    /// Every queue that is not empty, once.
    turns: VecDeque<K>,
}

impl<K, Q> Default for Turns<K, Q> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, Q: Default> Turns<K, Q> {
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

    /// Takes something out of the queue whose turn it is; the next turn is another's.
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

impl InTurn {
    pub(crate) fn push(&mut self, (from, user): (IpAddr, &[u8]), client: ClientKey) {
        let users = self.sources.queue(source(from));
        users.queue(user.into()).push_back(client);
        self.len += 1;
    }

    /// The client whose turn it is.
    pub(crate) fn front(&self) -> Option<ClientKey> {
        self.sources.front()?.front()?.front().copied()
    }

    /// Takes it out.
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
pub(crate) enum Class {
    /// The credential serves clients at the moment.
    Known = 0,
    /// The last login of this user was good.
    Familiar = 1,
    New = 2,
    /// The client was refused before.
    Refused = 3,
    /// The client has hung up, or ended what it sends.
    Left = 4,
}

impl Logins {
    pub(crate) fn is_familiar(&self, user: &[u8]) -> bool {
        self.familiar.contains(user)
    }

    /// How the last login of a user went. Beyond some, all are forgotten.
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

/// The tokens for opening connections, and the instances that wait for one, in turn.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) left: u32,
    /// Up to when they were handed out.
    at: Millis,
    pub(crate) ring: VecDeque<InstanceKey>,
}

impl Tokens {
    /// As many as there may be in one second.
    pub(crate) fn full(rate: u32) -> Self {
        Self {
            left: rate.max(1),
            ..Self::default()
        }
    }

    /// Adds those of the time gone by: at most those of a second. A rate of 0 would lock everybody
    /// out.
    pub(crate) fn refill(&mut self, rate: u32, now: Millis) {
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
    pub(crate) fn due(&self, rate: u32) -> Option<Millis> {
        let next = self.at.after(1_000_u64.div_ceil(u64::from(rate.max(1))));
        (!self.ring.is_empty()).then_some(next)
    }
}
