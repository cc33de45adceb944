//! Commands about all nodes of a Redis Cluster.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Feature, Proxy, RedisCluster, Wire, array};

/// A key on each of the first nodes.
fn keys(cluster: &RedisCluster) -> [String; 3] {
    [0, 1, 2].map(|node| format!("{}k", cluster.tag_on(node)))
}

/// Sets all keys.
fn set_all(client: &mut Wire, keys: &[String]) {
    let lines: Vec<String> = keys.iter().map(|key| format!("SET {key} v")).collect();
    for reply in client.ask_all(&lines.join(" | ")) {
        assert_eq!(reply, "+OK");
    }
}

#[test]
fn wait_returns_the_least_number_of_replicas_of_the_nodes_with_writes() {
    let mut cluster = RedisCluster::start(3, 1);
    let proxy = Proxy::with(cluster.node(0), &["--core-num=1"]);
    let keys = keys(&cluster);
    let mut client = proxy.client();
    set_all(&mut client, &keys);
    assert_eq!(client.ask("WAIT 1 0"), ":1");
    assert_eq!(client.ask("WAIT 2 50"), ":1");

    let silent = cluster.replicas_of(1)[0];
    cluster.pause(silent);
    set_all(&mut client, &keys);
    assert_eq!(client.ask("WAIT 1 60"), ":0");
    let mut other = proxy.client();
    assert_eq!(other.ask(&format!("SET {} v", keys[0])), "+OK");
    assert_eq!(other.ask("WAIT 1 0"), ":1", "it wrote on another node");

    // A client that waits delays nobody.
    client.send(array("WAIT 1 0"));
    for round in 0..20 {
        for key in &keys {
            assert_eq!(other.ask(&format!("GET {key}")), "$1 v", "{round}");
        }
    }
    cluster.resume(silent);
    assert_eq!(client.reply(), ":1");
    for (line, error) in [
        ("WAIT x 0", "-ERR "),
        ("WAIT 1", "-ERR "),
        ("WAIT 1 -1", "-ERR "),
    ] {
        let reply = client.ask(line);
        assert!(reply.starts_with(error), "{line}: {reply}");
    }
    // The writes of a transaction are on another connection.
    let line = format!("MULTI | SET {} v | EXEC", keys[2]);
    assert_eq!(client.ask_all(&line), ["+OK", "+QUEUED", "*1 +OK"]);
    assert_eq!(client.ask("WAIT 1 0"), ":1");
}

#[test]
fn waitaof_asks_all_nodes_with_writes() {
    let cluster = RedisCluster::start_with(2, 0, "appendonly yes");
    if cluster.lacks(Feature::WaitAof) {
        return;
    }
    let proxy = Proxy::of(cluster.node(0));
    let mut client = proxy.client();
    let keys = [0, 1].map(|node| format!("{}k", cluster.tag_on(node)));
    set_all(&mut client, &keys);
    assert_eq!(client.ask("WAITAOF 1 0 0"), "*2 :1 :0");
}
