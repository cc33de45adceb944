//! Reads the registry, on a thread of its own: a slow registry delays only its own updates.
//!
//! After a change, only the tenants that it concerns are read. The whole registry is read when a
//! cluster may have been deleted, and every few seconds. Changes that arrive during a read are
//! handled together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::cluster::{
    ClusterInstance, ClusterKey, ClusterRegistry, InstanceId, Refused, RegistryError, Status,
    TenantKey,
};

use super::now;
use super::process_state::ProcessState;
use super::spawn::spawn;

/// Interval of complete reads. Some changes are not notified, such as a cluster added without
/// instances.
const READ_EVERY: Duration = Duration::from_secs(5);

/// Most tenants that are read one by one; if more have changed, the whole registry is read.
const TENANTS_MAX: usize = 64;

/// A change of the registry.
#[derive(Debug)]
pub(super) enum Change {
    /// Instances of this tenant have changed.
    Tenant(TenantKey),
    /// This cluster was added.
    Added(ClusterKey),
    /// Anything may have changed.
    All,
}

/// The result of a read.
#[derive(Debug)]
pub(super) enum RegistryUpdate {
    All(Listing),
    /// One tenant: all its instances, and clusters that were added to it.
    Tenant(TenantKey, Listed),
}

/// The content of a registry at one moment, by tenant.
pub(super) type Listing = BTreeMap<TenantKey, Listed>;

/// The content of a registry for one tenant, without deleted instances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Listed {
    /// More than one if tenant keys collide.
    pub clusters: BTreeSet<ClusterKey>,
    pub instances: BTreeMap<InstanceId, ClusterInstance>,
    /// Instances whose id an instance of a colliding cluster has, too.
    pub shadowed: Vec<ClusterInstance>,
}

impl Listed {
    /// Adds an instance. Of two with the same id and cluster, the later one replaces the earlier.
    /// Of two with the same id and different clusters, that of the smaller cluster key is used
    /// until the owner of the tenant key is known.
    fn take(&mut self, mut instance: ClusterInstance) {
        if instance.status == Status::Deleted {
            return;
        }
        match self.instances.entry(instance.id.as_str().into()) {
            Entry::Occupied(mut entry) if entry.get().key != instance.key => {
                if instance.key < entry.get().key {
                    std::mem::swap(entry.get_mut(), &mut instance);
                }
                self.shadowed.push(instance);
            }
            Entry::Occupied(mut entry) => drop(entry.insert(instance)),
            Entry::Vacant(entry) => drop(entry.insert(instance)),
        }
    }

    /// The tenant key belongs to this cluster: of instances with the same id, its own is used.
    pub(super) fn prefer(&mut self, owner: Option<&ClusterKey>) {
        for instance in self.shadowed.iter_mut().filter(|it| Some(&it.key) == owner) {
            if let Some(shown) = self.instances.get_mut(&instance.id.as_str().into()) {
                std::mem::swap(shown, instance);
            }
        }
    }
}

/// Reads the whole registry; may block.
pub(super) fn read(registry: &dyn ClusterRegistry) -> Listing {
    let mut listing = Listing::new();
    for cluster in registry.all_clusters() {
        let listed = listing.entry(cluster.tenant()).or_default();
        listed.clusters.insert(cluster);
    }
    for instance in registry.all_cluster_instances() {
        let tenant = instance.key.tenant();
        listing.entry(tenant).or_default().take(instance);
    }
    listing
}

/// Reads one tenant; may block.
fn read_tenant(
    registry: &dyn ClusterRegistry,
    tenant: &TenantKey,
    clusters: BTreeSet<ClusterKey>,
) -> Listed {
    let mut listed = Listed {
        clusters,
        ..Listed::default()
    };
    for instance in registry.get_cluster_instance(tenant) {
        if instance.key.tenant() == *tenant {
            listed.take(instance);
        }
    }
    listed
}

/// Wraps a registry, and notifies the reader thread of every change made through it, whether or not
/// the registry itself does. Refuses a cluster whose tenant key belongs to another
/// cluster, even if that owner is not listed. Otherwise the registry would refuse the owner when it
/// is listed again, and the new cluster would get no snapshot: neither would be served.
pub(super) struct WatchedRegistry {
    registry: Arc<dyn ClusterRegistry>,
    process: Arc<ProcessState>,
    changes: Sender<Change>,
}

