//! What the registry says, read on a thread of its own: one that answers slowly delays nothing but
//! its own news.
//!
//! After a change only the tenants that it concerns are read again; when a cluster may be gone,
//! and every few seconds, the registry is read as a whole. Changes that come meanwhile are read
//! together.

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

use super::board::Board;
use super::now;
use super::spawn::spawn;

/// A registry is read again after this even if it tells of no change: that a cluster without
/// instances was added, for one, is no change of an instance.
const READ_EVERY: Duration = Duration::from_secs(5);

/// Tenants that are read one by one; of more, all are read at once.
const TENANTS_MAX: usize = 64;

/// What has changed.
#[derive(Debug)]
pub(super) enum Ring {
    /// Instances of this tenant.
    Tenant(TenantKey),
    /// There is this cluster now.
    Added(ClusterKey),
    /// Anything.
    All,
}

/// What was read.
#[derive(Debug)]
pub(super) enum News {
    All(Listing),
    /// Of one tenant: all its instances, and clusters that it may have had before.
    Tenant(TenantKey, Listed),
}

/// All that a registry said at one moment, by tenant.
pub(super) type Listing = BTreeMap<TenantKey, Listed>;

/// What it said of one tenant; nothing that is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Listed {
    /// More than one if their names collide.
    pub clusters: BTreeSet<ClusterKey>,
    pub instances: BTreeMap<InstanceId, ClusterInstance>,
    /// Instances that have the id of one of another cluster, whose names collide.
    pub shadowed: Vec<ClusterInstance>,
}

impl Listed {
    /// Of two of one cluster with the same id the later one counts; of two of different clusters,
    /// that of the smaller key, until it is known whose the names are.
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

    /// Names belong to this cluster: of instances that have one id, its own counts.
    pub(super) fn prefer(&mut self, owner: Option<&ClusterKey>) {
        for instance in self.shadowed.iter_mut().filter(|it| Some(&it.key) == owner) {
            if let Some(shown) = self.instances.get_mut(&instance.id.as_str().into()) {
                std::mem::swap(shown, instance);
            }
        }
    }
}

/// Asks the registry; may block.
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

/// The same for one tenant.
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

/// A registry whose reader is told of every change made through it, at once and whatever the
/// registry itself tells. It takes no cluster whose tenant key belongs to one that is not listed at
/// the moment: neither of the two would be served when that comes back.
pub(super) struct Watched {
    registry: Arc<dyn ClusterRegistry>,
    board: Arc<Board>,
    bell: Sender<Ring>,
}

impl Watched {
    /// Subscribes to the registry. The receiver is for [`read_on`].
    ///
    /// # Errors
    ///
    /// If a thread cannot be had.
    pub(super) fn around(
        registry: Arc<dyn ClusterRegistry>,
        board: Arc<Board>,
    ) -> io::Result<(Arc<dyn ClusterRegistry>, Receiver<Ring>)> {
        let changes = registry.notify();
        let (bell, rings) = channel();
        let ringer = bell.clone();
        spawn("registry-notify", move || {
            while let Ok(instance) = changes.recv() {
                if ringer.send(Ring::Tenant(instance.key.tenant())).is_err() {
                    return;
                }
            }
        })?;
        let watched = Self {
            registry,
            board,
            bell,
        };
        Ok((Arc::new(watched), rings))
    }

    /// Has the registry read again.
    fn ring(&self, ring: Ring) {
        // Without a reader the proxy has stopped.
        let _ = self.bell.send(ring);
    }
}

impl ClusterRegistry for Watched {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        let checked = self.board.owners().check_key(&key);
        if let Err(Refused::Key(owner) | Refused::KeyIsAlias(_, owner)) = checked {
            return Err(RegistryError::TenantTaken((*owner).clone()));
        }
        let tenant = self.registry.add_cluster(key.clone())?;
        self.ring(Ring::Added(key));
        Ok(tenant)
    }

    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
        let tenant = instance.key.tenant();
        self.registry.status_change(instance)?;
        self.ring(Ring::Tenant(tenant));
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
        self.ring(Ring::All);
        Ok(())
    }
}

