//! The owners of tenant names: which cluster a tenant key or an alias belongs to.
//!
//! A login sends a password to the cluster that owns the name before the dot. So a name belongs to
//! the first cluster that claims it, and stays with that cluster while the cluster is not listed. A
//! listed cluster loses an alias when none of its instances has the label any more.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::key::{ClusterKey, TenantKey};
use super::shards::Shards;

/// Clusters that keep their names while they are not listed. Above this number the newest ones lose
/// their names, so that clusters that come and go cannot displace an old one.
const UNLISTED_MAX: usize = 100_000;

/// The owners of all tenant keys and aliases.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    owners: Shards<TenantKey, Owner>,
    aliases: Shards<Box<str>, TenantKey>,
    version: u64,
}

#[derive(Debug, Clone)]
struct Owner {
    cluster: Arc<ClusterKey>,
    /// The version at which the cluster got its tenant key.
    since: u64,
    aliases: BTreeSet<Box<str>>,
    /// The cluster has had an instance, in this run or an earlier one.
    served: bool,
}

/// The reason why a cluster does not get a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// The tenant key belongs to another cluster, which is named here.
    Key(Arc<ClusterKey>),
    /// The tenant key is an alias of the cluster that is named here.
    KeyIsAlias(TenantKey, Arc<ClusterKey>),
    /// The alias is an alias or the tenant key of the cluster that is named here.
    Alias(String, Arc<ClusterKey>),
    /// The alias has the form of a tenant key, and could be the key of a future cluster.
    KeyForm(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(owner) => {
                let tenant = owner.tenant();
                write!(f, "tenant key {tenant} already belongs to cluster {owner}")
            }
            Self::KeyIsAlias(tenant, owner) => {
                write!(f, "tenant key {tenant} is an alias of cluster {owner}")
            }
            Self::Alias(alias, owner) => {
                write!(f, "alias {alias} already belongs to cluster {owner}")
            }
            Self::KeyForm(alias) => {
                write!(f, "alias {alias} has the form of a tenant key")
            }
        }
    }
}

impl Owners {
    /// A number that grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Checks whether the cluster may have its tenant key.
    ///
    /// # Errors
    ///
    /// [`Refused::Key`] or [`Refused::KeyIsAlias`] when another cluster owns the name. A short
    /// tenant key may be an alias of another cluster.
    pub fn check_key(&self, cluster: &ClusterKey) -> Result<(), Refused> {
        let tenant = cluster.tenant();
        if let Some(owner) = self.owners.get(tenant.as_str()) {
            return match *owner.cluster == *cluster {
                true => Ok(()),
                false => Err(Refused::Key(Arc::clone(&owner.cluster))),
            };
        }
        let owner = self.aliases.get(tenant.as_str());
        match owner.and_then(|owner| self.owners.get(owner.as_str())) {
            Some(owner) => Err(Refused::KeyIsAlias(tenant, Arc::clone(&owner.cluster))),
            None => Ok(()),
        }
    }

    /// The cluster that owns `name`, which is a tenant key or an alias. The cluster need not be
    /// listed.
    pub fn owner(&self, name: &str) -> Option<&ClusterKey> {
        let by_alias = || self.owners.get(self.aliases.get(name)?.as_str());
        let owner = self.owners.get(name).or_else(by_alias);
        owner.map(|owner| &*owner.cluster)
    }

    /// Whether the cluster has had an instance, in this run or an earlier one.
    pub fn is_served(&self, cluster: &ClusterKey) -> bool {
        let owner = self.owners.get(cluster.tenant().as_str());
        owner.is_some_and(|owner| owner.served && *owner.cluster == *cluster)
    }

    /// Records that the tenant has an instance.
    pub fn serve(&mut self, tenant: &TenantKey) {
        let owner = self.owners.get(tenant.as_str());
        if owner.is_some_and(|owner| !owner.served)
            && let Some(owner) = self.owners.get_mut(tenant.as_str())
        {
            owner.served = true;
            self.version += 1;
        }
    }

