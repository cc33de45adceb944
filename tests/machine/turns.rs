//! How many commands of one client are executed before the other clients have their turn.

use elika::proxy::{Flow, NoticeKind};

use super::harness::{Worker, command};

/// More commands than one client executes in a turn.
const FLOOD: usize = 5_000;

#[test]
fn flood_of_commands_is_spread_over_turns() {
    let mut worker = Worker::new();
    let (flooder, backend) = worker.anonymous();
    let quiet = worker.client_sends("UNWATCH");
    worker.received(quiet);
    let flow = worker.send_bytes(flooder, b"UNWATCH\r\n".repeat(FLOOD));
    assert_eq!(flow, Flow::Pause);
    let first = worker.received(flooder).matches("+OK\r\n").count();
    assert!(first <= 600, "{first} commands in one turn");
    // Other clients get their replies in the turn of their request.
    worker.send(quiet, "UNWATCH");
    assert_eq!(worker.received(quiet), "+OK\r\n");
    worker.send(quiet, "GET k");
    assert!(worker.requests(backend).contains("GET"));
    worker.settle();
    let rest = worker.received(flooder).matches("+OK\r\n").count();
    assert_eq!(first + rest, FLOOD);
    assert!(worker.resumed(flooder));
}

#[test]
fn commands_of_many_flooding_clients_are_limited_per_turn() {
    let mut worker = Worker::new();
    let (first, _) = worker.anonymous();
    let flooders: Vec<_> = std::iter::once(first)
        .chain((0..19).map(|_| worker.client()))
        .collect();
    for &flooder in &flooders {
        worker.send(flooder, "UNWATCH");
        worker.send_bytes(flooder, b"UNWATCH\r\n".repeat(FLOOD));
    }
    let before = worker.machine.counters().answers;
    worker.turn();
    let done = worker.machine.counters().answers - before;
    assert!(done <= 800, "{done} commands in one turn");
    worker.settle();
    for flooder in flooders {
        let heard = worker.received(flooder).matches("+OK\r\n").count();
        assert_eq!(heard, FLOOD + 1);
    }
}

#[test]
fn usual_pipelines_are_not_spread() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    assert_eq!(
        worker.send_bytes(client, command("GET k").repeat(256)),
        Flow::Continue
    );
    assert_eq!(worker.requests(backend).matches("GET").count(), 256);
}

/// Errors that repeat the client's argument are the longest.
#[test]
fn replies_buffered_before_a_login_are_below_32_kb() {
    let mut worker = Worker::new();
    let client = worker.client();
    worker.stall(client);
    let hello = command(&format!("HELLO 2 {}", "x".repeat(10_000)));
    for _ in 0..100 {
        worker.send_bytes(client, &hello);
    }
    let unread = worker.machine.outbound_bytes();
    assert!(unread <= 32_000, "{unread} bytes are unread");
}

/// Commands that need no login count as well.
#[test]
fn refused_commands_before_a_login_are_counted() {
    for line in ["RESET", "CLIENT REPLY OFF", "HELLO 9"] {
        let mut worker = Worker::new();
        let client = worker.client();
        worker.send_bytes(client, command(line).repeat(200));
        for _ in 0..100 {
            worker.turn();
        }
        assert!(worker.closed(client), "{line}");
        assert_eq!(worker.machine.counters().refused_anonymous, 1, "{line}");
    }
}

#[test]
fn client_with_too_many_refused_commands_before_a_login_is_closed() {
    let mut worker = Worker::new();
    let client = worker.client_sends("GET k");
    let backend = worker.new_link();
    worker.refuse_handshake(backend, "-NOAUTH Authentication required.\r\n");
    worker.received(client);
    worker.send_bytes(client, b"PING\r\n".repeat(FLOOD));
    let heard = worker.received(client);
    assert_eq!(heard, "-NOAUTH Authentication required.\r\n".repeat(64));
    assert!(worker.closed(client));
    assert_eq!(worker.machine.counters().refused_anonymous, 1);
    let notices = worker.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].kind, NoticeKind::RefusedCommands);
}
