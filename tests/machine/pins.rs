//! Connections of clients' own: what must not be given to anybody else, and what must not stay.

use elika::proxy::{ClientKey, ConnKey, Failure, LinkKey};

use super::harness::{Worker, command, value};

impl Worker {
    /// The connection that a client gets for itself, for this command and this reply to it.
    pub(crate) fn own(&mut self, client: ClientKey, line: &str, reply: &str) -> LinkKey {
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
            (worker.machine).client_bytes(client, &get);
        }
        let left = [(); 2].map(|()| worker.machine.next_dirty());
        assert_eq!(left, order.map(|(_, backend)| Some(ConnKey::Link(backend))));
        for (client, backend) in order {
            worker.discard(ConnKey::Link(backend));
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
    worker.says(client, "GET behind");
    let other = worker.begun_one();
    worker.welcome(other);
    assert_eq!(worker.asked(shared), "");
    worker.replies(shared, "$-1\r\n");
    assert_eq!(worker.heard(ann), "$-1\r\n");
    assert_eq!(worker.asked(shared), command_text("WAIT 1 50"));
    // A WAIT may take its time; a read of another client finds another connection.
    worker.asked(other);
    worker.says(ann, "GET b");
    assert_eq!(worker.asked(other), command_text("GET b"));
    worker.replies(other, "$-1\r\n");
    worker.pass(4_000);
    assert!(!worker.closed(ConnKey::Link(shared)));
    worker.replies(shared, ":1\r\n");
    worker.settle();
    assert_eq!(worker.heard(client), ":1\r\n");
    let behind = worker.asked(shared);
    assert!(behind.ends_with(&command_text("GET behind")), "{behind}");
}

/// The server is asked for the least of what is waited for; its reply answers all who are content.
#[test]
fn clients_that_wait_on_one_connection_are_answered_by_one_wait() {
    let mut worker = Worker::new();
    let (first, shared) = worker.user("ann");
    let others = [(); 3].map(|()| worker.logs_in("ann", "pw"));
    let [second, third, fourth] = others;
    for client in [first, second, third, fourth] {
        worker.says(client, "SET k v");
        worker.replies(shared, "+OK\r\n");
        worker.heard(client);
    }
    worker.asked(shared);
    worker.says(first, "WAIT 5 0");
    let other = worker.begun_one();
    worker.welcome(other);
    assert_eq!(worker.asked(shared), command_text("WAIT 5 50"));
    worker.says(second, "WAIT 1 0");
    worker.says(third, "WAIT 2 200");
    worker.says(fourth, "WAIT 1 700");
    worker.pass(50);
    worker.replies(shared, ":1\r\n");
    // They had come after it, and may have written meanwhile.
    assert_eq!(worker.heard(second), "");
    assert_eq!(worker.asked(shared), command_text("WAIT 1 50"));
    worker.replies(shared, ":1\r\n");
    assert_eq!(worker.heard(second), ":1\r\n");
    assert_eq!(worker.heard(fourth), ":1\r\n");
    assert_eq!(worker.heard(third), "");
    assert_eq!(worker.asked(shared), command_text("WAIT 2 100"));
    worker.pass(100);
    worker.replies(shared, ":1\r\n");
    worker.pass(50);
    worker.asked(shared);
    worker.replies(shared, ":1\r\n");
    worker.pass(100);
    assert_eq!(worker.heard(third), ":1\r\n");
    assert_eq!(worker.heard(first), "");
    assert!(worker.begun().is_empty());
}

/// Whoever waits for ever holds no connection for longer than a moment.
#[test]
fn connections_on_which_clients_wait_take_turns() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 2);
    let (ann, first) = worker.user("ann");
    let bob = worker.logs_in("ann", "pw");
    worker.says(ann, "SET k v");
    worker.replies(first, "+OK\r\n");
    worker.says(ann, "WAIT 5 0");
    let second = worker.begun_one();
    worker.welcome(second);
    worker.says(bob, "SET l v");
    worker.replies(second, "+OK\r\n");
    worker.heard(bob);
    worker.asked(first);
    worker.asked(second);
    for round in 0..4 {
        worker.says(bob, "WAIT 7 450");
        // The first one is lent: this is the last one that takes requests.
        assert_eq!(worker.asked(second), "", "{round}");
        worker.pass(400);
        worker.replies(first, ":0\r\n");
        assert_eq!(worker.asked(second), command_text("WAIT 7 50"));
        let third = worker.logs_in("ann", "pw");
        worker.says(third, "GET k");
        assert!(worker.asked(first).ends_with(&command_text("GET k")));
        worker.replies(first, "$-1\r\n");
        assert_eq!(worker.heard(third), "$-1\r\n");
        worker.pass(50);
        worker.replies(second, ":0\r\n");
        assert_eq!(worker.heard(bob), ":0\r\n");
        assert!(worker.asked(first).contains("WAIT"));
    }
    assert_eq!(worker.heard(ann), "+OK\r\n");
}

