//! An instance gets another address: which requests use it, and which connections to the old
//! address stay.

use elika::proxy::Failure;

use super::harness::Worker;
use super::instances::{GRACE_MS, Registry, start};

#[test]
fn new_connections_use_the_new_address_and_old_ones_finish() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, one) = worker.login();
    worker.send(client, "GET a");
    worker.apply(registry.set_address(1, 9));
    assert!(!worker.closed(one), "it owes a reply");
    worker.reply(one, "$1\r\na\r\n");
    worker.settle();
    assert!(worker.closed(one));
    assert_eq!(worker.received(client), "$1\r\na\r\n");
    worker.send(client, "GET b");
    let nine = worker.establish_to(9);
    assert!(worker.requests(nine).contains("GET"));
}

#[test]
fn dedicated_connection_to_an_old_address_is_closed_after_the_grace() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, _) = worker.login();
    worker.send(client, "WATCH k");
    let dedicated = worker.new_link();
    worker.apply(registry.set_address(1, 9));
    worker.establish(dedicated);
    worker.deliver(dedicated, client, "+OK\r\n");
    worker.advance(GRACE_MS - 1_200);
    assert!(!worker.closed(client));
    worker.advance(2_500);
    assert!(worker.closed(client));
}

#[test]
fn connection_to_an_old_address_ready_after_the_grace_serves_its_requests_and_closes() {
    let (mut registry, mut worker) = Registry::of(&[1]).start(|settings| {
        settings.offline_grace_ms = GRACE_MS;
        settings.backend_connect_ms = 3 * GRACE_MS;
    });
    let (client, _) = worker.login();
    worker.send(client, "WATCH k");
    let dedicated = worker.new_link();
    worker.apply(registry.set_address(1, 9));
    worker.advance(GRACE_MS - 1_000);
    let handshake = worker.open_handshake(dedicated);
    assert!(handshake.contains("ann"));
    worker.advance(2_000);
    worker.accept_handshake(dedicated, handshake);
    assert!(worker.requests(dedicated).contains("WATCH"));
    worker.reply(dedicated, "+OK\r\n");
    worker.settle();
    assert_eq!(worker.received(client), "+OK\r\n");
    assert!(worker.closed(client));
}

/// The connection that verified the login would become a shared one otherwise.
#[test]
fn login_accepted_at_an_old_address_leads_to_the_new_one() {
    let (mut registry, mut worker) = start(&[1]);
    let client = worker.client_sends("AUTH ann pw");
    let old = worker.new_link();
    worker.open(old);
    assert_eq!(worker.verifier(), old);
    worker.apply(registry.set_address(1, 9));
    worker.reply(old, "+OK\r\n");
    assert!(worker.closed(old));
    let new = worker.establish_to(9);
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.send(client, "GET a");
    assert!(worker.requests(new).contains("GET"));
}

#[test]
fn connections_to_the_old_address_close_when_the_name_resolves_again_to_another() {
    let (mut registry, mut worker) = start(&[1]);
    let (client, one) = worker.login();
    worker.apply(registry.unresolved());
    worker.send(client, "GET a");
    worker.deliver(one, client, "$1\r\na\r\n");
    worker.apply(registry.set_address(1, 9));
    assert!(worker.closed(one));
    worker.send(client, "GET b");
    let nine = worker.establish_to(9);
    assert!(worker.requests(nine).contains("GET"));
}

#[test]
fn unfinished_connection_to_an_old_address_gets_no_requests_and_its_failure_is_ignored() {
    let (mut registry, mut worker) = start(&[1]);
    let (first, second) = (worker.client(), worker.client());
    worker.send(first, "GET a");
    let one = worker.new_link();
    assert_eq!(worker.port(one), 1);
    worker.apply(registry.set_address(1, 9));
    worker.send(second, "GET b");
    let nine = worker.new_link();
    assert_eq!(worker.port(nine), 9);
    worker.fail(one, &Failure::TimedOut);
    assert!(worker.received(first).starts_with("-ERR elika: backend "));
    worker.send(first, "GET c");
    worker.establish(nine);
    let asked = worker.requests(nine);
    assert!(asked.contains("\r\nb\r\n") && asked.contains("\r\nc\r\n"));
    assert_eq!(worker.received(first), "");
}

fn of_several(hosts: &[u8]) -> Worker {
    let snapshot = Registry::of(&[]).of_addresses(hosts);
    Worker::with_snapshot(snapshot, |_| {})
}

fn refused() -> Failure {
    Failure::Unreachable("connection refused".into())
}

#[test]
fn all_addresses_are_tried_in_one_attempt_and_the_working_one_is_tried_first_next_time() {
    let mut worker = of_several(&[1, 2, 3]);
    for (user, tried) in [("ann", &[1, 2, 3][..]), ("bob", &[3]), ("eve", &[3])] {
        let client = worker.client_sends(&format!("AUTH {user} pw"));
        for &host in tried {
            let backend = worker.new_link();
            assert_eq!(worker.host(backend), host);
            match host {
                3 => worker.establish(backend),
                _ => worker.fail(backend, &refused()),
            }
        }
        assert_eq!(worker.received(client), "+OK\r\n");
    }
    assert_eq!(worker.machine.counters().backends_failed, 0);
    assert_eq!(worker.machine.counters().addresses_skipped, 2);
}

#[test]
fn attempt_fails_when_no_address_can_be_connected() {
    let mut worker = of_several(&[1, 2]);
    let client = worker.client_sends("GET a");
    for host in [1, 2] {
        assert_eq!(worker.received(client), "");
        let backend = worker.new_link();
        assert_eq!(worker.host(backend), host);
        worker.fail(backend, &refused());
    }
    let heard = worker.received(client);
    assert_eq!(
        heard,
        "-ERR elika: backend unavailable: connection refused\r\n"
    );
    assert_eq!(worker.machine.counters().backends_failed, 1);
}

#[test]
fn silent_address_uses_only_its_share_of_the_timeout() {
    let mut worker = of_several(&[1, 2, 3]);
    let client = worker.client_sends("GET a");
    let backend = worker.new_link();
    worker.advance(900);
    assert_eq!(worker.new_links(), []);
    worker.advance(200);
    assert_eq!((worker.new_link(), worker.host(backend)), (backend, 2));
    worker.establish(backend);
    assert!(worker.requests(backend).contains("GET"));
    worker.deliver(backend, client, "$1\r\na\r\n");
}

/// The port may be open without a Redis server behind it, so that handshakes fail.
#[test]
fn address_where_handshakes_fail_is_tried_last() {
    let mut worker = of_several(&[1, 2]);
    let client = worker.client_sends("AUTH ann pw");
    let first = worker.new_link();
    assert_eq!(worker.host(first), 1);
    worker.open_handshake(first);
    worker.fail(first, &Failure::Lost);
    assert!(worker.received(client).starts_with("-ERR elika: backend "));
    worker.advance(300);
    let second = worker.new_link();
    assert_eq!(worker.host(second), 2);
    worker.establish(second);
    let _client = worker.client_sends("AUTH ann pw");
    let third = worker.new_link();
    assert_eq!(worker.host(third), 2);
}
