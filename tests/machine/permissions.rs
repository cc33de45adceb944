//! Whether a user may give a command that is answered here, which the server is asked about.

use elika::proxy::Failure;

use super::harness::{Worker, command};

#[test]
fn one_question_serves_all_clients_for_a_second() {
    let mut worker = Worker::new();
    let (ann, backend) = worker.user("ann");
    let other = worker.logs_in("ann", "pw");
    worker.asked(backend);
    worker.says(ann, "CLIENT ID");
    worker.says(other, "CLIENT ID");
    assert_eq!(worker.asked(backend).as_bytes(), command("CLIENT ID"));
    assert_eq!(worker.heard(ann), "");
    worker.replies(backend, ":77\r\n");
    assert_eq!(worker.heard(ann), ":1\r\n");
    assert_eq!(worker.heard(other), ":2\r\n");
    worker.pass(900);
    worker.says(ann, "CLIENT ID");
    assert_eq!(worker.heard(ann), ":1\r\n");
    assert_eq!(worker.asked(backend), "");
    worker.pass(200);
    worker.says(ann, "CLIENT ID");
    worker.permits(backend);
    assert_eq!(worker.heard(ann), ":1\r\n");
}

#[test]
fn refusal_is_the_servers_and_is_not_remembered() {
    let mut worker = Worker::new();
    let (ann, backend) = worker.user("ann");
    worker.asked(backend);
    let refusal = "-NOPERM User ann has no permissions to run the 'client|kill' command\r\n";
    for _ in 0..2 {
        worker.says(ann, "CLIENT KILL ID 1 SKIPME no");
        assert!(worker.asked(backend).contains("KILL"));
        worker.replies(backend, refusal);
        assert_eq!(worker.heard(ann), refusal);
    }
    // Other clients' replies keep their order.
    worker.sends(ann, ["GET a", "CLIENT LIST", "GET b"].map(command).concat());
    assert_eq!(worker.asked(backend).as_bytes(), command("GET a"));
    worker.replies(backend, "$-1\r\n");
    assert!(worker.asked(backend).contains("LIST"));
    worker.replies(backend, "-NOPERM no\r\n");
    assert_eq!(worker.asked(backend).as_bytes(), command("GET b"));
    assert_eq!(worker.heard(ann), "$-1\r\n-NOPERM no\r\n");
    assert_eq!(worker.machine.counters().permissions_refused, 3);
}

#[test]
fn question_of_a_lost_connection_is_asked_again() {
    let mut worker = Worker::new();
    let (ann, backend) = worker.user("ann");
    worker.says(ann, "CLIENT SETNAME me");
    worker.fails(backend, &Failure::Lost);
    let next = worker.begun_one();
    worker.welcome(next);
    worker.permits(next);
    assert_eq!(worker.heard(ann), "+OK\r\n");
}

/// A server that holds back writes answers all else.
#[test]
fn question_behind_a_late_reply_is_asked_elsewhere() {
    let mut worker = Worker::new();
    let (ann, backend) = worker.user("ann");
    let writer = worker.logs_in("ann", "pw");
    worker.says(writer, "SET k v");
    worker.says(ann, "CLIENT ID");
    worker.pass(300);
    let beside = worker.begun_one();
    worker.welcome(beside);
    worker.pass(200);
    worker.permits(beside);
    assert_eq!(worker.heard(ann), ":1\r\n");
    // The first answer comes too late to say anything.
    worker.replies(backend, "+OK\r\n-NOPERM no\r\n");
    assert_eq!(worker.heard(writer), "+OK\r\n");
    worker.says(ann, "CLIENT ID");
    assert_eq!(worker.heard(ann), ":1\r\n");
}

#[test]
fn client_with_its_own_connection_asks_there() {
    let mut worker = Worker::new();
    let (ann, shared) = worker.user("ann");
    let own = worker.own(ann, "WATCH k", "+OK\r\n");
    worker.asked(shared);
    worker.says(ann, "CLIENT GETNAME");
    worker.permits(own);
    assert_eq!(worker.heard(ann), "$-1\r\n");
    worker.says(ann, "CLIENT LIST");
    worker.asked(own);
    worker.replies(own, "-NOPERM no\r\n");
    assert_eq!(worker.heard(ann), "-NOPERM no\r\n");
    assert_eq!(worker.asked(shared), "");
}

#[test]
fn database_is_selected_if_the_server_lets_the_user() {
    let mut worker = Worker::new();
    let (ann, zero) = worker.user("ann");
    worker.asked(zero);
    worker.says(ann, "SELECT 0");
    assert_eq!(worker.asked(zero).as_bytes(), command("SELECT 0"));
    worker.replies(zero, "-NOPERM no\r\n");
    assert_eq!(worker.heard(ann), "-NOPERM no\r\n");
    // The handshake says so of its own.
    worker.says(ann, "SELECT 5");
    let five = worker.begun_one();
    worker.welcome(five);
    worker.settle();
    assert_eq!(worker.heard(ann), "+OK\r\n");
    assert_eq!(worker.asked(five), "");
    worker.pass(1_100);
    worker.says(ann, "SELECT 5");
    worker.asked(five);
    worker.replies(five, "-NOPERM no more\r\n");
    assert_eq!(worker.heard(ann), "-NOPERM no more\r\n");
}
