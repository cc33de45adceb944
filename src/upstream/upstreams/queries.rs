//! Look-ups and small updates of pools, accesses and instances.

use std::mem;

use crate::cluster::Health;
use crate::command::Permission;
use crate::command::blocking::BlockingCommands;
use crate::store::key::{InstanceKey, LinkKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::account::Account;
use crate::upstream::upstreams::Upstreams;

/// Without a retry for this long, clients that were moved to other links return, ms.
const CALM_MS: u64 = 10_000;

/// The fields of HELLO's reply that a check updates for all later clients.
const TOLD: &[&[u8]] = &[b"role", b"availability_zone"];

impl Upstreams {
    /// Do requests for the pool's instance fail at once? Clients in the wait queue then also wait
    /// for the instance.
    pub(crate) fn is_out(&self, pool_key: PoolKey, now: Millis) -> bool {
        let instance = self.instance_of_pool(pool_key);
        instance.is_some_and(|instance| instance.is_out(now))
    }

    pub(crate) fn tenant_of_pool(&self, pool_key: PoolKey) -> TenantSlot {
        let instance = self.instance_of_pool(pool_key);
        instance.map_or(TenantSlot::NONE, |instance| instance.slot)
    }

    /// When the server of a pool last answered, on any link of this worker.
    pub(crate) fn heard_of(&self, pool: PoolKey) -> Millis {
        let instance = self.instance_of_pool(pool);
        instance.map_or_else(Millis::default, |instance| instance.heard)
    }

    /// Was no request retried on another link of this pool for some time? Then the clients that
    /// were moved to other links return: the fewer links, the more requests share one write.
    pub(crate) fn is_calm(&self, pool: PoolKey, now: Millis) -> bool {
        let pool = self.pools.get(pool);
        pool.is_none_or(|pool| now.since(pool.led_round_at) >= CALM_MS)
    }

    /// Counts a link that became ready, or a ready one that ended.
    pub(crate) fn count_ready(&mut self, instance: InstanceKey, more: bool) {
        if let Some(instance) = self.instances.get_mut(instance) {
            match more {
                true => instance.ready += 1,
                false => instance.ready -= 1,
            }
        }
    }

    /// Remembers which commands of this server may block.
    pub(crate) fn learn(&mut self, key: InstanceKey, learned: BlockingCommands, now: Millis) {
        if let Some(instance) = self.instances.get_mut(key) {
            (instance.asked_at, instance.learned) = (Some(now), learned);
        }
        let mut all = self.instances.iter();
        self.learned_any = all.any(|(_, instance)| !instance.learned.is_empty());
    }

    pub(crate) fn is_degraded(&self, key: InstanceKey) -> bool {
        let instance = self.instances.get(key);
        instance.is_some_and(|instance| instance.health == Health::Degraded)
    }

    /// Ends the check that ran on a closed link.
    pub(crate) fn end_check(&mut self, key: InstanceKey, on: LinkKey) {
        if let Some(instance) = self.instances.get_mut(key)
            && instance.check.is_some_and(|(with, _)| with == on)
        {
            instance.check = None;
        }
    }

    /// Updates the role in the HELLO replies of all pools of the instance.
    pub(crate) fn tell_pools(&mut self, key: InstanceKey, reply: &[u8]) {
        self.with_pools_of(key, |pool| {
            if let Some(hello) = pool.hello.as_ref().and_then(|it| it.adopt(reply, TOLD)) {
                pool.hello = Some(hello);
            }
        });
    }

    /// Is it known that the user of a pool may do this?
    pub(crate) fn permits(&self, pool: PoolKey, what: Permission, now: Millis) -> bool {
        let pool = self.pools.get(pool);
        pool.is_some_and(|pool| pool.permits.have(what, now))
    }

    /// Was the credential of this pool refused a moment ago? Then no connection is opened with it.
    pub(crate) fn is_refused(&self, pool: PoolKey, now: Millis) -> bool {
        let access = self.access_of(pool);
        access.is_some_and(|it| it.is_refused(now)) && { self.account_of(pool) }
            .is_some_and(|it| !it.is_anonymous())
    }

    /// Does the pool's account have a shared link on this instance, or need none, because it is
    /// anonymous or has no clients there?
    pub(crate) fn has_connections(&self, pool: PoolKey) -> bool {
        let anonymous = { self.account_of(pool) }.is_none_or(Account::is_anonymous);
        let access = self.access_of(pool);
        let pools = access.into_iter().flat_map(|access| &access.pools);
        let mut pools = pools.filter_map(|&key| self.pools.get(key));
        let unused = pools.clone().all(|pool| pool.clients == 0);
        anonymous || unused || pools.any(|pool| !pool.links.is_empty())
    }

    pub(crate) fn enter_ring(&mut self, of: InstanceKey) {
        if let Some(instance) = self.instances.get_mut(of)
            && !mem::replace(&mut instance.logins.in_ring, true)
        {
            self.tokens.ring.push_back(of);
        }
    }
}
