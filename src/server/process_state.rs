//! State that the publisher writes and the service port reads: the last snapshot, the health of
//! instances, the owners of names. A lock is held for one read or write, never during a wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster::{Health, Owners, Snapshot};

use super::health::HealthTable;

#[derive(Debug)]
pub(super) struct ProcessState {
    snapshot: Mutex<Arc<Snapshot>>,
    health_table: Mutex<HealthTable>,
    owners: Mutex<Owners>,
    /// Tenant keys and aliases that clusters could not get in the last snapshot.
    refused: AtomicUsize,
}

impl ProcessState {
    /// State without clusters.
    pub(super) fn new(workers: u16) -> Self {
        Self {
            snapshot: Mutex::default(),
            health_table: Mutex::new(HealthTable::new(workers)),
            owners: Mutex::default(),
            refused: AtomicUsize::new(0),
        }
    }

    /// The last snapshot.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.snapshot))
    }

    /// Replaces the snapshot; `refused` names could not be given to their clusters.
    pub(super) fn set_snapshot(&self, snapshot: Arc<Snapshot>, refused: usize) {
        *lock(&self.snapshot) = snapshot;
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// Tenant keys and aliases that clusters could not get in the last snapshot.
    pub(super) fn names_refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// The owners of tenant keys and aliases.
    pub(super) fn owners(&self) -> MutexGuard<'_, Owners> {
        lock(&self.owners)
    }

    pub(super) fn set_owners(&self, owners: Owners) {
        *lock(&self.owners) = owners;
    }

    /// The health of all instances.
    pub(super) fn health_table(&self) -> MutexGuard<'_, HealthTable> {
        lock(&self.health_table)
    }

    /// Whether clients can be served: an instance is `ready` or `online`, and up or degraded.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
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
            (0, _) => "no instance is known".to_owned(),
            (_, 0) => format!("none of {all} instances is ready or online"),
            (_, n) => format!("none of {n} usable instances is up"),
        })
    }
}

/// Each value is replaced as a whole, so it is valid even after a panic of the thread that held the
/// lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
