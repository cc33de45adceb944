//! What all workers together found out about the instances: each tells what it sees, and the log
//! hears once of every change of the whole.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::cluster::{Health, InstanceId, TenantKey};
use crate::proxy::{News, Report};
use crate::resp::Printable;

use super::now;

/// Between two lines about connections that were given up.
const SILENCE: Duration = Duration::from_secs(1);

/// The last word of every worker about every instance that there is.
#[derive(Debug)]
pub(super) struct HealthDesk {
    workers: usize,
    instances: HashMap<TenantKey, HashMap<InstanceId, Opinion>>,
    /// Connections that were given up.
    distrusted: Once,
}

/// A line of the log that comes at most once a second.
#[derive(Debug, Default)]
struct Once {
    last: Option<Instant>,
    left_out: u64,
}

impl Once {
    /// Is it due? Then, how many were left out since the last.
    fn due(&mut self, now: Instant) -> Option<u64> {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        if since.is_some_and(|since| since < SILENCE) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }

    /// When those left out are to be told, if no other line does so before.
    fn told_at(&self) -> Option<Instant> {
        self.last
            .filter(|_| self.left_out > 0)
            .map(|last| last + SILENCE)
    }
}

/// About one instance.
#[derive(Debug)]
struct Opinion {
    /// By the worker's number.
    words: Vec<(Health, String)>,
    whole: Health,
}

impl HealthDesk {
    /// For so many workers.
    pub(super) fn new(workers: u16) -> Self {
        Self {
            workers: usize::from(workers),
            instances: HashMap::new(),
            distrusted: Once::default(),
        }
    }

    /// There is a new instance.
    pub(super) fn expect(&mut self, tenant: &TenantKey, id: &InstanceId) {
        let instances = self.instances.entry(tenant.clone()).or_default();
        let nothing = Opinion {
            words: vec![(Health::Unknown, String::new()); self.workers],
            whole: Health::Unknown,
        };
        instances.insert(id.clone(), nothing);
    }

    /// There is no such instance any more.
    pub(super) fn forget(&mut self, tenant: &TenantKey, id: &InstanceId) {
        if let Some(instances) = self.instances.get_mut(tenant) {
            instances.remove(id);
            if instances.is_empty() {
                self.instances.remove(tenant);
            }
        }
    }

    /// A worker tells something. `true`: the workers together think otherwise than before.
    pub(super) fn tell(&mut self, worker: usize, report: Report) -> bool {
        let Report {
            instance,
            tenant,
            address,
            news,
        } = report;
        // They are words of servers.
        let shown = |why: String| Printable(why.as_bytes()).to_string();
        let word = match news {
            News::Up => (Health::Up, String::new()),
            News::Degraded(why) => (Health::Degraded, shown(why)),
            News::Down(why) => (Health::Down, shown(why)),
            News::Distrusted(why) => {
                if let Some(left_out) = self.distrusted.due(now()) {
                    let why = shown(why);
                    log::warn!(
                        "backend {address}, tenant key {tenant}: connection given up: {why} \
                         (left_out={left_out})"
                    );
                }
                return false;
            }
            News::Revoked(user) => {
                log::warn!(
                    "backend {address}, tenant key {tenant}: login refused that was accepted \
                     before user={}",
                    shown(user)
                );
                return false;
            }
        };
        let id = InstanceId::from(instance.as_str());
        let instances = self.instances.get_mut(tenant.as_str());
        // It may have been deleted meanwhile.
        let Some(opinion) = instances.and_then(|instances| instances.get_mut(&id)) else {
            return false;
        };
        if let Some(old) = opinion.words.get_mut(worker) {
            *old = word;
        }
        let (whole, why) = opinion.worst();
        let why = why.to_owned();
        if std::mem::replace(&mut opinion.whole, whole) == whole {
            return false;
        }
        match whole {
            Health::Unknown => {}
            // Scripts wait for this line as it is.
            Health::Up => log::info!("backend {address} online, tenant code {tenant}"),
            Health::Degraded => {
                log::warn!("backend {address} degraded, tenant key {tenant}: {why}");
            }
            Health::Down => log::warn!("backend {address} offline, tenant key {tenant}: {why}"),
        }
        true
    }

    /// When [`tell_left_out`](Self::tell_left_out) has something to do.
    pub(super) fn told_at(&self) -> Option<Instant> {
        self.distrusted.told_at()
    }

