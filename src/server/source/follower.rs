//! Applies the clusters of one source to the registry: only the differences from the last state,
//! and only what this source added is deleted.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::{
    Catalog, Cluster, ClusterInstance, ClusterKey, ClusterRegistry, RegistryError, Status,
};

/// The source of each cluster: of two sources that list a cluster, the first owns it.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<BTreeMap<ClusterKey, String>>);

impl Claims {
    /// Claims a cluster for a source. `Err`: the name of the other source that owns it.
    fn take(&self, key: &ClusterKey, source: &str) -> Result<(), String> {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match claims.get(key) {
            Some(owner) if owner != source => Err(owner.clone()),
            _ => {
                claims.insert(key.clone(), source.to_owned());
                Ok(())
            }
        }
    }

    fn release(&self, key: &ClusterKey) {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claims.remove(key);
    }
}

/// What happens to clusters and instances that the source no longer lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnMissing {
    /// They are deleted.
    Delete,
    /// They are kept for now.
    Keep,
}

/// The outcome of [`Follower::apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Applied {
    /// Clusters and instances that were added, changed or deleted.
    pub changes: usize,
    /// Clusters and instances that are no longer listed, and were kept.
    pub kept: usize,
    /// Clusters that the registry refused, wholly or in part; to be retried.
    pub refused: usize,
}

pub(super) struct Follower {
    /// The name of the source, for logs.
    source: String,
    registry: Arc<dyn ClusterRegistry>,
    claims: Arc<Claims>,
    added: BTreeMap<ClusterKey, Instances>,
    /// Refused clusters and the reasons that were logged.
    refused: BTreeMap<ClusterKey, String>,
}

/// By id.
type Instances = BTreeMap<String, ClusterInstance>;

impl Follower {
    /// A source that has added nothing yet.
    pub(super) fn new(
        source: impl Into<String>,
        registry: Arc<dyn ClusterRegistry>,
        claims: Arc<Claims>,
    ) -> Self {
        Self {
            source: source.into(),
            registry,
            claims,
            added: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Applies the present list of the source. Additions come before deletions, so that an alias
    /// that moves between clusters always has an owner.
    pub(super) fn apply(&mut self, catalog: &Catalog, missing: OnMissing) -> Applied {
        let mut wanted: BTreeMap<&ClusterKey, &Cluster> = BTreeMap::new();
        wanted.extend(catalog.clusters.iter().map(|it| (&it.key, it)));
        let mut applied = Applied::default();
        let mut refused = BTreeMap::new();
        for cluster in wanted.values() {
            if let Err(why) = self.apply_cluster(cluster, &mut applied) {
                refused.insert(cluster.key.clone(), why);
            }
        }
        let before = applied.changes;
        self.remove_missing(&wanted, missing, &mut applied, &mut refused);
        // A deleted cluster may have had the tenant key of a new one.
        if applied.changes > before {
            refused.retain(|key, why| {
                let cluster = wanted.get(key);
                match cluster.map_or(Ok(()), |cluster| self.apply_cluster(cluster, &mut applied)) {
                    Ok(()) => cluster.is_none(),
                    Err(again) => {
                        *why = again;
                        true
                    }
                }
            });
        }
        for (key, why) in &refused {
            if self.refused.get(key) != Some(why) {
                log::error!(
                    "{}: cluster refused cluster={key} reason=\"{why}\"",
                    self.source
                );
            }
        }
        applied.refused = refused.len();
        self.refused = refused;
        applied
    }

    /// Whether this source has added no cluster.
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty()
    }

    /// Whether the registry refused a cluster in the last call of `apply`.
    pub(super) fn any_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// The clusters that this source added.
    pub(super) fn catalog(&self) -> Catalog {
        let clusters = self.added.iter().map(|(key, instances)| Cluster {
            key: key.clone(),
            instances: instances.values().cloned().collect(),
        });
        Catalog {
            clusters: clusters.collect(),
        }
    }

    /// Adds or changes a cluster and its instances.
    fn apply_cluster(&mut self, cluster: &Cluster, applied: &mut Applied) -> Result<(), String> {
        self.claim(&cluster.key, applied)?;
        let mut added = self.add_instances(cluster, applied);
        if let Err(RegistryError::UnknownCluster(_)) = added {
            // Another caller has deleted the cluster: add all of it again.
            self.added.remove(&cluster.key);
            self.claim(&cluster.key, applied)?;
            added = self.add_instances(cluster, applied);
        }
        added.map_err(|error| error.to_string())
    }

    fn add_instances(
        &mut self,
        cluster: &Cluster,
        applied: &mut Applied,
    ) -> Result<(), RegistryError> {
        let added = self.added.entry(cluster.key.clone()).or_default();
        for instance in live(cluster) {
            if added.get(&instance.id) != Some(instance) {
                self.registry.status_change(instance.clone())?;
                added.insert(instance.id.clone(), instance.clone());
                applied.changes += 1;
            }
        }
        Ok(())
    }

    /// Claims a cluster and adds it to the registry, unless this source has added it before.
    fn claim(&mut self, key: &ClusterKey, applied: &mut Applied) -> Result<(), String> {
        if self.added.contains_key(key) {
            return Ok(());
        }
        let owner = self.claims.take(key, &self.source);
        owner.map_err(|owner| format!("it comes from {owner} already"))?;
        if let Err(error) = self.registry.add_cluster(key.clone()) {
            self.claims.release(key);
            return Err(error.to_string());
        }
        self.added.insert(key.clone(), Instances::new());
        applied.changes += 1;
        Ok(())
    }

    /// Deletes or keeps what is no longer listed.
    fn remove_missing(
        &mut self,
        wanted: &BTreeMap<&ClusterKey, &Cluster>,
        missing: OnMissing,
        applied: &mut Applied,
        refused: &mut BTreeMap<ClusterKey, String>,
    ) {
        let Self {
            registry,
            claims,
            added,
            ..
        } = self;
        added.retain(|key, instances| {
            let Some(cluster) = wanted.get(key) else {
                let deleted = applied.remove(missing, || registry.remove_cluster(key));
                if deleted == Ok(true) {
                    claims.release(key);
                }
                return !deleted.unwrap_or_else(|why| {
                    refused.insert(key.clone(), why);
                    false
                });
            };
            let listed: HashSet<&str> = live(cluster).map(|it| it.id.as_str()).collect();
            instances.retain(|id, instance| {
                if listed.contains(id.as_str()) {
                    return true;
                }
                let mut deleted = instance.clone();
                deleted.status = Status::Deleted;
                let deleted = applied.remove(missing, || registry.status_change(deleted));
                !deleted.unwrap_or_else(|why| {
                    refused.insert(key.clone(), format!("instance {id}: {why}"));
                    false
                })
            });
            true
        });
    }
}

impl Applied {
    /// Deletes or keeps a cluster or an instance; `true`: it is deleted.
    fn remove(
        &mut self,
        missing: OnMissing,
        delete: impl FnOnce() -> Result<(), RegistryError>,
    ) -> Result<bool, String> {
        if missing == OnMissing::Keep {
            self.kept += 1;
            return Ok(false);
        }
        match delete() {
            // Another caller may have deleted the cluster.
            Ok(()) | Err(RegistryError::UnknownCluster(_)) => {
                self.changes += 1;
                Ok(true)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The instances of a cluster that are not deleted.
fn live(cluster: &Cluster) -> impl Iterator<Item = &ClusterInstance> {
    let instances = cluster.instances.iter();
    instances.filter(|instance| instance.status != Status::Deleted)
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
