//! The vocabulary of the control plane: clusters, tenants, instances, and who keeps track of them.
//!
//! [`ClusterRegistry`] is what a control plane implements; [`Snapshot`] is what a worker sees of
//! it. All of this is plain data: no socket, no thread, no clock, no name resolution. How a
//! request travels is not known here.

mod instance;
mod key;
mod registry;
mod snapshot;

pub use instance::{ClusterInstance, Endpoint, Status, UnknownStatus};
pub use key::{ClusterKey, ClusterName, Location, TenantKey};
pub use registry::{ClusterRegistry, MemoryRegistry, RegistryError};
pub use snapshot::{Instance, InstanceId, Login, Snapshot, Tenant};