/// Nobody else can be served elsewhere: they wait behind a WAIT, but not for long.
#[test]
fn only_connection_of_a_pool_is_asked_for_a_moment() {
    let mut worker = Worker::with(|settings| settings.pool_connections_max = 1);
    let (ann, shared) = worker.user("ann");
    let bob = worker.logs_in("ann", "pw");
    worker.pass(200);
    worker.says(ann, "SET k v");
    worker.replies(shared, "+OK\r\n");
    worker.asked(shared);
    worker.says(ann, "WAIT 5 0");
    for _ in 0..3 {
        assert_eq!(worker.asked(shared), command_text("WAIT 5 10"));
        worker.says(bob, "GET k");
        worker.pass(10);
        worker.replies(shared, ":0\r\n$-1\r\n");
        assert_eq!(worker.heard(bob).matches("$-1\r\n").count(), 1);
        assert_eq!(worker.asked(shared), command_text("GET k"));
        worker.pass(100);
    }
    assert!(worker.begun().is_empty());
    assert_eq!(worker.heard(ann), "+OK\r\n");
}

#[test]
fn wait_of_one_client_is_unblocked_alone() {
    let mut worker = Worker::new();
    let (ann, shared) = worker.user("ann");
    let bob = worker.logs_in("ann", "pw");
    let warden = worker.logs_in("ann", "pw");
    for client in [ann, bob] {
        worker.says(client, "SET k v");
        worker.replies(shared, "+OK\r\n");
        worker.says(client, "WAIT 5 0");
        worker.heard(client);
    }
    let other = worker.begun_one();
    worker.welcome(other);
    worker.heard(warden);
    worker.says(warden, "CLIENT UNBLOCK 1");
    worker.permits(other);
    worker.settle();
    assert_eq!(worker.heard(ann), ":0\r\n");
    worker.says(warden, "CLIENT UNBLOCK 2 ERROR");
    worker.settle();
    let unblocked = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
    assert_eq!(worker.heard(bob), unblocked);
    assert_eq!(worker.heard(warden), ":1\r\n:1\r\n");
}

