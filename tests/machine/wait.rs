//! WAIT is about the last write of its client, on whichever connection that write was sent.

use elika::proxy::{ClientKey, Failure, LinkKey};

use super::harness::{Worker, command, value};
use super::instances::Registry;

const UNKNOWN: &str = "-ERR elika: the connection that carried the writes is in use or closed\r\n";

/// A user with a single shared connection, on which a WAIT has a timeout of 10 ms.
fn worker() -> (Worker, ClientKey, LinkKey) {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (client, shared) = worker.user("ann");
    worker.advance(200);
    worker.requests(shared);
    (worker, client, shared)
}

impl Worker {
    /// Sends one command and its reply.
    fn exchange(&mut self, client: ClientKey, on: LinkKey, line: &str, reply: &str) {
        self.send(client, line);
        let asked = self.requests(on);
        assert!(asked.ends_with(&text(line)), "{line}: {asked}");
        self.reply(on, reply);
        self.settle();
        self.received(client);
    }

    /// Expects this request on the connection and replies to it.
    fn expect_and_reply(&mut self, on: LinkKey, line: &str, reply: &str) {
        let asked = self.requests(on);
        assert!(asked.ends_with(&text(line)), "{line}: {asked}");
        self.reply(on, reply);
        self.settle();
    }
}

fn text(line: &str) -> String {
    String::from_utf8(command(line)).unwrap()
}

#[test]
fn client_with_a_dedicated_connection_waits_for_its_earlier_writes() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    let dedicated = worker.dedicated(client, "WATCH k", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    // There may have been no write since the replicas caught up, so the reply proves nothing.
    worker.expect_and_reply(dedicated, "WAIT 1 50", ":3\r\n");
    assert_eq!(worker.received(client), "");
    worker.expect_and_reply(shared, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
    // A certain write on the same connection comes after it.
    worker.exchange(client, dedicated, "SET k w", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    worker.expect_and_reply(dedicated, "WAIT 1 0", ":2\r\n");
    assert_eq!(worker.received(client), ":2\r\n");
}

/// While the last confirmation is outstanding the client still counts as a subscriber.
#[test]
fn wait_behind_an_unsubscription_is_about_the_earlier_writes() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    let confirmation = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let dedicated = worker.dedicated(client, "SUBSCRIBE c", confirmation);
    worker.received(client);
    worker.send(client, "UNSUBSCRIBE c");
    worker.send(client, "WAIT 1 0");
    assert!(!worker.requests(dedicated).contains("WAIT"));
    worker.reply(dedicated, "*3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n");
    worker.settle();
    assert!(worker.requests(shared).contains("WAIT"));
}

/// The server has answered before the link closes, in the same read.
#[test]
fn reply_to_wait_counts_though_its_link_closes_with_it() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    worker.settle();
    assert!(worker.requests(shared).contains("WAIT"));
    worker.remove_instance();
    worker.reply(shared, ":1\r\n");
    worker.settle();
    assert_eq!(worker.received(client), ":1\r\n");
}

