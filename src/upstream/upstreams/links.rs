//! The links of instances and pools: their life, their addresses, and how many there are.

use std::net::SocketAddr;

use crate::command::Permission;
use crate::link::handshake::{Handshake, HandshakeDone};
use crate::link::link::Link;
use crate::link::role::{Listed, Role};
use crate::resp::Protocol;
use crate::store::key::{AccessKey, ClientKey, InstanceKey, LinkKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::pool::Pool;
use crate::upstream::upstreams::Upstreams;

/// A server is asked again which of its commands may block when a link is opened this long after
/// the last time, ms: a module may have been loaded.
const LEARN_AGAIN_MS: u64 = 60_000;

/// The least time for each of several addresses, ms.
const ADDRESS_MS_MIN: u64 = 250;

/// The life of a link.
impl Upstreams {
    /// A link to an instance is started: a verifier, or one of a pool. Returns the address to
    /// connect to, if the name resolves.
    pub(crate) fn begin_link(&mut self, of: InstanceKey, role: Role) -> Option<Option<SocketAddr>> {
        let instance = self.instances.get_mut(of)?;
        instance.connecting += 1;
        match role {
            Role::Login => {
                instance.logins.verifiers += 1;
                instance.logins.opening += 1;
            }
            _ => instance.connections += 1,
        }
        Some(instance.address(0))
    }

    /// A link is no longer connecting.
    pub(crate) fn link_opened(&mut self, of: InstanceKey) {
        if let Some(instance) = self.instances.get_mut(of) {
            instance.connecting -= 1;
        }
    }

    /// The first flight of a link of a pool.
    pub(crate) fn handshake(&self, link: &Link, now: Millis) -> Option<Handshake> {
        let pool = self.pools.get(link.pool)?;
        let credential = self.account_at(link.pool)?.credential.clone();
        let learn = self.is_to_learn(link.instance, now);
        Some(Handshake::new(credential, pool.protocol, pool.db, learn))
    }

    /// Should this server be asked which of its commands may block?
    pub(super) fn is_to_learn(&self, instance: InstanceKey, now: Millis) -> bool {
        let asked = self.instances.get(instance).and_then(|it| it.asked_at);
        asked.is_none_or(|at| now.since(at) >= LEARN_AGAIN_MS)
    }

    /// The handshake of a link took this long, ms. Returns the shortest time for its instance.
    pub(crate) fn handshake_took(&mut self, of: InstanceKey, ms: u64) -> u64 {
        self.instances.get_mut(of).map_or(ms, |instance| {
            instance.handshake_ms = instance.handshake_ms.min(ms);
            instance.handshake_ms
        })
    }

    /// The handshake of a link of this pool succeeded. Returns the clients that waited for it.
    pub(crate) fn link_ready(
        &mut self,
        (of, pool): (InstanceKey, PoolKey),
        greeted: HandshakeDone,
        now: Millis,
    ) -> Vec<ClientKey> {
        if let Some(instance) = self.instances.get_mut(of) {
            instance.ready += 1;
            instance.dialect = greeted.hello.dialect();
        }
        if let Some(learned) = greeted.learned {
            self.learn(of, learned, now);
        }
        self.accept(self.access_key(pool));
        let Some(pool) = self.pools.get_mut(pool) else {
            return Vec::new();
        };
        pool.hello = Some(greeted.hello);
        if greeted.selected {
            pool.permits.add(Permission::Select, now);
        }
        std::mem::take(&mut pool.waiters)
    }

    /// A link was removed from the table.
    pub(crate) fn link_ended(&mut self, key: LinkKey, link: &Link) {
        self.lose_question(link.instance, key);
        self.unlist(link.pool, key, link.role());
        self.end_check(link.instance, key);
        if let Some(instance) = self.instances.get_mut(link.instance) {
            instance.ready -= u32::from(link.is_ready());
            instance.connecting -= u32::from(link.is_opening());
            instance.connections -= u32::from(!link.is_verifier());
            instance.traffic.add(&link.traffic);
        }
    }

    /// Updates a pool's lists after a link changed its role.
    pub(crate) fn list(&mut self, pool: PoolKey, key: LinkKey, before: Role, role: Role) {
        // A link that stays in the same list keeps its position.
        if before.listed() != role.listed() || before.listed() == Listed::Nowhere {
            self.unlist(pool, key, before);
            self.enlist(pool, key, role);
        }
    }

    /// Adds a link to its pool's lists and counts.
    pub(crate) fn enlist(&mut self, pool: PoolKey, key: LinkKey, role: Role) {
        let of = self.instance_of(pool);
        if let Some(pool) = self.pools.get_mut(pool) {
            match role.listed() {
                Listed::Shared => pool.links.push(key),
                Listed::Idle => pool.idle.push(key),
                Listed::Nowhere => {}
            }
            pool.dedicated += usize::from(role.counts_as_dedicated());
            pool.borrowed += usize::from(matches!(role, Role::Borrowed(_)));
        }
        // A client of another pool may wait for this link to be closed for it.
        if role == Role::Idle
            && self.any_queued()
            && let Some(instance) = of.and_then(|of| self.instances.get_mut(of))
        {
            instance.all_used_at = None;
        }
    }

    /// Removes a link from its pool's lists and counts.
    pub(crate) fn unlist(&mut self, pool: PoolKey, key: LinkKey, role: Role) {
        if let Some(pool) = self.pools.get_mut(pool) {
            match role.listed() {
                Listed::Shared => pool.links.retain(|&other| other != key),
                Listed::Idle => pool.idle.retain(|&other| other != key),
                Listed::Nowhere => {}
            }
            pool.dedicated -= usize::from(role.counts_as_dedicated());
            pool.borrowed -= usize::from(matches!(role, Role::Borrowed(_)));
        }
    }
}

/// Addresses.
impl Upstreams {
    /// The timeout of one of an instance's addresses, ms: they share the connect timeout.
    pub(crate) fn connect_ms(&self, of: InstanceKey) -> u64 {
        let all = self.rules.connect_ms;
        let addresses = self.instances.get(of).map_or(0, |it| it.addresses.len());
        (all / addresses.max(1) as u64).max(ADDRESS_MS_MIN).min(all)
    }

    /// The address for the next attempt to connect, after `tried` others.
    pub(crate) fn next_address(&self, of: InstanceKey, tried: usize) -> Option<SocketAddr> {
        self.instances.get(of)?.address(tried)
    }

    /// A link to this address works, or not: the next attempt begins there, or behind it.
    pub(crate) fn prefer(&mut self, of: InstanceKey, address: Option<SocketAddr>, works: bool) {
        if let Some(instance) = self.instances.get_mut(of) {
            instance.prefer(address, works);
        }
    }

    /// Is this one of the instance's addresses? See `Instance::is_at`.
    pub(crate) fn is_at(&self, key: InstanceKey, address: Option<SocketAddr>) -> bool {
        self.instances.get(key).is_some_and(|it| it.is_at(address))
    }

    /// Do new clients use the links of this instance to this address?
    pub(super) fn is_in_use(&self, key: InstanceKey, address: Option<SocketAddr>) -> bool {
        let instance = self.instances.get(key);
        instance.is_some_and(|it| !it.gone && it.is_at(address))
    }

    /// Did the addresses of an instance change within the grace period?
    pub(crate) fn has_moved(&self, key: InstanceKey) -> bool {
        self.instances
            .get(key)
            .is_some_and(|it| it.moved_at.is_some())
    }
}

/// How many links there are.
impl Upstreams {
    /// The links of an instance, verifiers apart.
    pub(crate) fn connections(&self, of: InstanceKey) -> u32 {
        self.instances.get(of).map_or(0, |it| it.connections)
    }

    /// Has this instance as many links as it may have?
    pub(crate) fn is_full(&self, of: InstanceKey) -> bool {
        self.connections(of) >= self.rules.instance_connections_max
    }

    /// The links of a pool that clients share.
    pub(crate) fn shared_links(&self, pool: PoolKey) -> &[LinkKey] {
        self.pools.get(pool).map_or(&[], |pool| &pool.links)
    }

    /// The number of [shared links](Self::shared_links), those that one client has borrowed
    /// included. `None`: the pool is gone.
    pub(crate) fn pool_size(&self, pool: PoolKey) -> Option<usize> {
        self.pools.get(pool).map(Pool::shared)
    }

    /// Is any link of a pool borrowed?
    pub(crate) fn any_borrowed(&self, pool: PoolKey) -> bool {
        self.pools.get(pool).is_some_and(|pool| pool.borrowed > 0)
    }

    /// The links of a pool that no client has and none shares, the last one first.
    pub(crate) fn idle_links(&self, pool: PoolKey) -> &[LinkKey] {
        self.pools.get(pool).map_or(&[], |pool| &pool.idle)
    }

    /// The idle and the shared links of all databases of an account on an instance.
    pub(crate) fn links_of(
        &self,
        access: AccessKey,
        protocol: Protocol,
    ) -> impl Iterator<Item = LinkKey> {
        let pools = { self.access.get(access) }
            .into_iter()
            .flat_map(|it| &it.pools);
        let pools = pools.filter_map(|&pool| self.pools.get(pool));
        let pools = pools.filter(move |pool| pool.protocol == protocol);
        pools.flat_map(|pool| pool.idle.iter().chain(&pool.links).copied())
    }

    /// The idle and the shared links of a pool.
    pub(crate) fn links_of_pool(&self, pool: PoolKey) -> Vec<LinkKey> {
        let pool = self.pools.get(pool);
        pool.map_or_else(Vec::new, |pool| [&pool.links[..], &pool.idle[..]].concat())
    }
}
