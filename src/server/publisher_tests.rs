//! A publisher with a registry, a resolver and a worker that the test controls.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::*;
use crate::cluster::{ALIAS_LABEL, ClusterKey, ClusterRegistry, Endpoint, MemoryRegistry};
use crate::cluster::{SENTINEL_LABEL, Snapshot, Status};
use crate::proxy::{HealthChange, HealthEvent};
use crate::reactor::poll_and_inbox;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A running publisher and the inbox of its one worker.
struct Fixture {
    updates: Sender<Update>,
    inbox: Receiver<Message>,
    /// Keeps the worker's end of the inbox: without it the inbox cannot be woken.
    _poll: mio::Poll,
    process: Arc<ProcessState>,
}

fn instance(id: &str, addr: &str) -> ClusterInstance {
    let endpoint = Endpoint::new(addr, 6379);
    ClusterInstance::new(ClusterKey::local(), id, endpoint)
}

fn listing(instances: &[ClusterInstance]) -> Listing {
    let registry = MemoryRegistry::new();
    registry.add_cluster(ClusterKey::local()).unwrap();
    for instance in instances {
        registry.status_change(instance.clone()).unwrap();
    }
    crate::server::registry::read(&registry)
}

impl Fixture {
    fn start(first: &[ClusterInstance], lookup: Lookup) -> Self {
        Self::with(first, lookup, Primaries::default(), Vec::new())
    }

    /// A publisher that has these updates before its first snapshot.
    fn with(
        first: &[ClusterInstance],
        lookup: Lookup,
        primaries: Primaries,
        early: Vec<Update>,
    ) -> Self {
        let (updates, receiver) = channel();
        for update in early {
            updates.send(update).unwrap();
        }
        let (poll, sender, inbox) = poll_and_inbox().unwrap();
        let process = Arc::new(ProcessState::new(1));
        let publisher = Publisher::new(
            (updates.clone(), receiver),
            None,
            listing(first),
            Default::default(),
            primaries,
            Arc::clone(&process),
            lookup,
        );
        std::thread::spawn(move || publisher.run(&[sender]));
        Self {
            updates,
            inbox,
            _poll: poll,
            process,
        }
    }

    fn list(&self, instances: &[ClusterInstance]) {
        self.updates
            .send(Update::Listing(listing(instances)))
            .unwrap();
    }

    fn next_snapshot(&self) -> Arc<Snapshot> {
        match self.inbox.recv_timeout(TIMEOUT) {
            Ok(Message::Snapshot(snapshot)) => snapshot,
            other => panic!("{other:?}"),
        }
    }
}

/// What a snapshot contains of each instance.
fn contents(snapshot: &Snapshot) -> Vec<String> {
    let instances = snapshot.tenants().flat_map(|tenant| &tenant.instances);
    let fields = instances.map(|it| {
        let addresses: Vec<String> = it.addresses.iter().map(ToString::to_string).collect();
        format!(
            "{} {} {} {}",
            it.id,
            it.status,
            it.health,
            addresses.join(",")
        )
    });
    fields.collect()
}

fn unresolved() -> Lookup {
    Arc::new(|name| panic!("{name} is no name"))
}

#[test]
fn registry_changes_are_in_the_next_snapshot() {
    let fixture = Fixture::start(&[instance("a", "10.0.0.1")], unresolved());
    assert_eq!(
        contents(&fixture.process.snapshot()),
        ["a ready unknown 10.0.0.1:6379"]
    );
    let mut a = instance("a", "10.0.0.1");
    a.status = Status::Offline;
    fixture.list(&[a.clone(), instance("b", "::1")]);
    let both = [
        "a offline unknown 10.0.0.1:6379",
        "b ready unknown [::1]:6379",
    ];
    let next_snapshot = fixture.next_snapshot();
    assert_eq!(contents(&next_snapshot), both);
    assert_eq!(contents(&fixture.process.snapshot()), both);
    // An update without a change publishes no snapshot.
    fixture.list(&[a, instance("b", "::1")]);
    fixture.list(&[]);
    let next = fixture.next_snapshot();
    assert_eq!(
        (contents(&next).len(), next.version()),
        (0, next_snapshot.version() + 1)
    );
    assert_eq!(next.tenants().count(), 1, "the cluster is still there");
}

