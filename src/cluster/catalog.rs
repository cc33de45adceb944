//! Clusters and their instances as a whole: what a control plane's list and a file hold.

use super::instance::ClusterInstance;
use super::key::ClusterKey;

/// All clusters of a source, each with its instances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// In the order given.
    pub clusters: Vec<Cluster>,
}

/// A cluster and its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// What identifies it.
    pub key: ClusterKey,
    /// All of this cluster; each id once.
    pub instances: Vec<ClusterInstance>,
}
