//! Clusters that callers added who are trusted to add and nothing more: how many there may be, and
//! which of them such a caller may still give an instance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cluster::ClusterKey;

use super::limits::CLUSTERS_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Added(Mutex<BTreeMap<ClusterKey, Standing>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No call has given it an instance.
    Empty,
    Filled,
}

impl Added {
    /// Is there room for one more? Those that are not in `listed` any more do not count.
    pub(super) fn has_room(&self, listed: impl FnOnce() -> Vec<ClusterKey>) -> bool {
        let mut clusters = self.clusters();
        if clusters.len() >= CLUSTERS_MAX {
            let listed: BTreeSet<ClusterKey> = listed().into_iter().collect();
            clusters.retain(|key, _| listed.contains(key));
        }
        clusters.len() < CLUSTERS_MAX
    }

    /// This one was added, and was not there before.
    pub(super) fn add(&self, key: ClusterKey) {
        self.clusters().insert(key, Standing::Empty);
    }

    /// A call gives it an instance.
    pub(super) fn fill(&self, key: &ClusterKey) {
        if let Some(standing) = self.clusters().get_mut(key) {
            *standing = Standing::Filled;
        }
    }

    /// It was deleted.
    pub(super) fn remove(&self, key: &ClusterKey) {
        self.clusters().remove(key);
    }

    /// Was it added like that, and never given an instance by a call?
    pub(super) fn is_empty(&self, key: &ClusterKey) -> bool {
        self.clusters().get(key) == Some(&Standing::Empty)
    }

    /// No operation leaves it half changed, so a thread that panicked spoils nothing.
    fn clusters(&self) -> MutexGuard<'_, BTreeMap<ClusterKey, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
