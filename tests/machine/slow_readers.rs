//! Clients that do not read their replies, also while they are being closed.

use elika::proxy::{ClientKey, Failure, Flow, LinkKey};

use super::harness::{READ_BYTES, Worker, value};

/// The time counts from the moment at which the client stops reading, not from its last request.
#[test]
fn late_reply_is_delivered_completely() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 0);
    let (client, backend) = worker.anonymous();
    worker.send(client, "GET big");
    worker.machine.client_eof(client);
    worker.advance(61_000);
    worker.stall(client);
    worker.reply(backend, value(200_000));
    worker.take(client, 100_000);
    worker.advance(50_000);
    assert_eq!(worker.machine.clients(), 1);
    worker.take(client, 50_000);
    worker.advance(50_000);
    assert_eq!(worker.machine.clients(), 1);
    // The client is closed after that time.
    worker.advance(15_000);
    assert!(worker.closed(client));
}

#[test]
fn closing_client_cannot_delay_its_end_by_sending() {
    let mut worker = Worker::new();
    let (client, backend) = worker.anonymous();
    worker.stall(client);
    worker.send(client, "GET big");
    worker.reply(backend, value(200_000));
    worker.send(client, "QUIT");
    for _ in 0..70 {
        worker.advance(1_000);
        worker.send_bytes(client, "x");
    }
    assert!(worker.closed(client));
    assert_eq!(worker.machine.clients(), 0);
}

/// Two clients share a connection: one requests a large value and does not read it; the other sends
/// `line` behind it.
fn reader_and_follower(worker: &mut Worker, line: &str) -> (ClientKey, ClientKey, LinkKey) {
    let (reader, backend) = worker.user("ann");
    let follower = worker.log_in("ann", "pw");
    get_big(worker, reader);
    worker.send(follower, line);
    assert!(worker.requests(backend).contains("big"));
    (reader, follower, backend)
}

fn get_big(worker: &mut Worker, reader: ClientKey) {
    worker.stall(reader);
    worker.send(reader, "GET big");
}

#[test]
fn read_behind_a_slow_reader_is_retried_elsewhere() {
    let mut worker = Worker::new();
    let (reader, follower, held_up) = reader_and_follower(&mut worker, "GET small");
    let big = value(1_000_000);
    let mut sent = 0;
    while worker.reply(held_up, &big[sent..sent + READ_BYTES]) == Flow::Continue {
        sent += READ_BYTES;
    }
    sent += READ_BYTES;
    worker.advance(10);
    assert_eq!(worker.new_links(), [], "it may still catch up");
    worker.advance(20);
    let other = worker.established();
    worker.advance(10);
    assert_eq!(worker.requests(other).matches("small").count(), 1);
    worker.deliver(other, follower, "$2\r\nhi\r\n");
    // The slow reader gets its whole reply; afterwards no client needs the connection.
    worker.unstall(reader);
    assert!(worker.resumed(held_up));
    worker.reply(held_up, &big[sent..]);
    assert_eq!(worker.received(reader).len(), big.len());
    assert!(worker.closed(held_up));
    worker.send(reader, "GET next");
    assert!(worker.requests(other).contains("next"));
}

/// The retried reads share the other connections.
#[test]
fn many_clients_behind_a_slow_reader_share_few_connections() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 3);
    let (reader, held_up) = worker.user("ann");
    let followers = [(); 5].map(|()| worker.log_in("ann", "pw"));
    get_big(&mut worker, reader);
    for follower in followers {
        worker.send(follower, &format!("GET of-{follower:?}"));
    }
    worker.reply(held_up, &value(1_000_000)[..500_000]);
    worker.advance(30);
    let ways = worker.new_links();
    assert_eq!(ways.len(), 2);
    ways.iter().for_each(|&way| worker.establish(way));
    worker.advance(10);
    let asked = ways.iter().map(|&way| worker.requests(way));
    let asked: String = asked.collect();
    for follower in followers {
        let wanted = format!("of-{follower:?}");
        assert_eq!(asked.matches(&wanted).count(), 1, "{asked}");
    }
}

#[test]
fn abandoned_reply_is_dropped_while_it_arrives() {
    let (mut worker, reader, held_up) = Worker::with_user("ann");
    let follower = worker.log_in("ann", "pw");
    let writer = worker.log_in("ann", "pw");
    get_big(&mut worker, reader);
    worker.send(follower, "GET small");
    worker.send(writer, "INCR n");
    worker.reply(held_up, &value(1_000_000)[..700_000]);
    worker.advance(30);
    let other = worker.established();
    worker.advance(10);
    worker.deliver(other, follower, "$3\r\nnew\r\n");
    // A write is never sent twice, so the large reply is buffered.
    worker.reply(held_up, &value(1_000_000)[700_000..]);
    worker.reply(held_up, "$3\r\nold\r\n:1\r\n");
    assert_eq!(worker.received(writer), ":1\r\n");
    assert_eq!(worker.received(follower), "");
    worker.unstall(reader);
    assert_eq!(worker.received(reader).len(), value(1_000_000).len());
    assert!(!worker.closed(held_up));
}

#[test]
fn client_waiting_for_a_write_is_not_retried() {
    let mut worker = Worker::new();
    let (_, follower, held_up) = reader_and_follower(&mut worker, "GET small");
    worker.send(follower, "INCR n");
    let big = value(1_000_000);
    assert_eq!(worker.reply(held_up, &big[..500_000]), Flow::Pause);
    worker.advance(30);
    assert_eq!(worker.new_links(), []);
    assert!(worker.resumed(held_up));
    worker.reply(held_up, &big[500_000..]);
    worker.deliver(held_up, follower, "$2\r\nhi\r\n:1\r\n");
}

