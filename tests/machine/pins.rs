//! Connections of clients' own: what must not be given to anybody else, and what must not stay.

use elika::proxy::{BackendKey, ClientKey, ConnKey, Failure};

use super::harness::{Worker, command, value};

impl Worker {
    /// The connection that a client gets for itself, for this command and this reply to it.
    pub(crate) fn own(&mut self, client: ClientKey, line: &str, reply: &str) -> BackendKey {
        self.says(client, line);
        let own = self.begun_one();
        self.welcome(own);
        self.asked(own);
        self.replies(own, reply);
        self.settle();
        self.heard(client);
        own
    }

    /// Whatever is begun goes well, for some rounds.
    fn go_on(&mut self) {
        for _ in 0..5 {
            for backend in self.begun() {
                self.welcome(backend);
            }
            self.settle();
            self.pass(200);
        }
    }
}

/// Somebody gives two commands over two clients, and does not wait between them.
#[test]
fn requests_leave_in_the_order_in_which_they_came() {
    let mut worker = Worker::new();
    let (ann, shared) = worker.user("ann");
    let bob = worker.logs_in("ann", "pw");
    let own = worker.own(ann, "WATCH key", "+OK\r\n");
    for order in [[(ann, own), (bob, shared)], [(bob, shared), (ann, own)]] {
        for (client, _) in order {
            let get = command("GET key");
            (worker.machine).client_bytes(client, &get, worker.now);
        }
        let left = [(); 2].map(|()| worker.machine.next_dirty());
        assert_eq!(
            left,
            order.map(|(_, backend)| Some(ConnKey::Backend(backend)))
        );
        for (client, backend) in order {
            worker.discard(ConnKey::Backend(backend));
            worker.replies(backend, "$-1\r\n");
            assert_eq!(worker.heard(client), "$-1\r\n");
        }
    }
}

/// A WAIT stands neither before nor behind requests of others, which keep their deadline.
#[test]
fn connection_is_lent_for_wait_when_nothing_is_in_flight() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 5_000);
    let (client, shared) = worker.user("ann");
    let ann = worker.logs_in("ann", "pw");
    worker.asked(shared);
    worker.says(client, "SET k v");
    worker.says(ann, "GET a");
    worker.says(client, "WAIT 1 0");
    worker.asked(shared);
    worker.replies(shared, "+OK\r\n");
    assert_eq!(worker.heard(client), "+OK\r\n");
    assert_eq!(worker.asked(shared), "");
    worker.says(client, "GET behind");
    worker.replies(shared, "$-1\r\n");
    assert_eq!(worker.heard(ann), "$-1\r\n");
    assert_eq!(
        worker.asked(shared),
        "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n"
    );
    // A WAIT may take its time; a read of another client finds another connection.
    worker.says(ann, "GET b");
    worker.go_on();
    worker.pass(20_000);
    assert_eq!(worker.asked(shared), "");
    assert!(!worker.closed(ConnKey::Backend(shared)));
    worker.replies(shared, ":1\r\n");
    worker.settle();
    assert_eq!(worker.heard(client), ":1\r\n");
    assert_eq!(worker.asked(shared), "*2\r\n$3\r\nGET\r\n$6\r\nbehind\r\n");
}

#[test]
fn request_before_a_wait_keeps_its_deadline() {
    let mut worker = Worker::with(|settings| settings.backend_reply_ms = 2_000);
    let (client, shared) = worker.user("ann");
    let ann = worker.logs_in("ann", "pw");
    worker.says(client, "SET k v");
    worker.replies(shared, "+OK\r\n");
    worker.says(ann, "SET a v");
    worker.says(client, "WAIT 1 0");
    worker.pass(2_500);
    assert!(worker.heard(ann).contains("outcome unknown"));
}

/// Lines of MONITOR come in pieces while a reply is due.
#[test]
fn line_of_monitor_is_no_reply_however_it_is_cut() {
    let line = "+1339518083.107412 [0 127.0.0.1:1] \"keys\" \"*\"\r\n";
    let mut worker = Worker::new();
    let (client, _) = worker.user("ann");
    let own = worker.own(client, "MONITOR", "+OK\r\n");
    worker.says(client, "MONITOR");
    assert_eq!(worker.asked(own), "");
    worker.says(client, "PING");
    for byte in format!("{line}+PONG\r\n{line}").bytes() {
        worker.replies(own, [byte]);
    }
    assert_eq!(worker.heard(client), format!("{line}+PONG\r\n{line}"));
    worker.says(client, "CLIENT REPLY OFF");
    worker.says(client, "PING");
    for byte in format!("{line}+PONG\r\n{line}").bytes() {
        worker.replies(own, [byte]);
    }
    worker.says(client, "CLIENT REPLY ON");
    assert_eq!(worker.heard(client), "+OK\r\n");
    worker.machine.client_hung_up(client);
    worker.machine.client_eof(client);
    worker.settle();
    assert!(worker.closed(ConnKey::Client(client)) && worker.closed(ConnKey::Backend(own)));
}

