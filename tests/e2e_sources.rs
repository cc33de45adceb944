//! Sources of clusters: a file, another proxy, a state file; and the tenants file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Http, Proxy, Redis, Wire, now, unused_port, wait_until};
use tempfile::TempDir;

/// Clusters, each with an alias and one instance with id `i`.
fn clusters(list: &[(&str, &Redis)]) -> String {
    let clusters = list.iter().map(|(name, redis)| {
        format!(
            r#"{{
  "name": {{"namespace": "shop", "name": "{name}"}},
  "location": {{"region": "eu", "availability_zone": "a", "node_name": "n1"}},
  "instances": [{{"id": "i", "labels": {{"tenant": "{name}"}},
    "endpoints": [{{"addr": "127.0.0.1", "port": {}}}]}}]
}}"#,
            redis.port()
        )
    });
    format!("[{}]\n", clusters.collect::<Vec<_>>().join(",\n"))
}

/// Adds one instance at the service port.
fn feed(service: &Http, name: &str, redis: &Redis) {
    let all = clusters(&[(name, redis)]);
    let (key, _) = all
        .trim_start_matches('[')
        .split_once(",\n  \"instances\"")
        .unwrap();
    let key = format!("{key}}}");
    let (_, instance) = all.split_once("\"instances\": [{").unwrap();
    let (instance, _) = instance.rsplit_once("}]\n}").unwrap();
    service.post("/add_cluster", &key).data();
    let instance = format!("{{\"key\": {key}, {instance}}}");
    service.post("/status_change", &instance).data();
}

/// A redis-server that returns its name.
fn redis(name: &str) -> Redis {
    let redis = Redis::open();
    redis.ask(&format!("SET who {name}"));
    redis
}

/// Waits until a new client of this tenant is served by that server.
#[track_caller]
fn expect(proxy: &Proxy, tenant: &str, who: &str) {
    let login = format!("AUTH {tenant}.ann annpw");
    let wanted = format!("${} {who}", who.len());
    wait_until(&format!("{tenant} is served by {who}"), || {
        let mut client = proxy.client();
        client.ask(&login) == "+OK" && client.ask("GET who") == wanted
    });
}

/// A tenant may be known for a moment before its first instance, or after its last one.
fn is_known(proxy: &Proxy, tenant: &str) -> bool {
    let reply = proxy.client().ask(&format!("AUTH {tenant}.ann annpw"));
    let absent = reply.starts_with("-WRONGPASS") || reply.ends_with(": no instance");
    assert!(reply == "+OK" || absent, "{reply}");
    reply == "+OK"
}

fn client_of(proxy: &Proxy, tenant: &str) -> Wire {
    proxy.client_as(&format!("{tenant}.ann"), "annpw")
}

/// Clients that send one request after the other; none of them may get an error.
struct Busy {
    over: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<u32>>,
}

impl Busy {
    fn start(proxies: &[&Proxy], tenant: &str, who: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let wanted = format!("${} {who}", who.len());
        let clients = proxies.iter().map(|proxy| {
            let mut client = client_of(proxy, tenant);
            let (over, wanted) = (Arc::clone(&over), wanted.clone());
            thread::spawn(move || {
                let mut asked = 0;
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client.ask("GET who"), wanted);
                    asked += 1;
                }
                asked
            })
        });
        Self {
            clients: clients.collect(),
            over,
        }
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            assert!(client.join().unwrap() > 0);
        }
    }
}

/// A proxy that follows the proxy with this service port.
fn follower(port: u16, options: &[&str]) -> Proxy {
    let control_plane = format!("--router.cp-addr=127.0.0.1:{port}");
    Proxy::sync(&[&[&*control_plane, "--core-num=1"], options].concat())
}

/// The first of three proxies, always at the same port.
fn first(port: u16, options: &[&str]) -> Proxy {
    let port = format!("--service-port={port}");
    Proxy::sync(&[&[&*port, "--core-num=1"], options].concat())
}

