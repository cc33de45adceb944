//! The verification of logins: its connection, its timeouts, and its errors.

use elika::proxy::{Failure, Notice};

use super::harness::{NOAUTH, WRONGPASS, Worker};

const AUTH_BOB_BAD: &str = "*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$3\r\nbad\r\n";

/// Some servers send no reply to a failed AUTH while other replies are outstanding.
#[test]
fn auth_is_alone_on_a_connection_without_clients() {
    let (mut worker, bob, bobs) = Worker::with_user("bob");
    worker.send(bob, "GET secret");
    assert!(worker.requests(bobs).contains("secret"));
    let guesser = worker.client_sends("AUTH bob bad");
    let verifier = worker.new_link();
    assert_eq!(worker.open_handshake(verifier), AUTH_BOB_BAD);
    worker.send(bob, "SET x 1");
    assert!(!worker.requests(bobs).contains("AUTH"));
    worker.deliver(verifier, guesser, WRONGPASS);
    assert!(worker.closed(verifier));
    worker.deliver(bobs, bob, "$6\r\nsecret\r\n+OK\r\n");
    worker.send(guesser, "GET secret");
    assert_eq!(worker.requests(bobs), "");
}

#[test]
fn refused_logins_are_logged_once_a_second_with_a_count() {
    let mut worker = Worker::new();
    let (client, _) = worker.anonymous();
    let mut told = Vec::new();
    for _ in 0..3 {
        worker.send(client, "AUTH bo\x1b[b bad");
        let verifier = worker.new_link();
        worker.open_handshake(verifier);
        worker.deliver(verifier, client, WRONGPASS);
        told.extend(worker.notices());
    }
    let line = |notice: &Notice| notice.to_string();
    let [first] = &told[..] else {
        panic!("{told:?}");
    };
    let first = line(first);
    assert!(first.contains("client: login refused client="), "{first}");
    assert!(first.ends_with(" user=bo\\x1b[b suppressed=0"), "{first}");
    worker.advance(1_100);
    let rest: Vec<String> = worker.notices().iter().map(line).collect();
    assert_eq!(rest, ["client: login refused limit=login suppressed=2"]);
    worker.advance(3_000);
    assert_eq!(worker.notices(), []);
}

#[test]
fn credential_is_verified_before_a_database_is_chosen() {
    let mut worker = Worker::new();
    let (anonymous, _) = worker.anonymous();
    worker.send(anonymous, "SELECT 3");
    let three = worker.established();
    assert_eq!(worker.received(anonymous), "+OK\r\n");
    worker.send(anonymous, "AUTH bob bad");
    let verifier = worker.new_link();
    assert_eq!(worker.open_handshake(verifier), AUTH_BOB_BAD);
    worker.deliver(verifier, anonymous, WRONGPASS);
    // The client keeps its database and its user.
    worker.send(anonymous, "GET x");
    assert!(worker.requests(three).contains("GET"));
    worker.send(anonymous, "AUTH bob pw");
    worker.reply(three, "$-1\r\n");
    let verifier = worker.new_link();
    worker.open(verifier);
    assert_eq!(worker.verifier(), verifier);
    worker.reply(verifier, "+OK\r\n");
    let bobs = worker.new_link();
    assert!(
        worker
            .open_handshake(bobs)
            .starts_with("*2\r\n$6\r\nSELECT")
    );
    worker.reply(bobs, NOAUTH);
    assert!(worker.requests(bobs).starts_with("*3\r\n$4\r\nAUTH"));
    worker.reply(bobs, "+OK\r\n");
    let last = worker.requests(bobs);
    assert!(last.contains("HELLO") && last.contains("SELECT"), "{last}");
    worker.accept_handshake(bobs, last);
    assert_eq!(worker.received(anonymous), "$-1\r\n+OK\r\n");
}

/// The connection that has verified a login is reused for the next logins, one at a time.
#[test]
fn logins_take_turns_on_an_idle_verifying_connection() {
    let mut worker = Worker::new();
    worker.user("bob");
    worker.log_in("bob", "pw");
    let (one, two) = (worker.client(), worker.client());
    worker.send(one, "AUTH bob pw");
    worker.send(two, "AUTH bob bad");
    let on = worker.verifier();
    let second = worker.new_link();
    assert_eq!(worker.requests(on), "", "two logins at a time");
    worker.deliver(on, one, "+OK\r\n");
    assert_eq!(worker.requests(on), AUTH_BOB_BAD);
    worker.deliver(on, two, WRONGPASS);
    assert!(worker.closed(on));
    worker.open(second);
    assert_eq!(worker.requests(second), "");
    worker.advance(31_000);
    assert!(worker.closed(second));
}

#[test]
fn login_on_a_lost_reused_connection_is_retried_once() {
    let mut worker = Worker::new();
    worker.user("bob");
    worker.log_in("bob", "pw");
    let client = worker.client_sends("AUTH bob pw");
    let on = worker.verifier();
    worker.fail(on, &Failure::Lost);
    assert_eq!(worker.received(client), "");
    let fresh = worker.new_link();
    worker.open(fresh);
    worker.fail(fresh, &Failure::Lost);
    let text = "-ERR elika: backend unavailable: connection closed\r\n";
    assert_eq!(worker.received(client), text);
    assert_eq!(worker.new_links(), []);
}

