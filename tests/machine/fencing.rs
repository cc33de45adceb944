//! Another server becomes the primary of an instance: what happens to requests and connections to
//! the former one.

use std::sync::Arc;

use elika::cluster::{
    ClusterInstance, ClusterKey, Endpoint, Health, Known, SENTINEL_LABEL, Snapshot,
    SnapshotBuilder, TenantLimits,
};
use elika::proxy::LinkKey;

use super::harness::Worker;

const UNKNOWN_OUTCOME: &str = "-ERR elika: backend connection lost, outcome unknown\r\n";

/// Sentinels that know one primary.
struct Sentinels(SnapshotBuilder);

impl Sentinels {
    /// Sentinels that name port 1, and a worker.
    fn start() -> (Self, Worker) {
        let tenant = ClusterKey::local().tenant();
        let mut sentinels = Self(SnapshotBuilder::new(Some(tenant)));
        let snapshot = sentinels.primary(Some(1));
        let worker = Worker::with_snapshot(snapshot, |_| {});
        (sentinels, worker)
    }

    /// The primary has this port now.
    fn primary(&mut self, port: Option<u16>) -> Arc<Snapshot> {
        let endpoint = port.map(|port| Endpoint::new("127.0.0.1", port));
        let any = Endpoint::new("127.0.0.1", 1);
        let mut instance = ClusterInstance::new(ClusterKey::local(), "a", any);
        instance.endpoints = endpoint.into_iter().collect();
        let label = (SENTINEL_LABEL.to_owned(), "m".to_owned());
        instance.labels.extend([label]);
        let addresses = port.map(|port| ([127, 0, 0, 1], port).into());
        let known = Known {
            instance,
            addresses: addresses.into_iter().collect(),
            health: Health::Unknown,
        };
        let limits = TenantLimits::default();
        Arc::new(self.0.build(&[], [known], |_, _, _| limits.clone()))
    }
}

impl Worker {
    /// The only new connection, which must be to this port.
    #[track_caller]
    fn new_link_to(&mut self, port: u16) -> LinkKey {
        let link = self.new_link();
        assert_eq!(self.port(link), port);
        link
    }
}

#[test]
fn sent_writes_are_in_doubt_and_reads_are_retried_on_the_new_primary() {
    let (mut sentinels, mut worker) = Sentinels::start();
    let (writer, one) = worker.user("ann");
    let reader = worker.log_in("ann", "pw");
    worker.send(writer, "SET k v");
    worker.send(reader, "GET k");
    worker.requests(one);
    worker.apply(sentinels.primary(Some(2)));
    assert!(worker.closed(one));
    assert_eq!(worker.received(writer), UNKNOWN_OUTCOME);
    let two = worker.new_link_to(2);
    worker.establish(two);
    assert!(worker.requests(two).ends_with("$3\r\nGET\r\n$1\r\nk\r\n"));
    // The former primary's replies reach nobody.
    worker.machine.link_bytes(one, b"+OK\r\n$3\r\nold\r\n");
    worker.settle();
    assert_eq!(worker.received(writer) + &worker.received(reader), "");
    worker.deliver(two, reader, "$3\r\nnew\r\n");
    worker.send(writer, "SET k w");
    worker.deliver(two, writer, "+OK\r\n");
}

#[test]
fn requests_that_wait_for_a_connection_to_the_former_primary_get_no_error() {
    for handshake in [false, true] {
        let (mut sentinels, mut worker) = Sentinels::start();
        let shared = worker.client_sends("SET k v");
        let one = worker.new_link_to(1);
        let dedicated = worker.client_sends("BLPOP k 0");
        let more = worker.new_links();
        if handshake {
            worker.open(one);
        }
        worker.apply(sentinels.primary(Some(2)));
        worker.settle();
        assert!(worker.closed(one), "handshake: {handshake}");
        let links = worker.new_links();
        assert!(links.len() == more.len() + 1, "{links:?} after {more:?}");
        let mut asked = String::new();
        for link in links {
            assert_eq!(worker.port(link), 2);
            worker.establish(link);
            worker.settle();
            asked += &worker.requests(link);
        }
        for link in worker.new_links() {
            worker.establish(link);
            worker.settle();
            asked += &worker.requests(link);
        }
        assert!(
            asked.contains("SET") && asked.contains("BLPOP"),
            "{handshake} {asked}"
        );
        assert_eq!(worker.received(shared) + &worker.received(dedicated), "");
    }
}

#[test]
fn login_continues_at_the_new_primary() {
    for asked in [false, true] {
        let (mut sentinels, mut worker) = Sentinels::start();
        let client = worker.client_sends("AUTH ann pw");
        let one = worker.new_link_to(1);
        if asked {
            worker.open(one);
            assert_eq!(worker.verifier(), one);
        }
        worker.apply(sentinels.primary(Some(2)));
        worker.settle();
        assert!(worker.closed(one), "asked: {asked}");
        let two = worker.new_link_to(2);
        worker.establish(two);
        assert_eq!(worker.received(client), "+OK\r\n", "asked: {asked}");
    }
}

#[test]
fn client_with_state_on_the_former_primary_is_closed_at_once() {
    let (mut sentinels, mut worker) = Sentinels::start();
    let (client, _) = worker.user("ann");
    worker.send(client, "WATCH k");
    let dedicated = worker.established();
    worker.deliver(dedicated, client, "+OK\r\n");
    worker.apply(sentinels.primary(Some(2)));
    worker.settle();
    assert!(worker.closed(dedicated) && worker.closed(client));
}

#[test]
fn primary_that_becomes_known_serves_the_next_request() {
    let (mut sentinels, mut worker) = Sentinels::start();
    worker.apply(sentinels.primary(None));
    let client = worker.client_sends("GET k");
    worker.settle();
    assert_eq!(
        worker.received(client),
        "-ERR elika: backend unavailable: its primary is not known\r\n"
    );
    worker.apply(sentinels.primary(Some(2)));
    worker.send(client, "GET k");
    let two = worker.new_link_to(2);
    worker.establish(two);
    worker.deliver(two, client, "$1\r\nv\r\n");
}
