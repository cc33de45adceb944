//! Transactions whose begin the proxy refuses. A client that pipelines has sent the commands behind
//! MULTI before it reads the error: none of them may run.

use elika::cluster::Status;
use elika::proxy::{ClientKey, Failure, LinkKey};

use super::harness::{NOAUTH, Worker, command};
use super::instances::Registry;
use super::tenant_limits::{limited, limited_with};

const NO_DEDICATED: &str = "-ERR elika: no dedicated backend connection available\r\n";
const REFUSED: &str = "-ERR elika: backend unavailable: connection refused\r\n";

fn unreachable() -> Failure {
    Failure::Unreachable("connection refused".into())
}

/// A transaction that begins with this command, as one write of its client.
fn transaction(begin: &str) -> Vec<u8> {
    let rest = ["INCR n", "INCR n", "EXEC"].map(command);
    [command(begin), rest.concat()].concat()
}

impl Worker {
    /// The client got this error for its first command, nothing else, and is closed; `links` got
    /// nothing of the transaction.
    #[track_caller]
    fn assert_refused(&mut self, client: ClientKey, error: &str, links: &[LinkKey]) {
        self.settle();
        assert_eq!(self.received(client), error);
        assert!(self.closed(client), "it stays connected");
        for &link in links {
            let requests = self.requests(link);
            assert!(!requests.contains("INCR"), "{requests}");
        }
        assert_eq!(self.machine.counters().transactions_refused, 1);
    }
}

fn at_the_limit() -> (Worker, ClientKey, ClientKey, [LinkKey; 2]) {
    let mut worker = Worker::with(|settings| {
        settings.dedicated_max = 1;
        settings.pool_wait_ms = 500;
    });
    let (holder, shared) = worker.user("ann");
    let client = worker.log_in("ann", "pw");
    let dedicated = worker.dedicated(holder, "MULTI", "+OK\r\n");
    (worker, holder, client, [shared, dedicated])
}

#[test]
fn transaction_that_waited_too_long_does_not_run() {
    for begin in ["MULTI", "WATCH n"] {
        let (mut worker, _, client, links) = at_the_limit();
        worker.send_bytes(client, transaction(begin));
        worker.advance(400);
        assert_eq!(worker.received(client), "");
        worker.advance(300);
        worker.assert_refused(client, NO_DEDICATED, &links);
    }
}

#[test]
fn transaction_above_the_connections_of_an_instance_does_not_run() {
    let mut worker = Worker::with(|settings| {
        settings.instance_connections_max = 1;
        settings.pool_wait_ms = 500;
    });
    let (client, shared) = worker.user("ann");
    worker.send(client, "GET k");
    worker.send_bytes(client, transaction("MULTI"));
    worker.reply(shared, "$-1\r\n");
    worker.settle();
    worker.requests(shared);
    worker.advance(700);
    let replies = ["$-1\r\n", NO_DEDICATED].concat();
    worker.assert_refused(client, &replies, &[shared]);
}

#[test]
fn transaction_on_a_connection_that_cannot_be_opened_does_not_run() {
    for begin in ["MULTI", "WATCH n"] {
        let (mut worker, client, shared) = Worker::with_user("ann");
        worker.send_bytes(client, transaction(begin));
        let dedicated = worker.new_link();
        worker.fail(dedicated, &unreachable());
        worker.assert_refused(client, REFUSED, &[shared]);
    }
}

/// Both commands were queued for the connection: the client reads both errors.
#[test]
fn replies_before_a_refused_transaction_are_sent() {
    let (mut worker, client, shared) = Worker::with_user("ann");
    worker.send(client, "BLPOP l 0");
    worker.send_bytes(client, transaction("MULTI"));
    let dedicated = worker.new_link();
    worker.fail(dedicated, &unreachable());
    worker.assert_refused(client, &REFUSED.repeat(2), &[shared]);
}

#[test]
fn transaction_on_a_connection_that_the_server_rejects_does_not_run() {
    for (begin, error) in [
        ("MULTI", "-BUSY Redis is busy running a script.\r\n"),
        ("WATCH n", "-ERR max number of clients reached\r\n"),
    ] {
        let (mut worker, client, shared) = Worker::with_user("ann");
        worker.send_bytes(client, transaction(begin));
        let dedicated = worker.new_link();
        worker.refuse_handshake(dedicated, error);
        worker.assert_refused(client, error, &[shared]);
    }
}

#[test]
fn transaction_for_an_instance_that_is_down_does_not_run() {
    for begin in ["MULTI", "WATCH n"] {
        let (mut worker, client, shared) = Worker::with_user("ann");
        worker.fail(shared, &Failure::Lost);
        worker.send(client, "GET k");
        let next = worker.new_link();
        worker.fail(next, &unreachable());
        worker.received(client);
        worker.send_bytes(client, transaction(begin));
        worker.assert_refused(client, REFUSED, &[]);
    }
}

#[test]
fn close_on_loss_closes_a_client_instead_of_refusing_its_transaction() {
    let mut worker = Worker::with(|settings| settings.close_on_loss = true);
    let (client, shared) = worker.user("ann");
    worker.fail(shared, &Failure::Lost);
    worker.advance(100);
    let next = worker.new_link();
    worker.fail(next, &unreachable());
    worker.send_bytes(client, transaction("MULTI"));
    worker.settle();
    assert_eq!(worker.received(client), "");
    assert!(worker.closed(client));
    let counters = worker.machine.counters();
    let counted = (counters.closed_on_loss, counters.transactions_refused);
    assert_eq!(counted, (1, 0));
}

