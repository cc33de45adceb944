//! Clients on their way out, with replies that they have not read.

use elika::proxy::{ClientKey, ConnKey, Failure, Flow, LinkKey};

use super::harness::{READ_BYTES, Worker, value};

/// However long ago the client said its last word: what counts is since when it does not read.
#[test]
fn a_reply_is_not_cut_because_it_came_late() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 0);
    let (client, backend) = worker.stranger();
    worker.says(client, "GET big");
    worker.machine.client_eof(client);
    worker.pass(61_000);
    worker.stall(ConnKey::Client(client));
    worker.replies(backend, value(200_000));
    worker.take(ConnKey::Client(client), 100_000);
    worker.pass(50_000);
    assert_eq!(worker.machine.clients(), 1);
    worker.take(ConnKey::Client(client), 50_000);
    worker.pass(50_000);
    assert_eq!(worker.machine.clients(), 1);
    // Nor is it kept for ever.
    worker.pass(15_000);
    assert!(worker.closed(ConnKey::Client(client)));
}

#[test]
fn a_client_being_closed_cannot_stay_by_sending() {
    let mut worker = Worker::new();
    let (client, backend) = worker.stranger();
    worker.stall(ConnKey::Client(client));
    worker.says(client, "GET big");
    worker.replies(backend, value(200_000));
    worker.says(client, "QUIT");
    for _ in 0..70 {
        worker.pass(1_000);
        worker.sends(client, "x");
    }
    assert!(worker.closed(ConnKey::Client(client)));
    assert_eq!(worker.machine.clients(), 0);
}

/// Two users of one connection: one asks for something big, and reads nothing; the other asks
/// `line` behind it.
fn reader_and_follower(worker: &mut Worker, line: &str) -> (ClientKey, ClientKey, LinkKey) {
    let (reader, backend) = worker.user("ann");
    let follower = worker.logs_in("ann", "pw");
    get_big(worker, reader);
    worker.says(follower, line);
    assert!(worker.asked(backend).contains("big"));
    (reader, follower, backend)
}

fn get_big(worker: &mut Worker, reader: ClientKey) {
    worker.stall(ConnKey::Client(reader));
    worker.says(reader, "GET big");
}

#[test]
fn a_read_behind_a_slow_reader_is_asked_again_elsewhere() {
    let mut worker = Worker::new();
    let (reader, follower, held_up) = reader_and_follower(&mut worker, "GET small");
    let big = value(1_000_000);
    let mut sent = 0;
    while worker.replies(held_up, &big[sent..sent + READ_BYTES]) == Flow::Continue {
        sent += READ_BYTES;
    }
    sent += READ_BYTES;
    worker.pass(10);
    assert_eq!(worker.begun(), [], "it may still catch up");
    worker.pass(20);
    let other = worker.begun_one();
    worker.welcome(other);
    worker.pass(10);
    assert_eq!(worker.asked(other).matches("small").count(), 1);
    worker.replies(other, "$2\r\nhi\r\n");
    assert_eq!(worker.heard(follower), "$2\r\nhi\r\n");
    // Whoever reads slowly gets all of it, and then the connection has nothing that anybody wants.
    worker.unstall(ConnKey::Client(reader));
    assert!(worker.resumed(ConnKey::Link(held_up)));
    worker.replies(held_up, &big[sent..]);
    assert_eq!(worker.heard(reader).len(), big.len());
    assert!(worker.closed(ConnKey::Link(held_up)));
    worker.says(reader, "GET next");
    assert!(worker.asked(other).contains("next"));
}

/// They share the ways round that there are.
#[test]
fn many_go_round_a_slow_reader_on_few_connections() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 3);
    let (reader, held_up) = worker.user("ann");
    let followers = [(); 5].map(|()| worker.logs_in("ann", "pw"));
    get_big(&mut worker, reader);
    for follower in followers {
        worker.says(follower, &format!("GET of-{follower:?}"));
    }
    worker.replies(held_up, &value(1_000_000)[..500_000]);
    worker.pass(30);
    let ways = worker.begun();
    assert_eq!(ways.len(), 2);
    ways.iter().for_each(|&way| worker.welcome(way));
    worker.pass(10);
    let asked = ways.iter().map(|&way| worker.asked(way));
    let asked: String = asked.collect();
    for follower in followers {
        let wanted = format!("of-{follower:?}");
        assert_eq!(asked.matches(&wanted).count(), 1, "{asked}");
    }
}

