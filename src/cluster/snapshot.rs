//! What a worker sees of the clusters: an immutable picture that is replaced as a whole.
//!
//! Owns the meaning of a login name (which tenant, which user). Host names are resolved by
//! whoever builds a snapshot; nothing here blocks or changes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::health::Health;
use super::instance::{ClusterInstance, Endpoint, Status};
use super::key::TenantKey;
use super::limits::TenantLimits;
use super::quota::Quota;
use super::shards::Shards;

/// All tenants at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) version: u64,
    /// Who is as before is the same as before: see [`Snapshot::changes_since`].
    pub(super) tenants: Shards<TenantKey, Arc<Tenant>>,
    /// Other names of tenants.
    pub(super) aliases: Shards<Box<str>, TenantKey>,
    pub(super) default_tenant: Option<TenantKey>,
}

/// A tenant: one cluster and its instances.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// What clients write before the dot.
    pub key: TenantKey,
    /// Sorted by id; each id once; may be empty.
    pub instances: Vec<Instance>,
    /// What it may use.
    pub limits: Arc<TenantLimits>,
    /// What it uses: the same in all snapshots of one [`SnapshotBuilder`](super::SnapshotBuilder).
    pub quota: Arc<Quota>,
}

/// One instance, ready to be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name, unique within the tenant.
    pub id: InstanceId,
    /// Its address for people, as `host:port`.
    pub address_text: String,
    /// What the address resolved to, in the order to try; empty if it did not.
    pub addresses: Vec<SocketAddr>,
    /// What the control plane says; never [`Status::Deleted`].
    pub status: Status,
    /// What the proxy found out, all workers together.
    pub health: Health,
}

/// The name of an instance within its cluster; cheap to clone.
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

/// Whom a login name stands for.
#[derive(Debug, Clone, Copy)]
pub enum Login<'a> {
    /// A user of a tenant's backend.
    User {
        /// Whose clusters.
        tenant: &'a Tenant,
        /// The backend's own name of the user; may be empty.
        user: &'a [u8],
    },
    /// The name does not begin with a known tenant, and there is no default one.
    UnknownTenant,
}

impl Snapshot {
    /// Counts the pictures; a higher one is newer.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The tenant called `name`, exactly as a client wrote it: by its key, or by an alias.
    pub fn tenant(&self, name: &[u8]) -> Option<&Tenant> {
        let name = str::from_utf8(name).ok()?;
        let by_alias = || self.tenants.get(self.aliases.get(name)?.as_str());
        self.tenants.get(name).or_else(by_alias).map(Arc::as_ref)
    }

    /// The tenant of this key, whatever its aliases.
    pub fn tenant_by_key(&self, key: &TenantKey) -> Option<&Tenant> {
        self.tenants.get(key.as_str()).map(Arc::as_ref)
    }

    /// The tenant of clients that name none.
    pub fn default_tenant(&self) -> Option<&Tenant> {
        self.tenant_by_key(self.default_tenant.as_ref()?)
    }

    /// All tenants, in no order that means anything.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter().map(|(_, tenant)| &**tenant)
    }

    /// The tenants that are not the same in an older picture: as they were there, and as they are
    /// now. Of snapshots that one builder has made, what is the same in both is not looked at.
    pub fn changes_since<'a>(
        &'a self,
        old: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Tenant>, Option<&'a Tenant>)> {
        let parts = self.tenants.differing(&old.tenants);
        parts.flat_map(|(old, new)| {
            let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
            let gone = gone.map(|(_, tenant)| (Some(&**tenant), None));
            let others = new.iter().filter_map(|(key, tenant)| {
                let before = old.get(key);
                let same = before.is_some_and(|before| Arc::ptr_eq(before, tenant));
                (!same).then_some((before.map(Arc::as_ref), Some(&**tenant)))
            });
            gone.chain(others)
        })
    }

    /// Whom `login` stands for, the name a client gave to AUTH or HELLO.
    ///
    /// `x.y` is user y of tenant x only if x is known: with a default tenant anything else is
    /// the backend's own user name, and those may have dots. Tenant keys have none, so the first
    /// dot divides.
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
    /// The instance called `id`.
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
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
