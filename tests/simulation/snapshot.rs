//! The registry at one time, and its meaning for clients.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use elika::cluster::{Health, InstanceId, Snapshot, TenantKey};

use super::redis::{Moment, Redis};
use super::tenant_names::Meanings;

/// The snapshot that workers use, from its creation until the last of them has a newer one.
#[derive(Debug)]
pub(crate) struct SnapshotRecord {
    pub(crate) at: Moment,
    /// When the last worker got it.
    pub(crate) told: Option<Moment>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// The servers to which the names of all instances resolve, or resolved last.
    pub(crate) known: BTreeSet<usize>,
    /// The tenants of names.
    pub(crate) meanings: Meanings,
}

impl SnapshotRecord {
    fn instance(&self, server: &Redis) -> Option<&elika::cluster::Instance> {
        let tenant = self.snapshot.tenant_by_key(&server.tenant_key)?;
        tenant.instance(&InstanceId::from(server.instance.as_str()))
    }

    /// Whether new clients may get the instance of this server.
    pub(crate) fn is_usable(&self, server: &Redis) -> bool {
        self.instance(server)
            .is_some_and(|it| it.status.is_usable())
    }

    /// The reported health of its instance.
    pub(crate) fn health(&self, server: &Redis) -> Health {
        self.instance(server)
            .map_or(Health::Unknown, |it| it.health)
    }

    /// Whether it is listed.
    pub(crate) fn lists(&self, server: &Redis) -> bool {
        self.instance(server).is_some()
    }

    /// Whether its name resolves.
    pub(crate) fn reaches(&self, server: &Redis) -> bool {
        self.instance(server)
            .is_some_and(|it| !it.addresses.is_empty())
    }

    /// Whether this server is at the address of its instance, or was at the last one.
    pub(crate) fn leads_to(&self, server: &Redis) -> bool {
        self.lists(server) && self.known.contains(&server.index)
    }

    /// Whether this tenant has an instance for new clients.
    pub(crate) fn serves(&self, tenant: &TenantKey) -> bool {
        let instances = self.snapshot.tenant_by_key(tenant).map(|it| &it.instances);
        let mut instances = instances.into_iter().flatten();
        instances.any(|it| it.status.is_usable())
    }
}

pub(crate) fn address(server: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 7000 + server as u16))
}
