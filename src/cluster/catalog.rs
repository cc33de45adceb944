//! All clusters with their instances, as a control plane's list and a file contain them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::instance::ClusterInstance;
use super::key::ClusterKey;
use super::registry::ClusterRegistry;

/// All clusters of a source, each with its instances.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Catalog {
    /// The clusters, in the order of the source.
    pub clusters: Vec<Cluster>,
}

/// A cluster and its instances.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cluster {
    /// The key of the cluster.
    pub key: ClusterKey,
    /// The instances of the cluster. No id occurs twice.
    pub instances: Vec<ClusterInstance>,
}

impl Catalog {
    /// The current content of a registry: clusters sorted by key, instances by id.
    pub fn of(registry: &dyn ClusterRegistry) -> Self {
        // The instances are read first: a cluster that is added between the two calls is listed
        // without an instance, which is its true state at that moment.
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

    /// A hash of the content as 16 hexadecimal digits, which clients that poll compare. The hash is
    /// not cryptographic: two catalogs with the same hash can be constructed.
    pub fn etag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}