fn command_text(line: &str) -> String {
    String::from_utf8(command(line)).unwrap()
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
    assert!(worker.closed(ConnKey::Client(client)) && worker.closed(ConnKey::Link(own)));
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

/// Who has a connection of its own becomes another user there, which is still to say that it may.
fn asks_for_bob(worker: &mut Worker, client: ClientKey, own: LinkKey) {
    worker.says(client, "AUTH bob pw");
    for verifier in worker.begun() {
        worker.opens(verifier);
    }
    let verifier = worker.verifier();
    worker.replies(verifier, "+OK\r\n");
    worker.settle();
    assert!(worker.asked(own).contains("AUTH"));
}

/// A connection that has become another user's is not the one that carried a client's writes.
#[test]
fn nobody_waits_on_a_connection_that_another_user_has_logged_in_on() {
    let mut worker = Worker::new();
    let (client, _) = worker.user("ann");
    let other = worker.logs_in("ann", "pw");
    let own = worker.own(client, "BLPOP l 1", "*-1\r\n");
    worker.says(other, "WATCH k");
    assert!(worker.asked(own).contains("WATCH"));
    worker.replies(own, "+OK\r\n");
    asks_for_bob(&mut worker, other, own);
    worker.replies(own, "+OK\r\n");
    worker.says(other, "UNWATCH");
    worker.replies(own, "+OK\r\n");
    assert_eq!(worker.heard(other), "+OK\r\n".repeat(3));
    worker.settle();
    worker.asked(own);
    worker.says(client, "WAIT 1 0");
    worker.settle();
    assert_eq!(worker.asked(own), "");
}

#[test]
fn a_connection_that_does_not_answer_a_login_with_ok_is_not_logged_in() {
    let mut worker = Worker::new();
    let (client, _) = worker.user("ann");
    let own = worker.own(client, "WATCH k", "+OK\r\n");
    asks_for_bob(&mut worker, client, own);
    worker.replies(own, ":1\r\n");
    worker.settle();
    assert!(worker.closed(ConnKey::Client(client)));
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
        worker.says(client, "WAIT 1 200");
        worker.pass(200);
        if worker.asked(other).contains("WAIT") {
            worker.replies(other, ":1\r\n");
        }
        assert_eq!(worker.heard(client), "");
        worker.pass(1_500);
        assert_eq!(worker.heard(client), ":0\r\n");
        // What is written there now comes after all that was written before.
        worker.says(client, "SET k w");
        worker.replies(other, "+OK\r\n");
        worker.says(client, "WAIT 1 0");
        for backend in worker.begun() {
            worker.welcome(backend);
        }
        worker.pass(200);
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
    assert!(worker.machine.links() <= 3 + 1);
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
    assert!(worker.closed(ConnKey::Link(own)));
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

/// They read what is the client's, and leave nothing on the connection.
#[test]
fn questions_inside_multi_do_not_cost_the_connection() {
    for (question, closed) in [
        ("CLIENT ID", false),
        ("CLIENT GETNAME", false),
        ("CLIENT NO-EVICT ON", true),
        ("CLIENT SETNAME bob", true),
    ] {
        let mut worker = Worker::new();
        let (ann, _) = worker.user("ann");
        let own = worker.own(ann, "MULTI", "+OK\r\n");
        worker.says(ann, question);
        worker.replies(own, "+QUEUED\r\n");
        worker.says(ann, "EXEC");
        worker.replies(own, "*1\r\n+OK\r\n");
        worker.settle();
        assert_eq!(worker.closed(ConnKey::Link(own)), closed, "{question}");
    }
}

/// What a Valkey 9 says of itself.
pub(crate) const HELLO_OF_VALKEY: &str = "*6\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n\
    $7\r\nversion\r\n$5\r\n9.1.2\r\n$2\r\nid\r\n:77\r\n";

/// A client whose backend is a Valkey 9, and its shared connection.
pub(crate) fn on_valkey_9(worker: &mut Worker) -> (ClientKey, LinkKey) {
    let ann = worker.client();
    worker.says(ann, "AUTH ann pw");
    let shared = worker.begun_one();
    worker.connect(shared);
    worker.replies(shared, "+OK\r\n");
    worker.replies(shared, format!("{HELLO_OF_VALKEY}*0\r\n"));
    worker.heard(ann);
    (ann, shared)
}

#[test]
fn client_reply_inside_multi_is_refused_in_the_words_of_the_server() {
    let mut worker = Worker::new();
    let (ann, _) = on_valkey_9(&mut worker);
    worker.says(ann, "MULTI");
    let own = worker.begun_one();
    worker.connect(own);
    worker.replies(own, "+OK\r\n");
    worker.replies(own, HELLO_OF_VALKEY);
    worker.settle();
    worker.replies(own, "+OK\r\n");
    worker.heard(ann);
    worker.says(ann, "CLIENT REPLY OFF");
    assert!(
        worker.asked(own).contains("MULTI"),
        "it loses the transaction"
    );
    worker.replies(own, "-ERR no\r\n");
    assert_eq!(
        worker.heard(ann),
        "-ERR Command 'client|reply' not allowed inside a transaction\r\n"
    );
}

#[test]
fn readonly_and_capabilities_show_on_a_valkey() {
    let mut worker = Worker::new();
    let (ann, shared) = on_valkey_9(&mut worker);
    worker.says(ann, "CLIENT INFO");
    worker.permits(shared);
    worker.heard(ann);
    let shown = |worker: &mut Worker, line: &str| {
        worker.says(ann, line);
        worker.heard(ann)
    };
    assert!(shown(&mut worker, "CLIENT INFO").contains(" flags=N capa= "));
    assert_eq!(shown(&mut worker, "READONLY"), "+OK\r\n");
    worker.says(ann, "CLIENT CAPA x redirect");
    worker.permits(shared);
    assert_eq!(worker.heard(ann), "+OK\r\n");
    assert!(shown(&mut worker, "CLIENT INFO").contains(" flags=r capa=r "));
    assert_eq!(shown(&mut worker, "READWRITE"), "+OK\r\n");
    assert!(shown(&mut worker, "CLIENT INFO").contains(" flags=N capa=r "));
    let mut redis = Worker::new();
    let (ann, _) = redis.user("ann");
    redis.says(ann, "READONLY");
    let refused = "-ERR This instance has cluster support disabled\r\n";
    assert_eq!(redis.heard(ann), refused);
}

#[test]
fn keys_watched_twice_count_once() {
    let mut worker = Worker::new();
    let (ann, _) = on_valkey_9(&mut worker);
    let own = worker.own(ann, "WATCH k k", "+OK\r\n");
    worker.says(ann, "WATCH k l");
    worker.replies(own, "+OK\r\n");
    worker.heard(ann);
    worker.says(ann, "CLIENT INFO");
    worker.permits(own);
    assert!(worker.heard(ann).contains(" watch=2 "));
}

#[test]
fn inline_words_mix_quotes_where_the_server_lets_them() {
    let mut worker = Worker::new();
    let (ann, shared) = on_valkey_9(&mut worker);
    worker.asked(shared);
    worker.sends(ann, b"GET \"tes\"t-'k'ey\r\n");
    assert_eq!(
        worker.asked(shared),
        "*2\r\n$3\r\nGET\r\n$8\r\ntest-key\r\n"
    );
    let mut worker = Worker::new();
    let (ann, _) = worker.user("ann");
    worker.sends(ann, b"GET \"tes\"t\r\n");
    let refused = "-ERR Protocol error: unbalanced quotes in request\r\n";
    assert_eq!(worker.heard(ann), refused);
}
