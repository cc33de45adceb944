//! Who knows the clusters: the trait a control plane implements, and one kept in memory.
//!
//! Owns the rules of the five operations. Registries are used by the threads that start the
//! proxy and follow the control plane, never by a worker: a worker sees [`Snapshot`]s.
//!
//! [`Snapshot`]: super::Snapshot

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::instance::{ClusterInstance, Status};
use super::key::{ClusterKey, TenantKey};

/// The proxy's view of a control plane, and the place to plug another one in.
///
/// # Order of calls
///
/// [`add_cluster`](Self::add_cluster) once per cluster; then
/// [`status_change`](Self::status_change) for each of its instances, as often as one changes;
/// [`remove_cluster`](Self::remove_cluster) at its end. The proxy calls [`notify`](Self::notify)
/// before it reads for the first time, so that it misses no change, and reads everything
/// ([`all_clusters`](Self::all_clusters), [`all_cluster_instances`](Self::all_cluster_instances))
/// again after each change and every few seconds: what `notify` forgets to tell arrives late, and
/// what it tells twice does no harm.
///
/// # Threads
///
/// Every operation may be called from any thread, at the same time as any other; what one thread
/// has changed, the next reader sees. The callers are the threads of the service port, the one that
/// reads the registry, those that follow a file or another control plane, and whoever else holds
/// the registry; never a worker. So an operation may block, for a request to a control plane, say:
/// clients do not feel it. But changes of the clusters wait for it, and a request to the service
/// port does; after some seconds [`RegistryError::Unavailable`] is better. A subscriber must not be
/// waited for.
///
/// No operation may panic: the proxy would go on with what it knew and learn nothing new.
pub trait ClusterRegistry: Send + Sync {
    /// Makes a cluster known and returns its tenant. Adding a known cluster again changes nothing.
    ///
    /// # Errors
    ///
    /// [`RegistryError::TenantTaken`] if another cluster already has this tenant key, which would
    /// hand one tenant's data to another; [`RegistryError::Unavailable`].
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError>;

    /// Replaces what is known of an instance (by cluster and id), or adds it. An instance that
    /// is [`Status::Deleted`] is forgotten after its subscribers have been told. One that is known
    /// as it is already changes nothing, and nobody is told.
    ///
    /// # Errors
    ///
    /// [`RegistryError::UnknownCluster`] if its cluster was never added;
    /// [`RegistryError::Unavailable`].
    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError>;

    /// Subscribes to the instances that change from now on, in the order of the changes.
    ///
    /// Every call gives a subscription of its own, which ends when the receiver is dropped, or the
    /// registry with all its senders. The channel has no bound: a subscriber reads it, or drops it.
    fn notify(&self) -> Receiver<ClusterInstance>;

    /// Every live instance of the cluster, whatever its status but [`Status::Deleted`]; none if the
    /// tenant is not known.
    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance>;

    /// Every live instance of every cluster, in any order. A registry whose control plane is away
    /// gives the last it knew: an empty list means that all clusters have lost all instances.
    fn all_cluster_instances(&self) -> Vec<ClusterInstance>;

    /// Every cluster, those without an instance too, in any order; unless overridden, those with
    /// one. A cluster that is not among them and has no instance is an unknown tenant to clients.
    fn all_clusters(&self) -> Vec<ClusterKey> {
        let instances = self.all_cluster_instances();
        let mut keys = BTreeSet::new();
        keys.extend(instances.into_iter().map(|it| it.key));
        keys.into_iter().collect()
    }

    /// Forgets a cluster; subscribers are told of each of its instances that it is
    /// [`Status::Deleted`]. Unless overridden, its instances are deleted one after the other and
    /// that is all: the cluster is not forgotten, and none is unknown.
    ///
    /// # Errors
    ///
    /// [`RegistryError::UnknownCluster`] if it was never added; [`RegistryError::Unavailable`].
    /// Unless overridden, some instances may be deleted then.
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

/// A registry that others hold too: give the proxy one handle and keep the other.
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

/// Why a registry refused an operation. Nothing was changed, unless the operation says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryError {
    /// The caller's mistake: `add_cluster` has to come before `status_change`.
    UnknownCluster(ClusterKey),
    /// This other cluster had the tenant key first, as its own or as an alias; one of the two needs
    /// another name.
    TenantTaken(ClusterKey),
    /// The control plane behind the registry cannot be reached or refused; in its own words.
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

/// A registry that knows what it was told, and forgets it with the process.
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
    /// By id; holds no deleted ones.
    instances: BTreeMap<String, ClusterInstance>,
}

impl MemoryRegistry {
    /// A registry without clusters.
    pub fn new() -> Self {
        Self::default()
    }

    /// No operation leaves the state half changed, so a thread that panicked spoils nothing.
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
        // The lock is held until subscribers are told: they see changes in the order made.
        let mut state = self.state();
        if state.change(&instance)? {
            state.tell(&instance);
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
            state.tell(&instance);
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

    /// Forgets the cluster and gives back its instances.
    fn remove(
        &mut self,
        key: &ClusterKey,
    ) -> Result<BTreeMap<String, ClusterInstance>, RegistryError> {
        match self.clusters.entry(key.tenant()) {
            Entry::Occupied(known) if known.get().key == *key => Ok(known.remove().instances),
            _ => Err(RegistryError::UnknownCluster(key.clone())),
        }
    }

    fn tell(&mut self, instance: &ClusterInstance) {
        self.subscribers
            .retain(|subscriber| subscriber.send(instance.clone()).is_ok());
    }

    /// Takes the instance over; false if that told nothing new.
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
