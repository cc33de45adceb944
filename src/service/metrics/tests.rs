//! The page of handmade stats, parsed by the strict parser of the tests.

use std::collections::BTreeSet;

use crate::cluster::{ClusterKey, ClusterName, Health, InstanceId, TenantKey};
use crate::metrics::{ErrorKind, Traffic};
use crate::proxy::{Counters, InstanceStats, Limit, PinReason, TenantStats, WorkerStats};

use super::{Page, ProcessInfo, write};

#[path = "../../../tests/support/exposition.rs"]
mod exposition;

use exposition::Exposition;

fn cluster(name: &str) -> ClusterKey {
    ClusterKey {
        name: ClusterName {
            namespace: "shop \"x\"".into(),
            name: name.into(),
        },
        ..ClusterKey::local()
    }
}

fn tenant(name: &str) -> TenantKey {
    cluster(name).tenant()
}

/// An instance of the tenant.
fn instance(name: &str, clients: u32, requests: u64) -> InstanceStats {
    let mut traffic = Traffic {
        requests,
        replies: requests,
        request_bytes: 10 * requests,
        reply_bytes: 5 * requests,
        ..Traffic::default()
    };
    traffic.client_latency.record(500, requests);
    traffic.backend_latency.record(300, requests);
    for _ in 0..requests / 10 {
        traffic.error(ErrorKind::WrongType);
    }
    InstanceStats {
        tenant: tenant(name),
        id: "a".into(),
        address: "10.0.0.1:6379".into(),
        listed: true,
        health: Health::Up,
        reason: String::new(),
        clients,
        in_flight: 3,
        pinned: [1, 2, 0, 0, 0, 4],
        waiting: 2,
        oldest_wait_ms: 1_500,
        shared: 4,
        dedicated: 3,
        idle: 2,
        opening: 1,
        verifying: 2,
        evictions: requests / 100,
        traffic,
    }
}

fn worker_stats(worker: u16, instances: Vec<InstanceStats>) -> WorkerStats {
    let keys: BTreeSet<_> = instances.iter().map(|it| it.tenant.clone()).collect();
    let tenants = keys.into_iter().map(|key| TenantStats {
        key,
        paused: false,
        waiting: 0,
        dedicated: u32::from(worker) + 3,
        refused: [0; Limit::ALL.len()],
    });
    WorkerStats {
        worker,
        tenants: tenants.collect(),
        instances,
        ..WorkerStats::default()
    }
}

/// What a worker says of instances of these names, clients and requests.
fn stats(worker: u16, instances: &[(&str, u32, u64)]) -> WorkerStats {
    let instances = instances.iter();
    let instances = instances.map(|&(name, clients, requests)| instance(name, clients, requests));
    worker_stats(worker, instances.collect())
}

fn show(page: &Page, stats: Vec<WorkerStats>) -> String {
    let clusters: Vec<_> = ["one", "two", "three"].map(cluster).into();
    page.write(
        stats,
        ProcessInfo {
            node: "n\\1\n\"".into(),
            namespace: "default".into(),
            workers: 2,
            ready: true,
            draining: false,
            clients_refused: 3,
            names_refused: 1,
            sentinels: vec![("s:26379".into(), true)],
            sentinel_switches: 3,
            primaries_unknown: 1,
            accept_pauses: 4,
            clusters,
        },
        &|_: &TenantKey, _: &InstanceId| Health::Degraded,
    )
}

