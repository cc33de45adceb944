//! The trait that a control plane implements, and a registry in memory.
//!
//! Workers never call a registry; they read a [`Snapshot`]. The callers are the threads that follow
//! sources of clusters and the service port.
//!
//! [`Snapshot`]: super::Snapshot

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::instance::{ClusterInstance, Status};
use super::key::{ClusterKey, TenantKey};

/// A registry of clusters and their instances. Implement it to connect the proxy to a control
/// plane.
///
/// # Order of calls
///
/// [`add_cluster`](Self::add_cluster) is called first for each cluster. Then
/// [`status_change`](Self::status_change) is called whenever one of its instances changes, and
/// [`remove_cluster`](Self::remove_cluster) when the cluster is removed.
///
/// The proxy calls [`notify`](Self::notify) before it reads the registry for the first time, so
/// that it misses no change. It reads all clusters and instances
/// ([`all_clusters`](Self::all_clusters), [`all_cluster_instances`](Self::all_cluster_instances))
/// again after each change and every few seconds. A change that `notify` does not report is seen at
/// the next read; a change that it reports twice does no harm.
///
/// # Threads
///
/// Every operation may be called from any thread, also while another operation runs. A change is
/// visible to every operation that starts after the change has returned.
///
/// Workers never call a registry, so an operation may block, for example for a request to a control
/// plane, without delaying clients. Changes of clusters and requests to the service port wait for
/// it. An operation that takes more than a few seconds should return
/// [`RegistryError::Unavailable`]. No operation may wait for a subscriber.
///
/// No operation may panic. If one does, the proxy keeps the last known clusters and sees no further
/// changes.
pub trait ClusterRegistry: Send + Sync {
    /// Adds a cluster and returns its tenant key. Adding a known cluster again changes nothing.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TenantTaken`] when another cluster already has this tenant key: the clients
    /// of one tenant would otherwise reach the data of the other. [`RegistryError::Unavailable`]
    /// when the control plane cannot be reached.
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError>;

    /// Adds an instance, or replaces the instance with the same cluster and id. An instance with
    /// [`Status::Deleted`] is removed. Subscribers are notified, unless the instance is unchanged.
    ///
    /// # Errors
    ///
    /// [`RegistryError::UnknownCluster`] when its cluster has not been added;
    /// [`RegistryError::Unavailable`] when the control plane cannot be reached.
    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError>;

    /// Subscribes to the changes of instances from now on. The receiver gets each changed instance,
    /// in the order of the changes.
    ///
    /// Every call returns an independent subscription. It ends when the receiver or the registry is
    /// dropped. The channel is unbounded: the subscriber must keep reading or drop the receiver.
    fn notify(&self) -> Receiver<ClusterInstance>;

    /// The instances of one tenant, without those that are [`Status::Deleted`]. Empty when the
    /// tenant is unknown.
    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance>;

    /// The instances of all clusters, without those that are [`Status::Deleted`], in any order. A
    /// registry that cannot reach its control plane returns the last known instances: an empty list
    /// means that no cluster has an instance.
    fn all_cluster_instances(&self) -> Vec<ClusterInstance>;

    /// All clusters, in any order. Clients of a listed cluster without an instance are told that it
    /// has no instance; a cluster that is not listed and has no instance is an unknown tenant.
    ///
    /// The default implementation lists only clusters that have an instance.
    fn all_clusters(&self) -> Vec<ClusterKey> {
        let instances = self.all_cluster_instances();
        let mut keys = BTreeSet::new();
        keys.extend(instances.into_iter().map(|it| it.key));
        keys.into_iter().collect()
    }

    /// Removes a cluster with its instances. Subscribers get each of its instances with
    /// [`Status::Deleted`].
    ///
    /// The default implementation deletes the instances one by one and keeps the cluster; it does
    /// not return [`RegistryError::UnknownCluster`].
    ///
    /// # Errors
    ///
    /// [`RegistryError::UnknownCluster`] when the cluster has not been added;
    /// [`RegistryError::Unavailable`] when the control plane cannot be reached. When the default
    /// implementation fails, some of the instances may be deleted.
    fn remove_cluster(&self, key: &ClusterKey) -> Result<(), RegistryError> {
        for mut instance in self.get_cluster_instance(&key.tenant()) {
            // Another cluster may have the same tenant key.
            if instance.key == *key {
                instance.status = Status::Deleted;
                self.status_change(instance)?;
            }
        }
        Ok(())
    }
}

/// A shared registry: the proxy gets one handle, and the embedding program keeps another.
impl<R: ClusterRegistry + ?Sized> ClusterRegistry for Arc<R> {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        (**self).add_cluster(key)
    }

    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
        (**self).status_change(instance)
    }

    fn notify(&self) -> Receiver<ClusterInstance> {
        (**self).notify()
    }

    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance> {
        (**self).get_cluster_instance(tenant)
    }

    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        (**self).all_cluster_instances()
    }

    fn all_clusters(&self) -> Vec<ClusterKey> {
        (**self).all_clusters()
    }

    fn remove_cluster(&self, key: &ClusterKey) -> Result<(), RegistryError> {
        (**self).remove_cluster(key)
    }
}

