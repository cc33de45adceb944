//! Stats of tenants, instances and pools.

use std::collections::{BTreeMap, HashMap};

use crate::cluster::{InstanceId, TenantKey};
use crate::command::client::Dialect;
use crate::stats::worker_stats::{InstanceStats, PinReason, PoolStats, TenantStats};
use crate::store::key::{InstanceKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::instance::Instance;
use crate::upstream::tenant::Use;
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// The tenant, the id and the address of an instance.
    pub(crate) fn describe(&self, key: InstanceKey) -> Option<(&TenantKey, &InstanceId, &str)> {
        let instance = self.instances.get(key)?;
        Some((&instance.tenant, &instance.id, &instance.address_text))
    }

    /// The tenant and the id of the instance of a pool.
    pub(crate) fn cluster_of(&self, pool: PoolKey) -> Option<(&TenantKey, &InstanceId)> {
        let instance = self.instance_at(pool)?;
        Some((&instance.tenant, &instance.id))
    }

    /// How the version of a pool's server shows clients.
    pub(crate) fn dialect_of(&self, pool: PoolKey) -> Dialect {
        self.instance_at(pool)
            .map_or_else(Dialect::default, |instance| instance.dialect)
    }

    /// Counts a client of this pool that is closed at a limit.
    pub(crate) fn count_eviction(&mut self, pool: PoolKey) {
        let instance = self.instance_of(pool);
        if let Some(instance) = instance.and_then(|key| self.instances.get_mut(key)) {
            instance.evictions += 1;
        }
    }

    /// The stats of all instances, without those of their links and clients.
    pub(crate) fn instances_stats(&self, now: Millis) -> BTreeMap<InstanceKey, InstanceStats> {
        let instances = self.instances.iter();
        let mut found: BTreeMap<InstanceKey, InstanceStats> = BTreeMap::new();
        found.extend(instances.map(|(key, instance)| (key, instance_stats(instance))));
        for (_, pool) in self.queues.keys() {
            let of = self.instance_of(pool);
            if let Some(of) = of.and_then(|it| found.get_mut(&it)) {
                let (waiting, longest_ms) = self.waits_of(pool, now);
                of.waiting += u32::try_from(waiting).unwrap_or(u32::MAX);
                of.oldest_wait_ms = of.oldest_wait_ms.max(longest_ms);
            }
        }
        found
    }

    pub(crate) fn tenants_stats(&self) -> Vec<TenantStats> {
        let tenants = self.tenants.iter();
        tenants
            .map(|(_, tenant)| TenantStats {
                key: tenant.key.clone(),
                paused: tenant.paused_until.is_some(),
                waiting: tenant.used(Use::Waiting),
                dedicated: tenant.used(Use::Pinned),
                refused: tenant.refused,
            })
            .collect()
    }

    /// The stats of all pools; their clients have these numbers of requests in flight.
    pub(crate) fn pools_stats(
        &self,
        in_flight: &HashMap<PoolKey, u64>,
        now: Millis,
    ) -> Vec<PoolStats> {
        let all = self.pools.iter().filter_map(|(key, _)| {
            let in_flight = in_flight.get(&key).copied();
            self.pool_stats(key, in_flight.unwrap_or_default(), now)
        });
        all.collect()
    }

    fn pool_stats(&self, key: PoolKey, in_flight: u64, now: Millis) -> Option<PoolStats> {
        let pool = self.pools.get(key)?;
        let (waiting, oldest_wait_ms) = self.waits_of(key, now);
        let access = self.access.get(pool.access)?;
        let account = self.accounts.get(access.account)?;
        let instance = self.instances.get(access.instance)?;
        Some(PoolStats {
            tenant: instance.tenant.clone(),
            instance: instance.id.clone(),
            user: String::from_utf8_lossy(account.name()).into_owned(),
            db: pool.db,
            protocol: pool.protocol.number(),
            clients: pool.clients,
            shared: pool.links.len(),
            dedicated: pool.dedicated - pool.idle.len(),
            idle: pool.idle.len(),
            in_flight,
            waiting,
            oldest_wait_ms,
        })
    }
}

fn instance_stats(instance: &Instance) -> InstanceStats {
    InstanceStats {
        tenant: instance.tenant.clone(),
        id: instance.id.clone(),
        address: instance.address_text.clone(),
        listed: !instance.gone,
        health: instance.health,
        reason: instance.reason.clone(),
        clients: instance.clients,
        in_flight: 0,
        pinned: [0; PinReason::ALL.len()],
        waiting: 0,
        oldest_wait_ms: 0,
        shared: 0,
        dedicated: 0,
        idle: 0,
        opening: 0,
        verifying: 0,
        evictions: instance.evictions,
        traffic: instance.traffic,
    }
}
