//! How much is done for one client before the others have their turn.

use elika::proxy::{Bound, ConnKey, Flow};

use super::harness::{Worker, command};

/// More than one go of a client has.
const FLOOD: usize = 5_000;

#[test]
fn a_flood_of_commands_is_spread_over_turns() {
    let mut worker = Worker::new();
    let (flooder, backend) = worker.stranger();
    let quiet = worker.client();
    worker.says(quiet, "UNWATCH");
    worker.heard(quiet);
    let flow = worker.sends(flooder, b"UNWATCH\r\n".repeat(FLOOD));
    assert_eq!(flow, Flow::Pause);
    let first = worker.heard(flooder).matches("+OK\r\n").count();
    assert!(first <= 600, "{first} commands in one turn");
    // Meanwhile others are answered in the turn in which they ask.
    worker.says(quiet, "UNWATCH");
    assert_eq!(worker.heard(quiet), "+OK\r\n");
    worker.says(quiet, "GET k");
    assert!(worker.asked(backend).contains("GET"));
    worker.settle();
    let rest = worker.heard(flooder).matches("+OK\r\n").count();
    assert_eq!(first + rest, FLOOD);
    assert!(worker.resumed(ConnKey::Client(flooder)));
}

#[test]
fn many_flooders_share_a_turn() {
    let mut worker = Worker::new();
    let (first, _) = worker.stranger();
    let flooders: Vec<_> = std::iter::once(first)
        .chain((0..19).map(|_| worker.client()))
        .collect();
    for &flooder in &flooders {
        worker.says(flooder, "UNWATCH");
        worker.sends(flooder, b"UNWATCH\r\n".repeat(FLOOD));
    }
    let before = worker.machine.counters().answers;
    worker.turn();
    let done = worker.machine.counters().answers - before;
    assert!(done <= 800, "{done} commands in one turn");
    worker.settle();
    for flooder in flooders {
        let heard = worker.heard(flooder).matches("+OK\r\n").count();
        assert_eq!(heard, FLOOD + 1);
    }
}

#[test]
fn usual_pipelines_are_not_spread() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    assert_eq!(
        worker.sends(client, command("GET k").repeat(256)),
        Flow::Continue
    );
    assert_eq!(worker.asked(backend).matches("GET").count(), 256);
}

/// The longest errors are those that name what they do not know.
#[test]
fn before_a_login_little_is_left_unread() {
    let mut worker = Worker::new();
    let client = worker.client();
    worker.stall(ConnKey::Client(client));
    let hello = command(&format!("HELLO 2 {}", "x".repeat(10_000)));
    for _ in 0..100 {
        worker.sends(client, &hello);
    }
    let unread = worker.machine.outbound_bytes();
    assert!(unread <= 32_000, "{unread} bytes are unread");
}

/// Nor does it go on for ever with what needs no login.
#[test]
fn commands_before_a_login_that_lead_to_none_are_counted() {
    for line in ["RESET", "CLIENT REPLY OFF", "HELLO 9"] {
        let mut worker = Worker::new();
        let client = worker.client();
        worker.sends(client, command(line).repeat(200));
        for _ in 0..100 {
            worker.turn();
        }
        assert!(worker.closed(ConnKey::Client(client)), "{line}");
        assert_eq!(worker.machine.counters().refused_anonymous, 1, "{line}");
    }
}

#[test]
fn a_client_that_is_refused_too_often_before_a_login_is_closed() {
    let mut worker = Worker::new();
    let client = worker.client();
    worker.says(client, "GET k");
    let backend = worker.begun_one();
    worker.refuse(backend, "-NOAUTH Authentication required.\r\n");
    worker.heard(client);
    worker.sends(client, b"PING\r\n".repeat(FLOOD));
    let heard = worker.heard(client);
    assert_eq!(heard, "-NOAUTH Authentication required.\r\n".repeat(64));
    assert!(worker.closed(ConnKey::Client(client)));
    assert_eq!(worker.machine.counters().refused_anonymous, 1);
    let notices = worker.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].bound, Bound::RefusedCommands);
}
