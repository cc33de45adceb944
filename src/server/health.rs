//! The health of every instance, from the reports of all workers. The log has one line for each
//! change of an instance's overall health.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cluster::{Health, InstanceId, TenantKey};
use crate::proxy::{HealthChange, HealthEvent};
use crate::resp::Printable;

use super::now;

/// Shortest time between two log lines about closed backend connections.
const INTERVAL: Duration = Duration::from_secs(1);

/// The last reported health of each listed instance, by worker.
#[derive(Debug)]
pub(super) struct HealthTable {
    workers: usize,
    instances: HashMap<TenantKey, HashMap<InstanceId, InstanceHealth>>,
    /// Limits the log lines about backend connections that were closed because of a wrong reply.
    closed_connections: RateLimitedLine,
}

/// A log line that appears at most once per [`INTERVAL`].
#[derive(Debug, Default)]
struct RateLimitedLine {
    last: Option<Instant>,
    suppressed: u64,
}

impl RateLimitedLine {
    /// Whether the line may be logged now; if so, how many were suppressed since the last.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        if since.is_some_and(|since| since < INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }

    /// When the number of suppressed lines is logged if no other line does it before.
    fn suppressed_due(&self) -> Option<Instant> {
        self.last
            .filter(|_| self.suppressed > 0)
            .map(|last| last + INTERVAL)
    }
}

/// Health of one instance.
#[derive(Debug)]
struct InstanceHealth {
    /// Health and its reason, by worker number.
    by_worker: Vec<(Health, String)>,
    overall: Health,
}

impl HealthTable {
    /// A table without instances.
    pub(super) fn new(workers: u16) -> Self {
        Self {
            workers: usize::from(workers),
            instances: HashMap::new(),
            closed_connections: RateLimitedLine::default(),
        }
    }

    /// Adds a new instance, with unknown health.
    pub(super) fn add(&mut self, tenant: &TenantKey, id: &InstanceId) {
        let instances = self.instances.entry(tenant.clone()).or_default();
        let unknown = InstanceHealth {
            by_worker: vec![(Health::Unknown, String::new()); self.workers],
            overall: Health::Unknown,
        };
        instances.insert(id.clone(), unknown);
    }

    /// Removes an instance that is no longer listed.
    pub(super) fn remove(&mut self, tenant: &TenantKey, id: &InstanceId) {
        if let Some(instances) = self.instances.get_mut(tenant) {
            instances.remove(id);
            if instances.is_empty() {
                self.instances.remove(tenant);
            }
        }
    }

    /// Takes the event of a worker. `true`: the overall health of the instance has changed.
    pub(super) fn take_event(&mut self, worker: usize, event: HealthEvent) -> bool {
        let HealthEvent {
            instance,
            tenant,
            address,
            change,
        } = event;
        let new = match change {
            HealthChange::Up => (Health::Up, String::new()),
            HealthChange::Degraded(why) => (Health::Degraded, printable(&why)),
            HealthChange::Down(why) => (Health::Down, printable(&why)),
            HealthChange::ProtocolError(why) => {
                if let Some(suppressed) = self.closed_connections.due(now()) {
                    log::warn!(
                        "backend: connection closed address={address} tenant={tenant} \
                         instance={instance} suppressed={suppressed} reason=\"{}\"",
                        printable(&why)
                    );
                }
                return false;
            }
            HealthChange::Revoked(user) => {
                log::warn!(
                    "backend: accepted login is now refused address={address} tenant={tenant} \
                     instance={instance} user={}",
                    printable(&user)
                );
                return false;
            }
        };
        let id = InstanceId::from(instance.as_str());
        let instances = self.instances.get_mut(tenant.as_str());
        // The instance may have been deleted since.
        let Some(known) = instances.and_then(|instances| instances.get_mut(&id)) else {
            return false;
        };
        if let Some(old) = known.by_worker.get_mut(worker) {
            *old = new;
        }
        let (overall, why) = known.worst();
        let why = why.to_owned();
        if std::mem::replace(&mut known.overall, overall) == overall {
            return false;
        }
        match overall {
            Health::Unknown => {}
            // Scripts wait for exactly this line.
            Health::Up => log::info!("backend {address} online, tenant code {tenant}"),
            Health::Degraded | Health::Down => {
                let event = match overall {
                    Health::Down => "offline",
                    _ => "degraded",
                };
                log::warn!(
                    "backend: {event} address={address} tenant={tenant} instance={instance} \
                     reason=\"{why}\""
                );
            }
        }
        true
    }

    /// The time of the next call to [`log_suppressed`](Self::log_suppressed), if one is due.
    pub(super) fn suppressed_due(&self) -> Option<Instant> {
        self.closed_connections.suppressed_due()
    }

