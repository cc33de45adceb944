//! Servers that are busy and not down: which requests wait, and which are retried on another link.

use elika::cluster::Health;
use elika::proxy::{ClientKey, Failure, LinkKey, StatsRequest};

use super::harness::{Worker, command};

const IN_DOUBT: &str = "-ERR elika: backend connection lost, outcome unknown\r\n";
const BUSY: &str = "-BUSY Redis is busy running a script.\r\n";

fn unreachable() -> Failure {
    Failure::Unreachable("connection refused".into())
}

impl Worker {
    fn state(&self) -> Health {
        let stats = self.machine.collect_stats(&StatsRequest::Metrics);
        stats.instances[0].health
    }

    /// Two clients of one user that share a connection.
    fn two_clients(&mut self) -> (ClientKey, ClientKey, LinkKey) {
        let (first, backend) = self.user("ann");
        let second = self.log_in("ann", "pw");
        self.requests(backend);
        (first, second, backend)
    }

    /// Time passes while the server accepts connections and sends nothing.
    fn advance_in_silence(&mut self, ms: u64) -> Vec<LinkKey> {
        let mut opened = Vec::new();
        for _ in 0..ms / 100 {
            self.advance(100);
            for backend in self.new_links() {
                self.open_handshake(backend);
                opened.push(backend);
            }
        }
        opened
    }
}