#[test]
fn a_reply_that_nobody_waits_for_is_dropped_as_it_comes() {
    let mut worker = Worker::new();
    let (reader, held_up) = worker.user("ann");
    let follower = worker.logs_in("ann", "pw");
    let writer = worker.logs_in("ann", "pw");
    get_big(&mut worker, reader);
    worker.says(follower, "GET small");
    worker.says(writer, "INCR n");
    worker.replies(held_up, &value(1_000_000)[..700_000]);
    worker.pass(30);
    let other = worker.begun_one();
    worker.welcome(other);
    worker.pass(10);
    worker.replies(other, "$3\r\nnew\r\n");
    assert_eq!(worker.heard(follower), "$3\r\nnew\r\n");
    // A write is never sent twice: for its sake the big reply is kept.
    worker.replies(held_up, &value(1_000_000)[700_000..]);
    worker.replies(held_up, "$3\r\nold\r\n:1\r\n");
    assert_eq!(worker.heard(writer), ":1\r\n");
    assert_eq!(worker.heard(follower), "");
    worker.unstall(ConnKey::Client(reader));
    assert_eq!(worker.heard(reader).len(), value(1_000_000).len());
    assert!(!worker.closed(ConnKey::Link(held_up)));
}

#[test]
fn who_waits_for_a_write_is_not_sent_round() {
    let mut worker = Worker::new();
    let (_, follower, held_up) = reader_and_follower(&mut worker, "GET small");
    worker.says(follower, "INCR n");
    let big = value(1_000_000);
    assert_eq!(worker.replies(held_up, &big[..500_000]), Flow::Pause);
    worker.pass(30);
    assert_eq!(worker.begun(), []);
    assert!(worker.resumed(ConnKey::Link(held_up)));
    worker.replies(held_up, &big[500_000..]);
    worker.replies(held_up, "$2\r\nhi\r\n:1\r\n");
    assert_eq!(worker.heard(follower), "$2\r\nhi\r\n:1\r\n");
}

#[test]
fn a_pipeline_of_reads_goes_round_in_order_with_what_is_answered_here() {
    let mut worker = Worker::new();
    let (_, follower, held_up) = reader_and_follower(&mut worker, "GET a");
    worker.says(follower, "UNWATCH");
    worker.says(follower, "GET b");
    worker.replies(held_up, &value(1_000_000)[..500_000]);
    worker.pass(30);
    let other = worker.begun_one();
    worker.welcome(other);
    worker.pass(10);
    let asked = worker.asked(other);
    assert!(
        asked
            .find("$1\r\na")
            .is_some_and(|a| asked.find("$1\r\nb").is_some_and(|b| a < b))
    );
    worker.replies(other, "$1\r\nA\r\n$1\r\nB\r\n");
    assert_eq!(worker.heard(follower), "$1\r\nA\r\n+OK\r\n$1\r\nB\r\n");
}

#[test]
fn a_reader_that_catches_up_in_time_costs_nobody_anything() {
    let mut worker = Worker::new();
    let (reader, follower, backend) = reader_and_follower(&mut worker, "GET small");
    let big = value(1_000_000);
    assert_eq!(worker.replies(backend, &big[..500_000]), Flow::Pause);
    worker.pass(10);
    worker.unstall(ConnKey::Client(reader));
    assert!(worker.resumed(ConnKey::Link(backend)));
    worker.replies(backend, &big[500_000..]);
    worker.replies(backend, "$2\r\nhi\r\n");
    worker.pass(100);
    assert_eq!(worker.begun(), []);
    assert_eq!(worker.heard(follower), "$2\r\nhi\r\n");
}

