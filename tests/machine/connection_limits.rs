//! Limits of the connections of a tenant.

use elika::proxy::{Action, Failure, Settings, StatsRequest};

use super::harness::{WRONGPASS, Worker};

const TOO_MANY: &str = "-ERR elika: too many backend connections\r\n";

fn with(change: impl FnOnce(&mut Settings)) -> Worker {
    Worker::with(change)
}

/// Blocking clients block as with a direct connection, and requests of others continue.
#[test]
fn blocked_clients_do_not_use_up_shared_connections() {
    let mut worker = with(|settings| settings.pool_connections_max = 1);
    let (ann, shared) = worker.user("ann");
    for _ in 0..80 {
        let blocked = worker.log_in("ann", "pw");
        worker.send(blocked, "BLPOP l 0");
        let dedicated = worker.established();
        assert!(worker.requests(dedicated).contains("BLPOP"));
    }
    worker.send(ann, "GET x");
    assert!(worker.requests(shared).contains("GET"));
}

#[test]
fn dedicated_connections_of_a_tenant_are_limited() {
    let mut worker = with(|settings| {
        settings.dedicated_max = 2;
        settings.pool_wait_ms = 1_000;
    });
    let (ann, _) = worker.user("ann");
    let dedicated = worker.dedicated(ann, "WATCH k", "+OK\r\n");
    let [second, third] = [(); 2].map(|()| worker.log_in("ann", "pw"));
    worker.dedicated(second, "WATCH k", "+OK\r\n");
    worker.send(third, "WATCH k");
    assert_eq!(worker.new_links(), []);
    worker.send(ann, "UNWATCH");
    worker.reply(dedicated, "+OK\r\n");
    worker.settle();
    assert!(
        worker.requests(dedicated).contains("WATCH"),
        "its turn has come"
    );
    worker.deliver(dedicated, third, "+OK\r\n");
    worker.received(ann);
    worker.send(ann, "WATCH k");
    worker.advance(1_500);
    let text = "-ERR elika: no dedicated backend connection available\r\n";
    assert_eq!(worker.received(ann), text);
    let [notice] = &worker.notices()[..] else {
        panic!("one line is written")
    };
    assert_eq!(notice.kind.name(), "backend-pool.dedicated-max");
    let user = notice.client.as_ref().map(|client| &*client.user);
    assert_eq!((notice.value, user), (2, Some("ann")));
}

#[test]
fn unused_connection_is_closed_for_one_that_is_needed() {
    let mut worker = with(|settings| settings.instance_connections_max = 2);
    let (ann, shared) = worker.user("ann");
    let idle = worker.dedicated(ann, "BLPOP l 1", "*-1\r\n");
    worker.send(ann, "SELECT 5");
    let five = worker.new_link();
    assert!(worker.closed(idle));
    worker.establish(five);
    assert_eq!(worker.received(ann).lines().last(), Some("+OK"));
    // The other pool has no client.
    worker.send(ann, "SELECT 6");
    let six = worker.new_link();
    assert!(worker.closed(shared));
    worker.establish(six);
}

#[test]
fn tenant_at_its_limit_shares_its_connections() {
    let mut worker = with(|settings| {
        settings.instance_connections_max = 1;
        settings.pool_wait_ms = 1_000;
    });
    let (ann, shared) = worker.user("ann");
    let other = worker.log_in("ann", "pw");
    worker.send(ann, "GET x");
    worker.send(other, "GET y");
    assert_eq!(worker.requests(shared).matches("GET").count(), 2);
    worker.reply(shared, "$-1\r\n$-1\r\n");
    worker.received(ann);
    worker.received(other);
    let third = worker.log_in("ann", "pw");
    worker.send(third, "SELECT 5");
    assert_eq!(worker.received(third), TOO_MANY);
    worker.send(other, "BLPOP l 0");
    worker.advance(1_500);
    assert!(
        worker
            .received(other)
            .starts_with("-ERR elika: no dedicated")
    );
    worker.send(ann, "GET x");
    assert!(worker.requests(shared).contains("GET"));
    assert!(worker.machine.counters().connections_refused > 0);
}