#[test]
fn requests_wait_for_a_busy_server() {
    let mut worker = Worker::new();
    let (sleeper, other, backend) = worker.two_clients();
    worker.send(sleeper, "DEBUG SLEEP 10");
    worker.send(other, "GET a");
    let opened = worker.advance_in_silence(9_000);
    worker.send(other, "GET b");
    let more = worker.advance_in_silence(1_000);
    assert!(opened.len() + more.len() <= 1, "{opened:?} {more:?}");
    assert_eq!(worker.received(other), "");
    assert_eq!(worker.state(), Health::Up);
    let asked = worker.requests(backend);
    assert!(
        asked.contains("\r\na\r\n") && asked.contains("\r\nb\r\n"),
        "{asked}"
    );
    worker.reply(backend, "+OK\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(worker.received(sleeper), "+OK\r\n");
    assert_eq!(worker.received(other), "$1\r\na\r\n$1\r\nb\r\n");
}

#[test]
fn handshake_waits_for_a_busy_server() {
    let mut worker = Worker::new();
    let client = worker.client_sends("GET a");
    let backend = worker.new_link();
    worker.open_handshake(backend);
    worker.advance(20_000);
    assert_eq!(worker.received(client), "");
    worker.reply(
        backend,
        "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:7\r\n*0\r\n",
    );
    assert!(worker.requests(backend).contains("GET"));
    worker.deliver(backend, client, "$1\r\na\r\n");
}

/// A script blocks one connection; a second connection, opened for the other clients, fails.
#[test]
fn requests_of_a_failed_connection_go_to_a_live_one() {
    let full = Failure::TurnedAway("ERR max number of clients reached".into());
    for failure in [unreachable(), Failure::TimedOut, Failure::Lost, full] {
        let mut worker = Worker::new();
        let (runner, other, backend) = worker.two_clients();
        let third = worker.log_in("ann", "pw");
        worker.send(runner, "EVAL s 0");
        worker.send(other, "GET a");
        worker.send(third, "SET b");
        worker.send(other, "SET c");
        let opening = worker.new_link();
        worker.open_handshake(opening);
        assert_eq!(worker.requests(opening), "");
        worker.requests(backend);
        worker.fail(opening, &failure);
        let whole = ["GET a", "SET b", "SET c"].map(command).concat();
        assert_eq!(worker.requests(backend).as_bytes(), whole);
        assert_eq!(worker.state(), Health::Up);
        worker.send(other, "GET d");
        assert_eq!(worker.new_links(), [], "it is tried again at once");
        worker.reply(backend, "+OK\r\n$1\r\na\r\n+B\r\n+C\r\n$1\r\nd\r\n");
        assert_eq!(worker.received(other), "$1\r\na\r\n+C\r\n$1\r\nd\r\n");
        assert_eq!(worker.received(third), "+B\r\n");
    }
}

#[test]
fn client_that_needs_a_connection_gets_the_error_of_a_full_server() {
    let (mut worker, client, backend) = Worker::with_user("ann");
    for _ in 0..3 {
        let new = worker.client_sends("AUTH bob pw");
        let opening = worker.new_link();
        worker.refuse_handshake(opening, "-ERR max number of clients reached\r\n");
        let heard = worker.received(new);
        assert_eq!(heard, "-ERR max number of clients reached\r\n");
        assert!(worker.closed(new), "a server closes it, too");
        assert_eq!(worker.state(), Health::Up);
        worker.requests(backend);
        worker.send(client, "GET a");
        assert!(worker.requests(backend).contains("GET"));
        worker.deliver(backend, client, "$1\r\na\r\n");
    }
}

#[test]
fn clients_behind_a_script_get_busy_when_the_server_replies_busy() {
    let mut worker = Worker::new();
    let (runner, other, backend) = worker.two_clients();
    worker.send(runner, "EVAL s 0");
    worker.send(other, "GET a");
    let second = worker.new_link();
    worker.open_handshake(second);
    worker.advance(4_900);
    assert_eq!(worker.received(other), "");
    worker.reply(second, "+OK\r\n");
    worker.reply(second, "*2\r\n$2\r\nid\r\n:7\r\n");
    worker.deliver(second, other, BUSY);
    worker.deliver(backend, runner, "$4\r\ndone\r\n");
}

/// During a script the server rejects SELECT on a new connection. Behind the script, the other
/// clients would neither get BUSY, as they do directly, nor be able to kill it.
#[test]
fn client_without_a_connection_gets_busy_during_a_script() {
    client_without_a_connection(false);
}

#[test]
fn busy_server_is_not_a_lost_backend() {
    client_without_a_connection(true);
}

fn client_without_a_connection(close_on_loss: bool) {
    let mut worker = Worker::with(|settings| settings.close_on_loss = close_on_loss);
    let (runner, other, backend) = worker.two_clients();
    worker.send(runner, "EVAL s 0");
    worker.send(other, "GET a");
    worker.requests(backend);
    let opening = worker.new_link();
    worker.open_handshake(opening);
    worker.fail(opening, &Failure::Busy(BUSY[1..].trim_end().into()));
    assert_eq!(worker.received(other), BUSY);
    assert_eq!(worker.requests(backend), "");
    assert_eq!(worker.state(), Health::Up);
    worker.deliver(backend, runner, "$4\r\ndone\r\n");
}

#[test]
fn reads_of_a_lost_connection_are_retried_and_writes_have_unknown_outcome() {
    let mut worker = Worker::new();
    let (one, two, backend) = worker.two_clients();
    let line = ["GET a", "SET b 1", "GET c", "UNWATCH"];
    worker.send_bytes(one, line.map(command).concat());
    worker.send(two, "GET d");
    assert!(worker.requests(backend).contains("SET"));
    worker.fail(backend, &Failure::Lost);
    // A retried GET a could see the effect of SET b.
    assert_eq!(worker.received(one), IN_DOUBT.repeat(2));
    // The first request in the queue may be the reason why the server closed the connection.
    let next = worker.new_links();
    for (&next, name) in next.iter().zip(["d", "c"]) {
        worker.establish(next);
        let again = command(&format!("GET {name}"));
        assert_eq!(worker.requests(next).as_bytes(), again);
        worker.reply(next, format!("$1\r\n{name}\r\n"));
    }
    assert_eq!(worker.received(one), "$1\r\nc\r\n+OK\r\n");
    assert_eq!(worker.received(two), "$1\r\nd\r\n");
    assert_eq!(worker.machine.counters().asked_again_lost, 2);
}

/// Replies that have arrived are not requested again.
#[test]
fn rest_of_a_pipeline_is_retried() {
    let (mut worker, client, backend) = Worker::with_user("ann");
    let line = ["SET a 1", "GET b", "SET c 1", "GET d", "GET e"];
    worker.send_bytes(client, line.map(command).concat());
    worker.deliver(backend, client, "+OK\r\n$1\r\nb\r\n");
    worker.fail(backend, &Failure::Lost);
    assert_eq!(worker.received(client), IN_DOUBT);
    let next = worker.established();
    let again = ["GET d", "GET e"].map(command).concat();
    assert_eq!(worker.requests(next).as_bytes(), again);
    worker.deliver(next, client, "$1\r\nd\r\n$1\r\ne\r\n");
}

/// The read may be the reason why the server fails.
#[test]
fn read_is_retried_once_when_its_connection_is_lost() {
    let (mut worker, client, backend) = Worker::with_user("ann");
    worker.send(client, "GET poison");
    worker.fail(backend, &Failure::Lost);
    let next = worker.established();
    worker.fail(next, &Failure::Lost);
    assert_eq!(worker.new_links(), []);
    assert_eq!(worker.received(client), IN_DOUBT);
}

#[test]
fn request_whose_reply_has_begun_is_not_retried() {
    let mut worker = Worker::new();
    let (reader, other, backend) = worker.two_clients();
    worker.send(reader, "GET a");
    worker.send(other, "GET b");
    worker.reply(backend, "$3\r\nab");
    worker.fail(backend, &Failure::Lost);
    assert_eq!(worker.received(reader), "$3\r\nab");
    assert!(worker.closed(reader));
    let next = worker.established();
    assert_eq!(worker.requests(next).as_bytes(), command("GET b"));
}

const NO_LIMIT: u64 = 0;

/// The server pauses a write and answers reads.
fn paused_write(worker: &mut Worker) -> (ClientKey, ClientKey, LinkKey) {
    let (writer, reader, backend) = worker.two_clients();
    worker.send(writer, "SET a 1");
    worker.send(reader, "GET b");
    worker.requests(backend);
    (writer, reader, backend)
}

/// A paused write and a read behind it, which is retried and answered on another connection.
fn retried_read(worker: &mut Worker) -> (ClientKey, ClientKey, LinkKey, LinkKey) {
    let (writer, reader, held) = paused_write(worker);
    worker.advance(200);
    let other = worker.established();
    worker.advance(20);
    worker.advance(20);
    assert_eq!(worker.requests(other).as_bytes(), command("GET b"));
    worker.reply(other, "$1\r\nb\r\n");
    (writer, reader, held, other)
}

#[test]
fn read_behind_a_paused_write_is_retried_elsewhere() {
    let mut worker = Worker::new();
    let (writer, reader, held, other) = retried_read(&mut worker);
    assert_eq!(worker.received(reader), "$1\r\nb\r\n");
    // From now on no read is sent on the connection of the write.
    let third = worker.log_in("ann", "pw");
    for client in [reader, third] {
        worker.send(client, "GET c");
        assert!(worker.requests(other).contains("GET"));
        worker.deliver(other, client, "$1\r\nc\r\n");
    }
    worker.advance(3_000);
    worker.reply(held, "+OK\r\n$3\r\nold\r\n");
    assert_eq!(worker.received(writer), "+OK\r\n");
    assert_eq!(worker.received(reader), "");
    assert_eq!(worker.machine.counters().asked_again_late, 1);
}

#[test]
fn read_behind_a_write_is_retried_when_a_connection_is_available() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (writer, reader, held, other) = retried_read(&mut worker);
    worker.reply(held, "+OK\r\n$1\r\nb\r\n");
    // The other connection is receiving a large reply, and a third connection is not allowed.
    worker.send(reader, "GET big");
    assert!(worker.requests(other).contains("big"));
    worker.reply(other, "$300000\r\n");
    worker.send(writer, "SET a 1");
    let third = worker.log_in("ann", "pw");
    worker.send(third, "GET c");
    assert!(worker.requests(held).contains("GET"));
    worker.advance(400);
    assert_eq!(worker.requests(other), "");
    worker.reply(other, "x".repeat(300_000) + "\r\n");
    worker.advance(200);
    assert_eq!(worker.requests(other).as_bytes(), command("GET c"));
    worker.deliver(other, third, "$1\r\nc\r\n");
}