    /// Logs how many lines were suppressed, if no other line has done it since.
    pub(super) fn log_suppressed(&mut self, now: Instant) {
        if self.suppressed_due().is_some_and(|at| at <= now)
            && let Some(suppressed) = self.closed_connections.due(now)
        {
            log::warn!("backend: connections closed suppressed={suppressed}");
        }
    }

    /// The overall health of an instance, and its reason.
    pub(super) fn health(&self, tenant: &TenantKey, id: &InstanceId) -> (Health, &str) {
        let instances = self.instances.get(tenant);
        let known = instances.and_then(|instances| instances.get(id));
        known.map_or((Health::Unknown, ""), InstanceHealth::worst)
    }
}

/// Text of a server, with control characters escaped.
fn printable(text: &str) -> String {
    Printable(text.as_bytes()).to_string()
}

impl InstanceHealth {
    /// The worst health that any worker reports.
    fn worst(&self) -> (Health, &str) {
        let rank = |health: Health| Health::ALL.iter().position(|&other| other == health);
        let by_worker = self.by_worker.iter();
        // Of equal reports, that of the lowest worker number.
        let worst = by_worker.rev().max_by_key(|(health, _)| rank(*health));
        worst.map_or((Health::Unknown, ""), |(health, why)| (*health, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterKey;

    fn event(change: HealthChange) -> HealthEvent {
        HealthEvent {
            instance: "a".into(),
            tenant: ClusterKey::local().tenant().to_string(),
            address: "h:1".into(),
            change,
        }
    }

    #[test]
    fn overall_health_is_the_worst_report() {
        let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
        let mut health_table = HealthTable::new(2);
        health_table.add(&tenant, &id);
        let health = |health_table: &HealthTable| {
            let (health, why) = health_table.health(&tenant, &id);
            (health, why.to_owned())
        };
        assert_eq!(health(&health_table), (Health::Unknown, String::new()));
        let down = |why: &str| HealthChange::Down(why.into());
        let steps = [
            (0, HealthChange::Up, true, Health::Up, ""),
            (1, HealthChange::Up, false, Health::Up, ""),
            (1, down("refused"), true, Health::Down, "refused"),
            (0, down("timed out"), false, Health::Down, "timed out"),
            (0, HealthChange::Up, false, Health::Down, "refused"),
            (
                1,
                HealthChange::Degraded("LOADING".into()),
                true,
                Health::Degraded,
                "LOADING",
            ),
            (
                1,
                HealthChange::ProtocolError("noise".into()),
                false,
                Health::Degraded,
                "LOADING",
            ),
            (1, HealthChange::Up, true, Health::Up, ""),
        ];
        for (step, (worker, change, changed, overall, why)) in steps.into_iter().enumerate() {
            assert_eq!(
                health_table.take_event(worker, event(change)),
                changed,
                "step {step}"
            );
            assert_eq!(
                health(&health_table),
                (overall, why.to_owned()),
                "step {step}"
            );
        }
    }

    #[test]
    fn rate_limited_line_appears_once_a_second() {
        let mut line = RateLimitedLine::default();
        let start = now();
        assert_eq!(line.due(start), Some(0));
        for ms in 1..=519 {
            assert_eq!(line.due(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(line.suppressed_due(), Some(start + INTERVAL));
        assert_eq!(line.due(start + INTERVAL), Some(519));
        assert_eq!(line.suppressed_due(), None);
    }

    #[test]
    fn reasons_from_servers_are_escaped() {
        let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
        let mut health_table = HealthTable::new(1);
        health_table.add(&tenant, &id);
        let why = "ERR x\n[ERROR] forged \u{1b}[2J".to_owned();
        assert!(health_table.take_event(0, event(HealthChange::Degraded(why))));
        let shown = "ERR x\\n[ERROR] forged \\u{1b}[2J";
        assert_eq!(health_table.health(&tenant, &id).1, shown);
    }

    #[test]
    fn removed_instance_has_no_health() {
        let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
        let mut health_table = HealthTable::new(1);
        assert!(
            !health_table.take_event(0, event(HealthChange::Up)),
            "the instance is not listed"
        );
        health_table.add(&tenant, &id);
        health_table.add(&tenant, &InstanceId::from("b"));
        assert!(health_table.take_event(0, event(HealthChange::Up)));
        health_table.remove(&tenant, &InstanceId::from("b"));
        assert_eq!(health_table.health(&tenant, &id).0, Health::Up);
        health_table.remove(&tenant, &id);
        assert!(!health_table.take_event(0, event(HealthChange::Up)));
        assert!(health_table.instances.is_empty());
        health_table.add(&tenant, &id);
        assert_eq!(health_table.health(&tenant, &id), (Health::Unknown, ""));
    }
}