#[test]
fn uncertain_write_does_not_replace_the_last_write() {
    let (mut worker, client, shared) = worker();
    let dedicated = worker.dedicated(client, "MULTI", "+OK\r\n");
    worker.exchange(client, dedicated, "SET k v", "+QUEUED\r\n");
    worker.exchange(client, dedicated, "EXEC", "*1\r\n+OK\r\n");
    for (line, reply) in [
        ("SADD s m", ":0\r\n"),
        ("EVAL x 0", "$-1\r\n"),
        ("FOO", "+OK\r\n"),
        ("SET k v NX", "$-1\r\n"),
        ("SET k v", "-OOM no\r\n"),
    ] {
        worker.exchange(client, shared, line, reply);
        worker.send(client, "WAIT 1 0");
        worker.expect_and_reply(shared, "WAIT 1 10", ":1\r\n");
        assert_eq!(worker.received(client), "", "{line}");
        worker.expect_and_reply(dedicated, "WAIT 1 50", ":1\r\n");
        assert_eq!(worker.received(client), ":1\r\n", "{line}");
        worker.advance(200);
    }
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    worker.expect_and_reply(shared, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
}

/// The error arrives in two pieces.
#[test]
fn refused_write_in_pieces_is_not_a_write() {
    let (mut worker, client, shared) = worker();
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    worker.send(client, "INCR n");
    worker.reply(shared, "-");
    worker.reply(shared, "OOM no\r\n");
    worker.settle();
    worker.received(client);
    worker.requests(shared);
    worker.send(client, "WAIT 1 0");
    worker.expect_and_reply(shared, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.received(client), "");
    worker.expect_and_reply(dedicated, "WAIT 1 50", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
}

#[test]
fn transaction_with_a_write_replaces_earlier_writes() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    for reply in ["*1\r\n-WRONGTYPE no\r\n", "*1\r\n:1\r\n"] {
        worker.exchange(client, dedicated, "MULTI", "+OK\r\n");
        worker.exchange(client, dedicated, "INCR k", "+QUEUED\r\n");
        worker.exchange(client, dedicated, "EXEC", reply);
        worker.fail(shared, &Failure::Lost);
        worker.advance(200);
        for backend in worker.new_links() {
            worker.establish(backend);
        }
        worker.send(client, "WAIT 1 0");
        let wrote = !reply.contains('-');
        if wrote {
            worker.expect_and_reply(dedicated, "WAIT 1 50", ":1\r\n");
        }
        let heard = worker.received(client);
        assert_eq!(heard, if wrote { ":1\r\n" } else { UNKNOWN }, "{reply}");
    }
}

#[test]
fn reply_is_the_lowest_count_of_all_connections_with_the_last_write() {
    for (first, second) in [(":2\r\n", ":0\r\n"), (":0\r\n", ":2\r\n")] {
        let (mut worker, client, shared) = worker();
        worker.exchange(client, shared, "SET k v", "+OK\r\n");
        let dedicated = worker.dedicated(client, "BLPOP l 1", "*2\r\n$1\r\nl\r\n$1\r\nv\r\n");
        worker.send(client, "WAIT 3 5");
        worker.advance(5);
        worker.expect_and_reply(shared, "WAIT 3 5", first);
        assert_eq!(worker.received(client), "");
        worker.advance(1);
        worker.expect_and_reply(dedicated, "WAIT 3 1", second);
        assert_eq!(worker.received(client), ":0\r\n");
    }
}

/// A server answers WAIT 0 at once, for the last write of that connection.
#[test]
fn wait_zero_returns_the_replicas_with_the_last_write() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    let dedicated = worker.dedicated(client, "WATCH k", "+OK\r\n");
    // Other clients do not wait for it, so the proxy may send it again.
    for _ in 0..2 {
        worker.send(client, "WAIT 0 0");
        worker.expect_and_reply(dedicated, "WAIT 0 0", ":3\r\n");
        assert_eq!(worker.received(client), "");
        worker.expect_and_reply(shared, "WAIT 0 0", ":1\r\n");
        assert_eq!(worker.received(client), ":1\r\n");
    }
    worker.fail(shared, &Failure::Lost);
    for (line, reply) in [("WAIT 0 0", ":0\r\n"), ("WAIT 1 0", UNKNOWN)] {
        worker.send(client, line);
        assert_eq!(worker.received(client), reply, "{line}");
    }
}

/// Another client may have the connection again at any moment.
#[test]
fn connection_with_a_wait_in_flight_counts_as_dedicated() {
    let mut worker = Worker::with(|settings| settings.dedicated_max = 1);
    let (client, _) = worker.user("ann");
    let other = worker.log_in("ann", "pw");
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*2\r\n$1\r\nl\r\n$1\r\nv\r\n");
    worker.send(client, "WAIT 5 0");
    worker.expect_and_reply(dedicated, "WAIT 5 50", "");
    worker.send(other, "BLPOP l 1");
    assert!(worker.new_links().is_empty());
    worker.reply(dedicated, ":0\r\n");
    worker.settle();
    assert!(worker.requests(dedicated).ends_with(&text("BLPOP l 1")));
}

