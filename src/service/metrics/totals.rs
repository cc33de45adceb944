//! Totals of the statistics of all workers: counters that never decrease, and the choice of tenants
//! that are shown individually. All others are added up in one row.
//!
//! To Prometheus, a counter that decreases has started again at zero. Plain sums would decrease
//! when a worker does not answer, removes an instance, or when a tenant moves from the sum of the
//! others to a row of its own. So each row adds the increase since the last collection, and a
//! new row begins at zero.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::cluster::{Health, InstanceId, TenantKey};
use crate::metrics::Traffic;
use crate::proxy::{InstanceStats, Limit, PinReason, WorkerStats};

/// An instance; `None`: all instances of tenants that are not shown individually.
pub(super) type InstanceGroup = Option<(TenantKey, InstanceId)>;

/// A tenant; `None`: all tenants that are not shown individually.
pub(super) type TenantGroup = Option<TenantKey>;

type Refused = [u64; Limit::ALL.len()];

#[derive(Debug)]
pub(super) struct Totals {
    tenants_max: usize,
    /// The last stats of each worker.
    last_stats: BTreeMap<u16, WorkerStats>,
    /// Every tenant that a worker knows, with the number of its clients.
    tenants: BTreeMap<TenantKey, u64>,
    /// The tenants that are shown individually.
    shown: BTreeSet<TenantKey>,
    /// Counters of instances. Other fields of these rows are filled in when the page is written.
    instance_rows: BTreeMap<InstanceGroup, InstanceRow>,
    /// Counters of tenants, likewise.
    tenant_rows: BTreeMap<TenantGroup, TenantRow>,
}

/// One instance, or all instances of the other tenants, over all workers.
#[derive(Clone, Debug, Default)]
pub(super) struct InstanceRow {
    /// `host:port`; empty for several instances.
    pub address: String,
    pub clients: u64,
    pub in_flight: u64,
    pub pinned: [u64; PinReason::ALL.len()],
    pub waiting: u64,
    pub oldest_wait_ms: u64,
    pub shared: u64,
    pub dedicated: u64,
    pub idle: u64,
    pub opening: u64,
    pub verifying: u64,
    /// How many instances are listed.
    pub listed: u64,
    /// How many instances are in each state, in the order of [`Health::ALL`].
    pub health: [u64; Health::ALL.len()],
    pub evictions: u64,
    pub traffic: Traffic,
}

/// One tenant, or all others, over all workers.
#[derive(Clone, Debug, Default)]
pub(super) struct TenantRow {
    /// How many tenants are paused.
    pub paused: u64,
    pub waiting: u64,
    /// On the worker with the most.
    pub dedicated: u64,
    pub refused: Refused,
}

impl Totals {
    /// Shows `tenants_max` tenants individually, and up to twice as many before one loses its row.
    pub(super) fn new(tenants_max: usize) -> Self {
        Self {
            tenants_max,
            last_stats: BTreeMap::new(),
            tenants: BTreeMap::new(),
            shown: BTreeSet::new(),
            instance_rows: BTreeMap::new(),
            tenant_rows: BTreeMap::new(),
        }
    }

    /// Adds the increases since the last stats.
    pub(super) fn take(&mut self, collected: Vec<WorkerStats>) {
        let mut earlier = Vec::new();
        for stats in collected {
            let worker = stats.worker;
            let before = self.last_stats.insert(worker, stats);
            earlier.push((worker, before.unwrap_or_default()));
        }
        let tenants = clients_of_tenants(self.last_stats.values());
        let shown = choose(&tenants, &self.shown, self.tenants_max);
        // Increases of a tenant that had no row of its own until now belong to the others.
        let hidden_before =
            |tenant: &TenantKey| self.tenants.contains_key(tenant) && !self.shown.contains(tenant);
        let group = |tenant: &TenantKey| {
            (shown.contains(tenant) && !hidden_before(tenant)).then(|| tenant.clone())
        };
        for (worker, before) in &earlier {
            if let Some(stats) = self.last_stats.get(worker) {
                count_instances(&mut self.instance_rows, stats, before, group);
                count_refused(&mut self.tenant_rows, stats, before, group);
            }
        }
        self.tenants = tenants;
        self.shown = shown;
        self.remove_rows();
    }

    /// Removes the rows of instances and tenants that no longer exist or lost their row.
    fn remove_rows(&mut self) {
        let instances = self.last_stats.values().flat_map(|stats| &stats.instances);
        let known: HashSet<(&TenantKey, &InstanceId)> = instances
            .filter(|it| self.shown.contains(&it.tenant))
            .map(|it| (&it.tenant, &it.id))
            .collect();
        self.instance_rows.retain(|group, _| match group {
            Some((tenant, id)) => known.contains(&(tenant, id)),
            None => true,
        });
        let shown = &self.shown;
        self.tenant_rows
            .retain(|group, _| group.as_ref().is_none_or(|tenant| shown.contains(tenant)));
    }

    /// The last stats of each worker, in order.
    pub(super) fn workers(&self) -> impl Iterator<Item = &WorkerStats> {
        self.last_stats.values()
    }

    /// The number of tenants.
    pub(super) fn tenant_count(&self) -> usize {
        self.tenants.len()
    }

    /// The tenants that are shown individually.
    pub(super) fn shown(&self) -> &BTreeSet<TenantKey> {
        &self.shown
    }

