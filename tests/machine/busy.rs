//! A busy server is not a broken one: who waits, who is asked elsewhere, and what is no failure.

use elika::cluster::Health;
use elika::proxy::{ClientKey, ConnKey, Failure, LinkKey, Wanted};

use super::harness::{Worker, command};

const IN_DOUBT: &str = "-ERR elika: backend connection lost, outcome unknown\r\n";
const BUSY: &str = "-BUSY Redis is busy running a script.\r\n";

fn unreachable() -> Failure {
    Failure::Unreachable("connection refused".into())
}

impl Worker {
    fn state(&self) -> Health {
        let survey = self.machine.survey(&Wanted::Numbers);
        survey.instances[0].health
    }

    /// Two clients of one user on one connection.
    fn two(&mut self) -> (ClientKey, ClientKey, LinkKey) {
        let (first, backend) = self.user("ann");
        let second = self.logs_in("ann", "pw");
        self.asked(backend);
        (first, second, backend)
    }

    /// Time passes, and the server takes connections and answers nothing.
    fn pass_in_silence(&mut self, ms: u64) -> Vec<LinkKey> {
        let mut opened = Vec::new();
        for _ in 0..ms / 100 {
            self.pass(100);
            for backend in self.begun() {
                self.connect(backend);
                opened.push(backend);
            }
        }
        opened
    }
}