#[test]
fn followers_keep_their_clusters_when_the_first_proxy_is_killed() {
    let (carts, users) = (redis("carts"), redis("users"));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("clusters.json");
    fs::write(&file, clusters(&[("carts", &carts)])).unwrap();
    let option = format!("--router.file={}", file.display());
    let (port, next) = (unused_port(), unused_port());
    let mut one = first(port, &[&option]);
    let two = follower(port, &[&format!("--service-port={next}")]);
    let three = follower(next, &[]);
    for proxy in [&one, &two, &three] {
        expect(proxy, "carts", "carts");
    }
    let busy = Busy::start(&[&two, &three], "carts", "carts");
    one.kill();
    wait_until("the second notices", || {
        two.logged("using the last known clusters") == 1
    });
    expect(&two, "carts", "carts");
    expect(&three, "carts", "carts");
    let one = first(port, &[&option]);
    let start = now();
    fs::write(&file, clusters(&[("carts", &carts), ("users", &users)])).unwrap();
    expect(&three, "users", "users");
    eprintln!("a change reached the third after {:?}", start.elapsed());
    expect(&three, "carts", "carts");
    // A cluster that the first proxy removes is removed everywhere.
    fs::write(&file, clusters(&[("users", &users)])).unwrap();
    busy.end();
    for proxy in [&one, &two, &three] {
        wait_until("carts is gone", || !is_known(proxy, "carts"));
        expect(proxy, "users", "users");
    }
    assert_eq!(two.logged("control plane: available again"), 1);
    assert_eq!(
        three.logged("using the last known clusters"),
        0,
        "its own was there"
    );
}

#[test]
fn followers_keep_clusters_when_the_first_proxy_restarts_empty() {
    let (carts, users) = (redis("carts"), redis("users"));
    let (port, next) = (unused_port(), unused_port());
    let mut one = first(port, &[]);
    feed(&one.service(), "carts", &carts);
    let two = follower(port, &[&format!("--service-port={next}")]);
    let three = follower(next, &[]);
    expect(&two, "carts", "carts");
    expect(&three, "carts", "carts");
    let busy = Busy::start(&[&two, &three], "carts", "carts");
    one.kill();
    let one = first(port, &[]);
    wait_until("the second has heard that there is nothing", || {
        two.logged("keeping missing clusters") == 1
    });
    expect(&three, "carts", "carts");
    let start = now();
    feed(&one.service(), "users", &users);
    expect(&three, "users", "users");
    eprintln!("a change reached the third after {:?}", start.elapsed());
    feed(&one.service(), "carts", &carts);
    wait_until("the first has what it had", || is_known(&one, "carts"));
    busy.end();
    // From now on the control plane is complete.
    assert_eq!(one.service().delete("/cluster?tenant=carts").data(), "null");
    wait_until("carts is gone", || !is_known(&three, "carts"));
}

#[test]
fn control_plane_gets_its_token() {
    let carts = redis("carts");
    let port = unused_port();
    let one = first(port, &["--service-token=s3cret"]);
    let service = one.service().with("Authorization: Bearer s3cret");
    feed(&service, "carts", &carts);
    let two = follower(port, &["--router.cp-token=s3cret"]);
    expect(&two, "carts", "carts");
    for proxy in [&one, &two] {
        assert_eq!(proxy.logged("s3cret"), 0, "{}", proxy.log());
    }
}

#[test]
fn state_file_serves_while_the_control_plane_is_unreachable() {
    let carts = redis("carts");
    let dir = TempDir::new().unwrap();
    let state = format!("--router.state-file={}/state.json", dir.path().display());
    let port = unused_port();
    let mut one = first(port, &[]);
    feed(&one.service(), "carts", &carts);
    let mut two = follower(port, &[&state]);
    expect(&two, "carts", "carts");
    // The proxy serves the clusters before it has written the state file.
    let written = dir.path().join("state.json");
    wait_until("the state is written", || written.exists());
    one.kill();
    two.kill();
    // A proxy that has never had a list returns 503 instead of an empty list.
    let stranger = follower(port, &[]);
    let (status, why) = {
        let answer = stranger.service().get("/list_cluster");
        (answer.status, answer.body)
    };
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("clusters are not known yet"), "{why}");
    let two = follower(port, &[&state]);
    expect(&two, "carts", "carts");
    assert_eq!(two.logged("router.state-file: applied clusters=1"), 1);
    assert!(two.service().get("/list_cluster").data().contains("carts"));
    // An invalid state file does not prevent a start.
    let invalid = dir.path().join("invalid.json");
    fs::write(&invalid, "[\n{\"name\":").unwrap();
    let three = follower(
        port,
        &[&format!("--router.state-file={}", invalid.display())],
    );
    assert_eq!(
        three.logged("invalid.json reason=\"line 2: "),
        1,
        "{}",
        three.log()
    );
    let one = first(port, &[]);
    feed(&one.service(), "carts", &carts);
    for proxy in [&two, &three, &stranger] {
        expect(proxy, "carts", "carts");
    }
}

fn with_file(path: &Path) -> Proxy {
    Proxy::sync(&[&format!("--router.file={}", path.display())])
}

