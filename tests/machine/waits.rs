//! WAIT is about the last write of the very client, on whichever connection that was.

use elika::proxy::{ClientKey, ConnKey, Failure, LinkKey};

use super::harness::{Worker, command};

const UNKNOWN: &str = "-ERR elika: the connection that carried the writes is in use or closed\r\n";

/// One user has a single shared connection: it is asked for 10 ms at a time.
fn worker() -> (Worker, ClientKey, LinkKey) {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (client, shared) = worker.user("ann");
    worker.pass(200);
    worker.asked(shared);
    (worker, client, shared)
}

impl Worker {
    /// One command and the reply to it.
    fn does(&mut self, client: ClientKey, on: LinkKey, line: &str, reply: &str) {
        self.says(client, line);
        let asked = self.asked(on);
        assert!(asked.ends_with(&text(line)), "{line}: {asked}");
        self.replies(on, reply);
        self.settle();
        self.heard(client);
    }

    /// The server is asked for this here, and says so.
    fn tells(&mut self, on: LinkKey, line: &str, reply: &str) {
        let asked = self.asked(on);
        assert!(asked.ends_with(&text(line)), "{line}: {asked}");
        self.replies(on, reply);
        self.settle();
    }
}

fn text(line: &str) -> String {
    String::from_utf8(command(line)).unwrap()
}

#[test]
fn client_with_a_connection_of_its_own_waits_for_what_it_wrote_before() {
    let (mut worker, client, shared) = worker();
    worker.does(client, shared, "SET k v", "+OK\r\n");
    let own = worker.own(client, "WATCH k", "+OK\r\n");
    worker.says(client, "WAIT 1 0");
    // Nothing was written there since the replicas were in step: that says nothing.
    worker.tells(own, "WAIT 1 50", ":3\r\n");
    assert_eq!(worker.heard(client), "");
    worker.tells(shared, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.heard(client), ":1\r\n");
    // What it surely writes there now comes after that.
    worker.does(client, own, "SET k w", "+OK\r\n");
    worker.says(client, "WAIT 1 0");
    worker.tells(own, "WAIT 1 0", ":2\r\n");
    assert_eq!(worker.heard(client), ":2\r\n");
}

#[test]
fn what_may_have_written_nothing_does_not_stand_for_the_last_write() {
    let (mut worker, client, shared) = worker();
    let own = worker.own(client, "MULTI", "+OK\r\n");
    worker.does(client, own, "SET k v", "+QUEUED\r\n");
    worker.does(client, own, "EXEC", "*1\r\n+OK\r\n");
    for (line, reply) in [
        ("SADD s m", ":0\r\n"),
        ("EVAL x 0", "$-1\r\n"),
        ("FOO", "+OK\r\n"),
        ("SET k v NX", "$-1\r\n"),
        ("SET k v", "-OOM no\r\n"),
    ] {
        worker.does(client, shared, line, reply);
        worker.says(client, "WAIT 1 0");
        worker.tells(shared, "WAIT 1 10", ":1\r\n");
        assert_eq!(worker.heard(client), "", "{line}");
        worker.tells(own, "WAIT 1 50", ":1\r\n");
        assert_eq!(worker.heard(client), ":1\r\n", "{line}");
        worker.pass(200);
    }
    worker.does(client, shared, "SET k v", "+OK\r\n");
    worker.says(client, "WAIT 1 0");
    worker.tells(shared, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.heard(client), ":1\r\n");
}

/// The error comes in two pieces.
#[test]
fn refused_write_is_no_write_however_its_error_is_cut() {
    let (mut worker, client, shared) = worker();
    let own = worker.own(client, "BLPOP l 1", "*-1\r\n");
    worker.says(client, "INCR n");
    worker.replies(shared, "-");
    worker.replies(shared, "OOM no\r\n");
    worker.settle();
    worker.heard(client);
    worker.asked(shared);
    worker.says(client, "WAIT 1 0");
    worker.tells(shared, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.heard(client), "");
    worker.tells(own, "WAIT 1 50", ":1\r\n");
    assert_eq!(worker.heard(client), ":1\r\n");
}