#[test]
fn primary_that_sentinels_name_is_in_the_next_snapshot() {
    let mut a = instance("a", "10.0.0.9");
    a.labels.insert(SENTINEL_LABEL.into(), "m".into());
    let primary = |ip: &str| Update::Primary("m".into(), SocketAddr::new(ip.parse().unwrap(), 1));
    let primaries = Primaries::new(|_| {});
    let early = vec![primary("10.0.0.1")];
    let fixture = Fixture::with(&[a.clone()], unresolved(), primaries, early);
    let first = fixture.process.snapshot();
    assert_eq!(contents(&first), ["a ready unknown 10.0.0.1:1"]);
    let mut instances = first.tenants().flat_map(|tenant| &tenant.instances);
    assert!(instances.all(|it| it.fenced && it.address_text == "10.0.0.1:1"));
    fixture.updates.send(primary("::1")).unwrap();
    let second = ["a ready unknown [::1]:1"];
    assert_eq!(contents(&fixture.next_snapshot()), second);
    // The registry's endpoint does not count.
    a.endpoints = vec![Endpoint::new("10.0.0.8", 1)];
    fixture.list(&[a, instance("b", "10.0.0.2")]);
    let third = ["a ready unknown [::1]:1", "b ready unknown 10.0.0.2:6379"];
    assert_eq!(contents(&fixture.next_snapshot()), third);
}

#[test]
fn worker_reports_are_in_the_next_snapshot() {
    let fixture = Fixture::start(&[instance("a", "10.0.0.1")], unresolved());
    let event = |change| {
        let event = HealthEvent {
            instance: "a".into(),
            tenant: ClusterKey::local().tenant().to_string(),
            address: "10.0.0.1:6379".into(),
            change,
        };
        fixture.updates.send(Update::HealthEvent(0, event)).unwrap();
    };
    assert!(fixture.process.usable().is_err());
    event(HealthChange::Up);
    assert_eq!(
        contents(&fixture.next_snapshot()),
        ["a ready up 10.0.0.1:6379"]
    );
    assert_eq!(fixture.process.usable(), Ok(()));
    event(HealthChange::Degraded("LOADING".into()));
    assert_eq!(
        contents(&fixture.next_snapshot()),
        ["a ready degraded 10.0.0.1:6379"]
    );
    assert_eq!(fixture.process.usable(), Ok(()));
    event(HealthChange::Down("connection refused".into()));
    assert_eq!(
        contents(&fixture.next_snapshot()),
        ["a ready down 10.0.0.1:6379"]
    );
    let why = fixture.process.usable().unwrap_err();
    assert_eq!(why, "none of 1 usable instances is up");
}

/// The result for `slow` comes when the test releases it.
#[test]
fn hanging_name_lookup_delays_no_other_change() {
    let (answer, asked) = channel::<&str>();
    let asked = Mutex::new(asked);
    let lookup: Lookup = Arc::new(move |name| {
        let ip = match name {
            "quick" => "10.0.0.2",
            _ => asked.lock().unwrap().recv().map_err(io::Error::other)?,
        };
        Ok(vec![SocketAddr::new(ip.parse().unwrap(), 0)])
    });
    let fixture = Fixture::start(&[], lookup);
    fixture.list(&[instance("a", "slow"), instance("b", "quick")]);
    let first = ["a ready down ", "b ready unknown 10.0.0.2:6379"];
    assert_eq!(contents(&fixture.next_snapshot()), first);
    fixture.list(&[instance("a", "slow"), instance("b", "10.0.0.3")]);
    let second = ["a ready down ", "b ready unknown 10.0.0.3:6379"];
    assert_eq!(contents(&fixture.next_snapshot()), second);
    answer.send("10.0.0.1").unwrap();
    let third = [
        "a ready unknown 10.0.0.1:6379",
        "b ready unknown 10.0.0.3:6379",
    ];
    assert_eq!(contents(&fixture.next_snapshot()), third);
}

#[test]
fn first_snapshot_has_resolved_addresses() {
    let lookup: Lookup = Arc::new(|_| Ok(vec!["10.0.0.9:0".parse().unwrap()]));
    let fixture = Fixture::start(&[instance("a", "redis")], lookup);
    assert_eq!(
        contents(&fixture.process.snapshot()),
        ["a ready unknown 10.0.0.9:6379"]
    );
}