    /// Checks whether the tenant, which owns its tenant key, may have this alias.
    ///
    /// # Errors
    ///
    /// [`Refused::Alias`] when another cluster owns the name, [`Refused::KeyForm`] when the alias
    /// has the form of a tenant key.
    pub fn check_alias(&self, tenant: &TenantKey, alias: &str) -> Result<(), Refused> {
        let by_alias = || self.owners.get(self.aliases.get(alias)?.as_str());
        let own = self.owners.get(tenant.as_str());
        match self.owners.get(alias).or_else(by_alias) {
            Some(owner) if own.is_some_and(|own| Arc::ptr_eq(&own.cluster, &owner.cluster)) => {
                Ok(())
            }
            Some(owner) => {
                let cluster = Arc::clone(&owner.cluster);
                Err(Refused::Alias(alias.to_owned(), cluster))
            }
            None if TenantKey::is_form(alias) => Err(Refused::KeyForm(alias.to_owned())),
            None => Ok(()),
        }
    }

    /// Gives the cluster its tenant key, if the key is free.
    ///
    /// # Errors
    ///
    /// See [`check_key`](Self::check_key).
    pub fn claim_key(&mut self, cluster: &ClusterKey) -> Result<TenantKey, Refused> {
        self.check_key(cluster)?;
        let tenant = cluster.tenant();
        if !self.owners.contains_key(tenant.as_str()) {
            self.version += 1;
            let owner = Owner {
                cluster: Arc::new(cluster.clone()),
                since: self.version,
                aliases: BTreeSet::new(),
                served: false,
            };
            self.owners.insert(tenant.clone(), owner);
        }
        Ok(tenant)
    }

    /// Gives the tenant this alias, if the alias is free.
    ///
    /// # Errors
    ///
    /// See [`check_alias`](Self::check_alias).
    pub fn claim_alias(&mut self, tenant: &TenantKey, alias: &str) -> Result<(), Refused> {
        self.check_alias(tenant, alias)?;
        if alias != tenant.as_str()
            && !self.aliases.contains_key(alias)
            && let Some(owner) = self.owners.get_mut(tenant.as_str())
        {
            self.version += 1;
            owner.aliases.insert(alias.into());
            self.aliases.insert(alias.into(), tenant.clone());
        }
        Ok(())
    }

    /// Frees the aliases of this tenant for which `keep` returns false.
    pub fn retain_aliases(&mut self, tenant: &TenantKey, keep: impl Fn(&str) -> bool) {
        let freed = self.aliases_of(tenant).filter(|alias| !keep(alias));
        let freed: Vec<Box<str>> = freed.map(Into::into).collect();
        for alias in freed {
            self.version += 1;
            self.aliases.remove(&alias);
            if let Some(owner) = self.owners.get_mut(tenant.as_str()) {
                owner.aliases.remove(&alias);
            }
        }
    }

    /// Frees the names of a cluster that is removed permanently.
    pub fn release(&mut self, cluster: &ClusterKey) {
        if self.check_key(cluster).is_ok()
            && let Some(owner) = self.owners.remove(cluster.tenant().as_str())
        {
            self.version += 1;
            for alias in owner.aliases {
                self.aliases.remove(&alias);
            }
        }
    }

    /// Frees the names of the newest clusters that are not listed, when there are more than 100,000
    /// of them. `listed` is the number of listed clusters.
    pub fn evict_unlisted(&mut self, listed: usize, is_listed: impl Fn(&TenantKey) -> bool) {
        if self.owners.len() <= UNLISTED_MAX + listed {
            return;
        }
        let unlisted = self.owners.iter().filter(|(tenant, _)| !is_listed(tenant));
        let mut unlisted: Vec<(u64, Arc<ClusterKey>)> = unlisted
            .map(|(_, owner)| (owner.since, Arc::clone(&owner.cluster)))
            .collect();
        unlisted.sort_unstable();
        for (_, cluster) in unlisted.split_off(UNLISTED_MAX.min(unlisted.len())) {
            self.release(&cluster);
        }
    }

    /// All aliases, with their tenants.
    pub(super) fn aliases(&self) -> &Shards<Box<str>, TenantKey> {
        &self.aliases
    }

    /// The aliases of one tenant, sorted.
    pub fn aliases_of(&self, tenant: &TenantKey) -> impl Iterator<Item = &str> {
        let owner = self.owners.get(tenant.as_str()).into_iter();
        owner.flat_map(|owner| owner.aliases.iter().map(AsRef::as_ref))
    }

