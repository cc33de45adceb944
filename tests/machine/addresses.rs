//! An instance gets another address: where requests go from then on, and who stays for a while.

use elika::proxy::{ConnKey, Failure, Settings};

use super::harness::Worker;
use super::instances::{GRACE_MS, Registry, start};

#[test]
fn a_new_address_is_for_new_connections_and_old_ones_finish() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, one) = worker.login();
    worker.says(client, "GET a");
    worker.follows(registry.moves(1, 9));
    assert!(!worker.closed(ConnKey::Link(one)), "it owes a reply");
    worker.replies(one, "$1\r\na\r\n");
    worker.settle();
    assert!(worker.closed(ConnKey::Link(one)));
    assert_eq!(worker.heard(client), "$1\r\na\r\n");
    worker.says(client, "GET b");
    let nine = worker.welcome_to(9);
    assert!(worker.asked(nine).contains("GET"));
}

#[test]
fn who_has_a_connection_to_an_old_address_for_itself_has_until_the_end_of_the_grace() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, _) = worker.login();
    worker.says(client, "WATCH k");
    let own = worker.begun_one();
    worker.follows(registry.moves(1, 9));
    worker.welcome(own);
    worker.replies(own, "+OK\r\n");
    assert_eq!(worker.heard(client), "+OK\r\n");
    worker.pass(GRACE_MS - 1_200);
    assert!(!worker.closed(ConnKey::Client(client)));
    worker.pass(2_500);
    assert!(worker.closed(ConnKey::Client(client)));
}

#[test]
fn one_that_gets_ready_after_the_grace_serves_what_waits_for_it_and_goes() {
    let mut registry = Registry::of(&[1]);
    let settings = Settings {
        worker: 1,
        offline_grace_ms: GRACE_MS,
        backend_connect_ms: 3 * GRACE_MS,
        ..Settings::default()
    };
    let mut worker = Worker::following(settings, registry.snapshot());
    let (client, _) = worker.login();
    worker.says(client, "WATCH k");
    let own = worker.begun_one();
    worker.follows(registry.moves(1, 9));
    worker.pass(GRACE_MS - 1_000);
    let handshake = worker.connect(own);
    assert!(handshake.contains("ann"));
    worker.pass(2_000);
    worker.accept(own, handshake);
    assert!(worker.asked(own).contains("WATCH"));
    worker.replies(own, "+OK\r\n");
    worker.settle();
    assert_eq!(worker.heard(client), "+OK\r\n");
    assert!(worker.closed(ConnKey::Client(client)));
}

#[test]
fn an_address_is_left_though_the_name_led_nowhere_for_a_while() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, one) = worker.login();
    worker.follows(registry.unresolved());
    worker.says(client, "GET a");
    worker.replies(one, "$1\r\na\r\n");
    assert_eq!(worker.heard(client), "$1\r\na\r\n");
    worker.follows(registry.moves(1, 9));
    assert!(worker.closed(ConnKey::Link(one)));
    worker.says(client, "GET b");
    let nine = worker.welcome_to(9);
    assert!(worker.asked(nine).contains("GET"));
}

#[test]
fn what_is_begun_to_an_old_address_takes_nothing_more_and_its_failure_says_nothing() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (first, second) = (worker.client(), worker.client());
    worker.says(first, "GET a");
    let one = worker.begun_one();
    assert_eq!(worker.port(one), 1);
    worker.follows(registry.moves(1, 9));
    worker.says(second, "GET b");
    let nine = worker.begun_one();
    assert_eq!(worker.port(nine), 9);
    worker.fails(one, &Failure::TimedOut);
    assert!(worker.heard(first).starts_with("-ERR elika: backend "));
    worker.says(first, "GET c");
    worker.welcome(nine);
    let asked = worker.asked(nine);
    assert!(asked.contains("\r\nb\r\n") && asked.contains("\r\nc\r\n"));
    assert_eq!(worker.heard(first), "");
}

fn of_several(hosts: &[u8]) -> Worker {
    let snapshot = Registry::of(&[]).of_addresses(hosts);
    let settings = Settings {
        worker: 1,
        ..Settings::default()
    };
    Worker::following(settings, snapshot)
}

fn refused() -> Failure {
    Failure::Unreachable("connection refused".into())
}

#[test]
fn all_addresses_are_tried_within_one_attempt_and_the_one_that_works_comes_first() {
    let mut worker = of_several(&[1, 2, 3]);
    for (user, tried) in [("ann", &[1, 2, 3][..]), ("bob", &[3]), ("eve", &[3])] {
        let client = worker.client();
        worker.says(client, &format!("AUTH {user} pw"));
        for &host in tried {
            let backend = worker.begun_one();
            assert_eq!(worker.host(backend), host);
            match host {
                3 => worker.welcome(backend),
                _ => worker.fails(backend, &refused()),
            }
        }
        assert_eq!(worker.heard(client), "+OK\r\n");
    }
    assert_eq!(worker.machine.counters().backends_failed, 0);
    assert_eq!(worker.machine.counters().addresses_skipped, 2);
}

#[test]
fn an_attempt_fails_when_no_address_can_be_connected_to() {
    let mut worker = of_several(&[1, 2]);
    let client = worker.client();
    worker.says(client, "GET a");
    for host in [1, 2] {
        assert_eq!(worker.heard(client), "");
        let backend = worker.begun_one();
        assert_eq!(worker.host(backend), host);
        worker.fails(backend, &refused());
    }
    let heard = worker.heard(client);
    assert_eq!(
        heard,
        "-ERR elika: backend unavailable: connection refused\r\n"
    );
    assert_eq!(worker.machine.counters().backends_failed, 1);
}

#[test]
fn an_address_that_swallows_everything_takes_its_share_of_the_time() {
    let mut worker = of_several(&[1, 2, 3]);
    let client = worker.client();
    worker.says(client, "GET a");
    let backend = worker.begun_one();
    worker.pass(900);
    assert_eq!(worker.begun(), []);
    worker.pass(200);
    assert_eq!((worker.begun_one(), worker.host(backend)), (backend, 2));
    worker.welcome(backend);
    assert!(worker.asked(backend).contains("GET"));
    worker.replies(backend, "$1\r\na\r\n");
    assert_eq!(worker.heard(client), "$1\r\na\r\n");
}

/// Who listens there may be no server: nothing comes of it but a connection.
#[test]
fn an_address_where_handshakes_fail_is_tried_last() {
    let mut worker = of_several(&[1, 2]);
    let client = worker.client();
    worker.says(client, "AUTH ann pw");
    let first = worker.begun_one();
    assert_eq!(worker.host(first), 1);
    worker.connect(first);
    worker.fails(first, &Failure::Lost);
    assert!(worker.heard(client).starts_with("-ERR elika: backend "));
    worker.pass(300);
    let second = worker.begun_one();
    assert_eq!(worker.host(second), 2);
    worker.welcome(second);
    worker.says(client, "AUTH ann pw");
    let third = worker.begun_one();
    assert_eq!(worker.host(third), 2);
}
