//! WAIT on shared connections: several clients wait together, and other clients are served
//! meanwhile.

use super::harness::{Worker, command, value};

/// A WAIT is sent neither in front of nor behind requests of others, which keep their deadline.
#[test]
fn wait_is_sent_when_no_request_is_in_flight() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 5_000);
    let (client, shared) = worker.user("ann");
    let ann = worker.log_in("ann", "pw");
    worker.requests(shared);
    worker.send(client, "SET k v");
    worker.send(ann, "GET a");
    worker.send(client, "WAIT 1 0");
    worker.requests(shared);
    worker.deliver(shared, client, "+OK\r\n");
    worker.send(client, "GET behind");
    let other = worker.established();
    assert_eq!(worker.requests(shared), "");
    worker.deliver(shared, ann, "$-1\r\n");
    assert_eq!(worker.requests(shared), command_text("WAIT 1 50"));
    // While the WAIT is in flight, a read of another client uses another connection.
    worker.requests(other);
    worker.send(ann, "GET b");
    assert_eq!(worker.requests(other), command_text("GET b"));
    worker.reply(other, "$-1\r\n");
    worker.advance(4_000);
    assert!(!worker.closed(shared));
    worker.reply(shared, ":1\r\n");
    worker.settle();
    assert_eq!(worker.received(client), ":1\r\n");
    let behind = worker.requests(shared);
    assert!(behind.ends_with(&command_text("GET behind")), "{behind}");
}

/// The WAIT is for the lowest number that any client waits for. Its reply answers all clients for
/// which it is enough.
#[test]
fn one_wait_answers_several_clients() {
    let (mut worker, first, shared) = Worker::with_user("ann");
    let others = [(); 3].map(|()| worker.log_in("ann", "pw"));
    let [second, third, fourth] = others;
    for client in [first, second, third, fourth] {
        worker.send(client, "SET k v");
        worker.reply(shared, "+OK\r\n");
        worker.received(client);
    }
    worker.requests(shared);
    worker.send(first, "WAIT 5 0");
    let _other = worker.established();
    assert_eq!(worker.requests(shared), command_text("WAIT 5 50"));
    worker.send(second, "WAIT 1 0");
    worker.send(third, "WAIT 2 200");
    worker.send(fourth, "WAIT 1 700");
    worker.advance(50);
    worker.reply(shared, ":1\r\n");
    // These clients came after the WAIT was sent, and may have written meanwhile.
    assert_eq!(worker.received(second), "");
    assert_eq!(worker.requests(shared), command_text("WAIT 1 50"));
    worker.deliver(shared, second, ":1\r\n");
    assert_eq!(worker.received(fourth), ":1\r\n");
    assert_eq!(worker.received(third), "");
    assert_eq!(worker.requests(shared), command_text("WAIT 2 100"));
    worker.advance(100);
    worker.reply(shared, ":1\r\n");
    worker.advance(50);
    worker.requests(shared);
    worker.reply(shared, ":1\r\n");
    worker.advance(100);
    assert_eq!(worker.received(third), ":1\r\n");
    assert_eq!(worker.received(first), "");
    assert!(worker.new_links().is_empty());
}

/// A client that waits without a timeout occupies a connection for a short time only.
#[test]
fn connections_on_which_clients_wait_take_turns() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 2);
    let (ann, first) = worker.user("ann");
    let bob = worker.log_in("ann", "pw");
    worker.send(ann, "SET k v");
    worker.reply(first, "+OK\r\n");
    worker.send(ann, "WAIT 5 0");
    let second = worker.established();
    worker.send(bob, "SET l v");
    worker.reply(second, "+OK\r\n");
    worker.received(bob);
    worker.requests(first);
    worker.requests(second);
    for round in 0..4 {
        worker.send(bob, "WAIT 7 450");
        // The first connection has a WAIT in flight, so this is the last one that takes requests.
        assert_eq!(worker.requests(second), "", "{round}");
        worker.advance(400);
        worker.reply(first, ":0\r\n");
        assert_eq!(worker.requests(second), command_text("WAIT 7 50"));
        let third = worker.log_in("ann", "pw");
        worker.send(third, "GET k");
        assert!(worker.requests(first).ends_with(&command_text("GET k")));
        worker.deliver(first, third, "$-1\r\n");
        worker.advance(50);
        worker.deliver(second, bob, ":0\r\n");
        assert!(worker.requests(first).contains("WAIT"));
    }
    assert_eq!(worker.received(ann), "+OK\r\n");
}

