//! What the registry said at one time, and what that meant for clients.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use elika::cluster::{Health, InstanceId, Snapshot, TenantKey};

use super::redis::{Moment, Redis};
use super::tenant_names::Meanings;

/// What workers go by, from when it was made until the last of them has a newer one.
#[derive(Debug)]
pub(crate) struct SnapshotRecord {
    pub(crate) at: Moment,
    /// When the last worker was told.
    pub(crate) told: Option<Moment>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// To which servers the names of all instances led, or did so before they led nowhere.
    pub(crate) known: BTreeSet<usize>,
    /// Whom names stand for.
    pub(crate) meanings: Meanings,
}

impl SnapshotRecord {
    fn instance(&self, server: &Redis) -> Option<&elika::cluster::Instance> {
        let tenant = self.snapshot.tenant_by_key(&server.tenant_key)?;
        tenant.instance(&InstanceId::from(server.instance.as_str()))
    }

    /// May new clients be sent to the instance of this server?
    pub(crate) fn is_usable(&self, server: &Redis) -> bool {
        self.instance(server)
            .is_some_and(|it| it.status.is_usable())
    }

    /// What others found out about its instance.
    pub(crate) fn health(&self, server: &Redis) -> Health {
        self.instance(server)
            .map_or(Health::Unknown, |it| it.health)
    }

    /// Is it known at all?
    pub(crate) fn lists(&self, server: &Redis) -> bool {
        self.instance(server).is_some()
    }

    /// Does its name lead to any address?
    pub(crate) fn reaches(&self, server: &Redis) -> bool {
        self.instance(server)
            .is_some_and(|it| !it.addresses.is_empty())
    }

    /// Is this server at the address of its instance, or was, before that had none?
    pub(crate) fn leads_to(&self, server: &Redis) -> bool {
        self.lists(server) && self.known.contains(&server.index)
    }

    /// Is there an instance for new clients of this tenant?
    pub(crate) fn serves(&self, tenant: &TenantKey) -> bool {
        let instances = self.snapshot.tenant_by_key(tenant).map(|it| &it.instances);
        let mut instances = instances.into_iter().flatten();
        instances.any(|it| it.status.is_usable())
    }
}

pub(crate) fn address(server: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 7000 + server as u16))
}
