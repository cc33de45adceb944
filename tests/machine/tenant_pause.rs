//! Pauses of a tenant, step by step.

use std::sync::Arc;

use elika::cluster::{ClusterKey, Snapshot};

use elika::proxy::Failure;

use super::harness::Worker;
use super::instances::Registry;
use super::tenant_limits::{limited, limited_with};

impl Worker {
    pub(crate) fn pause(&mut self, ms: u64) {
        let tenant = ClusterKey::local().tenant();
        self.machine.pause(&tenant, ms);
        self.turn();
    }

    fn unpause(&mut self) {
        self.machine.unpause(&ClusterKey::local().tenant());
        self.settle();
    }
}

#[test]
fn pause_delays_requests_and_logins_until_its_end() {
    let (mut worker, _registry) = limited(|_| {});
    let (client, backend) = worker.user("ann");
    worker.send(client, "GET before");
    worker.requests(backend);
    worker.pause(60_000);
    worker.send(client, "GET while");
    let newcomer = worker.client_sends("AUTH ann pw");
    worker.reply(backend, "$-1\r\n");
    worker.settle();
    assert_eq!(
        worker.received(client),
        "$-1\r\n",
        "what was in flight is answered"
    );
    assert_eq!(worker.requests(backend), "");
    assert_eq!(worker.new_links(), []);
    worker.unpause();
    let _verifier = worker.established();
    assert!(worker.requests(backend).contains("while"));
    worker.deliver(backend, client, "$-1\r\n");
    assert_eq!(worker.received(newcomer), "+OK\r\n");
}

#[test]
fn pause_expires_and_limits_waiting_clients() {
    let (mut worker, _registry) = limited_with(
        |_| {},
        |settings| {
            settings.paused_clients_max = 1;
        },
    );
    let (first, backend) = worker.user("ann");
    let second = worker.log_in("ann", "pw");
    worker.requests(backend);
    worker.pause(1_000);
    worker.send(first, "GET a");
    worker.send(second, "GET b");
    let heard = worker.received(second);
    assert_eq!(
        heard,
        "-ERR elika: paused, and too many clients wait already\r\n"
    );
    let newcomer = worker.client_sends("AUTH ann pw");
    assert_eq!(
        worker.received(newcomer),
        heard,
        "a login is refused alike, and once"
    );
    // A client that disconnects frees its place.
    worker.machine.client_closed(first);
    worker.send(second, "GET b");
    assert_eq!(worker.requests(backend), "");
    worker.advance(1_500);
    assert!(worker.requests(backend).contains("GET"));
    worker.deliver(backend, second, "$-1\r\n");
}

/// Any client can send a login that waits.
#[test]
fn logins_use_at_most_half_of_the_waiting_places() {
    let (mut worker, _registry) = limited_with(
        |_| {},
        |settings| {
            settings.paused_clients_max = 4;
        },
    );
    let (first, backend) = worker.user("ann");
    let second = worker.log_in("ann", "pw");
    worker.requests(backend);
    worker.pause(60_000);
    let strangers: Vec<_> = (0..3).map(|_| worker.client()).collect();
    for &anonymous in &strangers {
        worker.send(anonymous, "AUTH ann guess");
    }
    let refused = "-ERR elika: paused, and too many clients wait already\r\n";
    let heard = strangers.iter().map(|&it| worker.received(it));
    assert_eq!(heard.collect::<Vec<_>>(), ["", "", refused]);
    for client in [first, second] {
        worker.send(client, "GET a");
        assert_eq!(worker.received(client), "", "it waits");
    }
}

/// A caller may pause a cluster right after it has added it, before workers have its snapshot.
#[test]
fn pause_may_precede_its_tenant() {
    let nothing = Arc::new(Snapshot::new(1, None, []));
    let mut worker = Worker::with_snapshot(nothing, |settings| settings.worker = 0);
    worker.pause(60_000);
    worker.apply(Registry::of(&[1]).snapshot());
    worker.new_links();
    let _client = worker.client_sends("AUTH ann pw");
    assert!(worker.new_links().is_empty(), "it does not wait");
    worker.unpause();
    worker.new_link();
}

/// CLIENT LIST asks the server for the permission, and the client's user has no connection left.
#[test]
fn command_that_gets_no_connection_after_a_pause_gets_the_error_once() {
    let (mut worker, _registry) =
        limited_with(|_| {}, |settings| settings.instance_connections_max = 2);
    let (_ann, _) = worker.user("ann");
    let (client, lost) = worker.user("bob");
    worker.fail(lost, &Failure::Removed);
    let (_carol, _) = worker.user("carol");
    worker.pause(60_000);
    worker.send(client, "CLIENT LIST");
    assert_eq!(worker.received(client), "");
    worker.machine.unpause(&ClusterKey::local().tenant());
    for _ in 0..3 {
        worker.turn();
    }
    assert!(!worker.machine.has_ready());
    assert_eq!(
        worker.received(client),
        "-ERR elika: too many backend connections\r\n"
    );
}
