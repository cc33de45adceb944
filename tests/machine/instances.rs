//! Several instances of a tenant: which one a client gets, and how it leaves one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use elika::cluster::{
    Balancer, ClusterInstance, ClusterKey, Endpoint, Health, Known, Snapshot, SnapshotBuilder,
    Status, TenantLimits,
};
use elika::proxy::{ClientKey, ConnKey, Failure, LinkKey, Settings};

use super::harness::Worker;

/// How long clients may stay, ms.
pub(crate) const GRACE_MS: u64 = 3_000;

/// A registry with one tenant, the default one, whose instances are called by their ports.
pub(crate) struct Registry {
    builder: SnapshotBuilder,
    pub(crate) limits: TenantLimits,
    instances: BTreeMap<u16, (Status, u16, Health)>,
}

impl Registry {
    pub(crate) fn of(ports: &[u16]) -> Self {
        let up = |&port: &u16| (port, (Status::Ready, port, Health::Unknown));
        Self {
            builder: SnapshotBuilder::new(Some(ClusterKey::local().tenant())),
            limits: TenantLimits::default(),
            instances: ports.iter().map(up).collect(),
        }
    }

    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        let known = self.instances.iter().map(|(name, (status, port, health))| {
            let endpoint = Endpoint {
                addr: "127.0.0.1".into(),
                port: *port,
                name: String::new(),
            };
            let instance = ClusterInstance::new(ClusterKey::local(), name.to_string(), endpoint);
            Known {
                instance: ClusterInstance {
                    status: *status,
                    ..instance
                },
                addresses: vec![SocketAddr::from(([127, 0, 0, 1], *port))],
                health: *health,
            }
        });
        let limits = &self.limits;
        let snapshot = self.builder.build(&[], known, |_, _, _| limits.clone());
        Arc::new(snapshot)
    }

    /// One instance whose name has these addresses, of which the last octet is given.
    pub(crate) fn of_addresses(&mut self, hosts: &[u8]) -> Arc<Snapshot> {
        let endpoint = Endpoint {
            addr: "redis".into(),
            port: 1,
            name: String::new(),
        };
        let addresses = hosts.iter().map(|&host| ([127, 0, 0, host], 1).into());
        let known = Known {
            instance: ClusterInstance::new(ClusterKey::local(), "1", endpoint),
            addresses: addresses.collect(),
            health: Health::Unknown,
        };
        Arc::new(
            self.builder
                .build(&[], [known], |_, _, _| TenantLimits::default()),
        )
    }

    /// No name resolves, once.
    pub(crate) fn unresolved(&mut self) -> Arc<Snapshot> {
        let known = self.instances.iter().map(|(name, (status, ..))| {
            let endpoint = Endpoint {
                addr: "redis".into(),
                port: *name,
                name: String::new(),
            };
            let instance = ClusterInstance::new(ClusterKey::local(), name.to_string(), endpoint);
            Known {
                instance: ClusterInstance {
                    status: *status,
                    ..instance
                },
                addresses: Vec::new(),
                health: Health::Unknown,
            }
        });
        let limits = &self.limits;
        Arc::new(self.builder.build(&[], known, |_, _, _| limits.clone()))
    }

    pub(crate) fn set(&mut self, port: u16, status: Status) -> Arc<Snapshot> {
        self.instances.insert(port, (status, port, Health::Unknown));
        self.snapshot()
    }

    pub(crate) fn healthy(&mut self, port: u16, health: Health) -> Arc<Snapshot> {
        self.instances.insert(port, (Status::Ready, port, health));
        self.snapshot()
    }

    /// An instance has another address.
    pub(crate) fn moves(&mut self, port: u16, to: u16) -> Arc<Snapshot> {
        self.instances
            .insert(port, (Status::Ready, to, Health::Unknown));
        self.snapshot()
    }

    pub(crate) fn remove(&mut self, port: u16) -> Arc<Snapshot> {
        self.instances.remove(&port);
        self.snapshot()
    }
}

fn settings(balancer: Balancer) -> Settings {
    Settings {
        worker: 0,
        balancer,
        offline_grace_ms: GRACE_MS,
        ..Settings::default()
    }
}

pub(crate) fn start(registry: &mut Registry) -> Worker {
    Worker::following(settings(Balancer::RoundRobin), registry.snapshot())
}

impl Worker {
    /// A client that logs in, on whatever is opened for that.
    pub(crate) fn login(&mut self) -> (ClientKey, LinkKey) {
        let (client, backend) = self.user("ann");
        self.asked(backend);
        (client, backend)
    }

