//! Dedicated connections: which clients use them, and when they are closed.

use elika::proxy::{ClientKey, ConnKey, Failure, LinkKey, Settings, StatsRequest};

use super::harness::{Worker, command};
use super::instances::{Registry, first_worker};

impl Worker {
    /// The dedicated connection that the client gets for this command, to which the server replies
    /// with `reply`.
    pub(crate) fn dedicated(&mut self, client: ClientKey, line: &str, reply: &str) -> LinkKey {
        self.send(client, line);
        let dedicated = self.established();
        self.requests(dedicated);
        self.reply(dedicated, reply);
        self.settle();
        self.received(client);
        dedicated
    }

    /// Establishes all new connections, for some rounds.
    fn establish_all(&mut self) {
        for _ in 0..5 {
            for backend in self.new_links() {
                self.establish(backend);
            }
            self.settle();
            self.advance(200);
        }
    }
}

/// One program sends two commands over two clients without waiting between them.
#[test]
fn requests_are_written_in_the_order_of_arrival() {
    let (mut worker, ann, shared) = Worker::with_user("ann");
    let bob = worker.log_in("ann", "pw");
    let dedicated = worker.dedicated(ann, "WATCH key", "+OK\r\n");
    for order in [
        [(ann, dedicated), (bob, shared)],
        [(bob, shared), (ann, dedicated)],
    ] {
        for (client, _) in order {
            let get = command("GET key");
            (worker.machine).client_bytes(client, &get);
        }
        let left = [(); 2].map(|()| worker.machine.next_dirty());
        assert_eq!(left, order.map(|(_, backend)| Some(ConnKey::Link(backend))));
        for (client, backend) in order {
            worker.discard(backend);
            worker.deliver(backend, client, "$-1\r\n");
        }
    }
}

/// Lines of MONITOR arrive in pieces while a reply is outstanding.
#[test]
fn monitor_line_in_pieces_is_not_a_reply() {
    let line = "+1339518083.107412 [0 127.0.0.1:1] \"keys\" \"*\"\r\n";
    let (mut worker, client, _) = Worker::with_user("ann");
    let dedicated = worker.dedicated(client, "MONITOR", "+OK\r\n");
    worker.send(client, "MONITOR");
    assert_eq!(worker.requests(dedicated), "");
    worker.send(client, "PING");
    for byte in format!("{line}+PONG\r\n{line}").bytes() {
        worker.reply(dedicated, [byte]);
    }
    assert_eq!(worker.received(client), format!("{line}+PONG\r\n{line}"));
    worker.send(client, "CLIENT REPLY OFF");
    worker.send(client, "PING");
    for byte in format!("{line}+PONG\r\n{line}").bytes() {
        worker.reply(dedicated, [byte]);
    }
    worker.send(client, "CLIENT REPLY ON");
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.machine.client_hung_up(client);
    worker.machine.client_eof(client);
    worker.settle();
    assert!(worker.closed(client) && worker.closed(dedicated));
}

/// The dedicated connection for tracking is lost while the target of the redirection is searched.
#[test]
fn tracking_is_never_sent_on_a_shared_connection() {
    let (mut worker, ann, shared) = Worker::with_user("ann");
    let target = worker.log_in("ann", "pw");
    worker.send(target, "GET x");
    worker.send(ann, "CLIENT TRACKING ON REDIRECT 2");
    let dedicated = worker.new_link();
    worker.settle();
    worker.establish(dedicated);
    worker.fail(dedicated, &Failure::Lost);
    worker.reply(shared, "$-1\r\n");
    worker.requests(shared);
    worker.establish_all();
    assert_eq!(worker.requests(shared), "");
    assert!(worker.received(ann).starts_with("-ERR elika: "));
}

/// The target of a redirection may wait for something else: that is not ended by it.
#[test]
fn redirect_to_a_client_in_a_session_change_does_not_end_the_change() {
    let (mut worker, ann, _) = Worker::with_user("ann");
    let other = worker.log_in("ann", "pw");
    worker.send(ann, "SELECT 5");
    let five = worker.new_link();
    worker.settle();
    worker.send(other, "CLIENT TRACKING ON REDIRECT 1");
    worker.settle();
    let _dedicated = worker.established();
    worker.settle();
    worker.establish(five);
    worker.settle();
    assert_eq!(worker.received(ann), "+OK\r\n");
}