#[test]
fn requests_wait_for_a_busy_server_as_long_as_it_takes() {
    let mut worker = Worker::new();
    let (sleeper, other, backend) = worker.two();
    worker.says(sleeper, "DEBUG SLEEP 10");
    worker.says(other, "GET a");
    let opened = worker.pass_in_silence(9_000);
    worker.says(other, "GET b");
    let more = worker.pass_in_silence(1_000);
    assert!(opened.len() + more.len() <= 1, "{opened:?} {more:?}");
    assert_eq!(worker.heard(other), "");
    assert_eq!(worker.state(), Health::Up);
    let asked = worker.asked(backend);
    assert!(
        asked.contains("\r\na\r\n") && asked.contains("\r\nb\r\n"),
        "{asked}"
    );
    worker.replies(backend, "+OK\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(worker.heard(sleeper), "+OK\r\n");
    assert_eq!(worker.heard(other), "$1\r\na\r\n$1\r\nb\r\n");
}

#[test]
fn a_handshake_takes_as_long_as_a_busy_server_makes_it() {
    let mut worker = Worker::new();
    let client = worker.client();
    worker.says(client, "GET a");
    let backend = worker.begun_one();
    worker.connect(backend);
    worker.pass(20_000);
    assert_eq!(worker.heard(client), "");
    worker.replies(
        backend,
        "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:7\r\n*0\r\n",
    );
    assert!(worker.asked(backend).contains("GET"));
    worker.replies(backend, "$1\r\na\r\n");
    assert_eq!(worker.heard(client), "$1\r\na\r\n");
}

/// A script keeps one connection; another one is opened for those who come, and cannot be had.
#[test]
fn requests_of_a_connection_that_cannot_be_made_go_to_one_that_lives() {
    let full = Failure::TurnedAway("ERR max number of clients reached".into());
    for failure in [unreachable(), Failure::TimedOut, Failure::Lost, full] {
        let mut worker = Worker::new();
        let (runner, other, backend) = worker.two();
        let third = worker.logs_in("ann", "pw");
        worker.says(runner, "EVAL s 0");
        worker.says(other, "GET a");
        worker.says(third, "SET b");
        worker.says(other, "SET c");
        let opening = worker.begun_one();
        worker.connect(opening);
        assert_eq!(worker.asked(opening), "");
        worker.asked(backend);
        worker.fails(opening, &failure);
        let whole = ["GET a", "SET b", "SET c"].map(command).concat();
        assert_eq!(worker.asked(backend).as_bytes(), whole);
        assert_eq!(worker.state(), Health::Up);
        worker.says(other, "GET d");
        assert_eq!(worker.begun(), [], "it is tried again at once");
        worker.replies(backend, "+OK\r\n$1\r\na\r\n+B\r\n+C\r\n$1\r\nd\r\n");
        assert_eq!(worker.heard(other), "$1\r\na\r\n+C\r\n$1\r\nd\r\n");
        assert_eq!(worker.heard(third), "+B\r\n");
    }
}

#[test]
fn who_needs_a_connection_hears_that_the_server_is_full_and_others_go_on() {
    let mut worker = Worker::new();
    let (client, backend) = worker.user("ann");
    let new = worker.client();
    for _ in 0..3 {
        worker.says(new, "AUTH bob pw");
        let opening = worker.begun_one();
        worker.refuse(opening, "-ERR max number of clients reached\r\n");
        let heard = worker.heard(new);
        assert_eq!(heard, "-ERR max number of clients reached\r\n");
        assert_eq!(worker.state(), Health::Up);
        worker.asked(backend);
        worker.says(client, "GET a");
        assert!(worker.asked(backend).contains("GET"));
        worker.replies(backend, "$1\r\na\r\n");
        assert_eq!(worker.heard(client), "$1\r\na\r\n");
    }
}

#[test]
fn those_behind_a_script_hear_that_the_server_is_busy_when_it_says_so() {
    let mut worker = Worker::new();
    let (runner, other, backend) = worker.two();
    worker.says(runner, "EVAL s 0");
    worker.says(other, "GET a");
    let second = worker.begun_one();
    worker.connect(second);
    worker.pass(4_900);
    assert_eq!(worker.heard(other), "");
    worker.replies(second, "+OK\r\n");
    worker.replies(second, "*2\r\n$2\r\nid\r\n:7\r\n");
    worker.replies(second, BUSY);
    assert_eq!(worker.heard(other), BUSY);
    worker.replies(backend, "$4\r\ndone\r\n");
    assert_eq!(worker.heard(runner), "$4\r\ndone\r\n");
}

/// It lets no new connection choose a database then. Behind the script the others would wait where
/// they hear so directly, and could not kill it.
#[test]
fn who_finds_no_connection_because_of_a_script_hears_that_the_server_is_busy() {
    who_finds_no_connection(false);
}

#[test]
fn who_hears_that_the_server_is_busy_has_not_lost_it() {
    who_finds_no_connection(true);
}

fn who_finds_no_connection(close_on_loss: bool) {
    let mut worker = Worker::with(|settings| settings.close_on_loss = close_on_loss);
    let (runner, other, backend) = worker.two();
    worker.says(runner, "EVAL s 0");
    worker.says(other, "GET a");
    worker.asked(backend);
    let opening = worker.begun_one();
    worker.connect(opening);
    worker.fails(opening, &Failure::TurnedAway(BUSY[1..].trim_end().into()));
    assert_eq!(worker.heard(other), BUSY);
    assert_eq!(worker.asked(backend), "");
    assert_eq!(worker.state(), Health::Up);
    worker.replies(backend, "$4\r\ndone\r\n");
    assert_eq!(worker.heard(runner), "$4\r\ndone\r\n");
}

#[test]
fn reads_of_a_lost_connection_are_asked_again_and_writes_are_in_doubt() {
    let mut worker = Worker::new();
    let (one, two, backend) = worker.two();
    let line = ["GET a", "SET b 1", "GET c", "UNWATCH"];
    worker.sends(one, line.map(command).concat());
    worker.says(two, "GET d");
    assert!(worker.asked(backend).contains("SET"));
    worker.fails(backend, &Failure::Lost);
    // Asked again, GET a might see what SET b did.
    assert_eq!(worker.heard(one), IN_DOUBT.repeat(2));
    // The first in the queue may be why the server ended the connection.
    let next = worker.begun();
    for (&next, name) in next.iter().zip(["d", "c"]) {
        worker.welcome(next);
        let again = command(&format!("GET {name}"));
        assert_eq!(worker.asked(next).as_bytes(), again);
        worker.replies(next, format!("$1\r\n{name}\r\n"));
    }
    assert_eq!(worker.heard(one), "$1\r\nc\r\n+OK\r\n");
    assert_eq!(worker.heard(two), "$1\r\nd\r\n");
    assert_eq!(worker.machine.counters().asked_again_lost, 2);
}

/// The replies that have come are not asked for a second time.
#[test]
fn what_is_left_of_a_pipeline_is_asked_again() {
    let mut worker = Worker::new();
    let (client, backend) = worker.user("ann");
    let line = ["SET a 1", "GET b", "SET c 1", "GET d", "GET e"];
    worker.sends(client, line.map(command).concat());
    worker.replies(backend, "+OK\r\n$1\r\nb\r\n");
    assert_eq!(worker.heard(client), "+OK\r\n$1\r\nb\r\n");
    worker.fails(backend, &Failure::Lost);
    assert_eq!(worker.heard(client), IN_DOUBT);
    let next = worker.begun_one();
    worker.welcome(next);
    let again = ["GET d", "GET e"].map(command).concat();
    assert_eq!(worker.asked(next).as_bytes(), again);
    worker.replies(next, "$1\r\nd\r\n$1\r\ne\r\n");
    assert_eq!(worker.heard(client), "$1\r\nd\r\n$1\r\ne\r\n");
}

/// It may be what ends the server.
#[test]
fn a_read_is_asked_again_once_when_its_connection_is_lost() {
    let mut worker = Worker::new();
    let (client, backend) = worker.user("ann");
    worker.says(client, "GET poison");
    worker.fails(backend, &Failure::Lost);
    let next = worker.begun_one();
    worker.welcome(next);
    worker.fails(next, &Failure::Lost);
    assert_eq!(worker.begun(), []);
    assert_eq!(worker.heard(client), IN_DOUBT);
}

#[test]
fn a_reply_that_has_begun_is_not_asked_for_again() {
    let mut worker = Worker::new();
    let (reader, other, backend) = worker.two();
    worker.says(reader, "GET a");
    worker.says(other, "GET b");
    worker.replies(backend, "$3\r\nab");
    worker.fails(backend, &Failure::Lost);
    assert_eq!(worker.heard(reader), "$3\r\nab");
    assert!(worker.closed(ConnKey::Client(reader)));
    let next = worker.begun_one();
    worker.welcome(next);
    assert_eq!(worker.asked(next).as_bytes(), command("GET b"));
}

const NO_LIMIT: u64 = 0;

/// The server holds back a write and answers reads.
fn held_write(worker: &mut Worker) -> (ClientKey, ClientKey, LinkKey) {
    let (writer, reader, backend) = worker.two();
    worker.says(writer, "SET a 1");
    worker.says(reader, "GET b");
    worker.asked(backend);
    (writer, reader, backend)
}

/// The same, and the read was asked for and answered on another connection.
fn led_round(worker: &mut Worker) -> (ClientKey, ClientKey, LinkKey, LinkKey) {
    let (writer, reader, held) = held_write(worker);
    worker.pass(200);
    let other = worker.begun_one();
    worker.welcome(other);
    worker.pass(20);
    worker.pass(20);
    assert_eq!(worker.asked(other).as_bytes(), command("GET b"));
    worker.replies(other, "$1\r\nb\r\n");
    (writer, reader, held, other)
}

#[test]
fn a_read_behind_a_write_that_is_held_back_is_asked_elsewhere() {
    let mut worker = Worker::new();
    let (writer, reader, held, other) = led_round(&mut worker);
    assert_eq!(worker.heard(reader), "$1\r\nb\r\n");
    // From now on reads do not get there at all.
    let third = worker.logs_in("ann", "pw");
    for client in [reader, third] {
        worker.says(client, "GET c");
        assert!(worker.asked(other).contains("GET"));
        worker.replies(other, "$1\r\nc\r\n");
        assert_eq!(worker.heard(client), "$1\r\nc\r\n");
    }
    worker.pass(3_000);
    worker.replies(held, "+OK\r\n$3\r\nold\r\n");
    assert_eq!(worker.heard(writer), "+OK\r\n");
    assert_eq!(worker.heard(reader), "");
    assert_eq!(worker.machine.counters().asked_again_late, 1);
}

#[test]
fn a_read_that_finds_no_way_round_a_write_finds_one_later() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (writer, reader, held, other) = led_round(&mut worker);
    worker.replies(held, "+OK\r\n$1\r\nb\r\n");
    // The other connection is in the middle of a big reply, and there is no room for a third.
    worker.says(reader, "GET big");
    assert!(worker.asked(other).contains("big"));
    worker.replies(other, "$300000\r\n");
    worker.says(writer, "SET a 1");
    let third = worker.logs_in("ann", "pw");
    worker.says(third, "GET c");
    assert!(worker.asked(held).contains("GET"));
    worker.pass(400);
    assert_eq!(worker.asked(other), "");
    worker.replies(other, "x".repeat(300_000) + "\r\n");
    worker.pass(200);
    assert_eq!(worker.asked(other).as_bytes(), command("GET c"));
    worker.replies(other, "$1\r\nc\r\n");
    assert_eq!(worker.heard(third), "$1\r\nc\r\n");
}