#[test]
fn wait_is_sent_when_another_client_returns_the_connection() {
    let (mut worker, client, shared) = worker();
    let other = worker.log_in("ann", "pw");
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    worker.exchange(other, dedicated, "MULTI", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    worker.settle();
    worker.requests(shared);
    assert_eq!(worker.requests(dedicated), "");
    worker.send(other, "EXEC");
    worker.requests(dedicated);
    worker.reply(dedicated, "*0\r\n");
    worker.expect_and_reply(dedicated, "WAIT 1 50", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
}

#[test]
fn wait_is_short_on_a_connection_of_a_watching_client() {
    let (mut worker, client, _) = worker();
    let other = worker.log_in("ann", "pw");
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    worker.exchange(other, dedicated, "WATCH k", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    worker.advance(10);
    worker.expect_and_reply(dedicated, "WAIT 1 10", ":0\r\n");
    worker.advance(50);
    assert_eq!(worker.requests(dedicated), "", "it is the other's");
    worker.exchange(other, dedicated, "GET k", "$-1\r\n");
    worker.advance(100);
    worker.expect_and_reply(dedicated, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
}

#[test]
fn clients_with_each_others_connections_do_not_wait_forever() {
    let (mut worker, client, _) = worker();
    let other = worker.log_in("ann", "pw");
    let both = [client, other];
    let first = worker.dedicated(client, "WATCH k", "+OK\r\n");
    let second = worker.dedicated(other, "WATCH k", "+OK\r\n");
    for (client, dedicated) in [(client, first), (other, second)] {
        worker.exchange(client, dedicated, "SADD s m", ":1\r\n");
        worker.exchange(client, dedicated, "UNWATCH", "+OK\r\n");
    }
    worker.exchange(client, second, "WATCH k", "+OK\r\n");
    worker.exchange(other, first, "WATCH k", "+OK\r\n");
    for client in both {
        worker.send(client, "WAIT 1 0");
    }
    for _ in 0..10 {
        for dedicated in [first, second] {
            if worker.requests(dedicated).contains("WAIT") {
                worker.reply(dedicated, ":1\r\n");
            }
        }
        worker.advance(100);
    }
    assert_eq!(both.map(|client| worker.received(client)), [":1\r\n"; 2]);
}

/// The server accepts no WAIT on this connection, for an unknown time.
#[test]
fn wait_on_a_connection_that_stays_dedicated_ends_with_an_error() {
    let (mut worker, client, _) = worker();
    let other = worker.log_in("ann", "pw");
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    worker.exchange(other, dedicated, "WATCH k", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    for _ in 0..10 {
        // Until now the WAIT could be sent.
        worker.advance(10);
        worker.expect_and_reply(dedicated, "WAIT 1 10", ":0\r\n");
        worker.advance(190);
    }
    worker.expect_and_reply(dedicated, "WAIT 1 10", ":0\r\n");
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    worker.exchange(other, dedicated, "SUBSCRIBE c", confirmed);
    worker.advance(500);
    assert_eq!(worker.received(client), "");
    worker.advance(1_000);
    assert_eq!(worker.received(client), UNKNOWN);
    assert!(!worker.closed(client));
}

#[test]
fn wait_errors_show_the_name_without_the_mark() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SADD s m", ":1\r\n");
    let dedicated = worker.dedicated(client, "WATCH k", "+OK\r\n");
    worker.send(client, "WAITAOF 0 1 0");
    assert!(worker.requests(dedicated).contains("waitaoF"));
    worker.reply(dedicated, "-ERR unknown command 'waitaoF'\r\n");
    worker.settle();
    let heard = worker.received(client);
    assert_eq!(heard, "-ERR unknown command 'WAITAOF'\r\n");
}

/// Neither the waiting client nor the requests behind it wait forever.
#[test]
fn wait_ends_when_the_server_is_lost() {
    for connections in [1, 2] {
        let mut worker = Worker::with(|settings| {
            settings.pool_connections_max = connections;
            settings.backend_reply_ms = 1_000;
        });
        let (client, shared) = worker.user("ann");
        worker.advance(200);
        worker.exchange(client, shared, "SADD s m", ":1\r\n");
        worker.send(client, "WAIT 1 0");
        worker.advance(100);
        for backend in worker.new_links() {
            worker.establish(backend);
        }
        worker.settle();
        assert!(worker.requests(shared).contains("WAIT"));
        let other = worker.log_in("ann", "pw");
        worker.send(other, "SADD s n");
        worker.advance(5_000);
        assert_eq!(worker.received(client), UNKNOWN, "{connections}");
        assert!(worker.received(other).starts_with("-ERR elika: "));
        assert!(worker.closed(shared));
    }
}

#[test]
fn unanswered_wait_ends_when_the_server_answers_others() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 1_000);
    let (client, shared) = worker.user("ann");
    worker.advance(200);
    worker.exchange(client, shared, "SADD s m", ":1\r\n");
    worker.send(client, "WAIT 1 0");
    worker.advance(100);
    let second = worker.established();
    worker.settle();
    assert!(worker.requests(shared).contains("WAIT"));
    let other = worker.log_in("ann", "pw");
    for _ in 0..20 {
        worker.exchange(other, second, "GET k", "$-1\r\n");
        worker.advance(100);
    }
    assert_eq!(worker.received(client), UNKNOWN);
    assert!(worker.closed(shared));
}

#[test]
fn wait_timeout_is_shorter_than_reply_ms() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 100);
    let (client, shared) = worker.user("ann");
    worker.exchange(client, shared, "SADD s m", ":1\r\n");
    worker.send(client, "WAIT 1 0");
    let _second = worker.established();
    worker.settle();
    worker.expect_and_reply(shared, "WAIT 1 25", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
}

#[test]
fn close_on_loss_closes_a_client_with_a_wait_in_flight() {
    let mut worker = Worker::with(|settings| settings.close_on_loss = true);
    let (client, shared) = worker.user("ann");
    worker.requests(shared);
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    worker.settle();
    worker.fail(shared, &Failure::Lost);
    worker.settle();
    assert_eq!(worker.received(client), "");
    assert!(worker.closed(client));
}

/// The proxy closes the connection by itself, so nothing is lost.
#[test]
fn close_on_loss_keeps_a_waiting_client_whose_instance_gets_another_address() {
    let (mut registry, mut worker) = Registry::of(&[1]).start(|settings| {
        settings.close_on_loss = true;
        settings.pool_connections_max = 1;
    });
    let (client, shared) = worker.login();
    worker.advance(200);
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    worker.advance(20);
    worker.expect_and_reply(shared, "WAIT 1 10", ":0\r\n");
    worker.apply(registry.set_address(1, 9));
    worker.settle();
    assert!(worker.closed(shared));
    assert_eq!(worker.received(client), UNKNOWN);
    assert!(!worker.closed(client));
}

/// The client gets the error until it writes again, as after the loss of its dedicated connection.
#[test]
fn writes_on_a_lost_connection_are_unknown() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SADD s m", ":1\r\n");
    worker.fail(shared, &Failure::Lost);
    worker.settle();
    worker.send(client, "WAIT 1 0");
    assert_eq!(worker.received(client), UNKNOWN);
    worker.send(client, "GET k");
    let second = worker.established();
    worker.reply(second, "$-1\r\n");
    worker.received(client);
    worker.send(client, "WAIT 1 0");
    assert_eq!(worker.received(client), UNKNOWN);
    worker.requests(second);
    worker.advance(200);
    worker.exchange(client, second, "SADD s m", ":1\r\n");
    worker.send(client, "WAIT 1 0");
    worker.expect_and_reply(second, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
}

/// The client does not know of the loss yet, and its later commands may have written nothing.
#[test]
fn lost_connection_of_writes_is_reported_once() {
    for (line, reply, known) in [("SADD s m", ":1\r\n", false), ("SET k v", "+OK\r\n", true)] {
        let (mut worker, client, shared) = worker();
        worker.exchange(client, shared, "SET k v", "+OK\r\n");
        worker.fail(shared, &Failure::Lost);
        worker.settle();
        worker.send(client, line);
        let second = worker.established();
        worker.reply(second, reply);
        worker.received(client);
        worker.requests(second);
        worker.advance(200);
        worker.send(client, "WAIT 1 0");
        if known {
            worker.expect_and_reply(second, "WAIT 1 10", ":1\r\n");
            assert_eq!(worker.received(client), ":1\r\n");
        } else {
            assert_eq!(worker.received(client), UNKNOWN);
        }
        assert!(!worker.closed(client));
    }
}

/// A dedicated connection that was never established carried nothing.
#[test]
fn wait_is_not_sent_on_a_connection_without_requests() {
    let (mut worker, client, shared) = worker();
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    worker.send(client, "WATCH k");
    let dedicated = worker.new_link();
    worker.fail(dedicated, &Failure::Lost);
    worker.settle();
    worker.advance(200);
    worker.received(client);
    for backend in worker.new_links() {
        worker.establish(backend);
    }
    worker.send(client, "WAIT 1 0");
    worker.settle();
    assert_ne!(worker.received(client), UNKNOWN);
}

/// The write waited for a connection that was being opened, and was sent on another one.
#[test]
fn wait_is_not_sent_on_a_connection_with_only_unsent_writes() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 2);
    let (ann, shared) = worker.user("ann");
    let client = worker.log_in("ann", "pw");
    worker.advance(200);
    worker.requests(shared);
    worker.send(ann, "EVAL x 0");
    worker.send(client, "SADD s m");
    let second = worker.new_link();
    worker.fail(second, &Failure::Unreachable("no".into()));
    worker.reply(shared, "+OK\r\n:1\r\n");
    worker.settle();
    assert_eq!(worker.received(client), ":1\r\n");
    worker.requests(shared);
    worker.send(client, "WAIT 1 0");
    worker.advance(200);
    for backend in worker.new_links() {
        worker.establish(backend);
    }
    worker.settle();
    assert!(
        worker.requests(shared).contains("WAIT"),
        "{}",
        worker.received(client)
    );
}