/// The place that a client frees belongs to the client that waits for it, whatever its user.
#[test]
fn client_that_frees_its_connection_does_not_overtake_the_wait_queue() {
    for user in [None, Some("bob")] {
        let mut worker = Worker::with(|settings| settings.dedicated_max = 1);
        let (ann, shared) = worker.anonymous();
        let other = match user {
            Some(user) => worker.user(user).0,
            None => {
                let other = worker.client_sends("GET k");
                worker.reply(shared, "$-1\r\n");
                other
            }
        };
        worker.dedicated(ann, "WATCH k", "+OK\r\n");
        worker.send(other, "BLPOP others 0");
        worker.advance_clock(1);
        let both = [command("RESET"), command("BLPOP anns 0")].concat();
        worker.send_bytes(ann, both);
        worker.settle();
        let dedicated = worker.established();
        worker.settle();
        let requests = worker.requests(dedicated);
        assert!(requests.contains("others"), "{user:?}: {requests}");
        assert!(!requests.contains("anns"), "{user:?}: {requests}");
    }
}

/// Clients of two databases of one user wait for the only place: the second is before the third.
fn two_pools_wait(settings: impl FnOnce(&mut Settings)) -> (Worker, LinkKey, [ClientKey; 3]) {
    let mut worker = Worker::with(settings);
    let (first, _) = worker.user("ann");
    let [second, third] = [(); 2].map(|()| worker.log_in("ann", "pw"));
    worker.send(second, "SELECT 5");
    worker.established();
    worker.settle();
    assert_eq!(worker.received(second), "+OK\r\n");
    let dedicated = worker.dedicated(first, "BLPOP l 0", "");
    worker.send(second, "BLPOP seconds 0");
    worker.advance_clock(1);
    worker.send(third, "BLPOP thirds 0");
    worker.settle();
    (worker, dedicated, [first, second, third])
}

/// A limit on dedicated connections holds for all pools of a tenant.
#[test]
fn clients_of_several_pools_get_dedicated_connections_in_the_order_of_their_arrival() {
    let (mut worker, dedicated, [first, ..]) = two_pools_wait(|it| it.dedicated_max = 1);
    worker.reply(dedicated, "*-1\r\n");
    // The client that had the connection and wants it again is behind both.
    worker.send(first, "BLPOP firsts 0");
    worker.settle();
    let requests = worker.requests(dedicated);
    assert!(!requests.contains("thirds"), "{requests}");
    let of_five = worker.established();
    assert!(worker.requests(of_five).contains("seconds"));
    worker.reply(of_five, "*-1\r\n");
    worker.settle();
    assert!(worker.requests(dedicated).contains("thirds"));
    worker.reply(dedicated, "*-1\r\n");
    worker.settle();
    assert!(worker.requests(dedicated).contains("firsts"));
}

/// The idle connection of a later client's pool is closed for the earlier client.
#[test]
fn clients_of_several_pools_get_the_connections_of_a_full_instance_in_the_order_of_their_arrival() {
    let full = |settings: &mut Settings| settings.instance_connections_max = 3;
    let (mut worker, dedicated, _) = two_pools_wait(full);
    worker.reply(dedicated, "*-1\r\n");
    worker.settle();
    assert!(worker.closed(ConnKey::Link(dedicated)));
    let of_five = worker.established();
    assert!(worker.requests(of_five).contains("seconds"));
}

/// SCRIPT KILL may use a connection of another database, and no other command may.
#[test]
fn borrowed_connection_is_returned_after_one_request() {
    let (mut worker, ann, zero) = Worker::with_user("ann");
    let other = worker.log_in("ann", "pw");
    worker.send(ann, "SELECT 5");
    let _five = worker.established();
    worker.settle();
    worker.requests(zero);
    worker.send(ann, "SCRIPT KILL");
    let kill = worker.requests(zero);
    assert!(kill.contains("KILL"), "{kill}");
    worker.send(other, "CLIENT TRACKING ON REDIRECT 1");
    worker.establish_all();
    worker.reply(zero, "+OK\r\n");
    worker.settle();
    worker.requests(zero);
    worker.send(ann, "SET k v");
    let passed_on = worker.requests(zero);
    assert!(!passed_on.contains("SET"), "{passed_on}");
}