/// The reply is kept for somebody who then goes; whoever comes after that must not wait for ever.
#[test]
fn who_comes_after_the_last_follower_has_gone_does_not_wait_for_the_reader() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (reader, writer, held_up) = reader_and_follower(&mut worker, "INCR n");
    let next = worker.logs_in("ann", "pw");
    let big = value(1_000_000);
    assert_eq!(worker.replies(held_up, &big[..500_000]), Flow::Pause);
    worker.pass(200);
    assert!(worker.resumed(ConnKey::Link(held_up)));
    worker.machine.client_closed(writer);
    assert_eq!(worker.replies(held_up, &big[500_000..560_000]), Flow::Pause);
    worker.says(next, "INCR n");
    worker.pass(200);
    assert!(worker.resumed(ConnKey::Link(held_up)));
    worker.replies(held_up, &big[560_000..]);
    worker.replies(held_up, ":1\r\n:2\r\n");
    assert_eq!(worker.heard(next), ":2\r\n");
    worker.unstall(ConnKey::Client(reader));
    assert_eq!(worker.heard(reader).len(), big.len());
}

/// Several times between two looks at who is held up.
#[test]
fn a_connection_may_be_held_up_again_and_again() {
    let mut worker = Worker::new();
    let (reader, follower, backend) = reader_and_follower(&mut worker, "GET small");
    let big = value(400_000);
    for _ in 0..3 {
        worker.says(reader, "GET big");
        worker.says(follower, "GET small");
    }
    for _ in 0..4 {
        assert_eq!(worker.replies(backend, &big[..300_000]), Flow::Pause);
        worker.take(ConnKey::Client(reader), 300_000);
        worker.replies(backend, &big[300_000..]);
        worker.take(ConnKey::Client(reader), 100_000);
        worker.replies(backend, "$2\r\nhi\r\n");
        assert_eq!(worker.heard(follower), "$2\r\nhi\r\n");
    }
}

#[test]
fn nobody_is_sent_round_to_an_instance_that_is_gone() {
    let mut worker = Worker::new();
    let (_, follower, held_up) = reader_and_follower(&mut worker, "GET small");
    let big = value(1_000_000);
    assert_eq!(worker.replies(held_up, &big[..500_000]), Flow::Pause);
    worker.remove_instance();
    worker.pass(30);
    assert_eq!(worker.begun(), []);
    assert!(worker.resumed(ConnKey::Link(held_up)));
    worker.replies(held_up, &big[500_000..]);
    worker.replies(held_up, "$2\r\nhi\r\n");
    assert_eq!(worker.heard(follower), "$2\r\nhi\r\n");
}

#[test]
fn a_way_round_is_not_tried_again_at_once_if_the_server_cannot_be_reached() {
    let mut worker = Worker::new();
    let (_, _, held_up) = reader_and_follower(&mut worker, "GET small");
    worker.replies(held_up, &value(1_000_000)[..500_000]);
    let mut begun = 0;
    for _ in 0..10 {
        worker.pass(10);
        for backend in worker.begun() {
            begun += 1;
            worker.fails(backend, &Failure::Unreachable("no".into()));
        }
    }
    assert_eq!(begun, 1);
    assert!(worker.resumed(ConnKey::Link(held_up)));
}

/// Of what it was to be asked it has not seen a byte, but for the big reply.
#[test]
fn a_write_that_was_not_sent_moves_on_though_a_read_before_it_went_round() {
    let mut worker = Worker::new();
    let (reader, held_up) = worker.user("ann");
    let [follower, writer] = [(); 2].map(|()| worker.logs_in("ann", "pw"));
    get_big(&mut worker, reader);
    worker.stall(ConnKey::Link(held_up));
    worker.says(follower, "GET small");
    worker.says(writer, "INCR n");
    worker.replies(held_up, &value(1_000_000)[..500_000]);
    worker.pass(30);
    let other = worker.begun_one();
    worker.welcome(other);
    worker.pass(10);
    worker.replies(other, "$2\r\nhi\r\n");
    assert_eq!(worker.heard(follower), "$2\r\nhi\r\n");
    worker.fails(held_up, &Failure::Lost);
    assert_eq!(worker.heard(writer), "");
    let heir = worker.begun_one();
    worker.welcome(heir);
    assert_eq!(worker.asked(heir).matches("INCR").count(), 1);
    worker.replies(heir, ":1\r\n");
    assert_eq!(worker.heard(writer), ":1\r\n");
    assert_eq!(worker.heard(follower), "");
    worker.says(writer, "INCR n");
    assert!(worker.asked(heir).contains("INCR"));
}
