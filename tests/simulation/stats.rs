//! Stats: the stats of a machine must agree with the world at any time.

use elika::cluster::{Health, TenantKey};
use elika::proxy::{ClientStats, InstanceStats, PinReason, StatsRequest, TenantStats, WorkerStats};

use super::client::{Client, Op};
use super::world::World;

impl World {
    /// Collects the stats of a worker.
    pub(crate) fn collect_stats(&mut self, node: usize) -> Result<(), String> {
        // Pending work is in its records.
        self.actions(node)?;
        let tenant = self.rng.below(self.tenants.len() + 1);
        let tenant = self.tenants.get(tenant).map(|tenant| tenant.key.clone());
        let most = *self.rng.pick(&[0, 1, 3, 100, 100]);
        for wanted in [
            StatsRequest::Metrics,
            StatsRequest::Clients(most, tenant.clone()),
            StatsRequest::Pools,
        ] {
            let stats = self.nodes[node].machine.collect_stats(&wanted);
            self.check_totals(node, &stats)?;
            let right = match wanted {
                StatsRequest::Metrics => self.check_numbers(node, &stats),
                StatsRequest::Clients(..) => {
                    self.check_clients(node, &stats, most, tenant.as_ref())
                }
                StatsRequest::Pools => self.check_pools(node, &stats),
            };
            right.map_err(|why| format!("worker {node} told {why}"))?;
        }
        Ok(())
    }

    fn check_totals(&self, node: usize, stats: &WorkerStats) -> Result<(), String> {
        let known = &self.nodes[node];
        // Connections to a name that does not resolve are not started.
        let nameless = self.plan.stir.resolve > 0 && stats.backend_count > known.links.len();
        let right = stats.client_count == known.clients.len()
            && (stats.backend_count == known.links.len() || nameless)
            && stats.outbound_bytes == known.machine.outbound_bytes()
            && stats.worker == node as u16;
        match right {
            true => Ok(()),
            false => Err(format!(
                "worker {node} has {} clients and {} links: {stats:?}",
                known.clients.len(),
                known.links.len()
            )),
        }
    }

    /// Requests of this worker's clients that may be in flight.
    fn outstanding(&self, node: usize) -> u64 {
        let its = self.clients.iter().filter(|client| client.worker == node);
        let pending = its.flat_map(|client| &client.pending);
        let weight = |op: &Op| match op {
            Op::Subscribe { channels, .. } | Op::Unsubscribe { channels, .. } => {
                channels.len().max(1)
            }
            _ => 1,
        };
        pending.map(|sent| weight(&sent.op) as u64).sum()
    }

    fn check_numbers(&self, node: usize, stats: &WorkerStats) -> Result<(), String> {
        let all = &stats.instances;
        let clients: u32 = all.iter().map(|it| it.clients).sum();
        let connections = all
            .iter()
            .map(|it| it.shared + it.dedicated + it.idle + it.opening + it.verifying);
        let connections: u32 = connections.sum();
        let in_flight: u64 = all.iter().map(|it| it.in_flight).sum();
        let waiting: u32 = all.iter().map(|it| it.waiting).sum();
        let pinned: u32 = all.iter().flat_map(|it| it.pinned).sum();
        // A client that moves waits for a login that it has not sent.
        let outstanding = self.outstanding(node) + u64::from(clients);
        if clients as usize > stats.client_count
            || connections as usize != stats.backend_count
            || in_flight > outstanding && self.silent == 0
            || waiting > clients
            || pinned > clients
        {
            return Err(format!(
                "numbers that do not fit, {outstanding} requests: {stats:?}"
            ));
        }
        all.iter()
            .try_for_each(|it| self.check_instance(node, it))?;
        stats
            .tenants
            .iter()
            .try_for_each(|it| self.check_tenant(it))
    }

    /// The machine has reported every change of its health.
    fn check_instance(&self, node: usize, stats: &InstanceStats) -> Result<(), String> {
        let (tenant, id) = (stats.tenant.as_str(), stats.id.as_str());
        let told = { self.told.iter().rev() }
            .find(|told| (told.node, &*told.tenant, &*told.instance) == (node, tenant, id));
        let server = { self.servers.iter() }
            .find(|it| it.tenant_key == stats.tenant && it.instance == id)
            .ok_or("an instance that there never was")?;
        let Some(told) = told else {
            return match stats.health {
                Health::Unknown => Ok(()),
                _ => Err(format!("nobody of this: {stats:?}")),
            };
        };
        // An instance that is not listed for a while may be forgotten.
        let stayed = { self.view().since(told.at) }.all(|it| it.is_usable(server));
        match stayed && told.health != stats.health {
            true => Err(format!("{told:?}, and now {stats:?}")),
            false => Ok(()),
        }
    }

