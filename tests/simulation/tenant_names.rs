//! Whom the names of tenants belong to, as the operator is told: the first that wants a name keeps
//! it, also while it is away; one that is there gives up what it does not want any more. No tenant
//! gets a name in the form of a key, or the key of another.
//!
//! Nothing is asked of the proxy's own directory here: logins are judged by this.

use std::collections::BTreeMap;

use elika::cluster::TenantKey;

/// The owners of aliases, by tenant.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, usize>);

/// A tenant, as far as names go.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) tenant: usize,
    pub(crate) key: &'a TenantKey,
    /// The alias that all of its instances have, if it has instances.
    pub(crate) alias: Option<&'a str>,
    pub(crate) has_instances: bool,
}

/// Which tenant each name leads to at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meanings {
    names: BTreeMap<String, usize>,
    default: Option<usize>,
}

impl Names {
    /// The registry says this; of those that want a name at the same time, the first by key gets
    /// it.
    pub(crate) fn follow(&mut self, claims: &mut [Claim<'_>]) {
        claims.sort_by_key(|claim| claim.key);
        let there = claims.iter().filter(|claim| claim.has_instances);
        for claim in there.clone() {
            self.0.retain(|alias, owner| {
                *owner != claim.tenant || claim.alias == Some(alias.as_str())
            });
        }
        for claim in there {
            let key = |alias: &&str| claims.iter().any(|it| it.key.as_str() == *alias);
            let alias = claim.alias.filter(|it| !TenantKey::is_form(it) && !key(it));
            if let Some(alias) = alias {
                self.0.entry(alias.to_owned()).or_insert(claim.tenant);
            }
        }
    }

    /// Where names lead, if these tenants are there.
    pub(crate) fn meanings(
        &self,
        there: &BTreeMap<usize, TenantKey>,
        default: Option<usize>,
    ) -> Meanings {
        let keys = there.iter().map(|(tenant, key)| (key.to_string(), *tenant));
        let aliases = self.0.iter().map(|(alias, owner)| (alias.clone(), *owner));
        let aliases = aliases.filter(|(_, owner)| there.contains_key(owner));
        Meanings {
            names: aliases.chain(keys).collect(),
            default,
        }
    }
}

impl Meanings {
    /// Which tenant a login name stands for, and which user of it.
    pub(crate) fn of<'a>(&self, name: Option<&'a str>) -> Option<(usize, &'a str)> {
        let Some(name) = name else {
            return Some((self.default?, "default"));
        };
        if let Some((tenant, user)) = name.split_once('.')
            && let Some(tenant) = self.names.get(tenant)
        {
            return Some((*tenant, user));
        }
        Some((self.default?, name))
    }
}
