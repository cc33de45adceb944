//! A fake of [`Control`] for tests: it records the calls that it receives.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster::{
    ALIAS_LABEL, ClusterInstance, ClusterKey, ClusterRegistry, Endpoint, Health, InstanceId,
    MemoryRegistry, Owners, Refused, TenantKey,
};
use crate::proxy::{ClientStats, PinReason, PoolStats, StatsRequest, WorkerStats};

use super::Control;
use super::context::{Context, ServiceSettings};

#[derive(Debug)]
pub(super) struct FakeControl {
    pub(super) registry: Arc<MemoryRegistry>,
    calls: Mutex<Vec<String>>,
    unready: Mutex<Option<String>>,
    clusters_unknown: AtomicBool,
    pages: AtomicUsize,
    /// The owners of names.
    pub(super) owners: Mutex<Owners>,
}

impl FakeControl {
    /// A fake that knows [`ClusterKey::local`], with the instances `a` and `bad`, which is down.
    pub(super) fn new() -> Self {
        let registry = Arc::new(MemoryRegistry::new());
        let added = registry.add_cluster(ClusterKey::local());
        for id in ["a", "bad"] {
            assert!(added.is_ok() && registry.status_change(instance(id)).is_ok());
        }
        Self {
            registry,
            calls: Mutex::default(),
            unready: Mutex::default(),
            clusters_unknown: AtomicBool::new(false),
            pages: AtomicUsize::new(0),
            owners: Mutex::default(),
        }
    }

    /// A context that uses this fake.
    pub(super) fn context(self: &Arc<Self>, settings: ServiceSettings) -> Context {
        let control: Arc<dyn Control> = Arc::clone(self) as _;
        let registry: Arc<dyn ClusterRegistry> = Arc::clone(&self.registry) as _;
        Context::new(settings, control, registry, Arc::default())
    }

    /// Adds an instance to [`ClusterKey::local`].
    #[cfg(test)]
    pub(super) fn add(&self, id: &str) {
        let added = self.registry.status_change(instance(id));
        assert_eq!(added, Ok(()));
    }

    /// Takes the recorded calls.
    #[cfg(test)]
    pub(super) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.calls))
    }

    /// The number of metrics pages written.
    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.pages.load(Ordering::Relaxed)
    }

    /// Makes the process not ready.
    #[cfg(test)]
    pub(super) fn set_unready(&self, why: &str) {
        *locked(&self.unready) = Some(why.to_owned());
    }

    /// Makes the clusters unknown.
    #[cfg(test)]
    pub(super) fn set_clusters_unknown(&self) {
        self.clusters_unknown.store(true, Ordering::Relaxed);
    }

    fn called(&self, call: String) {
        locked(&self.calls).push(call);
    }
}

/// An instance of [`ClusterKey::local`].
pub(super) fn instance(id: &str) -> ClusterInstance {
    let endpoint = Endpoint {
        name: "redis".to_owned(),
        ..Endpoint::new("127.0.0.1", 6379)
    };
    ClusterInstance::new(ClusterKey::local(), id, endpoint)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control for FakeControl {
    fn ready(&self) -> Result<(), String> {
        locked(&self.unready).clone().map_or(Ok(()), Err)
    }

    fn clusters_known(&self) -> Result<(), String> {
        match self.clusters_unknown.load(Ordering::Relaxed) {
            true => Err("the control plane has not answered yet".to_owned()),
            false => Ok(()),
        }
    }

    fn health(&self, _: &TenantKey, instance: &InstanceId) -> (Health, String) {
        match instance.as_str() {
            "bad" => (Health::Down, "connection refused".to_owned()),
            _ => (Health::Up, String::new()),
        }
    }

    /// Two workers, each with two clients and a pool.
    fn collect_stats(&self, wanted: &StatsRequest) -> Vec<WorkerStats> {
        self.called(format!("collect {wanted:?}"));
        let tenant = self.registry.all_cluster_instances();
        let tenant = tenant.first().map(|instance| instance.key.tenant());
        let stats = |worker: u16| {
            let mut stats = WorkerStats {
                worker,
                ..WorkerStats::default()
            };
            match wanted {
                StatsRequest::Metrics => {}
                StatsRequest::Clients(limit, _) => {
                    let own = [u64::from(worker) + 3, u64::from(worker) + 1];
                    let clients = own.map(|id| client(id, tenant.clone()));
                    stats.clients = clients.into_iter().take(*limit).collect();
                }
                StatsRequest::Pools => stats.pools = tenant.clone().map(pool).into_iter().collect(),
            }
            stats
        };
        vec![stats(0), stats(1)]
    }

    fn metrics(&self) -> String {
        self.pages.fetch_add(1, Ordering::Relaxed);
        "# TYPE elika_fake gauge\nelika_fake 1\n".to_owned()
    }

    fn pause(&self, tenant: &TenantKey, ms: u64) {
        self.called(format!("pause {tenant} {ms}"));
    }

    fn resume(&self, tenant: &TenantKey) {
        self.called(format!("resume {tenant}"));
    }

    fn drain(&self) {
        self.called("drain".to_owned());
    }

    /// One alias belongs to another cluster.
    fn check_names(&self, _: &ClusterKey, alias: Option<&str>) -> Result<(), Refused> {
        match alias {
            Some("taken") => Err(Refused::Alias(
                "taken".to_owned(),
                Arc::new(ClusterKey::local()),
            )),
            _ => Ok(()),
        }
    }

    fn owner(&self, name: &str) -> Option<ClusterKey> {
        locked(&self.owners).owner(name).cloned()
    }

    fn is_served(&self, cluster: &ClusterKey) -> bool {
        locked(&self.owners).is_served(cluster)
    }

    fn release(&self, cluster: &ClusterKey) {
        locked(&self.owners).release(cluster);
        self.called(format!("release {cluster}"));
    }

    fn clusters(&self) -> Vec<ClusterKey> {
        self.registry.all_clusters()
    }

    fn tenant(&self, name: &str) -> Option<TenantKey> {
        let clusters = self.clusters().into_iter();
        let by_key = clusters
            .map(|key| key.tenant())
            .find(|key| key.as_str() == name);
        by_key.or_else(|| {
            let mut all = self.registry.all_cluster_instances().into_iter();
            let found = all.find(|it| it.labels.get(ALIAS_LABEL).is_some_and(|it| it == name));
            found.map(|it| it.key.tenant())
        })
    }
}

fn client(id: u64, tenant: Option<TenantKey>) -> ClientStats {
    ClientStats {
        id,
        peer: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 50_000),
        instance: tenant.as_ref().map(|_| "a".into()),
        pinned: tenant.as_ref().map(|_| PinReason::Blocked),
        tenant,
        user: "ann".to_owned(),
        name: "job \"7\"".to_owned(),
        db: 1,
        protocol: 3,
        age_seconds: 60,
        idle_seconds: 2,
        in_flight: 1,
        outbound_bytes: 0,
        kept_bytes: 0,
        command: "blpop".to_owned(),
    }
}

fn pool(tenant: TenantKey) -> PoolStats {
    PoolStats {
        tenant,
        instance: "a".into(),
        user: "ann".to_owned(),
        db: 1,
        protocol: 3,
        clients: 2,
        shared: 1,
        dedicated: 1,
        idle: 0,
        in_flight: 1,
        waiting: 0,
        oldest_wait_ms: 0,
    }
}
