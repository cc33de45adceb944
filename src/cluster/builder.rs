//! Makes one snapshot after the other from what is known of clusters and their instances.
//!
//! Each is made from the one before: only tenants of which something has changed are looked at.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::health::Health;
use super::instance::{ClusterInstance, Status};
use super::key::{ClusterKey, TenantKey};
use super::limits::TenantLimits;
use super::owners::{Owners, Refused};
use super::snapshot::{Instance, InstanceId, Snapshot, Tenant};

/// What is known of an instance when a snapshot is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<I = ClusterInstance> {
    /// As the registry has it; borrowed or owned.
    pub instance: I,
    /// What its endpoints resolved to, in the order to try.
    pub addresses: Vec<SocketAddr>,
    /// What the proxy found out.
    pub health: Health,
}

/// Takes one snapshot after the other; what tenants use, and who has which alias, stays the same
/// from one to the next.
#[derive(Debug)]
pub struct SnapshotBuilder {
    last: Snapshot,
    /// Another cluster with the same name gets none of a tenant's clients.
    owners: Owners,
    refused: BTreeMap<TenantKey, BTreeSet<(ClusterKey, Refused)>>,
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
            last: Snapshot {
                default_tenant,
                ..Snapshot::default()
            },
            owners,
            refused: BTreeMap::new(),
        }
    }

    /// A snapshot of these clusters (those of the instances need not be named) and instances, newer
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
        limits: impl FnMut(&TenantKey, &[&str], &[I]) -> TenantLimits,
    ) -> Snapshot {
        let known = self.last.tenants.iter().map(|(key, _)| key);
        let known = known
            .chain(self.refused.keys())
            .chain(&self.last.default_tenant);
        let known = known.cloned().collect();
        self.update(&known, clusters, instances, limits)
    }

    /// The same, but all other tenants than these are as they were in the last one: `clusters` and
    /// `instances` are those of these tenants. It costs no more if there are many others.
    pub fn update<'a, I: Borrow<ClusterInstance>>(
        &mut self,
        tenants: &BTreeSet<TenantKey>,
        clusters: impl IntoIterator<Item = &'a ClusterKey>,
        instances: impl IntoIterator<Item = Known<I>>,
        mut limits: impl FnMut(&TenantKey, &[&str], &[I]) -> TenantLimits,
    ) -> Snapshot {
        for tenant in tenants {
            self.refused.remove(tenant);
        }
        let mut groups = self.group(clusters, instances);
        if let Some(key) = &self.last.default_tenant
            && tenants.contains(key)
        {
            groups.entry(key.clone()).or_default();
        }
        self.take_aliases(&groups);
        for gone in tenants.iter().filter(|key| !groups.contains_key(*key)) {
            self.last.tenants.remove(gone.as_str());
        }
        for (key, group) in groups {
            let (instances, described): (Vec<_>, Vec<_>) = group.into_values().unzip();
            let names: Vec<&str> = self.owners.aliases_of(&key).collect();
            let limits = limits(&key, &names, &described);
            let old = self.last.tenants.get(key.as_str());
            if old.is_some_and(|old| old.instances == instances && *old.limits == limits) {
                continue;
            }
            let tenant = Tenant {
                key: key.clone(),
                instances,
                limits: Arc::new(limits),
                quota: old.map(|old| Arc::clone(&old.quota)).unwrap_or_default(),
            };
            self.last.tenants.insert(key, Arc::new(tenant));
        }
        let listed = &self.last.tenants;
        self.owners
            .forget_some(listed.len(), |tenant| listed.contains_key(tenant.as_str()));
        self.last.version += 1;
        self.last.aliases = self.owners.aliases().clone();
        self.last.clone()
    }

    /// Clusters that did not get a name in the last snapshot, with the tenants that they are or
    /// would be: those refused their tenant key are not in it. A registry should have refused them.
    pub fn refused(&self) -> impl Iterator<Item = (&TenantKey, &(ClusterKey, Refused))> {
        let tenants = self.refused.iter();
        tenants.flat_map(|(tenant, all)| all.iter().map(move |refused| (tenant, refused)))
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
    fn group<'a, I: Borrow<ClusterInstance>>(
        &mut self,
        clusters: impl IntoIterator<Item = &'a ClusterKey>,
        instances: impl IntoIterator<Item = Known<I>>,
    ) -> Groups<I> {
        let mut groups = Groups::new();
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
            self.owners.serve(&tenant);
            let seen = Instance::new(instance, known.addresses, known.health);
            let group = groups.entry(tenant).or_default();
            group.insert(seen.id.clone(), (seen, known.instance));
        }
        groups
    }

    fn claim(&mut self, cluster: &ClusterKey) -> Option<TenantKey> {
        let claimed = self.owners.claim_key(cluster);
        let refused = claimed.map_err(|why| self.refuse(cluster.tenant(), cluster, why));
        refused.ok()
    }

    fn refuse(&mut self, tenant: TenantKey, cluster: &ClusterKey, why: Refused) {
        let refused = self.refused.entry(tenant).or_default();
        refused.insert((cluster.clone(), why));
    }

    /// See [`build`](Self::build).
    fn take_aliases<I: Borrow<ClusterInstance>>(&mut self, groups: &Groups<I>) {
        for (tenant, group) in groups.iter().filter(|(_, group)| !group.is_empty()) {
            let labels = |alias: &str| {
                let mut instances = group.values();
                instances.any(|(_, it)| it.borrow().alias() == Some(alias))
            };
            self.owners.retain_aliases(tenant, labels);
        }
        for (tenant, group) in groups {
            for (_, instance) in group.values() {
                let instance = instance.borrow();
                let Some(alias) = instance.alias() else {
                    continue;
                };
                if let Err(why) = self.owners.claim_alias(tenant, alias) {
                    self.refuse(tenant.clone(), &instance.key, why);
                }
            }
        }
    }
}

/// See [`SnapshotBuilder::group`].
type Groups<I> = BTreeMap<TenantKey, Group<I>>;
type Group<I> = BTreeMap<InstanceId, (Instance, I)>;

impl Snapshot {
    /// The first one of a [`SnapshotBuilder`] of its own: of `instances`, each with the addresses
    /// its endpoint resolved to, about whose health nothing is known.
    pub fn new(
        version: u64,
        default_tenant: Option<TenantKey>,
        instances: impl IntoIterator<Item = (ClusterInstance, Vec<SocketAddr>)>,
    ) -> Self {
        let mut builder = SnapshotBuilder::new(default_tenant);
        builder.last.version = version.saturating_sub(1);
        let known = instances.into_iter().map(|(instance, addresses)| Known {
            instance,
            addresses,
            health: Health::Unknown,
        });
        builder.build(&[], known, |_, _, _| TenantLimits::default())
    }
}
