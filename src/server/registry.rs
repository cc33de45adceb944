//! What the registry says, read on a thread of its own: one that answers slowly delays nothing but
//! its own news.
//!
//! After a change of instances only their tenants are read again; after any other change, and every
//! few seconds, the registry is read as a whole. Changes that come meanwhile are read together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::cluster::{
    ClusterInstance, ClusterKey, ClusterRegistry, InstanceId, RegistryError, Status, TenantKey,
};

use super::now;
use super::threads::spawn;

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
    /// Anything.
    All,
}

/// What was read.
#[derive(Debug)]
pub(super) enum News {
    All(Listing),
    /// The instances of one tenant, by id.
    Tenant(TenantKey, Vec<Listed>),
}

/// All that a registry said at one moment, in order; nothing that is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Listing {
    pub clusters: Vec<ClusterKey>,
    pub instances: Vec<Listed>,
}

/// One instance, with the names under which others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub tenant: TenantKey,
    pub id: InstanceId,
    pub instance: ClusterInstance,
}

impl Listing {
    /// Asks the registry; may block.
    pub(super) fn read(registry: &dyn ClusterRegistry) -> Self {
        let mut clusters = registry.all_clusters();
        clusters.sort_unstable();
        clusters.dedup();
        Self {
            clusters,
            instances: sorted(registry.all_cluster_instances()),
        }
    }

    /// Puts these in the place of a tenant's instances; returns those that were there.
    pub(super) fn replace(&mut self, tenant: &TenantKey, new: Vec<Listed>) -> Vec<Listed> {
        let from = self.instances.partition_point(|it| it.tenant < *tenant);
        let to = self.instances.partition_point(|it| it.tenant <= *tenant);
        self.instances.splice(from..to, new).collect()
    }
}

/// Tells `take` of every instance that is not in `old` (`true`), and of every one that is there and
/// no longer in `new` (`false`).
pub(super) fn changes(new: &[Listed], old: &[Listed], mut take: impl FnMut(&Listed, bool)) {
    let mut before = old.iter().peekable();
    for listed in new {
        while let Some(gone) = before.next_if(|it| it.name() < listed.name()) {
            take(gone, false);
        }
        if before.next_if(|it| it.name() == listed.name()).is_none() {
            take(listed, true);
        }
    }
    before.for_each(|gone| take(gone, false));
}

/// In order, without those that are deleted; of two with the same id the later one counts.
fn sorted(all: Vec<ClusterInstance>) -> Vec<Listed> {
    let mut instances = BTreeMap::new();
    for instance in all {
        if instance.status != Status::Deleted {
            let id = InstanceId::from(instance.id.as_str());
            instances.insert((instance.key.tenant(), id), instance);
        }
    }
    let listed = |((tenant, id), instance)| Listed {
        tenant,
        id,
        instance,
    };
    instances.into_iter().map(listed).collect()
}

impl Listed {
    fn name(&self) -> (&TenantKey, &InstanceId) {
        (&self.tenant, &self.id)
    }
}

/// A registry whose reader is told of every change made through it, at once and whatever the
/// registry itself tells.
pub(super) struct Watched {
    registry: Arc<dyn ClusterRegistry>,
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
        Ok((Arc::new(Self { registry, bell }), rings))
    }

    /// Has the registry read again.
    fn ring(&self, ring: Ring) {
        // Without a reader the proxy has stopped.
        let _ = self.bell.send(ring);
    }
}

