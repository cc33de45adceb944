//! The rules of a registry, tried on the one in memory.

use super::*;
use crate::cluster::{ClusterName, Endpoint};
use std::sync::mpsc::TryRecvError;

fn cluster(name: &str) -> ClusterKey {
    let local = ClusterKey::local();
    ClusterKey {
        name: ClusterName {
            name: name.to_owned(),
            ..local.name
        },
        ..local
    }
}

fn instance(cluster_name: &str, id: &str, status: Status) -> ClusterInstance {
    let endpoint = Endpoint {
        addr: "10.0.0.1".into(),
        port: 6379,
        name: "redis".into(),
    };
    ClusterInstance {
        status,
        ..ClusterInstance::new(cluster(cluster_name), id, endpoint)
    }
}

fn ids(instances: &[ClusterInstance]) -> Vec<&str> {
    instances
        .iter()
        .map(|instance| instance.id.as_str())
        .collect()
}

#[test]
fn adding_a_cluster_gives_its_tenant_each_time() {
    let registry = MemoryRegistry::new();
    assert_eq!(
        registry.add_cluster(cluster("a")),
        Ok(cluster("a").tenant())
    );
    assert_eq!(
        registry.add_cluster(cluster("a")),
        Ok(cluster("a").tenant())
    );
    assert_ne!(
        registry.add_cluster(cluster("b")),
        Ok(cluster("a").tenant())
    );
    assert!(registry.all_cluster_instances().is_empty());
}

#[test]
fn adding_a_cluster_again_keeps_its_instances() {
    let registry = MemoryRegistry::new();
    let tenant = registry.add_cluster(cluster("a")).unwrap();
    registry
        .status_change(instance("a", "1", Status::Online))
        .unwrap();
    registry.add_cluster(cluster("a")).unwrap();
    assert_eq!(ids(&registry.get_cluster_instance(&tenant)), ["1"]);
}

#[test]
fn a_status_change_before_its_cluster_is_refused() {
    let registry = MemoryRegistry::new();
    let changes = registry.notify();
    registry.add_cluster(cluster("b")).unwrap();
    let refused = registry.status_change(instance("a", "1", Status::Online));
    assert_eq!(refused, Err(RegistryError::UnknownCluster(cluster("a"))));
    assert!(registry.all_cluster_instances().is_empty());
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
}

/// The text form of both is `x:y:z:n:m:o`, so their hashes are the same.
fn twins() -> (ClusterKey, ClusterKey) {
    let key = |region: &str, availability_zone: &str| {
        let text = |text: &str| text.to_owned();
        ClusterKey {
            name: ClusterName {
                namespace: text("m"),
                name: text("o"),
            },
            location: super::super::Location {
                region: text(region),
                availability_zone: text(availability_zone),
                node_name: text("n"),
            },
        }
    };
    let (first, second) = (key("x:y", "z"), key("x", "y:z"));
    assert_eq!(first.tenant(), second.tenant());
    (first, second)
}

#[test]
fn a_second_cluster_with_the_same_tenant_key_is_refused() {
    let (first, second) = twins();
    let registry = MemoryRegistry::new();
    registry.add_cluster(first.clone()).unwrap();
    let taken = RegistryError::TenantTaken(first);
    assert_eq!(registry.add_cluster(second.clone()), Err(taken));
    let endpoint = Endpoint {
        addr: "10.0.0.1".into(),
        port: 6379,
        name: String::new(),
    };
    let stranger = ClusterInstance::new(second.clone(), "1", endpoint);
    assert_eq!(
        registry.status_change(stranger),
        Err(RegistryError::UnknownCluster(second))
    );
}

#[test]
fn instances_are_found_by_tenant_and_all_together() {
    let registry = MemoryRegistry::new();
    let a = registry.add_cluster(cluster("a")).unwrap();
    let b = registry.add_cluster(cluster("b")).unwrap();
    registry
        .status_change(instance("a", "2", Status::Offline))
        .unwrap();
    registry
        .status_change(instance("a", "1", Status::Ready))
        .unwrap();
    registry
        .status_change(instance("b", "1", Status::Online))
        .unwrap();
    assert_eq!(ids(&registry.get_cluster_instance(&a)), ["1", "2"]);
    assert_eq!(ids(&registry.get_cluster_instance(&b)), ["1"]);
    assert_eq!(registry.get_cluster_instance(&cluster("c").tenant()), []);
    assert_eq!(registry.all_cluster_instances().len(), 3);
}

#[test]
fn a_change_replaces_and_a_deletion_forgets() {
    let registry = MemoryRegistry::new();
    let tenant = registry.add_cluster(cluster("a")).unwrap();
    for status in [Status::Ready, Status::Online, Status::Offline] {
        registry.status_change(instance("a", "1", status)).unwrap();
        let known = registry.get_cluster_instance(&tenant);
        assert_eq!(known, [instance("a", "1", status)]);
    }
    registry
        .status_change(instance("a", "1", Status::Deleted))
        .unwrap();
    assert_eq!(registry.get_cluster_instance(&tenant), []);
}

#[test]
fn clusters_are_listed_with_and_without_instances() {
    let registry = MemoryRegistry::new();
    for name in ["b", "a"] {
        registry.add_cluster(cluster(name)).unwrap();
    }
    let seen = instance("a", "1", Status::Ready);
    registry.status_change(seen).unwrap();
    let mut clusters = registry.all_clusters();
    clusters.sort();
    assert_eq!(clusters, [cluster("a"), cluster("b")]);
    assert_eq!(Bare(registry).all_clusters(), [cluster("a")]);
}