impl WatchedRegistry {
    /// Subscribes to the registry. The receiver is for [`follow_changes`].
    ///
    /// # Errors
    ///
    /// If a thread cannot be created.
    pub(super) fn subscribe(
        registry: Arc<dyn ClusterRegistry>,
        process: Arc<ProcessState>,
    ) -> io::Result<(Arc<dyn ClusterRegistry>, Receiver<Change>)> {
        let notified = registry.notify();
        let (changes, received) = channel();
        let sender = changes.clone();
        spawn("registry-notify", move || {
            while let Ok(instance) = notified.recv() {
                if sender.send(Change::Tenant(instance.key.tenant())).is_err() {
                    return;
                }
            }
        })?;
        let watched = Self {
            registry,
            process,
            changes,
        };
        Ok((Arc::new(watched), received))
    }

    fn notify_reader(&self, change: Change) {
        // Without a reader the proxy has stopped.
        let _ = self.changes.send(change);
    }
}

impl ClusterRegistry for WatchedRegistry {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        let checked = self.process.owners().check_key(&key);
        if let Err(Refused::Key(owner) | Refused::KeyIsAlias(_, owner)) = checked {
            return Err(RegistryError::TenantTaken((*owner).clone()));
        }
        let tenant = self.registry.add_cluster(key.clone())?;
        self.notify_reader(Change::Added(key));
        Ok(tenant)
    }

    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
        let tenant = instance.key.tenant();
        self.registry.status_change(instance)?;
        self.notify_reader(Change::Tenant(tenant));
        Ok(())
    }

    fn notify(&self) -> Receiver<ClusterInstance> {
        self.registry.notify()
    }

    fn get_cluster_instance(&self, tenant: &TenantKey) -> Vec<ClusterInstance> {
        self.registry.get_cluster_instance(tenant)
    }

    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        self.registry.all_cluster_instances()
    }

    fn all_clusters(&self) -> Vec<ClusterKey> {
        self.registry.all_clusters()
    }

    fn remove_cluster(&self, key: &ClusterKey) -> Result<(), RegistryError> {
        self.registry.remove_cluster(key)?;
        self.notify_reader(Change::All);
        Ok(())
    }
}

