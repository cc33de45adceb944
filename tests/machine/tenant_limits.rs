//! Limits of tenants, step by step.

use elika::cluster::{ClusterKey, Status, TenantLimits};
use elika::proxy::{ClientKey, Flow, LinkKey, Settings, StatsRequest};

use super::harness::Worker;
use super::instances::Registry;

pub(crate) fn limited(limit: impl Fn(&mut TenantLimits)) -> (Worker, Registry) {
    limited_with(limit, |_| {})
}

pub(crate) fn limited_with(
    limit: impl Fn(&mut TenantLimits),
    change: impl FnOnce(&mut Settings),
) -> (Worker, Registry) {
    let mut registry = Registry::of(&[1]);
    limit(&mut registry.limits);
    let (registry, worker) = registry.start(change);
    (worker, registry)
}

impl Worker {
    /// Sends a pipeline of `n` GETs. Returns how many reach the backend, and the replies to the
    /// others.
    fn burst(&mut self, client: ClientKey, backend: LinkKey, n: usize) -> (usize, String) {
        self.requests(backend);
        self.send_bytes(client, super::harness::command("GET k").repeat(n));
        self.serve(client, backend)
    }

    /// A client reads a value of `n` bytes.
    fn read_value(&mut self, client: ClientKey, backend: LinkKey, n: usize) {
        self.send(client, "GET big");
        self.reply(backend, super::harness::value(n));
        self.received(client);
    }

    /// Answers all GETs that the backend has received. Returns their number, and the other replies
    /// to the client.
    fn serve(&mut self, client: ClientKey, backend: LinkKey) -> (usize, String) {
        let asked = self.requests(backend).matches("GET").count();
        self.reply(backend, "$-1\r\n".repeat(asked));
        let heard = self.received(client).replace("$-1\r\n", "");
        (asked, heard)
    }
}

#[test]
fn request_rate_is_limited() {
    let (mut worker, mut registry) = limited(|it| it.requests_per_second = Some(50));
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
    // The clients continue at the allowed rate.
    let (mut served, mut refused) = (0, 0);
    for _ in 0..5 {
        worker.advance(100);
        let (asked, heard) = worker.serve(client, backend);
        assert!(asked <= 5, "{asked} in a tenth of a second");
        served += asked;
        refused += heard.matches(error).count();
    }
    assert_eq!(served + refused, 22);
    // The limit is removed for connected clients.
    registry.limits = TenantLimits::default();
    worker.apply(registry.snapshot());
    worker.advance(100);
    assert_eq!(worker.burst(client, backend, 80), (80, String::new()));
}

/// A client above its rate is read again when the rate allows it, however fast it sends.
#[test]
fn client_above_its_rate_gets_errors_slowly() {
    let (mut worker, _registry) = limited(|it| it.requests_per_second = Some(10));
    let (client, backend) = worker.user("ann");
    let other = worker.log_in("ann", "pw");
    worker.burst(client, backend, 10);
    worker.resumed(client);
    assert_eq!(worker.send(client, "GET k"), Flow::Pause);
    assert_eq!(worker.send(other, "GET k"), Flow::Pause);
    assert!(worker.received(client).contains("rate limit exceeded"));
    worker.advance(50);
    assert!(!worker.resumed(client), "it is too early");
    worker.advance(100);
    assert!(worker.resumed(client));
    // Both clients together get one request.
    worker.send(client, "GET k");
    assert_eq!(worker.requests(backend).matches("GET").count(), 1);
}

#[test]
fn byte_rate_is_limited() {
    let (mut worker, _registry) = limited(|it| it.bytes_per_second = Some(10_000));
    let (client, backend) = worker.user("ann");
    worker.read_value(client, backend, 30_000);
    let error = "-ERR elika: rate limit exceeded: bytes per second\r\n";
    assert_eq!(worker.burst(client, backend, 1), (0, error.to_owned()));
    worker.advance(1_000);
    assert_eq!(worker.burst(client, backend, 1).0, 0);
    worker.advance(1_500);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
}

/// Uncharged bytes may be few at the old rate and many at the new one.
#[test]
fn lower_rate_does_not_count_earlier_bytes() {
    let (mut worker, mut registry) = limited(|it| it.bytes_per_second = Some(10_000_000));
    let (client, backend) = worker.user("ann");
    worker.read_value(client, backend, 90_000);
    registry.limits.bytes_per_second = Some(1_000);
    worker.apply(registry.snapshot());
    worker.advance(1_000);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
    worker.advance(1_000);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
}

/// A tenant whose rate is raised does not wait for the bytes that it used at the old rate.
#[test]
fn higher_rate_shortens_the_wait_for_bytes() {
    let (mut worker, mut registry) = limited(|it| it.bytes_per_second = Some(1_000));
    let (client, backend) = worker.user("ann");
    worker.read_value(client, backend, 50_000);
    let error = "-ERR elika: rate limit exceeded: bytes per second\r\n";
    assert_eq!(worker.burst(client, backend, 1), (0, error.to_owned()));
    registry.limits.bytes_per_second = Some(200_000);
    worker.apply(registry.snapshot());
    worker.advance(1_000);
    assert_eq!(worker.burst(client, backend, 1), (1, String::new()));
}