    /// All that is begun goes well; returns what leads to this port.
    pub(crate) fn welcome_to(&mut self, port: u16) -> LinkKey {
        let begun = self.begun();
        let found = begun.iter().find(|&&key| self.port(key) == port).copied();
        for key in begun {
            self.welcome(key);
        }
        self.settle();
        found.unwrap_or_else(|| panic!("nothing was opened to {port}"))
    }
}

#[test]
fn each_balancer_spreads_new_clients() {
    for balancer in [Balancer::Random, Balancer::RoundRobin, Balancer::LeastConn] {
        let mut registry = Registry::of(&[1, 2, 3]);
        let mut worker = Worker::following(settings(balancer), registry.snapshot());
        let mut ports = BTreeMap::new();
        for i in 0..30 {
            let client = worker.client();
            worker.says(client, &format!("AUTH user{i} pw"));
            let backend = worker.begun_one();
            worker.welcome(backend);
            assert_eq!(worker.heard(client), "+OK\r\n");
            *ports.entry(worker.port(backend)).or_insert(0) += 1;
        }
        assert_eq!(ports.len(), 3, "{balancer:?}");
        if balancer != Balancer::Random {
            assert!(ports.values().all(|&n| n == 10), "{balancer:?}: {ports:?}");
        }
    }
}

#[test]
fn a_client_keeps_its_instance_whatever_it_logs_in_as() {
    let mut registry = Registry::of(&[1, 2]);
    let mut worker = start(&mut registry);
    let (client, first) = worker.login();
    for user in ["bob", "eve", "ann"] {
        worker.says(client, &format!("AUTH {user} pw"));
        for backend in worker.begun() {
            assert_eq!(worker.port(backend), worker.port(first));
            worker.welcome(backend);
        }
        worker.replies(first, if user == "ann" { "+OK\r\n" } else { "" });
        assert_eq!(worker.heard(client), "+OK\r\n");
    }
}

#[test]
fn new_clients_go_where_it_is_healthy() {
    for health in [Health::Degraded, Health::Down] {
        let mut registry = Registry::of(&[1, 2]);
        let mut worker = start(&mut registry);
        worker.follows(registry.healthy(1, health));
        for _ in 0..4 {
            let client = worker.client();
            worker.says(client, "AUTH ann pw");
            for backend in worker.begun() {
                assert_eq!(worker.port(backend), 2);
                worker.welcome(backend);
            }
        }
        // If none is, any will do.
        worker.follows(registry.healthy(2, Health::Down));
        let client = worker.client();
        worker.says(client, "AUTH zoe pw");
        assert_eq!(worker.begun().len(), 1);
    }
}

#[test]
fn a_client_moves_when_nothing_of_it_is_in_flight() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, one) = worker.login();
    worker.says(client, "GET a");
    worker.follows(registry.set(2, Status::Ready));
    worker.follows(registry.set(1, Status::Offline));
    worker.says(client, "GET b");
    assert_eq!(worker.asked(one).matches("GET").count(), 1);
    assert!(worker.begun().is_empty(), "it moves though it waits");
    worker.replies(one, "$1\r\na\r\n");
    worker.settle();
    assert_eq!(worker.heard(client), "$1\r\na\r\n");
    let two = worker.begun_one();
    assert_eq!(worker.port(two), 2);
    let handshake = worker.connect(two);
    assert!(handshake.contains("ann\r\n$2\r\npw"), "{handshake}");
    worker.accept(two, handshake);
    worker.settle();
    assert!(worker.asked(two).contains("$1\r\nb\r\n"));
    worker.replies(two, "$1\r\nb\r\n");
    assert_eq!(worker.heard(client), "$1\r\nb\r\n");
    worker.pass(2_000);
    assert!(
        worker.closed(ConnKey::Link(one)),
        "the old connection stays"
    );
}

#[test]
fn who_cannot_move_goes_when_the_grace_is_over() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (idle, one) = worker.login();
    let blocked = worker.logs_in("ann", "pw");
    worker.says(blocked, "BLPOP k 0");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.follows(registry.set(1, Status::Offline));
    worker.pass(GRACE_MS - 1_200);
    worker.says(idle, "GET k");
    worker.replies(one, "$-1\r\n");
    assert_eq!(worker.heard(idle), "$-1\r\n", "it is served until then");
    assert!(!worker.closed(ConnKey::Client(blocked)));
    worker.pass(2_500);
    for client in [idle, blocked] {
        assert!(worker.closed(ConnKey::Client(client)));
    }
    assert_eq!(worker.machine.links(), 0);
}

#[test]
fn the_grace_begins_when_a_worker_is_told() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, _) = worker.login();
    worker.sleep(GRACE_MS);
    worker.follows(registry.set(1, Status::Offline));
    worker.pass(GRACE_MS - 1_200);
    assert!(!worker.closed(ConnKey::Client(client)));
    worker.pass(2_500);
    assert!(worker.closed(ConnKey::Client(client)));
}

