//! The metrics page of the real program shows exactly what happened.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use elika::{ClusterInstance, ClusterKey, ClusterName, Endpoint};
use support::{Exposition, Proxy, Redis, Wire, array, wait_until};

/// The cluster of a tenant, in front of this server.
struct Tenant {
    cluster: ClusterKey,
    key: String,
}

impl Tenant {
    fn add(name: &str, redis: &Redis, proxy: &Proxy) -> Self {
        Self::without(name, redis, proxy, "")
    }

    /// The tenant's denied commands.
    fn without(name: &str, redis: &Redis, proxy: &Proxy, commands: &str) -> Self {
        let cluster = ClusterKey {
            name: ClusterName {
                namespace: "shop".into(),
                name: name.into(),
            },
            ..ClusterKey::local()
        };
        let endpoint = Endpoint::new("127.0.0.1", redis.port());
        let service = proxy.service();
        service.post("/add_cluster", &cluster.to_json()).data();
        let mut instance = ClusterInstance::new(cluster.clone(), "a", endpoint);
        instance.labels.insert("deny".into(), commands.into());
        service.post("/status_change", &instance.to_json()).data();
        let key = cluster.tenant().to_string();
        Self { cluster, key }
    }

    /// A new client, as soon as the workers know the tenant.
    fn client(&self, proxy: &Proxy) -> Wire {
        proxy.client_when_known(&format!("{}.admin", self.key), "admin")
    }
}

/// The page, which must be valid.
fn look(proxy: &Proxy) -> Exposition {
    let answer = proxy.service().get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.header("Content-Type").unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    Exposition::read(&answer.body).unwrap_or_else(|why| panic!("{why}\n{}", answer.body))
}

/// The increase of a number for each of the two tenants.
fn gained(
    before: &Exposition,
    after: &Exposition,
    tenants: [&Tenant; 2],
    name: &str,
    label: (&str, &str),
) -> [f64; 2] {
    tenants.map(|tenant| {
        let labels = [("tenant", tenant.key.as_str()), label];
        after.sum(name, &labels) - before.sum(name, &labels)
    })
}

#[test]
fn page_counts_requests_and_connections() {
    let (red, blue) = (Redis::open(), Redis::open());
    let proxy = Proxy::sync(&["--core-num=2"]);
    let one = Tenant::add("red", &red, &proxy);
    let two = Tenant::add("blue", &blue, &proxy);
    let mut first = one.client(&proxy);
    let [mut blocked, mut watcher, mut subscriber] = [(); 3].map(|()| one.client(&proxy));
    let mut second = two.client(&proxy);
    let mut stranger = proxy.client();
    let before = look(&proxy);

    assert_eq!(first.ask("SET k v"), "+OK");
    assert_eq!(first.ask("GET k"), "$1 v");
    assert!(first.ask("LPUSH k x").starts_with("-WRONGTYPE"));
    assert!(first.ask("EVALSHA abc 0").starts_with("-NOSCRIPT"));
    assert!(first.ask("NO SUCH").starts_with("-ERR unknown command"));
    assert_eq!(first.ask("UNWATCH"), "+OK");
    assert_eq!(watcher.ask_all("MULTI | SET k w"), ["+OK", "+QUEUED"]);
    subscriber.ask("SUBSCRIBE news");
    blocked.send(array("BLPOP nothing 0"));
    red.wait_blocked(1);
    for i in 0..20 {
        assert_eq!(second.ask(&format!("INCR n{i}")), ":1");
    }
    let wrong = format!("AUTH {}.admin wrong", two.key);
    assert!(stranger.ask(&wrong).starts_with("-WRONGPASS"));
    let after = look(&proxy);

    let tenants = [&one, &two];
    let grew = |name: &str, label| gained(&before, &after, tenants, name, label);
    let of = |name: &str| grew(&format!("elika_instance_{name}"), ("instance_id", "a"));
    assert_eq!(of("requests_total"), [9.0, 20.0]);
    // A blocked client is waiting.
    assert_eq!(of("replies_total"), [8.0, 20.0]);
    assert_eq!(of("client_latency_seconds_count"), [8.0, 20.0]);
    assert_eq!(of("backend_latency_seconds_count"), [8.0, 20.0]);
    let bytes: usize = (0..20).map(|i| array(&format!("INCR n{i}")).len()).sum();
    assert_eq!(of("request_bytes_total")[1], bytes as f64);
    assert_eq!(of("reply_bytes_total")[1], (20 * ":1\r\n".len()) as f64);
    for (kind, n) in [
        ("err", 1.0),
        ("wrongtype", 1.0),
        ("noscript", 1.0),
        ("denied", 0.0),
    ] {
        assert_eq!(
            grew("elika_instance_errors_total", ("kind", kind)),
            [n, 0.0],
            "{kind}"
        );
    }
    assert_eq!(of("errors_total"), [3.0, 0.0]);
    let sum = |name: &str| after.sum(name, &[]) - before.sum(name, &[]);
    assert_eq!(sum("elika_worker_requests_total"), 29.0);
    assert_eq!(sum("elika_worker_logins_refused_total"), 1.0);

    let now = |name: &str, label| {
        tenants.map(|tenant| {
            let labels = [("tenant", tenant.key.as_str()), label];
            after.sum(&format!("elika_instance_{name}"), &labels)
        })
    };
    let all = ("instance_id", "a");
    assert_eq!(now("clients", all), [4.0, 1.0]);
    assert_eq!(now("requests_in_flight", all), [1.0, 0.0]);
    for reason in ["transaction", "blocked", "subscribed"] {
        assert_eq!(
            now("pinned_clients", ("reason", reason)),
            [1.0, 0.0],
            "{reason}"
        );
    }
    assert_eq!(now("pinned_clients", all), [3.0, 0.0]);
    assert_eq!(now("connections", ("state", "own")), [3.0, 0.0]);
    assert_eq!(now("waiting_clients", all), [0.0, 0.0]);
    assert_eq!(now("health", ("state", "up")), [1.0, 1.0]);
    assert_eq!(now("health", all), [1.0, 1.0]);
    assert_eq!(now("listed", all), [1.0, 1.0]);
    let addresses = [red.address(), blue.address()];
    for (tenant, address) in tenants.into_iter().zip(addresses) {
        let labels = [("tenant", tenant.key.as_str()), ("address", &address)];
        assert_eq!(after.value("elika_instance_info", &labels), 1.0);
        let cluster = tenant.cluster.to_string();
        let labels = [("tenant", tenant.key.as_str()), ("cluster", &cluster)];
        assert_eq!(after.value("elika_tenant_info", &labels), 1.0);
    }
    assert_eq!(after.sum("elika_worker_clients", &[]), 6.0);
    let once = |name| after.value(name, &[]);
    assert_eq!(
        (once("elika_workers"), once("elika_workers_silent")),
        (2.0, 0.0)
    );
    assert_eq!(once("elika_draining"), 0.0);
    wait_until("it is ready", || {
        look(&proxy).value("elika_ready", &[]) == 1.0
    });
    assert!(once("process_resident_memory_bytes") > 1e6);
    assert!(once("process_open_fds") > 10.0);

    assert_eq!(first.ask("RPUSH nothing x"), ":1");
    assert_eq!(blocked.reply(), "*2 $7 nothing $1 x");
    assert_eq!(watcher.ask("EXEC"), "*1 +OK");
    subscriber.ask("UNSUBSCRIBE");
    let last = look(&proxy);
    assert_eq!(last.sum("elika_instance_pinned_clients", &[]), 0.0);
    let more = gained(&after, &last, tenants, "elika_instance_requests_total", all);
    assert_eq!(more, [3.0, 0.0]);
    let was = after.growing();
    for (key, n) in last.growing() {
        assert!(
            was.get(key).is_none_or(|was| *was <= n),
            "{key:?} fell to {n}"
        );
    }
}