/// Only this connection can be asked about the writes of the client that waits.
#[test]
fn connection_on_which_a_client_waits_makes_no_room_for_another() {
    let mut worker = Worker::with(|settings| settings.instance_connections_max = 3);
    let (client, _) = worker.user("ann");
    let popped = "*2\r\n$1\r\nl\r\n$1\r\nv\r\n";
    let idle = worker.dedicated(client, "BLPOP l 1", popped);
    let (other, _) = worker.user("bob");
    worker.send(client, "WAIT 1 0");
    worker.send(other, "BLPOP l 0");
    worker.advance(50);
    worker.expect_and_reply(idle, "WAIT 1 50", ":0\r\n");
    assert!(!worker.closed(idle));
    worker.advance(100);
    worker.expect_and_reply(idle, "WAIT 1 100", ":1\r\n");
    assert_eq!(worker.received(client), ":1\r\n");
}

/// CLIENT CACHING is about the next command on the connection.
#[test]
fn wait_is_not_sent_between_caching_and_its_command() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (client, _) = worker.user("ann");
    let other = worker.log_in("ann", "pw");
    let popped = "*2\r\n$1\r\nl\r\n$1\r\nv\r\n";
    let dedicated = worker.dedicated(client, "BLPOP l 1", popped);
    worker.exchange(other, dedicated, "CLIENT TRACKING ON OPTIN", "+OK\r\n");
    worker.advance(200);
    worker.send(client, "WAIT 1 0");
    worker.exchange(other, dedicated, "CLIENT CACHING YES", "+OK\r\n");
    worker.advance(200);
    worker.send(other, "GET k");
    assert_eq!(worker.requests(dedicated), text("GET k"));
    worker.advance(1_500);
    assert_eq!(worker.received(client), UNKNOWN);
}

