//! Several instances of a tenant: which one a client gets, and when it moves to another one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use elika::cluster::{
    Balancer, ClusterInstance, ClusterKey, Endpoint, Health, Known, Snapshot, SnapshotBuilder,
    Status, TenantKey, TenantLimits,
};
use elika::proxy::{ClientKey, Failure, LinkKey, Settings};

use super::harness::Worker;

/// Milliseconds that clients may stay on an unusable instance.
pub(crate) const GRACE_MS: u64 = 3_000;

/// A registry with the default tenant only, whose instances are named by their ports.
pub(crate) struct Registry {
    builder: SnapshotBuilder,
    pub(crate) limits: TenantLimits,
    instances: BTreeMap<u16, (Status, u16, Health)>,
}

impl Registry {
    pub(crate) fn of(ports: &[u16]) -> Self {
        Self::with_default(Some(ClusterKey::local().tenant()), ports)
    }

    /// The tenant is not the default one: without an instance it is not listed.
    pub(crate) fn without_default(ports: &[u16]) -> Self {
        Self::with_default(None, ports)
    }

    fn with_default(tenant: Option<TenantKey>, ports: &[u16]) -> Self {
        let up = |&port: &u16| (port, (Status::Ready, port, Health::Unknown));
        Self {
            builder: SnapshotBuilder::new(tenant),
            limits: TenantLimits::default(),
            instances: ports.iter().map(up).collect(),
        }
    }

    /// A worker with this registry. It is not the first worker of its process, so it opens
    /// connections for its clients only.
    pub(crate) fn start(mut self, change: impl FnOnce(&mut Settings)) -> (Self, Worker) {
        let worker = Worker::with_snapshot(self.snapshot(), change);
        (self, worker)
    }

    pub(crate) fn snapshot(&mut self) -> Arc<Snapshot> {
        self.snapshot_with(|port| vec![([127, 0, 0, 1], port).into()])
    }

    /// A snapshot in which no name resolves.
    pub(crate) fn unresolved(&mut self) -> Arc<Snapshot> {
        self.snapshot_with(|_| Vec::new())
    }

    fn snapshot_with(&mut self, resolve: impl Fn(u16) -> Vec<SocketAddr>) -> Arc<Snapshot> {
        let known = self.instances.iter().map(|(name, (status, port, health))| {
            let endpoint = Endpoint::new("127.0.0.1", *port);
            let instance = ClusterInstance::new(ClusterKey::local(), name.to_string(), endpoint);
            Known {
                instance: ClusterInstance {
                    status: *status,
                    ..instance
                },
                addresses: resolve(*port),
                health: *health,
            }
        });
        let limits = &self.limits;
        Arc::new(self.builder.build(&[], known, |_, _, _| limits.clone()))
    }

    /// One instance whose name has several addresses, given by their last octets.
    pub(crate) fn of_addresses(&mut self, hosts: &[u8]) -> Arc<Snapshot> {
        let endpoint = Endpoint::new("redis", 1);
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

    pub(crate) fn set(&mut self, port: u16, status: Status) -> Arc<Snapshot> {
        self.instances.insert(port, (status, port, Health::Unknown));
        self.snapshot()
    }

    pub(crate) fn set_health(&mut self, port: u16, health: Health) -> Arc<Snapshot> {
        self.instances.insert(port, (Status::Ready, port, health));
        self.snapshot()
    }

    /// Gives an instance another address.
    pub(crate) fn set_address(&mut self, port: u16, to: u16) -> Arc<Snapshot> {
        self.instances
            .insert(port, (Status::Ready, to, Health::Unknown));
        self.snapshot()
    }

    pub(crate) fn remove(&mut self, port: u16) -> Arc<Snapshot> {
        self.instances.remove(&port);
        self.snapshot()
    }
}

pub(crate) fn first_worker(settings: &mut Settings) {
    settings.worker = 0;
    settings.balancer = Balancer::RoundRobin;
    settings.offline_grace_ms = GRACE_MS;
}

/// The first worker of a process with instances at these ports.
pub(crate) fn start(ports: &[u16]) -> (Registry, Worker) {
    Registry::of(ports).start(first_worker)
}

impl Worker {
    /// A client logs in on the connections that are opened for it.
    pub(crate) fn login(&mut self) -> (ClientKey, LinkKey) {
        let (client, backend) = self.user("ann");
        self.requests(backend);
        (client, backend)
    }