/// While the other client is looked for, the connection that is to track is lost.
#[test]
fn tracking_never_goes_to_a_shared_connection() {
    let mut worker = Worker::new();
    let (ann, shared) = worker.user("ann");
    let target = worker.logs_in("ann", "pw");
    worker.says(target, "GET x");
    worker.says(ann, "CLIENT TRACKING ON REDIRECT 2");
    let own = worker.begun_one();
    worker.settle();
    worker.welcome(own);
    worker.fails(own, &Failure::Lost);
    worker.replies(shared, "$-1\r\n");
    worker.asked(shared);
    worker.go_on();
    assert_eq!(worker.asked(shared), "");
    assert!(worker.heard(ann).starts_with("-ERR elika: "));
}

/// SCRIPT KILL may go over a connection of another database, and only that.
#[test]
fn a_connection_for_one_request_does_not_stay() {
    let mut worker = Worker::new();
    let (ann, zero) = worker.user("ann");
    let other = worker.logs_in("ann", "pw");
    worker.says(ann, "SELECT 5");
    let five = worker.begun_one();
    worker.welcome(five);
    worker.settle();
    worker.asked(zero);
    worker.says(ann, "SCRIPT KILL");
    let kill = worker.asked(zero);
    assert!(kill.contains("KILL"), "{kill}");
    worker.says(other, "CLIENT TRACKING ON REDIRECT 1");
    worker.go_on();
    worker.replies(zero, "+OK\r\n");
    worker.settle();
    worker.asked(zero);
    worker.says(ann, "SET k v");
    let passed_on = worker.asked(zero);
    assert!(!passed_on.contains("SET"), "{passed_on}");
}

/// A client that has become another user does not come back to what it had before.
#[test]
fn another_user_does_not_wait_on_the_connection_of_the_first() {
    let mut worker = Worker::new();
    let (client, _) = worker.user("ann");
    let anns = worker.own(client, "BLPOP l 1", "*-1\r\n");
    worker.says(client, "AUTH bob pw");
    let bobs = worker.begun_one();
    worker.welcome(bobs);
    worker.settle();
    worker.asked(anns);
    worker.says(client, "WAIT 1 0");
    assert_eq!(worker.asked(anns), "");
}

/// The connection that a client writes on is held up by somebody else, and the client reads on
/// another one: that one knows nothing of the write, and would say yes.
#[test]
fn a_connection_that_carried_only_reads_is_not_asked_about_writes() {
    for behind in [true, false] {
        let mut worker = Worker::new();
        let (client, first) = worker.user("ann");
        let reader = worker.logs_in("ann", "pw");
        worker.says(client, "SET k v");
        worker.replies(first, "+OK\r\n");
        worker.stall(ConnKey::Client(reader));
        worker.says(reader, "GET big");
        if behind {
            worker.says(client, "GET k");
        }
        worker.replies(first, &value(1_000_000)[..500_000]);
        if !behind {
            worker.says(client, "GET k");
        }
        worker.pass(20);
        let other = worker.begun_one();
        worker.welcome(other);
        worker.pass(20);
        assert!(worker.asked(other).contains("GET"));
        worker.replies(other, "$1\r\nv\r\n");
        worker.heard(client);
        for _ in 0..2 {
            worker.says(client, "WAIT 1 0");
            assert_eq!(worker.asked(other), "");
            assert!(
                worker
                    .heard(client)
                    .starts_with("-ERR elika: the connection that carried")
            );
        }
        // What is written there now comes after all that was written before.
        worker.says(client, "SET k w");
        worker.replies(other, "+OK\r\n");
        worker.says(client, "WAIT 1 0");
        assert!(worker.asked(other).contains("WAIT"));
        worker.replies(other, ":1\r\n");
        assert_eq!(worker.heard(client), "+OK\r\n:1\r\n");
    }
}

