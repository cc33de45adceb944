//! What the registry says, read on a thread of its own: one that answers slowly delays nothing but
//! its own news.
//!
//! The registry is read as a whole after each change; changes that come meanwhile are read
//! together.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::cluster::{
    ClusterInstance, ClusterKey, ClusterRegistry, InstanceId, RegistryError, Status, TenantKey,
};

/// A registry is read again after this even if it tells of no change: that a cluster without
/// instances was added, for one, is no change of an instance.
const READ_EVERY: Duration = Duration::from_secs(5);

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
        // Of two with the same id the later one counts.
        let mut instances = BTreeMap::new();
        for instance in registry.all_cluster_instances() {
            if instance.status != Status::Deleted {
                let tenant = instance.key.tenant();
                let id = InstanceId::from(instance.id.as_str());
                let listed = Listed {
                    tenant: tenant.clone(),
                    id: id.clone(),
                    instance,
                };
                instances.insert((tenant, id), listed);
            }
        }
        Self {
            clusters,
            instances: instances.into_values().collect(),
        }
    }
}

/// A registry whose reader is told of every change made through it, at once and whatever the
/// registry itself tells.
pub(super) struct Watched {
    registry: Arc<dyn ClusterRegistry>,
    bell: Sender<()>,
}

impl Watched {
    /// Subscribes to the registry. The receiver is for [`read_on`].
    ///
    /// # Errors
    ///
    /// If a thread cannot be had.
    pub(super) fn around(
        registry: Arc<dyn ClusterRegistry>,
    ) -> io::Result<(Arc<dyn ClusterRegistry>, Receiver<()>)> {
        let changes = registry.notify();
        let (bell, rings) = channel();
        let ringer = bell.clone();
        thread::Builder::new()
            .name("registry-notify".into())
            .spawn(move || {
                while changes.recv().is_ok() {
                    if ringer.send(()).is_err() {
                        return;
                    }
                }
            })?;
        Ok((Arc::new(Self { registry, bell }), rings))
    }

    /// Has the registry read again.
    fn ring(&self) {
        // Without a reader the proxy has stopped.
        let _ = self.bell.send(());
    }
}

impl ClusterRegistry for Watched {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        let tenant = self.registry.add_cluster(key)?;
        self.ring();
        Ok(tenant)
    }

    fn status_change(&self, instance: ClusterInstance) -> Result<(), RegistryError> {
        self.registry.status_change(instance)?;
        self.ring();
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
        self.ring();
        Ok(())
    }
}

/// Reads the registry after each ring, and every few seconds, until nobody takes what it says.
pub(super) fn read_on(
    registry: &dyn ClusterRegistry,
    rings: &Receiver<()>,
    take: impl Fn(Listing) -> bool,
) {
    loop {
        match rings.recv_timeout(READ_EVERY) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while rings.try_recv().is_ok() {}
        if !take(Listing::read(registry)) {
            return;
        }
    }
}