#[test]
fn retried_pipeline_keeps_its_order_with_proxy_replies() {
    let mut worker = Worker::new();
    let (_, follower, held_up) = reader_and_follower(&mut worker, "GET a");
    worker.send(follower, "UNWATCH");
    worker.send(follower, "GET b");
    worker.reply(held_up, &value(1_000_000)[..500_000]);
    worker.advance(30);
    let other = worker.established();
    worker.advance(10);
    let asked = worker.requests(other);
    assert!(
        asked
            .find("$1\r\na")
            .is_some_and(|a| asked.find("$1\r\nb").is_some_and(|b| a < b))
    );
    worker.reply(other, "$1\r\nA\r\n$1\r\nB\r\n");
    assert_eq!(worker.received(follower), "$1\r\nA\r\n+OK\r\n$1\r\nB\r\n");
}

#[test]
fn reader_that_catches_up_causes_no_retry() {
    let mut worker = Worker::new();
    let (reader, follower, backend) = reader_and_follower(&mut worker, "GET small");
    let big = value(1_000_000);
    assert_eq!(worker.reply(backend, &big[..500_000]), Flow::Pause);
    worker.advance(10);
    worker.unstall(reader);
    assert!(worker.resumed(backend));
    worker.reply(backend, &big[500_000..]);
    worker.reply(backend, "$2\r\nhi\r\n");
    worker.advance(100);
    assert_eq!(worker.new_links(), []);
    assert_eq!(worker.received(follower), "$2\r\nhi\r\n");
}

/// The reply is buffered for a follower that disconnects; a later client must not wait for the slow
/// reader.
#[test]
fn later_client_does_not_wait_for_the_slow_reader() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (reader, writer, held_up) = reader_and_follower(&mut worker, "INCR n");
    let next = worker.log_in("ann", "pw");
    let big = value(1_000_000);
    assert_eq!(worker.reply(held_up, &big[..500_000]), Flow::Pause);
    worker.advance(200);
    assert!(worker.resumed(held_up));
    worker.machine.client_closed(writer);
    assert_eq!(worker.reply(held_up, &big[500_000..560_000]), Flow::Pause);
    worker.send(next, "INCR n");
    worker.advance(200);
    assert!(worker.resumed(held_up));
    worker.reply(held_up, &big[560_000..]);
    worker.reply(held_up, ":1\r\n:2\r\n");
    assert_eq!(worker.received(next), ":2\r\n");
    worker.unstall(reader);
    assert_eq!(worker.received(reader).len(), big.len());
}

/// This happens several times between two checks for slow readers.
#[test]
fn slow_readers_on_one_connection_are_handled_repeatedly() {
    let mut worker = Worker::new();
    let (reader, follower, backend) = reader_and_follower(&mut worker, "GET small");
    let big = value(400_000);
    for _ in 0..3 {
        worker.send(reader, "GET big");
        worker.send(follower, "GET small");
    }
    for _ in 0..4 {
        assert_eq!(worker.reply(backend, &big[..300_000]), Flow::Pause);
        worker.take(reader, 300_000);
        worker.reply(backend, &big[300_000..]);
        worker.take(reader, 100_000);
        worker.deliver(backend, follower, "$2\r\nhi\r\n");
    }
}

#[test]
fn no_read_is_retried_on_a_removed_instance() {
    let mut worker = Worker::new();
    let (_, follower, held_up) = reader_and_follower(&mut worker, "GET small");
    let big = value(1_000_000);
    assert_eq!(worker.reply(held_up, &big[..500_000]), Flow::Pause);
    worker.remove_instance();
    worker.advance(30);
    assert_eq!(worker.new_links(), []);
    assert!(worker.resumed(held_up));
    worker.reply(held_up, &big[500_000..]);
    worker.deliver(held_up, follower, "$2\r\nhi\r\n");
}

#[test]
fn retry_is_delayed_while_the_server_is_unreachable() {
    let mut worker = Worker::new();
    let (_, _, held_up) = reader_and_follower(&mut worker, "GET small");
    worker.reply(held_up, &value(1_000_000)[..500_000]);
    let mut begun = 0;
    for _ in 0..10 {
        worker.advance(10);
        for backend in worker.new_links() {
            begun += 1;
            worker.fail(backend, &Failure::Unreachable("no".into()));
        }
    }
    assert_eq!(begun, 1);
    assert!(worker.resumed(held_up));
}

/// The connection has taken no byte of its requests, except for that of the large reply.
#[test]
fn unsent_write_moves_after_a_retried_read() {
    let (mut worker, reader, held_up) = Worker::with_user("ann");
    let [follower, writer] = [(); 2].map(|()| worker.log_in("ann", "pw"));
    get_big(&mut worker, reader);
    worker.stall(held_up);
    worker.send(follower, "GET small");
    worker.send(writer, "INCR n");
    worker.reply(held_up, &value(1_000_000)[..500_000]);
    worker.advance(30);
    let other = worker.established();
    worker.advance(10);
    worker.deliver(other, follower, "$2\r\nhi\r\n");
    worker.fail(held_up, &Failure::Lost);
    assert_eq!(worker.received(writer), "");
    let heir = worker.established();
    assert_eq!(worker.requests(heir).matches("INCR").count(), 1);
    worker.deliver(heir, writer, ":1\r\n");
    assert_eq!(worker.received(follower), "");
    worker.send(writer, "INCR n");
    assert!(worker.requests(heir).contains("INCR"));
}
