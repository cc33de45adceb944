//! Warnings about invalid labels, limits and names of tenants.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::cluster::{
    ALIAS_LABEL, ClusterInstance, ClusterKey, RedisCluster, Refused, TenantKey, TenantLimits,
};
use crate::command::is_command;

/// The warnings that apply to each tenant and have been logged.
#[derive(Debug, Default)]
pub(super) struct TenantWarnings(BTreeMap<TenantKey, BTreeSet<String>>);

impl TenantWarnings {
    /// Logs those warnings of a tenant that are new.
    pub(super) fn log_new(&mut self, tenant: TenantKey, wrong: BTreeSet<String>) {
        let before = self.0.remove(&tenant).unwrap_or_default();
        for warning in wrong.difference(&before) {
            log::warn!("tenant: invalid configuration tenant={tenant} reason=\"{warning}\"");
        }
        if !wrong.is_empty() {
            self.0.insert(tenant, wrong);
        }
    }
}

/// Denied commands that no known server has: commands of modules, or misspelt ones.
pub(super) fn unknown_commands(
    limits: &TenantLimits,
    known: &mut HashMap<String, bool>,
) -> impl Iterator<Item = String> {
    let commands = limits
        .deny
        .iter()
        .filter(|command| !command.starts_with('@'));
    let unknown = commands.filter(|command| {
        let known = known.entry(command.to_string());
        !*known.or_insert_with_key(|command| is_command(command))
    });
    unknown.map(|command| format!("deny: {command} is no command of Redis or Valkey"))
}

/// Labels that are no valid alias.
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

/// Labels about Redis Cluster with a wrong value.
pub(super) fn bad_cluster_labels(instances: &[&ClusterInstance]) -> Vec<String> {
    let wrong = instances
        .iter()
        .map(|it| RedisCluster::from_labels(&it.labels).1);
    wrong.flatten().collect()
}

/// A name that the cluster could not get.
pub(super) fn refused_name(cluster: &ClusterKey, why: &Refused) -> String {
    let what = match why {
        Refused::Key(_) | Refused::KeyIsAlias(..) => "left out",
        Refused::Alias(..) | Refused::KeyForm(_) => "alias refused",
    };
    format!("cluster {cluster} {what}: {why}")
}
