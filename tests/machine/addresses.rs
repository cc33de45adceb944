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
    assert!(!worker.closed(ConnKey::Backend(one)), "it owes a reply");
    worker.replies(one, "$1\r\na\r\n");
    worker.settle();
    assert!(worker.closed(ConnKey::Backend(one)));
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
    assert!(worker.closed(ConnKey::Backend(one)));
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
