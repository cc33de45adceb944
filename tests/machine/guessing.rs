//! Clients that guess at passwords, and those that come from the same address.

use std::net::{IpAddr, Ipv6Addr};

use elika::proxy::Failure;

use super::harness::Worker;
use super::logins::WRONGPASS;

impl Worker {
    /// Verifies what is asked on connections that were begun. Returns how many those are.
    fn verify(&mut self) -> usize {
        let begun = self.begun();
        for &on in &begun {
            let asked = self.connect(on);
            match asked.contains("bad") {
                true => drop(self.replies(on, WRONGPASS)),
                false => self.accept(on, asked),
            }
        }
        begun.len()
    }

    /// A user has logged in well and has left.
    fn has_been_here(&mut self, user: &str) {
        let (client, backend) = self.user(user);
        self.says(client, "QUIT");
        self.machine.client_closed(client);
        self.pass(100);
        self.fails(backend, &Failure::Removed);
    }

    /// A user logs in behind many guesses. Returns how many logins are verified until he is in.
    fn logs_in_behind(&mut self, user: &str) -> usize {
        let client = self.client();
        self.says(client, &format!("AUTH {user} pw"));
        let (mut begun, mut heard) = (0, String::new());
        while heard.is_empty() {
            begun += self.verify();
            heard = self.heard(client);
            self.pass(1);
        }
        assert_eq!(heard, "+OK\r\n");
        begun
    }
}

/// Hundreds of connections from one address guess at the very user.
#[test]
fn guessing_from_one_address_leaves_turns_to_the_same_user_from_others() {
    let mut worker = Worker::new();
    let here: [u8; 4] = [10, 0, 0, 7];
    let there = "2001:db8::7".parse::<IpAddr>().unwrap();
    for guess in 0..500 {
        // An IPv6 host has as many addresses as it likes.
        let guesser = match guess % 2 {
            0 => worker.client_from(here),
            _ => worker.client_from(Ipv6Addr::from(0x2001_0db8_0001_u128 << 80 | guess)),
        };
        worker.says(guesser, "AUTH bob bad");
    }
    let clients = [worker.client(), worker.client_from(there)];
    for client in clients {
        worker.says(client, "AUTH bob pw");
    }
    let mut begun = 0;
    for _ in 0..100 {
        begun += worker.verify();
        worker.pass(1);
    }
    for client in clients {
        assert_eq!(worker.heard(client), "+OK\r\n", "after {begun} guesses");
    }
    assert!(begun < 250, "{begun} of 500 guesses were verified before");
}

/// Behind a load balancer all clients have one address, and those that guess come anew each time.
#[test]
fn guessing_behind_a_load_balancer_delays_no_other_user() {
    for (names, before) in [("one", false), ("many", true)] {
        let mut worker = Worker::new();
        if before {
            worker.has_been_here("carl");
        }
        for guess in 0..500 {
            let guesser = worker.client();
            let user = if names == "many" { guess } else { 0 };
            worker.says(guesser, &format!("AUTH user{user} bad"));
        }
        let begun = worker.logs_in_behind("carl");
        // Those that had begun before go on.
        assert!(begun < 40, "{names}: {begun} guesses were verified before");
    }
}

/// Her logins come before those of users that are new, until somebody says a wrong password.
#[test]
fn guessing_at_a_user_who_has_been_here_delays_no_other_user() {
    let mut worker = Worker::new();
    worker.has_been_here("ann");
    for _ in 0..500 {
        let guesser = worker.client();
        worker.says(guesser, "AUTH ann bad");
    }
    let begun = worker.logs_in_behind("carl");
    assert!(begun < 40, "{begun} guesses were verified before");
}

/// They hear nothing of it, and a server would forget them at once.
#[test]
fn guesses_of_clients_that_have_left_come_last_and_most_are_forgotten() {
    let mut worker = Worker::new();
    let guessers: Vec<_> = (0..500).map(|_| worker.client()).collect();
    for (i, &guesser) in guessers.iter().enumerate() {
        worker.says(guesser, &format!("AUTH user{i} bad"));
        worker.machine.client_hung_up(guesser);
    }
    worker.pass(300);
    let begun = worker.logs_in_behind("carl");
    assert!(begun < 40, "{begun} guesses were verified before");
    // Some may still read the answer.
    assert!(worker.machine.clients() < 300);
}
