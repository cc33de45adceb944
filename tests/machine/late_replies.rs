//! When the replies of a distant server are late.

use elika::proxy::{ClientKey, LinkKey};

use super::harness::Worker;

const ROUND_TRIP_MS: u64 = 150;

impl Worker {
    fn distant_user(&mut self, name: &str) -> (ClientKey, LinkKey) {
        let client = self.client_sends(&format!("AUTH {name} pw"));
        let backend = self.new_link();
        self.open(backend);
        self.advance(ROUND_TRIP_MS);
        let flight = self.requests(backend);
        assert!(flight.contains("AUTH"), "{flight}");
        self.reply(backend, "+OK\r\n");
        self.advance(ROUND_TRIP_MS);
        let flight = self.requests(backend);
        self.accept_handshake(backend, flight);
        assert_eq!(self.received(client), "+OK\r\n");
        (client, backend)
    }
}

/// Two clients share a connection, and the server answers other connections meanwhile.
#[test]
fn reply_of_a_distant_server_is_not_late() {
    let mut worker = Worker::new();
    let (ann, backend) = worker.distant_user("ann");
    let (bob, of_bob) = worker.distant_user("bob");
    let other = worker.log_in("ann", "pw");
    for _ in 0..10 {
        worker.send(bob, "GET x");
        worker.advance(70);
        worker.send(ann, "GET a");
        worker.advance(70);
        worker.send(other, "GET b");
        worker.advance(10);
        worker.reply(of_bob, "$1\r\nx\r\n");
        worker.advance(70);
        assert_eq!(worker.new_links(), []);
        worker.reply(backend, "$1\r\na\r\n");
        worker.advance(70);
        worker.deliver(backend, other, "$1\r\nb\r\n");
    }
    assert_eq!(worker.machine.counters().asked_again, 0);
    assert!(!worker.closed(backend));
}
