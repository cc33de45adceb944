//! Who may log in, on which connection that is found out, and what ends a login.

use std::net::SocketAddr;
use std::sync::Arc;

use elika::cluster::{
    ClusterInstance, ClusterKey, ClusterName, Endpoint, InstanceId, Snapshot, Status,
};
use elika::proxy::{ConnKey, Failure, Notice, Question, Settings};

use super::harness::Worker;
use super::instances::{Registry, start};

const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";
pub(crate) const WRONGPASS: &str =
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const AUTH_BOB_BAD: &str = "*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$3\r\nbad\r\n";

/// Some servers send no reply to a failed AUTH while others are pending.
#[test]
fn auth_is_alone_on_a_connection_that_serves_nobody() {
    let mut worker = Worker::new();
    let (bob, bobs) = worker.user("bob");
    worker.says(bob, "GET secret");
    assert!(worker.asked(bobs).contains("secret"));
    let guesser = worker.client();
    worker.says(guesser, "AUTH bob bad");
    let verifier = worker.begun_one();
    assert_eq!(worker.connect(verifier), AUTH_BOB_BAD);
    worker.says(bob, "SET x 1");
    assert!(!worker.asked(bobs).contains("AUTH"));
    worker.replies(verifier, WRONGPASS);
    assert_eq!(worker.heard(guesser), WRONGPASS);
    assert!(worker.closed(ConnKey::Link(verifier)));
    worker.replies(bobs, "$6\r\nsecret\r\n+OK\r\n");
    assert_eq!(worker.heard(bob), "$6\r\nsecret\r\n+OK\r\n");
    worker.says(guesser, "GET secret");
    assert_eq!(worker.asked(bobs), "");
}

#[test]
fn refused_logins_are_told_once_a_second_with_how_many_there_were() {
    let mut worker = Worker::new();
    let (client, _) = worker.stranger();
    let mut told = Vec::new();
    for _ in 0..3 {
        worker.says(client, "AUTH bo\x1b[b bad");
        let verifier = worker.begun_one();
        worker.connect(verifier);
        worker.replies(verifier, WRONGPASS);
        assert_eq!(worker.heard(client), WRONGPASS);
        told.extend(worker.notices());
    }
    let line = |notice: &Notice| notice.to_string();
    let [first] = &told[..] else {
        panic!("{told:?}");
    };
    let first = line(first);
    assert!(first.contains("client: login refused client="), "{first}");
    assert!(first.ends_with(" user=bo\\x1b[b suppressed=0"), "{first}");
    worker.pass(1_100);
    let rest: Vec<String> = worker.notices().iter().map(line).collect();
    assert_eq!(rest, ["client: login refused limit=login suppressed=2"]);
    worker.pass(3_000);
    assert_eq!(worker.notices(), []);
}

#[test]
fn credential_is_verified_before_a_database_is_chosen() {
    let mut worker = Worker::new();
    let (stranger, _) = worker.stranger();
    worker.says(stranger, "SELECT 3");
    let three = worker.begun_one();
    worker.welcome(three);
    assert_eq!(worker.heard(stranger), "+OK\r\n");
    worker.says(stranger, "AUTH bob bad");
    let verifier = worker.begun_one();
    assert_eq!(worker.connect(verifier), AUTH_BOB_BAD);
    worker.replies(verifier, WRONGPASS);
    assert_eq!(worker.heard(stranger), WRONGPASS);
    // It is still in its database, and who it was.
    worker.says(stranger, "GET x");
    assert!(worker.asked(three).contains("GET"));
    worker.says(stranger, "AUTH bob pw");
    worker.replies(three, "$-1\r\n");
    let verifier = worker.begun_one();
    worker.opens(verifier);
    assert_eq!(worker.verifier(), verifier);
    worker.replies(verifier, "+OK\r\n");
    let bobs = worker.begun_one();
    assert!(worker.connect(bobs).starts_with("*2\r\n$6\r\nSELECT"));
    worker.replies(bobs, NOAUTH);
    assert!(worker.asked(bobs).starts_with("*3\r\n$4\r\nAUTH"));
    worker.replies(bobs, "+OK\r\n");
    let last = worker.asked(bobs);
    assert!(last.contains("HELLO") && last.contains("SELECT"), "{last}");
    worker.accept(bobs, last);
    assert_eq!(worker.heard(stranger), "$-1\r\n+OK\r\n");
}

