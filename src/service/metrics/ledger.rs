//! What is shown of all that workers told: which tenants stand on their own, and sums that never
//! go down.
//!
//! To Prometheus a counter that goes down has begun anew, and all of it counts as new. Sums of what
//! workers told would go down whenever a worker does not answer, forgets an instance that is gone,
//! or a tenant leaves the others to stand on its own. So what each row gained since the last time
//! is added to it, and a row begins at 0 where another one ends.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::cluster::{Health, InstanceId, TenantKey};
use crate::metrics::Traffic;
use crate::proxy::{InstanceSurvey, Limit, PinReason, Survey};

/// An instance; none stands for those of all tenants that are not shown.
pub(super) type InstancePlace = Option<(TenantKey, InstanceId)>;

/// A tenant; none stands for all that are not shown.
pub(super) type TenantPlace = Option<TenantKey>;

type Refused = [u64; Limit::ALL.len()];

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    tenants_max: usize,
    /// What each worker told last.
    told: BTreeMap<u16, Survey>,
    /// Every tenant that a worker knows, with its clients.
    tenants: BTreeMap<TenantKey, u64>,
    /// Those of them that stand on their own.
    shown: BTreeSet<TenantKey>,
    /// What only grows; the rest of these rows is of the moment, and not filled in here.
    instance_rows: BTreeMap<InstancePlace, InstanceRow>,
    /// The same of tenants.
    tenant_rows: BTreeMap<TenantPlace, TenantRow>,
}

/// One instance, over all workers, or several.
#[derive(Clone, Debug, Default)]
pub(super) struct InstanceRow {
    /// `host:port`; empty for several.
    pub address: String,
    pub clients: u64,
    pub in_flight: u64,
    pub pinned: [u64; PinReason::ALL.len()],
    pub waiting: u64,
    pub oldest_wait_ms: u64,
    pub shared: u64,
    pub own: u64,
    pub idle: u64,
    pub opening: u64,
    pub verifying: u64,
    /// How many are listed: 0 or 1, or of several more.
    pub listed: u64,
    /// How many are in this state, in the order of [`Health::ALL`].
    pub health: [u64; Health::ALL.len()],
    pub evictions: u64,
    pub traffic: Traffic,
}

/// One tenant, over all workers, or several.
#[derive(Clone, Debug, Default)]
pub(super) struct TenantRow {
    /// How many are paused: 0 or 1, or of several more.
    pub paused: u64,
    pub waiting: u64,
    /// On the worker that has most.
    pub dedicated: u64,
    pub refused: Refused,
}

impl Ledger {
    /// Shows that many tenants, and up to twice as many before any is hidden again.
    pub(super) fn new(tenants_max: usize) -> Self {
        Self {
            tenants_max,
            told: BTreeMap::new(),
            tenants: BTreeMap::new(),
            shown: BTreeSet::new(),
            instance_rows: BTreeMap::new(),
            tenant_rows: BTreeMap::new(),
        }
    }

    /// Adds what workers counted since they told the last time.
    pub(super) fn take(&mut self, surveys: Vec<Survey>) {
        let mut earlier = Vec::new();
        for survey in surveys {
            let worker = survey.worker;
            let before = self.told.insert(worker, survey);
            earlier.push((worker, before.unwrap_or_default()));
        }
        let tenants = clients_of_tenants(self.told.values());
        let shown = choose(&tenants, &self.shown, self.tenants_max);
        // What a tenant gained while it was among the others belongs there.
        let hidden_before =
            |tenant: &TenantKey| self.tenants.contains_key(tenant) && !self.shown.contains(tenant);
        let place = |tenant: &TenantKey| {
            (shown.contains(tenant) && !hidden_before(tenant)).then(|| tenant.clone())
        };
        for (worker, before) in &earlier {
            if let Some(survey) = self.told.get(worker) {
                count_instances(&mut self.instance_rows, survey, before, place);
                count_refused(&mut self.tenant_rows, survey, before, place);
            }
        }
        self.tenants = tenants;
        self.shown = shown;
        self.forget();
    }

    /// Rows end with what they stand for, and when their tenant is hidden.
    fn forget(&mut self) {
        let instances = self.told.values().flat_map(|survey| &survey.instances);
        let known: HashSet<(&TenantKey, &InstanceId)> = instances
            .filter(|it| self.shown.contains(&it.tenant))
            .map(|it| (&it.tenant, &it.id))
            .collect();
        self.instance_rows.retain(|place, _| match place {
            Some((tenant, id)) => known.contains(&(tenant, id)),
            None => true,
        });
        let shown = &self.shown;
        self.tenant_rows
            .retain(|place, _| place.as_ref().is_none_or(|tenant| shown.contains(tenant)));
    }

    /// What each worker told last, in order.
    pub(super) fn workers(&self) -> impl Iterator<Item = &Survey> {
        self.told.values()
    }

    /// How many tenants there are.
    pub(super) fn tenant_count(&self) -> usize {
        self.tenants.len()
    }

