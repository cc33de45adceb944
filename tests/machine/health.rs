//! Checks of instances: requests, replies, and that clients do not notice them.

use elika::cluster::{Health, Status};
use elika::proxy::{ClientKey, Flow, LinkKey, StatsRequest};

use super::harness::{Worker, value};
use super::instances::Registry;

const CHECK_MS: u64 = 1_000;

/// The replies of a primary to a check.
const WELL: &str = "+PONG\r\n*2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

/// The replies of a replica to a check.
const REPLICA: &str = "+PONG\r\n*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";

const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";

fn start(ports: &[u16]) -> (Registry, Worker) {
    Registry::of(ports).start(|settings| {
        settings.check_ms = CHECK_MS;
        settings.check_timeout_ms = 300;
    })
}

/// The first worker of a process.
fn start_first() -> (Registry, Worker) {
    Registry::of(&[1]).start(|settings| (settings.worker, settings.check_ms) = (0, CHECK_MS))
}

impl Worker {
    fn health(&self, port: u16) -> (Health, String) {
        let stats = self.machine.collect_stats(&StatsRequest::Metrics);
        let mut all = stats.instances.into_iter();
        let found = all.find(|it| it.id.as_str() == port.to_string());
        found.map(|it| (it.health, it.reason)).unwrap()
    }

    fn client_and_connection(&mut self) -> (ClientKey, LinkKey) {
        let (client, backend) = self.user("ann");
        self.requests(backend);
        (client, backend)
    }
}

#[test]
fn check_on_an_idle_connection_is_invisible_to_clients() {
    let (_registry, mut worker) = start(&[1]);
    let (client, backend) = worker.client_and_connection();
    for _ in 0..3 {
        worker.advance(100);
        assert!(worker.requests(backend).contains("PING"));
        worker.reply(backend, WELL);
        worker.advance(CHECK_MS - 100);
    }
    worker.send(client, "GET a");
    worker.deliver(backend, client, "$1\r\na\r\n");
    assert_eq!(worker.health(1).0, Health::Up);
}

#[test]
fn loading_or_hanging_server_is_degraded_until_it_answers() {
    for answer in ["-LOADING Redis is loading\r\n", "-MASTERDOWN Link\r\n", ""] {
        let (_registry, mut worker) = start(&[1, 2]);
        let (_, backend) = worker.client_and_connection();
        let port = worker.port(backend);
        worker.advance(CHECK_MS);
        if !answer.is_empty() {
            worker.reply(backend, WELL.replace("+PONG\r\n", answer));
        }
        worker.advance(500);
        let (health, reason) = worker.health(port);
        assert_eq!(health, Health::Degraded, "{answer}");
        assert!(!reason.is_empty());
        for user in ["bob", "eve", "zoe"] {
            let _client = worker.client_sends(&format!("AUTH {user} pw"));
            let other = worker.new_link();
            assert_eq!(worker.port(other), 3 - port);
            worker.establish(other);
        }
        worker.advance(CHECK_MS);
        worker.reply(backend, WELL);
        assert_eq!(worker.health(port), (Health::Up, String::new()));
    }
}

#[test]
fn readonly_server_is_up_again_when_hello_says_primary() {
    let (_registry, mut worker) = start(&[1]);
    let (client, backend) = worker.client_and_connection();
    worker.requests(backend);
    worker.send(client, "SET k v");
    worker.deliver(backend, client, READONLY);
    for (reply, health) in [(REPLICA, Health::Degraded), (WELL, Health::Up)] {
        worker.advance(CHECK_MS);
        assert!(worker.requests(backend).contains("HELLO"));
        worker.reply(backend, reply);
        assert_eq!(worker.health(1).0, health);
    }
}

/// A client can produce such a reply with `EVAL "return redis.error_reply('LOADING x')" 0`.
#[test]
fn error_in_a_client_reply_makes_a_check_due() {
    for said in ["-LOADING x\r\n", "-MASTERDOWN x\r\n", READONLY] {
        let (_registry, mut worker) = start(&[1]);
        let (client, backend) = worker.client_and_connection();
        worker.advance(100);
        worker.reply(backend, WELL);
        let before = worker.machine.counters().checks;
        let mut checks = 0;
        for _ in 0..9 {
            worker.requests(backend);
            worker.send(client, "EVAL s 0");
            worker.reply(backend, said);
            assert_eq!(worker.received(client), said);
            assert_eq!(worker.health(1).0, Health::Up);
            worker.advance(100);
            let asked = worker.requests(backend).matches("PING").count();
            worker.reply(backend, WELL.repeat(asked));
            checks += asked;
            assert_eq!(worker.health(1).0, Health::Up);
        }
        assert!((1..=5).contains(&checks), "{checks}");
        assert_eq!(worker.machine.counters().checks - before, checks as u64);
    }
}

/// The connections of a pool may have been opened long ago.
#[test]
fn hello_reply_has_the_role_of_the_last_check() {
    let hello = "*6\r\n$2\r\nid\r\n:7\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
                 $17\r\navailability_zone\r\n$1\r\na\r\n";
    let (_registry, mut worker) = start(&[1]);
    let client = worker.client_sends("HELLO 2");
    let backend = worker.new_link();
    worker.open_handshake(backend);
    worker.reply(backend, format!("{hello}*0\r\n"));
    assert!(worker.received(client).contains("master"));
    worker.advance(CHECK_MS);
    worker.reply(
        backend,
        format!("+PONG\r\n{hello}").replace("$6\r\nmaster", "$7\r\nreplica"),
    );
    worker.send(client, "HELLO");
    let heard = worker.received(client);
    let expected = hello
        .replace("$6\r\nmaster", "$7\r\nreplica")
        .replace(":7", ":1");
    assert_eq!(heard, expected);
}