#[test]
fn a_removed_cluster_is_forgotten_and_its_instances_are_told_as_deleted() {
    let registry = MemoryRegistry::new();
    let tenant = registry.add_cluster(cluster("a")).unwrap();
    registry.add_cluster(cluster("b")).unwrap();
    for (name, id) in [("a", "1"), ("a", "2"), ("b", "1")] {
        let instance = instance(name, id, Status::Online);
        registry.status_change(instance).unwrap();
    }
    let changes = registry.notify();
    assert_eq!(registry.remove_cluster(&cluster("a")), Ok(()));
    let told: Vec<_> = changes.try_iter().collect();
    let deleted = |id| instance("a", id, Status::Deleted);
    assert_eq!(told, [deleted("1"), deleted("2")]);
    assert_eq!(registry.all_clusters(), [cluster("b")]);
    assert_eq!(registry.get_cluster_instance(&tenant), []);
    assert_eq!(ids(&registry.all_cluster_instances()), ["1"]);

    let unknown = Err(RegistryError::UnknownCluster(cluster("a")));
    assert_eq!(registry.remove_cluster(&cluster("a")), unknown);
    assert_eq!(registry.status_change(deleted("1")), unknown);
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
    // It may come back, with nothing of what it was.
    assert_eq!(registry.add_cluster(cluster("a")), Ok(tenant.clone()));
    assert_eq!(registry.get_cluster_instance(&tenant), []);
    assert_eq!(registry.remove_cluster(&cluster("a")), Ok(()));
}

#[test]
fn a_cluster_is_not_removed_for_another_with_its_tenant_key() {
    let (first, second) = twins();
    let registry = MemoryRegistry::new();
    registry.add_cluster(first.clone()).unwrap();
    let endpoint = instance("a", "1", Status::Ready).endpoints[0].clone();
    let own = ClusterInstance::new(first.clone(), "1", endpoint);
    registry.status_change(own.clone()).unwrap();
    let unknown = Err(RegistryError::UnknownCluster(second.clone()));
    assert_eq!(registry.remove_cluster(&second), unknown);
    let bare = Bare(registry);
    assert_eq!(bare.remove_cluster(&second), Ok(()));
    assert_eq!(bare.all_cluster_instances(), [own]);
    assert_eq!(bare.remove_cluster(&first), Ok(()));
    assert_eq!(bare.all_cluster_instances(), []);
    assert_eq!(bare.0.all_clusters(), [first], "nobody overrode it");
}

/// A registry with the five operations only.
struct Bare(MemoryRegistry);

impl ClusterRegistry for Bare {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        self.0.add_cluster(key)
    }

    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
        self.0.status_change(instance)
    }

    fn notify(&self) -> Receiver<ClusterInstance> {
        self.0.notify()
    }

    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance> {
        self.0.get_cluster_instance(tenant)
    }

    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        self.0.all_cluster_instances()
    }
}

#[test]
fn every_subscriber_sees_each_change_from_then_on_once() {
    let registry = MemoryRegistry::new();
    registry.add_cluster(cluster("a")).unwrap();
    let early = registry.notify();
    registry
        .status_change(instance("a", "1", Status::Ready))
        .unwrap();
    let late = registry.notify();
    for status in [
        Status::Online,
        Status::Online,
        Status::Deleted,
        Status::Deleted,
    ] {
        registry.status_change(instance("a", "1", status)).unwrap();
    }
    let seen = |changes: &Receiver<ClusterInstance>| -> Vec<Status> {
        changes.try_iter().map(|instance| instance.status).collect()
    };
    assert_eq!(
        seen(&early),
        [Status::Ready, Status::Online, Status::Deleted]
    );
    assert_eq!(seen(&late), [Status::Online, Status::Deleted]);
}

#[test]
fn a_subscription_ends_with_its_receiver_and_with_the_registry() {
    let registry = MemoryRegistry::new();
    registry.add_cluster(cluster("a")).unwrap();
    drop(registry.notify());
    let other = registry.notify();
    registry
        .status_change(instance("a", "1", Status::Ready))
        .unwrap();
    assert_eq!(registry.state().subscribers.len(), 1);
    drop(registry);
    assert!(other.recv().is_ok());
    assert!(other.recv().is_err());
}

#[test]
fn a_registry_is_used_as_an_object_from_any_thread() {
    let registry: Arc<dyn ClusterRegistry> = Arc::new(MemoryRegistry::new());
    let changes = registry.notify();
    let writer = Arc::clone(&registry);
    std::thread::spawn(move || {
        writer.add_cluster(cluster("a")).unwrap();
        writer
            .status_change(instance("a", "1", Status::Online))
            .unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(changes.recv().unwrap().id, "1");
    assert_eq!(registry.all_cluster_instances().len(), 1);
}

#[test]
fn errors_say_what_to_do() {
    let local = ClusterKey::local();
    assert_eq!(
        RegistryError::UnknownCluster(local.clone()).to_string(),
        "unknown cluster local:local:local:default:default: add it first"
    );
    assert_eq!(
        RegistryError::TenantTaken(local).to_string(),
        "its tenant key already belongs to cluster local:local:local:default:default"
    );
    assert_eq!(
        RegistryError::Unavailable("timed out".into()).to_string(),
        "control plane unavailable: timed out"
    );
}
