//! How many connections a tenant may have, and what happens when it has them.

use elika::proxy::{ConnKey, Settings, Wanted};

use super::harness::Worker;

const TOO_MANY: &str = "-ERR elika: too many backend connections\r\n";

fn with(change: impl FnOnce(&mut Settings)) -> Worker {
    Worker::with(change)
}

/// As many clients block as would do so directly, and requests of others go on.
#[test]
fn blocked_clients_do_not_use_up_shared_connections() {
    let mut worker = with(|settings| settings.pool_connections_max = 1);
    let (ann, shared) = worker.user("ann");
    for _ in 0..80 {
        let blocked = worker.logs_in("ann", "pw");
        worker.says(blocked, "BLPOP l 0");
        let own = worker.begun_one();
        worker.welcome(own);
        assert!(worker.asked(own).contains("BLPOP"));
    }
    worker.says(ann, "GET x");
    assert!(worker.asked(shared).contains("GET"));
}

#[test]
fn tenant_has_so_many_connections_of_clients_own() {
    let mut worker = with(|settings| {
        settings.dedicated_max = 2;
        settings.pool_wait_ms = 1_000;
    });
    let (ann, _) = worker.user("ann");
    let own = worker.own(ann, "WATCH k", "+OK\r\n");
    let [second, third] = [(); 2].map(|()| worker.logs_in("ann", "pw"));
    worker.own(second, "WATCH k", "+OK\r\n");
    worker.says(third, "WATCH k");
    assert_eq!(worker.begun(), []);
    worker.says(ann, "UNWATCH");
    worker.replies(own, "+OK\r\n");
    worker.settle();
    assert!(worker.asked(own).contains("WATCH"), "its turn has come");
    worker.replies(own, "+OK\r\n");
    assert_eq!(worker.heard(third), "+OK\r\n");
    worker.heard(ann);
    worker.says(ann, "WATCH k");
    worker.pass(1_500);
    let text = "-ERR elika: no dedicated backend connection available\r\n";
    assert_eq!(worker.heard(ann), text);
    let [notice] = &worker.notices()[..] else {
        panic!("one line is written")
    };
    assert_eq!(notice.bound.name(), "backend-pool.dedicated-max");
    let user = notice.who.as_ref().map(|who| &*who.user);
    assert_eq!((notice.value, user), (2, Some("ann")));
}

#[test]
fn connection_that_nobody_uses_makes_room_for_one_that_is_needed() {
    let mut worker = with(|settings| settings.instance_connections_max = 2);
    let (ann, shared) = worker.user("ann");
    let idle = worker.own(ann, "BLPOP l 1", "*-1\r\n");
    worker.says(ann, "SELECT 5");
    let five = worker.begun_one();
    assert!(worker.closed(ConnKey::Link(idle)));
    worker.welcome(five);
    assert_eq!(worker.heard(ann).lines().last(), Some("+OK"));
    // The other has no client any more.
    worker.says(ann, "SELECT 6");
    let six = worker.begun_one();
    assert!(worker.closed(ConnKey::Link(shared)));
    worker.welcome(six);
}

#[test]
fn tenant_at_its_limit_shares_what_it_has() {
    let mut worker = with(|settings| {
        settings.instance_connections_max = 1;
        settings.pool_wait_ms = 1_000;
    });
    let (ann, shared) = worker.user("ann");
    let other = worker.logs_in("ann", "pw");
    worker.says(ann, "GET x");
    worker.says(other, "GET y");
    assert_eq!(worker.asked(shared).matches("GET").count(), 2);
    worker.replies(shared, "$-1\r\n$-1\r\n");
    worker.heard(ann);
    worker.heard(other);
    worker.says(ann, "SELECT 5");
    assert_eq!(worker.heard(ann), TOO_MANY);
    worker.says(other, "BLPOP l 0");
    worker.pass(1_500);
    assert!(worker.heard(other).starts_with("-ERR elika: no dedicated"));
    worker.says(ann, "GET x");
    assert!(worker.asked(shared).contains("GET"));
    assert!(worker.machine.counters().connections_refused > 0);
}

/// What one that ends makes room for is not opened twice.
#[test]
fn tenant_never_has_more_connections_than_it_may() {
    let mut worker = with(|settings| settings.instance_connections_max = 8);
    let clients: Vec<_> = (0..8).map(|_| worker.client()).collect();
    let mut shared = Vec::new();
    for &client in &clients {
        worker.says(client, "AUTH ann pw");
        for on in worker.begun() {
            let flight = worker.connect(on);
            worker.accept(on, flight);
        }
        worker.says(client, "EVAL s 0");
        for on in worker.begun() {
            worker.welcome(on);
            shared.push(on);
        }
    }
    let blocked: Vec<_> = (0..8).map(|_| worker.client()).collect();
    for &client in &blocked {
        worker.says(client, "AUTH ann pw");
        for on in worker.begun() {
            worker.opens(on);
        }
        let on = worker.verifier();
        worker.replies(on, "+OK\r\n");
        worker.says(client, "BLPOP l 0");
    }
    for &on in &shared {
        worker.replies(on, "+done\r\n");
    }
    worker.pass(300);
    let survey = worker.machine.survey(&Wanted::Numbers);
    let its = &survey.instances[0];
    assert!(
        its.shared + its.own + its.idle + its.opening <= 8,
        "{its:?}"
    );
}

/// What is pushed while a connection is opened for a client that blocks is missed by it.
#[test]
fn one_idle_connection_stays_for_the_next_client_that_blocks() {
    let mut worker = Worker::new();
    let (ann, _) = worker.user("ann");
    let own = worker.own(ann, "BLPOP l 1", "*-1\r\n");
    worker.pass(100_000);
    worker.says(ann, "BLPOP l 1");
    assert_eq!(worker.begun(), []);
    assert!(worker.asked(own).contains("BLPOP"));
}