/// The connection of anonymous clients is replaced each minute; a check may be in flight on the old
/// one.
#[test]
fn idle_proxy_continues_checks() {
    let (_registry, mut worker) = start_first();
    let mut open = Vec::new();
    for _ in 0..3_000 {
        worker.advance(100);
        for backend in worker.new_links() {
            worker.establish(backend);
            open.push(backend);
        }
        let asked: Vec<_> = (open.iter())
            .filter(|&&backend| worker.requests(backend).contains("PING"))
            .copied()
            .collect();
        for backend in asked {
            worker.reply(backend, WELL);
        }
        assert_ne!(worker.health(1).0, Health::Degraded);
    }
    assert!(worker.machine.counters().checks > 200);
}

/// The first worker, which has found that its instance is up.
fn first_worker_alone() -> Worker {
    let (_registry, mut worker) = start_first();
    worker.advance(200);
    let first = worker.new_link();
    worker.refuse_handshake(first, "-NOAUTH Authentication required.\r\n");
    worker
}

/// The first worker checks instances that have no clients.
#[test]
fn unused_instance_is_checked_by_connecting() {
    let mut worker = first_worker_alone();
    assert_eq!(worker.health(1).0, Health::Up);
    worker.advance(20 * CHECK_MS);
    let begun = worker.new_links().len();
    assert!((1..=5).contains(&begun), "{begun} connections were opened");
}

/// The process has dropped the reports of the workers, so that they must report again.
#[test]
fn instance_that_is_added_again_has_unknown_health() {
    let (mut registry, mut worker) = start(&[1, 2]);
    let (client, backend) = worker.client_and_connection();
    let port = worker.port(backend);
    assert_eq!(worker.health(port).0, Health::Up);
    worker.machine.client_closed(client);
    worker.apply(registry.remove(port));
    worker.apply(registry.set(port, Status::Ready));
    assert_eq!(worker.health(port).0, Health::Unknown);
    worker.apply(registry.remove(3 - port));
    for backend in worker.new_links() {
        worker.establish(backend);
    }
    let (_, backend) = worker.client_and_connection();
    assert_eq!(worker.port(backend), port);
    assert_eq!(worker.health(port).0, Health::Up);
}

/// A worker without clients must not keep reporting an old state, which would keep the clients of
/// all workers away.
#[test]
fn worker_without_clients_checks_instances() {
    for known_to_strangers in [true, false] {
        let (_registry, mut worker) = start(&[1]);
        let (client, backend) = worker.client_and_connection();
        worker.send(client, "SET k v");
        worker.reply(backend, READONLY);
        worker.advance(100);
        worker.reply(backend, REPLICA);
        worker.machine.client_closed(client);
        worker.advance(400);
        worker.fail(backend, &elika::proxy::Failure::Lost);
        assert_eq!(worker.health(1).0, Health::Degraded);
        assert_eq!(worker.machine.links(), 0);
        assert!(worker.machine.next_deadline().is_some(), "it would sleep");
        worker.advance(6 * CHECK_MS);
        let anonymous = worker.new_link();
        if known_to_strangers {
            worker.establish(anonymous);
            worker.requests(anonymous);
            worker.advance(CHECK_MS);
            assert!(worker.requests(anonymous).contains("HELLO"));
            worker.reply(anonymous, WELL);
        } else {
            worker.refuse_handshake(anonymous, "-NOAUTH Authentication required.\r\n");
        }
        assert_eq!(worker.health(1), (Health::Up, String::new()));
    }
}

/// No other event would wake the worker.
#[test]
fn first_worker_wakes_for_checks_without_clients() {
    let mut worker = first_worker_alone();
    worker.advance(1_000);
    assert_eq!(worker.machine.links(), 0);
    assert!(worker.machine.next_deadline().is_some());
}

/// A check behind the reply of a slow reader must neither close the reader nor change the health of
/// the instance.
#[test]
fn check_does_not_affect_a_slow_reader() {
    let (_registry, mut worker) = start(&[1]);
    let (client, backend) = worker.client_and_connection();
    worker.advance(100);
    assert!(worker.requests(backend).contains("PING"));
    worker.reply(backend, WELL);
    worker.advance(CHECK_MS - 40);
    worker.stall(client);
    worker.send(client, "GET big");
    worker.advance(40);
    let asked = worker.requests(backend);
    assert!(asked.find("GET") < asked.find("PING"), "{asked}");
    let flow = worker.reply(backend, &value(1 << 20)[..512 * 1024]);
    assert_eq!(flow, Flow::Pause);
    worker.advance(5 * CHECK_MS);
    assert_eq!(worker.health(1).0, Health::Up);
}

#[test]
fn replies_to_health_checks_are_not_dropped_replies() {
    let mut worker = Worker::with(|settings| {
        settings.worker = 0;
        settings.check_ms = 1_000;
    });
    let (_client, shared) = worker.user("ann");
    worker.requests(shared);
    let mut replied = false;
    for _ in 0..5 {
        worker.advance(1_000);
        let asked = worker.requests(shared).to_lowercase();
        worker.reply(
            shared,
            "+PONG\r\n".repeat(asked.matches("ping\r\n").count()),
        );
        replied |= asked.contains("ping");
    }
    assert!(replied);
    let counters = worker.machine.counters();
    assert_eq!(counters.replies_dropped, 0);
}