#[test]
fn transaction_that_wrote_stands_for_what_was_written_before() {
    let (mut worker, client, shared) = worker();
    worker.does(client, shared, "SET k v", "+OK\r\n");
    let own = worker.own(client, "BLPOP l 1", "*-1\r\n");
    for reply in ["*1\r\n-WRONGTYPE no\r\n", "*1\r\n:1\r\n"] {
        worker.does(client, own, "MULTI", "+OK\r\n");
        worker.does(client, own, "INCR k", "+QUEUED\r\n");
        worker.does(client, own, "EXEC", reply);
        worker.fails(shared, &Failure::Lost);
        worker.pass(200);
        for backend in worker.begun() {
            worker.welcome(backend);
        }
        worker.says(client, "WAIT 1 0");
        let wrote = !reply.contains('-');
        if wrote {
            worker.tells(own, "WAIT 1 50", ":1\r\n");
        }
        let heard = worker.heard(client);
        assert_eq!(heard, if wrote { ":1\r\n" } else { UNKNOWN }, "{reply}");
    }
}

#[test]
fn count_is_the_least_of_all_connections_that_may_carry_the_last_write() {
    for (first, second) in [(":2\r\n", ":0\r\n"), (":0\r\n", ":2\r\n")] {
        let (mut worker, client, shared) = worker();
        worker.does(client, shared, "SET k v", "+OK\r\n");
        let own = worker.own(client, "BLPOP l 1", "*2\r\n$1\r\nl\r\n$1\r\nv\r\n");
        worker.says(client, "WAIT 3 5");
        worker.pass(5);
        worker.tells(shared, "WAIT 3 5", first);
        assert_eq!(worker.heard(client), "");
        worker.pass(1);
        worker.tells(own, "WAIT 3 1", second);
        assert_eq!(worker.heard(client), ":0\r\n");
    }
}

/// A server answers it at once, and about the last write of that very connection.
#[test]
fn wait_for_no_replica_tells_how_many_have_the_last_write() {
    let (mut worker, client, shared) = worker();
    worker.does(client, shared, "SET k v", "+OK\r\n");
    let own = worker.own(client, "WATCH k", "+OK\r\n");
    // Others do not wait for it, so that there is no reason not to ask again.
    for _ in 0..2 {
        worker.says(client, "WAIT 0 0");
        worker.tells(own, "WAIT 0 0", ":3\r\n");
        assert_eq!(worker.heard(client), "");
        worker.tells(shared, "WAIT 0 0", ":1\r\n");
        assert_eq!(worker.heard(client), ":1\r\n");
    }
    worker.fails(shared, &Failure::Lost);
    for (line, reply) in [("WAIT 0 0", ":0\r\n"), ("WAIT 1 0", UNKNOWN)] {
        worker.says(client, line);
        assert_eq!(worker.heard(client), reply, "{line}");
    }
}

/// It may be somebody's again in a moment.
#[test]
fn connection_that_is_asked_about_replicas_counts_as_dedicated() {
    let mut worker = Worker::with(|settings| settings.dedicated_max = 1);
    let (client, _) = worker.user("ann");
    let other = worker.logs_in("ann", "pw");
    let own = worker.own(client, "BLPOP l 1", "*2\r\n$1\r\nl\r\n$1\r\nv\r\n");
    worker.says(client, "WAIT 5 0");
    worker.tells(own, "WAIT 5 50", "");
    worker.says(other, "BLPOP l 1");
    assert!(worker.begun().is_empty());
    worker.replies(own, ":0\r\n");
    worker.settle();
    assert!(worker.asked(own).ends_with(&text("BLPOP l 1")));
}

#[test]
fn wait_on_a_connection_that_another_client_has_is_asked_when_it_is_free() {
    let (mut worker, client, shared) = worker();
    let other = worker.logs_in("ann", "pw");
    let own = worker.own(client, "BLPOP l 1", "*-1\r\n");
    worker.does(other, own, "MULTI", "+OK\r\n");
    worker.says(client, "WAIT 1 0");
    worker.settle();
    worker.asked(shared);
    assert_eq!(worker.asked(own), "");
    worker.says(other, "EXEC");
    worker.asked(own);
    worker.replies(own, "*0\r\n");
    worker.tells(own, "WAIT 1 50", ":1\r\n");
    assert_eq!(worker.heard(client), ":1\r\n");
}

#[test]
fn wait_is_asked_for_a_moment_where_another_client_only_watches() {
    let (mut worker, client, _) = worker();
    let other = worker.logs_in("ann", "pw");
    let own = worker.own(client, "BLPOP l 1", "*-1\r\n");
    worker.does(other, own, "WATCH k", "+OK\r\n");
    worker.says(client, "WAIT 1 0");
    worker.pass(10);
    worker.tells(own, "WAIT 1 10", ":0\r\n");
    worker.pass(50);
    assert_eq!(worker.asked(own), "", "it is the other's");
    worker.does(other, own, "GET k", "$-1\r\n");
    worker.pass(100);
    worker.tells(own, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.heard(client), ":1\r\n");
}

