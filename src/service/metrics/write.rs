//! Writes the page, and the documentation of its families.

use std::collections::BTreeMap;

use crate::cluster::{ClusterKey, Health, InstanceId, TenantKey};
use crate::metrics::{ErrorKind, Family, Text};
use crate::proxy::{Counters, Limit, PinReason};
use crate::service::counters::{self, FAMILIES};

use super::families::{PROCESS, ProcessRow, Row, WORKERS};
use super::tenants::{ADDRESS, CLUSTER, CONNECTIONS, INSTANCES, TENANTS};
use super::totals::Totals;

/// The label value of the row for all others.
const OTHER: &str = "other";

/// Writes the page.
pub(super) fn page(
    text: &mut Text,
    process_row: &ProcessRow,
    totals: &Totals,
    health: &dyn Fn(&TenantKey, &InstanceId) -> Health,
) {
    for Row { family, show } in PROCESS {
        show(process_row, &mut text.family(family));
    }
    workers(text, totals);
    clusters(text, totals, &process_row.info.clusters);
    let tenants = totals.tenants();
    let tenants = tenants.iter().map(|(group, row)| {
        let tenant = group.as_ref().map_or(OTHER, |tenant| tenant.as_str());
        ([tenant], row)
    });
    for row in TENANTS {
        fill(text, row, tenants.clone());
    }
    let rows = totals.instances(health);
    let instances = rows.iter().map(|(group, row)| {
        let labels = group.as_ref().map_or([OTHER; 2], |(tenant, instance)| {
            [tenant.as_str(), instance.as_str()]
        });
        (labels, row)
    });
    // The row of all others comes first, if there is one.
    let others = usize::from(rows.contains_key(&None));
    fill(text, &ADDRESS, instances.clone().skip(others));
    for row in INSTANCES {
        fill(text, row, instances.clone());
    }
}

fn workers(text: &mut Text, totals: &Totals) {
    let workers: Vec<_> = totals
        .workers()
        .map(|stats| (stats.worker.to_string(), stats))
        .collect();
    let workers = workers
        .iter()
        .map(|(name, stats)| ([name.as_str()], *stats));
    for row in WORKERS {
        fill(text, row, workers.clone());
    }
    for counter in Counters::ALL {
        let mut samples = text.family(&counter.family);
        for (labels, stats) in workers.clone() {
            samples
                .of(&labels)
                .number(&[], (counter.get)(&stats.counters));
        }
    }
}

fn clusters(text: &mut Text, totals: &Totals, clusters: &[ClusterKey]) {
    let clusters = clusters.iter().map(|it| (it.tenant(), it));
    let mut shown = BTreeMap::new();
    shown.extend(clusters.filter(|(tenant, _)| totals.shown().contains(tenant)));
    let shown = shown.iter().map(|(tenant, it)| ([tenant.as_str()], *it));
    fill(text, &CLUSTER, shown);
}

/// Writes one family with the samples of several rows.
fn fill<'a, T: 'a, const N: usize>(
    text: &mut Text,
    row: &Row<T>,
    of: impl Iterator<Item = ([&'a str; N], &'a T)>,
) {
    let mut samples = text.family(&row.family);
    for (labels, it) in of {
        (row.show)(it, samples.of(&labels));
    }
}

/// All families, in the order of the page.
pub(super) fn all() -> [(&'static str, Vec<Family>); 4] {
    fn of<T>(rows: &[Row<T>]) -> impl Iterator<Item = Family> {
        rows.iter().map(|row| row.family)
    }
    let counters = Counters::ALL.iter().map(|counter| counter.family);
    [
        ("The process", of(PROCESS).collect()),
        ("Each worker", of(WORKERS).chain(counters).collect()),
        ("Each tenant", of(&[CLUSTER]).chain(of(TENANTS)).collect()),
        (
            "Each instance",
            of(&[ADDRESS]).chain(of(INSTANCES)).collect(),
        ),
    ]
}

/// Documentation of every family, with the values of labels that are fixed, as `docs/metrics.md`
/// has it.
pub fn table() -> String {
    let mut table = String::new();
    let own = ("The service port", FAMILIES.to_vec());
    for (title, families) in all().into_iter().chain([own]) {
        table.push_str(&format!(
            "| {title} | type | labels | meaning |\n|---|---|---|---|\n"
        ));
        for family in families {
            let (name, kind, help) = (family.name, family.kind.name(), family.help);
            let labels = list(family.labels.iter().copied());
            table.push_str(&format!("| `{name}` | {kind} |{labels} | {help} |\n"));
        }
        table.push('\n');
    }
    table.push_str("| label | values |\n|---|---|\n");
    let errors = list(ErrorKind::ALL.into_iter().map(ErrorKind::name));
    let limits = list(Limit::ALL.into_iter().map(Limit::name));
    let reasons = list(PinReason::ALL.into_iter().map(PinReason::name));
    let states = list(Health::ALL.into_iter().map(Health::name));
    let connections = list(CONNECTIONS.into_iter());
    for (label, values) in [
        ("`kind`", errors),
        ("`limit`", limits),
        ("`limit` of the service port", list(counters::limits())),
        ("`reason`", reasons),
        ("`state` of an instance", states),
        ("`state` of connections", connections),
    ] {
        table.push_str(&format!("| {label} |{values} |\n"));
    }
    table
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!(" `{name}`")).collect();
    names.join(",")
}