#[test]
fn who_is_logged_out_gets_no_connection_because_of_another() {
    let mut worker = Worker::new();
    let (ann, shared) = worker.user("ann");
    worker.fails(shared, &Failure::Lost);
    worker.says(ann, "GET x");
    let refused = worker.begun_one();
    worker.refuse(refused, "-WRONGPASS no\r\n");
    worker.settle();
    worker.pass(2_000);
    let other = worker.client();
    worker.says(other, "AUTH ann new");
    let new = worker.begun_one();
    worker.welcome(new);
    assert!(worker.closed(ConnKey::Client(ann)));
    worker.says(other, "CLIENT TRACKING ON REDIRECT 1");
    worker.go_on();
    assert!(worker.heard(other).contains("does not exist"));
}

/// Neither WAIT nor a change of database opens more connections than there may be.
#[test]
fn a_pool_has_no_more_connections_than_it_may() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 3);
    let (_, mut last) = worker.user("ann");
    let clients: Vec<_> = (0..20).map(|_| worker.logs_in("ann", "pw")).collect();
    for client in clients {
        worker.says(client, "SET x 1");
        for new in worker.begun() {
            worker.welcome(new);
            last = new;
        }
        worker.replies(last, "+OK\r\n");
        worker.says(client, "WAIT 1 0");
    }
    // Those of its clients, and one that verified their logins.
    assert!(worker.machine.backends() <= 3 + 1);
}

/// One user may not ask which commands block. That says nothing of what others heard.
#[test]
fn a_user_that_may_not_ask_does_not_make_commands_unknown() {
    const HELLO: &str = "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n";
    let mut worker = Worker::new();
    let ann = worker.client();
    worker.says(ann, "AUTH ann pw");
    let shared = worker.begun_one();
    worker.connect(shared);
    worker.replies(shared, "+OK\r\n");
    worker.replies(shared, format!("{HELLO}*1\r\n$8\r\nfoo.wait\r\n"));
    worker.pass(61_000);
    let bob = worker.client();
    worker.says(bob, "AUTH bob pw");
    let bobs = worker.begun_one();
    worker.connect(bobs);
    worker.replies(bobs, "+OK\r\n");
    assert!(worker.asked(bobs).contains("blocking"));
    worker.replies(bobs, format!("{HELLO}-NOPERM no\r\n"));
    worker.asked(shared);
    worker.says(ann, "FOO.WAIT x");
    assert_eq!(worker.asked(shared), "");
    worker.begun_one();
}

#[test]
fn a_removed_instance_keeps_nobody() {
    let mut worker = Worker::new();
    let (ann, _) = worker.user("ann");
    let own = worker.own(ann, "WATCH k", "+OK\r\n");
    worker.remove_instance();
    worker.settle();
    assert!(worker.closed(ConnKey::Backend(own)));
    assert!(worker.closed(ConnKey::Client(ann)), "its watch is lost");
}

#[test]
fn a_subscriber_is_refused_what_nobody_may_do() {
    let mut worker = Worker::with(|settings| settings.admin_commands = false);
    let (ann, _) = worker.user("ann");
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let own = worker.own(ann, "SUBSCRIBE c", confirmed);
    worker.says(ann, "PSYNC ? -1");
    worker.says(ann, "CONFIG SET a b");
    assert_eq!(worker.asked(own), "");
    assert_eq!(worker.heard(ann).matches("-NOPERM ").count(), 2);
}

/// An idle connection turns out to be unfit just when the line is served.
#[test]
fn an_unclean_idle_connection_is_replaced_once_for_each_client() {
    let mut worker = Worker::new();
    let (ann, _) = worker.user("ann");
    let waiting = [(); 2].map(|()| worker.logs_in("ann", "pw"));
    let idle = worker.own(ann, "BLPOP l 1", "*-1\r\n");
    // Half a push that nobody asked for.
    worker.replies(idle, ">2\r\n");
    for client in waiting {
        worker.says(client, "BLPOP l 0");
    }
    worker.pass(300);
    assert_eq!(worker.begun().len(), 2);
}

/// Of a million commands inside MULTI, those that the proxy answers itself are found in order.
#[test]
fn what_is_remembered_inside_multi_is_bounded() {
    let mut worker = Worker::new();
    let (ann, _) = worker.user("ann");
    let own = worker.own(ann, "MULTI", "+OK\r\n");
    let mut refused = 0;
    for _ in 0..20_000 {
        worker.says(ann, "CLIENT ID");
        worker.asked(own);
        worker.replies(own, "+QUEUED\r\n");
        refused += worker.heard(ann).matches("-ERR elika: too many").count();
        if refused > 0 {
            break;
        }
    }
    assert_eq!(refused, 1);
}
