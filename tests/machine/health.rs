//! Checks of instances: what is asked, what the answers mean, and that no client hears any of it.

use elika::cluster::{Health, Status};
use elika::proxy::{ClientKey, ConnKey, Flow, LinkKey, Settings, Wanted};

use super::harness::{Worker, value};
use super::instances::Registry;

const CHECK_MS: u64 = 1_000;

/// The answers to a check, of a primary.
const WELL: &str = "+PONG\r\n*2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

/// The same, of a replica.
const REPLICA: &str = "+PONG\r\n*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";

const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

fn start(registry: &mut Registry) -> Worker {
    let settings = Settings {
        worker: 1,
        check_ms: CHECK_MS,
        check_timeout_ms: 300,
        ..Settings::default()
    };
    Worker::following(settings, registry.snapshot())
}

impl Worker {
    fn health(&self, port: u16) -> (Health, String) {
        let survey = self.machine.survey(&Wanted::Numbers);
        let mut all = survey.instances.into_iter();
        let found = all.find(|it| it.id.as_str() == port.to_string());
        found.map(|it| (it.health, it.reason)).unwrap()
    }

    fn client_and_connection(&mut self) -> (ClientKey, LinkKey) {
        let (client, backend) = self.user("ann");
        self.asked(backend);
        (client, backend)
    }
}

#[test]
fn an_idle_connection_is_asked_and_nobody_hears_of_it() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, backend) = worker.client_and_connection();
    for _ in 0..3 {
        worker.pass(100);
        assert!(worker.asked(backend).contains("PING"));
        worker.replies(backend, WELL);
        worker.pass(CHECK_MS - 100);
    }
    worker.says(client, "GET a");
    worker.replies(backend, "$1\r\na\r\n");
    assert_eq!(worker.heard(client), "$1\r\na\r\n");
    assert_eq!(worker.health(1).0, Health::Up);
}

#[test]
fn a_server_that_loads_or_hangs_is_degraded_until_it_answers_well() {
    for answer in ["-LOADING Redis is loading\r\n", "-MASTERDOWN Link\r\n", ""] {
        let mut registry = Registry::of(&[1, 2]);
        let mut worker = start(&mut registry);
        let (_, backend) = worker.client_and_connection();
        let port = worker.port(backend);
        worker.pass(CHECK_MS);
        if !answer.is_empty() {
            worker.replies(backend, WELL.replace("+PONG\r\n", answer));
        }
        worker.pass(500);
        let (health, reason) = worker.health(port);
        assert_eq!(health, Health::Degraded, "{answer}");
        assert!(!reason.is_empty());
        for user in ["bob", "eve", "zoe"] {
            let client = worker.client();
            worker.says(client, &format!("AUTH {user} pw"));
            let other = worker.begun_one();
            assert_eq!(worker.port(other), 3 - port);
            worker.welcome(other);
        }
        worker.pass(CHECK_MS);
        worker.replies(backend, WELL);
        assert_eq!(worker.health(port), (Health::Up, String::new()));
    }
}

#[test]
fn a_refused_write_is_forgiven_when_the_server_says_that_it_is_a_primary() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, backend) = worker.client_and_connection();
    worker.asked(backend);
    worker.says(client, "SET k v");
    worker.replies(backend, READONLY);
    assert_eq!(worker.heard(client), READONLY);
    for (reply, health) in [(REPLICA, Health::Degraded), (WELL, Health::Up)] {
        worker.pass(CHECK_MS);
        assert!(worker.asked(backend).contains("HELLO"));
        worker.replies(backend, reply);
        assert_eq!(worker.health(1).0, health);
    }
}

/// `EVAL "return redis.error_reply('LOADING x')" 0` is all that it takes.
#[test]
fn what_a_reply_says_of_a_server_is_checked_before_it_is_believed() {
    for said in ["-LOADING x\r\n", "-MASTERDOWN x\r\n", READONLY] {
        let mut registry = Registry::of(&[1]);
        let mut worker = start(&mut registry);
        let (client, backend) = worker.client_and_connection();
        worker.pass(100);
        worker.replies(backend, WELL);
        let before = worker.machine.counters().checks;
        let mut checks = 0;
        for _ in 0..9 {
            worker.asked(backend);
            worker.says(client, "EVAL s 0");
            worker.replies(backend, said);
            assert_eq!(worker.heard(client), said);
            assert_eq!(worker.health(1).0, Health::Up);
            worker.pass(100);
            let asked = worker.asked(backend).matches("PING").count();
            worker.replies(backend, WELL.repeat(asked));
            checks += asked;
            assert_eq!(worker.health(1).0, Health::Up);
        }
        assert!((1..=5).contains(&checks), "{checks}");
        assert_eq!(worker.machine.counters().checks - before, checks as u64);
    }
}

/// The connections of a pool may have been opened long ago.
#[test]
fn hello_tells_the_role_of_the_last_check() {
    let hello = "*6\r\n$2\r\nid\r\n:7\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
                 $17\r\navailability_zone\r\n$1\r\na\r\n";
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let client = worker.client();
    worker.says(client, "HELLO 2");
    let backend = worker.begun_one();
    worker.connect(backend);
    worker.replies(backend, format!("{hello}*0\r\n"));
    assert!(worker.heard(client).contains("master"));
    worker.pass(CHECK_MS);
    worker.replies(
        backend,
        format!("+PONG\r\n{hello}").replace("$6\r\nmaster", "$7\r\nreplica"),
    );
    worker.says(client, "HELLO");
    let heard = worker.heard(client);
    let expected = hello
        .replace("$6\r\nmaster", "$7\r\nreplica")
        .replace(":7", ":1");
    assert_eq!(heard, expected);
}

