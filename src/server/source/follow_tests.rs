//! Sources that come and go, and what a registry hears of it.

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
        let mut words = line.split(' ');
        let key = key(words.next().unwrap());
        let instances = words.map(|word| {
            let (id, port) = word.split_once(':').unwrap();
            let endpoint = Endpoint {
                addr: "10.0.0.1".into(),
                port: port.parse().unwrap(),
                name: "redis".into(),
            };
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

struct Desk {
    registry: Arc<MemoryRegistry>,
    claims: Arc<Claims>,
    changes: Receiver<ClusterInstance>,
}

impl Desk {
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

    /// What the registry told its subscribers.
    fn heard(&self) -> Vec<String> {
        let changes = self.changes.try_iter();
        let words = changes.map(|it| {
            let port = it.endpoint().unwrap().port;
            format!("{} {}:{port} {}", it.key.name.name, it.id, it.status)
        });
        words.collect()
    }

    fn listed(&self) -> Catalog {
        Catalog::of(&*self.registry)
    }
}

#[test]
fn only_differences_are_told() {
    let desk = Desk::new();
    let mut file = desk.source("file");
    let first = catalog(&["cart a:1 b:2", "empty"]);
    let done = file.apply(&first, Missing::Delete);
    assert_eq!((done.changes, done.kept, done.refused), (4, 0, 0));
    assert_eq!(desk.heard(), ["cart a:1 ready", "cart b:2 ready"]);
    assert_eq!(
        (desk.listed(), file.catalog()),
        (first.clone(), first.clone())
    );
    assert_eq!(file.apply(&first, Missing::Delete), Applied::default());
    assert!(desk.heard().is_empty());
    // One is changed, one added, one goes; the new comes first.
    let second = catalog(&["cart b:3 c:4", "pay p:5"]);
    assert_eq!(file.apply(&second, Missing::Delete).changes, 6);
    let heard = [
        "cart b:3 ready",
        "cart c:4 ready",
        "pay p:5 ready",
        "cart a:1 deleted",
    ];
    assert_eq!(desk.heard(), heard);
    assert_eq!((desk.listed(), file.catalog()), (second.clone(), second));
    file.apply(&Catalog::default(), Missing::Delete);
    assert_eq!(desk.listed(), Catalog::default());
}

#[test]
fn a_deleted_instance_in_the_list_is_none() {
    let desk = Desk::new();
    let mut file = desk.source("file");
    let mut list = catalog(&["cart a:1 b:2"]);
    list.clusters[0].instances[0].status = Status::Deleted;
    file.apply(&list, Missing::Delete);
    assert_eq!(desk.heard(), ["cart b:2 ready"]);
    list.clusters[0].instances[1].status = Status::Deleted;
    file.apply(&list, Missing::Delete);
    assert_eq!(desk.heard(), ["cart b:2 deleted"]);
}

#[test]
fn what_is_missing_may_stay_for_a_while() {
    let desk = Desk::new();
    let mut plane = desk.source("plane");
    plane.apply(&catalog(&["cart a:1 b:2", "pay p:5"]), Missing::Delete);
    desk.heard();
    let less = catalog(&["cart b:3"]);
    let done = plane.apply(&less, Missing::Keep);
    assert_eq!((done.changes, done.kept), (1, 2));
    assert_eq!(desk.heard(), ["cart b:3 ready"]);
    assert_eq!(plane.catalog(), catalog(&["cart a:1 b:3", "pay p:5"]));
    let done = plane.apply(&less, Missing::Delete);
    assert_eq!((done.changes, done.kept), (2, 0));
    assert_eq!(desk.heard(), ["cart a:1 deleted", "pay p:5 deleted"]);
    assert_eq!(desk.listed(), less);
}

#[test]
fn a_source_leaves_alone_what_others_brought() {
    let desk = Desk::new();
    desk.registry.add_cluster(key("own")).unwrap();
    let (mut file, mut plane) = (desk.source("file"), desk.source("plane"));
    file.apply(&catalog(&["cart a:1"]), Missing::Delete);
    let done = plane.apply(&catalog(&["cart b:2", "pay p:5"]), Missing::Delete);
    assert_eq!((done.changes, done.refused), (2, 1), "cart is the file's");
    assert_eq!(plane.catalog(), catalog(&["pay p:5"]));
    plane.apply(&Catalog::default(), Missing::Delete);
    assert_eq!(desk.listed(), catalog(&["cart a:1", "own"]));
    // When the first gives it up, the other may have it.
    file.apply(&Catalog::default(), Missing::Delete);
    let done = plane.apply(&catalog(&["cart b:2"]), Missing::Delete);
    assert_eq!(done.refused, 0);
    assert_eq!(desk.listed(), catalog(&["cart b:2", "own"]));
}

#[test]
fn a_cluster_that_somebody_else_removed_is_brought_whole() {
    let desk = Desk::new();
    let mut file = desk.source("file");
    file.apply(&catalog(&["cart a:1 b:2"]), Missing::Delete);
    desk.registry.remove_cluster(&key("cart")).unwrap();
    desk.heard();
    file.apply(&catalog(&["cart a:1 b:3"]), Missing::Delete);
    assert_eq!(desk.listed(), catalog(&["cart a:1 b:3"]));
    desk.registry.remove_cluster(&key("cart")).unwrap();
    let done = file.apply(&Catalog::default(), Missing::Delete);
    assert_eq!((done.refused, file.catalog()), (0, Catalog::default()));
}

/// One that takes the first cluster only, and refuses everything while it is out of reach.
#[derive(Default)]
struct Stubborn {
    inner: MemoryRegistry,
    away: std::sync::atomic::AtomicBool,
}

impl Stubborn {
    fn check(&self) -> Result<(), RegistryError> {
        match self.away.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(RegistryError::Unavailable("no route".into())),
            false => Ok(()),
        }
    }
}

impl ClusterRegistry for Stubborn {
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
fn a_registry_that_refuses_is_asked_again_and_loses_nothing() {
    let registry = Arc::new(Stubborn::default());
    let shared = Arc::<Stubborn>::clone(&registry);
    let mut file = Follower::new("file", shared, Arc::default());
    let away = |away| {
        registry
            .away
            .store(away, std::sync::atomic::Ordering::Relaxed)
    };
    let two = catalog(&["cart a:1", "pay p:5"]);
    assert_eq!(
        file.apply(&two, Missing::Delete).refused,
        1,
        "pay's key is taken"
    );
    // Cart goes, and pay comes in the same step.
    let pay = catalog(&["pay p:5"]);
    assert_eq!(file.apply(&pay, Missing::Delete).refused, 0);
    assert_eq!(Catalog::of(&*registry), pay);
    away(true);
    let changed = catalog(&["pay q:6"]);
    for _ in 0..2 {
        assert_eq!(file.apply(&changed, Missing::Delete).refused, 1);
        assert_eq!(file.apply(&Catalog::default(), Missing::Delete).refused, 1);
    }
    assert_eq!(
        (Catalog::of(&*registry), file.catalog()),
        (pay.clone(), pay)
    );
    away(false);
    assert_eq!(file.apply(&changed, Missing::Delete).refused, 0);
    assert_eq!(Catalog::of(&*registry), changed);
}
