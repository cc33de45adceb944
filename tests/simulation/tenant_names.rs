//! The documented owners of tenant names: the first tenant that claims a name keeps it, also while
//! it is not listed; a listed tenant loses a name that it no longer claims. No tenant gets a name
//! in the form of a key, or the key of another.
//!
//! The proxy's own owners are not used here; logins are checked with these.

use std::collections::BTreeMap;

use elika::cluster::TenantKey;

/// The owners of aliases, by tenant.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, usize>);

/// The names of a tenant.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) tenant: usize,
    pub(crate) key: &'a TenantKey,
    /// The alias that all of its instances have, if it has instances.
    pub(crate) alias: Option<&'a str>,
    pub(crate) has_instances: bool,
}

/// The tenant of each name at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meanings {
    names: BTreeMap<String, usize>,
    default: Option<usize>,
}

impl Names {
    /// The registry changes; of those that claim a name at the same time, the first by key gets it.
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

    /// The tenants of names, if these tenants are listed.
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
    /// The tenant and user that a login name stands for.
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
