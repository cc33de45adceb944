//! The immutable view of the clusters that workers read. A new snapshot replaces the old one as a
//! whole.
//!
//! A snapshot also resolves login names to a tenant and a user. Host names are resolved before the
//! snapshot is built, so that nothing here blocks.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::health::Health;
use super::instance::{ClusterInstance, Endpoint, Status};
use super::key::TenantKey;
use super::limits::TenantLimits;
use super::quota::Quota;
use super::redis_cluster::RedisCluster;
use super::shards::Shards;

/// All tenants with their instances and limits at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) version: u64,
    /// An unchanged tenant keeps its `Arc`, by which [`Snapshot::changes_since`] skips it.
    pub(super) tenants: Shards<TenantKey, Arc<Tenant>>,
    pub(super) aliases: Shards<Box<str>, TenantKey>,
    pub(super) default_tenant: Option<TenantKey>,
}

/// A tenant: one cluster and its instances.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The tenant key: the part of a login name before the dot.
    pub key: TenantKey,
    /// The instances, sorted by id. No id occurs twice; the list may be empty.
    pub instances: Vec<Instance>,
    /// The limits of the tenant.
    pub limits: Arc<TenantLimits>,
    /// The current usage of the tenant. All snapshots of one
    /// [`SnapshotBuilder`](super::SnapshotBuilder) share it.
    pub quota: Arc<Quota>,
}

/// An instance with its resolved addresses and its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The name of the instance, unique within the tenant.
    pub id: InstanceId,
    /// The address as the registry has it, in the form `host:port`.
    pub address_text: String,
    /// The resolved addresses, in the order in which they are tried. Empty when the name does not
    /// resolve.
    pub addresses: Vec<SocketAddr>,
    /// The status that the control plane reports; never [`Status::Deleted`].
    pub status: Status,
    /// The health of the instance, from the checks of all workers.
    pub health: Health,
    /// What its labels say about Redis Cluster.
    pub redis_cluster: RedisCluster,
    /// The address is that of a primary. When another server becomes the primary, the proxy closes
    /// its connections to this one at once.
    pub fenced: bool,
}

/// The name of an instance within its cluster. A clone shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for InstanceId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The tenant and the user that a login name stands for.
#[derive(Debug, Clone, Copy)]
pub enum Login<'a> {
    /// A user of a known tenant.
    User {
        /// The tenant.
        tenant: &'a Tenant,
        /// The name of the user on the backend; may be empty.
        user: &'a [u8],
    },
    /// The name does not begin with a known tenant, and there is no default tenant.
    UnknownTenant,
}

impl Snapshot {
    /// The number of the snapshot. A newer snapshot has a higher number.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The tenant whose key or alias is exactly `name`.
    pub fn tenant(&self, name: &[u8]) -> Option<&Tenant> {
        let name = str::from_utf8(name).ok()?;
        let by_alias = || self.tenants.get(self.aliases.get(name)?.as_str());
        self.tenants.get(name).or_else(by_alias).map(Arc::as_ref)
    }

    /// The tenant with this key; aliases are not searched.
    pub fn tenant_by_key(&self, key: &TenantKey) -> Option<&Tenant> {
        self.tenants.get(key.as_str()).map(Arc::as_ref)
    }

    /// The tenant of clients whose login names no tenant.
    pub fn default_tenant(&self) -> Option<&Tenant> {
        self.tenant_by_key(self.default_tenant.as_ref()?)
    }

    /// All tenants, in no particular order.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter().map(|(_, tenant)| &**tenant)
    }

    /// The tenants that differ from an older snapshot: each with its old and its new state. `None`
    /// stands for a tenant that is not in that snapshot. When one builder has built both snapshots,
    /// unchanged parts cost no time.
    pub fn changes_since<'a>(
        &'a self,
        old: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Tenant>, Option<&'a Tenant>)> {
        let parts = self.tenants.differing(&old.tenants);
        parts.flat_map(|(old, new)| {
            let removed = old.iter().filter(|(key, _)| !new.contains_key(*key));
            let removed = removed.map(|(_, tenant)| (Some(&**tenant), None));
            let changed = new.iter().filter_map(|(key, tenant)| {
                let before = old.get(key);
                let same = before.is_some_and(|before| Arc::ptr_eq(before, tenant));
                (!same).then_some((before.map(Arc::as_ref), Some(&**tenant)))
            });
            removed.chain(changed)
        })
    }

    /// Resolves the user name that a client sends with AUTH or HELLO.
    ///
    /// The first dot separates the tenant from the user, because tenant names have no dots. `x.y`
    /// is user `y` of tenant `x` if `x` is known. Otherwise the whole name is a user of the default
    /// tenant, if there is one; user names of a backend may have dots.
    pub fn resolve_login<'a>(&'a self, login: &'a [u8]) -> Login<'a> {
        let mut parts = login.splitn(2, |&byte| byte == b'.');
        if let (Some(name), Some(user)) = (parts.next(), parts.next())
            && let Some(tenant) = self.tenant(name)
        {
            return Login::User { tenant, user };
        }
        match self.default_tenant() {
            Some(tenant) => Login::User {
                tenant,
                user: login,
            },
            None => Login::UnknownTenant,
        }
    }
}

impl Tenant {
    /// The instance with this id.
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        let found = self
            .instances
            .binary_search_by(|instance| instance.id.cmp(id));
        self.instances.get(found.ok()?)
    }
}

impl Instance {
    pub(super) fn new(
        instance: &ClusterInstance,
        addresses: Vec<SocketAddr>,
        health: Health,
    ) -> Self {
        let endpoint = instance.endpoint();
        Self {
            id: instance.id.as_str().into(),
            address_text: endpoint.map(Endpoint::to_string).unwrap_or_default(),
            addresses,
            status: instance.status,
            health,
            redis_cluster: RedisCluster::from_labels(&instance.labels).0,
            fenced: instance.sentinel().is_some(),
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