#[test]
fn higher_rate_allows_more_requests_at_once() {
    let (mut worker, mut registry) = limited(|it| it.requests_per_second = Some(10));
    let (client, backend) = worker.user("ann");
    assert_eq!(worker.burst(client, backend, 10).0, 10);
    registry.limits.requests_per_second = Some(100);
    worker.apply(registry.snapshot());
    assert_eq!(worker.burst(client, backend, 100).0, 90);
}

#[test]
fn client_that_always_exceeds_the_rate_gets_the_rate() {
    let (mut worker, _registry) = limited(|it| it.bytes_per_second = Some(10_000));
    let (client, backend) = worker.user("ann");
    let (mut served, mut paused) = (0, false);
    for _ in 0..200 {
        // About 25,000 bytes per second, if the client is read.
        if !paused {
            let gets = super::harness::command("GET k").repeat(100);
            paused = worker.send_bytes(client, gets) == Flow::Pause;
        }
        served += worker.serve(client, backend).0;
        worker.advance(100);
        paused &= !worker.resumed(client);
    }
    assert!((7_000..=9_500).contains(&served), "{served} in 20 s");
    worker.advance(3_000);
    worker.serve(client, backend);
    assert_eq!(worker.burst(client, backend, 1).0, 1);
}

#[test]
fn waiting_request_is_counted_once() {
    let (mut worker, _registry) = limited(|it| it.bytes_per_second = Some(100_000));
    let (client, backend) = worker.user("ann");
    worker.send(client, "GET k");
    let key = "k".repeat(45_000);
    for turn in 0..2 {
        // The client waits for the reply, and for a dedicated connection.
        worker.send(client, &format!("BLPOP {key} 1"));
        worker.reply(backend, "$-1\r\n");
        if turn == 0 {
            let dedicated = worker.established();
            worker.reply(dedicated, "*-1\r\n");
            worker.settle();
            worker.received(client);
            worker.send(client, "GET k");
        }
    }
    assert_eq!(worker.received(client), "$-1\r\n", "nothing is refused");
}

#[test]
fn denied_command_aborts_its_transaction() {
    let (mut worker, _registry) =
        limited(|it| it.deny = vec!["flushall".into(), "config|set".into()]);
    let (client, shared) = worker.user("ann");
    worker.requests(shared);
    let denied =
        |name: &str| format!("-NOPERM User ann has no permissions to run the '{name}' command\r\n");
    worker.send(client, "FLUSHALL ASYNC");
    worker.send(client, "Config Set a b");
    let heard = worker.received(client);
    assert_eq!(heard, denied("flushall") + &denied("config|set"));
    worker.send(client, "MULTI");
    let dedicated = worker.established();
    worker.reply(dedicated, "+OK\r\n");
    worker.requests(dedicated);
    worker.send(client, "FLUSHALL");
    assert!(!worker.requests(dedicated).contains("FLUSHALL"));
    worker.reply(dedicated, "-ERR unknown command\r\n");
    assert_eq!(
        worker.received(client),
        "+OK\r\n".to_owned() + &denied("flushall")
    );
    assert_eq!(worker.requests(shared), "");
}

#[test]
fn client_above_the_limit_is_closed_after_its_login() {
    let (mut worker, mut registry) = limited(|it| it.clients = Some(2));
    let (first, _) = worker.user("ann");
    let _second = worker.log_in("ann", "pw");
    let third = worker.client_sends("AUTH ann pw");
    let on = worker.verifier();
    worker.reply(on, "+OK\r\n");
    worker.settle();
    assert_eq!(
        worker.received(third),
        "-ERR max number of clients reached\r\n"
    );
    assert!(worker.closed(third));
    worker.machine.client_closed(first);
    let _fourth = worker.log_in("ann", "pw");
    registry.limits.clients = Some(1);
    worker.apply(registry.snapshot());
    worker.settle();
    assert_eq!(worker.machine.clients(), 2, "nobody is thrown out");
}

#[test]
fn anonymous_client_above_the_limit_gets_an_error_and_is_closed() {
    let (mut worker, _registry) = limited(|it| it.clients = Some(1));
    let (_first, _backend) = worker.anonymous();
    let second = worker.client_sends("GET a");
    worker.settle();
    let heard = worker.received(second);
    assert_eq!(heard, "-ERR max number of clients reached\r\n");
    assert!(worker.closed(second));
}

/// Two workers share the limits of a tenant.
#[test]
fn limits_apply_to_all_workers_together() {
    let (mut one, mut registry) = limited(|it| {
        (it.clients, it.requests_per_second) = (Some(1), Some(10));
    });
    let mut two = Worker::with_snapshot(registry.snapshot(), |it| it.worker = 2);
    let (client, backend) = one.user("ann");
    let other = two.client_sends("AUTH ann pw");
    let opened = two.established();
    two.settle();
    assert_eq!(
        two.received(other),
        "-ERR max number of clients reached\r\n"
    );
    assert_eq!(one.burst(client, backend, 20).0, 10);
    one.machine.client_closed(client);
    let client = two.log_in("ann", "pw");
    assert_eq!(
        two.burst(client, opened, 20).0,
        0,
        "the first took them all"
    );
}

