//! Backends that are down, full, silent, lost or removed: every client gets one error, and soon.

use elika::proxy::Failure;

use super::harness::{Worker, command, set, value};

fn unreachable() -> Failure {
    Failure::Unreachable("connection refused".into())
}

/// A frame of this size would be moved to its backend with its buffer.
#[test]
fn large_request_gets_an_error_when_its_backend_is_down() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    worker.fail(backend, &Failure::Lost);
    worker.send(client, "GET x");
    let next = worker.new_link();
    worker.fail(next, &unreachable());
    let down = worker.received(client);
    assert!(
        down.starts_with("-ERR elika: backend unavailable: "),
        "{down}"
    );
    worker.send_large(client, &set(100_000));
    assert_eq!(worker.received(client), down);
    worker.send(client, "GET x");
    assert_eq!(worker.received(client), down);
}

/// It is unknown whether the backend requires a login, and so which limits apply.
#[test]
fn request_above_the_anonymous_limits_gets_an_error_when_the_backend_is_down() {
    let mut worker = Worker::new();
    let client = worker.client_sends("GET x");
    let backend = worker.new_link();
    worker.fail(backend, &unreachable());
    let down = worker.received(client);
    assert!(
        down.starts_with("-ERR elika: backend unavailable: "),
        "{down}"
    );
    worker.send(client, "DEL 1 2 3 4 5 6 7 8 9 10");
    assert_eq!(worker.received(client), down);
}

/// The backend closes each connection right after its handshake.
#[test]
fn unsent_requests_move_a_limited_number_of_times() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    worker.stall(backend);
    worker.send(client, "GET x");
    worker.fail(backend, &Failure::Lost);
    let mut moves = 0;
    while let Some(heir) = worker.new_links().pop() {
        moves += 1;
        assert!(moves < 5, "still moving");
        worker.establish_and_fail(heir);
    }
    assert_eq!(moves, 1);
    let heard = worker.received(client);
    assert!(
        heard.starts_with("-ERR elika: backend unavailable: "),
        "{heard}"
    );
}

/// The reply of the first client was cut off, so the client is closed. The rest of it must not
/// block the second client on the new connection.
#[test]
fn parked_reply_of_a_closing_client_does_not_block_others() {
    let mut worker = Worker::new();
    let (cut, backend) = worker.anonymous();
    let other = worker.client();
    worker.send(cut, "GET big");
    worker.stall(cut);
    worker.stall(backend);
    worker.send(other, "GET z");
    worker.send_bytes(cut, [command("GET two"), command("UNWATCH")].concat());
    worker.reply(backend, &value(300_000)[..40_000]);
    worker.fail(backend, &Failure::Lost);
    let heir = worker.established();
    let moved = [command("GET z"), command("GET two")].concat();
    assert_eq!(worker.requests(heir).as_bytes(), moved);
    worker.reply(heir, "$1\r\nz\r\n$1\r\nt\r\n");
    assert_eq!(worker.received(other), "$1\r\nz\r\n");
    worker.unstall(cut);
    assert!(worker.received(cut).ends_with("xxx"));
    assert!(worker.closed(cut));
}

#[test]
fn full_backend_is_not_connected_for_a_while() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    worker.fail(backend, &Failure::Lost);
    let mut opened = 0;
    for _ in 0..1_000 {
        worker.send(client, "GET x");
        for next in worker.new_links() {
            opened += 1;
            worker.refuse_handshake(next, "-ERR max number of clients reached\r\n");
        }
        let heard = worker.received(client);
        assert!(heard.starts_with("-ERR max number of clients"), "{heard}");
    }
    assert!(opened < 3, "{opened} were opened in no time");
    worker.advance(2_000);
    worker.send(client, "GET x");
    assert_eq!(worker.new_links().len(), 1);
}

/// Bytes that are not a complete reply do not extend the deadline.
#[test]
fn handshake_has_one_deadline() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 3_000);
    let client = worker.client_sends("GET x");
    let backend = worker.new_link();
    worker.open_handshake(backend);
    for _ in 0..4 {
        worker.reply(backend, ">1\r\n$1\r\nx\r\n");
        worker.advance(1_000);
    }
    assert_eq!(
        worker.received(client),
        "-ERR elika: backend unavailable: timed out\r\n"
    );
    assert!(worker.closed(backend));
}

#[test]
fn first_request_gets_an_error_when_no_descriptor_is_left() {
    let mut worker = Worker::new();
    let client = worker.client();
    for line in ["UNWATCH", "GET x", "CLIENT ID"] {
        worker.send(client, line);
        let backend = worker.new_link();
        worker.fail(backend, &Failure::Starved("too many open files".into()));
        worker.settle();
        assert_eq!(
            worker.received(client),
            "-ERR elika: backend unavailable: too many open files\r\n"
        );
    }
}

#[test]
fn removed_instance_serves_no_client() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    worker.send(client, "GET a");
    worker.requests(backend);
    worker.remove_instance();
    // Outstanding replies are still delivered.
    worker.deliver(backend, client, "$1\r\na\r\n");
    worker.send(client, "GET b");
    assert_eq!(worker.requests(backend), "");
    assert_eq!(
        worker.received(client),
        "-ERR elika: backend unavailable: no instance\r\n"
    );
    assert!(worker.closed(backend));
    assert_eq!(worker.machine.links(), 0);
}

/// The server may be a proxy, too.
#[test]
fn close_on_loss_does_not_close_a_client_for_an_error_that_the_server_sent() {
    let mut worker = Worker::with(|settings| settings.close_on_loss = true);
    let (client, _) = worker.anonymous();
    worker.send(client, "SELECT 3");
    let three = worker.new_link();
    worker.open_handshake(three);
    let error = "-ERR elika: backend unavailable: no instance\r\n";
    worker.reply(three, error);
    assert_eq!(worker.received(client), error);
    assert!(!worker.closed(client));
}
