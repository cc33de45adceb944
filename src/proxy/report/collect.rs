//! Fills in a [`WorkerStats`] by walking the tables once, when stats are requested.

use std::collections::{BTreeMap, HashMap};

use crate::cluster::TenantKey;

use crate::dedicated::pin::Pin;
use crate::link::role::Role;
use crate::proxy::machine::Machine;
use crate::session::client::Client;
use crate::stats::worker_stats::{
    ClientStats, InstanceStats, PinReason, PoolStats, StatsRequest, TenantStats, WorkerStats,
};
use crate::store::key::{ClientKey, InstanceKey, PoolKey};
use crate::upstream::instance::Instance;
use crate::upstream::pool::Pool;
use crate::upstream::tenant::{Tenant, Use};

impl Machine {
    /// Collects the stats of this worker.
    pub fn collect_stats(&self, wanted: &StatsRequest) -> WorkerStats {
        let mut stats = WorkerStats {
            worker: self.settings.worker,
            counters: self.stats.counters,
            client_count: self.clients.len(),
            backend_count: self.links.len(),
            outbound_bytes: self.outbound_bytes(),
            ..WorkerStats::default()
        };
        match wanted {
            StatsRequest::Metrics => {
                stats.instances = self.instances_stats();
                stats.tenants = self.tenants_stats();
            }
            StatsRequest::Clients(max, tenant) => {
                let all = self.clients.iter();
                let wanted = all.filter(|(_, it)| self.is_of(it, tenant.as_ref()));
                let wanted = wanted.filter_map(|(key, it)| self.client_stats(key, it));
                stats.clients = wanted.take(*max).collect();
            }
            StatsRequest::Pools => stats.pools = self.pools_stats(),
        }
        stats
    }

    fn instances_stats(&self) -> Vec<InstanceStats> {
        let instances = self.upstreams.instances.iter();
        let mut found: BTreeMap<InstanceKey, InstanceStats> = BTreeMap::new();
        found.extend(instances.map(|(key, instance)| (key, begin(instance))));
        for (_, link) in self.links.iter() {
            let Some(of) = found.get_mut(&link.instance) else {
                continue;
            };
            of.traffic.add(&link.traffic);
            match link.role() {
                _ if link.is_opening() => of.opening += 1,
                Role::Login => of.verifying += 1,
                Role::Idle => of.idle += 1,
                role if role.is_dedicated() => of.own += 1,
                _ => of.shared += 1,
            }
        }
        for (key, client) in self.clients.iter() {
            let access = self.upstreams.access_of(client.pool);
            let Some(of) = access.and_then(|it| found.get_mut(&it.instance)) else {
                continue;
            };
            of.in_flight += u64::from(client.in_flight);
            let reason = client.pin().map(|pin| self.pin_reason(key, pin));
            if let Some(count) = reason.and_then(|it| of.pinned.get_mut(it as usize)) {
                *count += 1;
            }
        }
        for (_, pool) in self.upstreams.pools.iter() {
            let access = self.upstreams.access.get(pool.access);
            if let Some(of) = access.and_then(|it| found.get_mut(&it.instance)) {
                of.waiting += u32::try_from(pool.queue.len()).unwrap_or(u32::MAX);
                of.oldest_wait_ms = of.oldest_wait_ms.max(self.oldest_wait_ms(pool));
            }
        }
        found.into_values().collect()
    }

    fn oldest_wait_ms(&self, pool: &Pool) -> u64 {
        let waits = pool.queue.iter().map(|turn| self.now.since(turn.since));
        waits.max().unwrap_or_default()
    }

    fn pin_reason(&self, key: ClientKey, pin: &Pin) -> PinReason {
        if pin.monitor {
            PinReason::Monitor
        } else if pin.subscriptions() > 0 {
            PinReason::Subscribed
        } else if pin.tracking.is_some() {
            PinReason::Tracking
        } else if pin.multi || !pin.watched.is_empty() {
            PinReason::Transaction
        } else if self.is_blocked(key) {
            PinReason::Blocked
        } else {
            PinReason::Other
        }
    }

    fn tenants_stats(&self) -> Vec<TenantStats> {
        let tenants = self.upstreams.tenants.iter();
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

    /// Does a client belong to this tenant? `None` stands for all tenants.
    fn is_of(&self, client: &Client, tenant: Option<&TenantKey>) -> bool {
        let its = self.tenant_of_client(client);
        tenant.is_none_or(|tenant| its.is_some_and(|it| it.key == *tenant))
    }

    fn client_stats(&self, key: ClientKey, client: &Client) -> Option<ClientStats> {
        let account = self.upstreams.accounts.get(client.account());
        let instance = self.upstreams.instance_of_pool(client.pool);
        let user = account.map(|account| text(account.name()));
        Some(ClientStats {
            id: client.id,
            peer: client.ends().0,
            tenant: self.tenant_of_client(client).map(|it| it.key.clone()),
            instance: instance.map(|it| it.id.clone()),
            user: user.unwrap_or_default(),
            name: text(client.name()),
            db: client.db,
            protocol: client.protocol.number(),
            age_seconds: self.now.since_tenths(client.opened) / 1000,
            idle_seconds: self.now.since_tenths(client.active) / 1000,
            in_flight: client.in_flight,
            outbound_bytes: client.unread_bytes(),
            kept_bytes: client.kept_bytes(),
            pinned: client.pin().map(|pin| self.pin_reason(key, pin)),
            command: text(&client.command.shown()),
        })
    }

    fn pools_stats(&self) -> Vec<PoolStats> {
        let mut in_flight: HashMap<PoolKey, u64> = HashMap::new();
        for (_, client) in self.clients.iter() {
            *in_flight.entry(client.pool).or_default() += u64::from(client.in_flight);
        }
        let all = self.upstreams.pools.iter();
        let all = all.filter_map(|(key, pool)| {
            let in_flight = in_flight.get(&key).copied();
            self.pool_stats(pool, in_flight.unwrap_or_default())
        });
        all.collect()
    }

    fn pool_stats(&self, pool: &Pool, in_flight: u64) -> Option<PoolStats> {
        let access = self.upstreams.access.get(pool.access)?;
        let account = self.upstreams.accounts.get(access.account)?;
        let instance = self.upstreams.instances.get(access.instance)?;
        Some(PoolStats {
            tenant: instance.tenant.clone(),
            instance: instance.id.clone(),
            user: text(account.name()),
            db: pool.db,
            protocol: pool.protocol.number(),
            clients: pool.clients,
            shared: pool.links.len(),
            own: pool.dedicated - pool.idle.len(),
            idle: pool.idle.len(),
            in_flight,
            waiting: pool.queue.len(),
            oldest_wait_ms: self.oldest_wait_ms(pool),
        })
    }

    fn tenant_of_client(&self, client: &Client) -> Option<&Tenant> {
        let slot = self.upstreams.tenant_of_account(client.account());
        self.upstreams.tenants.get(slot)
    }
}

fn begin(instance: &Instance) -> InstanceStats {
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
        own: 0,
        idle: 0,
        opening: 0,
        verifying: 0,
        evictions: instance.evictions,
        traffic: instance.traffic,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