fn shown(page: &Page, stats: Vec<WorkerStats>) -> Exposition {
    let text = show(page, stats);
    Exposition::read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

const REQUESTS: &str = "elika_instance_requests_total";

#[test]
fn every_family_of_the_table_is_on_the_page() {
    let page = shown(&Page::new(5), vec![stats(0, &[("one", 1, 100)])]);
    let mut announced = page.families.iter();
    let mut names = BTreeSet::new();
    for family in write::all().into_iter().flat_map(|(_, families)| families) {
        let found = announced.next().unwrap();
        assert_eq!(found.name, family.name);
        assert_eq!(found.kind, family.kind.name());
        assert_eq!(found.help, family.help);
        let mut labels: BTreeSet<_> = family.labels.iter().copied().collect();
        let mut name = family.name.to_owned();
        if found.kind == "histogram" {
            labels.insert("le");
            name.push_str("_bucket");
        }
        assert_eq!(page.label_names(&name), labels, "{name}");
        assert!(names.insert(family.name), "{name} twice");
        assert!(write::table().contains(&format!("| `{}` | {} |", family.name, found.kind)));
    }
    assert!(announced.next().is_none());
    assert_eq!(Counters::ALL.len() * 8, size_of::<Counters>());
}

#[test]
fn workers_are_added_up() {
    let mut all = vec![
        stats(0, &[("one", 1, 100), ("two", 7, 0)]),
        stats(1, &[("one", 2, 200)]),
    ];
    all[0].counters.logins = 5;
    all[0].client_count = 9;
    all[0].busy_us = 2_500_000;
    all[1].counters.logins = 6;
    all[1].instances[0].oldest_wait_ms = 900;
    all[1].instances[0].listed = false;
    all[0].tenants[0].refused[Limit::Pinned as usize] = 3;
    all[1].tenants[0].refused[Limit::Pinned as usize] = 4;
    all[0].tenants[1].refused[Limit::Denied as usize] = 1;
    for tenant in all.iter_mut().flat_map(|it| &mut it.tenants) {
        (tenant.paused, tenant.waiting) = (true, 2);
    }
    let page = shown(&Page::new(5), all);
    let one = tenant("one");
    let at = |more: (&'static str, &'static str)| {
        let labels = [("tenant", one.as_str()), ("instance_id", "a"), more];
        labels.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let value = |name: &str, more| {
        let labels = at(more);
        let labels = labels.each_ref().map(|(k, v)| (k.as_str(), v.as_str()));
        page.value(&format!("elika_instance_{name}"), &labels)
    };
    let sole = ("instance_id", "a");
    let expected = [
        ("clients", sole, 3.0),
        ("requests_total", sole, 300.0),
        ("replies_total", sole, 300.0),
        ("request_bytes_total", sole, 3_000.0),
        ("reply_bytes_total", sole, 1_500.0),
        ("errors_total", ("kind", "wrongtype"), 30.0),
        ("errors_total", ("kind", "err"), 0.0),
        ("requests_in_flight", sole, 6.0),
        ("pinned_clients", ("reason", "transaction"), 2.0),
        ("pinned_clients", ("reason", "blocked"), 4.0),
        ("pinned_clients", ("reason", "other"), 8.0),
        ("waiting_clients", sole, 4.0),
        ("oldest_wait_seconds", sole, 1.5),
        ("connections", ("state", "shared"), 8.0),
        ("connections", ("state", "own"), 6.0),
        ("connections", ("state", "idle"), 4.0),
        ("connections", ("state", "opening"), 2.0),
        ("connections", ("state", "verifying"), 4.0),
        ("evictions_total", sole, 3.0),
        ("health", ("state", "degraded"), 1.0),
        ("health", ("state", "up"), 0.0),
        ("listed", sole, 1.0),
        ("info", ("address", "10.0.0.1:6379"), 1.0),
        ("client_latency_seconds_count", sole, 300.0),
        ("client_latency_seconds_sum", sole, 0.15),
        ("client_latency_seconds_bucket", ("le", "0.000256"), 0.0),
        ("client_latency_seconds_bucket", ("le", "0.000512"), 300.0),
        ("backend_latency_seconds_sum", sole, 0.09),
    ];
    for (name, more, n) in expected {
        assert_eq!(value(name, more), n, "{name} {more:?}");
    }
    assert_eq!(
        PinReason::ALL.len(),
        page.count("elika_instance_pinned_clients", &[("tenant", one.as_str())])
    );
    let refused = |row: &str, limit| {
        let labels = [("tenant", row), ("limit", limit)];
        page.value("elika_tenant_refused_total", &labels)
    };
    let two = tenant("two");
    let pinned = [&one, &two].map(|it| refused(it.as_str(), "pinned"));
    assert_eq!(pinned[0] + pinned[1], 7.0);
    assert_eq!(page.sum("elika_tenant_refused_total", &[]), 8.0);
    let value = |name: &str| page.value(name, &[("tenant", one.as_str())]);
    assert_eq!(value("elika_tenant_paused"), 1.0);
    assert_eq!(value("elika_tenant_paused_clients"), 4.0);
    let dedicated = value("elika_tenant_dedicated_connections");
    assert_eq!(dedicated, 4.0, "the worker with most");
    let cluster = [
        ("tenant", one.as_str()),
        ("cluster", "local:local:local:shop \"x\":one"),
    ];
    assert_eq!(page.value("elika_tenant_info", &cluster), 1.0);
    assert_eq!(page.count("elika_tenant_info", &[]), 2, "three has no row");
    let worker = |name: &str, worker| page.value(name, &[("worker", worker)]);
    assert_eq!(worker("elika_worker_logins_total", "0"), 5.0);
    assert_eq!(worker("elika_worker_logins_total", "1"), 6.0);
    assert_eq!(worker("elika_worker_clients", "0"), 9.0);
    assert_eq!(worker("elika_worker_busy_seconds_total", "0"), 2.5);
    assert_eq!(page.value("elika_build_info", &[("node", "n\\1\n\"")]), 1.0);
    assert_eq!(page.value("elika_workers_silent", &[]), 0.0);
    assert_eq!(page.value("elika_ready", &[]), 1.0);
    assert_eq!(page.value("elika_clients_refused_total", &[]), 3.0);
    assert_eq!(page.value("elika_accept_rests_total", &[]), 4.0);
    assert_eq!(page.value("elika_draining", &[]), 0.0);
}

#[test]
fn tenants_with_few_clients_share_a_row() {
    let page = Page::new(1);
    let instances = [("one", 1, 10), ("two", 5, 20), ("three", 2, 40)];
    let first = shown(&page, vec![stats(0, &instances)]);
    let (one, two) = (tenant("one"), tenant("two"));
    let names = BTreeSet::from([two.as_str(), "other"]);
    assert_eq!(first.values_of("tenant"), names);
    assert_eq!(first.value(REQUESTS, &[("tenant", two.as_str())]), 20.0);
    let other = [("tenant", "other"), ("instance_id", "other")];
    assert_eq!(first.value(REQUESTS, &other), 50.0);
    assert_eq!(first.value("elika_instance_clients", &other), 3.0);
    assert_eq!(first.value("elika_instance_listed", &other), 2.0);
    let state = [("tenant", "other"), ("state", "degraded")];
    assert_eq!(first.value("elika_instance_health", &state), 2.0);
    assert_eq!(first.count("elika_instance_info", &[]), 1);
    assert_eq!(first.value("elika_tenants", &[]), 3.0);
    assert_eq!(first.value("elika_tenants_shown", &[]), 1.0);
    // The tenant grows: its earlier counts stay in the group where they were counted.
    let instances = [("one", 9, 15), ("two", 5, 21), ("three", 2, 40)];
    let second = shown(&page, vec![stats(0, &instances)]);
    assert_eq!(second.value(REQUESTS, &[("tenant", one.as_str())]), 0.0);
    assert_eq!(second.value(REQUESTS, &[("tenant", two.as_str())]), 21.0);
    assert_eq!(second.value(REQUESTS, &other), 55.0);
    assert_eq!(second.value("elika_instance_clients", &other), 2.0);
    // From now on its counts are its own.
    let instances = [("one", 9, 16), ("two", 5, 21), ("three", 7, 41)];
    let third = shown(&page, vec![stats(0, &instances)]);
    assert_eq!(third.value(REQUESTS, &[("tenant", one.as_str())]), 1.0);
    assert_eq!(third.value(REQUESTS, &[("tenant", two.as_str())]), 21.0);
    assert_eq!(third.value(REQUESTS, &other), 56.0);
    // Tenant three has more clients than two, and takes its row.
    let instances = [("one", 9, 16), ("two", 5, 25), ("three", 99, 41)];
    let fourth = shown(&page, vec![stats(0, &instances)]);
    let three = tenant("three");
    let names = BTreeSet::from([one.as_str(), three.as_str(), "other"]);
    assert_eq!(fourth.values_of("tenant"), names);
    assert_eq!(fourth.value(REQUESTS, &other), 60.0);
    assert_eq!(shown(&Page::new(0), vec![]).count(REQUESTS, &[]), 0);
    let none = shown(&Page::new(0), vec![stats(0, &[("one", 1, 10)])]);
    assert_eq!(none.value(REQUESTS, &other), 10.0);
}

#[test]
fn silent_worker_is_shown_with_its_last_figures() {
    let page = Page::new(5);
    let both = |n| vec![stats(0, &[("one", 1, n)]), stats(1, &[("one", 2, n)])];
    let first = shown(&page, both(100));
    let mut one = both(150);
    one.pop();
    let second = shown(&page, one);
    assert_eq!(second.value("elika_workers_silent", &[]), 1.0);
    assert_eq!(second.sum("elika_instance_clients", &[]), 3.0);
    assert_eq!(
        (first.sum(REQUESTS, &[]), second.sum(REQUESTS, &[])),
        (200.0, 250.0)
    );
    assert_eq!(shown(&page, both(180)).sum(REQUESTS, &[]), 360.0);
}

#[test]
fn returned_instance_is_counted_from_zero() {
    let page = Page::new(5);
    let requests = |stats| shown(&page, stats).sum(REQUESTS, &[]);
    assert_eq!(
        requests(vec![
            stats(0, &[("one", 1, 100)]),
            stats(1, &[("one", 1, 10)])
        ]),
        110.0
    );
    // Worker 0 has removed the instance, worker 1 still has it.
    assert_eq!(
        requests(vec![stats(0, &[]), stats(1, &[("one", 1, 11)])]),
        111.0
    );
    assert_eq!(
        requests(vec![stats(0, &[("one", 1, 5)]), stats(1, &[])]),
        116.0
    );
    // The address changes, the counts go on.
    let mut moved = instance("one", 1, 6);
    moved.address = "10.0.0.2:6379".into();
    assert_eq!(requests(vec![worker_stats(0, vec![moved])]), 117.0);
    // No worker has the instance or its tenant.
    assert_eq!(requests(vec![stats(0, &[]), stats(1, &[])]), 0.0);
    assert_eq!(requests(vec![stats(0, &[("one", 1, 7)])]), 7.0);
    // Between two pages it started again at zero.
    assert_eq!(requests(vec![stats(0, &[("one", 1, 2)])]), 9.0);
}

/// Whatever happens, no counter that stays on the page decreases, and each count is on it exactly
/// once.
#[test]
fn no_counter_decreases_or_loses_a_count() {
    const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    for seed in 1..=12 {
        let mut random = Random(seed);
        let page = Page::new(2);
        let mut counts = [[0; NAMES.len()]; 3];
        let mut before = shown(&page, Vec::new());
        for _ in 0..40 {
            let (mut said, mut gained) = (Vec::new(), 0);
            for (worker, counts) in (0..).zip(&mut counts) {
                if random.below(5) == 0 {
                    continue;
                }
                let mut instances = Vec::new();
                for (name, count) in NAMES.into_iter().zip(counts) {
                    if random.below(6) == 0 {
                        *count = 0;
                        continue;
                    }
                    let more = random.below(1_000);
                    *count += more;
                    gained += more;
                    let clients = u32::try_from(random.below(10)).unwrap();
                    instances.push((name, clients, *count));
                }
                said.push(stats(worker, &instances));
            }
            let now = shown(&page, said);
            assert!(
                now.values_of("tenant").len() <= 5,
                "{:?}",
                now.values_of("tenant")
            );
            let earlier = before.growing();
            let mut sum = 0.0;
            for (key, n) in now.growing() {
                // These are the system's figures.
                if key.0.starts_with("process_") {
                    continue;
                }
                let was = earlier.get(key).copied().unwrap_or_default();
                assert!(was <= n, "seed {seed}: {key:?} from {was} to {n}");
                if key.0 == REQUESTS {
                    sum += n - was;
                }
            }
            assert_eq!(sum, gained as f64, "seed {seed}");
            before = now;
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % n
    }
}
