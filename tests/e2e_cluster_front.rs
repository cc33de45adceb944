//! Labels and options about Redis Cluster, and the databases of a cluster.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;

use support::{Feature, Proxy, Redis, RedisCluster, slot_of, wait_until};
use tempfile::TempDir;

/// A registry file with one cluster, whose instance has these labels.
fn write_file(path: &std::path::Path, labels: &str, port: u16) {
    let text = format!(
        r#"[{{"name": {{"namespace": "shop", "name": "carts"}},
  "location": {{"region": "eu", "availability_zone": "a", "node_name": "n1"}},
  "instances": [{{"id": "i", "labels": {{"tenant": "carts"{labels}}},
    "endpoints": [{{"addr": "127.0.0.1", "port": {port}}}]}}]}}]"#
    );
    fs::write(path, text).unwrap();
}

#[test]
fn labels_take_effect_while_clients_are_connected() {
    let cluster = RedisCluster::start(2, 0);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("clusters.json");
    let port = cluster.node(0).port();
    write_file(&path, r#", "front": "both""#, port);
    let proxy = Proxy::sync(&[&format!("--router.file={}", path.display())]);
    let mut client = proxy.client_when_known("carts.admin", "admin");
    let [a, b] = [0, 1].map(|node| format!("{}k", cluster.tag_on(node)));
    assert_eq!(client.ask(&format!("SET {a} 1")), "+OK");
    assert_eq!(client.ask(&format!("SET {b} 2")), "+OK");
    let wrong = r#"label front="both" must be one of single, cluster, auto"#;
    assert_eq!(proxy.logged(wrong), 1, "{}", proxy.log());
    let disabled = "-ERR This instance has cluster support disabled";
    assert_eq!(client.ask("CLUSTER SLOTS"), disabled);
    assert!(
        client
            .ask(&format!("DEL {a} {b}"))
            .starts_with("-CROSSSLOT ")
    );

    write_file(&path, r#", "front": "cluster", "cross-slot": "all""#, port);
    wait_until("the client sees a cluster", || {
        client.ask("CLUSTER SLOTS") != disabled
    });
    let at = format!("*1 *3 :0 :16383 *4 $9 127.0.0.1 :{} $40", proxy.port());
    let slots = client.ask("CLUSTER SLOTS");
    assert!(slots.starts_with(&at), "{slots}");
    assert!(client.ask("HELLO").contains("$4 mode $7 cluster"));
    let info = client.ask("INFO");
    assert!(
        info.contains("redis_mode:cluster") || info.contains("server_mode:cluster"),
        "{info}"
    );
    assert!(info.contains("cluster_enabled:1"), "{info}");
    assert_eq!(client.ask(&format!("DEL {a} {b}")), ":2");
    for key in [&a, &b] {
        assert_eq!(client.ask(&format!("SET {key} 1")), "+OK");
        let slot = slot_of(key);
        // The router is not static: administrative commands are refused.
        let count = client.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}"));
        assert!(count.starts_with("-NOPERM "), "{count}");
    }

    write_file(&path, r#", "mode": "single""#, port);
    wait_until("redirections reach the client", || {
        client.ask(&format!("GET {b}")).starts_with("-MOVED ")
    });
    assert_eq!(client.ask(&format!("GET {a}")), "$1 1");
    assert!(
        client
            .ask(&format!("MGET {a} {b}"))
            .starts_with("-CROSSSLOT ")
    );

    write_file(&path, r#", "mode": "cluster", "cross-slot": "error""#, port);
    wait_until("no redirection reaches the client", || {
        client.ask(&format!("GET {b}")) == "$1 1"
    });
    assert!(
        client
            .ask(&format!("MGET {a} {b}"))
            .starts_with("-CROSSSLOT ")
    );
}

#[test]
fn keys_of_a_slot_are_counted_by_its_node() {
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::with(cluster.node(0), &["--cluster.front=cluster"]);
    let mut client = proxy.client();
    for node in [0, 1] {
        let tag = cluster.tag_on(node);
        let slot = slot_of(&tag);
        assert_eq!(client.ask(&format!("MSET {tag}1 a {tag}2 b")), "+OK");
        assert_eq!(client.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), ":2");
        let keys = client.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1"));
        assert!(keys.starts_with("*1 "), "{keys}");
    }
    let direct = cluster.client(0).ask("CLUSTER COUNTKEYSINSLOT 99999");
    assert_eq!(client.ask("CLUSTER COUNTKEYSINSLOT 99999"), direct);
}

#[test]
fn client_of_a_single_server_may_see_a_cluster() {
    let (_redis, proxy) = Redis::open().proxied(&["--cluster.front=auto"]);
    let mut client = proxy.client();
    assert_eq!(client.ask("SET k v"), "+OK");
    assert!(client.ask("INFO cluster").contains("cluster_enabled:0"));
    let slots = client.ask("CLUSTER SLOTS");
    assert!(slots.contains(&format!(":{}", proxy.port())), "{slots}");
    assert!(client.ask("INFO cluster").contains("cluster_enabled:1"));
    let all = client.ask_all("GET k | INFO server | GET k | READONLY | GET k");
    assert!(all[1].contains("_mode:cluster"), "{}", all[1]);
    assert_eq!(
        [&all[0], &all[2], &all[3], &all[4]],
        ["$1 v", "$1 v", "+OK", "$1 v"]
    );
}

#[test]
fn database_other_than_0_gets_the_error_of_the_server() {
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::of(cluster.node(0));
    let mut client = proxy.client();
    let error = cluster.client(0).ask("SELECT 1");
    assert!(error.starts_with('-'), "{error}");
    assert_eq!(client.ask("SELECT 1"), error);
    assert_eq!(client.ask("SELECT 0"), "+OK");
    for node in [0, 1] {
        let key = format!("{}k", cluster.tag_on(node));
        assert_eq!(client.ask(&format!("SET {key} v")), "+OK");
    }
}

#[test]
fn databases_of_a_cluster_do_not_mix() {
    // Servers with databases in a cluster migrate slots atomically.
    if RedisCluster::start(1, 0).lacks(Feature::AtomicMigration) {
        return;
    }
    let cluster = RedisCluster::start_with(2, 0, "cluster-databases 16\n");
    let proxy = Proxy::of(cluster.node(0));
    let mut clients = [0, 1, 15].map(|db| {
        let mut client = proxy.client();
        assert_eq!(client.ask(&format!("SELECT {db}")), "+OK");
        (db, client)
    });
    let tags = [0, 1].map(|node| cluster.tag_on(node));
    let keys = tags.each_ref().map(|tag| format!("{tag}k"));
    for (db, client) in &mut clients {
        for key in &keys {
            assert_eq!(client.ask(&format!("SET {key} {db}")), "+OK");
        }
    }
    let mut check = || {
        for (db, client) in &mut clients {
            let value = format!("${} {db}", db.to_string().len());
            for key in &keys {
                assert_eq!(client.ask(&format!("GET {key}")), value);
                assert_eq!(
                    client.ask_all(&format!("MULTI | GET {key} | EXEC")),
                    ["+OK", "+QUEUED", &format!("*1 {value}")]
                );
            }
            assert_eq!(
                client.ask(&format!("MGET {} {}", keys[0], keys[1])),
                format!("*2 {value} {value}")
            );
            assert_eq!(client.ask("DBSIZE"), ":2");
        }
    };
    check();
    let slot = slot_of(&tags[0]);
    for to in [1, 0] {
        // The clients are redirected.
        cluster.migrate_atomically(slot..=slot, to);
        check();
    }
}
