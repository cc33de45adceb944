//! What the process knows at the moment, for whoever asks: the last picture of the clusters, and
//! their health. Locks are held for a look or a change, never while anything is waited for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster::{Health, Snapshot};

use super::desk::HealthDesk;

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    snapshot: Mutex<Arc<Snapshot>>,
    desk: Mutex<HealthDesk>,
}

impl Board {
    /// Without a cluster, for so many workers.
    pub(super) fn new(workers: u16) -> Self {
        Self {
            snapshot: Mutex::default(),
            desk: Mutex::new(HealthDesk::new(workers)),
        }
    }

    /// The last picture.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.snapshot))
    }

    /// There is a new picture.
    pub(super) fn show(&self, snapshot: Arc<Snapshot>) {
        *lock(&self.snapshot) = snapshot;
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