#[test]
fn extra_bytes_after_the_auth_reply_are_an_error() {
    for answer in ["+OK\r\n+OK\r\n", "$2\r\nOK\r\n", "+OKAY\r\n", "+OK\r\n$"] {
        let mut worker = Worker::new();
        let client = worker.client_sends("AUTH bob bad");
        let on = worker.new_link();
        worker.open(on);
        worker.reply(on, answer);
        let heard = worker.received(client);
        assert!(heard.starts_with("-ERR elika: backend "), "{heard}");
        assert!(worker.closed(on));
    }
}

#[test]
fn verifying_connection_with_unexpected_bytes_is_closed() {
    let mut worker = Worker::new();
    worker.user("bob");
    let client = worker.log_in("bob", "pw");
    worker.machine.client_closed(client);
    let guesser = worker.client_sends("AUTH bob bad");
    let on = worker.verifier();
    worker.machine.client_closed(guesser);
    worker.reply(on, "+OK\r\n");
    worker.reply(on, "+OK\r\n");
    assert!(worker.closed(on));
}

#[test]
fn login_gets_the_error_of_a_full_server() {
    let full = "-ERR max number of clients reached\r\n";
    let (mut worker, bob, bobs) = Worker::with_user("bob");
    let late = worker.client_sends("AUTH bob pw");
    let on = worker.new_link();
    worker.open(on);
    worker.reply(on, full);
    assert_eq!(worker.received(late), full);
    worker.send(bob, "GET x");
    assert!(worker.requests(bobs).contains("GET"));
}

/// No connection that is opened for logins is ever established.
#[test]
fn logins_fail_when_no_connection_can_be_made() {
    let mut worker = Worker::new();
    let clients = [worker.client(), worker.client(), worker.client()];
    for client in clients {
        worker.send(client, "AUTH bob pw");
        worker.advance(1_000);
    }
    let mut begun = 0;
    for _ in 0..10 {
        begun += worker.new_links().len();
        worker.advance(1_000);
    }
    for client in clients {
        assert!(
            worker
                .received(client)
                .starts_with("-ERR elika: backend unavail")
        );
    }
    assert!(begun < 10, "{begun}");
}

#[test]
fn logins_fail_while_other_requests_continue() {
    let mut worker = Worker::new();
    worker.user("carl");
    let clients = [worker.client(), worker.client()];
    for client in clients {
        worker.send(client, "AUTH bob pw");
    }
    for _ in 0..20 {
        for on in worker.new_links() {
            worker.fail(on, &Failure::Unreachable("refused".into()));
        }
        worker.advance(100);
    }
    for client in clients {
        assert!(
            worker
                .received(client)
                .starts_with("-ERR elika: backend unavail")
        );
    }
}

#[test]
fn select_gets_the_error_of_a_full_server() {
    let full = "-ERR max number of clients reached\r\n";
    let (mut worker, client, _) = Worker::with_user("carl");
    worker.send(client, "SELECT 3");
    let three = worker.new_link();
    worker.open_handshake(three);
    worker.reply(three, full);
    assert_eq!(worker.received(client), full);
}

/// A client must log in or be accepted as the default user, regardless of what it sends.
#[test]
fn anonymous_client_is_closed_after_login_seconds() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 5_000);
    let first = worker.client_sends("PING");
    let refused = worker.new_link();
    worker.refuse_handshake(refused, NOAUTH);
    let (bob, _) = worker.user("bob");
    for _ in 0..3 {
        worker.advance(2_000);
        worker.send(first, "PING");
        for backend in worker.new_links() {
            worker.refuse_handshake(backend, NOAUTH);
        }
    }
    assert!(worker.closed(first));
    assert!(!worker.closed(bob));
    worker.send(bob, "RESET");
    worker.advance(4_000);
    assert!(!worker.closed(bob), "it begins anew");
    worker.advance(3_000);
    assert!(worker.closed(bob));
}

#[test]
fn guessing_client_is_closed_after_login_seconds() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 5_000);
    let client = worker.client_sends("AUTH ann wrong");
    let first = worker.new_link();
    worker.refuse_handshake(first, "-WRONGPASS wrong\r\n");
    assert_eq!(worker.received(client), "-WRONGPASS wrong\r\n");
    worker.send(client, "AUTH ann wrong");
    let second = worker.new_link();
    worker.open(second);
    worker.advance(4_000);
    assert!(!worker.closed(client));
    worker.advance(2_000);
    assert!(worker.closed(client));
}

#[test]
fn too_long_password_is_refused_without_the_server() {
    let mut worker = Worker::new();
    let (client, _) = worker.anonymous();
    let longest = "x".repeat(16 * 1024);
    worker.send(client, &format!("AUTH ann {longest}x"));
    assert!(worker.received(client).starts_with("-WRONGPASS "));
    assert!(worker.new_links().is_empty());
    worker.send(client, &format!("AUTH ann {longest}"));
    assert!(!worker.new_links().is_empty());
}

#[test]
fn client_accepted_as_default_user_has_no_login_timeout() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 5_000);
    let (anonymous, _) = worker.anonymous();
    worker.advance(10_000);
    assert!(!worker.closed(anonymous));
}
