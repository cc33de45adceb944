//! Credentials that the server no longer accepts: which clients are closed, and when.

use elika::cluster::{ClusterKey, InstanceId, Status};
use elika::proxy::{Failure, Question};

use super::harness::{NOAUTH, WRONGPASS, Worker};
use super::instances::start;

/// The server does not report a new password of the default user; the handshake of another
/// connection detects it.
#[test]
fn anonymous_clients_are_closed_when_the_default_user_gets_a_password() {
    let mut worker = Worker::new();
    let (_old, open) = worker.anonymous();
    worker.requests(open);
    let new = worker.client_sends("HELLO 3");
    let three = worker.new_link();
    let questions = worker.questions();
    worker.refuse_handshake(
        three,
        "-NOAUTH HELLO must be called with the client already authenticated\r\n",
    );
    assert_eq!(worker.questions(), questions + 1, "other workers are told");
    assert!(worker.received(new).starts_with("-NOAUTH "));
    let late = worker.client_sends("GET x");
    assert_eq!(worker.received(late), NOAUTH);
    assert!(worker.closed(open));
    // The refusal is cached for a while; then the backend is asked again.
    worker.advance(1_500);
    worker.send(late, "GET x");
    assert_eq!(worker.requests(open), "");
    let again = worker.new_link();
    worker.refuse_handshake(again, NOAUTH);
    assert_eq!(worker.received(late), NOAUTH);
}

#[test]
fn anonymous_clients_are_closed_when_another_worker_is_refused() {
    let mut worker = Worker::new();
    let (anonymous, open) = worker.anonymous();
    worker.dedicated(anonymous, "BLPOP l 1", "*-1\r\n");
    let tenant = ClusterKey::local().tenant();
    let id = InstanceId::from("one");
    worker
        .machine
        .question_from_worker(Question::LoginNeeded(tenant, id));
    worker.settle();
    assert!(worker.closed(open));
    assert_eq!(worker.machine.links(), 0);
    worker.send(anonymous, "GET x");
    assert_eq!(worker.received(anonymous), NOAUTH);
}

/// A dedicated connection that has authenticated without a password must be replaced as well.
#[test]
fn connection_without_a_login_is_replaced_while_in_use() {
    let mut worker = Worker::new();
    let (anonymous, _) = worker.anonymous();
    let dedicated = worker.dedicated(anonymous, "BLPOP l 1", "*-1\r\n");
    for _ in 0..7 {
        worker.advance(10_000);
        worker.send(anonymous, "BLPOP l 1");
        for backend in worker.new_links() {
            worker.establish(backend);
        }
        worker.reply(dedicated, "*-1\r\n");
        worker.settle();
    }
    assert!(worker.closed(dedicated));
}

#[test]
fn two_passwords_of_one_user_share_no_connection() {
    let (mut worker, bob, bobs) = Worker::with_user("bob");
    let dave = worker.client_sends("AUTH bob new");
    let daves = worker.established();
    assert_eq!(worker.received(dave), "+OK\r\n");
    for (client, dedicated, other) in [(bob, bobs, daves), (dave, daves, bobs)] {
        worker.send(client, "GET x");
        assert!(worker.requests(dedicated).contains("GET"));
        assert_eq!(worker.requests(other), "");
        worker.reply(dedicated, "$-1\r\n");
        worker.received(client);
    }
    // The first password is no longer valid. Connections that have authenticated with it continue.
    worker.send(bob, "SELECT 5");
    let five = worker.new_link();
    worker.refuse_handshake(five, WRONGPASS);
    assert!(worker.closed(bob), "it cannot go on");
    worker.send(dave, "GET y");
    assert!(worker.requests(daves).contains("GET"));
    worker.deliver(daves, dave, "$-1\r\n");
}

/// As with a direct connection, a connection outlives its password.
#[test]
fn connection_outlives_its_password() {
    let (mut worker, bob, bobs) = Worker::with_user("bob");
    let other = worker.log_in("bob", "pw");
    worker.send(other, "SELECT 5");
    let five = worker.new_link();
    worker.refuse_handshake(five, WRONGPASS);
    assert_eq!(worker.received(other), "");
    assert!(worker.closed(other));
    worker.send(bob, "GET x");
    assert!(worker.requests(bobs).contains("GET"));
    worker.deliver(bobs, bob, "$-1\r\n");
}