    /// A row for each tenant that is shown, and one for all others, if there are any or ever were.
    pub(super) fn tenants(&self) -> BTreeMap<TenantGroup, TenantRow> {
        let mut rows = self.tenant_rows.clone();
        let mut paused = BTreeSet::new();
        for tenant in self.last_stats.values().flat_map(|stats| &stats.tenants) {
            let row = rows.entry(self.group(&tenant.key)).or_default();
            row.waiting += u64::from(tenant.waiting);
            row.dedicated = row.dedicated.max(tenant.dedicated.into());
            // Several workers may report it: it is one tenant.
            if tenant.paused && paused.insert(&tenant.key) {
                row.paused += 1;
            }
        }
        rows
    }

    /// A row for each instance of the tenants that are shown, and one for those of all others.
    pub(super) fn instances(
        &self,
        health: &dyn Fn(&TenantKey, &InstanceId) -> Health,
    ) -> BTreeMap<InstanceGroup, InstanceRow> {
        let mut rows = self.instance_rows.clone();
        let mut listed = BTreeMap::new();
        for instance in self.last_stats.values().flat_map(|stats| &stats.instances) {
            let tenant = self.group(&instance.tenant);
            let group = tenant.map(|tenant| (tenant, instance.id.clone()));
            rows.entry(group).or_default().add(instance);
            let known = (&instance.tenant, &instance.id);
            *listed.entry(known).or_insert(false) |= instance.listed;
        }
        for ((tenant, id), listed) in listed {
            let group = self.group(tenant).map(|tenant| (tenant, id.clone()));
            let row = rows.entry(group).or_default();
            row.listed += u64::from(listed);
            let state = health(tenant, id);
            for (count, of) in row.health.iter_mut().zip(Health::ALL) {
                *count += u64::from(of == state);
            }
        }
        rows
    }

    fn group(&self, tenant: &TenantKey) -> TenantGroup {
        self.shown.get(tenant).cloned()
    }
}

impl InstanceRow {
    /// Adds the gauges of one worker.
    fn add(&mut self, one: &InstanceStats) {
        self.address.clone_from(&one.address);
        self.clients += u64::from(one.clients);
        self.in_flight += one.in_flight;
        for (sum, more) in self.pinned.iter_mut().zip(one.pinned) {
            *sum += u64::from(more);
        }
        self.waiting += u64::from(one.waiting);
        self.oldest_wait_ms = self.oldest_wait_ms.max(one.oldest_wait_ms);
        self.shared += u64::from(one.shared);
        self.dedicated += u64::from(one.dedicated);
        self.idle += u64::from(one.idle);
        self.opening += u64::from(one.opening);
        self.verifying += u64::from(one.verifying);
    }
}

/// Every tenant that these workers know, with the number of its clients.
fn clients_of_tenants<'a>(
    collected: impl Iterator<Item = &'a WorkerStats>,
) -> BTreeMap<TenantKey, u64> {
    let mut clients = BTreeMap::new();
    for stats in collected {
        for tenant in &stats.tenants {
            clients.entry(tenant.key.clone()).or_insert(0);
        }
        for instance in &stats.instances {
            *clients.entry(instance.tenant.clone()).or_insert(0) += u64::from(instance.clients);
        }
    }
    clients
}

/// Chooses the tenants with the most clients, and keeps earlier ones up to twice the limit: a new
/// row for each change of the order would be as bad as no limit.
fn choose(
    clients: &BTreeMap<TenantKey, u64>,
    before: &BTreeSet<TenantKey>,
    max: usize,
) -> BTreeSet<TenantKey> {
    let mut order = BTreeSet::new();
    order.extend(clients.iter().map(|(tenant, n)| {
        let is_new = !before.contains(tenant);
        (u64::MAX - n, is_new, tenant)
    }));
    let most = order.iter().take(max);
    let kept = order.iter().skip(max).filter(|(_, is_new, _)| !is_new);
    let mut shown = BTreeSet::new();
    shown.extend(most.chain(kept.take(max)).map(|(_, _, it)| (*it).clone()));
    shown
}

fn count_instances(
    counted: &mut BTreeMap<InstanceGroup, InstanceRow>,
    stats: &WorkerStats,
    before: &WorkerStats,
    group: impl Fn(&TenantKey) -> TenantGroup,
) {
    let before = before.instances.iter();
    let before: HashMap<_, _> = before.map(|it| ((&it.tenant, &it.id), it)).collect();
    for now in &stats.instances {
        let (mut traffic, mut evictions) = (now.traffic, now.evictions);
        if let Some(before) = before.get(&(&now.tenant, &now.id)) {
            traffic = traffic.since(&before.traffic);
            evictions = increase(evictions, before.evictions);
        }
        let group = group(&now.tenant).map(|tenant| (tenant, now.id.clone()));
        let sum = counted.entry(group).or_default();
        sum.traffic.add(&traffic);
        sum.evictions += evictions;
    }
}

fn count_refused(
    counted: &mut BTreeMap<TenantGroup, TenantRow>,
    stats: &WorkerStats,
    before: &WorkerStats,
    group: impl Fn(&TenantKey) -> TenantGroup,
) {
    let before: HashMap<_, _> = before.tenants.iter().map(|it| (&it.key, it)).collect();
    for now in &stats.tenants {
        let earlier = before
            .get(&now.key)
            .map_or([0; Limit::ALL.len()], |it| it.refused);
        let sums = counted.entry(group(&now.key)).or_default();
        for ((sum, n), less) in sums.refused.iter_mut().zip(now.refused).zip(earlier) {
            *sum += increase(n, less);
        }
    }
}

/// The increase of a counter. If it has decreased, it started again at zero.
fn increase(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}