/// Without another connection, other clients wait behind a WAIT, but not for long.
#[test]
fn wait_on_the_only_connection_is_short() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (ann, shared) = worker.user("ann");
    let bob = worker.log_in("ann", "pw");
    worker.advance(200);
    worker.send(ann, "SET k v");
    worker.reply(shared, "+OK\r\n");
    worker.requests(shared);
    worker.send(ann, "WAIT 5 0");
    for _ in 0..3 {
        assert_eq!(worker.requests(shared), command_text("WAIT 5 10"));
        worker.send(bob, "GET k");
        worker.advance(10);
        worker.reply(shared, ":0\r\n$-1\r\n");
        assert_eq!(worker.received(bob).matches("$-1\r\n").count(), 1);
        assert_eq!(worker.requests(shared), command_text("GET k"));
        worker.advance(100);
    }
    assert!(worker.new_links().is_empty());
    assert_eq!(worker.received(ann), "+OK\r\n");
}

#[test]
fn unblock_ends_the_wait_of_one_client() {
    let (mut worker, ann, shared) = Worker::with_user("ann");
    let bob = worker.log_in("ann", "pw");
    let warden = worker.log_in("ann", "pw");
    for client in [ann, bob] {
        worker.send(client, "SET k v");
        worker.reply(shared, "+OK\r\n");
        worker.send(client, "WAIT 5 0");
        worker.received(client);
    }
    let other = worker.established();
    worker.received(warden);
    worker.send(warden, "CLIENT UNBLOCK 1");
    worker.permit(other);
    worker.settle();
    assert_eq!(worker.received(ann), ":0\r\n");
    worker.send(warden, "CLIENT UNBLOCK 2 ERROR");
    worker.settle();
    let unblocked = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
    assert_eq!(worker.received(bob), unblocked);
    assert_eq!(worker.received(warden), ":1\r\n:1\r\n");
}

fn command_text(line: &str) -> String {
    String::from_utf8(command(line)).unwrap()
}

#[test]
fn request_before_a_wait_keeps_its_deadline() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 2_000);
    let (client, shared) = worker.user("ann");
    let ann = worker.log_in("ann", "pw");
    worker.send(client, "SET k v");
    worker.reply(shared, "+OK\r\n");
    worker.send(ann, "SET a v");
    worker.send(client, "WAIT 1 0");
    worker.advance(2_500);
    assert!(worker.received(ann).contains("outcome unknown"));
}

/// A client that has logged in as another user does not use its old connection again.
#[test]
fn client_with_another_user_does_not_wait_on_its_old_connection() {
    let (mut worker, client, _) = Worker::with_user("ann");
    let anns = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    worker.send(client, "AUTH bob pw");
    let _bobs = worker.established();
    worker.settle();
    worker.requests(anns);
    worker.send(client, "WAIT 1 0");
    assert_eq!(worker.requests(anns), "");
}

/// A slow reader blocks the connection of a client's write, and the client's read uses another
/// connection. That connection does not carry the write, so its WAIT reply would be wrong.
#[test]
fn wait_is_not_sent_on_a_connection_with_only_reads() {
    for behind in [true, false] {
        let (mut worker, client, first) = Worker::with_user("ann");
        let reader = worker.log_in("ann", "pw");
        worker.send(client, "SET k v");
        worker.reply(first, "+OK\r\n");
        worker.stall(reader);
        worker.send(reader, "GET big");
        if behind {
            worker.send(client, "GET k");
        }
        worker.reply(first, &value(1_000_000)[..500_000]);
        if !behind {
            worker.send(client, "GET k");
        }
        worker.advance(20);
        let other = worker.established();
        worker.advance(20);
        assert!(worker.requests(other).contains("GET"));
        worker.reply(other, "$1\r\nv\r\n");
        worker.received(client);
        worker.send(client, "WAIT 1 200");
        worker.advance(200);
        if worker.requests(other).contains("WAIT") {
            worker.reply(other, ":1\r\n");
        }
        assert_eq!(worker.received(client), "");
        worker.advance(1_500);
        assert_eq!(worker.received(client), ":0\r\n");
        // The new write comes after all earlier writes.
        worker.send(client, "SET k w");
        worker.reply(other, "+OK\r\n");
        worker.send(client, "WAIT 1 0");
        for backend in worker.new_links() {
            worker.establish(backend);
        }
        worker.advance(200);
        assert!(worker.requests(other).contains("WAIT"));
        worker.reply(other, ":1\r\n");
        assert_eq!(worker.received(client), "+OK\r\n:1\r\n");
    }
}

/// Neither WAIT nor SELECT opens more connections than allowed.
#[test]
fn wait_opens_no_connection_above_max_size() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 3);
    let (_, mut last) = worker.user("ann");
    let clients: Vec<_> = (0..20).map(|_| worker.log_in("ann", "pw")).collect();
    for client in clients {
        worker.send(client, "SET x 1");
        for new in worker.new_links() {
            worker.establish(new);
            last = new;
        }
        worker.reply(last, "+OK\r\n");
        worker.send(client, "WAIT 1 0");
    }
    // The shared connections, and one that verified the logins.
    assert!(worker.machine.links() <= 3 + 1);
}