/// Reads what has changed after each ring, and all every few seconds, until nobody takes what the
/// registry says.
pub(super) fn read_on(
    registry: &dyn ClusterRegistry,
    rings: &Receiver<Ring>,
    take: impl Fn(News) -> bool,
) {
    let mut all_at = now() + READ_EVERY;
    loop {
        let left = all_at.saturating_duration_since(now());
        let first = match rings.recv_timeout(left) {
            Ok(ring) => ring,
            Err(RecvTimeoutError::Timeout) => Ring::All,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut all = false;
        let mut tenants: BTreeMap<TenantKey, BTreeSet<ClusterKey>> = BTreeMap::new();
        for ring in std::iter::once(first).chain(rings.try_iter()) {
            match ring {
                Ring::All => all = true,
                Ring::Tenant(tenant) => {
                    tenants.entry(tenant).or_default();
                }
                Ring::Added(cluster) => {
                    tenants.entry(cluster.tenant()).or_default().insert(cluster);
                }
            }
        }
        let taken = if all || tenants.len() > TENANTS_MAX {
            let taken = take(News::All(read(registry)));
            all_at = now() + READ_EVERY;
            taken
        } else {
            let mut news = tenants.into_iter().map(|(tenant, clusters)| {
                let listed = read_tenant(registry, &tenant, clusters);
                // Without any its cluster may be gone, too.
                match listed == Listed::default() {
                    true => News::All(read(registry)),
                    false => News::Tenant(tenant, listed),
                }
            });
            news.all(&take)
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

    const PATIENCE: Duration = Duration::from_secs(20);

    fn board() -> Arc<Board> {
        Arc::new(Board::new(1))
    }

    #[test]
    fn a_cluster_whose_key_belongs_to_one_that_is_away_is_not_taken() {
        let (first, second) = ClusterKey::colliding();
        let mut owners = Owners::default();
        owners.claim_key(&first).unwrap();
        let board = board();
        board.set_owners(owners);
        let memory = Arc::new(MemoryRegistry::new());
        let (registry, _rings) = Watched::around(memory, Arc::clone(&board)).unwrap();
        let taken = Err(RegistryError::TenantTaken(first.clone()));
        assert_eq!(registry.add_cluster(second.clone()), taken);
        assert_eq!(registry.add_cluster(first.clone()), Ok(first.tenant()));
        registry.remove_cluster(&first).unwrap();
        assert_eq!(registry.add_cluster(second.clone()), taken);
        board.set_owners(Owners::default());
        assert_eq!(registry.add_cluster(second.clone()), Ok(second.tenant()));
    }

    #[test]
    fn an_instance_of_a_colliding_cluster_does_not_hide_the_owners() {
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
        let endpoint = Endpoint {
            addr: "h".into(),
            port,
            name: String::new(),
        };
        ClusterInstance::new(ClusterKey::local(), id, endpoint)
    }

    /// One that tells of nothing, and lists what it is asked to in any order and twice.
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
    fn a_change_of_a_cluster_reads_its_tenant_alone() {
        let (registry, rings) = Watched::around(Arc::new(MemoryRegistry::new()), board()).unwrap();
        let (sender, news) = channel();
        let read = Arc::clone(&registry);
        registry.add_cluster(ClusterKey::local()).unwrap();
        let reader = std::thread::spawn(move || {
            read_on(&*read, &rings, |news| sender.send(news).is_ok());
        });
        let one = |news: News| match news {
            News::Tenant(tenant, listed) if tenant == ClusterKey::local().tenant() => {
                (listed.clusters.len(), listed.instances.len())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(one(news.recv_timeout(PATIENCE).unwrap()), (1, 0));
        registry.status_change(instance("b", 3)).unwrap();
        assert_eq!(one(news.recv_timeout(PATIENCE).unwrap()), (0, 1));
        drop(news);
        registry.status_change(instance("b", 4)).unwrap();
        reader.join().unwrap();
    }

    #[test]
    fn changes_made_through_the_proxy_are_seen_at_once() {
        let silent = Arc::new(Silent(MemoryRegistry::new()));
        let (registry, rings) = Watched::around(silent, board()).unwrap();
        let (listings, seen) = channel();
        let read = Arc::clone(&registry);
        let reader = std::thread::spawn(move || {
            read_on(&*read, &rings, |news| {
                let local = ClusterKey::local().tenant();
                let listed = match news {
                    News::All(mut all) => all.remove(&local).unwrap_or_default(),
                    News::Tenant(_, listed) => listed,
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
            while ports(&seen.recv_timeout(PATIENCE).unwrap()) != wanted {}
        };
        until(&wanted);
        registry.remove_cluster(&ClusterKey::local()).unwrap();
        until(&[("a".to_owned(), 2), ("b".to_owned(), 1)]);
        drop(seen);
        reader.join().unwrap();
    }
}
