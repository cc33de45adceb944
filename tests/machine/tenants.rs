//! Limits of tenants and pauses, step by step.

use elika::cluster::{ClusterKey, Status, TenantLimits};
use elika::proxy::{ClientKey, ConnKey, Flow, LinkKey, Settings, Wanted};

use super::harness::Worker;
use super::instances::Registry;

pub(crate) fn limited(limits: TenantLimits) -> (Worker, Registry) {
    limited_with(limits, |_| {})
}

pub(crate) fn limited_with(
    limits: TenantLimits,
    change: impl Fn(&mut Settings),
) -> (Worker, Registry) {
    let mut registry = Registry::of(&[1]);
    registry.limits = limits;
    let mut settings = Settings {
        worker: 1,
        ..Settings::default()
    };
    change(&mut settings);
    let worker = Worker::following(settings, registry.snapshot());
    (worker, registry)
}

impl Worker {
    /// A pipeline of so many GETs; returns how many of them went to the backend, and what was said
    /// to the others.
    fn burst(&mut self, client: ClientKey, backend: LinkKey, n: usize) -> (usize, String) {
        self.asked(backend);
        self.sends(client, super::harness::command("GET k").repeat(n));
        self.serve(client, backend)
    }

    /// Answers the GETs that a backend was asked since the last look: how many, and what the
    /// client heard to others.
    fn serve(&mut self, client: ClientKey, backend: LinkKey) -> (usize, String) {
        let asked = self.asked(backend).matches("GET").count();
        self.replies(backend, "$-1\r\n".repeat(asked));
        let heard = self.heard(client).replace("$-1\r\n", "");
        (asked, heard)
    }
}

#[test]
fn no_more_requests_than_the_rate_allows() {
    let (mut worker, mut registry) = limited(TenantLimits {
        requests_per_second: Some(50),
        ..TenantLimits::default()
    });
    let (client, backend) = worker.user("ann");
    let (asked, heard) = worker.burst(client, backend, 80);
    assert_eq!(asked, 50);
    let error = "-ERR elika: rate limit exceeded: requests per second\r\n";
    assert_eq!(heard, error.repeat(8), "the others wait");
    let notices = worker.notices();
    let [line] = &notices[..] else {
        panic!("one line a second: {notices:?}");
    };
    let line = line.to_string();
    let end = " user=ann limit=requests per_second=50 suppressed=0";
    assert!(
        line.contains("client: refused client=") && line.ends_with(end),
        "{line}"
    );
    let tenant = ClusterKey::local().tenant();
    assert!(line.contains(&format!(" tenant={tenant} ")), "{line}");
    // They go on as the rate allows.
    let (mut served, mut refused) = (0, 0);
    for _ in 0..5 {
        worker.pass(100);
        let (asked, heard) = worker.serve(client, backend);
        assert!(asked <= 5, "{asked} in a tenth of a second");
        served += asked;
        refused += heard.matches(error).count();
    }
    assert_eq!(served + refused, 22);
    // The limit is lifted for who is connected.
    registry.limits = TenantLimits::default();
    worker.follows(registry.snapshot());
    worker.pass(100);
    assert_eq!(worker.burst(client, backend, 80), (80, String::new()));
}

/// However fast it asks again: a client over its rate is read again when the rate allows that.
#[test]
fn a_client_over_its_rate_is_not_answered_at_full_speed() {
    let (mut worker, _registry) = limited(TenantLimits {
        requests_per_second: Some(10),
        ..TenantLimits::default()
    });
    let (client, backend) = worker.user("ann");
    let other = worker.logs_in("ann", "pw");
    worker.burst(client, backend, 10);
    worker.resumed(ConnKey::Client(client));
    assert_eq!(worker.says(client, "GET k"), Flow::Pause);
    assert_eq!(worker.says(other, "GET k"), Flow::Pause);
    assert!(worker.heard(client).contains("rate limit exceeded"));
    worker.pass(50);
    assert!(!worker.resumed(ConnKey::Client(client)), "it is too early");
    worker.pass(100);
    assert!(worker.resumed(ConnKey::Client(client)));
    // There is one request for both.
    worker.says(client, "GET k");
    assert_eq!(worker.asked(backend).matches("GET").count(), 1);
}