    /// All clusters with their aliases, the oldest cluster first.
    pub fn list(&self) -> Vec<(&ClusterKey, Vec<&str>)> {
        let mut list: Vec<_> = self.owners.iter().map(|(_, owner)| owner).collect();
        list.sort_unstable_by_key(|owner| owner.since);
        let named = list.into_iter().map(|owner| {
            let names = owner.aliases.iter().map(AsRef::as_ref);
            (&*owner.cluster, names.collect())
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_belongs_to_the_first_cluster_until_it_is_released() {
        let mut owners = Owners::default();
        let (one, two) = (ClusterKey::named("one"), ClusterKey::named("two"));
        let (a, b) = (one.tenant(), two.tenant());
        owners.claim_key(&one).unwrap();
        owners.claim_alias(&a, "shop").unwrap();
        owners.claim_key(&two).unwrap();
        let taken = Refused::Alias("shop".into(), Arc::new(one.clone()));
        assert_eq!(owners.claim_alias(&b, "shop"), Err(taken));
        assert_eq!(owners.claim_alias(&a, "shop"), Ok(()));
        // The key of another tenant is rejected as an alias too.
        let key = Refused::Alias(a.to_string(), Arc::new(one.clone()));
        assert_eq!(owners.claim_alias(&b, a.as_str()), Err(key));
        let version = owners.version();
        owners.retain_aliases(&a, |_| true);
        assert_eq!(owners.version(), version);
        owners.retain_aliases(&a, |_| false);
        assert_ne!(owners.version(), version);
        assert_eq!(owners.claim_alias(&b, "shop"), Ok(()));
        assert_eq!(owners.list(), [(&one, vec![]), (&two, vec!["shop"])]);
        owners.release(&two);
        assert_eq!(owners.list(), [(&one, vec![])]);
        assert_eq!(owners.claim_alias(&a, "shop"), Ok(()));
    }

    #[test]
    fn alias_with_the_form_of_a_tenant_key_is_refused() {
        let mut owners = Owners::default();
        let tenant = owners.claim_key(&ClusterKey::named("one")).unwrap();
        let unknown = ClusterKey::named("to-come").tenant();
        for alias in [unknown.as_str(), "yigF5wkxq44", "00000000001"] {
            let refused = Refused::KeyForm(alias.into());
            assert_eq!(owners.claim_alias(&tenant, alias), Err(refused), "{alias}");
        }
        // The number of these texts exceeds 64 bits, or the text is shorter than 11 characters.
        for alias in ["inventories", "production", "a", "shop-000001"] {
            assert_eq!(owners.claim_alias(&tenant, alias), Ok(()), "{alias}");
        }
        // The tenant's own key is accepted and is not stored as an alias.
        let own = tenant.to_string();
        assert_eq!(owners.claim_alias(&tenant, &own), Ok(()));
        assert!(!owners.aliases().contains_key(&own));
    }

    /// One tenant key in 20 is short enough to be an alias.
    #[test]
    fn cluster_whose_key_is_an_alias_of_another_is_refused() {
        let mut owners = Owners::default();
        let first = ClusterKey::named("shop");
        let tenant = owners.claim_key(&first).unwrap();
        let mut others = (0..10_000).map(|n| ClusterKey::named(&n.to_string()));
        let short = |key: &ClusterKey| !TenantKey::is_form(key.tenant().as_str());
        let other = others.find(short).unwrap();
        owners
            .claim_alias(&tenant, other.tenant().as_str())
            .unwrap();
        let refused = Refused::KeyIsAlias(other.tenant(), Arc::new(first.clone()));
        assert_eq!(owners.claim_key(&other), Err(refused));
        owners.release(&other);
        assert_eq!(owners.owner(other.tenant().as_str()), Some(&first));
        owners.retain_aliases(&tenant, |_| false);
        assert_eq!(owners.claim_key(&other), Ok(other.tenant()));
    }

    #[test]
    fn colliding_cluster_is_refused_until_the_first_is_released() {
        let (first, second) = ClusterKey::colliding();
        let mut owners = Owners::default();
        owners.claim_key(&first).unwrap();
        let taken = Err(Refused::Key(Arc::new(first.clone())));
        assert_eq!(owners.claim_key(&second), taken);
        owners.release(&second);
        assert_eq!(owners.claim_key(&second), taken);
        owners.release(&first);
        assert!(owners.claim_key(&second).is_ok());
    }
}