#[test]
fn file_is_followed_after_every_kind_of_edit() {
    let (carts, users) = (redis("carts"), redis("users"));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("clusters.json");
    let proxy = with_file(&file);
    assert_eq!(proxy.logged("no such file"), 1);
    // The file is written in place.
    fs::write(&file, clusters(&[("carts", &carts)])).unwrap();
    expect(&proxy, "carts", "carts");
    fs::write(&file, clusters(&[("carts", &users)])).unwrap();
    expect(&proxy, "carts", "users");
    // Another file is renamed over it.
    let next = dir.path().join("next.json");
    fs::write(&next, clusters(&[("carts", &carts), ("users", &users)])).unwrap();
    fs::rename(&next, &file).unwrap();
    expect(&proxy, "users", "users");
    expect(&proxy, "carts", "carts");
    // A missing file changes nothing.
    fs::remove_file(&file).unwrap();
    wait_until("that is noted", || proxy.logged("no such file") == 2);
    expect(&proxy, "users", "users");
    fs::write(&file, clusters(&[])).unwrap();
    wait_until("nothing is left", || {
        !is_known(&proxy, "users") && !is_known(&proxy, "carts")
    });
}

#[test]
fn mounted_config_map_is_followed() {
    let (carts, users) = (redis("carts"), redis("users"));
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    // The layout of Kubernetes: each version in a directory, to which one symlink points.
    let version = |name: &str, content: &str| {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("clusters.json"), content).unwrap();
        symlink(name, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    version("..2026_01", &clusters(&[("carts", &carts)]));
    symlink("..data/clusters.json", at("clusters.json")).unwrap();
    let proxy = with_file(&at("clusters.json"));
    expect(&proxy, "carts", "carts");
    version("..2026_02", &clusters(&[("users", &users)]));
    fs::remove_dir_all(at("..2026_01")).unwrap();
    expect(&proxy, "users", "users");
    wait_until("carts is gone", || !is_known(&proxy, "carts"));
}

#[test]
fn invalid_file_is_ignored_and_logged_once() {
    let carts = redis("carts");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("clusters.json");
    fs::write(&file, "[\n\n{\"name\": 7}]").unwrap();
    // An invalid file must not prevent a restart.
    let proxy = with_file(&file);
    let path = file.display();
    assert_eq!(
        proxy.logged(&format!("file={path} reason=\"line 3: ")),
        1,
        "{}",
        proxy.log()
    );
    let good = clusters(&[("carts", &carts)]);
    fs::write(&file, &good).unwrap();
    expect(&proxy, "carts", "carts");
    let bad = good.replace("\"port\": ", "\"port\": -");
    fs::write(&file, &bad).unwrap();
    let complaint = "instances[0].endpoints[0].port: ";
    wait_until("it is told", || proxy.logged(complaint) == 1);
    let line = proxy
        .log()
        .lines()
        .find(|line| line.contains(complaint))
        .unwrap()
        .to_owned();
    assert!(
        line.contains(&format!("file={path} reason=\"line 5: ")),
        "{line}"
    );
    expect(&proxy, "carts", "carts");
    // A SIGHUP logs it again; without one it is not logged again.
    proxy.signal("HUP");
    wait_until("it was read", || {
        proxy.logged("SIGHUP: files read router.file=invalid") == 1
    });
    assert_eq!(proxy.logged(complaint), 2);
    fs::write(&file, &good).unwrap();
    wait_until("it is well", || proxy.logged("valid again") == 2);
    expect(&proxy, "carts", "carts");
}

#[test]
fn sighup_reads_files_and_the_log_level() {
    let carts = redis("carts");
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("level"), "warn\n").unwrap();
    fs::write(at("clusters.json"), clusters(&[("carts", &carts)])).unwrap();
    let option = |name: &str, file: &str| format!("--{name}={}", at(file).display());
    let proxy = Proxy::with(
        &carts,
        &[
            &option("tenants.file", "tenants.json"),
            &option("log.level-file", "missing"),
        ],
    );
    fs::write(at("missing"), "debug").unwrap();
    fs::write(at("tenants.json"), "{\"tenants\":{}}").unwrap();
    proxy.signal("HUP");
    let line = "SIGHUP: files read tenants.file=";
    wait_until("it is read", || proxy.logged(line) == 1);
    wait_until("more is logged", || {
        proxy.client().ask("PING");
        proxy.logged("[DEBUG]") > 0
    });
    fs::write(at("missing"), "loud").unwrap();
    proxy.signal("HUP");
    wait_until("it is told", || {
        proxy.logged("line 1: unknown level; allowed: off, error") == 1
    });
    let line = " log.level-file=invalid log.level=debug";
    wait_until("it is told", || proxy.logged(line) == 1);
    fs::remove_file(at("missing")).unwrap();
    proxy.signal("HUP");
    wait_until("it is as the options say", || {
        proxy.logged(" log.level=info") == 1
    });
    fs::write(at("missing"), "error").unwrap();
    proxy.signal("HUP");
    wait_until("it is read", || proxy.logged(" log.level=error") == 1);
}

