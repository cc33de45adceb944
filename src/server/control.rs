//! Control of the service port over the process: what the service port can read and do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::cluster::{ClusterKey, ClusterRegistry, Health, InstanceId, Refused, TenantKey};
use crate::config::Config;
use crate::proxy::{StatsRequest, WorkerStats};
use crate::reactor::{Inbox, Message};
use crate::service::{self, Page, ProcessInfo};

use super::acceptor::AcceptCounts;
use super::process_state::ProcessState;
use super::source::Sources;
use super::source::sentinel::{Sentinels, Stats};
use super::update::Update;
use super::{Event, now, send_to_all};

/// Longest wait for the statistics of the workers.
const STATS_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) struct Control {
    node: String,
    namespace: String,
    page: Page,
    process: Arc<ProcessState>,
    registry: Arc<dyn ClusterRegistry>,
    sources: Arc<Sources>,
    inboxes: Arc<[Inbox]>,
    accepts: Arc<AcceptCounts>,
    draining: AtomicBool,
    events: Sender<Event>,
    updates: Sender<Update>,
}

impl Control {
    pub(super) fn new(
        config: &Config,
        process: Arc<ProcessState>,
        registry: Arc<dyn ClusterRegistry>,
        sources: Arc<Sources>,
        inboxes: Arc<[Inbox]>,
        accepts: Arc<AcceptCounts>,
        (events, updates): (Sender<Event>, Sender<Update>),
    ) -> Self {
        Self {
            node: config.node.id.clone(),
            namespace: config.node.namespace.clone(),
            page: Page::new(config.metrics.tenants),
            process,
            registry,
            sources,
            inboxes,
            accepts,
            draining: AtomicBool::new(false),
            events,
            updates,
        }
    }

    /// Closes the listener and drains the workers, unless a drain has begun.
    pub(super) fn begin_drain(&self) {
        if self.draining.swap(true, Ordering::AcqRel) {
            return;
        }
        // The accepting worker passes the drain on to the others, behind the last clients that it
        // gave them.
        let first = self.inboxes.first();
        if !first.is_some_and(|first| first.send(Message::Drain)) {
            self.send_to_all(|| Message::Drain);
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn send_to_all(&self, message: impl Fn() -> Message) {
        send_to_all(&self.inboxes, message);
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let draining = self.is_draining();
        f.debug_struct("Control")
            .field("draining", &draining)
            .finish_non_exhaustive()
    }
}

impl service::Control for Control {
    fn ready(&self) -> Result<(), String> {
        match self.is_draining() {
            true => Err("draining".to_owned()),
            false => self.process.usable(),
        }
    }

    fn clusters_known(&self) -> Result<(), String> {
        match self.sources.are_loaded() {
            true => Ok(()),
            false => Err(
                "clusters are not known yet: router.file or the control plane could not be read"
                    .to_owned(),
            ),
        }
    }

    fn health(&self, tenant: &TenantKey, instance: &InstanceId) -> (Health, String) {
        let health_table = self.process.health_table();
        let (health, why) = health_table.health(tenant, instance);
        (health, why.to_owned())
    }

    fn collect_stats(&self, wanted: &StatsRequest) -> Vec<WorkerStats> {
        let (sender, answers) = channel();
        self.send_to_all(|| Message::Collect(wanted.clone(), sender.clone()));
        drop(sender);
        let until = now() + STATS_TIMEOUT;
        let left = || until.saturating_duration_since(now());
        // Ends when every worker has answered or ended, or at the timeout.
        std::iter::from_fn(|| answers.recv_timeout(left()).ok()).collect()
    }

    fn metrics(&self) -> String {
        let sentinels = self.sources.sentinels().map(Sentinels::stats);
        let info = ProcessInfo {
            node: self.node.clone(),
            namespace: self.namespace.clone(),
            workers: u16::try_from(self.inboxes.len()).unwrap_or(u16::MAX),
            ready: self.ready().is_ok(),
            draining: self.is_draining(),
            clients_refused: self.accepts.refused(),
            accept_pauses: self.accepts.pauses(),
            names_refused: self.process.names_refused(),
            sentinels: sentinels.map(Stats::sentinels).unwrap_or_default(),
            sentinel_switches: sentinels.map_or(0, Stats::switches),
            primaries_unknown: sentinels.map_or(0, Stats::unknown),
            clusters: self.clusters(),
        };
        let health = |tenant: &TenantKey, instance: &InstanceId| {
            self.process.health_table().health(tenant, instance).0
        };
        self.page
            .write(self.collect_stats(&StatsRequest::Metrics), info, &health)
    }

    fn pause(&self, tenant: &TenantKey, ms: u64) {
        self.send_to_all(|| Message::Pause(tenant.clone(), ms));
    }

    fn resume(&self, tenant: &TenantKey) {
        self.send_to_all(|| Message::Unpause(tenant.clone()));
    }

    fn drain(&self) {
        // Sent before the drain begins: a worker without clients ends at once, which would look
        // like a failure. Without a receiver the process is ending already, or the embedding
        // program decides.
        let _ = self.events.send(Event::Drain);
        self.begin_drain();
    }

    fn tenant(&self, name: &str) -> Option<TenantKey> {
        let snapshot = self.process.snapshot();
        snapshot.tenant(name.as_bytes()).map(|it| it.key.clone())
    }

    fn check_names(&self, cluster: &ClusterKey, alias: Option<&str>) -> Result<(), Refused> {
        let owners = self.process.owners();
        owners.check_key(cluster)?;
        match alias {
            Some(alias) => owners.check_alias(&cluster.tenant(), alias),
            None => Ok(()),
        }
    }

    fn owner(&self, name: &str) -> Option<ClusterKey> {
        self.process.owners().owner(name).cloned()
    }

    fn is_served(&self, cluster: &ClusterKey) -> bool {
        self.process.owners().is_served(cluster)
    }

    fn release(&self, cluster: &ClusterKey) {
        // The publisher runs until all workers have ended.
        let _ = self.updates.send(Update::Release(cluster.clone()));
    }

    fn clusters(&self) -> Vec<ClusterKey> {
        self.registry.all_clusters()
    }
}
