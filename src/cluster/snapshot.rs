//! What a worker sees of the clusters: an immutable picture that is replaced as a whole.
//!
//! Owns the meaning of a login name (which tenant, which user). Host names are resolved by
//! whoever builds a snapshot; nothing here blocks or changes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::instance::{ClusterInstance, Endpoint, Status};
use super::key::TenantKey;

/// All tenants at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    version: u64,
    tenants: BTreeMap<TenantKey, Tenant>,
    default_tenant: Option<TenantKey>,
}

/// A tenant: one cluster and its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// What clients write before the dot.
    pub key: TenantKey,
    /// Sorted by id; each id once; may be empty.
    pub instances: Vec<Instance>,
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
    /// What is known of its health; never [`Status::Deleted`].
    pub status: Status,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// A picture of `instances`, each with the addresses its endpoint resolved to.
    ///
    /// Versions only grow; equal versions mean equal contents. `default_tenant` is the tenant of
    /// clients that name none: the static router has one, and it is known even while it has no
    /// instance. Deleted instances are left out; of two with the same id the later one counts.
    pub fn new(
        version: u64,
        default_tenant: Option<TenantKey>,
        instances: impl IntoIterator<Item = (ClusterInstance, Vec<SocketAddr>)>,
    ) -> Self {
        let mut by_tenant: BTreeMap<TenantKey, BTreeMap<InstanceId, Instance>> = BTreeMap::new();
        if let Some(key) = &default_tenant {
            by_tenant.entry(key.clone()).or_default();
        }
        for (instance, addresses) in instances {
            if instance.status != Status::Deleted {
                let tenant = by_tenant.entry(instance.key.tenant()).or_default();
                let instance = Instance::new(&instance, addresses);
                tenant.insert(instance.id.clone(), instance);
            }
        }
        let tenant = |(key, instances): (TenantKey, BTreeMap<_, _>)| {
            (
                key.clone(),
                Tenant {
                    key,
                    instances: instances.into_values().collect(),
                },
            )
        };
        Self {
            version,
            tenants: by_tenant.into_iter().map(tenant).collect(),
            default_tenant,
        }
    }

    /// Counts the pictures; a higher one is newer.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The tenant called `name`, exactly as a client wrote it.
    pub fn tenant(&self, name: &[u8]) -> Option<&Tenant> {
        self.tenants.get(str::from_utf8(name).ok()?)
    }

    /// The tenant of clients that name none.
    pub fn default_tenant(&self) -> Option<&Tenant> {
        self.tenants.get(self.default_tenant.as_ref()?)
    }

    /// All tenants, sorted by key.
    pub fn tenants(&self) -> impl ExactSizeIterator<Item = &Tenant> {
        self.tenants.values()
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
        self.instances.iter().find(|instance| instance.id == *id)
    }
}

impl Instance {
    fn new(instance: &ClusterInstance, addresses: Vec<SocketAddr>) -> Self {
        Self {
            id: instance.id.as_str().into(),
            address_text: instance
                .endpoint()
                .map(Endpoint::to_string)
                .unwrap_or_default(),
            addresses,
            status: instance.status,
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