#[test]
fn refusals_and_pauses_are_counted_per_shown_tenant() {
    let (red, blue) = (Redis::open(), Redis::open());
    let proxy = Proxy::sync(&["--core-num=2", "--metrics.tenants=1"]);
    let one = Tenant::add("red", &red, &proxy);
    let two = Tenant::without("blue", &blue, &proxy, "flushall");
    let (mut first, mut again) = (one.client(&proxy), one.client(&proxy));
    let mut second = two.client(&proxy);
    for _ in 0..3 {
        let reply = second.ask("FLUSHALL");
        assert!(reply.starts_with("-NOPERM"), "{reply}");
    }
    let pause = format!(r#"{{"tenant":"{}","seconds":60}}"#, one.key);
    proxy.service().post("/pause", &pause).data();
    let labels = [("tenant", one.key.as_str())];
    let mut page = look(&proxy);
    assert_eq!(page.value("elika_tenant_paused", &labels), 1.0);
    first.send(array("PING"));
    wait_until("a client waits", || {
        page = look(&proxy);
        page.value("elika_tenant_paused_clients", &labels) == 1.0
    });
    assert_eq!(page.value("elika_instance_clients", &labels), 2.0);
    assert_eq!(page.value("elika_tenants", &[]), 2.0);
    assert_eq!(page.value("elika_tenants_shown", &[]), 1.0);
    let other = [("tenant", "other"), ("instance_id", "other")];
    assert_eq!(page.value("elika_instance_clients", &other), 1.0);
    assert_eq!(page.count("elika_instance_clients", &[]), 2);
    let denied = [("tenant", "other"), ("limit", "denied")];
    assert_eq!(page.value("elika_tenant_refused_total", &denied), 3.0);
    assert_eq!(page.sum("elika_tenant_refused_total", &[]), 3.0);
    let resume = format!(r#"{{"tenant":"{}"}}"#, one.key);
    proxy.service().post("/resume", &resume).data();
    assert_eq!(first.reply(), "+PONG");
    assert_eq!(again.ask("PING"), "+PONG");
    assert_eq!(look(&proxy).value("elika_tenant_paused", &labels), 0.0);
}

#[test]
fn metrics_page_can_be_moved_and_disabled() {
    let (redis, proxy) = Redis::open().proxied(&["--metrics.path=/numbers", "--node.id=n\\1"]);
    let answer = proxy.service().get("/numbers");
    let page = Exposition::read(&answer.body).unwrap();
    assert_eq!(page.value("elika_build_info", &[("node", "n\\1")]), 1.0);
    assert_eq!(proxy.service().get("/metrics").status, 404);
    let proxy = Proxy::with(&redis, &["--metrics.enable=false"]);
    assert_eq!(proxy.service().get("/metrics").status, 404);
}
