//! A server that is far away: when its replies are late.

use elika::proxy::{ClientKey, ConnKey, LinkKey};

use super::harness::Worker;

const ROUND_TRIP_MS: u64 = 150;

impl Worker {
    fn distant_user(&mut self, name: &str) -> (ClientKey, LinkKey) {
        let client = self.client();
        self.says(client, &format!("AUTH {name} pw"));
        let backend = self.begun_one();
        self.opens(backend);
        self.pass(ROUND_TRIP_MS);
        let flight = self.asked(backend);
        assert!(flight.contains("AUTH"), "{flight}");
        self.replies(backend, "+OK\r\n");
        self.pass(ROUND_TRIP_MS);
        let flight = self.asked(backend);
        self.accept(backend, flight);
        assert_eq!(self.heard(client), "+OK\r\n");
        (client, backend)
    }
}

/// Both ask on one connection, and meanwhile the server answers others.
#[test]
fn a_reply_from_afar_is_not_late() {
    let mut worker = Worker::new();
    let (ann, backend) = worker.distant_user("ann");
    let (bob, of_bob) = worker.distant_user("bob");
    let other = worker.logs_in("ann", "pw");
    for _ in 0..10 {
        worker.says(bob, "GET x");
        worker.pass(70);
        worker.says(ann, "GET a");
        worker.pass(70);
        worker.says(other, "GET b");
        worker.pass(10);
        worker.replies(of_bob, "$1\r\nx\r\n");
        worker.pass(70);
        assert_eq!(worker.begun(), []);
        worker.replies(backend, "$1\r\na\r\n");
        worker.pass(70);
        worker.replies(backend, "$1\r\nb\r\n");
        assert_eq!(worker.heard(other), "$1\r\nb\r\n");
    }
    assert_eq!(worker.machine.counters().asked_again, 0);
    assert!(!worker.closed(ConnKey::Link(backend)));
}