impl ClusterRegistry for Watched {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        let tenant = self.registry.add_cluster(key)?;
        self.ring(Ring::All);
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
        let mut tenants = BTreeSet::new();
        for ring in std::iter::once(first).chain(rings.try_iter()) {
            match ring {
                Ring::All => all = true,
                Ring::Tenant(tenant) => {
                    tenants.insert(tenant);
                }
            }
        }
        let taken = if all || tenants.len() > TENANTS_MAX {
            let taken = take(News::All(Listing::read(registry)));
            all_at = now() + READ_EVERY;
            taken
        } else {
            let mut read = tenants.into_iter().map(|tenant| {
                let mut instances = sorted(registry.get_cluster_instance(&tenant));
                instances.retain(|it| it.tenant == tenant);
                match instances.is_empty() {
                    // Its cluster may be gone, too.
                    true => News::All(Listing::read(registry)),
                    false => News::Tenant(tenant, instances),
                }
            });
            read.all(&take)
        };
        if !taken {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Endpoint, MemoryRegistry};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn instance(id: &str, port: u16) -> ClusterInstance {
        let endpoint = Endpoint {
            addr: "h".into(),
            port,
            name: String::new(),
        };
        ClusterInstance::new(ClusterKey::local(), id, endpoint)
    }

    fn listing(instances: &[(&str, u16)]) -> Listing {
        let registry = MemoryRegistry::new();
        registry.add_cluster(ClusterKey::local()).unwrap();
        for &(id, port) in instances {
            registry.status_change(instance(id, port)).unwrap();
        }
        Listing::read(&registry)
    }

    #[test]
    fn what_comes_and_goes_is_told() {
        let changes = |new: &Listing, old: &Listing| {
            let mut words = Vec::new();
            let take = |it: &Listed, there| words.push(format!("{} {there}", it.id));
            changes(&new.instances, &old.instances, take);
            words.sort();
            words
        };
        let none = Listing::default();
        let first = listing(&[("b", 1), ("d", 1)]);
        assert_eq!(changes(&first, &none), ["b true", "d true"]);
        assert!(changes(&first, &first).is_empty());
        let second = listing(&[("a", 1), ("b", 2), ("c", 1)]);
        assert_eq!(changes(&second, &first), ["a true", "c true", "d false"]);
        assert_eq!(changes(&none, &second), ["a false", "b false", "c false"]);
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
    fn a_change_of_an_instance_reads_its_tenant_alone() {
        let (registry, rings) = Watched::around(Arc::new(MemoryRegistry::new())).unwrap();
        let (sender, news) = channel();
        let read = Arc::clone(&registry);
        registry.add_cluster(ClusterKey::local()).unwrap();
        let reader = std::thread::spawn(move || {
            read_on(&*read, &rings, |news| sender.send(news).is_ok());
        });
        let all = news.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(all, News::All(_)), "{all:?}");
        registry.status_change(instance("b", 3)).unwrap();
        let one = news.recv_timeout(PATIENCE).unwrap();
        let News::Tenant(tenant, instances) = one else {
            panic!("{one:?}");
        };
        assert_eq!((tenant, instances.len()), (ClusterKey::local().tenant(), 1));
        let mut listing = listing(&[("a", 1), ("c", 1)]);
        let old = listing.replace(&ClusterKey::local().tenant(), instances);
        assert_eq!((old.len(), listing.instances.len()), (2, 1));
        drop(news);
        registry.status_change(instance("b", 4)).unwrap();
        reader.join().unwrap();
    }

    #[test]
    fn changes_made_through_the_proxy_are_seen_at_once() {
        let (registry, rings) = Watched::around(Arc::new(Silent(MemoryRegistry::new()))).unwrap();
        let (listings, seen) = channel();
        let read = Arc::clone(&registry);
        let reader = std::thread::spawn(move || {
            let listing = std::sync::Mutex::new(Listing::default());
            read_on(&*read, &rings, |news| {
                let mut listing = listing.lock().unwrap();
                match news {
                    News::All(all) => *listing = all,
                    News::Tenant(tenant, new) => drop(listing.replace(&tenant, new)),
                }
                listings.send(listing.clone()).is_ok()
            });
        });
        registry.add_cluster(ClusterKey::local()).unwrap();
        registry.status_change(instance("b", 3)).unwrap();
        let ports = |listing: &Listing| -> Vec<(String, u16)> {
            let all = listing.instances.iter();
            all.map(|it| (it.id.to_string(), it.instance.endpoints[0].port))
                .collect()
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
