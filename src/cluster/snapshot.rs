//! What a worker sees of the clusters: an immutable picture that is replaced as a whole.
//!
//! Owns the meaning of a login name (which tenant, which user). Host names are resolved by
//! whoever builds a snapshot; nothing here blocks or changes.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::health::Health;
use super::instance::{ClusterInstance, Endpoint, Status};
use super::key::{ClusterKey, TenantKey};
use super::limits::TenantLimits;
use super::owners::{Owners, Refused};
use super::quota::Quota;

/// All tenants at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    version: u64,
    /// Who is as before is the same as before: see [`Snapshot::changes_since`].
    tenants: BTreeMap<TenantKey, Arc<Tenant>>,
    /// Other names of tenants.
    aliases: BTreeMap<Box<str>, TenantKey>,
    default_tenant: Option<TenantKey>,
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
    /// What it uses: the same in all pictures of one [`SnapshotBuilder`].
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
    /// The first picture of a [`SnapshotBuilder`] of its own: of `instances`, each with the
    /// addresses its endpoint resolved to, about whose health nothing is known.
    pub fn new(
        version: u64,
        default_tenant: Option<TenantKey>,
        instances: impl IntoIterator<Item = (ClusterInstance, Vec<SocketAddr>)>,
    ) -> Self {
        let mut builder = SnapshotBuilder::new(default_tenant);
        builder.version = version.saturating_sub(1);
        let known = instances.into_iter().map(|(instance, addresses)| Known {
            instance,
            addresses,
            health: Health::Unknown,
        });
        builder.build(&[], known, |_, _, _| TenantLimits::default())
    }

    /// Counts the pictures; a higher one is newer.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The tenant called `name`, exactly as a client wrote it: by its key, or by an alias.
    pub fn tenant(&self, name: &[u8]) -> Option<&Tenant> {
        let name = str::from_utf8(name).ok()?;
        let by_alias = || self.tenants.get(self.aliases.get(name)?);
        self.tenants.get(name).or_else(by_alias).map(Arc::as_ref)
    }

    /// The tenant of this key, whatever its aliases.
    pub fn tenant_by_key(&self, key: &TenantKey) -> Option<&Tenant> {
        self.tenants.get(key).map(Arc::as_ref)
    }

    /// The tenant of clients that name none.
    pub fn default_tenant(&self) -> Option<&Tenant> {
        self.tenant_by_key(self.default_tenant.as_ref()?)
    }

    /// All tenants, sorted by key.
    pub fn tenants(&self) -> impl ExactSizeIterator<Item = &Tenant> {
        self.tenants.values().map(Arc::as_ref)
    }

    /// The tenants that are not the same in an older picture: as they were there, and as they are
    /// now. Those of one [`SnapshotBuilder`] about which nothing has changed are found without
    /// looking into them.
    pub fn changes_since<'a>(
        &'a self,
        old: &'a Self,
    ) -> impl Iterator<Item = (Option<&'a Tenant>, Option<&'a Tenant>)> {
        let (mut before, mut now) = (old.tenants.values(), self.tenants.values());
        let (mut left, mut right) = (before.next(), now.next());
        std::iter::from_fn(move || {
            loop {
                let order = match (left, right) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(left), Some(right)) => left.key.cmp(&right.key),
                };
                let gone = left.filter(|_| order.is_le());
                let new = right.filter(|_| order.is_ge());
                left = if order.is_le() { before.next() } else { left };
                right = if order.is_ge() { now.next() } else { right };
                match (gone, new) {
                    (Some(gone), Some(new)) if Arc::ptr_eq(gone, new) => {}
                    (gone, new) => return Some((gone.map(Arc::as_ref), new.map(Arc::as_ref))),
                }
            }
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

/// What is known of an instance when a picture is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<I = ClusterInstance> {
    /// As the registry has it; borrowed or owned.
    pub instance: I,
    /// What its endpoints resolved to, in the order to try.
    pub addresses: Vec<SocketAddr>,
    /// What the proxy found out.
    pub health: Health,
}

/// Takes one picture after the other; what tenants use, and who has which alias, stays the same
/// from one to the next.
#[derive(Debug)]
pub struct SnapshotBuilder {
    version: u64,
    default_tenant: Option<TenantKey>,
    /// As in the last picture.
    tenants: BTreeMap<TenantKey, Arc<Tenant>>,
    /// Another cluster with the same name gets none of a tenant's clients.
    owners: Owners,
    refused: BTreeSet<(ClusterKey, Refused)>,
}

impl SnapshotBuilder {
    /// `default_tenant` is the tenant of clients that name none: the static router has one, and it
    /// is known even while it has no instance.
    pub fn new(default_tenant: Option<TenantKey>) -> Self {
        Self::with_owners(default_tenant, Owners::default())
    }

    /// The same, with names that belong to clusters already.
    pub fn with_owners(default_tenant: Option<TenantKey>, owners: Owners) -> Self {
        Self {
            version: 0,
            default_tenant,
            tenants: BTreeMap::new(),
            owners,
            refused: BTreeSet::new(),
        }
    }