/// The connection that verified a login stays for the next ones: each is alone there.
#[test]
fn logins_take_turns_on_an_idle_verifier() {
    let mut worker = Worker::new();
    worker.user("bob");
    worker.logs_in("bob", "pw");
    let (one, two) = (worker.client(), worker.client());
    worker.says(one, "AUTH bob pw");
    worker.says(two, "AUTH bob bad");
    let on = worker.verifier();
    let second = worker.begun_one();
    assert_eq!(worker.asked(on), "", "two logins at a time");
    worker.replies(on, "+OK\r\n");
    assert_eq!(worker.heard(one), "+OK\r\n");
    assert_eq!(worker.asked(on), AUTH_BOB_BAD);
    worker.replies(on, WRONGPASS);
    assert_eq!(worker.heard(two), WRONGPASS);
    assert!(worker.closed(ConnKey::Link(on)));
    worker.opens(second);
    assert_eq!(worker.asked(second), "");
    worker.pass(31_000);
    assert!(worker.closed(ConnKey::Link(second)));
}

#[test]
fn login_on_a_lost_verifier_is_tried_again_once_it_was_good() {
    let mut worker = Worker::new();
    worker.user("bob");
    worker.logs_in("bob", "pw");
    let client = worker.client();
    worker.says(client, "AUTH bob pw");
    let on = worker.verifier();
    worker.fails(on, &Failure::Lost);
    assert_eq!(worker.heard(client), "");
    let fresh = worker.begun_one();
    worker.opens(fresh);
    worker.fails(fresh, &Failure::Lost);
    let text = "-ERR elika: backend unavailable: connection closed\r\n";
    assert_eq!(worker.heard(client), text);
    assert_eq!(worker.begun(), []);
}

#[test]
fn more_than_the_reply_to_auth_is_not_believed() {
    for answer in ["+OK\r\n+OK\r\n", "$2\r\nOK\r\n", "+OKAY\r\n", "+OK\r\n$"] {
        let mut worker = Worker::new();
        let client = worker.client();
        worker.says(client, "AUTH bob bad");
        let on = worker.begun_one();
        worker.opens(on);
        worker.replies(on, answer);
        let heard = worker.heard(client);
        assert!(heard.starts_with("-ERR elika: backend "), "{heard}");
        assert!(worker.closed(ConnKey::Link(on)));
    }
}

#[test]
fn verifier_that_speaks_unasked_is_closed() {
    let mut worker = Worker::new();
    worker.user("bob");
    let client = worker.logs_in("bob", "pw");
    worker.machine.client_closed(client);
    let guesser = worker.client();
    worker.says(guesser, "AUTH bob bad");
    let on = worker.verifier();
    worker.machine.client_closed(guesser);
    worker.replies(on, "+OK\r\n");
    worker.replies(on, "+OK\r\n");
    assert!(worker.closed(ConnKey::Link(on)));
}

#[test]
fn server_that_is_full_says_so_to_a_login() {
    let full = "-ERR max number of clients reached\r\n";
    let mut worker = Worker::new();
    let (bob, bobs) = worker.user("bob");
    let late = worker.client();
    worker.says(late, "AUTH bob pw");
    let on = worker.begun_one();
    worker.opens(on);
    worker.replies(on, full);
    assert_eq!(worker.heard(late), full);
    worker.says(bob, "GET x");
    assert!(worker.asked(bobs).contains("GET"));
}