/// A client with a dedicated connection logs in as bob; the server has not yet replied on that
/// connection.
fn start_login_as_bob(worker: &mut Worker, client: ClientKey, dedicated: LinkKey) {
    worker.send(client, "AUTH bob pw");
    for verifier in worker.new_links() {
        worker.open(verifier);
    }
    let verifier = worker.verifier();
    worker.reply(verifier, "+OK\r\n");
    worker.settle();
    assert!(worker.requests(dedicated).contains("AUTH"));
}

/// A connection on which another user has logged in does not count as the one that carried a
/// client's writes.
#[test]
fn wait_is_not_sent_on_a_connection_of_another_user() {
    let (mut worker, client, _) = Worker::with_user("ann");
    let other = worker.log_in("ann", "pw");
    let dedicated = worker.dedicated(client, "BLPOP l 1", "*-1\r\n");
    worker.send(other, "WATCH k");
    assert!(worker.requests(dedicated).contains("WATCH"));
    worker.reply(dedicated, "+OK\r\n");
    start_login_as_bob(&mut worker, other, dedicated);
    worker.reply(dedicated, "+OK\r\n");
    worker.send(other, "UNWATCH");
    worker.reply(dedicated, "+OK\r\n");
    assert_eq!(worker.received(other), "+OK\r\n".repeat(3));
    worker.settle();
    worker.requests(dedicated);
    worker.send(client, "WAIT 1 0");
    worker.settle();
    assert_eq!(worker.requests(dedicated), "");
}

#[test]
fn unexpected_auth_reply_closes_the_client() {
    let (mut worker, client, _) = Worker::with_user("ann");
    let dedicated = worker.dedicated(client, "WATCH k", "+OK\r\n");
    start_login_as_bob(&mut worker, client, dedicated);
    worker.reply(dedicated, ":1\r\n");
    worker.settle();
    assert!(worker.closed(client));
}

#[test]
fn logged_out_client_gets_no_redirection_connection() {
    let (mut worker, ann, shared) = Worker::with_user("ann");
    worker.fail(shared, &Failure::Lost);
    worker.send(ann, "GET x");
    let refused = worker.new_link();
    worker.refuse_handshake(refused, "-WRONGPASS no\r\n");
    worker.settle();
    worker.advance(2_000);
    let other = worker.client_sends("AUTH ann new");
    let _new = worker.established();
    assert!(worker.closed(ann));
    worker.send(other, "CLIENT TRACKING ON REDIRECT 1");
    worker.establish_all();
    assert!(worker.received(other).contains("does not exist"));
}

/// NOPERM for one user does not affect the commands that other users have learned of.
#[test]
fn noperm_for_command_list_keeps_known_blocking_commands() {
    const HELLO: &str = "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n";
    let mut worker = Worker::new();
    let ann = worker.client_sends("AUTH ann pw");
    let shared = worker.new_link();
    worker.open_handshake(shared);
    worker.reply(shared, "+OK\r\n");
    worker.reply(shared, format!("{HELLO}*1\r\n$8\r\nfoo.wait\r\n"));
    worker.advance(61_000);
    let _bob = worker.client_sends("AUTH bob pw");
    let bobs = worker.new_link();
    worker.open_handshake(bobs);
    worker.reply(bobs, "+OK\r\n");
    assert!(worker.requests(bobs).contains("blocking"));
    worker.reply(bobs, format!("{HELLO}-NOPERM no\r\n"));
    worker.requests(shared);
    worker.send(ann, "FOO.WAIT x");
    assert_eq!(worker.requests(shared), "");
    worker.new_link();
}

#[test]
fn removed_instance_closes_its_dedicated_clients() {
    let (mut worker, ann, _) = Worker::with_user("ann");
    let dedicated = worker.dedicated(ann, "WATCH k", "+OK\r\n");
    worker.remove_instance();
    worker.settle();
    assert!(worker.closed(dedicated));
    assert!(worker.closed(ann), "its watch is lost");
}

#[test]
fn subscriber_is_refused_forbidden_commands() {
    let mut worker = Worker::with(|settings| settings.admin_commands = false);
    let (ann, _) = worker.user("ann");
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let dedicated = worker.dedicated(ann, "SUBSCRIBE c", confirmed);
    worker.send(ann, "PSYNC ? -1");
    worker.send(ann, "CONFIG SET a b");
    assert_eq!(worker.requests(dedicated), "");
    assert_eq!(worker.received(ann).matches("-NOPERM ").count(), 2);
}

