//! Clusters, instances, tenants and their limits, and the registry that holds them.
//!
//! A control plane implements [`ClusterRegistry`]. Workers read a [`Snapshot`] of it. This module
//! is plain data: it has no sockets, threads or clocks, and resolves no names.

mod balancer;
mod builder;
mod catalog;
mod health;
mod instance;
pub mod json;
mod key;
mod limits;
mod owners;
mod quota;
mod redis_cluster;
mod registry;
mod shards;
pub(crate) mod slot_map;
mod snapshot;

pub use balancer::Balancer;
pub use builder::{Known, SnapshotBuilder};
pub use catalog::{Catalog, Cluster};
pub use health::Health;
pub use instance::{ALIAS_LABEL, ClusterInstance, Endpoint, SENTINEL_LABEL, Status, UnknownStatus};
pub use json::JsonError;
pub use key::{ClusterKey, ClusterName, Location, TenantKey};
pub use limits::{TenantLimits, TenantRules};
pub use owners::{Owners, Refused};
pub use quota::{Bucket, Gauge, Quota};
pub use redis_cluster::{Front, Mode, RedisCluster};
pub use registry::{ClusterRegistry, MemoryRegistry, RegistryError};
pub use snapshot::{Instance, InstanceId, Login, Snapshot, Tenant};
