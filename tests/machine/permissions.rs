//! Permissions for commands that the proxy answers, which the server is asked about.

use elika::proxy::Failure;

use super::harness::{Worker, command};

#[test]
fn permission_is_cached_for_all_clients_for_one_second() {
    let (mut worker, ann, backend) = Worker::with_user("ann");
    let other = worker.log_in("ann", "pw");
    worker.requests(backend);
    worker.send(ann, "CLIENT ID");
    worker.send(other, "CLIENT ID");
    assert_eq!(worker.requests(backend).as_bytes(), command("CLIENT ID"));
    assert_eq!(worker.received(ann), "");
    worker.reply(backend, ":77\r\n");
    assert_eq!(worker.received(ann), ":1\r\n");
    assert_eq!(worker.received(other), ":2\r\n");
    worker.advance(900);
    worker.send(ann, "CLIENT ID");
    assert_eq!(worker.received(ann), ":1\r\n");
    assert_eq!(worker.requests(backend), "");
    worker.advance(200);
    worker.send(ann, "CLIENT ID");
    worker.permit(backend);
    assert_eq!(worker.received(ann), ":1\r\n");
}

#[test]
fn refusal_of_the_server_is_forwarded_and_not_cached() {
    let (mut worker, ann, backend) = Worker::with_user("ann");
    worker.requests(backend);
    let refusal = "-NOPERM User ann has no permissions to run the 'client|kill' command\r\n";
    for _ in 0..2 {
        worker.send(ann, "CLIENT KILL ID 1 SKIPME no");
        assert!(worker.requests(backend).contains("KILL"));
        worker.reply(backend, refusal);
        assert_eq!(worker.received(ann), refusal);
    }
    // The replies of other clients keep their order.
    worker.send_bytes(ann, ["GET a", "CLIENT LIST", "GET b"].map(command).concat());
    assert_eq!(worker.requests(backend).as_bytes(), command("GET a"));
    worker.reply(backend, "$-1\r\n");
    assert!(worker.requests(backend).contains("LIST"));
    worker.reply(backend, "-NOPERM no\r\n");
    assert_eq!(worker.requests(backend).as_bytes(), command("GET b"));
    assert_eq!(worker.received(ann), "$-1\r\n-NOPERM no\r\n");
    assert_eq!(worker.machine.counters().permissions_refused, 3);
}

#[test]
fn permission_probe_of_a_lost_connection_is_retried() {
    let (mut worker, ann, backend) = Worker::with_user("ann");
    worker.send(ann, "CLIENT SETNAME me");
    worker.fail(backend, &Failure::Lost);
    let next = worker.established();
    worker.permit(next);
    assert_eq!(worker.received(ann), "+OK\r\n");
}

/// A server that pauses writes answers all other commands.
#[test]
fn permission_probe_behind_a_late_reply_is_retried_elsewhere() {
    let (mut worker, ann, backend) = Worker::with_user("ann");
    let writer = worker.log_in("ann", "pw");
    worker.send(writer, "SET k v");
    worker.send(ann, "CLIENT ID");
    worker.advance(300);
    let beside = worker.established();
    worker.advance(200);
    worker.permit(beside);
    assert_eq!(worker.received(ann), ":1\r\n");
    // The first reply arrives too late and is ignored.
    worker.reply(backend, "+OK\r\n-NOPERM no\r\n");
    assert_eq!(worker.received(writer), "+OK\r\n");
    worker.send(ann, "CLIENT ID");
    assert_eq!(worker.received(ann), ":1\r\n");
}

#[test]
fn client_with_a_dedicated_connection_probes_on_it() {
    let (mut worker, ann, shared) = Worker::with_user("ann");
    let dedicated = worker.dedicated(ann, "WATCH k", "+OK\r\n");
    worker.requests(shared);
    worker.send(ann, "CLIENT GETNAME");
    worker.permit(dedicated);
    assert_eq!(worker.received(ann), "$-1\r\n");
    worker.send(ann, "CLIENT LIST");
    worker.requests(dedicated);
    worker.deliver(dedicated, ann, "-NOPERM no\r\n");
    assert_eq!(worker.requests(shared), "");
}

#[test]
fn select_needs_the_permission_of_the_server() {
    let (mut worker, ann, zero) = Worker::with_user("ann");
    worker.requests(zero);
    worker.send(ann, "SELECT 0");
    assert_eq!(worker.requests(zero).as_bytes(), command("SELECT 0"));
    worker.deliver(zero, ann, "-NOPERM no\r\n");
    // The handshake contains the SELECT.
    worker.send(ann, "SELECT 5");
    let five = worker.established();
    worker.settle();
    assert_eq!(worker.received(ann), "+OK\r\n");
    assert_eq!(worker.requests(five), "");
    worker.advance(1_100);
    worker.send(ann, "SELECT 5");
    worker.requests(five);
    worker.deliver(five, ann, "-NOPERM no more\r\n");
}