#[test]
fn dedicated_connections_are_limited() {
    let (mut worker, _registry) = limited_with(
        |it| it.pinned = Some(1),
        |settings| settings.pool_wait_ms = 500,
    );
    let (first, _) = worker.user("ann");
    let second = worker.log_in("ann", "pw");
    worker.send(first, "BLPOP k 0");
    let dedicated = worker.established();
    worker.send(second, "BLPOP k 0");
    assert!(worker.new_links().is_empty());
    worker.advance(700);
    let heard = worker.received(second);
    assert_eq!(
        heard,
        "-ERR elika: no dedicated backend connection available\r\n"
    );
    worker.send(second, "BLPOP k 0");
    worker.reply(dedicated, "*2\r\n$1\r\nk\r\n$1\r\nv\r\n");
    worker.settle();
    assert_eq!(worker.requests(dedicated).matches("BLPOP").count(), 2);
}

#[test]
fn error_of_a_denied_command_behind_a_login_names_the_new_user() {
    let (mut worker, _registry) = limited(|it| it.deny = vec!["get".into()]);
    let (client, _) = worker.user("ann");
    worker.send(client, "WATCH k");
    let dedicated = worker.established();
    worker.reply(dedicated, "+OK\r\n");
    worker.received(client);
    let pipeline = ["AUTH bob pw", "GET k"]
        .map(super::harness::command)
        .concat();
    worker.send_bytes(client, pipeline);
    let _verifier = worker.established();
    worker.reply(dedicated, "+OK\r\n");
    worker.settle();
    let heard = worker.received(client);
    assert!(heard.starts_with("+OK\r\n-NOPERM User bob has"), "{heard}");
}

#[test]
fn refused_waiting_client_returns_its_connection() {
    let (mut worker, mut registry) = limited_with(|_| {}, |it| it.dedicated_max = 1);
    let (first, _) = worker.user("ann");
    let second = worker.log_in("ann", "pw");
    worker.send(first, "WATCH k");
    let dedicated = worker.established();
    worker.reply(dedicated, "+OK\r\n");
    worker.send(second, "WATCH k");
    registry.limits.deny = vec!["watch".into()];
    worker.apply(registry.snapshot());
    worker.send(first, "UNWATCH");
    worker.reply(dedicated, "+OK\r\n");
    worker.settle();
    assert!(worker.received(second).starts_with("-NOPERM "));
    let stats = worker.machine.collect_stats(&StatsRequest::Metrics);
    assert_eq!(
        (stats.instances[0].dedicated, stats.instances[0].idle),
        (0, 1)
    );
}

#[test]
fn refused_waiting_client_starts_a_new_wait() {
    let (mut worker, mut registry) = limited_with(
        |it| it.pinned = Some(1),
        |settings| settings.pool_wait_ms = 1_000,
    );
    let (first, _) = worker.user("ann");
    let second = worker.log_in("ann", "pw");
    worker.send(first, "WATCH k");
    let dedicated = worker.established();
    worker.reply(dedicated, "+OK\r\n");
    worker.send(second, "WATCH k");
    worker.advance(900);
    worker.apply(registry.remove(1));
    worker.settle();
    assert!(worker.received(second).starts_with("-ERR elika: backend "));
    worker.apply(registry.set(1, Status::Ready));
    let third = worker.client_sends("AUTH ann pw");
    worker.establish_to(1);
    assert_eq!(worker.received(third), "+OK\r\n");
    worker.send(third, "WATCH k");
    worker.new_links();
    worker.send(second, "WATCH k");
    worker.advance(500);
    assert_eq!(worker.received(second), "", "it waited before");
}

#[test]
fn request_size_is_limited_per_tenant() {
    let (mut worker, _registry) = limited(|it| it.request_bytes = Some(2_000));
    let (client, backend) = worker.user("ann");
    worker.send_bytes(client, super::harness::set(1_900));
    worker.deliver(backend, client, "+OK\r\n");
    worker.send_bytes(client, super::harness::set(2_000));
    worker.settle();
    assert!(worker.received(client).starts_with("-ERR Protocol error: "));
    assert!(worker.closed(client));
}

/// An anonymous client may not send a larger first request either, and no backend is asked whether
/// it needs a login.
#[test]
fn first_request_size_is_limited_per_tenant() {
    for (size, kept) in [(1_900, true), (2_000, false), (5_000, false)] {
        let (mut worker, _registry) = limited(|it| it.request_bytes = Some(2_000));
        let client = worker.client();
        worker.send_bytes(client, super::harness::set(size));
        if kept {
            let backend = worker.established();
            worker.requests(backend);
            worker.deliver(backend, client, "+OK\r\n");
        } else {
            worker.settle();
            assert!(worker.new_links().is_empty());
            assert!(worker.received(client).starts_with("-ERR Protocol error: "));
            assert!(worker.closed(client));
        }
    }
}