/// The connection on which strangers are asked for is renewed each minute; a check may be under way
/// on the one that goes.
#[test]
fn an_idle_proxy_goes_on_asking() {
    let mut registry = Registry::of(&[1]);
    let settings = Settings {
        worker: 0,
        check_ms: CHECK_MS,
        ..Settings::default()
    };
    let mut worker = Worker::following(settings, registry.snapshot());
    let mut open = Vec::new();
    for _ in 0..3_000 {
        worker.pass(100);
        for backend in worker.begun() {
            worker.welcome(backend);
            open.push(backend);
        }
        let asked: Vec<_> = (open.iter())
            .filter(|&&backend| worker.asked(backend).contains("PING"))
            .copied()
            .collect();
        for backend in asked {
            worker.replies(backend, WELL);
        }
        assert_ne!(worker.health(1).0, Health::Degraded);
    }
    assert!(worker.machine.counters().checks > 200);
}

/// The first worker, which has found its instance to be there.
fn first_worker_alone() -> Worker {
    let settings = Settings {
        worker: 0,
        check_ms: CHECK_MS,
        ..Settings::default()
    };
    let mut worker = Worker::following(settings, Registry::of(&[1]).snapshot());
    worker.pass(200);
    let first = worker.begun_one();
    worker.refuse(first, "-NOAUTH Authentication required.\r\n");
    worker
}

/// The first worker looks after instances that nobody uses.
#[test]
fn an_unused_instance_is_asked_by_connecting() {
    let mut worker = first_worker_alone();
    assert_eq!(worker.health(1).0, Health::Up);
    worker.pass(20 * CHECK_MS);
    let begun = worker.begun().len();
    assert!((1..=5).contains(&begun), "{begun} connections were opened");
}

/// Who kept what workers tell has forgotten it: they have to tell again.
#[test]
fn an_instance_that_comes_back_is_one_that_nobody_knows() {
    let mut registry = Registry::of(&[1, 2]);
    let mut worker = start(&mut registry);
    let (_, backend) = worker.client_and_connection();
    let port = worker.port(backend);
    assert_eq!(worker.health(port).0, Health::Up);
    worker.follows(registry.remove(port));
    worker.follows(registry.set(port, Status::Ready));
    assert_eq!(worker.health(port).0, Health::Unknown);
    worker.follows(registry.remove(3 - port));
    for backend in worker.begun() {
        worker.welcome(backend);
    }
    let (_, backend) = worker.client_and_connection();
    assert_eq!(worker.port(backend), port);
    assert_eq!(worker.health(port).0, Health::Up);
}

/// A worker whose clients have left may know nothing better than what it heard last. Its word would
/// keep all workers' clients away.
#[test]
fn a_worker_that_has_no_clients_there_asks_all_the_same() {
    for known_to_strangers in [true, false] {
        let mut registry = Registry::of(&[1]);
        let mut worker = start(&mut registry);
        let (client, backend) = worker.client_and_connection();
        worker.says(client, "SET k v");
        worker.replies(backend, READONLY);
        worker.pass(100);
        worker.replies(backend, REPLICA);
        worker.machine.client_closed(client);
        worker.pass(400);
        worker.fails(backend, &elika::proxy::Failure::Lost);
        assert_eq!(worker.health(1).0, Health::Degraded);
        assert_eq!(worker.machine.links(), 0);
        assert!(worker.machine.next_deadline().is_some(), "it would sleep");
        worker.pass(6 * CHECK_MS);
        let stranger = worker.begun_one();
        if known_to_strangers {
            worker.welcome(stranger);
            worker.asked(stranger);
            worker.pass(CHECK_MS);
            assert!(worker.asked(stranger).contains("HELLO"));
            worker.replies(stranger, WELL);
        } else {
            worker.refuse(stranger, "-NOAUTH Authentication required.\r\n");
        }
        assert_eq!(worker.health(1), (Health::Up, String::new()));
    }
}

/// Nothing else would wake it.
#[test]
fn the_first_worker_wakes_to_check_though_nobody_is_connected() {
    let mut worker = first_worker_alone();
    worker.pass(1_000);
    assert_eq!(worker.machine.links(), 0);
    assert!(worker.machine.next_deadline().is_some());
}

/// A check behind the reply of a slow reader neither makes that one be closed, nor says anything
/// about the instance.
#[test]
fn a_check_does_not_hurry_a_slow_reader() {
    let mut registry = Registry::of(&[1]);
    let mut worker = start(&mut registry);
    let (client, backend) = worker.client_and_connection();
    worker.pass(100);
    assert!(worker.asked(backend).contains("PING"));
    worker.replies(backend, WELL);
    worker.pass(CHECK_MS - 40);
    worker.stall(ConnKey::Client(client));
    worker.says(client, "GET big");
    worker.pass(40);
    let asked = worker.asked(backend);
    assert!(asked.find("GET") < asked.find("PING"), "{asked}");
    let flow = worker.replies(backend, &value(1 << 20)[..512 * 1024]);
    assert_eq!(flow, Flow::Pause);
    worker.pass(5 * CHECK_MS);
    assert_eq!(worker.health(1).0, Health::Up);
}