/// Reads what has changed after each change, and everything at an interval, until `take` returns
/// false.
pub(super) fn follow_changes(
    registry: &dyn ClusterRegistry,
    changes: &Receiver<Change>,
    take: impl Fn(RegistryUpdate) -> bool,
) {
    let mut all_at = now() + READ_EVERY;
    loop {
        let left = all_at.saturating_duration_since(now());
        let first = match changes.recv_timeout(left) {
            Ok(change) => change,
            Err(RecvTimeoutError::Timeout) => Change::All,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut all = false;
        let mut tenants: BTreeMap<TenantKey, BTreeSet<ClusterKey>> = BTreeMap::new();
        for change in std::iter::once(first).chain(changes.try_iter()) {
            match change {
                Change::All => all = true,
                Change::Tenant(tenant) => {
                    tenants.entry(tenant).or_default();
                }
                Change::Added(cluster) => {
                    tenants.entry(cluster.tenant()).or_default().insert(cluster);
                }
            }
        }
        let taken = if all || tenants.len() > TENANTS_MAX {
            let taken = take(RegistryUpdate::All(read(registry)));
            all_at = now() + READ_EVERY;
            taken
        } else {
            let mut update = tenants.into_iter().map(|(tenant, clusters)| {
                let listed = read_tenant(registry, &tenant, clusters);
                // The cluster of a tenant without instances may be deleted, too.
                match listed == Listed::default() {
                    true => RegistryUpdate::All(read(registry)),
                    false => RegistryUpdate::Tenant(tenant, listed),
                }
            });
            update.all(&take)
        };
        if !taken {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Endpoint, MemoryRegistry, Owners};

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn process() -> Arc<ProcessState> {
        Arc::new(ProcessState::new(1))
    }

    #[test]
    fn tenant_key_of_an_unlisted_cluster_stays_reserved() {
        let (first, second) = ClusterKey::colliding();
        let mut owners = Owners::default();
        owners.claim_key(&first).unwrap();
        let process = process();
        process.set_owners(owners);
        let memory = Arc::new(MemoryRegistry::new());
        let (registry, _rings) = WatchedRegistry::subscribe(memory, Arc::clone(&process)).unwrap();
        let taken = Err(RegistryError::TenantTaken(first.clone()));
        assert_eq!(registry.add_cluster(second.clone()), taken);
        assert_eq!(registry.add_cluster(first.clone()), Ok(first.tenant()));
        registry.remove_cluster(&first).unwrap();
        assert_eq!(registry.add_cluster(second.clone()), taken);
        process.set_owners(Owners::default());
        assert_eq!(registry.add_cluster(second.clone()), Ok(second.tenant()));
    }

    #[test]
    fn owners_instance_is_preferred_over_a_colliding_one() {
        let (first, second) = ClusterKey::colliding();
        for order in [[&first, &second], [&second, &first]] {
            let mut listed = Listed::default();
            for key in order {
                let mut instance = instance("a", 1);
                instance.key = key.clone();
                listed.take(instance);
            }
            let shown = |listed: &Listed| listed.instances[&"a".into()].key.clone();
            assert_eq!(shown(&listed), *(&first).min(&second));
            for owner in [&second, &first, &second] {
                listed.prefer(Some(owner));
                assert_eq!(shown(&listed), *owner);
            }
        }
    }

    fn instance(id: &str, port: u16) -> ClusterInstance {
        let endpoint = Endpoint::new("h", port);
        ClusterInstance::new(ClusterKey::local(), id, endpoint)
    }

    /// A registry that never notifies, and lists other tenants' instances and duplicates.
    struct Silent(MemoryRegistry);

    impl ClusterRegistry for Silent {
        fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
            self.0.add_cluster(key)
        }

        fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
            self.0.status_change(instance)
        }

        fn notify(&self) -> Receiver<ClusterInstance> {
            channel().1
        }

        fn get_cluster_instance(&self, _: &TenantKey) -> Vec<ClusterInstance> {
            self.all_cluster_instances()
        }

        fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
            let mut all = vec![instance("b", 1), instance("a", 2)];
            all.extend(self.0.all_cluster_instances());
            all
        }
    }

    #[test]
    fn change_of_a_cluster_reads_only_its_tenant() {
        let (registry, changes) =
            WatchedRegistry::subscribe(Arc::new(MemoryRegistry::new()), process()).unwrap();
        let (sender, update) = channel();
        let read = Arc::clone(&registry);
        registry.add_cluster(ClusterKey::local()).unwrap();
        let reader = std::thread::spawn(move || {
            follow_changes(&*read, &changes, |update| sender.send(update).is_ok());
        });
        let one = |update: RegistryUpdate| match update {
            RegistryUpdate::Tenant(tenant, listed) if tenant == ClusterKey::local().tenant() => {
                (listed.clusters.len(), listed.instances.len())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(one(update.recv_timeout(TIMEOUT).unwrap()), (1, 0));
        registry.status_change(instance("b", 3)).unwrap();
        assert_eq!(one(update.recv_timeout(TIMEOUT).unwrap()), (0, 1));
        drop(update);
        registry.status_change(instance("b", 4)).unwrap();
        reader.join().unwrap();
    }

    #[test]
    fn changes_through_the_proxy_are_read_at_once() {
        let silent = Arc::new(Silent(MemoryRegistry::new()));
        let (registry, changes) = WatchedRegistry::subscribe(silent, process()).unwrap();
        let (listings, seen) = channel();
        let read = Arc::clone(&registry);
        let reader = std::thread::spawn(move || {
            follow_changes(&*read, &changes, |update| {
                let local = ClusterKey::local().tenant();
                let listed = match update {
                    RegistryUpdate::All(mut all) => all.remove(&local).unwrap_or_default(),
                    RegistryUpdate::Tenant(_, listed) => listed,
                };
                listings.send(listed.instances).is_ok()
            });
        });
        registry.add_cluster(ClusterKey::local()).unwrap();
        registry.status_change(instance("b", 3)).unwrap();
        let ports = |all: &BTreeMap<InstanceId, ClusterInstance>| -> Vec<(String, u16)> {
            let ports = all
                .iter()
                .map(|(id, it)| (id.to_string(), it.endpoints[0].port));
            ports.collect()
        };
        let wanted = [("a".to_owned(), 2), ("b".to_owned(), 3)];
        let until = |wanted: &[(String, u16)]| {
            while ports(&seen.recv_timeout(TIMEOUT).unwrap()) != wanted {}
        };
        until(&wanted);
        registry.remove_cluster(&ClusterKey::local()).unwrap();
        until(&[("a".to_owned(), 2), ("b".to_owned(), 1)]);
        drop(seen);
        reader.join().unwrap();
    }
}
