//! Builds snapshots from clusters, their instances, and the health of the instances.
//!
//! Each snapshot is built from the previous one, so that only tenants that have changed cost time.

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

/// An instance with its addresses and its health, from which a snapshot is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<I = ClusterInstance> {
    /// The instance as the registry describes it; borrowed or owned.
    pub instance: I,
    /// The resolved addresses of its first endpoint, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// The result of the proxy's health checks.
    pub health: Health,
}

/// Builds snapshots. The quotas of tenants and the owners of tenant names carry over from one
/// snapshot to the next.
#[derive(Debug)]
pub struct SnapshotBuilder {
    last: Snapshot,
    /// A second cluster that claims the name of a tenant gets none of its clients.
    owners: Owners,
    refused: BTreeMap<TenantKey, BTreeSet<(ClusterKey, Refused)>>,
}

impl SnapshotBuilder {
    /// A builder without names. `default_tenant` is the tenant of clients whose login names no
    /// tenant. The static router has one; it is in every snapshot, also without an instance.
    pub fn new(default_tenant: Option<TenantKey>) -> Self {
        Self::with_owners(default_tenant, Owners::default())
    }

    /// A builder for which the names in `owners` already belong to clusters.
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

    /// Builds a snapshot of all clusters and instances, newer than every previous one.
    ///
    /// `clusters` may omit clusters that have an instance. Deleted instances are skipped; when two
    /// instances of a cluster have the same id, the later one counts. `limits` returns the limits
    /// of a tenant from its key, its aliases and its instances; the builder calls it once per
    /// tenant.
    ///
    /// The label [`ALIAS_LABEL`] of an instance is an alias of its tenant. Names belong to clusters
    /// by the rules of [`Owners`]. When several clusters claim the same name in one call, the first
    /// by key gets it.
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

    /// Builds a snapshot in which only these tenants change. `clusters` and `instances` are all of
    /// these tenants and of no other. The cost does not depend on the number of other tenants.
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
        self.update_aliases(&groups);
        for removed in tenants.iter().filter(|key| !groups.contains_key(*key)) {
            self.last.tenants.remove(removed.as_str());
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
            .evict_unlisted(listed.len(), |tenant| listed.contains_key(tenant.as_str()));
        self.last.version += 1;
        self.last.aliases = self.owners.aliases().clone();
        self.last.clone()
    }

    /// The clusters that did not get a name in the last snapshot, with the tenant keys of the
    /// clusters. A cluster without its tenant key is not in the snapshot. A registry that checks
    /// tenant keys rejects such a cluster before it gets here.
    pub fn refused(&self) -> impl Iterator<Item = (&TenantKey, &(ClusterKey, Refused))> {
        let tenants = self.refused.iter();
        tenants.flat_map(|(tenant, all)| all.iter().map(move |refused| (tenant, refused)))
    }

    /// The owners of tenant names.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Frees the names of a cluster that is removed permanently.
    pub fn release(&mut self, cluster: &ClusterKey) {
        self.owners.release(cluster);
    }

    /// Groups the instances by tenant, each in the form for workers and as the registry describes
    /// it.
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
            let instance = Instance::new(instance, known.addresses, known.health);
            let group = groups.entry(tenant).or_default();
            group.insert(instance.id.clone(), (instance, known.instance));
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

    /// Releases the aliases that no instance has any more, then claims the new ones.
    fn update_aliases<I: Borrow<ClusterInstance>>(&mut self, groups: &Groups<I>) {
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
    /// Builds a single snapshot of `instances`, each with the resolved addresses of its endpoint.
    /// The health of all instances is [`Health::Unknown`].
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