#[test]
fn no_more_bytes_than_the_rate_allows() {
    let (mut worker, _registry) = limited(TenantLimits {
        bytes_per_second: Some(10_000),
        ..TenantLimits::default()
    });
    let (client, backend) = worker.user("ann");
    worker.says(client, "GET big");
    worker.replies(backend, super::harness::value(30_000));
    worker.heard(client);
    let error = "-ERR elika: rate limit exceeded: bytes per second\r\n";
    assert_eq!(worker.burst(client, backend, 1), (0, error.to_owned()));
    worker.pass(1_000);
    assert_eq!(worker.burst(client, backend, 1).0, 0);
    worker.pass(1_500);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
}

/// What has not been charged yet is little at the old rate, and may be much at the new one.
#[test]
fn a_lower_rate_does_not_count_what_went_over_before() {
    let (mut worker, mut registry) = limited(TenantLimits {
        bytes_per_second: Some(10_000_000),
        ..TenantLimits::default()
    });
    let (client, backend) = worker.user("ann");
    worker.says(client, "GET big");
    worker.replies(backend, super::harness::value(90_000));
    worker.heard(client);
    registry.limits = TenantLimits {
        bytes_per_second: Some(1_000),
        ..TenantLimits::default()
    };
    worker.follows(registry.snapshot());
    worker.pass(1_000);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
    worker.pass(1_000);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
}

#[test]
fn who_asks_for_too_much_all_the_time_gets_what_the_rate_allows() {
    let (mut worker, _registry) = limited(TenantLimits {
        bytes_per_second: Some(10_000),
        ..TenantLimits::default()
    });
    let (client, backend) = worker.user("ann");
    let (mut served, mut paused) = (0, false);
    for _ in 0..200 {
        // About 25,000 bytes in a second, if it is read.
        if !paused {
            let gets = super::harness::command("GET k").repeat(100);
            paused = worker.sends(client, gets) == Flow::Pause;
        }
        served += worker.serve(client, backend).0;
        worker.pass(100);
        paused &= !worker.resumed(ConnKey::Client(client));
    }
    assert!((7_000..=9_500).contains(&served), "{served} in 20 s");
    worker.pass(3_000);
    worker.serve(client, backend);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
}

#[test]
fn a_request_that_has_to_wait_is_paid_for_once() {
    let (mut worker, _registry) = limited(TenantLimits {
        bytes_per_second: Some(100_000),
        ..TenantLimits::default()
    });
    let (client, backend) = worker.user("ann");
    worker.says(client, "GET k");
    let key = "k".repeat(45_000);
    for turn in 0..2 {
        // It waits for the reply, and for a connection of its own.
        worker.says(client, &format!("BLPOP {key} 1"));
        worker.replies(backend, "$-1\r\n");
        if turn == 0 {
            let own = worker.begun_one();
            worker.welcome(own);
            worker.replies(own, "*-1\r\n");
            worker.settle();
            worker.heard(client);
            worker.says(client, "GET k");
        }
    }
    assert_eq!(worker.heard(client), "$-1\r\n", "nothing is refused");
}

#[test]
fn a_denied_command_spoils_the_transaction_it_is_in() {
    let (mut worker, _registry) = limited(TenantLimits {
        deny: vec!["flushall".into(), "config|set".into()],
        ..TenantLimits::default()
    });
    let (client, shared) = worker.user("ann");
    worker.asked(shared);
    let denied =
        |name: &str| format!("-NOPERM User ann has no permissions to run the '{name}' command\r\n");
    worker.says(client, "FLUSHALL ASYNC");
    worker.says(client, "Config Set a b");
    let heard = worker.heard(client);
    assert_eq!(heard, denied("flushall") + &denied("config|set"));
    worker.says(client, "MULTI");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.replies(own, "+OK\r\n");
    worker.asked(own);
    worker.says(client, "FLUSHALL");
    assert!(!worker.asked(own).contains("FLUSHALL"));
    worker.replies(own, "-ERR unknown command\r\n");
    assert_eq!(
        worker.heard(client),
        "+OK\r\n".to_owned() + &denied("flushall")
    );
    assert_eq!(worker.asked(shared), "");
}