    /// A picture of these clusters (those of the instances need not be named) and instances, newer
    /// than all before. Deleted instances are left out; of two with the same id the later one
    /// counts. `limits` tells what a tenant may use, from its key, its aliases and its instances;
    /// it is asked once for each tenant.
    ///
    /// The label [`ALIAS_LABEL`] of an instance is another name of its tenant. Names belong to
    /// clusters by the rules of [`Owners`]; of several that want one at the same time, the first by
    /// key gets it.
    ///
    /// [`ALIAS_LABEL`]: super::ALIAS_LABEL
    pub fn build<I: Borrow<ClusterInstance>>(
        &mut self,
        clusters: &[ClusterKey],
        instances: impl IntoIterator<Item = Known<I>>,
        mut limits: impl FnMut(&TenantKey, &[&str], &[I]) -> TenantLimits,
    ) -> Snapshot {
        let groups = self.group(clusters, instances);
        self.take_aliases(&groups);
        let mut names: BTreeMap<&TenantKey, Vec<&str>> = BTreeMap::new();
        for (alias, owner) in self.owners.aliases() {
            names.entry(owner).or_default().push(alias);
        }
        let mut tenants = BTreeMap::new();
        for (key, group) in groups {
            let (instances, described): (Vec<_>, Vec<_>) = group.into_values().unzip();
            let names = names.get(&key).map_or(&[][..], Vec::as_slice);
            let limits = limits(&key, names, &described);
            let tenant = match self.tenants.get(&key) {
                Some(old) if old.instances == instances && *old.limits == limits => Arc::clone(old),
                old => Arc::new(Tenant {
                    key: key.clone(),
                    instances,
                    limits: Arc::new(limits),
                    quota: old.map(|old| Arc::clone(&old.quota)).unwrap_or_default(),
                }),
            };
            tenants.insert(key, tenant);
        }
        self.tenants.clone_from(&tenants);
        self.version += 1;
        Snapshot {
            version: self.version,
            tenants,
            aliases: self.owners.aliases().clone(),
            default_tenant: self.default_tenant.clone(),
        }
    }

    /// Clusters that did not get a name in the last picture: those refused their tenant key are not
    /// in it. A registry should have refused them.
    pub fn refused(&self) -> impl ExactSizeIterator<Item = &(ClusterKey, Refused)> {
        self.refused.iter()
    }

    /// Whom names belong to.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// The cluster is gone for good: its names are free.
    pub fn release(&mut self, cluster: &ClusterKey) {
        self.owners.release(cluster);
    }

    /// The instances of each tenant, as workers see them and as the registry has them.
    fn group<I: Borrow<ClusterInstance>>(
        &mut self,
        clusters: &[ClusterKey],
        instances: impl IntoIterator<Item = Known<I>>,
    ) -> Groups<I> {
        self.refused.clear();
        let mut groups = Groups::new();
        groups.extend(
            self.default_tenant
                .clone()
                .map(|key| (key, BTreeMap::new())),
        );
        for cluster in clusters {
            if let Some(tenant) = self.claim(cluster) {
                groups.entry(tenant).or_default();
            }
        }
        for known in instances {
            let instance = known.instance.borrow();
            if instance.status == Status::Deleted {
                continue;
            }
            let Some(tenant) = self.claim(&instance.key) else {
                continue;
            };
            let seen = Instance::new(instance, known.addresses, known.health);
            let group = groups.entry(tenant).or_default();
            group.insert(seen.id.clone(), (seen, known.instance));
        }
        self.owners
            .forget_some(|tenant| groups.contains_key(tenant));
        groups
    }

    fn claim(&mut self, cluster: &ClusterKey) -> Option<TenantKey> {
        let claimed = self.owners.claim_key(cluster);
        let refused = claimed.map_err(|why| self.refused.insert((cluster.clone(), why)));
        refused.ok()
    }

    /// See [`build`](Self::build).
    fn take_aliases<I: Borrow<ClusterInstance>>(&mut self, groups: &Groups<I>) {
        let labels = |group: &Group<I>, alias: &str| {
            let mut instances = group.values();
            instances.any(|(_, it)| it.borrow().alias() == Some(alias))
        };
        self.owners.retain_aliases(|owner, alias| {
            let group = groups.get(owner).filter(|group| !group.is_empty());
            group.is_none_or(|group| labels(group, alias))
        });
        for (tenant, group) in groups {
            for (_, instance) in group.values() {
                let instance = instance.borrow();
                let Some(alias) = instance.alias() else {
                    continue;
                };
                if let Err(why) = self.owners.claim_alias(tenant, alias) {
                    self.refused.insert((instance.key.clone(), why));
                }
            }
        }
    }
}

/// See [`SnapshotBuilder::group`].
type Groups<I> = BTreeMap<TenantKey, Group<I>>;
type Group<I> = BTreeMap<InstanceId, (Instance, I)>;

impl Instance {
    fn new(instance: &ClusterInstance, addresses: Vec<SocketAddr>, health: Health) -> Self {
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
