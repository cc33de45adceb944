//! The reports of the machines: changes of health as they happen, and stats on request. Both must
//! agree with the world.

use elika::cluster::Health;
use elika::proxy::{HealthChange, HealthEvent, StatsRequest};

use super::redis::Moment;
use super::world::World;

/// A change of an instance's health that a worker has reported.
#[derive(Clone, Debug)]
pub(crate) struct HealthReport {
    pub(crate) node: usize,
    pub(crate) tenant: String,
    pub(crate) instance: String,
    pub(crate) health: Health,
    pub(crate) at: Moment,
}

impl World {
    /// A worker reports a change: it must be new and have a reason.
    pub(crate) fn check_report(&mut self, node: usize, report: HealthEvent) -> Result<(), String> {
        let HealthEvent {
            instance, tenant, ..
        } = &report;
        let health = match &report.change {
            HealthChange::Up => Health::Up,
            HealthChange::Degraded(_) => Health::Degraded,
            HealthChange::Down(_) => Health::Down,
            HealthChange::ProtocolError(_) | HealthChange::Revoked(_) => return Ok(()),
        };
        let servers = self
            .servers
            .iter()
            .filter(|server| server.tenant_key.as_str() == tenant && server.instance == *instance);
        let before = self.told.iter().rev();
        let before =
            { before }.find(|it| (it.node, &it.tenant, &it.instance) == (node, tenant, instance));
        // An instance that was removed meanwhile may have been forgotten.
        let stayed = before.is_none_or(|told| {
            let mut snapshots = self.view().since(told.at);
            snapshots.all(|it| servers.clone().all(|server| it.is_usable(server)))
        });
        if stayed && before.is_some_and(|told| told.health == health) {
            return Err(format!("worker {node} told before: {report:?}"));
        }
        let checks = self.plan.settings.check_ms > 0;
        let right = match &report.change {
            HealthChange::Degraded(why) if why.contains("to a check within") => checks,
            HealthChange::Degraded(why) => {
                let mut spells = servers.flat_map(|server| &server.spells);
                checks && spells.any(|spell| why.contains(spell.trouble.word()))
            }
            HealthChange::Down(_) => {
                let broken = { self.nodes[node].links.values() }.any(|link| link.garbage);
                broken || { servers }.any(|it| it.is_out(self.now) || it.has_ever_failed())
            }
            HealthChange::Up | HealthChange::ProtocolError(_) | HealthChange::Revoked(_) => true,
        };
        if !right {
            return Err(format!("worker {node} has no reason for {report:?}"));
        }
        let (tenant, instance) = (tenant.clone(), instance.clone());
        self.told.push(HealthReport {
            node,
            tenant,
            instance,
            health,
            at: self.now,
        });
        Ok(())
    }

    /// A phase of the calm: every instance that is listed and checked is healthy.
    pub(crate) fn check_health(&self) -> Result<(), String> {
        if self.plan.settings.check_ms == 0 {
            return Ok(());
        }
        let stats = self.nodes[0].machine.collect_stats(&StatsRequest::Metrics);
        let Some(snapshot) = self.snapshots.last() else {
            return Ok(());
        };
        for instance in &stats.instances {
            let server = self.servers.iter().find(|server| {
                server.tenant_key == instance.tenant
                    && server.instance == instance.id.as_str()
                    && snapshot.is_usable(server)
            });
            // In the calm the clock runs too fast for a short check timeout.
            let slow = instance.reason.contains("to a check within 100 ms");
            if server.is_some() && instance.health != Health::Up && !slow {
                return Err(format!("not well: {instance:?}"));
            }
        }
        Ok(())
    }

    /// A phase of the calm: no client and no connection is at an instance whose grace is over.
    pub(crate) fn check_left(&self) -> Result<(), String> {
        let view = self.view();
        let over = self.plan.settings.offline_grace_ms + 3_000;
        for server in &self.servers {
            if view.left_for(server, self.now, self.now).is_none() {
                continue;
            }
            // A client with a dedicated connection to an old address stays until the grace after
            // the last change is over.
            let same = { self.servers.iter() }
                .filter(|it| (it.tenant, &it.instance) == (server.tenant, &server.instance));
            let left = same.filter_map(|it| view.left_for(it, self.now, self.now));
            let left = left.min();
            if left.is_none_or(|ms| ms < over) {
                continue;
            }
            let mut links = self.nodes.iter().flat_map(|node| node.links.values());
            if let Some(link) = links.find(|link| link.server == server.index) {
                return Err(format!("{left:?} ms after the end there is {link:?}"));
            }
            let newest = self.snapshots.last();
            let instances = self.nodes.iter().flat_map(|node| {
                let stats = node.machine.collect_stats(&StatsRequest::Metrics);
                stats.instances
            });
            for instance in instances {
                let same = server.tenant_key == instance.tenant
                    && server.instance == instance.id.as_str()
                    && newest.is_some_and(|it| !it.is_usable(server));
                if same && instance.clients > 0 {
                    return Err(format!("{left:?} ms after the end there are {instance:?}"));
                }
            }
        }
        Ok(())
    }
}