/// When a connection ends, the connection in its place is opened once.
#[test]
fn tenant_never_exceeds_its_connections() {
    let mut worker = with(|settings| settings.instance_connections_max = 8);
    let clients: Vec<_> = (0..8).map(|_| worker.client()).collect();
    let mut shared = Vec::new();
    for &client in &clients {
        worker.send(client, "AUTH ann pw");
        for on in worker.new_links() {
            let flight = worker.open_handshake(on);
            worker.accept_handshake(on, flight);
        }
        worker.send(client, "EVAL s 0");
        for on in worker.new_links() {
            worker.establish(on);
            shared.push(on);
        }
    }
    let blocked: Vec<_> = (0..8).map(|_| worker.client()).collect();
    for &client in &blocked {
        worker.send(client, "AUTH ann pw");
        for on in worker.new_links() {
            worker.open(on);
        }
        let on = worker.verifier();
        worker.reply(on, "+OK\r\n");
        worker.send(client, "BLPOP l 0");
    }
    for &on in &shared {
        worker.reply(on, "+done\r\n");
    }
    worker.advance(300);
    let stats = worker.machine.collect_stats(&StatsRequest::Metrics);
    let its = &stats.instances[0];
    assert!(
        its.shared + its.dedicated + its.idle + its.opening <= 8,
        "{its:?}"
    );
}

/// A client that blocks would miss an element that is pushed while its connection is opened.
#[test]
fn one_idle_connection_stays_for_the_next_client_that_blocks() {
    let (mut worker, ann, _) = Worker::with_user("ann");
    let dedicated = worker.dedicated(ann, "BLPOP l 1", "*-1\r\n");
    worker.advance(100_000);
    worker.send(ann, "BLPOP l 1");
    assert_eq!(worker.new_links(), []);
    assert!(worker.requests(dedicated).contains("BLPOP"));
}

/// A client whose new connection fails waits again, in front of clients that came later.
#[test]
fn client_that_waits_again_keeps_its_place() {
    let mut worker = with(|settings| settings.dedicated_max = 1);
    let (holder, _) = worker.user("ann");
    let held = worker.dedicated(holder, "WATCH k", "+OK\r\n");
    for name in ["one", "two", "three"] {
        let client = worker.log_in("ann", "pw");
        worker.advance_clock(10);
        worker.send(client, &format!("WATCH {name}"));
    }
    // Its command is not decoded yet when the connection fails.
    worker.machine.link_failed(held, &Failure::Removed);
    let Some(Action::Connect(of_one, _)) = worker.machine.next_action() else {
        panic!("none is opened for it")
    };
    worker.machine.link_failed(of_one, &Failure::Removed);
    worker.settle();
    for name in ["two", "one", "three"] {
        let next = worker.established();
        let sent = worker.requests(next);
        assert!(sent.contains(name), "it is not the turn of {sent:?}");
        worker.fail(next, &Failure::Removed);
        worker.settle();
    }
}

/// The error for a full instance is counted for a client, and not for each time that its place in
/// the wait queue is looked at.
#[test]
fn waiting_for_a_full_instance_is_counted_once() {
    let mut worker = with(|settings| settings.instance_connections_max = 1);
    let (ann, _) = worker.user("ann");
    worker.send(ann, "BLPOP l 0");
    worker.advance(1_500);
    assert_eq!(worker.machine.counters().connections_refused, 1);
}

/// A client with a refused credential gets no connection: it must not wait for one.
#[test]
fn refused_client_does_not_wait_behind_others() {
    let mut worker = with(|settings| settings.instance_connections_max = 3);
    let (ann, _) = worker.user("ann");
    let (bob, _) = worker.user("bob");
    let other = worker.log_in("bob", "pw");
    worker.send(other, "SELECT 5");
    let five = worker.new_link();
    worker.refuse_handshake(five, WRONGPASS);
    worker.dedicated(ann, "WATCH k", "+OK\r\n");
    let waits = worker.log_in("ann", "pw");
    worker.send(waits, "WATCH k");
    worker.send(bob, "BLPOP l 0");
    for _ in 0..3 {
        worker.turn();
    }
    assert!(!worker.machine.has_ready());
    assert!(worker.closed(bob));
}