/// The server closes all connections of a user when the user is deleted.
#[test]
fn clients_are_closed_when_their_user_is_deleted() {
    let (mut worker, idle, bobs) = Worker::with_user("bob");
    let busy = worker.log_in("bob", "pw");
    worker.send(busy, "INCR n");
    worker.requests(bobs);
    worker.fail(bobs, &Failure::Lost);
    let text = "-ERR elika: backend connection lost, outcome unknown\r\n";
    assert_eq!(worker.received(busy), text);
    worker.advance(100);
    let again = worker.new_link();
    worker.send(busy, "GET x");
    worker.refuse_handshake(again, WRONGPASS);
    worker.settle();
    for client in [idle, busy] {
        assert_eq!(worker.received(client), "");
        assert!(worker.closed(client));
    }
}

#[test]
fn clients_stay_when_a_lost_connection_is_made_again() {
    let (mut worker, idle, bobs) = Worker::with_user("bob");
    worker.fail(bobs, &Failure::Lost);
    worker.advance(100);
    let again = worker.established();
    worker.send(idle, "GET x");
    assert!(worker.requests(again).contains("GET"));
}

/// A login with the new password does not give a connection to clients with the old password.
#[test]
fn revoked_password_does_not_use_a_connection_of_the_new_one() {
    let (mut worker, old, olds) = Worker::with_user("bob");
    worker.fail(olds, &Failure::Lost);
    let new = worker.client_sends("AUTH bob new");
    worker.advance(100);
    let begun = worker.new_links();
    let [again, verifier] = begun[..] else {
        panic!("{begun:?}")
    };
    worker.establish(verifier);
    assert_eq!(worker.received(new), "+OK\r\n");
    worker.send(old, "GET secret");
    assert_eq!(worker.requests(verifier), "");
    worker.refuse_handshake(again, WRONGPASS);
    worker.settle();
    assert!(worker.closed(old));
    assert_eq!(worker.requests(verifier), "");
}

#[test]
fn credential_without_a_connection_is_verified_once_a_second() {
    let (mut worker, _client, backend) = Worker::with_user("carl");
    worker.fail(backend, &Failure::Lost);
    let mut begun = 0;
    for _ in 0..5_000 {
        worker.advance(1);
        for on in worker.new_links() {
            begun += 1;
            worker.establish(on);
            worker.fail(on, &Failure::Lost);
        }
    }
    assert!(begun <= 6, "{begun}");
}

#[test]
fn clients_of_both_passwords_move_to_another_instance() {
    let (mut registry, mut worker) = start(&[1]);
    let (early, _) = worker.login();
    let late = worker.client_sends("AUTH ann newer");
    let _on = worker.established();
    worker.received(late);
    worker.apply(registry.set(2, Status::Ready));
    worker.apply(registry.set(1, Status::Offline));
    worker.settle();
    for backend in worker.new_links() {
        worker.establish(backend);
    }
    worker.settle();
    for client in [early, late] {
        worker.send(client, "GET x");
        worker.settle();
        assert!(!worker.closed(client));
    }
    assert_eq!(worker.machine.counters().clients_moved, 2);
}

/// The client's own user is gone, and its login as another one is under way.
#[test]
fn client_that_logs_in_as_another_user_is_not_closed_with_its_user() {
    let (mut worker, client, bobs) = Worker::with_user("bob");
    worker.fail(bobs, &Failure::Lost);
    worker.send(client, "AUTH ann pw");
    worker.advance(100);
    let begun = worker.new_links();
    let [again, verifier] = begun[..] else {
        panic!("{begun:?}")
    };
    let login = worker.open_handshake(verifier);
    worker.refuse_handshake(again, WRONGPASS);
    worker.settle();
    assert!(!worker.closed(client));
    worker.accept_handshake(verifier, login);
    assert_eq!(worker.received(client), "+OK\r\n");
}
