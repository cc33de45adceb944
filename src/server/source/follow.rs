//! What a source of clusters brought into the registry: from one state of the source to the next,
//! only the differences are told, and only what it brought is taken away again.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::{
    Catalog, Cluster, ClusterInstance, ClusterKey, ClusterRegistry, RegistryError, Status,
};

/// Which source has which cluster: of two that list the same one, the first keeps it.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<BTreeMap<ClusterKey, String>>);

impl Claims {
    /// `Err`: it belongs to this other source.
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

/// What becomes of clusters and instances that the source lists no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// They are deleted.
    Delete,
    /// They stay for now.
    Keep,
}

/// What [`Follower::apply`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Applied {
    /// Clusters and instances that were added, changed or deleted.
    pub changes: usize,
    /// Clusters and instances that are listed no longer, and stay.
    pub kept: usize,
    /// Clusters that were refused, wholly or in part: to be tried again.
    pub refused: usize,
}

/// See the module.
pub(super) struct Follower {
    /// The name of the source, for logs.
    source: String,
    registry: Arc<dyn ClusterRegistry>,
    claims: Arc<Claims>,
    brought: BTreeMap<ClusterKey, Instances>,
    /// What was refused and why, as logged.
    refused: BTreeMap<ClusterKey, String>,
}

/// By id.
type Instances = BTreeMap<String, ClusterInstance>;

impl Follower {
    /// A source that has brought nothing yet.
    pub(super) fn new(
        source: impl Into<String>,
        registry: Arc<dyn ClusterRegistry>,
        claims: Arc<Claims>,
    ) -> Self {
        Self {
            source: source.into(),
            registry,
            claims,
            brought: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The source lists these now. What is new comes before what is old goes, so that a name that
    /// moves from one to the other is never without an owner.
    pub(super) fn apply(&mut self, catalog: &Catalog, missing: Missing) -> Applied {
        let mut wanted: BTreeMap<&ClusterKey, &Cluster> = BTreeMap::new();
        wanted.extend(catalog.clusters.iter().map(|it| (&it.key, it)));
        let mut applied = Applied::default();
        let mut refused = BTreeMap::new();
        for cluster in wanted.values() {
            if let Err(why) = self.bring(cluster, &mut applied) {
                refused.insert(cluster.key.clone(), why);
            }
        }
        let before = applied.changes;
        self.drop_others(&wanted, missing, &mut applied, &mut refused);
        // A cluster that has just gone may have had the tenant key of a new one.
        if applied.changes > before {
            refused.retain(|key, why| {
                let cluster = wanted.get(key);
                match cluster.map_or(Ok(()), |cluster| self.bring(cluster, &mut applied)) {
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
                log::error!("{}: cluster {key} is not followed: {why}", self.source);
            }
        }
        applied.refused = refused.len();
        self.refused = refused;
        applied
    }

    /// Has it brought nothing?
    pub(super) fn is_empty(&self) -> bool {
        self.brought.is_empty()
    }

    /// Was something refused the last time?
    pub(super) fn any_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Everything this source brought, in order.
    pub(super) fn catalog(&self) -> Catalog {
        let clusters = self.brought.iter().map(|(key, instances)| Cluster {
            key: key.clone(),
            instances: instances.values().cloned().collect(),
        });
        Catalog {
            clusters: clusters.collect(),
        }
    }

    /// Adds and changes what is new in a cluster.
    fn bring(&mut self, cluster: &Cluster, applied: &mut Applied) -> Result<(), String> {
        self.claim(&cluster.key, applied)?;
        let mut brought = self.bring_instances(cluster, applied);
        if let Err(RegistryError::UnknownCluster(_)) = brought {
            // Somebody else has removed it: all of it has to be brought again.
            self.brought.remove(&cluster.key);
            self.claim(&cluster.key, applied)?;
            brought = self.bring_instances(cluster, applied);
        }
        brought.map_err(|error| error.to_string())
    }

    fn bring_instances(
        &mut self,
        cluster: &Cluster,
        applied: &mut Applied,
    ) -> Result<(), RegistryError> {
        let brought = self.brought.entry(cluster.key.clone()).or_default();
        for instance in live(cluster) {
            if brought.get(&instance.id) != Some(instance) {
                self.registry.status_change(instance.clone())?;
                brought.insert(instance.id.clone(), instance.clone());
                applied.changes += 1;
            }
        }
        Ok(())
    }

    /// Makes a cluster known, if it is not.
    fn claim(&mut self, key: &ClusterKey, applied: &mut Applied) -> Result<(), String> {
        if self.brought.contains_key(key) {
            return Ok(());
        }
        let owner = self.claims.take(key, &self.source);
        owner.map_err(|owner| format!("it comes from {owner} already"))?;
        if let Err(error) = self.registry.add_cluster(key.clone()) {
            self.claims.release(key);
            return Err(error.to_string());
        }
        self.brought.insert(key.clone(), Instances::new());
        applied.changes += 1;
        Ok(())
    }

    /// Deletes, or keeps, what is listed no longer.
    fn drop_others(
        &mut self,
        wanted: &BTreeMap<&ClusterKey, &Cluster>,
        missing: Missing,
        applied: &mut Applied,
        refused: &mut BTreeMap<ClusterKey, String>,
    ) {
        let Self {
            registry,
            claims,
            brought,
            ..
        } = self;
        brought.retain(|key, instances| {
            let Some(cluster) = wanted.get(key) else {
                let gone = applied.lose(missing, || registry.remove_cluster(key));
                if gone == Ok(true) {
                    claims.release(key);
                }
                return !gone.unwrap_or_else(|why| {
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
                let gone = applied.lose(missing, || registry.status_change(deleted));
                !gone.unwrap_or_else(|why| {
                    refused.insert(key.clone(), format!("instance {id}: {why}"));
                    false
                })
            });
            true
        });
    }
}

impl Applied {
    /// Something is listed no longer: is it gone now?
    fn lose(
        &mut self,
        missing: Missing,
        delete: impl FnOnce() -> Result<(), RegistryError>,
    ) -> Result<bool, String> {
        if missing == Missing::Keep {
            self.kept += 1;
            return Ok(false);
        }
        match delete() {
            // Somebody else may have removed it.
            Ok(()) | Err(RegistryError::UnknownCluster(_)) => {
                self.changes += 1;
                Ok(true)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The instances that are to be there.
fn live(cluster: &Cluster) -> impl Iterator<Item = &ClusterInstance> {
    let instances = cluster.instances.iter();
    instances.filter(|instance| instance.status != Status::Deleted)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
