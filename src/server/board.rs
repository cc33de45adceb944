//! What the process knows at the moment, for whoever asks: the last picture of the clusters, and
//! their health. Locks are held for a look or a change, never while anything is waited for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster::{Health, Owners, Snapshot};

use super::desk::HealthDesk;

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    snapshot: Mutex<Arc<Snapshot>>,
    desk: Mutex<HealthDesk>,
    owners: Mutex<Owners>,
    /// Names that clusters did not get.
    refused: AtomicUsize,
}

impl Board {
    /// Without a cluster, for so many workers.
    pub(super) fn new(workers: u16) -> Self {
        Self {
            snapshot: Mutex::default(),
            desk: Mutex::new(HealthDesk::new(workers)),
            owners: Mutex::default(),
            refused: AtomicUsize::new(0),
        }
    }

    /// The last picture.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.snapshot))
    }

    /// There is a new picture; so many names were refused.
    pub(super) fn show(&self, snapshot: Arc<Snapshot>, refused: usize) {
        *lock(&self.snapshot) = snapshot;
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// Names that clusters did not get in the last picture.
    pub(super) fn names_refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whom names belong to.
    pub(super) fn owners(&self) -> MutexGuard<'_, Owners> {
        lock(&self.owners)
    }

    pub(super) fn set_owners(&self, owners: Owners) {
        *lock(&self.owners) = owners;
    }

    /// The health of all instances.
    pub(super) fn desk(&self) -> MutexGuard<'_, HealthDesk> {
        lock(&self.desk)
    }

    /// Is there an instance that clients can be sent to? If not, why.
    pub(super) fn usable(&self) -> Result<(), String> {
        let snapshot = self.snapshot();
        let instances = || snapshot.tenants().flat_map(|tenant| &tenant.instances);
        let answers = |health| matches!(health, Health::Up | Health::Degraded);
        if instances().any(|it| it.status.is_usable() && answers(it.health)) {
            return Ok(());
        }
        let (all, usable) = (
            instances().count(),
            instances().filter(|it| it.status.is_usable()).count(),
        );
        Err(match (all, usable) {
            (0, _) => "no instance of any cluster is known".to_owned(),
            (_, 0) => format!("none of {all} instances is ready or online"),
            (_, n) => format!("none of {n} instances that are ready or online answers"),
        })
    }
}

/// What is kept here is replaced as a whole, so a thread that panicked spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