/// Nobody tells the proxy that the default user has got a password: another connection finds out.
#[test]
fn strangers_are_let_out_when_the_default_user_gets_a_password() {
    let mut worker = Worker::new();
    let (_old, open) = worker.stranger();
    worker.asked(open);
    let new = worker.client();
    worker.says(new, "HELLO 3");
    let three = worker.begun_one();
    let questions = worker.questions();
    worker.refuse(
        three,
        "-NOAUTH HELLO must be called with the client already authenticated\r\n",
    );
    assert_eq!(worker.questions(), questions + 1, "other workers are told");
    assert!(worker.heard(new).starts_with("-NOAUTH "));
    let late = worker.client();
    worker.says(late, "GET x");
    assert_eq!(worker.heard(late), NOAUTH);
    assert!(worker.closed(ConnKey::Link(open)));
    // The refusal is repeated for a while; then the backend is asked again.
    worker.pass(1_500);
    worker.says(late, "GET x");
    assert_eq!(worker.asked(open), "");
    let again = worker.begun_one();
    worker.refuse(again, NOAUTH);
    assert_eq!(worker.heard(late), NOAUTH);
}

#[test]
fn strangers_are_let_out_when_another_worker_is_refused() {
    let mut worker = Worker::new();
    let (stranger, open) = worker.stranger();
    worker.own(stranger, "BLPOP l 1", "*-1\r\n");
    let tenant = ClusterKey::local().tenant();
    let id = InstanceId::from("one");
    worker.machine.peer_asked(Question::LoginNeeded(tenant, id));
    worker.settle();
    assert!(worker.closed(ConnKey::Link(open)));
    assert_eq!(worker.machine.links(), 0);
    worker.says(stranger, "GET x");
    assert_eq!(worker.heard(stranger), NOAUTH);
}

/// A connection of a client's own that came in without a password is no way in for long, either.
#[test]
fn connection_without_a_login_is_replaced_though_it_is_in_use() {
    let mut worker = Worker::new();
    let (stranger, _) = worker.stranger();
    let own = worker.own(stranger, "BLPOP l 1", "*-1\r\n");
    for _ in 0..7 {
        worker.pass(10_000);
        worker.says(stranger, "BLPOP l 1");
        for backend in worker.begun() {
            worker.welcome(backend);
        }
        worker.replies(own, "*-1\r\n");
        worker.settle();
    }
    assert!(worker.closed(ConnKey::Link(own)));
}

#[test]
fn two_passwords_of_one_user_share_nothing() {
    let mut worker = Worker::new();
    let (bob, bobs) = worker.user("bob");
    let dave = worker.client();
    worker.says(dave, "AUTH bob new");
    let daves = worker.begun_one();
    worker.welcome(daves);
    assert_eq!(worker.heard(dave), "+OK\r\n");
    for (client, own, other) in [(bob, bobs, daves), (dave, daves, bobs)] {
        worker.says(client, "GET x");
        assert!(worker.asked(own).contains("GET"));
        assert_eq!(worker.asked(other), "");
        worker.replies(own, "$-1\r\n");
        worker.heard(client);
    }
    // The first password is not good any more. Connections that it was good for serve on.
    worker.says(bob, "SELECT 5");
    let five = worker.begun_one();
    worker.refuse(five, WRONGPASS);
    assert!(worker.closed(ConnKey::Client(bob)), "it cannot go on");
    worker.says(dave, "GET y");
    assert!(worker.asked(daves).contains("GET"));
    worker.replies(daves, "$-1\r\n");
    assert_eq!(worker.heard(dave), "$-1\r\n");
}

/// As a client that is connected directly: its connection outlives the password.
#[test]
fn connection_outlives_its_password() {
    let mut worker = Worker::new();
    let (bob, bobs) = worker.user("bob");
    let other = worker.logs_in("bob", "pw");
    worker.says(other, "SELECT 5");
    let five = worker.begun_one();
    worker.refuse(five, WRONGPASS);
    assert_eq!(worker.heard(other), "");
    assert!(worker.closed(ConnKey::Client(other)));
    worker.says(bob, "GET x");
    assert!(worker.asked(bobs).contains("GET"));
    worker.replies(bobs, "$-1\r\n");
    assert_eq!(worker.heard(bob), "$-1\r\n");
}

