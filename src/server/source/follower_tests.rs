//! Sources whose lists change, and the notifications of a registry.

use std::sync::mpsc::Receiver;

use super::*;
use crate::cluster::{ClusterName, Endpoint, MemoryRegistry, TenantKey};

fn key(name: &str) -> ClusterKey {
    ClusterKey {
        name: ClusterName {
            namespace: "shop".into(),
            name: name.into(),
        },
        ..ClusterKey::local()
    }
}

/// `cart a:1 b:2` is cluster cart with instances a and b at these ports.
fn catalog(clusters: &[&str]) -> Catalog {
    let cluster = |line: &&str| {
        let mut fields = line.split(' ');
        let key = key(fields.next().unwrap());
        let instances = fields.map(|field| {
            let (id, port) = field.split_once(':').unwrap();
            let endpoint = Endpoint::new("10.0.0.1", port.parse().unwrap());
            ClusterInstance::new(key.clone(), id, endpoint)
        });
        Cluster {
            instances: instances.collect(),
            key: key.clone(),
        }
    };
    Catalog {
        clusters: clusters.iter().map(cluster).collect(),
    }
}

struct Fixture {
    registry: Arc<MemoryRegistry>,
    claims: Arc<Claims>,
    changes: Receiver<ClusterInstance>,
}

impl Fixture {
    fn new() -> Self {
        let registry = Arc::new(MemoryRegistry::new());
        Self {
            changes: registry.notify(),
            registry,
            claims: Arc::default(),
        }
    }

    fn source(&self, name: &str) -> Follower {
        let registry = Arc::<MemoryRegistry>::clone(&self.registry);
        Follower::new(name, registry, Arc::clone(&self.claims))
    }

    /// The notifications that subscribers of the registry received.
    fn notifications(&self) -> Vec<String> {
        let changes = self.changes.try_iter();
        let fields = changes.map(|it| {
            let port = it.endpoint().unwrap().port;
            format!("{} {}:{port} {}", it.key.name.name, it.id, it.status)
        });
        fields.collect()
    }

    fn listed(&self) -> Catalog {
        Catalog::of(&*self.registry)
    }
}

#[test]
fn only_differences_are_applied() {
    let fixture = Fixture::new();
    let mut file = fixture.source("file");
    let first = catalog(&["cart a:1 b:2", "empty"]);
    let done = file.apply(&first, OnMissing::Delete);
    assert_eq!((done.changes, done.kept, done.refused), (4, 0, 0));
    assert_eq!(
        fixture.notifications(),
        ["cart a:1 ready", "cart b:2 ready"]
    );
    assert_eq!(
        (fixture.listed(), file.catalog()),
        (first.clone(), first.clone())
    );
    assert_eq!(file.apply(&first, OnMissing::Delete), Applied::default());
    assert!(fixture.notifications().is_empty());
    // One instance changes, one is added, one deleted; the addition comes first.
    let second = catalog(&["cart b:3 c:4", "pay p:5"]);
    assert_eq!(file.apply(&second, OnMissing::Delete).changes, 6);
    let notifications = [
        "cart b:3 ready",
        "cart c:4 ready",
        "pay p:5 ready",
        "cart a:1 deleted",
    ];
    assert_eq!(fixture.notifications(), notifications);
    assert_eq!((fixture.listed(), file.catalog()), (second.clone(), second));
    file.apply(&Catalog::default(), OnMissing::Delete);
    assert_eq!(fixture.listed(), Catalog::default());
}

#[test]
fn deleted_instances_in_the_list_are_ignored() {
    let fixture = Fixture::new();
    let mut file = fixture.source("file");
    let mut list = catalog(&["cart a:1 b:2"]);
    list.clusters[0].instances[0].status = Status::Deleted;
    file.apply(&list, OnMissing::Delete);
    assert_eq!(fixture.notifications(), ["cart b:2 ready"]);
    list.clusters[0].instances[1].status = Status::Deleted;
    file.apply(&list, OnMissing::Delete);
    assert_eq!(fixture.notifications(), ["cart b:2 deleted"]);
}

#[test]
fn missing_clusters_can_be_kept() {
    let fixture = Fixture::new();
    let mut plane = fixture.source("plane");
    plane.apply(&catalog(&["cart a:1 b:2", "pay p:5"]), OnMissing::Delete);
    fixture.notifications();
    let less = catalog(&["cart b:3"]);
    let done = plane.apply(&less, OnMissing::Keep);
    assert_eq!((done.changes, done.kept), (1, 2));
    assert_eq!(fixture.notifications(), ["cart b:3 ready"]);
    assert_eq!(plane.catalog(), catalog(&["cart a:1 b:3", "pay p:5"]));
    let done = plane.apply(&less, OnMissing::Delete);
    assert_eq!((done.changes, done.kept), (2, 0));
    assert_eq!(
        fixture.notifications(),
        ["cart a:1 deleted", "pay p:5 deleted"]
    );
    assert_eq!(fixture.listed(), less);
}