#[test]
fn transaction_of_a_tenant_without_instances_does_not_run() {
    let no_instance = "-ERR elika: backend unavailable: no instance\r\n";
    // Before the command, or while the client waits for a connection.
    for waits in [false, true] {
        let (mut worker, _, client, links) = at_the_limit();
        if waits {
            worker.send_bytes(client, transaction("MULTI"));
        }
        worker.remove_instance();
        worker.settle();
        if !waits {
            worker.send_bytes(client, transaction("MULTI"));
        }
        worker.assert_refused(client, no_instance, &links);
    }
}

#[test]
fn first_transaction_of_an_anonymous_client_does_not_run_when_its_server_cannot_be_asked() {
    let mut worker = Worker::new();
    let client = worker.client();
    worker.send_bytes(client, transaction("MULTI"));
    let first = worker.new_link();
    worker.fail(first, &unreachable());
    worker.assert_refused(client, REFUSED, &[]);
}

#[test]
fn transaction_above_the_rate_of_its_tenant_does_not_run() {
    let error = "-ERR elika: rate limit exceeded: requests per second\r\n";
    let (mut worker, _registry) = limited(|it| it.requests_per_second = Some(1));
    let (client, shared) = worker.user("ann");
    worker.requests(shared);
    let both = [command("GET k"), transaction("MULTI")].concat();
    worker.send_bytes(client, both);
    worker.reply(shared, "$-1\r\n");
    worker.advance(3_000);
    let replies = ["$-1\r\n", error].concat();
    worker.assert_refused(client, &replies, &[shared]);
}

#[test]
fn transaction_of_a_paused_tenant_that_may_not_wait_does_not_run() {
    let (mut worker, _registry) = limited_with(
        |_| {},
        |settings| {
            settings.paused_clients_max = 1;
        },
    );
    let (first, shared) = worker.user("ann");
    let client = worker.log_in("ann", "pw");
    worker.pause(1_000);
    worker.send(first, "GET k");
    worker.send_bytes(client, transaction("MULTI"));
    worker.advance(2_000);
    let error = "-ERR elika: paused, and too many clients wait already\r\n";
    worker.assert_refused(client, error, &[shared]);
}

/// A server refuses these as well, and serves the commands behind them.
#[test]
fn client_stays_connected_when_a_server_would_refuse_its_transaction() {
    let (mut worker, _registry) = limited(|it| it.deny = vec!["multi".into()]);
    let (client, shared) = worker.user("ann");
    worker.requests(shared);
    worker.send_bytes(client, transaction("MULTI"));
    worker.reply(shared, ":1\r\n:2\r\n");
    let noperm = "-NOPERM User ann has no permissions to run the 'multi' command\r\n";
    let replies = [noperm, ":1\r\n:2\r\n", "-ERR EXEC without MULTI\r\n"].concat();
    assert_eq!(worker.received(client), replies);

    let (_registry, mut worker) = Registry::without_default(&[1]).start(|it| it.worker = 0);
    let client = worker.client();
    worker.send_bytes(client, transaction("MULTI"));
    assert_eq!(worker.received(client), NOAUTH.repeat(4));

    let (mut worker, client, shared) = Worker::with_user("ann");
    worker.requests(shared);
    worker.send_bytes(client, transaction("WATCH"));
    let dedicated = worker.established();
    let wrong = "-ERR wrong number of arguments for 'watch' command\r\n";
    worker.reply(dedicated, [wrong, ":1\r\n:2\r\n"].concat());
    worker.settle();
    assert_eq!(worker.machine.counters().transactions_refused, 0);
    assert!(!worker.closed(client));
}

#[test]
fn client_that_waits_for_a_connection_begins_its_transaction_on_another_instance() {
    let (mut registry, mut worker) = Registry::of(&[1]).start(|it| it.dedicated_max = 1);
    let (holder, _) = worker.user("ann");
    let client = worker.log_in("ann", "pw");
    worker.dedicated(holder, "BLPOP l 0", "*-1\r\n");
    worker.send(holder, "BLPOP l 0");
    worker.send_bytes(client, transaction("MULTI"));
    registry.set(2, Status::Ready);
    let snapshot = registry.set(1, Status::Offline);
    worker.apply(snapshot);
    worker.settle();
    for _ in 0..3 {
        for link in worker.new_links() {
            worker.establish(link);
            worker.settle();
        }
    }
    assert!(!worker.closed(client));
    assert_eq!(worker.machine.counters().transactions_refused, 0);
}

/// A client takes any error of EXEC for the end of its transaction.
#[test]
fn transaction_whose_end_is_refused_at_a_limit_is_discarded() {
    for end in ["EXEC", "DISCARD"] {
        let (mut worker, _registry) = limited(|it| it.requests_per_second = Some(2));
        let (client, _) = worker.user("ann");
        let dedicated = worker.dedicated(client, "MULTI", "+OK\r\n");
        worker.send(client, "INCR n");
        worker.requests(dedicated);
        worker.reply(dedicated, "+QUEUED\r\n");
        worker.received(client);
        worker.send(client, end);
        let error = "-ERR elika: rate limit exceeded: requests per second\r\n";
        assert!(worker.requests(dedicated).contains("DISCARD"), "{end}");
        worker.reply(dedicated, "+OK\r\n");
        worker.settle();
        assert_eq!(worker.received(client), error);
        worker.advance(2_000);
        worker.send(client, "GET n");
        worker.settle();
        assert_eq!(worker.requests(dedicated), "", "it shares a connection");
    }
}
