//! Fills in a [`WorkerStats`] by walking the tables once, when stats are requested.

use std::collections::HashMap;

use crate::cluster::TenantKey;

use crate::dedicated::pin::Pin;
use crate::link::role::Role;
use crate::proxy::machine::Machine;
use crate::session::client::Client;
use crate::stats::worker_stats::{
    ClientStats, InstanceStats, PinReason, PoolStats, StatsRequest, WorkerStats,
};
use crate::store::key::{ClientKey, PoolKey};

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
                stats.tenants = self.upstreams.tenants_stats();
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
        let mut found = self.upstreams.instances_stats(self.now);
        for (_, link) in self.links.iter() {
            let Some(of) = found.get_mut(&link.instance) else {
                continue;
            };
            of.traffic.add(&link.traffic);
            match link.role() {
                _ if link.is_opening() => of.opening += 1,
                Role::Login => of.verifying += 1,
                Role::Idle => of.idle += 1,
                role if role.is_dedicated() => of.dedicated += 1,
                _ => of.shared += 1,
            }
        }
        for (key, client) in self.clients.iter() {
            let instance = self.upstreams.instance_of(client.pool);
            let Some(of) = instance.and_then(|it| found.get_mut(&it)) else {
                continue;
            };
            of.in_flight += u64::from(client.in_flight);
            let reason = client.pin().map(|pin| self.pin_reason(key, pin));
            if let Some(count) = reason.and_then(|it| of.pinned.get_mut(it as usize)) {
                *count += 1;
            }
        }
        found.into_values().collect()
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

    /// Does a client belong to this tenant? `None` stands for all tenants.
    fn is_of(&self, client: &Client, tenant: Option<&TenantKey>) -> bool {
        let its = self.tenant_of_client(client);
        tenant.is_none_or(|tenant| its == Some(tenant))
    }

    fn client_stats(&self, key: ClientKey, client: &Client) -> Option<ClientStats> {
        let account = client.account();
        let user = (self.upstreams.has_account(account)).then(|| self.upstreams.user(account));
        let place = self.upstreams.cluster_of(client.pool);
        Some(ClientStats {
            id: client.id,
            peer: client.addresses().0,
            tenant: self.tenant_of_client(client).cloned(),
            instance: place.map(|(_, id)| id.clone()),
            user: user.map(text).unwrap_or_default(),
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
        self.upstreams.pools_stats(&in_flight, self.now)
    }

    fn tenant_of_client(&self, client: &Client) -> Option<&TenantKey> {
        let slot = self.upstreams.tenant_of_account(client.account());
        self.upstreams.tenant_key(slot)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