#[test]
fn source_keeps_clusters_of_other_sources() {
    let fixture = Fixture::new();
    fixture.registry.add_cluster(key("own")).unwrap();
    let (mut file, mut plane) = (fixture.source("file"), fixture.source("plane"));
    file.apply(&catalog(&["cart a:1"]), OnMissing::Delete);
    let done = plane.apply(&catalog(&["cart b:2", "pay p:5"]), OnMissing::Delete);
    assert_eq!((done.changes, done.refused), (2, 1), "cart is the file's");
    assert_eq!(plane.catalog(), catalog(&["pay p:5"]));
    plane.apply(&Catalog::default(), OnMissing::Delete);
    assert_eq!(fixture.listed(), catalog(&["cart a:1", "own"]));
    // Once the first source gives the cluster up, the second gets it.
    file.apply(&Catalog::default(), OnMissing::Delete);
    let done = plane.apply(&catalog(&["cart b:2"]), OnMissing::Delete);
    assert_eq!(done.refused, 0);
    assert_eq!(fixture.listed(), catalog(&["cart b:2", "own"]));
}

#[test]
fn cluster_deleted_by_another_caller_is_added_whole() {
    let fixture = Fixture::new();
    let mut file = fixture.source("file");
    file.apply(&catalog(&["cart a:1 b:2"]), OnMissing::Delete);
    fixture.registry.remove_cluster(&key("cart")).unwrap();
    fixture.notifications();
    file.apply(&catalog(&["cart a:1 b:3"]), OnMissing::Delete);
    assert_eq!(fixture.listed(), catalog(&["cart a:1 b:3"]));
    fixture.registry.remove_cluster(&key("cart")).unwrap();
    let done = file.apply(&Catalog::default(), OnMissing::Delete);
    assert_eq!((done.refused, file.catalog()), (0, Catalog::default()));
}

/// A registry that takes only the first cluster, and refuses everything while it is unavailable.
#[derive(Default)]
struct RefusingRegistry {
    inner: MemoryRegistry,
    away: std::sync::atomic::AtomicBool,
}

impl RefusingRegistry {
    fn check(&self) -> Result<(), RegistryError> {
        match self.away.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(RegistryError::Unavailable("no route".into())),
            false => Ok(()),
        }
    }
}

impl ClusterRegistry for RefusingRegistry {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        self.check()?;
        match self.inner.all_clusters().first() {
            Some(first) if *first != key => Err(RegistryError::TenantTaken(first.clone())),
            _ => self.inner.add_cluster(key),
        }
    }

    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
        self.check()?;
        self.inner.status_change(instance)
    }

    fn notify(&self) -> Receiver<ClusterInstance> {
        self.inner.notify()
    }

    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance> {
        self.inner.get_cluster_instance(tenant)
    }

    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        self.inner.all_cluster_instances()
    }

    fn all_clusters(&self) -> Vec<ClusterKey> {
        self.inner.all_clusters()
    }

    fn remove_cluster(&self, key: &ClusterKey) -> Result<(), RegistryError> {
        self.check()?;
        self.inner.remove_cluster(key)
    }
}

#[test]
fn refused_clusters_are_retried() {
    let registry = Arc::new(RefusingRegistry::default());
    let shared = Arc::<RefusingRegistry>::clone(&registry);
    let mut file = Follower::new("file", shared, Arc::default());
    let away = |away| {
        registry
            .away
            .store(away, std::sync::atomic::Ordering::Relaxed)
    };
    let two = catalog(&["cart a:1", "pay p:5"]);
    assert_eq!(
        file.apply(&two, OnMissing::Delete).refused,
        1,
        "pay's key is taken"
    );
    // Cluster cart is deleted and pay is added in one step.
    let pay = catalog(&["pay p:5"]);
    assert_eq!(file.apply(&pay, OnMissing::Delete).refused, 0);
    assert_eq!(Catalog::of(&*registry), pay);
    away(true);
    let changed = catalog(&["pay q:6"]);
    for _ in 0..2 {
        assert_eq!(file.apply(&changed, OnMissing::Delete).refused, 1);
        assert_eq!(
            file.apply(&Catalog::default(), OnMissing::Delete).refused,
            1
        );
    }
    assert_eq!(
        (Catalog::of(&*registry), file.catalog()),
        (pay.clone(), pay)
    );
    away(false);
    assert_eq!(file.apply(&changed, OnMissing::Delete).refused, 0);
    assert_eq!(Catalog::of(&*registry), changed);
}
