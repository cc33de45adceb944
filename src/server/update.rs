//! What the publisher is told.

use std::io;
use std::net::SocketAddr;

use crate::cluster::{ClusterKey, TenantKey, TenantRules};
use crate::proxy::HealthEvent;

use super::registry::{Listed, Listing};

/// An input of the publisher.
#[derive(Debug)]
pub(super) enum Update {
    /// All that the registry lists now.
    Listing(Listing),
    /// The instances that the registry lists now for one tenant, and clusters added to it.
    Tenant(TenantKey, Listed),
    /// The result of looking up a host name.
    Resolved(String, io::Result<Vec<SocketAddr>>),
    /// The address of the primary that sentinels monitor under this name.
    Primary(String, SocketAddr),
    /// A worker's event, with the worker's number.
    HealthEvent(usize, HealthEvent),
    /// The content of the tenants' file.
    Rules(TenantRules),
    /// A cluster was deleted: its names are free.
    Release(ClusterKey),
    /// The proxy has stopped.
    Stop,
}