/// The server has closed all connections of a user, as it does when the user is deleted.
#[test]
fn clients_are_closed_when_their_user_is_deleted() {
    let mut worker = Worker::new();
    let (idle, bobs) = worker.user("bob");
    let busy = worker.logs_in("bob", "pw");
    worker.says(busy, "INCR n");
    worker.asked(bobs);
    worker.fails(bobs, &Failure::Lost);
    let text = "-ERR elika: backend connection lost, outcome unknown\r\n";
    assert_eq!(worker.heard(busy), text);
    worker.pass(100);
    let again = worker.begun_one();
    worker.says(busy, "GET x");
    worker.refuse(again, WRONGPASS);
    worker.settle();
    for client in [idle, busy] {
        assert_eq!(worker.heard(client), "");
        assert!(worker.closed(ConnKey::Client(client)));
    }
}

#[test]
fn clients_stay_when_a_lost_connection_can_be_made_again() {
    let mut worker = Worker::new();
    let (idle, bobs) = worker.user("bob");
    worker.fails(bobs, &Failure::Lost);
    worker.pass(100);
    let again = worker.begun_one();
    worker.welcome(again);
    worker.says(idle, "GET x");
    assert!(worker.asked(again).contains("GET"));
}

/// A new session with the new password brings no connection for those with the old one.
#[test]
fn revoked_password_is_not_served_where_a_new_one_came_in() {
    let mut worker = Worker::new();
    let (old, olds) = worker.user("bob");
    worker.fails(olds, &Failure::Lost);
    let new = worker.client();
    worker.says(new, "AUTH bob new");
    worker.pass(100);
    let begun = worker.begun();
    let [again, verifier] = begun[..] else {
        panic!("{begun:?}")
    };
    worker.welcome(verifier);
    assert_eq!(worker.heard(new), "+OK\r\n");
    worker.says(old, "GET secret");
    assert_eq!(worker.asked(verifier), "");
    worker.refuse(again, WRONGPASS);
    worker.settle();
    assert!(worker.closed(ConnKey::Client(old)));
    assert_eq!(worker.asked(verifier), "");
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
        let endpoint = Endpoint {
            addr: "127.0.0.1".into(),
            port,
            name: "redis".into(),
        };
        keys.push(key.tenant().to_string());
        let instance = ClusterInstance::new(key, name, endpoint);
        all.push((instance, vec![SocketAddr::from(([127, 0, 0, 1], port))]));
    }
    let settings = Settings {
        worker: 1,
        logins_per_second: 10,
        ..Settings::default()
    };
    let snapshot = Arc::new(Snapshot::new(1, None, all));
    let worker = Worker::following(settings, snapshot);
    let [a, b] = [keys.remove(0), keys.remove(0)];
    (worker, [a, b])
}

#[test]
fn guessing_at_one_tenant_does_not_delay_logins_of_another() {
    let (mut worker, [a, b]) = two_tenants();
    let guessers: Vec<_> = (0..50).map(|_| worker.client()).collect();
    for (i, &guesser) in guessers.iter().enumerate() {
        worker.says(guesser, &format!("AUTH {a}.ann guess{i}"));
    }
    assert_eq!(worker.begun().len(), 10, "as many as there are tokens");
    let client = worker.client();
    worker.says(client, &format!("AUTH {b}.ann pw"));
    // The other tenant has one turn before, at most.
    worker.pass(200);
    let begun = worker.begun();
    let on = begun.iter().find(|&&key| worker.port(key) == 2);
    let on = *on.expect("no connection is opened for the login");
    worker.welcome(on);
    assert_eq!(worker.heard(client), "+OK\r\n");
}

