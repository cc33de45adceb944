//! The service port of the real program: clusters are added and removed, and clients follow.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Answer, Http, Proxy, Redis, Wire, array, request, wait_until};

/// The key of a cluster with this name.
fn key(name: &str) -> String {
    let location = r#"{"region":"eu","availability_zone":"a","node_name":"n1"}"#;
    format!(r#"{{"name":{{"namespace":"shop","name":"{name}"}},"location":{location}}}"#)
}

/// An instance of that cluster, with the cluster's name as an alias.
fn instance(name: &str, id: &str, redis: &Redis, status: &str) -> String {
    format!(
        r#"{{"key":{},"id":"{id}","labels":{{"tenant":"{name}"}},"status":"{status}",
        "endpoints":[{{"addr":"127.0.0.1","port":{},"name":"redis"}}]}}"#,
        key(name),
        redis.port()
    )
}

/// Adds a cluster and returns its tenant key.
fn add(service: &Http, name: &str) -> String {
    let answer = service.post("/add_cluster", &key(name));
    let tenant = answer.data().strip_prefix(r#"{"tenant":""#).unwrap();
    tenant.strip_suffix(r#""}"#).unwrap().to_owned()
}

/// Adds a cluster with one instance, which has id `first`.
fn add_with(service: &Http, name: &str, redis: &Redis) -> String {
    let tenant = add(service, name);
    change(service, &instance(name, "first", redis, "ready"));
    tenant
}

fn change(service: &Http, instance: &str) {
    assert_eq!(service.post("/status_change", instance).data(), "null");
}

/// A client of a tenant that the workers may not know yet.
fn client_of(proxy: &Proxy, tenant: &str, user: &str, password: &str) -> Wire {
    proxy.client_when_known(&format!("{tenant}.{user}"), password)
}

#[test]
fn clusters_are_added_served_and_deleted() {
    let carts = Redis::open_with("user carla on >carlapw ~* &* +@all");
    let users = Redis::open_with("user ursula on >ursulapw ~* &* +@all");
    carts.ask("SET who carts");
    users.ask("SET who users");
    let proxy = Proxy::sync(&["--core-num=2"]);
    let service = proxy.service();
    assert_eq!(service.get("/healthz").body, r#"{"status":"ok"}"#);
    assert_eq!(service.get("/list_cluster").data(), "[]");
    assert_eq!(service.get("/readyz").status, 503);
    let mut early = proxy.client();
    assert_eq!(early.ask("GET who"), "-NOAUTH Authentication required.");

    let (carts_key, users_key) = (add(&service, "carts"), add(&service, "users"));
    assert_ne!(carts_key, users_key);
    assert_eq!(add(&service, "carts"), carts_key, "again changes nothing");
    change(&service, &instance("carts", "carts-0", &carts, "ready"));
    change(&service, &instance("users", "users-0", &users, "ready"));
    wait_until("it is ready", || service.get("/readyz").status == 200);

    for tenant in [&*carts_key, "carts"] {
        let mut client = client_of(&proxy, tenant, "carla", "carlapw");
        assert_eq!(client.ask("GET who"), "$5 carts");
        let stranger = format!("AUTH {tenant}.ursula ursulapw");
        assert!(client.ask(&stranger).starts_with("-WRONGPASS"));
        assert_eq!(client.ask("GET who"), "$5 carts");
    }
    for tenant in [&*users_key, "users"] {
        let mut client = client_of(&proxy, tenant, "ursula", "ursulapw");
        assert_eq!(client.ask("GET who"), "$5 users");
    }

    let list = service.get("/list_cluster");
    for part in [
        format!(r#""tenant":"{carts_key}""#),
        r#""id":"users-0""#.to_owned(),
        r#""health":"up","reason":"""#.to_owned(),
    ] {
        assert!(list.data().contains(&part), "{part}: {list:?}");
    }
    let metrics = service.get("/metrics");
    assert!(
        metrics
            .header("Content-Type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    assert!(metrics.body.contains(&carts_key), "{}", metrics.body);
    let none = "\nelika_service_connections 0\n";
    assert!(!metrics.body.contains(none), "there is this one");

    let mut kept = client_of(&proxy, "users", "ursula", "ursulapw");
    let mut lost = client_of(&proxy, "carts", "carla", "carlapw");
    assert_eq!(service.delete("/cluster?tenant=carts").data(), "null");
    let login = "AUTH carts.carla carlapw";
    wait_until("the tenant is unknown", || {
        proxy.client().ask(login).starts_with("-WRONGPASS")
    });
    wait_until("its clients lose it", || {
        lost.try_send(array("GET who"));
        lost.try_frame()
            .map_or(true, |frame| frame.starts_with(b"-ERR elika: "))
    });
    assert_eq!(kept.ask("GET who"), "$5 users");
    let list = service.get("/list_cluster");
    assert!(!list.data().contains("carts") && list.data().contains("users-0"));
    let answer = service.delete("/cluster?tenant=carts");
    assert_eq!(answer.error(), (404, "unknown tenant carts"));
}

/// Clients that wait for each reply notice nothing of it.
#[test]
fn instance_is_replaced_under_load() {
    let (old, new) = (Redis::open(), Redis::open());
    let proxy = Proxy::sync(&["--core-num=2"]);
    let service = proxy.service();
    let tenant = add_with(&service, "carts", &old);
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..20).map(|n| {
        let mut client = client_of(&proxy, &tenant, "ann", "annpw");
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let key = format!("k{n}");
            let mut asked = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.ask(&format!("SET {key} v")), "+OK");
                assert_eq!(client.ask("ECHO x"), "$1 x");
                // The two servers have different data.
                assert!(matches!(
                    &*client.ask(&format!("GET {key}")),
                    "$1 v" | "$-1"
                ));
                asked += 3;
            }
            asked
        })
    });
    let clients: Vec<_> = clients.collect();
    let commands = |redis: &Redis| redis.stat("total_commands_processed");
    wait_until("they are under way", || commands(&old) > 2_000);

    change(&service, &instance("carts", "second", &new, "ready"));
    change(&service, &instance("carts", "first", &old, "offline"));
    let at = |id: &str| {
        let clients = service.get("/clients?tenant=carts");
        clients
            .data()
            .matches(&format!(r#""instance":"{id}""#))
            .count()
    };
    wait_until("all have moved", || at("second") == clients.len());
    assert_eq!(at("first"), 0);
    change(&service, &instance("carts", "first", &old, "deleted"));
    wait_until("the old one is left alone", || old.connections().is_empty());
    let before = commands(&new);
    wait_until("they go on", || commands(&new) > before + 2_000);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
    assert_eq!(
        service.delete(&format!("/cluster?tenant={tenant}")).data(),
        "null"
    );
}

#[test]
fn changes_need_the_token_where_there_is_one() {
    let redis = Redis::open();
    let proxy = Proxy::sync(&["--service-token=s3cret"]);
    let service = proxy.service();
    let trusted = service.with("Authorization: Bearer s3cret");
    let answer = service.post("/add_cluster", &key("carts"));
    assert_eq!(
        (answer.status, answer.header("WWW-Authenticate")),
        (401, Some("Bearer"))
    );
    assert_eq!(
        service
            .with("Authorization: Bearer secret")
            .get("/clients")
            .status,
        401
    );
    let line = "service port: refused peer=127.0.0.1 method=POST path=/add_cluster status=401";
    wait_until("the log tells of it", || proxy.logged(line) == 1);
    assert_eq!(trusted.get("/clients").data(), "[]");
    add_with(&trusted, "carts", &redis);
    for path in ["/healthz", "/metrics", "/list_cluster"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
    // With the token, a script on a web page has the permissions of any caller.
    assert_eq!(trusted.with("Origin: http://x").get("/pools").status, 200);
    assert!(!proxy.log().contains("s3cret"));
}

#[test]
fn web_page_cannot_call_the_admin_listener() {
    let mut proxy = Proxy::sync(&[]);
    let service = proxy.service();
    for header in ["Origin: http://evil.example", "X-Forwarded-For: 10.0.0.7"] {
        let service = service.with(header);
        assert_eq!(service.ask("POST", "/drain", None).status, 403, "{header}");
        assert_eq!(service.get("/clients").status, 403, "{header}");
        assert_eq!(service.get("/healthz").status, 200, "{header}");
    }
    assert!(!proxy.has_ended());
    assert_eq!(service.get("/clients").data(), "[]");
}

/// A reverse proxy that adds no header, as HAProxy by default, looks like a caller on this machine.
#[test]
fn local_caller_can_only_add_clusters() {
    let redis = Redis::open();
    let mut proxy = Proxy::sync(&[]);
    let by_proxy = Http::at(proxy.service().address());
    add_with(&by_proxy, "carts", &redis);
    let admin = proxy.service();
    for (method, target) in [
        ("POST", "/drain"),
        ("POST", "/pause"),
        ("DELETE", "/cluster?tenant=carts"),
        ("GET", "/clients"),
    ] {
        let answer = by_proxy.ask(method, target, None);
        let (status, message) = answer.error();
        assert_eq!(status, 403, "{target}");
        assert!(
            message.contains("this needs the admin listener, http://127.0.0.1:"),
            "{message}"
        );
    }
    let more = instance("carts", "carts-1", &redis, "ready");
    assert_eq!(by_proxy.post("/status_change", &more).status, 403);
    assert!(!proxy.has_ended());
    assert_eq!(admin.post("/drain", "").status, 202);
    proxy.wait();
}

#[test]
fn static_router_keeps_its_cluster() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let service = proxy.service();
    let message = "the static router has a fixed cluster; to change clusters, start with \
        --router.type=sync";
    for answer in [
        service.post("/add_cluster", &key("carts")),
        service.post("/status_change", &instance("carts", "a", &redis, "ready")),
        service.delete("/cluster?tenant=yigF5wkxq44"),
    ] {
        assert_eq!(answer.error(), (409, message));
    }
    let list = service.get("/list_cluster");
    assert!(
        list.data().contains(r#""tenant":"yigF5wkxq44""#),
        "{list:?}"
    );
    assert_eq!(proxy.client().ask("PING"), "+PONG");
}

#[test]
fn paused_tenant_waits_and_continues() {
    let (carts, users) = (Redis::open(), Redis::open());
    let proxy = Proxy::sync(&["--core-num=2"]);
    let service = proxy.service();
    let tenant = add_with(&service, "carts", &carts);
    add_with(&service, "users", &users);
    let mut client = client_of(&proxy, "carts", "ann", "annpw");
    let mut other = client_of(&proxy, "users", "ann", "annpw");

    let answer = service.post("/pause", r#"{"tenant":"carts","seconds":60}"#);
    assert_eq!(
        answer.data(),
        format!(r#"{{"tenant":"{tenant}","seconds":60}}"#)
    );
    client.send(array("INCR n"));
    client.expect_silence();
    assert_eq!(carts.ask("GET n"), "$-1");
    assert_eq!(other.ask("INCR n"), ":1");
    let answer = service.post("/resume", &format!(r#"{{"cluster":{}}}"#, key("carts")));
    assert_eq!(answer.data(), format!(r#"{{"tenant":"{tenant}"}}"#));
    assert_eq!(client.reply(), ":1");

    // A pause expires.
    service
        .post("/pause", r#"{"tenant":"carts","seconds":1}"#)
        .data();
    assert_eq!(client.ask("INCR n"), ":2");
    let answer = service.post("/pause", r#"{"tenant":"nobody"}"#);
    assert_eq!(answer.error(), (404, "unknown tenant nobody"));
}

/// A script that keeps the server busy for this time in ms, then replies 7.
fn slow(ms: u32) -> Vec<u8> {
    let script = format!(
        "local t = redis.call('TIME') local s = t[1] * 1000 + t[2] / 1000 \
         repeat t = redis.call('TIME') until t[1] * 1000 + t[2] / 1000 - s >= {ms} return 7"
    );
    request(&[b"EVAL", script.as_bytes(), b"0"])
}

#[test]
fn drain_finishes_requests_in_flight_and_ends_the_process() {
    let redis = Redis::open();
    let mut proxy = Proxy::with(&redis, &["--core-num=1"]);
    let service = proxy.service();
    wait_until("it is ready", || service.get("/readyz").status == 200);
    let (mut client, mut idle) = (proxy.client(), proxy.client());
    assert_eq!(client.ask("PING"), "+PONG");
    client.send(slow(1_000));
    // The worker has read both requests now.
    assert_eq!(idle.ask("UNWATCH"), "+OK");
    let answer = service.ask("POST", "/drain", None);
    assert_eq!((answer.status, answer.data()), (202, "null"));
    let answer = service.get("/readyz");
    let expected = r#"{"status":"unavailable","reason":"draining"}"#;
    assert_eq!((answer.status, &*answer.body), (503, expected));
    assert_eq!(service.get("/healthz").status, 200);
    idle.expect_end();
    assert_eq!(client.reply(), ":7");
    client.expect_end();
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(service.try_ask("GET", "/healthz", None).is_err());
}

#[test]
fn clients_and_pools_are_listed() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=2"]);
    let service = proxy.service();
    assert_eq!(service.get("/clients").data(), "[]");
    let mut client = proxy.client_as("ann", "annpw");
    assert_eq!(client.ask("CLIENT SETNAME job"), "+OK");
    assert_eq!(client.ask("SELECT 3"), "+OK");
    assert_eq!(client.ask("SET k v"), "+OK");
    let mut blocked = proxy.client_as("ann", "annpw");
    blocked.send(array("BLPOP q 0"));
    redis.wait_blocked(1);

    let clients = service.get("/clients?tenant=yigF5wkxq44");
    assert_eq!(
        clients.data().matches(r#""user":"ann""#).count(),
        2,
        "{clients:?}"
    );
    for part in [
        r#""name":"job""#,
        r#""db":3"#,
        r#""command":"set""#,
        r#""command":"blpop""#,
        r#""pinned":"blocked""#,
        r#""pinned":null"#,
        r#""in_flight":1"#,
        &format!(r#""peer":"{}""#, client.tcp().local_addr().unwrap()),
    ] {
        assert!(clients.data().contains(part), "{part}: {clients:?}");
    }
    let one = service.get("/clients?limit=1");
    assert_eq!(one.data().matches(r#""user":"ann""#).count(), 1, "{one:?}");
    let pools = service.get("/pools");
    assert!(pools.data().contains(r#""own":1"#), "{pools:?}");
    assert_eq!(
        service.get("/clients?tenant=x").error(),
        (404, "unknown tenant x")
    );
}

#[test]
fn waiting_list_cluster_call_returns_at_a_change() {
    let redis = Redis::open();
    let proxy = Proxy::sync(&[]);
    let service = proxy.service();
    let tenant = add(&service, "carts");
    let etag = etag(&service.get("/list_cluster"));
    let follower = service.with(&format!("If-None-Match: {etag}"));
    assert_eq!(follower.get("/list_cluster").status, 304);
    assert_eq!(follower.get("/list_cluster?wait=1").status, 304);
    let waiting = thread::spawn(move || follower.get("/list_cluster?wait=60"));
    change(&service, &instance("carts", "a", &redis, "ready"));
    let answer = waiting.join().unwrap();
    assert!(
        answer.data().contains(&format!(r#""tenant":"{tenant}""#)),
        "{answer:?}"
    );
    assert!(answer.data().contains(r#""id":"a""#), "{answer:?}");
    assert_ne!(self::etag(&answer), etag);
}

fn etag(answer: &Answer) -> String {
    answer.header("ETag").unwrap().to_owned()
}

/// No flood of the service port affects clients of the proxy.
#[test]
fn flood_of_the_service_port_does_not_affect_clients() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let service = proxy.service();
    let mut client = proxy.client();
    let slow = (0..200).map(|_| {
        let mut wire = Wire::connect(service.address());
        wire.try_send("GET /healthz HTTP/1.1\r\n");
        wire
    });
    let slow: Vec<Wire> = slow.collect();
    assert_eq!(client.ask("SET k v"), "+OK");
    wait_until("somebody else is answered", || {
        let answer = service.try_ask("GET", "/healthz", None);
        answer.is_ok_and(|answer| answer.status == 200)
    });
    drop(slow);
    assert_eq!(client.ask("GET k"), "$1 v");
    let mut garbage = Wire::connect(service.address());
    garbage.try_send(array("SET k w"));
    assert!(garbage.rest().starts_with("HTTP/1.1 400 Bad Request"));
}

/// Metrics at the path of another page could not be reached.
#[test]
fn metrics_path_must_not_be_that_of_another_page() {
    let (_redis, proxy) = Redis::open().proxied(&["--metrics.path=/m"]);
    let service = proxy.service();
    assert_eq!(service.get("/m").status, 200);
    let answer = service.get("/");
    let (status, message) = answer.error();
    let (_, known) = message.split_once("available: ").unwrap();
    let paths = known.split(", ").map(|it| it.split(' ').nth(1).unwrap());
    let paths: Vec<&str> = paths.filter(|path| *path != "/m").collect();
    assert!(status == 404 && paths.len() > 8, "{paths:?}");
    for path in paths {
        let option = format!("--metrics.path={path}");
        let args = ["--port=0", "--service-port=0", "--bind=127.0.0.1", &option];
        let args = args.map(str::to_owned);
        let refused = elika::config::parse(args, &|_| None);
        assert!(refused.is_err(), "{path}");
    }
}

#[test]
fn proxy_runs_without_a_service_port() {
    let (_redis, proxy) = Redis::open().proxied(&["--service.enable=false"]);
    assert_eq!(proxy.client().ask("PING"), "+PONG");
    assert_eq!(proxy.logged("service address"), 0);
}