/// An idle connection becomes unusable at the moment when waiting clients are served.
#[test]
fn unclean_idle_connection_is_replaced_once_per_client() {
    let (mut worker, ann, _) = Worker::with_user("ann");
    let waiting = [(); 2].map(|()| worker.log_in("ann", "pw"));
    let idle = worker.dedicated(ann, "BLPOP l 1", "*-1\r\n");
    // Half of an unexpected push.
    worker.reply(idle, ">2\r\n");
    for client in waiting {
        worker.send(client, "BLPOP l 0");
    }
    worker.advance(300);
    assert_eq!(worker.new_links().len(), 2);
}

/// Inside MULTI, the proxy remembers the position of each command that it answers itself.
#[test]
fn proxy_replies_inside_multi_are_limited() {
    let (mut worker, ann, _) = Worker::with_user("ann");
    let dedicated = worker.dedicated(ann, "MULTI", "+OK\r\n");
    let mut refused = 0;
    for _ in 0..20_000 {
        worker.send(ann, "CLIENT ID");
        worker.requests(dedicated);
        worker.reply(dedicated, "+QUEUED\r\n");
        refused += worker.received(ann).matches("-ERR elika: too many").count();
        if refused > 0 {
            break;
        }
    }
    assert_eq!(refused, 1);
}

/// These commands read the client's session and leave nothing on the connection.
#[test]
fn reading_client_commands_inside_multi_keep_the_connection() {
    for (question, closed) in [
        ("CLIENT ID", false),
        ("CLIENT GETNAME", false),
        ("CLIENT NO-EVICT ON", true),
        ("CLIENT SETNAME bob", true),
    ] {
        let (mut worker, ann, _) = Worker::with_user("ann");
        let dedicated = worker.dedicated(ann, "MULTI", "+OK\r\n");
        worker.send(ann, question);
        worker.reply(dedicated, "+QUEUED\r\n");
        worker.send(ann, "EXEC");
        worker.reply(dedicated, "*1\r\n+OK\r\n");
        worker.settle();
        assert_eq!(worker.closed(dedicated), closed, "{question}");
    }
}

/// The replies to SELECT, UNWATCH and GET arrive in one read, and the client is closed because it
/// has not read them.
#[test]
fn connection_of_a_client_closed_behind_select_is_not_used_in_the_former_database() {
    let mut worker = Worker::with(|settings| settings.client_outbound_bytes_max = 20_000);
    let (client, shared) = worker.user("ann");
    let other = worker.log_in("ann", "pw");
    worker.requests(shared);
    let dedicated = worker.dedicated(client, "WATCH k", "+OK\r\n");
    worker.stall(client);
    for line in ["SELECT 5", "UNWATCH", "GET large"] {
        worker.send(client, line);
    }
    worker.requests(dedicated);
    let replies = format!("+OK\r\n+OK\r\n$30000\r\n{}\r\n", "x".repeat(30_000));
    worker.reply(dedicated, replies);
    worker.settle();
    assert!(worker.closed(client));
    worker.send(other, "MULTI");
    assert_eq!(worker.requests(dedicated), "");
    let new = worker.established();
    assert!(worker.requests(new).contains("MULTI"));
}

/// The tenant's other clients wait for an instance that has no room; this one has room.
#[test]
fn redirect_does_not_wait_behind_clients_of_another_instance() {
    let (_registry, mut worker) = Registry::of(&[1, 2]).start(|settings| {
        first_worker(settings);
        settings.instance_connections_max = 3;
    });
    // The clients of ann are on the first instance, and those of bob on the second one.
    let (ann, _) = worker.user("ann");
    let (target, _) = worker.user("bob");
    let others = ["ann", "bob", "ann"].map(|name| worker.log_in(name, "pw"));
    let full = [ann, others[0], others[2]];
    let bob = others[1];
    worker.dedicated(full[0], "WATCH k", "+OK\r\n");
    worker.dedicated(full[1], "WATCH k", "+OK\r\n");
    worker.send(full[2], "WATCH k");
    assert_eq!(worker.new_links(), []);
    worker.send(bob, "WATCH k");
    let tracking = worker.established();
    worker.requests(tracking);
    worker.deliver(tracking, bob, "+OK\r\n");
    worker.send(bob, "CLIENT TRACKING ON REDIRECT 2");
    worker.settle();
    let _subscriber = worker.established();
    worker.advance(200);
    let sent = worker.requests(tracking);
    assert!(sent.contains("REDIRECT"), "{}", worker.received(bob));
    assert_eq!(worker.received(target), "");
}