    /// Establishes all new connections. Returns the one to this port.
    pub(crate) fn establish_to(&mut self, port: u16) -> LinkKey {
        let begun = self.new_links();
        let found = begun.iter().find(|&&key| self.port(key) == port).copied();
        for key in begun {
            self.establish(key);
        }
        self.settle();
        found.unwrap_or_else(|| panic!("nothing was opened to {port}"))
    }
}

#[test]
fn every_balancer_spreads_new_clients() {
    for balancer in [Balancer::Random, Balancer::RoundRobin, Balancer::LeastConn] {
        let (_registry, mut worker) = Registry::of(&[1, 2, 3]).start(|settings| {
            first_worker(settings);
            settings.balancer = balancer;
        });
        let mut ports = BTreeMap::new();
        for i in 0..30 {
            let client = worker.client_sends(&format!("AUTH user{i} pw"));
            let backend = worker.established();
            assert_eq!(worker.received(client), "+OK\r\n");
            *ports.entry(worker.port(backend)).or_insert(0) += 1;
        }
        assert_eq!(ports.len(), 3, "{balancer:?}");
        if balancer != Balancer::Random {
            assert!(ports.values().all(|&n| n == 10), "{balancer:?}: {ports:?}");
        }
    }
}

#[test]
fn client_keeps_its_instance_after_another_login() {
    let (_registry, mut worker) = start(&[1, 2]);
    let (client, first) = worker.login();
    for user in ["bob", "eve", "ann"] {
        worker.send(client, &format!("AUTH {user} pw"));
        for backend in worker.new_links() {
            assert_eq!(worker.port(backend), worker.port(first));
            worker.establish(backend);
        }
        worker.reply(first, if user == "ann" { "+OK\r\n" } else { "" });
        assert_eq!(worker.received(client), "+OK\r\n");
    }
}

#[test]
fn new_clients_get_healthy_instances() {
    for health in [Health::Degraded, Health::Down] {
        let (mut registry, mut worker) = start(&[1, 2]);
        worker.apply(registry.set_health(1, health));
        for _ in 0..4 {
            let _client = worker.client_sends("AUTH ann pw");
            for backend in worker.new_links() {
                assert_eq!(worker.port(backend), 2);
                worker.establish(backend);
            }
        }
        // If no instance is healthy, any instance is chosen.
        worker.apply(registry.set_health(2, Health::Down));
        let _client = worker.client_sends("AUTH zoe pw");
        assert_eq!(worker.new_links().len(), 1);
    }
}

#[test]
fn client_moves_when_it_has_no_request_in_flight() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, one) = worker.login();
    worker.send(client, "GET a");
    worker.apply(registry.set(2, Status::Ready));
    worker.apply(registry.set(1, Status::Offline));
    worker.send(client, "GET b");
    assert_eq!(worker.requests(one).matches("GET").count(), 1);
    assert!(worker.new_links().is_empty(), "it moves though it waits");
    worker.reply(one, "$1\r\na\r\n");
    worker.settle();
    assert_eq!(worker.received(client), "$1\r\na\r\n");
    let two = worker.new_link();
    assert_eq!(worker.port(two), 2);
    let handshake = worker.open_handshake(two);
    assert!(handshake.contains("ann\r\n$2\r\npw"), "{handshake}");
    worker.accept_handshake(two, handshake);
    worker.settle();
    assert!(worker.requests(two).contains("$1\r\nb\r\n"));
    worker.deliver(two, client, "$1\r\nb\r\n");
    worker.advance(2_000);
    assert!(worker.closed(one), "the old connection stays");
}

#[test]
fn blocked_client_that_cannot_move_is_closed_after_the_grace() {
    let (mut registry, mut worker) = start(&[1]);
    let (idle, one) = worker.login();
    let blocked = worker.log_in("ann", "pw");
    worker.send(blocked, "BLPOP k 0");
    let _dedicated = worker.established();
    worker.apply(registry.set(1, Status::Offline));
    worker.advance(GRACE_MS - 1_200);
    worker.send(idle, "GET k");
    worker.reply(one, "$-1\r\n");
    assert_eq!(worker.received(idle), "$-1\r\n", "it is served until then");
    assert!(!worker.closed(blocked));
    worker.advance(2_500);
    assert!(worker.closed(blocked));
    assert!(!worker.closed(idle), "it is logged in");
    assert_eq!(worker.machine.links(), 0);
}

#[test]
fn grace_begins_with_the_snapshot() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, _) = worker.login();
    worker.send(client, "SUBSCRIBE c");
    let dedicated = worker.established();
    worker.reply(dedicated, "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    worker.advance_clock(GRACE_MS);
    worker.apply(registry.set(1, Status::Offline));
    worker.advance(GRACE_MS - 1_200);
    assert!(!worker.closed(client));
    worker.advance(2_500);
    assert!(worker.closed(client));
}