#[test]
fn one_client_more_than_there_may_be_is_closed_after_its_login() {
    let (mut worker, mut registry) = limited(TenantLimits {
        clients: Some(2),
        ..TenantLimits::default()
    });
    let (first, _) = worker.user("ann");
    let _second = worker.logs_in("ann", "pw");
    let third = worker.client();
    worker.says(third, "AUTH ann pw");
    let on = worker.verifier();
    worker.replies(on, "+OK\r\n");
    worker.settle();
    assert_eq!(
        worker.heard(third),
        "-ERR max number of clients reached\r\n"
    );
    assert!(worker.closed(ConnKey::Client(third)));
    worker.machine.client_closed(first);
    let _fourth = worker.logs_in("ann", "pw");
    registry.limits.clients = Some(1);
    worker.follows(registry.snapshot());
    worker.settle();
    assert_eq!(worker.machine.clients(), 2, "nobody is thrown out");
}

#[test]
fn one_stranger_more_than_there_may_be_hears_so_before_it_is_closed() {
    let (mut worker, _registry) = limited(TenantLimits {
        clients: Some(1),
        ..TenantLimits::default()
    });
    let (_first, _backend) = worker.stranger();
    let second = worker.client();
    worker.says(second, "GET a");
    worker.settle();
    let heard = worker.heard(second);
    assert_eq!(heard, "-ERR max number of clients reached\r\n");
    assert!(worker.closed(ConnKey::Client(second)));
}

/// Two workers share what a tenant may use.
#[test]
fn limits_are_those_of_all_workers_together() {
    let limits = TenantLimits {
        clients: Some(1),
        requests_per_second: Some(10),
        ..TenantLimits::default()
    };
    let (mut one, mut registry) = limited(limits);
    let settings = Settings {
        worker: 2,
        ..Settings::default()
    };
    let mut two = Worker::following(settings, registry.snapshot());
    let (client, backend) = one.user("ann");
    let other = two.client();
    two.says(other, "AUTH ann pw");
    let opened = two.begun_one();
    two.welcome(opened);
    two.settle();
    assert_eq!(two.heard(other), "-ERR max number of clients reached\r\n");
    assert_eq!(one.burst(client, backend, 20).0, 10);
    one.machine.client_closed(client);
    let client = two.logs_in("ann", "pw");
    assert_eq!(
        two.burst(client, opened, 20).0,
        0,
        "the first took them all"
    );
}

#[test]
fn so_many_connections_of_clients_own_and_no_more() {
    let (mut worker, _registry) = limited_with(
        TenantLimits {
            pinned: Some(1),
            ..TenantLimits::default()
        },
        |settings| settings.pool_wait_ms = 500,
    );
    let (first, _) = worker.user("ann");
    let second = worker.logs_in("ann", "pw");
    worker.says(first, "BLPOP k 0");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.says(second, "BLPOP k 0");
    assert!(worker.begun().is_empty());
    worker.pass(700);
    let heard = worker.heard(second);
    assert_eq!(
        heard,
        "-ERR elika: no dedicated backend connection available\r\n"
    );
    worker.says(second, "BLPOP k 0");
    worker.replies(own, "*2\r\n$1\r\nk\r\n$1\r\nv\r\n");
    worker.settle();
    assert_eq!(worker.asked(own).matches("BLPOP").count(), 2);
}

