//! Clusters that local callers added: how many there may be, and which of them a local caller may
//! still give an instance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cluster::ClusterKey;

use super::limits::CLUSTERS_MAX;

#[derive(Debug, Default)]
pub(super) struct AddedClusters(Mutex<BTreeMap<ClusterKey, State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No call has added an instance to it.
    Empty,
    Filled,
}

impl AddedClusters {
    /// Whether another cluster may be added. Clusters that are no longer in `listed` do not count.
    pub(super) fn has_capacity(&self, listed: impl FnOnce() -> Vec<ClusterKey>) -> bool {
        let mut clusters = self.clusters();
        if clusters.len() >= CLUSTERS_MAX {
            let listed: BTreeSet<ClusterKey> = listed().into_iter().collect();
            clusters.retain(|key, _| listed.contains(key));
        }
        clusters.len() < CLUSTERS_MAX
    }

    /// Notes a new cluster.
    pub(super) fn add(&self, key: ClusterKey) {
        self.clusters().insert(key, State::Empty);
    }

    /// Notes that a call adds an instance to a cluster.
    pub(super) fn fill(&self, key: &ClusterKey) {
        if let Some(state) = self.clusters().get_mut(key) {
            *state = State::Filled;
        }
    }

    /// Notes that a cluster was deleted.
    pub(super) fn remove(&self, key: &ClusterKey) {
        self.clusters().remove(key);
    }

    /// Whether the cluster was added with this level and no call has added an instance to it.
    pub(super) fn is_empty(&self, key: &ClusterKey) -> bool {
        self.clusters().get(key) == Some(&State::Empty)
    }

    /// Every change is complete before the lock is released, so the map is valid even after a
    /// panic.
    fn clusters(&self) -> MutexGuard<'_, BTreeMap<ClusterKey, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