/// Each guess takes a token as soon as there is one, if others do not take turns.
#[test]
fn steady_guessing_at_one_tenant_leaves_turns_to_another() {
    let (mut worker, [a, b]) = two_tenants();
    let client = worker.client();
    for ms in 0..1_000 {
        let guesser = worker.client();
        worker.says(guesser, &format!("AUTH {a}.ann guess{ms}"));
        if ms == 500 {
            worker.says(client, &format!("AUTH {b}.ann pw"));
        }
        for on in worker.begun() {
            let flight = worker.connect(on);
            match worker.port(on) {
                2 => worker.accept(on, flight),
                _ => drop(worker.replies(on, WRONGPASS)),
            }
        }
        worker.pass(1);
        let due = ms >= 500 + 300;
        assert!(
            !due || worker.heard(client) == "+OK\r\n",
            "it waits for ever"
        );
        if due {
            return;
        }
    }
}

/// None of the connections that are begun for logins is ever made.
#[test]
fn logins_end_when_no_connection_can_be_made() {
    let mut worker = Worker::new();
    let clients = [worker.client(), worker.client(), worker.client()];
    for client in clients {
        worker.says(client, "AUTH bob pw");
        worker.pass(1_000);
    }
    let mut begun = 0;
    for _ in 0..10 {
        begun += worker.begun().len();
        worker.pass(1_000);
    }
    for client in clients {
        assert!(
            worker
                .heard(client)
                .starts_with("-ERR elika: backend unavail")
        );
    }
    assert!(begun < 10, "{begun}");
}

#[test]
fn logins_end_though_requests_go_on() {
    let mut worker = Worker::new();
    worker.user("carl");
    let clients = [worker.client(), worker.client()];
    for client in clients {
        worker.says(client, "AUTH bob pw");
    }
    for _ in 0..20 {
        for on in worker.begun() {
            worker.fails(on, &Failure::Unreachable("refused".into()));
        }
        worker.pass(100);
    }
    for client in clients {
        assert!(
            worker
                .heard(client)
                .starts_with("-ERR elika: backend unavail")
        );
    }
}

#[test]
fn lost_credential_is_asked_about_once_a_second() {
    let mut worker = Worker::new();
    let (_client, backend) = worker.user("carl");
    worker.fails(backend, &Failure::Lost);
    let mut begun = 0;
    for _ in 0..5_000 {
        worker.pass(1);
        for on in worker.begun() {
            begun += 1;
            worker.welcome(on);
            worker.fails(on, &Failure::Lost);
        }
    }
    assert!(begun <= 6, "{begun}");
}

#[test]
fn server_that_is_full_says_so_to_a_select() {
    let full = "-ERR max number of clients reached\r\n";
    let mut worker = Worker::new();
    let (client, _) = worker.user("carl");
    worker.says(client, "SELECT 3");
    let three = worker.begun_one();
    worker.connect(three);
    worker.replies(three, full);
    assert_eq!(worker.heard(client), full);
}

#[test]
fn guessing_at_a_user_does_not_delay_logins_with_its_password() {
    let (mut worker, [a, _]) = two_tenants();
    let first = worker.client();
    worker.says(first, &format!("AUTH {a}.ann pw"));
    let anns = worker.begun_one();
    worker.welcome(anns);
    for i in 0..50 {
        let guesser = worker.client();
        worker.says(guesser, &format!("AUTH {a}.ann guess{i}"));
    }
    let begun = worker.begun();
    let client = worker.client();
    worker.says(client, &format!("AUTH {a}.ann pw"));
    worker.opens(begun[0]);
    assert_eq!(worker.verifier(), begun[0]);
    worker.replies(begun[0], "+OK\r\n");
    assert_eq!(worker.heard(client), "+OK\r\n");
}