#[test]
fn a_transaction_is_finished_before_its_client_moves() {
    let mut registry = Registry::of(&[1, 2]);
    let mut worker = start(&mut registry);
    let (client, one) = worker.login();
    let port = worker.port(one);
    worker.says(client, "MULTI");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.replies(own, "+OK\r\n");
    worker.follows(registry.set(port, Status::Offline));
    worker.says(client, "SET k v");
    worker.replies(own, "+QUEUED\r\n");
    worker.asked(own);
    worker.says(client, "EXEC");
    worker.replies(own, "*1\r\n+OK\r\n");
    worker.settle();
    assert!(worker.asked(own).contains("EXEC"));
    worker.says(client, "GET k");
    let other = worker.welcome_to(3 - port);
    assert_eq!(worker.asked(own), "");
    assert!(worker.asked(other).contains("GET"));
}

#[test]
fn a_refused_move_ends_the_client_and_a_failed_one_is_tried_again() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (ann, one) = worker.login();
    worker.follows(registry.set(2, Status::Ready));
    worker.follows(registry.set(1, Status::Offline));
    worker.settle();
    let two = worker.begun_one();
    worker.fails(two, &Failure::Unreachable("connection refused".into()));
    worker.settle();
    assert!(worker.begun().is_empty(), "it is tried again at once");
    worker.says(ann, "GET a");
    worker.replies(one, "$-1\r\n");
    assert_eq!(worker.heard(ann), "$-1\r\n", "it is served where it is");
    worker.pass(2_000);
    let again: Vec<LinkKey> = worker.begun();
    assert!(!again.is_empty());
    for backend in again {
        if worker.connect(backend).contains("ann") {
            worker.replies(backend, "-WRONGPASS invalid\r\n");
        } else {
            worker.replies(backend, "*2\r\n$2\r\nid\r\n:7\r\n*0\r\n");
        }
    }
    worker.settle();
    worker.pass(2_000);
    for backend in worker.begun() {
        worker.refuse(backend, "-WRONGPASS invalid\r\n");
    }
    worker.settle();
    assert!(worker.closed(ConnKey::Client(ann)));
    assert_eq!(worker.heard(ann), "");
}

#[test]
fn strangers_move_with_their_next_request() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let client = worker.client();
    worker.says(client, "GET a");
    let one = worker.begun_one();
    worker.welcome(one);
    worker.replies(one, "$-1\r\n");
    assert_eq!(worker.heard(client), "$-1\r\n");
    worker.follows(registry.set(2, Status::Ready));
    worker.follows(registry.set(1, Status::Offline));
    worker.settle();
    worker.asked(one);
    worker.says(client, "GET b");
    let two = worker.welcome_to(2);
    worker.settle();
    assert_eq!(worker.asked(one), "");
    assert!(worker.asked(two).contains("GET"));
}

#[test]
fn a_removed_tenant_is_nobodys_login() {
    let mut registry = Registry::of(&[1, 2]);
    let mut worker = start(&mut registry);
    let (client, one) = worker.login();
    let port = worker.port(one);
    worker.follows(registry.remove(3 - port));
    worker.follows(registry.remove(port));
    worker.settle();
    assert!(worker.closed(ConnKey::Link(one)));
    worker.says(client, "GET a");
    assert!(
        worker
            .heard(client)
            .starts_with("-ERR elika: backend unavailable: ")
    );
    let newcomer = worker.client();
    worker.says(newcomer, "AUTH ann pw");
    let heard = worker.heard(newcomer);
    assert_eq!(heard, "-ERR elika: backend unavailable: no instance\r\n");
    worker.pass(GRACE_MS + 1_500);
    assert!(worker.closed(ConnKey::Client(client)));
}

/// What a connection of its own holds stays where it is, and so does its login.
#[test]
fn a_client_that_watches_may_log_in_again_where_it_is() {
    let mut registry = Registry::of(&[1, 2]);
    let mut worker = start(&mut registry);
    let (client, one) = worker.login();
    worker.says(client, "WATCH k");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.replies(own, "+OK\r\n");
    worker.follows(registry.set(worker.port(one), Status::Offline));
    worker.heard(client);
    worker.says(client, "AUTH ann pw");
    let asked = worker.asked(own);
    assert!(
        !asked.contains("AUTH"),
        "it is not known to be good: {asked}"
    );
    let verifier = worker.begun_one();
    worker.welcome(verifier);
    assert!(worker.asked(own).contains("AUTH"));
    worker.replies(own, "+OK\r\n");
    assert_eq!(worker.heard(client), "+OK\r\n");
}