/// A client that no other client could be redirected to has not waited for a connection itself.
#[test]
fn failed_redirect_is_no_wait_of_its_target() {
    let mut worker = Worker::with(|settings| {
        settings.dedicated_max = 1;
        settings.pool_wait_ms = 5_000;
    });
    let (target, _) = worker.user("ann");
    let ann = worker.log_in("ann", "pw");
    worker.dedicated(ann, "WATCH k", "+OK\r\n");
    worker.send(ann, "CLIENT TRACKING ON REDIRECT 1");
    worker.advance(4_000);
    assert!(
        worker
            .received(ann)
            .contains("gets no connection of its own")
    );
    worker.send(target, "BLPOP l 0");
    worker.advance(2_000);
    assert_eq!(worker.received(target), "");
}

/// A client that waits for a connection of its own keeps its place, and its wait ends in time.
#[test]
fn redirect_leaves_its_target_in_the_wait_queue() {
    let mut worker = Worker::with(|settings| {
        settings.dedicated_max = 2;
        settings.pool_wait_ms = 1_000;
    });
    let (target, _) = worker.user("ann");
    let [holder, ann, late] = [(); 3].map(|()| worker.log_in("ann", "pw"));
    let held = worker.dedicated(holder, "WATCH k", "+OK\r\n");
    worker.dedicated(ann, "WATCH k", "+OK\r\n");
    worker.send(target, "BLPOP first 0");
    worker.advance(10);
    worker.send(late, "BLPOP second 0");
    worker.send(ann, "CLIENT TRACKING ON REDIRECT 1");
    worker.advance(300);
    worker.send(holder, "UNWATCH");
    worker.reply(held, "+OK\r\n");
    worker.settle();
    let sent = worker.requests(held);
    assert!(sent.contains("first"), "{sent}");
    worker.advance(800);
    let refused = "-ERR elika: no dedicated backend connection available\r\n";
    assert_eq!(worker.received(late), refused);
}

/// The target's wait times out in the turn in which another client redirects to it.
#[test]
fn redirect_does_not_take_the_error_of_its_target() {
    let mut worker = Worker::with(|settings| {
        settings.dedicated_max = 1;
        settings.pool_wait_ms = 1_000;
    });
    let (target, _) = worker.user("ann");
    let ann = worker.log_in("ann", "pw");
    worker.dedicated(ann, "WATCH k", "+OK\r\n");
    worker.send(target, "BLPOP l 0");
    worker.advance_clock(1_000);
    let redirect = command("CLIENT TRACKING ON REDIRECT 1");
    worker.machine.client_bytes(ann, &redirect);
    worker.machine.tick();
    worker.settle();
    let refused = "-ERR elika: no dedicated backend connection available\r\n";
    assert_eq!(worker.received(target), refused);
}

/// The client that redirects is closed before the target's new connection is ready.
#[test]
fn target_of_a_redirect_that_is_given_up_keeps_no_connection() {
    let (mut worker, target, _) = Worker::with_user("ann");
    let ann = worker.log_in("ann", "pw");
    worker.dedicated(ann, "WATCH k", "+OK\r\n");
    worker.send(ann, "CLIENT TRACKING ON REDIRECT 1");
    worker.settle();
    let new = worker.new_link();
    worker.machine.client_closed(ann);
    worker.establish(new);
    worker.settle();
    let stats = (worker.machine).collect_stats(&StatsRequest::Clients(10, None));
    let dedicated: Vec<_> = stats.clients.iter().map(|it| (it.id, it.pinned)).collect();
    assert_eq!(dedicated, [(1, None)]);
    assert!(!worker.closed(target));
}

/// CLIENT REPLY OFF silences the reply to PING, and no messages.
#[test]
fn silent_subscriber_gets_messages_and_no_pong() {
    let (mut worker, client, _) = Worker::with_user("ann");
    worker.send(client, "CLIENT REPLY OFF");
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let dedicated = worker.dedicated(client, "SUBSCRIBE c", confirmed);
    let pong = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";
    let message = "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n";
    for piece in [1, 2, 100] {
        worker.send(client, "PING");
        let all = [message, pong, message].concat();
        for bytes in all.as_bytes().chunks(piece) {
            worker.reply(dedicated, bytes);
        }
        assert_eq!(worker.received(client), message.repeat(2));
    }
}