#[test]
fn no_request_is_queued_behind_a_script_on_an_opening_connection() {
    let mut worker = Worker::new();
    let (runner, other, backend) = worker.two_clients();
    worker.fail(backend, &Failure::Lost);
    worker.send(runner, "EVAL s 0");
    let of_script = worker.new_link();
    worker.send(other, "GET a");
    let beside = worker.new_link();
    worker.establish(of_script);
    worker.establish(beside);
    assert!(worker.requests(of_script).contains("EVAL"));
    assert_eq!(worker.requests(beside).as_bytes(), command("GET a"));
}

/// The connection that is opened to check the server is answered when all others are.
#[test]
fn no_request_is_sent_twice_to_a_busy_server() {
    let mut worker = Worker::new();
    let (writer, reader, busy) = paused_write(&mut worker);
    let opened = worker.advance_in_silence(5_000);
    assert_eq!(opened.len(), 1);
    worker.reply(opened[0], "+OK\r\n");
    worker.reply(opened[0], "*2\r\n$2\r\nid\r\n:7\r\n");
    worker.requests(opened[0]);
    worker.reply(busy, "+OK\r\n$1\r\nb\r\n");
    worker.advance(200);
    assert_eq!(worker.requests(opened[0]), "");
    assert_eq!(worker.received(writer), "+OK\r\n");
    assert_eq!(worker.received(reader), "$1\r\nb\r\n");
    assert_eq!(worker.machine.counters().asked_again, 0);
}

