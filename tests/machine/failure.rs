//! Backends that are down, full, silent, gone or removed: everybody hears something, once, and
//! soon.

use elika::proxy::{ConnKey, Failure};

use super::harness::{Worker, command, set, value};

fn unreachable() -> Failure {
    Failure::Unreachable("connection refused".into())
}

/// A frame of this size would be moved to its backend with its buffer.
#[test]
fn a_big_request_hears_that_its_backend_is_down() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    worker.fails(backend, &Failure::Lost);
    worker.says(client, "GET x");
    let next = worker.begun_one();
    worker.fails(next, &unreachable());
    let down = worker.heard(client);
    assert!(
        down.starts_with("-ERR elika: backend unavailable: "),
        "{down}"
    );
    worker.uploads(client, &set(100_000));
    assert_eq!(worker.heard(client), down);
    worker.says(client, "GET x");
    assert_eq!(worker.heard(client), down);
}

/// Nobody knows yet whether a login is needed, hence which limits hold.
#[test]
fn more_arguments_than_a_stranger_may_send_hear_that_the_backend_is_down() {
    let mut worker = Worker::new();
    let client = worker.client();
    worker.says(client, "GET x");
    let backend = worker.begun_one();
    worker.fails(backend, &unreachable());
    let down = worker.heard(client);
    assert!(
        down.starts_with("-ERR elika: backend unavailable: "),
        "{down}"
    );
    worker.says(client, "DEL 1 2 3 4 5 6 7 8 9 10");
    assert_eq!(worker.heard(client), down);
}

/// The backend ends each connection right after its handshake.
#[test]
fn unsent_requests_do_not_move_for_ever() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    worker.stall(ConnKey::Link(backend));
    worker.says(client, "GET x");
    worker.fails(backend, &Failure::Lost);
    let mut moves = 0;
    while let Some(heir) = worker.begun().pop() {
        moves += 1;
        assert!(moves < 5, "still moving");
        worker.welcome_and_end(heir);
    }
    assert_eq!(moves, 1);
    let heard = worker.heard(client);
    assert!(
        heard.starts_with("-ERR elika: backend unavailable: "),
        "{heard}"
    );
}

/// The first client's reply was cut off, so it is closed. What was to follow must not keep its
/// neighbour from being served by the new connection.
#[test]
fn a_parked_reply_of_a_client_being_closed_holds_nobody_up() {
    let mut worker = Worker::new();
    let (cut, backend) = worker.stranger();
    let other = worker.client();
    worker.says(cut, "GET big");
    worker.stall(ConnKey::Client(cut));
    worker.stall(ConnKey::Link(backend));
    worker.says(other, "GET z");
    worker.sends(cut, [command("GET two"), command("UNWATCH")].concat());
    worker.replies(backend, &value(300_000)[..40_000]);
    worker.fails(backend, &Failure::Lost);
    let heir = worker.begun_one();
    worker.welcome(heir);
    let moved = [command("GET z"), command("GET two")].concat();
    assert_eq!(worker.asked(heir).as_bytes(), moved);
    worker.replies(heir, "$1\r\nz\r\n$1\r\nt\r\n");
    assert_eq!(worker.heard(other), "$1\r\nz\r\n");
    worker.unstall(ConnKey::Client(cut));
    assert!(worker.heard(cut).ends_with("xxx"));
    assert!(worker.closed(ConnKey::Client(cut)));
}

#[test]
fn a_full_backend_is_left_alone_for_a_while() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    worker.fails(backend, &Failure::Lost);
    let mut opened = 0;
    for _ in 0..1_000 {
        worker.says(client, "GET x");
        for next in worker.begun() {
            opened += 1;
            worker.refuse(next, "-ERR max number of clients reached\r\n");
        }
        let heard = worker.heard(client);
        assert!(heard.starts_with("-ERR max number of clients"), "{heard}");
    }
    assert!(opened < 3, "{opened} were opened in no time");
    worker.pass(2_000);
    worker.says(client, "GET x");
    assert_eq!(worker.begun().len(), 1);
}

/// Bytes that are no answer do not put its deadline off.
#[test]
fn a_handshake_has_one_deadline_for_all_of_it() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 3_000);
    let client = worker.client();
    worker.says(client, "GET x");
    let backend = worker.begun_one();
    worker.connect(backend);
    for _ in 0..4 {
        worker.replies(backend, ">1\r\n$1\r\nx\r\n");
        worker.pass(1_000);
    }
    assert_eq!(
        worker.heard(client),
        "-ERR elika: backend unavailable: timed out\r\n"
    );
    assert!(worker.closed(ConnKey::Link(backend)));
}

#[test]
fn a_first_request_hears_that_no_descriptor_is_left() {
    let mut worker = Worker::new();
    let client = worker.client();
    for line in ["UNWATCH", "GET x", "CLIENT ID"] {
        worker.says(client, line);
        let backend = worker.begun_one();
        worker.fails(backend, &Failure::Starved("too many open files".into()));
        worker.settle();
        assert_eq!(
            worker.heard(client),
            "-ERR elika: backend unavailable: too many open files\r\n"
        );
    }
}

#[test]
fn an_instance_that_was_removed_serves_nobody_any_more() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    worker.says(client, "GET a");
    worker.asked(backend);
    worker.remove_instance();
    // What it owes it still brings.
    worker.replies(backend, "$1\r\na\r\n");
    assert_eq!(worker.heard(client), "$1\r\na\r\n");
    worker.says(client, "GET b");
    assert_eq!(worker.asked(backend), "");
    assert_eq!(
        worker.heard(client),
        "-ERR elika: backend unavailable: removed\r\n"
    );
    assert!(worker.closed(ConnKey::Link(backend)));
    assert_eq!(worker.machine.links(), 0);
}