#[test]
fn clients_that_have_each_others_connections_do_not_wait_for_ever() {
    let (mut worker, client, _) = worker();
    let other = worker.logs_in("ann", "pw");
    let both = [client, other];
    let first = worker.own(client, "WATCH k", "+OK\r\n");
    let second = worker.own(other, "WATCH k", "+OK\r\n");
    for (client, own) in [(client, first), (other, second)] {
        worker.does(client, own, "SADD s m", ":1\r\n");
        worker.does(client, own, "UNWATCH", "+OK\r\n");
    }
    worker.does(client, second, "WATCH k", "+OK\r\n");
    worker.does(other, first, "WATCH k", "+OK\r\n");
    for client in both {
        worker.says(client, "WAIT 1 0");
    }
    for _ in 0..10 {
        for own in [first, second] {
            if worker.asked(own).contains("WAIT") {
                worker.replies(own, ":1\r\n");
            }
        }
        worker.pass(100);
    }
    assert_eq!(both.map(|client| worker.heard(client)), [":1\r\n"; 2]);
}

/// No server takes a WAIT there, and nobody knows until when.
#[test]
fn wait_on_a_connection_that_another_client_keeps_ends() {
    let (mut worker, client, _) = worker();
    let other = worker.logs_in("ann", "pw");
    let own = worker.own(client, "BLPOP l 1", "*-1\r\n");
    worker.does(other, own, "WATCH k", "+OK\r\n");
    worker.says(client, "WAIT 1 0");
    for _ in 0..10 {
        // So far it could be asked.
        worker.pass(10);
        worker.tells(own, "WAIT 1 10", ":0\r\n");
        worker.pass(190);
    }
    worker.tells(own, "WAIT 1 10", ":0\r\n");
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    worker.does(other, own, "SUBSCRIBE c", confirmed);
    worker.pass(500);
    assert_eq!(worker.heard(client), "");
    worker.pass(1_000);
    assert_eq!(worker.heard(client), UNKNOWN);
    assert!(!worker.closed(ConnKey::Client(client)));
}

#[test]
fn errors_about_a_wait_name_it_as_clients_write_it() {
    let (mut worker, client, shared) = worker();
    worker.does(client, shared, "SADD s m", ":1\r\n");
    let own = worker.own(client, "WATCH k", "+OK\r\n");
    worker.says(client, "WAITAOF 0 1 0");
    assert!(worker.asked(own).contains("waitaoF"));
    worker.replies(own, "-ERR unknown command 'waitaoF'\r\n");
    worker.settle();
    let heard = worker.heard(client);
    assert_eq!(heard, "-ERR unknown command 'WAITAOF'\r\n");
}

/// Neither who waits, nor who stands behind that.
#[test]
fn nobody_waits_for_ever_where_the_server_has_gone_in_the_middle_of_a_wait() {
    for connections in [1, 2] {
        let mut worker = Worker::with(|settings| {
            settings.pool_connections_max = connections;
            settings.backend_reply_ms = 1_000;
        });
        let (client, shared) = worker.user("ann");
        worker.pass(200);
        worker.does(client, shared, "SADD s m", ":1\r\n");
        worker.says(client, "WAIT 1 0");
        worker.pass(100);
        for backend in worker.begun() {
            worker.welcome(backend);
        }
        worker.settle();
        assert!(worker.asked(shared).contains("WAIT"));
        let other = worker.logs_in("ann", "pw");
        worker.says(other, "SADD s n");
        worker.pass(5_000);
        assert_eq!(worker.heard(client), UNKNOWN, "{connections}");
        assert!(worker.heard(other).starts_with("-ERR elika: "));
        assert!(worker.closed(ConnKey::Link(shared)));
    }
}

#[test]
fn wait_that_the_server_never_answers_is_over_where_the_server_answers_others() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 1_000);
    let (client, shared) = worker.user("ann");
    worker.pass(200);
    worker.does(client, shared, "SADD s m", ":1\r\n");
    worker.says(client, "WAIT 1 0");
    worker.pass(100);
    let second = worker.begun_one();
    worker.welcome(second);
    worker.settle();
    assert!(worker.asked(shared).contains("WAIT"));
    let other = worker.logs_in("ann", "pw");
    for _ in 0..20 {
        worker.does(other, second, "GET k", "$-1\r\n");
        worker.pass(100);
    }
    assert_eq!(worker.heard(client), UNKNOWN);
    assert!(worker.closed(ConnKey::Link(shared)));
}

