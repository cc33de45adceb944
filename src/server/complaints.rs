//! What makes no sense in the labels and limits of tenants, and in the names that clusters want.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::cluster::{ALIAS_LABEL, ClusterInstance, TenantKey, TenantLimits};
use crate::command::is_command;

/// What was said of each tenant, and is still so.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<TenantKey, BTreeSet<String>>);

impl Complaints {
    /// Logs what is wrong with a tenant now, unless that was said before.
    pub(super) fn tell(&mut self, tenant: TenantKey, wrong: BTreeSet<String>) {
        let before = self.0.remove(&tenant).unwrap_or_default();
        for complaint in wrong.difference(&before) {
            log::warn!("tenant key {tenant}: {complaint}");
        }
        if !wrong.is_empty() {
            self.0.insert(tenant, wrong);
        }
    }
}

/// Denied commands that nobody has heard of: a module's, or misspelt ones.
pub(super) fn unknown_commands(
    limits: &TenantLimits,
    known: &mut HashMap<String, bool>,
) -> impl Iterator<Item = String> {
    let commands = limits.deny.iter().filter(|word| !word.starts_with('@'));
    let unknown = commands.filter(|word| {
        let known = known.entry(word.to_string());
        !*known.or_insert_with_key(|word| is_command(word))
    });
    unknown.map(|word| format!("deny: no command of Redis or Valkey is called {word}"))
}

/// Labels that cannot be a name of the tenant's.
pub(super) fn bad_aliases(instances: &[&ClusterInstance]) -> Vec<String> {
    let labels = instances.iter().filter_map(|instance| {
        let label = instance.labels.get(ALIAS_LABEL)?;
        let bad = instance.alias().is_none();
        bad.then(|| {
            format!("label {ALIAS_LABEL}: {label:?} is no alias: 1 to 64 letters, digits, - and _")
        })
    });
    labels.collect()
}