/// The error of a registry operation. A failed operation changes nothing, unless its documentation
/// says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryError {
    /// The cluster has not been added: `add_cluster` must be called before `status_change`.
    UnknownCluster(ClusterKey),
    /// The tenant key belongs to another cluster, which is named here, as its key or an alias. One
    /// of the two clusters needs another name.
    TenantTaken(ClusterKey),
    /// The control plane behind the registry cannot be reached or rejects the operation. The text
    /// is its error.
    Unavailable(String),
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCluster(key) => write!(f, "unknown cluster {key}: add it first"),
            Self::TenantTaken(owner) => {
                write!(f, "its tenant key already belongs to cluster {owner}")
            }
            Self::Unavailable(why) => write!(f, "control plane unavailable: {why}"),
        }
    }
}

impl std::error::Error for RegistryError {}

/// A registry in memory. Its content is lost when the process ends.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clusters: BTreeMap<TenantKey, Cluster>,
    subscribers: Vec<Sender<ClusterInstance>>,
}

#[derive(Debug)]
struct Cluster {
    key: ClusterKey,
    /// Instances by id, without deleted ones.
    instances: BTreeMap<String, ClusterInstance>,
}

impl MemoryRegistry {
    /// A registry without clusters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks the state. No operation leaves it half changed, so a poisoned lock is usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClusterRegistry for MemoryRegistry {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        let tenant = key.tenant();
        self.state().add(tenant.clone(), key)?;
        Ok(tenant)
    }

    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
        // The lock is held until subscribers are notified, so that they see changes in order.
        let mut state = self.state();
        if state.change(&instance)? {
            state.notify(&instance);
        }
        Ok(())
    }

    fn notify(&self) -> Receiver<ClusterInstance> {
        let (subscriber, changes) = mpsc::channel();
        self.state().subscribers.push(subscriber);
        changes
    }

    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance> {
        let state = self.state();
        let cluster = state.clusters.get(tenant);
        cluster.map_or_else(Vec::new, |cluster| {
            cluster.instances.values().cloned().collect()
        })
    }

    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        let state = self.state();
        let clusters = state.clusters.values();
        clusters
            .flat_map(|cluster| cluster.instances.values().cloned())
            .collect()
    }

    fn all_clusters(&self) -> Vec<ClusterKey> {
        let state = self.state();
        let clusters = state.clusters.values();
        clusters.map(|cluster| cluster.key.clone()).collect()
    }

    fn remove_cluster(&self, key: &ClusterKey) -> Result<(), RegistryError> {
        let mut state = self.state();
        for mut instance in state.remove(key)?.into_values() {
            instance.status = Status::Deleted;
            state.notify(&instance);
        }
        Ok(())
    }
}

impl State {
    fn add(&mut self, tenant: TenantKey, key: ClusterKey) -> Result<(), RegistryError> {
        match self.clusters.entry(tenant) {
            Entry::Vacant(free) => {
                free.insert(Cluster {
                    key,
                    instances: BTreeMap::new(),
                });
                Ok(())
            }
            Entry::Occupied(known) if known.get().key == key => Ok(()),
            Entry::Occupied(known) => Err(RegistryError::TenantTaken(known.get().key.clone())),
        }
    }

    /// Removes the cluster and returns its instances.
    fn remove(
        &mut self,
        key: &ClusterKey,
    ) -> Result<BTreeMap<String, ClusterInstance>, RegistryError> {
        match self.clusters.entry(key.tenant()) {
            Entry::Occupied(known) if known.get().key == *key => Ok(known.remove().instances),
            _ => Err(RegistryError::UnknownCluster(key.clone())),
        }
    }

    fn notify(&mut self, instance: &ClusterInstance) {
        self.subscribers
            .retain(|subscriber| subscriber.send(instance.clone()).is_ok());
    }

    /// Adds, replaces or removes the instance. Returns whether something changed.
    fn change(&mut self, instance: &ClusterInstance) -> Result<bool, RegistryError> {
        let cluster = self.clusters.get_mut(&instance.key.tenant());
        let Some(cluster) = cluster.filter(|cluster| cluster.key == instance.key) else {
            return Err(RegistryError::UnknownCluster(instance.key.clone()));
        };
        let known = &mut cluster.instances;
        Ok(if instance.status == Status::Deleted {
            known.remove(&instance.id).is_some()
        } else {
            known.insert(instance.id.clone(), instance.clone()).as_ref() != Some(instance)
        })
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