#[test]
fn question_is_shorter_than_what_makes_a_reply_overdue() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 100);
    let (client, shared) = worker.user("ann");
    worker.does(client, shared, "SADD s m", ":1\r\n");
    worker.says(client, "WAIT 1 0");
    let second = worker.begun_one();
    worker.welcome(second);
    worker.settle();
    worker.tells(shared, "WAIT 1 25", ":1\r\n");
    assert_eq!(worker.heard(client), ":1\r\n");
}

#[test]
fn with_close_on_loss_a_wait_under_way_ends_with_its_connection() {
    let mut worker = Worker::with(|settings| settings.close_on_loss = true);
    let (client, shared) = worker.user("ann");
    worker.asked(shared);
    worker.does(client, shared, "SET k v", "+OK\r\n");
    worker.says(client, "WAIT 1 0");
    worker.settle();
    worker.fails(shared, &Failure::Lost);
    worker.settle();
    assert_eq!(worker.heard(client), "");
    assert!(worker.closed(ConnKey::Client(client)));
}

/// It is told so until it writes again. What happens then is up to the client: it is as after a
/// connection of its own is lost.
#[test]
fn nobody_can_tell_of_writes_on_a_connection_that_is_lost() {
    let (mut worker, client, shared) = worker();
    worker.does(client, shared, "SADD s m", ":1\r\n");
    worker.fails(shared, &Failure::Lost);
    worker.settle();
    worker.says(client, "WAIT 1 0");
    assert_eq!(worker.heard(client), UNKNOWN);
    worker.says(client, "GET k");
    let second = worker.begun_one();
    worker.welcome(second);
    worker.replies(second, "$-1\r\n");
    worker.heard(client);
    worker.says(client, "WAIT 1 0");
    assert_eq!(worker.heard(client), UNKNOWN);
    worker.asked(second);
    worker.pass(200);
    worker.does(client, second, "SADD s m", ":1\r\n");
    worker.says(client, "WAIT 1 0");
    worker.tells(second, "WAIT 1 10", ":1\r\n");
    assert_eq!(worker.heard(client), ":1\r\n");
}

/// It does not know yet, and what it did since may have written nothing.
#[test]
fn client_hears_once_that_the_connection_of_its_writes_was_lost() {
    for (line, reply, known) in [("SADD s m", ":1\r\n", false), ("SET k v", "+OK\r\n", true)] {
        let (mut worker, client, shared) = worker();
        worker.does(client, shared, "SET k v", "+OK\r\n");
        worker.fails(shared, &Failure::Lost);
        worker.settle();
        worker.says(client, line);
        let second = worker.begun_one();
        worker.welcome(second);
        worker.replies(second, reply);
        worker.heard(client);
        worker.asked(second);
        worker.pass(200);
        worker.says(client, "WAIT 1 0");
        if known {
            worker.tells(second, "WAIT 1 10", ":1\r\n");
            assert_eq!(worker.heard(client), ":1\r\n");
        } else {
            assert_eq!(worker.heard(client), UNKNOWN);
        }
        assert!(!worker.closed(ConnKey::Client(client)));
    }
}

/// A connection of its own that came to nothing carried nothing.
#[test]
fn connection_that_never_sent_anything_is_not_asked() {
    let (mut worker, client, shared) = worker();
    worker.does(client, shared, "SET k v", "+OK\r\n");
    worker.says(client, "WATCH k");
    let own = worker.begun_one();
    worker.fails(own, &Failure::Lost);
    worker.settle();
    worker.pass(200);
    worker.heard(client);
    for backend in worker.begun() {
        worker.welcome(backend);
    }
    worker.says(client, "WAIT 1 0");
    worker.settle();
    assert_ne!(worker.heard(client), UNKNOWN);
}

/// It waited for a connection that was being opened, and went over another one.
#[test]
fn connection_on_which_a_write_only_waited_to_be_sent_is_not_asked() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 2);
    let (ann, shared) = worker.user("ann");
    let client = worker.logs_in("ann", "pw");
    worker.pass(200);
    worker.asked(shared);
    worker.says(ann, "EVAL x 0");
    worker.says(client, "SADD s m");
    let second = worker.begun_one();
    worker.fails(second, &Failure::Unreachable("no".into()));
    worker.replies(shared, "+OK\r\n:1\r\n");
    worker.settle();
    assert_eq!(worker.heard(client), ":1\r\n");
    worker.asked(shared);
    worker.says(client, "WAIT 1 0");
    worker.pass(200);
    for backend in worker.begun() {
        worker.welcome(backend);
    }
    worker.settle();
    assert!(
        worker.asked(shared).contains("WAIT"),
        "{}",
        worker.heard(client)
    );
}
