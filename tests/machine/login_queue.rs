//! The order of waiting logins: guessed passwords must not delay the logins of others.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use elika::cluster::{ClusterInstance, ClusterKey, ClusterName, Endpoint, Snapshot};
use elika::proxy::Failure;

use super::harness::{WRONGPASS, Worker};

impl Worker {
    /// Verifies the logins on all new connections. Returns the number of these connections.
    fn verify(&mut self) -> usize {
        let begun = self.new_links();
        for &on in &begun {
            let asked = self.open_handshake(on);
            match asked.contains("bad") {
                true => drop(self.reply(on, WRONGPASS)),
                false => drop(self.accept_handshake(on, asked)),
            }
        }
        begun.len()
    }

    /// A user logs in successfully and disconnects.
    fn logged_in_before(&mut self, user: &str) {
        let (client, backend) = self.user(user);
        self.send(client, "QUIT");
        self.machine.client_closed(client);
        self.advance(100);
        self.fail(backend, &Failure::Removed);
    }

    /// A user logs in behind many guesses. Returns the number of logins that are verified before
    /// its own.
    fn verified_until_login(&mut self, user: &str) -> usize {
        let client = self.client_sends(&format!("AUTH {user} pw"));
        let (mut begun, mut heard) = (0, String::new());
        while heard.is_empty() {
            begun += self.verify();
            heard = self.received(client);
            self.advance(1);
        }
        assert_eq!(heard, "+OK\r\n");
        begun
    }
}

fn two_tenants() -> (Worker, [String; 2]) {
    let mut keys = Vec::new();
    let mut all = Vec::new();
    for (port, name) in [(1, "a"), (2, "b")] {
        let key = ClusterKey {
            name: ClusterName {
                name: name.to_owned(),
                ..ClusterKey::local().name
            },
            ..ClusterKey::local()
        };
        let endpoint = Endpoint::new("127.0.0.1", port);
        keys.push(key.tenant().to_string());
        let instance = ClusterInstance::new(key, name, endpoint);
        all.push((instance, vec![SocketAddr::from(([127, 0, 0, 1], port))]));
    }
    let snapshot = Arc::new(Snapshot::new(1, None, all));
    let worker = Worker::with_snapshot(snapshot, |it| it.logins_per_second = 10);
    let [a, b] = [keys.remove(0), keys.remove(0)];
    (worker, [a, b])
}

#[test]
fn guessing_at_one_tenant_does_not_delay_logins_of_another() {
    let (mut worker, [a, b]) = two_tenants();
    let guessers: Vec<_> = (0..50).map(|_| worker.client()).collect();
    for (i, &guesser) in guessers.iter().enumerate() {
        worker.send(guesser, &format!("AUTH {a}.ann guess{i}"));
    }
    assert_eq!(worker.new_links().len(), 10, "as many as there are tokens");
    let client = worker.client_sends(&format!("AUTH {b}.ann pw"));
    // At most one turn of the other tenant comes first.
    worker.advance(200);
    let begun = worker.new_links();
    let on = begun.iter().find(|&&key| worker.port(key) == 2);
    let on = *on.expect("no connection is opened for the login");
    worker.establish(on);
    assert_eq!(worker.received(client), "+OK\r\n");
}

/// Without turns, each guess would take a token as soon as there is one.
#[test]
fn steady_guessing_at_one_tenant_leaves_turns_to_another() {
    let (mut worker, [a, b]) = two_tenants();
    let client = worker.client();
    for ms in 0..1_000 {
        let _guesser = worker.client_sends(&format!("AUTH {a}.ann guess{ms}"));
        if ms == 500 {
            worker.send(client, &format!("AUTH {b}.ann pw"));
        }
        for on in worker.new_links() {
            let flight = worker.open_handshake(on);
            match worker.port(on) {
                2 => drop(worker.accept_handshake(on, flight)),
                _ => drop(worker.reply(on, WRONGPASS)),
            }
        }
        worker.advance(1);
        let due = ms >= 500 + 300;
        assert!(
            !due || worker.received(client) == "+OK\r\n",
            "it waits for ever"
        );
        if due {
            return;
        }
    }
}

#[test]
fn guessing_at_a_user_does_not_delay_logins_with_its_password() {
    let (mut worker, [a, _]) = two_tenants();
    let _first = worker.client_sends(&format!("AUTH {a}.ann pw"));
    let _anns = worker.established();
    for i in 0..50 {
        let _guesser = worker.client_sends(&format!("AUTH {a}.ann guess{i}"));
    }
    let begun = worker.new_links();
    let client = worker.client_sends(&format!("AUTH {a}.ann pw"));
    worker.open(begun[0]);
    assert_eq!(worker.verifier(), begun[0]);
    worker.reply(begun[0], "+OK\r\n");
    assert_eq!(worker.received(client), "+OK\r\n");
}

