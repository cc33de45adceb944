//! Transactions, blocked clients and watches whose slot moves, or whose node fails.

use elika::proxy::{ClientKey, Failure, LinkKey};

use super::super::harness::{Worker, command};
use super::{connections, on_a_cluster};

const QUEUED: &str = "+QUEUED\r\n";

struct Moved {
    worker: Worker,
    client: ClientKey,
    /// The shared connections to both nodes.
    nodes: [LinkKey; 2],
    /// The client's dedicated connection to the first node.
    own: LinkKey,
    /// The words that were sent on it.
    sent: Vec<String>,
}

impl Moved {
    /// The client sends these lines, of which the last needs a dedicated connection.
    fn after(lines: &[&str]) -> Self {
        let mut worker = Worker::new();
        let (client, _) = on_a_cluster(&mut worker);
        let nodes = connections(&mut worker, client);
        worker.send_bytes(
            client,
            lines
                .iter()
                .flat_map(|line| command(line))
                .collect::<Vec<_>>(),
        );
        let own = worker.new_link();
        worker.establish(own);
        assert_eq!(worker.port(own), worker.port(nodes[0]));
        let sent = words(&worker.requests(own));
        Self {
            worker,
            client,
            nodes,
            own,
            sent,
        }
    }

    /// The error that sends a request about `bar` to the second node.
    fn error(&self, word: &str) -> String {
        let to = self.nodes[1];
        let (host, port) = (self.worker.host(to), self.worker.port(to));
        format!("-{word} 5061 127.0.0.{host}:{port}\r\n")
    }

    /// The words of the requests that the second node got.
    fn second(&mut self) -> Vec<String> {
        words(&self.worker.requests(self.nodes[1]))
    }
}

fn words(requests: &str) -> Vec<String> {
    let words = requests.split("\r\n");
    let words = words.filter(|word| !word.starts_with(['*', '$']) && !word.is_empty());
    words.map(str::to_owned).collect()
}

const TRANSACTION: [&str; 6] = ["MULTI", "SET", "bar", "1", "INCR", "bar"];

#[test]
fn transaction_whose_slot_moves_is_executed_by_the_other_node() {
    for redirected in [0, 1, 2] {
        let mut it = Moved::after(&["MULTI", "SET bar 1", "INCR bar", "EXEC"]);
        assert_eq!(it.sent.last().unwrap(), "EXEC");
        let moved = it.error("MOVED");
        let mut replies = [QUEUED, QUEUED, "-EXECABORT Transaction discarded\r\n"];
        replies[redirected] = &moved;
        it.worker
            .reply(it.own, format!("+OK\r\n{}", replies.concat()));
        assert_eq!(
            it.worker.received(it.client),
            format!("+OK\r\n{QUEUED}{QUEUED}")
        );
        let expected = [&TRANSACTION[..], &["EXEC"]].concat();
        assert_eq!(it.second(), expected);
        it.worker.send(it.client, "GET bar");
        assert_eq!(it.second(), [""; 0], "it comes behind the transaction");
        it.worker.reply(
            it.nodes[1],
            format!("+OK\r\n{QUEUED}{QUEUED}*2\r\n+OK\r\n:2\r\n"),
        );
        assert_eq!(it.worker.received(it.client), "*2\r\n+OK\r\n:2\r\n");
        assert_eq!(it.second(), ["GET", "bar"]);
    }
}

#[test]
fn transaction_waits_while_keys_of_its_slot_move() {
    let mut it = Moved::after(&["MULTI", "SET bar 1", "EXEC"]);
    let asked = it.error("ASK");
    it.worker.reply(it.own, format!("+OK\r\n{QUEUED}{asked}"));
    assert_eq!(it.second(), ["askinG", "MULTI", "SET", "bar", "1", "EXEC"]);
    let again = "-TRYAGAIN Multiple keys\r\n-EXECABORT Transaction discarded\r\n";
    it.worker
        .reply(it.nodes[1], format!("+OK\r\n+OK\r\n{again}"));
    it.worker.advance(50);
    let first = words(&it.worker.requests(it.nodes[0]));
    assert_eq!(first, ["MULTI", "SET", "bar", "1", "EXEC"]);
    it.worker
        .reply(it.nodes[0], format!("+OK\r\n{QUEUED}*1\r\n+OK\r\n"));
    assert_eq!(
        it.worker.received(it.client),
        format!("+OK\r\n{QUEUED}*1\r\n+OK\r\n")
    );
}