    fn check_tenant(&self, stats: &TenantStats) -> Result<(), String> {
        let tenant = self.tenants.iter().position(|it| it.key == stats.key);
        let tenant = tenant.ok_or("a tenant that there never was")?;
        let now = self.now;
        let mut pauses = self.tenants[tenant].pauses.iter();
        let paused = pauses.clone().any(|pause| {
            // It may have been forgotten with its pause.
            pause.holds(now) && self.view().knows(tenant, pause.from)
        });
        let may_be_paused = pauses.any(|pause| pause.since(now));
        let right = if stats.paused { may_be_paused } else { !paused };
        let unlimited = self.plan.limited || stats.refused.iter().all(|n| *n == 0);
        let waiting = stats.waiting <= self.plan.settings.paused_clients_max;
        match right && unlimited && waiting {
            true => Ok(()),
            false => Err(format!("{stats:?}")),
        }
    }

    fn check_clients(
        &self,
        node: usize,
        stats: &WorkerStats,
        most: usize,
        tenant: Option<&TenantKey>,
    ) -> Result<(), String> {
        let all = if tenant.is_none() {
            stats.client_count
        } else {
            0
        };
        if stats.clients.len() > most || stats.clients.len() < all.min(most) {
            return Err(format!("{} clients, not {most}", stats.clients.len()));
        }
        for it in &stats.clients {
            let client = self.clients.get((it.id as usize).wrapping_sub(1));
            let client = client.filter(|client| client.worker == node && !client.hung_up);
            let client = client.ok_or_else(|| format!("{it:?}, who is not there"))?;
            if it.outbound_bytes > self.plan.settings.client_outbound_bytes_max {
                return Err(format!("{it:?}, who should have been closed"));
            }
            if tenant.is_some() && it.tenant.as_ref() != tenant {
                return Err(format!("{it:?}, for whom nobody asked"));
            }
            if client.is_settled() {
                let right = self.is_told(client, it);
                right.map_err(|what| format!("{what} of {it:?}, which is {:?}", client.model))?;
            }
        }
        Ok(())
    }

    /// Whether the stats of a client without requests in flight are correct.
    fn is_told(&self, client: &Client, it: &ClientStats) -> Result<(), &'static str> {
        let (model, view) = (&client.model, self.view());
        let servers = model.servers(self.now, &view);
        let stays = servers.len() == 1;
        let key = model.tenant(&view).map(|tenant| &view.tenants[tenant].key);
        let logged_in = model.login.is_some();
        // A client that has never sent a request, or moves, has no instance at the moment.
        let tenant = it.tenant.as_ref() == key || !logged_in && it.tenant.is_none();
        let user = it.user == model.user() || !logged_in && it.user.is_empty();
        let place = it.instance.as_ref().map(|id| id.as_str());
        let place = !stays || place.is_none_or(|id| servers[0].instance == id);
        let idle = it.in_flight == 0 || !stays;
        // A push may arrive at any time.
        let hears = model.is_subscribed() || model.tracking;
        // A client whose instance was removed is draining.
        let grace = view.plan.settings.offline_grace_ms;
        let leaves = (model.left_for(self.now, &view)).is_some_and(|ms| ms >= grace);
        let pinned = it.pinned.is_some() == model.holds() || leaves;
        let odd = matches!(it.pinned, Some(PinReason::Blocked | PinReason::Other));
        let checks = [
            (tenant, "a wrong tenant"),
            (user, "a wrong user"),
            (place, "a wrong instance"),
            (it.name == model.name, "a wrong name"),
            (it.db == model.db, "a wrong database"),
            (it.protocol == model.protocol, "a wrong protocol"),
            (idle, "requests"),
            (it.outbound_bytes == 0 || hears, "bytes"),
            (pinned, "a wrong pin"),
            (!odd || model.no_touch(), "a wrong reason"),
        ];
        match checks.iter().find(|(right, _)| !right) {
            Some((_, what)) => Err(what),
            None => Ok(()),
        }
    }

    fn check_pools(&self, node: usize, stats: &WorkerStats) -> Result<(), String> {
        let all = &stats.pools;
        let clients: u32 = all.iter().map(|pool| pool.clients).sum();
        let connections: usize = all
            .iter()
            .map(|it| it.shared + it.dedicated + it.idle)
            .sum();
        let in_flight: u64 = all.iter().map(|it| it.in_flight).sum();
        let waiting: usize = all.iter().map(|it| it.waiting).sum();
        if clients as usize > stats.client_count
            || connections > stats.backend_count
            || in_flight > self.outstanding(node) + u64::from(clients) && self.silent == 0
            || waiting > clients as usize
        {
            return Err(format!("pools that do not fit: {stats:?}"));
        }
        Ok(())
    }
}
