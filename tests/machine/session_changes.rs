//! SELECT, AUTH and HELLO that the proxy refuses. A client that pipelines has sent the requests
//! behind them before it reads the error: none of them may run in the old session.

use elika::cluster::Status;
use elika::proxy::{ClientKey, Failure, LinkKey};

use super::harness::{WRONGPASS, Worker, command};
use super::instances::Registry;
use super::tenant_limits::limited;

const FULL: &str = "-ERR elika: too many backend connections\r\n";
const MAXCLIENTS: &str = "-ERR max number of clients reached\r\n";
const UNAVAILABLE: &str = "-ERR elika: backend unavailable: connection refused\r\n";

/// A change of the session and a write, as one write of the client.
fn with_write(change: &str) -> Vec<u8> {
    [command(change), command("SET k v")].concat()
}

impl Worker {
    /// The client got this error, nothing else, and is closed; the link got no write.
    #[track_caller]
    fn assert_change_refused(&mut self, client: ClientKey, error: &str, link: LinkKey) {
        self.settle();
        assert_eq!(self.received(client), error);
        assert!(self.closed(client), "it stays connected");
        let requests = self.requests(link);
        assert!(!requests.contains("SET"), "{requests}");
        assert_eq!(self.machine.counters().session_changes_refused, 1);
    }
}

#[test]
fn requests_behind_a_refused_change_do_not_run() {
    for change in ["SELECT 3", "HELLO 3", "AUTH bob pw", "HELLO 2 AUTH bob pw"] {
        let mut worker = Worker::with(|settings| settings.instance_connections_max = 1);
        let (client, shared) = worker.user("ann");
        worker.send_bytes(client, with_write(change));
        for verifier in worker.new_links() {
            worker.open(verifier);
            worker.reply(verifier, "+OK\r\n");
        }
        worker.assert_change_refused(client, FULL, shared);

        let (mut worker, client, shared) = Worker::with_user("ann");
        worker.send_bytes(client, with_write(change));
        let next = worker.new_link();
        worker.refuse_handshake(next, MAXCLIENTS);
        worker.assert_change_refused(client, MAXCLIENTS, shared);

        let (mut worker, client, shared) = Worker::with_user("ann");
        worker.send_bytes(client, with_write(change));
        let next = worker.new_link();
        worker.fail(next, &Failure::Unreachable("connection refused".into()));
        worker.assert_change_refused(client, UNAVAILABLE, shared);
    }
}

#[test]
fn requests_behind_a_select_above_the_rate_do_not_run() {
    let error = "-ERR elika: rate limit exceeded: requests per second\r\n";
    let (mut worker, _registry) = limited(|it| it.requests_per_second = Some(1));
    let (client, shared) = worker.user("ann");
    worker.requests(shared);
    let all = [command("GET k"), with_write("SELECT 3")].concat();
    worker.send_bytes(client, all);
    worker.reply(shared, "$-1\r\n");
    worker.advance(3_000);
    worker.assert_change_refused(client, &["$-1\r\n", error].concat(), shared);
}

/// The other tenant has no instance: the writes must not reach the client's own tenant.
#[test]
fn requests_behind_a_login_without_an_instance_do_not_run() {
    let (mut registry, mut worker) = Registry::of(&[1]).start(|_| {});
    let (client, shared) = worker.login();
    worker.apply(registry.set(1, Status::Offline));
    worker.send_bytes(client, with_write("AUTH bob pw"));
    let error = "-ERR elika: backend unavailable: no instance\r\n";
    worker.assert_change_refused(client, error, shared);
}

/// A connection for BLPOP cannot be opened: the requests behind it are not sent elsewhere.
#[test]
fn requests_behind_a_change_on_a_lost_connection_do_not_run() {
    let (mut worker, client, shared) = Worker::with_user("ann");
    worker.send_bytes(
        client,
        [command("BLPOP l 0"), with_write("SELECT 3")].concat(),
    );
    let dedicated = worker.new_link();
    worker.fail(
        dedicated,
        &Failure::Unreachable("connection refused".into()),
    );
    worker.settle();
    let heard = worker.received(client);
    assert_eq!(heard, UNAVAILABLE.repeat(2));
    assert!(worker.closed(client));
    assert!(!worker.requests(shared).contains("SET"));
}

/// A client connected directly gets these errors, too, and goes on.
#[test]
fn client_stays_after_an_error_of_the_server() {
    let (mut worker, client, shared) = Worker::with_user("ann");
    worker.send(client, "AUTH ann wrong");
    let next = worker.new_link();
    worker.refuse_handshake(next, WRONGPASS);
    worker.send(client, "SELECT 99");
    let next = worker.new_link();
    worker.open_handshake(next);
    let range = "-ERR DB index is out of range\r\n";
    let hello = "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n";
    for flight in [range, "+OK\r\n", &[hello, range].concat()] {
        worker.reply(next, flight);
    }
    worker.settle();
    assert_eq!(worker.received(client), [WRONGPASS, range].concat());
    worker.send(client, "SET k v");
    assert!(worker.requests(shared).contains("SET"));
    assert_eq!(worker.machine.counters().session_changes_refused, 0);
}

/// The instance is down, and a read waits for a connection that is opened in place of a lost one.
#[test]
fn refused_change_comes_behind_the_replies_before_it() {
    let (mut worker, client, shared) = Worker::with_user("ann");
    worker.send(client, "GET k");
    worker.requests(shared);
    worker.fail(shared, &Failure::Lost);
    let next = worker.new_link();
    worker.client_sends("AUTH bob pw");
    let verifier = worker.new_link();
    worker.fail(verifier, &Failure::Unreachable("connection refused".into()));
    worker.send_bytes(client, with_write("SELECT 3"));
    worker.settle();
    assert_eq!(worker.received(client), "");
    worker.fail(next, &Failure::Unreachable("connection refused".into()));
    worker.settle();
    assert_eq!(worker.received(client), UNAVAILABLE.repeat(2));
    assert!(worker.closed(client));
    assert!(!worker.requests(shared).contains("SET"));
}
