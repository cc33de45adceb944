//! The contract of `ClusterRegistry`, tested with `MemoryRegistry`.

use super::*;
use crate::cluster::Endpoint;
use std::sync::mpsc::TryRecvError;

fn cluster(name: &str) -> ClusterKey {
    ClusterKey::named(name)
}

fn instance(cluster_name: &str, id: &str, status: Status) -> ClusterInstance {
    let endpoint = Endpoint::new("10.0.0.1", 6379);
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
fn adding_a_cluster_returns_its_tenant_key() {
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
fn status_change_of_an_unknown_cluster_is_refused() {
    let registry = MemoryRegistry::new();
    let changes = registry.notify();
    registry.add_cluster(cluster("b")).unwrap();
    let refused = registry.status_change(instance("a", "1", Status::Online));
    assert_eq!(refused, Err(RegistryError::UnknownCluster(cluster("a"))));
    assert!(registry.all_cluster_instances().is_empty());
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn second_cluster_with_the_same_tenant_key_is_refused() {
    let (first, second) = ClusterKey::colliding();
    assert_eq!(first.tenant(), second.tenant());
    let registry = MemoryRegistry::new();
    registry.add_cluster(first.clone()).unwrap();
    let taken = RegistryError::TenantTaken(first);
    assert_eq!(registry.add_cluster(second.clone()), Err(taken));
    let endpoint = Endpoint::new("10.0.0.1", 6379);
    let instance = ClusterInstance::new(second.clone(), "1", endpoint);
    assert_eq!(
        registry.status_change(instance),
        Err(RegistryError::UnknownCluster(second))
    );
}

#[test]
fn instances_are_listed_per_tenant_and_all_together() {
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
fn change_replaces_an_instance_and_deletion_removes_it() {
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
fn removing_a_cluster_notifies_that_its_instances_are_deleted() {
    let registry = MemoryRegistry::new();
    let tenant = registry.add_cluster(cluster("a")).unwrap();
    registry.add_cluster(cluster("b")).unwrap();
    for (name, id) in [("a", "1"), ("a", "2"), ("b", "1")] {
        let instance = instance(name, id, Status::Online);
        registry.status_change(instance).unwrap();
    }
    let changes = registry.notify();
    assert_eq!(registry.remove_cluster(&cluster("a")), Ok(()));
    let notified: Vec<_> = changes.try_iter().collect();
    let deleted = |id| instance("a", id, Status::Deleted);
    assert_eq!(notified, [deleted("1"), deleted("2")]);
    assert_eq!(registry.all_clusters(), [cluster("b")]);
    assert_eq!(registry.get_cluster_instance(&tenant), []);
    assert_eq!(ids(&registry.all_cluster_instances()), ["1"]);

    let unknown = Err(RegistryError::UnknownCluster(cluster("a")));
    assert_eq!(registry.remove_cluster(&cluster("a")), unknown);
    assert_eq!(registry.status_change(deleted("1")), unknown);
    assert_eq!(changes.try_recv(), Err(TryRecvError::Empty));
    // A cluster that is added again has no instances.
    assert_eq!(registry.add_cluster(cluster("a")), Ok(tenant.clone()));
    assert_eq!(registry.get_cluster_instance(&tenant), []);
    assert_eq!(registry.remove_cluster(&cluster("a")), Ok(()));
}

#[test]
fn cluster_is_not_removed_by_the_key_of_a_colliding_cluster() {
    let (first, second) = ClusterKey::colliding();
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
    assert_eq!(
        bare.0.all_clusters(),
        [first],
        "the default keeps the cluster"
    );
}

/// A registry that implements the five required operations only.
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
fn subscriber_sees_each_later_change_once() {
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
fn subscription_ends_with_its_receiver_and_with_the_registry() {
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
fn registry_is_used_as_a_trait_object_from_any_thread() {
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
fn error_texts_are_exactly_these() {
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