/// Links without a login are replaced after a minute: one on which a client waits, later.
#[test]
fn anonymous_client_waits_longer_than_its_connection_would_stay() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (client, shared) = worker.anonymous();
    worker.requests(shared);
    worker.exchange(client, shared, "SET k v", "+OK\r\n");
    worker.send(client, "WAIT 1 0");
    for _ in 0..700 {
        let asked = worker.requests(shared);
        worker.advance(100);
        if asked.contains("WAIT") {
            worker.reply(shared, ":0\r\n");
        }
        assert_eq!(worker.received(client), "");
    }
}

/// The clients of all replies that are left have moved to another connection.
#[test]
fn connection_on_which_a_client_waits_is_not_closed_as_abandoned() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 2);
    let (slow, shared) = worker.user("ann");
    let [client, behind] = [(); 2].map(|()| worker.log_in("ann", "pw"));
    worker.requests(shared);
    worker.exchange(client, shared, "SADD s m", ":1\r\n");
    worker.stall(slow);
    worker.send(slow, "GET big");
    worker.send(behind, "GET small");
    let big = value(600_000);
    worker.reply(shared, &big[..400_000]);
    worker.send(client, "WAIT 1 0");
    worker.settle();
    let other = worker.established();
    worker.advance(200);
    assert!(worker.requests(other).contains("small"));
    worker.unstall(slow);
    worker.reply(shared, &big[400_000..]);
    worker.settle();
    assert_eq!(worker.received(client), "");
    assert!(!worker.closed(shared));
}