#[test]
fn nobody_is_put_behind_a_script_on_a_connection_being_opened() {
    let mut worker = Worker::new();
    let (runner, other, backend) = worker.two();
    worker.fails(backend, &Failure::Lost);
    worker.says(runner, "EVAL s 0");
    let of_script = worker.begun_one();
    worker.says(other, "GET a");
    let beside = worker.begun_one();
    worker.welcome(of_script);
    worker.welcome(beside);
    assert!(worker.asked(of_script).contains("EVAL"));
    assert_eq!(worker.asked(beside).as_bytes(), command("GET a"));
}

/// The connection that is opened to find that out is answered when all others are.
#[test]
fn a_busy_server_is_asked_nothing_twice() {
    let mut worker = Worker::new();
    let (writer, reader, busy) = held_write(&mut worker);
    let opened = worker.pass_in_silence(5_000);
    assert_eq!(opened.len(), 1);
    worker.replies(opened[0], "+OK\r\n");
    worker.replies(opened[0], "*2\r\n$2\r\nid\r\n:7\r\n");
    worker.asked(opened[0]);
    worker.replies(busy, "+OK\r\n$1\r\nb\r\n");
    worker.pass(200);
    assert_eq!(worker.asked(opened[0]), "");
    assert_eq!(worker.heard(writer), "+OK\r\n");
    assert_eq!(worker.heard(reader), "$1\r\nb\r\n");
    assert_eq!(worker.machine.counters().asked_again, 0);
}

