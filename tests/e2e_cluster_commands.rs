//! Commands about all nodes of a Redis Cluster: WAIT, and those that reach a node that is busy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Feature, Proxy, RedisCluster, Wire, array, request, wait_until};

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

#[test]
fn script_is_killed_on_whichever_node_it_runs() {
    let cluster = RedisCluster::start_with(3, 0, "lua-time-limit 50");
    let proxy = Proxy::with(cluster.node(0), &["--core-num=1", "--admin-commands=allow"]);
    let mut client = proxy.client();
    let not_busy = client.ask("SCRIPT KILL");
    assert!(not_busy.starts_with("-NOTBUSY "), "{not_busy}");
    for node in 0..3 {
        let mut runs = proxy.client();
        let key = format!("{}k", cluster.tag_on(node));
        let endless: &[&[u8]] = &[b"EVAL", b"while true do end", b"1", key.as_bytes()];
        runs.send(request(endless));
        // These requests wait behind the script, on all of the user's connections.
        let mut behind = [0; 3].map(|_| proxy.client());
        for client in &mut behind {
            client.send(array(&format!("GET {key}")));
        }
        let mut direct = cluster.client(node);
        wait_until("the node is busy", || {
            direct.ask("PING").starts_with("-BUSY ")
        });
        assert_eq!(client.ask("SCRIPT KILL"), "+OK", "node {node}");
        let killed = runs.reply();
        assert!(killed.contains("killed by user"), "{killed}");
        for client in &mut behind {
            let reply = client.reply();
            assert!(reply == "$-1" || reply.starts_with("-BUSY "), "{reply}");
        }
    }
    let not_busy = client.ask("SCRIPT KILL");
    assert!(not_busy.starts_with("-NOTBUSY "), "{not_busy}");
    if !cluster.lacks(Feature::Functions) {
        let reply = client.ask("FUNCTION KILL");
        assert!(reply.starts_with("-NOTBUSY "), "{reply}");
        let stats = client.ask("FUNCTION STATS");
        assert!(stats.contains("running_script"), "{stats}");
    }
}

#[test]
fn administrative_commands_are_executed_by_all_nodes() {
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::with(cluster.node(0), &["--admin-commands=allow"]);
    let mut client = proxy.client();
    let keys = keys(&cluster);
    assert_eq!(client.ask("RANDOMKEY"), "$-1");
    assert_eq!(client.ask(&format!("SET {} v", keys[1])), "+OK");
    for _ in 0..10 {
        assert_eq!(
            client.ask("RANDOMKEY"),
            format!("${} {}", keys[1].len(), keys[1])
        );
    }
    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than 0"), "+OK");
    for node in 0..3 {
        let value = cluster.node(node).ask("CONFIG GET slowlog-log-slower-than");
        assert!(value.ends_with(" 0"), "{value}");
    }
    set_all(&mut client, &keys);
    let entries = client.ask("SLOWLOG GET -1");
    for key in &keys {
        assert!(entries.contains(key), "{entries}");
    }
    assert!(client.number("SLOWLOG LEN") > 3);
    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than -1"), "+OK");
    assert_eq!(client.ask("SLOWLOG RESET"), "+OK");
    assert_eq!(client.ask("SLOWLOG LEN"), ":0");
    for line in ["CONFIG RESETSTAT", "MEMORY PURGE"] {
        assert_eq!(client.ask(line), "+OK", "{line}");
    }
    assert_eq!(client.ask("LATENCY RESET"), ":0");
    let refused = client.ask("CONFIG SET no-such-parameter 1");
    assert!(refused.starts_with("-ERR "), "{refused}");
}