    /// Tells how many lines were left out since the last, if there is no other to tell that.
    pub(super) fn tell_left_out(&mut self, now: Instant) {
        if self.told_at().is_some_and(|at| at <= now)
            && let Some(left_out) = self.distrusted.due(now)
        {
            log::warn!("backends: connections given up left_out={left_out}");
        }
    }

    /// What the workers together think of an instance, and why.
    pub(super) fn health(&self, tenant: &TenantKey, id: &InstanceId) -> (Health, &str) {
        let instances = self.instances.get(tenant);
        let opinion = instances.and_then(|instances| instances.get(id));
        opinion.map_or((Health::Unknown, ""), Opinion::worst)
    }
}

impl Opinion {
    /// The worst that any worker says.
    fn worst(&self) -> (Health, &str) {
        let rank = |health: Health| Health::ALL.iter().position(|&other| other == health);
        let words = self.words.iter();
        // Of several that say the same, the first.
        let worst = words.rev().max_by_key(|(health, _)| rank(*health));
        worst.map_or((Health::Unknown, ""), |(health, why)| (*health, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ClusterKey;

    fn report(news: News) -> Report {
        Report {
            instance: "a".into(),
            tenant: ClusterKey::local().tenant().to_string(),
            address: "h:1".into(),
            news,
        }
    }

    #[test]
    fn the_worst_word_counts_and_a_change_is_one() {
        let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
        let mut desk = HealthDesk::new(2);
        desk.expect(&tenant, &id);
        let health = |desk: &HealthDesk| {
            let (health, why) = desk.health(&tenant, &id);
            (health, why.to_owned())
        };
        assert_eq!(health(&desk), (Health::Unknown, String::new()));
        let down = |why: &str| News::Down(why.into());
        let steps = [
            (0, News::Up, true, Health::Up, ""),
            (1, News::Up, false, Health::Up, ""),
            (1, down("refused"), true, Health::Down, "refused"),
            (0, down("timed out"), false, Health::Down, "timed out"),
            (0, News::Up, false, Health::Down, "refused"),
            (
                1,
                News::Degraded("LOADING".into()),
                true,
                Health::Degraded,
                "LOADING",
            ),
            (
                1,
                News::Distrusted("noise".into()),
                false,
                Health::Degraded,
                "LOADING",
            ),
            (1, News::Up, true, Health::Up, ""),
        ];
        for (step, (worker, news, changed, whole, why)) in steps.into_iter().enumerate() {
            assert_eq!(desk.tell(worker, report(news)), changed, "step {step}");
            assert_eq!(health(&desk), (whole, why.to_owned()), "step {step}");
        }
    }

    #[test]
    fn a_flood_of_one_kind_of_line_is_one_line_a_second() {
        let mut once = Once::default();
        let start = now();
        assert_eq!(once.due(start), Some(0));
        for ms in 1..=519 {
            assert_eq!(once.due(start + Duration::from_millis(ms)), None);
        }
        assert_eq!(once.told_at(), Some(start + SILENCE));
        assert_eq!(once.due(start + SILENCE), Some(519));
        assert_eq!(once.told_at(), None);
    }

    #[test]
    fn words_of_servers_are_made_printable() {
        let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
        let mut desk = HealthDesk::new(1);
        desk.expect(&tenant, &id);
        let why = "ERR x\n[ERROR] forged \u{1b}[2J".to_owned();
        assert!(desk.tell(0, report(News::Degraded(why))));
        let shown = "ERR x\\n[ERROR] forged \\u{1b}[2J";
        assert_eq!(desk.health(&tenant, &id).1, shown);
    }

    #[test]
    fn an_instance_that_is_gone_is_forgotten() {
        let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
        let mut desk = HealthDesk::new(1);
        assert!(!desk.tell(0, report(News::Up)), "it is not listed");
        desk.expect(&tenant, &id);
        desk.expect(&tenant, &InstanceId::from("b"));
        assert!(desk.tell(0, report(News::Up)));
        desk.forget(&tenant, &InstanceId::from("b"));
        assert_eq!(desk.health(&tenant, &id).0, Health::Up);
        desk.forget(&tenant, &id);
        assert!(!desk.tell(0, report(News::Up)));
        assert!(desk.instances.is_empty());
        desk.expect(&tenant, &id);
        assert_eq!(desk.health(&tenant, &id), (Health::Unknown, ""));
    }
}
