//! The table of families filled with numbers, and the same table for readers.

use std::collections::BTreeMap;

use crate::cluster::{ClusterKey, Health};
use crate::metrics::{ErrorKind, Family, Text};
use crate::proxy::{Counters, Limit, PinReason};
use crate::service::counters::{self, FAMILIES};

use super::About;
use super::families::{PROCESS, Row, WORKERS, Whole};
use super::ledger::Ledger;
use super::tenants::{ADDRESS, CLUSTER, CONNECTIONS, INSTANCES, TENANTS};

/// What the labels of all those say that do not stand on their own.
const OTHER: &str = "other";

/// The whole page.
pub(super) fn page(text: &mut Text, whole: &Whole, ledger: &Ledger, about: &About<'_>) {
    for Row { family, show } in PROCESS {
        show(whole, &mut text.family(family));
    }
    workers(text, ledger);
    clusters(text, ledger, about.clusters);
    let tenants = ledger.tenants();
    let tenants = tenants.iter().map(|(place, row)| {
        let tenant = place.as_ref().map_or(OTHER, |tenant| tenant.as_str());
        ([tenant], row)
    });
    for row in TENANTS {
        fill(text, row, tenants.clone());
    }
    let rows = ledger.instances(about.health);
    let instances = rows.iter().map(|(place, row)| {
        let labels = place.as_ref().map_or([OTHER; 2], |(tenant, instance)| {
            [tenant.as_str(), instance.as_str()]
        });
        (labels, row)
    });
    // The others come first, if there are any.
    let others = usize::from(rows.contains_key(&None));
    fill(text, &ADDRESS, instances.clone().skip(others));
    for row in INSTANCES {
        fill(text, row, instances.clone());
    }
}

fn workers(text: &mut Text, ledger: &Ledger) {
    let workers: Vec<_> = ledger
        .workers()
        .map(|survey| (survey.worker.to_string(), survey))
        .collect();
    let workers = workers
        .iter()
        .map(|(name, survey)| ([name.as_str()], *survey));
    for row in WORKERS {
        fill(text, row, workers.clone());
    }
    for counter in Counters::ALL {
        let mut samples = text.family(&counter.family);
        for (labels, survey) in workers.clone() {
            samples
                .of(&labels)
                .number(&[], (counter.get)(&survey.counters));
        }
    }
}

fn clusters(text: &mut Text, ledger: &Ledger, clusters: &[ClusterKey]) {
    let clusters = clusters.iter().map(|it| (it.tenant(), it));
    let mut shown = BTreeMap::new();
    shown.extend(clusters.filter(|(tenant, _)| ledger.shown().contains(tenant)));
    let shown = shown.iter().map(|(tenant, it)| ([tenant.as_str()], *it));
    fill(text, &CLUSTER, shown);
}

/// One family, of all of these.
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

/// Every family, in the order of the page, by what there is one sample of.
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

/// Every family with its meaning, and the values of those labels that have fixed ones, as
/// `docs/metrics.md` shows them.
pub fn table() -> String {
    let mut table = String::new();
    let own = ("The service port", FAMILIES.to_vec());
    for (title, families) in all().into_iter().chain([own]) {
        table.push_str(&format!("| {title} | | labels | |\n|---|---|---|---|\n"));
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