#[test]
fn a_late_read_is_asked_again_once() {
    let mut worker = Worker::new();
    let (_, reader, _) = held_write(&mut worker);
    worker.pass(200);
    let mut ways = vec![worker.begun_one()];
    worker.welcome(ways[0]);
    worker.pass(100);
    for _ in 0..20 {
        worker.pass(100);
        for way in worker.begun() {
            worker.welcome(way);
            ways.push(way);
        }
    }
    let asked: String = ways.iter().map(|&way| worker.asked(way)).collect();
    assert_eq!(asked.matches("GET").count(), 1, "{asked}");
    assert_eq!(worker.heard(reader), "");
}

#[test]
fn a_reply_that_is_overdue_concerns_its_own_connection() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 2_000);
    let (writer, reader, held) = held_write(&mut worker);
    worker.pass(200);
    let other = worker.begun_one();
    worker.welcome(other);
    for _ in 0..100 {
        worker.pass(100);
        let asked = worker.asked(other);
        for _ in 0..asked.matches("GET").count() {
            worker.replies(other, "$1\r\nb\r\n");
        }
        for _ in 0..asked.matches("PING").count() {
            worker.replies(other, "+PONG\r\n");
        }
    }
    assert_eq!(worker.heard(reader), "$1\r\nb\r\n");
    assert_eq!(
        (worker.heard(writer), worker.state()),
        (String::new(), Health::Up)
    );
    assert!(!worker.closed(ConnKey::Link(held)));
    worker.replies(held, "+OK\r\n$1\r\nb\r\n");
    assert_eq!(worker.heard(writer), "+OK\r\n");
    worker.says(writer, "SET a 2");
    assert!(worker.asked(other).contains("SET"));
}

/// Nobody else asks for anything: the script of the only client runs.
#[test]
fn a_long_script_is_waited_for_while_the_server_says_busy() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 2_000);
    let (client, backend) = worker.user("ann");
    worker.says(client, "EVAL s 0");
    let mut others = Vec::new();
    for _ in 0..100 {
        worker.pass(100);
        for other in worker.begun() {
            worker.welcome(other);
            others.push(other);
        }
        for &other in &others {
            for _ in 0..worker.asked(other).matches("PING").count() {
                worker.replies(other, BUSY);
            }
        }
    }
    assert_eq!(others.len(), 1);
    assert_eq!(worker.heard(client), "");
    worker.replies(backend, "$4\r\ndone\r\n");
    assert_eq!(worker.heard(client), "$4\r\ndone\r\n");
    assert_eq!(worker.state(), Health::Up);
}

/// Where replies may take any time, else only the server's end would end it.
#[test]
fn a_handshake_without_an_answer_is_given_up_though_replies_may_take_any_time() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 0);
    let client = worker.client();
    worker.says(client, "AUTH bob pw");
    let verifier = worker.begun_one();
    worker.connect(verifier);
    worker.pass_in_silence(55_000);
    assert!(!worker.closed(ConnKey::Link(verifier)));
    worker.pass_in_silence(10_000);
    assert!(worker.closed(ConnKey::Link(verifier)));
}

#[test]
fn a_server_that_answers_nobody_is_given_up_after_the_time_for_a_reply() {
    for reply_ms in [2_000, NO_LIMIT] {
        let mut worker = Worker::with(|settings| settings.backend_reply_ms = reply_ms);
        let (writer, reader, backend) = worker.two();
        worker.says(writer, "SET a 1");
        worker.says(reader, "GET b");
        worker.pass_in_silence(1_900);
        assert!(!worker.closed(ConnKey::Link(backend)));
        worker.pass_in_silence(3_000);
        let late = "-ERR elika: backend did not answer in time, outcome unknown\r\n";
        let heard = if reply_ms == NO_LIMIT { "" } else { late };
        assert_eq!(
            (&*worker.heard(writer), &*worker.heard(reader)),
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