#[test]
fn refused_transaction_is_not_executed_elsewhere() {
    let mut it = Moved::after(&["MULTI", "SET bar", "INCR bar", "EXEC"]);
    let (error, moved) = ("-ERR wrong number of arguments\r\n", it.error("MOVED"));
    let aborted = "-EXECABORT Transaction discarded\r\n";
    it.worker
        .reply(it.own, format!("+OK\r\n{error}{moved}{aborted}"));
    let heard = it.worker.received(it.client);
    assert_eq!(heard, format!("+OK\r\n{error}{QUEUED}{aborted}"));
    assert_eq!(it.second(), [""; 0]);
}

/// The other node does not know what was watched.
#[test]
fn watched_transaction_whose_slot_moves_starts_again() {
    let mut it = Moved::after(&["WATCH bar"]);
    it.worker.deliver(it.own, it.client, "+OK\r\n");
    it.worker.send_bytes(
        it.client,
        ["MULTI", "SET bar 1", "EXEC"].map(command).concat(),
    );
    let moved = it.error("MOVED");
    it.worker.reply(
        it.own,
        format!("+OK\r\n{moved}-EXECABORT Transaction discarded\r\n"),
    );
    assert_eq!(
        it.worker.received(it.client),
        format!("+OK\r\n{QUEUED}*-1\r\n")
    );
    assert_eq!(it.second(), [""; 0]);
}

#[test]
fn blocked_client_follows_its_slot_for_the_time_that_is_left() {
    let mut it = Moved::after(&["BLPOP bar 5"]);
    it.worker.advance(1_500);
    let moved = it.error("MOVED");
    it.worker.reply(it.own, moved);
    let own = it.worker.new_link();
    it.worker.establish(own);
    it.worker.advance(30);
    assert_eq!(it.worker.port(own), it.worker.port(it.nodes[1]));
    assert_eq!(words(&it.worker.requests(own)), ["BLPOP", "bar", "3.500"]);
    it.worker
        .deliver(own, it.client, "*2\r\n$3\r\nbar\r\n$1\r\nx\r\n");
    it.worker.send(it.client, "GET bar");
    assert_eq!(it.second(), ["GET", "bar"]);
}

#[test]
fn transaction_that_was_not_executed_survives_its_node() {
    let mut it = Moved::after(&["MULTI", "SET bar 1"]);
    it.worker.reply(it.own, "+OK\r\n");
    it.worker.fail(it.own, &Failure::Lost);
    assert_eq!(it.worker.received(it.client), format!("+OK\r\n{QUEUED}"));
    it.worker.send(it.client, "INCR bar");
    it.worker.send(it.client, "SET foo 1");
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    assert_eq!(it.worker.received(it.client), format!("{QUEUED}{crossed}"));
    it.worker.send(it.client, "EXEC");
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(it.worker.received(it.client), aborted);

    let mut it = Moved::after(&["MULTI", "SET bar 1"]);
    it.worker.fail(it.own, &Failure::Lost);
    it.worker
        .send_bytes(it.client, ["INCR bar", "EXEC"].map(command).concat());
    it.worker.advance(50);
    let expected = [&TRANSACTION[..], &["EXEC"]].concat();
    assert_eq!(words(&it.worker.requests(it.nodes[0])), expected);
    it.worker.reply(
        it.nodes[0],
        format!("+OK\r\n{QUEUED}{QUEUED}*2\r\n+OK\r\n:2\r\n"),
    );
    let heard = it.worker.received(it.client);
    assert_eq!(heard, format!("+OK\r\n{QUEUED}{QUEUED}*2\r\n+OK\r\n:2\r\n"));
}

#[test]
fn what_may_have_been_executed_is_not_repeated() {
    let unknown = "-ERR elika: backend connection lost, outcome unknown\r\n";
    for (lines, before) in [
        (&["MULTI", "SET bar 1", "EXEC"][..], "+OK\r\n+QUEUED\r\n"),
        (&["BLPOP bar 0"], ""),
    ] {
        let mut it = Moved::after(lines);
        it.worker.fail(it.own, &Failure::Lost);
        assert_eq!(it.worker.received(it.client), format!("{before}{unknown}"));
        assert!(!it.worker.closed(it.client));
        assert_eq!(it.second(), [""; 0]);
    }
}

#[test]
fn watch_is_sent_to_the_node_that_has_the_slot() {
    let mut it = Moved::after(&["WATCH bar"]);
    let moved = it.error("MOVED");
    it.worker.reply(it.own, moved);
    let own = it.worker.new_link();
    it.worker.establish(own);
    it.worker.advance(30);
    assert_eq!(words(&it.worker.requests(own)), ["WATCH", "bar"]);
    it.worker.deliver(own, it.client, "+OK\r\n");
    it.worker.send(it.client, "MULTI");
    assert_eq!(words(&it.worker.requests(own)), ["MULTI"]);
}