#[test]
fn late_read_is_retried_once() {
    let mut worker = Worker::new();
    let (_, reader, _) = paused_write(&mut worker);
    worker.advance(200);
    let mut ways = vec![worker.new_link()];
    worker.establish(ways[0]);
    worker.advance(100);
    for _ in 0..20 {
        worker.advance(100);
        for way in worker.new_links() {
            worker.establish(way);
            ways.push(way);
        }
    }
    let asked: String = ways.iter().map(|&way| worker.requests(way)).collect();
    assert_eq!(asked.matches("GET").count(), 1, "{asked}");
    assert_eq!(worker.received(reader), "");
}

#[test]
fn overdue_reply_affects_only_its_connection() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 2_000);
    let (writer, reader, held) = paused_write(&mut worker);
    worker.advance(200);
    let other = worker.established();
    for _ in 0..100 {
        worker.advance(100);
        let asked = worker.requests(other);
        for _ in 0..asked.matches("GET").count() {
            worker.reply(other, "$1\r\nb\r\n");
        }
        for _ in 0..asked.matches("PING").count() {
            worker.reply(other, "+PONG\r\n");
        }
    }
    assert_eq!(worker.received(reader), "$1\r\nb\r\n");
    assert_eq!(
        (worker.received(writer), worker.state()),
        (String::new(), Health::Up)
    );
    assert!(!worker.closed(held));
    worker.reply(held, "+OK\r\n$1\r\nb\r\n");
    assert_eq!(worker.received(writer), "+OK\r\n");
    worker.send(writer, "SET a 2");
    assert!(worker.requests(other).contains("SET"));
}

/// The only client runs the script, so no other request shows that the server is busy.
#[test]
fn long_script_is_waited_for_while_the_server_replies_busy() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 2_000);
    let (client, backend) = worker.user("ann");
    worker.send(client, "EVAL s 0");
    let mut others = Vec::new();
    for _ in 0..100 {
        worker.advance(100);
        for other in worker.new_links() {
            worker.establish(other);
            others.push(other);
        }
        for &other in &others {
            for _ in 0..worker.requests(other).matches("PING").count() {
                worker.reply(other, BUSY);
            }
        }
    }
    assert_eq!(others.len(), 1);
    assert_eq!(worker.received(client), "");
    worker.deliver(backend, client, "$4\r\ndone\r\n");
    assert_eq!(worker.state(), Health::Up);
}

/// With reply-ms 0, the handshake would otherwise wait until the server is lost.
#[test]
fn handshake_without_reply_fails_when_reply_ms_is_zero() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 0);
    let _client = worker.client_sends("AUTH bob pw");
    let verifier = worker.new_link();
    worker.open_handshake(verifier);
    worker.advance_in_silence(55_000);
    assert!(!worker.closed(verifier));
    worker.advance_in_silence(10_000);
    assert!(worker.closed(verifier));
}

#[test]
fn silent_server_is_down_after_reply_ms() {
    for reply_ms in [2_000, NO_LIMIT] {
        let mut worker = Worker::with(|settings| settings.backend_reply_ms = reply_ms);
        let (writer, reader, backend) = worker.two_clients();
        worker.send(writer, "SET a 1");
        worker.send(reader, "GET b");
        worker.advance_in_silence(1_900);
        assert!(!worker.closed(backend));
        worker.advance_in_silence(3_000);
        let late = "-ERR elika: backend did not answer in time, outcome unknown\r\n";
        let heard = if reply_ms == NO_LIMIT { "" } else { late };
        assert_eq!(
            (&*worker.received(writer), &*worker.received(reader)),
            (heard, heard)
        );
        let state = if reply_ms == NO_LIMIT {
            Health::Up
        } else {
            Health::Down
        };
        assert_eq!(worker.state(), state);
    }
}