#[test]
fn client_with_a_refused_login_waits_behind_others() {
    let (mut worker, [a, _]) = two_tenants();
    let guesser = worker.client_sends(&format!("AUTH {a}.ann guess"));
    let on = worker.new_link();
    worker.open(on);
    assert_eq!(worker.verifier(), on);
    worker.reply(on, WRONGPASS);
    worker.send(guesser, &format!("AUTH {a}.ann guess"));
    let on = worker.new_link();
    let client = worker.client_sends(&format!("AUTH {a}.ann pw"));
    worker.open(on);
    let flight = worker.requests(on);
    assert!(flight.contains("pw"), "{flight}");
    worker.accept_handshake(on, flight);
    assert_eq!(worker.received(client), "+OK\r\n");
}

#[test]
fn login_rate_of_zero_still_allows_logins() {
    let mut worker = Worker::with(|settings| settings.logins_per_second = 0);
    let client = worker.client_sends("UNWATCH");
    worker.advance(2_000);
    let _backend = worker.established();
    assert_eq!(worker.received(client), "+OK\r\n");
}

/// Hundreds of connections from one address guess the password of this user.
#[test]
fn guessing_from_one_address_leaves_turns_to_other_addresses() {
    let mut worker = Worker::new();
    let here: [u8; 4] = [10, 0, 0, 7];
    let there = "2001:db8::7".parse::<IpAddr>().unwrap();
    for guess in 0..500 {
        // An IPv6 host has as many addresses as it likes.
        let guesser = match guess % 2 {
            0 => worker.client_from(here),
            _ => worker.client_from(Ipv6Addr::from(0x2001_0db8_0001_u128 << 80 | guess)),
        };
        worker.send(guesser, "AUTH bob bad");
    }
    let clients = [worker.client(), worker.client_from(there)];
    for client in clients {
        worker.send(client, "AUTH bob pw");
    }
    let mut begun = 0;
    for _ in 0..100 {
        begun += worker.verify();
        worker.advance(1);
    }
    for client in clients {
        assert_eq!(worker.received(client), "+OK\r\n", "after {begun} guesses");
    }
    assert!(begun < 250, "{begun} of 500 guesses were verified before");
}

/// Behind a load balancer all clients have the same address, and each guess comes from a new
/// client.
#[test]
fn guessing_behind_a_load_balancer_delays_no_other_user() {
    for (names, before) in [("one", false), ("many", true)] {
        let mut worker = Worker::new();
        if before {
            worker.logged_in_before("carl");
        }
        for guess in 0..500 {
            let guesser = worker.client();
            let user = if names == "many" { guess } else { 0 };
            worker.send(guesser, &format!("AUTH user{user} bad"));
        }
        let begun = worker.verified_until_login("carl");
        // Verifications that have begun are finished.
        assert!(begun < 40, "{names}: {begun} guesses were verified before");
    }
}

/// The logins of a known user come before those of new users, until one of them has a wrong
/// password.
#[test]
fn guessing_at_a_known_user_delays_no_other_user() {
    let mut worker = Worker::new();
    worker.logged_in_before("ann");
    for _ in 0..500 {
        let _guesser = worker.client_sends("AUTH ann bad");
    }
    let begun = worker.verified_until_login("carl");
    assert!(begun < 40, "{begun} guesses were verified before");
}

/// Disconnected clients get no reply, and a server would drop their logins at once.
#[test]
fn logins_of_disconnected_clients_come_last_and_most_are_dropped() {
    let mut worker = Worker::new();
    let guessers: Vec<_> = (0..500).map(|_| worker.client()).collect();
    for (i, &guesser) in guessers.iter().enumerate() {
        worker.send(guesser, &format!("AUTH user{i} bad"));
        worker.machine.client_hung_up(guesser);
    }
    worker.advance(300);
    let begun = worker.verified_until_login("carl");
    assert!(begun < 40, "{begun} guesses were verified before");
    // Some of the clients may still read the reply.
    assert!(worker.machine.clients() < 300);
}

/// A session change that an instance without room refuses delays no login.
#[test]
fn refused_session_change_takes_no_token() {
    let mut worker = Worker::with(|settings| {
        settings.logins_per_second = 3;
        settings.instance_connections_max = 1;
    });
    worker.user("ann");
    let clients: Vec<_> = (0..9).map(|_| worker.log_in("ann", "pw")).collect();
    worker.advance(1_000);
    for client in clients {
        worker.send(client, "SELECT 1");
        let full = "-ERR elika: too many backend connections\r\n";
        assert_eq!(worker.received(client), full);
    }
    worker.log_in("ann", "pw");
}
