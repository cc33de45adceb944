//! Clusters and their instances as a whole: what a control plane's list and a file hold.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::instance::ClusterInstance;
use super::key::ClusterKey;
use super::registry::ClusterRegistry;

/// All clusters of a source, each with its instances.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Catalog {
    /// In the order given.
    pub clusters: Vec<Cluster>,
}

/// A cluster and its instances.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// What identifies it.
    pub key: ClusterKey,
    /// All of this cluster; each id once.
    pub instances: Vec<ClusterInstance>,
}

impl Catalog {
    /// What a registry knows at the moment: clusters sorted by key, instances by id.
    pub fn of(registry: &dyn ClusterRegistry) -> Self {
        // The instances first: a cluster that is added between has none yet, which is true too.
        let instances = registry.all_cluster_instances();
        let keys = registry.all_clusters().into_iter();
        let mut clusters: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        clusters.extend(keys.map(|key| (key, BTreeMap::new())));
        for instance in instances {
            let cluster = clusters.entry(instance.key.clone()).or_default();
            cluster.insert(instance.id.clone(), instance);
        }
        let clusters = clusters.into_iter().map(|(key, instances)| Cluster {
            key,
            instances: instances.into_values().collect(),
        });
        Self {
            clusters: clusters.collect(),
        }
    }

    /// 16 hexadecimal digits that change with the content: a version for pollers. It is no proof
    /// against somebody who looks for two catalogs with the same one.
    pub fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}
