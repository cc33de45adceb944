//! A server that pauses writes and answers reads: which connections requests use meanwhile.

use elika::cluster::Health;
use elika::proxy::{ClientKey, LinkKey, Settings, StatsRequest};

use super::harness::{Worker, command};

/// A server that answers at once, except for writes.
struct Server {
    worker: Worker,
    open: Vec<LinkKey>,
    /// Connections with a paused write, and the requests behind it.
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
        self.worker.requests(backend);
        self.open.push(backend);
        let more = (1..n).map(|_| self.worker.log_in("ann", "pw"));
        [first].into_iter().chain(more).collect()
    }

    /// Advances time while the server answers.
    fn advance(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.worker.advance(10);
            self.serve();
        }
    }

    fn serve(&mut self) {
        for backend in self.worker.new_links() {
            self.worker.establish(backend);
            self.open.push(backend);
        }
        for &backend in &self.open {
            let asked = self.worker.requests(backend);
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
                self.worker.reply(backend, reply);
            }
        }
    }

    /// Sends a GET, and waits for the reply as long as a round trip and a new connection take.
    fn reads(&mut self, client: ClientKey) -> String {
        self.worker.send(client, "GET k");
        self.serve();
        let mut heard = self.worker.received(client);
        for _ in 0..30 {
            if heard.is_empty() {
                self.advance(10);
                heard = self.worker.received(client);
            }
        }
        heard
    }

    /// The server executes the paused writes.
    fn release(&mut self) {
        for (backend, asked) in std::mem::take(&mut self.held) {
            let replies = asked.matches("GET").count() + asked.matches("SET").count();
            for _ in 0..replies {
                self.worker.reply(backend, "+OK\r\n");
            }
        }
        self.serve();
    }

    fn state(&self) -> Health {
        self.worker
            .machine
            .collect_stats(&StatsRequest::Metrics)
            .instances[0]
            .health
    }
}

#[test]
fn reads_are_answered_while_many_writes_are_paused() {
    for max in [1, 2, 30] {
        let mut server = Server::with(|settings| settings.pool_connections_max = max);
        let mut clients = server.clients(53);
        let writers = clients.split_off(13);
        for (i, &writer) in writers.iter().enumerate() {
            server.worker.send(writer, &format!("SET k {i}"));
            server.advance(200);
            for &reader in &clients {
                let heard = server.reads(reader);
                assert_eq!(heard, "$1\r\nv\r\n", "of {max}, after {} writes", i + 1);
            }
        }
        // One connection serves reads, and writes wait on the other.
        assert_eq!((server.open.len(), server.held.len()), (2, 1), "of {max}");
        server.release();
        for writer in writers {
            assert_eq!(server.worker.received(writer), "+OK\r\n");
        }
    }
}

/// All connections of the pool have an outstanding write.
#[test]
fn server_that_pauses_writes_is_not_down() {
    for (max, writers) in [(1, 1), (1, 3), (2, 8)] {
        let mut server = Server::with(|settings| {
            settings.pool_connections_max = max;
            settings.backend_reply_ms = 600;
        });
        let clients = server.clients(writers);
        for &client in &clients {
            server.worker.send(client, "SET k w");
        }
        server.advance(5_000);
        assert_eq!(server.state(), Health::Up);
        server.release();
        for client in clients {
            assert_eq!(server.worker.received(client), "+OK\r\n");
        }
    }
}

/// The requests of a client keep their order, so an earlier read is answered first.
#[test]
fn mixed_pipeline_blocks_no_other_connection() {
    let mut server = Server::with(|_| {});
    let clients = server.clients(4);
    let [writer, reader, mixed, other] = clients[..] else {
        panic!("{clients:?}")
    };
    server.worker.send(writer, "SET k w");
    assert_eq!(server.reads(reader), "$1\r\nv\r\n");
    let line = ["GET a", "SET b 1", "GET c"].map(command).concat();
    server.worker.send_bytes(mixed, &line);
    server.serve();
    server.worker.settle();
    server.serve();
    assert_eq!(server.worker.received(mixed), "$1\r\nv\r\n");
    assert_eq!(server.held.len(), 1, "{:?}", server.held);
    assert!(server.held[0].1.ends_with("\r\n$1\r\nb\r\n$1\r\n1\r\n"));
    // The proxy does not know whether this command writes.
    server.worker.send(other, "JSON.GET k");
    server.serve();
    assert_eq!(server.worker.received(other), "$1\r\nv\r\n");
    server.release();
    server.worker.settle();
    server.serve();
    assert_eq!(server.worker.received(mixed), "+OK\r\n$1\r\nv\r\n");
}

/// A long handshake shows that the server was busy, not that it is distant.
#[test]
fn late_replies_are_detected_on_connections_opened_while_busy() {
    let mut server = Server::with(|_| {});
    let clients = server.clients(3);
    let (writer, reader) = (clients[0], clients[1]);
    // A script blocks the first connection and the server.
    server.worker.send(clients[2], "EVAL s 0");
    server.worker.send(writer, "GET k");
    let second = server.worker.new_link();
    let flight = server.worker.open_handshake(second);
    server.worker.advance(9_000);
    server.worker.accept_handshake(second, flight);
    server.open.push(second);
    server.serve();
    server.worker.received(writer);
    server.held.clear();
    let first = server.open[0];
    server.worker.reply(first, "+OK\r\n");
    server.worker.send(writer, "SET k w");
    server.worker.send(reader, "GET k");
    server.advance(300);
    assert_eq!(server.worker.received(reader), "$1\r\nv\r\n");
}