#[test]
fn client_that_guesses_waits_behind_those_that_do_not() {
    let (mut worker, [a, _]) = two_tenants();
    let guesser = worker.client();
    worker.says(guesser, &format!("AUTH {a}.ann guess"));
    let on = worker.begun_one();
    worker.opens(on);
    assert_eq!(worker.verifier(), on);
    worker.replies(on, WRONGPASS);
    worker.says(guesser, &format!("AUTH {a}.ann guess"));
    let on = worker.begun_one();
    let client = worker.client();
    worker.says(client, &format!("AUTH {a}.ann pw"));
    worker.opens(on);
    let flight = worker.asked(on);
    assert!(flight.contains("pw"), "{flight}");
    worker.accept(on, flight);
    assert_eq!(worker.heard(client), "+OK\r\n");
}

#[test]
fn a_rate_of_no_logins_locks_nobody_out() {
    let mut worker = Worker::with(|settings| settings.logins_per_second = 0);
    let client = worker.client();
    worker.says(client, "UNWATCH");
    worker.pass(2_000);
    let backend = worker.begun_one();
    worker.welcome(backend);
    assert_eq!(worker.heard(client), "+OK\r\n");
}

/// Whatever a client sends: it has to log in, or to be let in as the default user.
#[test]
fn client_that_is_nobody_is_closed_in_time() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 5_000);
    let first = worker.client();
    worker.says(first, "PING");
    let refused = worker.begun_one();
    worker.refuse(refused, NOAUTH);
    let (bob, _) = worker.user("bob");
    for _ in 0..3 {
        worker.pass(2_000);
        worker.says(first, "PING");
        for backend in worker.begun() {
            worker.refuse(backend, NOAUTH);
        }
    }
    assert!(worker.closed(ConnKey::Client(first)));
    assert!(!worker.closed(ConnKey::Client(bob)));
    worker.says(bob, "RESET");
    worker.pass(4_000);
    assert!(!worker.closed(ConnKey::Client(bob)), "it begins anew");
    worker.pass(3_000);
    assert!(worker.closed(ConnKey::Client(bob)));
}

#[test]
fn client_that_guesses_again_and_again_is_closed_in_time() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 5_000);
    let client = worker.client();
    worker.says(client, "AUTH ann wrong");
    let first = worker.begun_one();
    worker.refuse(first, "-WRONGPASS wrong\r\n");
    assert_eq!(worker.heard(client), "-WRONGPASS wrong\r\n");
    worker.says(client, "AUTH ann wrong");
    worker.begun_one();
    worker.pass(4_000);
    assert!(!worker.closed(ConnKey::Client(client)));
    worker.pass(2_000);
    assert!(worker.closed(ConnKey::Client(client)));
}

#[test]
fn password_longer_than_servers_take_is_wrong_without_being_asked() {
    let mut worker = Worker::new();
    let (client, _) = worker.stranger();
    let longest = "x".repeat(16 * 1024);
    worker.says(client, &format!("AUTH ann {longest}x"));
    assert!(worker.heard(client).starts_with("-WRONGPASS "));
    assert!(worker.begun().is_empty());
    worker.says(client, &format!("AUTH ann {longest}"));
    assert!(!worker.begun().is_empty());
}

#[test]
fn client_that_the_default_user_lets_in_is_somebody() {
    let mut worker = Worker::with(|settings| settings.client_login_ms = 5_000);
    let (stranger, _) = worker.stranger();
    worker.pass(10_000);
    assert!(!worker.closed(ConnKey::Client(stranger)));
}

#[test]
fn clients_of_both_passwords_move_to_another_instance() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (early, _) = worker.login();
    let late = worker.client();
    worker.says(late, "AUTH ann newer");
    let on = worker.begun_one();
    worker.welcome(on);
    worker.heard(late);
    worker.follows(registry.set(2, Status::Ready));
    worker.follows(registry.set(1, Status::Offline));
    worker.settle();
    for backend in worker.begun() {
        worker.welcome(backend);
    }
    worker.settle();
    for client in [early, late] {
        worker.says(client, "GET x");
        worker.settle();
        assert!(!worker.closed(ConnKey::Client(client)));
    }
    assert_eq!(worker.machine.counters().clients_moved, 2);
}