#[test]
fn new_tenant_rules_are_in_the_next_snapshot() {
    let mut a = instance("a", "10.0.0.1");
    a.labels.insert("limit.clients".into(), "7".into());
    let fixture = Fixture::start(&[a], unresolved());
    let clients = |snapshot: &Snapshot| snapshot.tenants().next().unwrap().limits.clients;
    assert_eq!(clients(&fixture.process.snapshot()), Some(7));
    let tenant = ClusterKey::local().tenant();
    let rules = format!(r#"{{"tenants":{{"{tenant}":{{"clients":3}}}}}}"#);
    let rules = TenantRules::from_json(&rules).unwrap();
    fixture.updates.send(Update::Rules(rules.clone())).unwrap();
    assert_eq!(clients(&fixture.next_snapshot()), Some(3));
    fixture.updates.send(Update::Rules(rules)).unwrap();
    fixture
        .updates
        .send(Update::Rules(TenantRules::default()))
        .unwrap();
    assert_eq!(clients(&fixture.next_snapshot()), Some(7));
}

/// A cluster that was refused a name gets it when the other cluster gives it up.
#[test]
fn freed_alias_goes_to_the_cluster_that_was_refused() {
    let named = |name: &str, alias: &str| {
        let mut instance = instance("a", "10.0.0.1");
        instance.key.name.name = name.into();
        instance.labels.insert(ALIAS_LABEL.into(), alias.into());
        let tenant = instance.key.tenant();
        let clusters = [instance.key.clone()].into();
        let instances = [("a".into(), instance)].into();
        let listed = Listed {
            clusters,
            instances,
            ..Listed::default()
        };
        Update::Tenant(tenant, listed)
    };
    let fixture = Fixture::start(&[], unresolved());
    let owner = |snapshot: &Snapshot| snapshot.tenant(b"shop").map(|it| it.key.clone());
    let key = |update: &Update| match update {
        Update::Tenant(tenant, _) => Some(tenant.clone()),
        _ => None,
    };
    let (first, second) = (named("one", "shop"), named("two", "shop"));
    let (one, two) = (key(&first), key(&second));
    fixture.updates.send(first).unwrap();
    assert_eq!(owner(&fixture.next_snapshot()), one);
    fixture.updates.send(second).unwrap();
    assert_eq!(owner(&fixture.next_snapshot()), one);
    assert_eq!(fixture.process.names_refused(), 1);
    fixture.updates.send(named("one", "store")).unwrap();
    assert_eq!(owner(&fixture.next_snapshot()), two);
    assert_eq!(fixture.process.names_refused(), 0);
}

#[test]
fn ten_thousand_instances_make_one_snapshot() {
    let name = |n: u32| format!("{:05}", n);
    let addr = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
    let many: Vec<_> = (0..10_000).map(|n| instance(&name(n), &addr(n))).collect();
    let fixture = Fixture::start(&many, unresolved());
    assert_eq!(contents(&fixture.process.snapshot()).len(), 10_000);
    for n in 0..10_000 {
        let event = HealthEvent {
            instance: name(n),
            tenant: ClusterKey::local().tenant().to_string(),
            address: String::new(),
            change: HealthChange::Up,
        };
        fixture.updates.send(Update::HealthEvent(0, event)).unwrap();
    }
    let mut snapshots = 1;
    while !contents(&fixture.next_snapshot())
        .iter()
        .all(|it| it.contains(" up "))
    {
        snapshots += 1;
    }
    assert!(
        snapshots < 1_000,
        "{snapshots} snapshots for 10,000 reports"
    );
}

#[test]
fn names_of_an_unlisted_cluster_are_freed_at_once() {
    let fixture = Fixture::start(&[], unresolved());
    assert!(fixture.process.owners().owner("yigF5wkxq44").is_some());
    fixture
        .updates
        .send(Update::Listing(Listing::default()))
        .unwrap();
    assert_eq!(fixture.next_snapshot().tenants().count(), 0);
    assert!(fixture.process.owners().owner("yigF5wkxq44").is_some());
    // No listing follows.
    fixture
        .updates
        .send(Update::Release(ClusterKey::local()))
        .unwrap();
    fixture.next_snapshot();
    assert!(fixture.process.owners().owner("yigF5wkxq44").is_none());
}

#[test]
fn publisher_ends_on_stop() {
    let fixture = Fixture::start(&[], unresolved());
    fixture.updates.send(Update::Stop).unwrap();
    let Err(end) = fixture.inbox.recv_timeout(TIMEOUT) else {
        panic!("a message");
    };
    assert_eq!(end, RecvTimeoutError::Disconnected);
}

/// Workers that never saw the removal do not report it again.
#[test]
fn instance_that_returns_before_the_next_snapshot_keeps_its_health() {
    let (updates, receiver) = channel();
    let process = Arc::new(ProcessState::new(1));
    let a = [instance("a", "10.0.0.1")];
    let mut publisher = Publisher::new(
        (updates, receiver),
        None,
        listing(&a),
        Default::default(),
        Primaries::default(),
        Arc::clone(&process),
        unresolved(),
    );
    let (tenant, id) = (ClusterKey::local().tenant(), InstanceId::from("a"));
    let health = || process.health_table().health(&tenant, &id).0;
    let event = HealthEvent {
        instance: "a".into(),
        tenant: tenant.to_string(),
        address: "10.0.0.1:6379".into(),
        change: HealthChange::Up,
    };
    let now = now();
    publisher.take(Update::HealthEvent(0, event), now);
    publisher.take(Update::Listing(listing(&[])), now);
    publisher.take(Update::Listing(listing(&a)), now);
    publisher.publish();
    assert_eq!(health(), Health::Up);
    publisher.take(Update::Listing(listing(&[])), now);
    publisher.publish();
    publisher.take(Update::Listing(listing(&a)), now);
    publisher.publish();
    assert_eq!(health(), Health::Unknown);
}