#[test]
fn a_denied_command_behind_a_login_hears_whose_it_is() {
    let (mut worker, _registry) = limited(TenantLimits {
        deny: vec!["get".into()],
        ..TenantLimits::default()
    });
    let (client, _) = worker.user("ann");
    worker.says(client, "WATCH k");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.replies(own, "+OK\r\n");
    worker.heard(client);
    let pipeline = ["AUTH bob pw", "GET k"]
        .map(super::harness::command)
        .concat();
    worker.sends(client, pipeline);
    let verifier = worker.begun_one();
    worker.welcome(verifier);
    worker.replies(own, "+OK\r\n");
    worker.settle();
    let heard = worker.heard(client);
    assert!(heard.starts_with("+OK\r\n-NOPERM User bob has"), "{heard}");
}

#[test]
fn who_is_refused_when_its_turn_comes_gives_the_connection_back() {
    let limits = TenantLimits::default();
    let (mut worker, mut registry) = limited_with(limits, |it| it.dedicated_max = 1);
    let (first, _) = worker.user("ann");
    let second = worker.logs_in("ann", "pw");
    worker.says(first, "WATCH k");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.replies(own, "+OK\r\n");
    worker.says(second, "WATCH k");
    registry.limits.deny = vec!["watch".into()];
    worker.follows(registry.snapshot());
    worker.says(first, "UNWATCH");
    worker.replies(own, "+OK\r\n");
    worker.settle();
    assert!(worker.heard(second).starts_with("-NOPERM "));
    let survey = worker.machine.survey(&Wanted::Numbers);
    assert_eq!((survey.instances[0].own, survey.instances[0].idle), (0, 1));
}

#[test]
fn who_stood_in_line_and_was_refused_begins_to_wait_anew() {
    let (mut worker, mut registry) = limited_with(
        TenantLimits {
            pinned: Some(1),
            ..TenantLimits::default()
        },
        |settings| settings.pool_wait_ms = 1_000,
    );
    let (first, _) = worker.user("ann");
    let second = worker.logs_in("ann", "pw");
    worker.says(first, "WATCH k");
    let own = worker.begun_one();
    worker.welcome(own);
    worker.replies(own, "+OK\r\n");
    worker.says(second, "WATCH k");
    worker.pass(900);
    worker.follows(registry.remove(1));
    worker.settle();
    assert!(worker.heard(second).starts_with("-ERR elika: backend "));
    worker.follows(registry.set(1, Status::Ready));
    let third = worker.client();
    worker.says(third, "AUTH ann pw");
    worker.welcome_to(1);
    assert_eq!(worker.heard(third), "+OK\r\n");
    worker.says(third, "WATCH k");
    worker.begun();
    worker.says(second, "WATCH k");
    worker.pass(500);
    assert_eq!(worker.heard(second), "", "it waited before");
}

#[test]
fn a_request_may_be_as_large_as_its_tenant_allows() {
    let (mut worker, _registry) = limited(TenantLimits {
        request_bytes: Some(2_000),
        ..TenantLimits::default()
    });
    let (client, backend) = worker.user("ann");
    worker.sends(client, super::harness::set(1_900));
    worker.replies(backend, "+OK\r\n");
    assert_eq!(worker.heard(client), "+OK\r\n");
    worker.sends(client, super::harness::set(2_000));
    worker.settle();
    assert!(worker.heard(client).starts_with("-ERR Protocol error: "));
    assert!(worker.closed(ConnKey::Client(client)));
}

/// Nor may the first one of somebody who does not log in be larger, and no backend is asked whether
/// he has to.
#[test]
fn a_first_request_may_be_as_large_as_its_tenant_allows() {
    for (size, kept) in [(1_900, true), (2_000, false), (5_000, false)] {
        let (mut worker, _registry) = limited(TenantLimits {
            request_bytes: Some(2_000),
            ..TenantLimits::default()
        });
        let client = worker.client();
        worker.sends(client, super::harness::set(size));
        if kept {
            let backend = worker.begun_one();
            worker.welcome(backend);
            worker.asked(backend);
            worker.replies(backend, "+OK\r\n");
            assert_eq!(worker.heard(client), "+OK\r\n");
        } else {
            worker.settle();
            assert!(worker.begun().is_empty());
            assert!(worker.heard(client).starts_with("-ERR Protocol error: "));
            assert!(worker.closed(ConnKey::Client(client)));
        }
    }
}