#[test]
fn transaction_is_finished_before_its_client_moves() {
    let (mut registry, mut worker) = start(&[1, 2]);
    let (client, one) = worker.login();
    let port = worker.port(one);
    worker.send(client, "MULTI");
    let dedicated = worker.established();
    worker.reply(dedicated, "+OK\r\n");
    worker.apply(registry.set(port, Status::Offline));
    worker.send(client, "SET k v");
    worker.reply(dedicated, "+QUEUED\r\n");
    worker.requests(dedicated);
    worker.send(client, "EXEC");
    worker.reply(dedicated, "*1\r\n+OK\r\n");
    worker.settle();
    assert!(worker.requests(dedicated).contains("EXEC"));
    worker.send(client, "GET k");
    let other = worker.establish_to(3 - port);
    assert_eq!(worker.requests(dedicated), "");
    assert!(worker.requests(other).contains("GET"));
}

#[test]
fn refused_move_closes_the_client_and_failed_move_is_retried() {
    let (mut registry, mut worker) = start(&[1]);
    let (ann, one) = worker.login();
    worker.apply(registry.set(2, Status::Ready));
    worker.apply(registry.set(1, Status::Offline));
    worker.settle();
    let two = worker.new_link();
    worker.fail(two, &Failure::Unreachable("connection refused".into()));
    worker.settle();
    assert!(worker.new_links().is_empty(), "it is tried again at once");
    worker.send(ann, "GET a");
    worker.reply(one, "$-1\r\n");
    assert_eq!(worker.received(ann), "$-1\r\n", "it is served where it is");
    worker.advance(2_000);
    let again: Vec<LinkKey> = worker.new_links();
    assert!(!again.is_empty());
    for backend in again {
        if worker.open_handshake(backend).contains("ann") {
            worker.reply(backend, "-WRONGPASS invalid\r\n");
        } else {
            worker.reply(backend, "*2\r\n$2\r\nid\r\n:7\r\n*0\r\n");
        }
    }
    worker.settle();
    worker.advance(2_000);
    for backend in worker.new_links() {
        worker.refuse_handshake(backend, "-WRONGPASS invalid\r\n");
    }
    worker.settle();
    assert!(worker.closed(ann));
    assert_eq!(worker.received(ann), "");
}

#[test]
fn anonymous_clients_move_with_their_next_request() {
    let (mut registry, mut worker) = start(&[1]);
    let client = worker.client_sends("GET a");
    let one = worker.established();
    worker.deliver(one, client, "$-1\r\n");
    worker.apply(registry.set(2, Status::Ready));
    worker.apply(registry.set(1, Status::Offline));
    worker.settle();
    worker.requests(one);
    worker.send(client, "GET b");
    let two = worker.establish_to(2);
    worker.settle();
    assert_eq!(worker.requests(one), "");
    assert!(worker.requests(two).contains("GET"));
}

#[test]
fn login_to_a_tenant_without_instances_fails() {
    let (mut registry, mut worker) = start(&[1, 2]);
    let (client, one) = worker.login();
    let port = worker.port(one);
    worker.apply(registry.remove(3 - port));
    worker.apply(registry.remove(port));
    worker.settle();
    assert!(worker.closed(one));
    worker.send(client, "GET a");
    let heard = worker.received(client);
    assert_eq!(heard, "-ERR elika: backend unavailable: no instance\r\n");
    let newcomer = worker.client_sends("AUTH ann pw");
    let heard = worker.received(newcomer);
    assert_eq!(heard, "-ERR elika: backend unavailable: no instance\r\n");
}

/// The state of a dedicated connection stays on its instance, and so does the login.
#[test]
fn watching_client_may_log_in_again_on_its_instance() {
    let (mut registry, mut worker) = start(&[1, 2]);
    let (client, one) = worker.login();
    worker.send(client, "WATCH k");
    let dedicated = worker.established();
    worker.reply(dedicated, "+OK\r\n");
    worker.apply(registry.set(worker.port(one), Status::Offline));
    worker.received(client);
    worker.send(client, "AUTH ann pw");
    let asked = worker.requests(dedicated);
    assert!(
        !asked.contains("AUTH"),
        "it is not known to be good: {asked}"
    );
    let _verifier = worker.established();
    assert!(worker.requests(dedicated).contains("AUTH"));
    worker.deliver(dedicated, client, "+OK\r\n");
}