#[test]
fn tenants_file_applies_to_connected_clients() {
    let redis = redis("static");
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tenants.json");
    let option = format!("--tenants.file={}", file.display());
    fs::write(&file, r#"{"tenants": {"*": {"deny": ["flushall"]}}}"#).unwrap();
    let proxy = Proxy::with(&redis, &[&option, "--core-num=2"]);
    let mut clients: Vec<Wire> = (0..4).map(|_| proxy.client_as("ann", "annpw")).collect();
    for client in &mut clients {
        let refused = client.ask("FLUSHALL");
        assert!(refused.starts_with("-NOPERM"), "{refused}");
        assert_eq!(client.ask("GET who"), "$6 static");
    }
    fs::write(&file, r#"{"tenants": {"*": {"deny": ["get"]}}}"#).unwrap();
    for client in &mut clients {
        wait_until("GET is denied", || {
            client.ask("GET who").starts_with("-NOPERM")
        });
    }
    fs::write(&file, "{\"tenants\":\n {\"*\": {\"dney\": []}}}").unwrap();
    wait_until("it is told", || {
        proxy.logged("tenants.json reason=\"line 2: ") == 1
    });
    assert!(clients[0].ask("GET who").starts_with("-NOPERM"));
    fs::write(
        &file,
        r#"{"tenants": {"yigF5wkxq44": {"requests_per_second": 1}}}"#,
    )
    .unwrap();
    let client = &mut clients[0];
    wait_until("there is a rate", || {
        client.ask("GET who") == "-ERR elika: rate limit exceeded: requests per second"
    });
    fs::write(&file, r#"{"tenants": {}}"#).unwrap();
    wait_until("there is none", || {
        (0..10).all(|_| client.ask("GET who") == "$6 static")
    });
}

/// The names are the same in every round; the clusters that claim them come in the opposite order.
#[test]
fn names_belong_to_the_first_cluster_across_restarts() {
    let (first, second) = (redis("first"), redis("second"));
    let dir = TempDir::new().unwrap();
    let (path, state) = (
        dir.path().join("clusters.json"),
        dir.path().join("state.json"),
    );
    let list = |clusters: &[(&str, &Redis)]| {
        let cluster = |(name, redis): &(&str, &Redis)| {
            let location = r#"{"region":"r","availability_zone":"a","node_name":"n"}"#;
            format!(
                r#"{{"name":{{"namespace":"n","name":"{name}"}},"location":{location},
                    "instances":[{{"id":"{name}","labels":{{"tenant":"shop"}},
                    "endpoints":[{{"addr":"127.0.0.1","port":{}}}]}}]}}"#,
                redis.port()
            )
        };
        let clusters: Vec<String> = clusters.iter().map(cluster).collect();
        fs::write(&path, format!("[{}]", clusters.join(","))).unwrap();
    };
    let start = || {
        Proxy::sync(&[
            &format!("--router.file={}", path.display()),
            &format!("--router.state-file={}", state.display()),
        ])
    };
    // In the order of keys the second cluster comes first.
    list(&[("z-first", &first)]);
    let mut proxy = start();
    expect(&proxy, "shop", "first");
    wait_until("it is written down", || {
        fs::read_to_string(&state).is_ok_and(|text| text.contains("shop"))
    });
    list(&[("a-second", &second), ("z-first", &first)]);
    wait_until("it is refused", || {
        proxy.logged("alias shop already belongs to") == 1
    });
    expect(&proxy, "shop", "first");
    // The first cluster is not listed while the proxy restarts.
    list(&[("a-second", &second)]);
    proxy.kill();
    let proxy = start();
    let page = proxy.service().get("/metrics").body;
    assert!(page.contains("elika_names_refused 1\n"), "{page}");
    let mut client = proxy.client();
    assert!(
        client
            .ask("AUTH shop.admin admin")
            .starts_with("-WRONGPASS")
    );
    list(&[("a-second", &second), ("z-first", &first)]);
    expect(&proxy, "shop", "first");
}