    /// The tenants that stand on their own.
    pub(super) fn shown(&self) -> &BTreeSet<TenantKey> {
        &self.shown
    }

    /// Every tenant that is shown, and all others together if there are any, or ever were.
    pub(super) fn tenants(&self) -> BTreeMap<TenantPlace, TenantRow> {
        let mut rows = self.tenant_rows.clone();
        let mut paused = BTreeSet::new();
        for tenant in self.told.values().flat_map(|survey| &survey.tenants) {
            let row = rows.entry(self.place(&tenant.key)).or_default();
            row.waiting += u64::from(tenant.waiting);
            row.dedicated = row.dedicated.max(tenant.dedicated.into());
            // Every worker may say so; it is one tenant.
            if tenant.paused && paused.insert(&tenant.key) {
                row.paused += 1;
            }
        }
        rows
    }

    /// Every instance of the tenants that are shown, and those of all others together.
    pub(super) fn instances(
        &self,
        health: &dyn Fn(&TenantKey, &InstanceId) -> Health,
    ) -> BTreeMap<InstancePlace, InstanceRow> {
        let mut rows = self.instance_rows.clone();
        let mut listed = BTreeMap::new();
        for instance in self.told.values().flat_map(|survey| &survey.instances) {
            let tenant = self.place(&instance.tenant);
            let place = tenant.map(|tenant| (tenant, instance.id.clone()));
            rows.entry(place).or_default().add(instance);
            let known = (&instance.tenant, &instance.id);
            *listed.entry(known).or_insert(false) |= instance.listed;
        }
        for ((tenant, id), listed) in listed {
            let place = self.place(tenant).map(|tenant| (tenant, id.clone()));
            let row = rows.entry(place).or_default();
            row.listed += u64::from(listed);
            let state = health(tenant, id);
            for (count, of) in row.health.iter_mut().zip(Health::ALL) {
                *count += u64::from(of == state);
            }
        }
        rows
    }

    fn place(&self, tenant: &TenantKey) -> TenantPlace {
        self.shown.get(tenant).cloned()
    }
}

impl InstanceRow {
    /// Adds what one worker sees at the moment.
    fn add(&mut self, one: &InstanceSurvey) {
        self.address.clone_from(&one.address);
        self.clients += u64::from(one.clients);
        self.in_flight += one.in_flight;
        for (sum, more) in self.pinned.iter_mut().zip(one.pinned) {
            *sum += u64::from(more);
        }
        self.waiting += u64::from(one.waiting);
        self.oldest_wait_ms = self.oldest_wait_ms.max(one.oldest_wait_ms);
        self.shared += u64::from(one.shared);
        self.own += u64::from(one.own);
        self.idle += u64::from(one.idle);
        self.opening += u64::from(one.opening);
        self.verifying += u64::from(one.verifying);
    }
}

/// Every tenant that these workers know, with its clients.
fn clients_of_tenants<'a>(surveys: impl Iterator<Item = &'a Survey>) -> BTreeMap<TenantKey, u64> {
    let mut clients = BTreeMap::new();
    for survey in surveys {
        for tenant in &survey.tenants {
            clients.entry(tenant.key.clone()).or_insert(0);
        }
        for instance in &survey.instances {
            *clients.entry(instance.tenant.clone()).or_insert(0) += u64::from(instance.clients);
        }
    }
    clients
}

/// Those with the most clients stand on their own, and those that did before, as long as they are
/// not more than twice as many: a new row for each change of the order would be as bad as no limit.
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
    counted: &mut BTreeMap<InstancePlace, InstanceRow>,
    survey: &Survey,
    before: &Survey,
    place: impl Fn(&TenantKey) -> TenantPlace,
) {
    let before = before.instances.iter();
    let before: HashMap<_, _> = before.map(|it| ((&it.tenant, &it.id), it)).collect();
    for now in &survey.instances {
        let (mut traffic, mut evictions) = (now.traffic, now.evictions);
        if let Some(before) = before.get(&(&now.tenant, &now.id)) {
            traffic = traffic.since(&before.traffic);
            evictions = gained(evictions, before.evictions);
        }
        let place = place(&now.tenant).map(|tenant| (tenant, now.id.clone()));
        let sum = counted.entry(place).or_default();
        sum.traffic.add(&traffic);
        sum.evictions += evictions;
    }
}

fn count_refused(
    counted: &mut BTreeMap<TenantPlace, TenantRow>,
    survey: &Survey,
    before: &Survey,
    place: impl Fn(&TenantKey) -> TenantPlace,
) {
    let before: HashMap<_, _> = before.tenants.iter().map(|it| (&it.key, it)).collect();
    for now in &survey.tenants {
        let earlier = before
            .get(&now.key)
            .map_or([0; Limit::ALL.len()], |it| it.refused);
        let sums = counted.entry(place(&now.key)).or_default();
        for ((sum, n), less) in sums.refused.iter_mut().zip(now.refused).zip(earlier) {
            *sum += gained(n, less);
        }
    }
}

/// Less than before: whoever counts began anew.
fn gained(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}
