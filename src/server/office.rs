//! What the service port is told of the process, and what it may ask it to do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::cluster::{ClusterKey, ClusterRegistry, Health, InstanceId, Refused, TenantKey};
use crate::config::Config;
use crate::proxy::{Survey, Wanted};
use crate::reactor::{Inbox, Message};
use crate::service::{self, About, Page};

use super::acceptor::AcceptCounts;
use super::board::Board;
use super::directory::Fact;
use super::source::Sources;
use super::{Event, tell};

/// How long workers are waited for that are asked something.
const SURVEY_PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Office {
    node: String,
    namespace: String,
    page: Page,
    board: Arc<Board>,
    registry: Arc<dyn ClusterRegistry>,
    sources: Arc<Sources>,
    inboxes: Arc<[Inbox]>,
    accepts: Arc<AcceptCounts>,
    draining: AtomicBool,
    events: Sender<Event>,
    facts: Sender<Fact>,
}

impl Office {
    /// Speaks for these.
    pub(super) fn new(
        config: &Config,
        board: Arc<Board>,
        registry: Arc<dyn ClusterRegistry>,
        sources: Arc<Sources>,
        inboxes: Arc<[Inbox]>,
        accepts: Arc<AcceptCounts>,
        (events, facts): (Sender<Event>, Sender<Fact>),
    ) -> Self {
        Self {
            node: config.node.id.clone(),
            namespace: config.node.namespace.clone(),
            page: Page::new(config.metrics.tenants),
            board,
            registry,
            sources,
            inboxes,
            accepts,
            draining: AtomicBool::new(false),
            events,
            facts,
        }
    }

    /// Has the listener closed and the workers drain, if that was not done before.
    pub(super) fn begin_drain(&self) {
        if self.draining.swap(true, Ordering::AcqRel) {
            return;
        }
        // Who accepts passes it on to the others behind their last clients.
        let first = self.inboxes.first();
        if !first.is_some_and(|first| first.send(Message::Drain)) {
            self.tell(|| Message::Drain);
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn tell(&self, message: impl Fn() -> Message) {
        tell(&self.inboxes, message);
    }
}

impl fmt::Debug for Office {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let draining = self.is_draining();
        f.debug_struct("Office")
            .field("draining", &draining)
            .finish_non_exhaustive()
    }
}

impl service::Office for Office {
    fn ready(&self) -> Result<(), String> {
        match self.is_draining() {
            true => Err("draining".to_owned()),
            false => self.board.usable(),
        }
    }

    fn settled(&self) -> Result<(), String> {
        match self.sources.are_settled() {
            true => Ok(()),
            false => Err(
                "router.file or the control plane has not told which clusters there are".to_owned(),
            ),
        }
    }

    fn health(&self, tenant: &TenantKey, instance: &InstanceId) -> (Health, String) {
        let desk = self.board.desk();
        let (health, why) = desk.health(tenant, instance);
        (health, why.to_owned())
    }

    fn survey(&self, wanted: &Wanted) -> Vec<Survey> {
        let (sender, answers) = channel();
        self.tell(|| Message::Survey(wanted.clone(), sender.clone()));
        drop(sender);
        let until = now() + SURVEY_PATIENCE;
        let left = || until.saturating_duration_since(now());
        // It ends when all have answered or are gone, or the time is over.
        std::iter::from_fn(|| answers.recv_timeout(left()).ok()).collect()
    }

    fn metrics(&self) -> String {
        let about = About {
            node: &self.node,
            namespace: &self.namespace,
            workers: u16::try_from(self.inboxes.len()).unwrap_or(u16::MAX),
            ready: self.ready().is_ok(),
            draining: self.is_draining(),
            clients_refused: self.accepts.refused(),
            accept_rests: self.accepts.rests(),
            names_refused: self.board.names_refused(),
            clusters: &self.clusters(),
            health: &|tenant, instance| self.board.desk().health(tenant, instance).0,
        };
        self.page.write(self.survey(&Wanted::Numbers), &about)
    }

    fn pause(&self, tenant: &TenantKey, ms: u64) {
        self.tell(|| Message::Pause(tenant.clone(), ms));
    }

    fn resume(&self, tenant: &TenantKey) {
        self.tell(|| Message::Unpause(tenant.clone()));
    }

    fn drain(&self) {
        // Told first: the end of a worker that has nothing to finish would look like a failure. If
        // nobody listens, the process ends already, or whoever started this proxy decides.
        let _ = self.events.send(Event::Drain);
        self.begin_drain();
    }

    fn tenant(&self, name: &str) -> Option<TenantKey> {
        let snapshot = self.board.snapshot();
        snapshot.tenant(name.as_bytes()).map(|it| it.key.clone())
    }

    fn may_have(&self, cluster: &ClusterKey, alias: Option<&str>) -> Result<(), Refused> {
        let owners = self.board.owners();
        owners.check_key(cluster)?;
        match alias {
            Some(alias) => owners.check_alias(&cluster.tenant(), alias),
            None => Ok(()),
        }
    }

    fn owner(&self, name: &str) -> Option<ClusterKey> {
        self.board.owners().owner(name).cloned()
    }

    fn is_served(&self, cluster: &ClusterKey) -> bool {
        self.board.owners().is_served(cluster)
    }

    fn release(&self, cluster: &ClusterKey) {
        // The directory is there as long as a worker is.
        let _ = self.facts.send(Fact::Release(cluster.clone()));
    }

    fn clusters(&self) -> Vec<ClusterKey> {
        self.registry.all_clusters()
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the service port has a thread and a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}
