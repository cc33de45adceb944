//! A server that holds back writes and answers reads: where requests go meanwhile.

use elika::cluster::Health;
use elika::proxy::{ClientKey, LinkKey, Settings, Wanted};

use super::harness::{Worker, command};

/// A server that answers at once, but no write.
struct Server {
    worker: Worker,
    open: Vec<LinkKey>,
    /// Connections that have a write in front, and what else they were asked.
    held: Vec<(LinkKey, String)>,
}

impl Server {
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self {
            worker: Worker::with(change),
            open: Vec::new(),
            held: Vec::new(),
        }
    }

    fn clients(&mut self, n: usize) -> Vec<ClientKey> {
        let (first, backend) = self.worker.user("ann");
        self.worker.asked(backend);
        self.open.push(backend);
        let more = (1..n).map(|_| self.worker.logs_in("ann", "pw"));
        [first].into_iter().chain(more).collect()
    }

    /// Time passes, in which it does its work.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.worker.pass(10);
            self.serve();
        }
    }

    fn serve(&mut self) {
        for backend in self.worker.begun() {
            self.worker.welcome(backend);
            self.open.push(backend);
        }
        for &backend in &self.open {
            let asked = self.worker.asked(backend);
            let held = self.held.iter_mut().find(|(held, _)| *held == backend);
            if let Some((_, rest)) = held {
                rest.push_str(&asked);
                continue;
            }
            for (at, _) in asked.match_indices('*') {
                let reply = match asked[at..].split("\r\n").nth(2) {
                    Some("GET" | "JSON.GET") => "$1\r\nv\r\n",
                    Some("PING") => "+PONG\r\n",
                    _ => {
                        self.held.push((backend, asked[at..].to_owned()));
                        break;
                    }
                };
                self.worker.replies(backend, reply);
            }
        }
    }

    /// Asks for a value, and waits for it as long as a round and a new connection take.
    fn reads(&mut self, client: ClientKey) -> String {
        self.worker.says(client, "GET k");
        self.serve();
        let mut heard = self.worker.heard(client);
        for _ in 0..30 {
            if heard.is_empty() {
                self.pass(10);
                heard = self.worker.heard(client);
            }
        }
        heard
    }

    /// It takes writes again.
    fn release(&mut self) {
        for (backend, asked) in std::mem::take(&mut self.held) {
            let replies = asked.matches("GET").count() + asked.matches("SET").count();
            for _ in 0..replies {
                self.worker.replies(backend, "+OK\r\n");
            }
        }
        self.serve();
    }

    fn state(&self) -> Health {
        self.worker.machine.survey(&Wanted::Numbers).instances[0].health
    }
}

#[test]
fn reads_are_answered_however_many_writes_are_held_back() {
    for max in [1, 2, 30] {
        let mut server = Server::with(|settings| settings.pool_connections_max = max);
        let mut clients = server.clients(53);
        let writers = clients.split_off(13);
        for (i, &writer) in writers.iter().enumerate() {
            server.worker.says(writer, &format!("SET k {i}"));
            server.pass(200);
            for &reader in &clients {
                let heard = server.reads(reader);
                assert_eq!(heard, "$1\r\nv\r\n", "of {max}, after {} writes", i + 1);
            }
        }
        // One that serves, and one behind which writes wait.
        assert_eq!((server.open.len(), server.held.len()), (2, 1), "of {max}");
        server.release();
        for writer in writers {
            assert_eq!(server.worker.heard(writer), "+OK\r\n");
        }
    }
}

/// Its connections are few, and on all of them it owes the reply to a write.
#[test]
fn a_server_that_holds_back_writes_is_not_called_down() {
    for (max, writers) in [(1, 1), (1, 3), (2, 8)] {
        let mut server = Server::with(|settings| {
            settings.pool_connections_max = max;
            settings.backend_reply_ms = 600;
        });
        let clients = server.clients(writers);
        for &client in &clients {
            server.worker.says(client, "SET k w");
        }
        server.pass(5_000);
        assert_eq!(server.state(), Health::Up);
        server.release();
        for client in clients {
            assert_eq!(server.worker.heard(client), "+OK\r\n");
        }
    }
}

/// The requests of one client keep their order: what it reads first is answered first.
#[test]
fn a_pipeline_that_reads_and_writes_stops_no_other_connection() {
    let mut server = Server::with(|_| {});
    let clients = server.clients(4);
    let [writer, reader, mixed, other] = clients[..] else {
        panic!("{clients:?}")
    };
    server.worker.says(writer, "SET k w");
    assert_eq!(server.reads(reader), "$1\r\nv\r\n");
    let line = ["GET a", "SET b 1", "GET c"].map(command).concat();
    server.worker.sends(mixed, &line);
    server.serve();
    server.worker.settle();
    server.serve();
    assert_eq!(server.worker.heard(mixed), "$1\r\nv\r\n");
    assert_eq!(server.held.len(), 1, "{:?}", server.held);
    assert!(server.held[0].1.ends_with("\r\n$1\r\nb\r\n$1\r\n1\r\n"));
    // Nobody here knows whether this writes.
    server.worker.says(other, "JSON.GET k");
    server.serve();
    assert_eq!(server.worker.heard(other), "$1\r\nv\r\n");
    server.release();
    server.worker.settle();
    server.serve();
    assert_eq!(server.worker.heard(mixed), "+OK\r\n$1\r\nv\r\n");
}

/// A handshake that took long says that the server was busy, not how far away it is.
#[test]
fn a_connection_opened_while_the_server_was_busy_finds_late_replies() {
    let mut server = Server::with(|_| {});
    let clients = server.clients(3);
    let (writer, reader) = (clients[0], clients[1]);
    // A script keeps the first connection, and the server does nothing.
    server.worker.says(clients[2], "EVAL s 0");
    server.worker.says(writer, "GET k");
    let second = server.worker.begun_one();
    let flight = server.worker.connect(second);
    server.worker.pass(9_000);
    server.worker.accept(second, flight);
    server.open.push(second);
    server.serve();
    server.worker.heard(writer);
    server.held.clear();
    let first = server.open[0];
    server.worker.replies(first, "+OK\r\n");
    server.worker.says(writer, "SET k w");
    server.worker.says(reader, "GET k");
    server.pass(300);
    assert_eq!(server.worker.heard(reader), "$1\r\nv\r\n");
}
