//! Redis Cluster. The tests of the harness itself are direct, without the proxy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;
mod workload;

use std::fmt::Display;
use std::net::TcpListener;
use std::thread;

use support::{
    Feature, Proxy, Random, Redis, RedisCluster, array, pause, request, slot_of, tag_of, wait_until,
};
use workload::{Summary, Workload, after_seconds};

#[test]
fn each_node_serves_the_keys_of_its_slots() {
    let cluster = RedisCluster::start(3, 0);
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    let mut clients = [0, 1, 2].map(|node| cluster.client(node));
    for key in (0..60).map(|n| format!("key:{n}")) {
        let slot = slot_of(&key);
        assert_eq!(
            clients[0].number(&format!("CLUSTER KEYSLOT {key}")),
            slot.into()
        );
        let owner = cluster.node_of(slot);
        let moved = format!("-MOVED {slot} {}", cluster.node(owner).address());
        for (node, client) in clients.iter_mut().enumerate() {
            let expected = if node == owner { "+OK" } else { &moved };
            assert_eq!(client.ask(&format!("SET {key} v")), expected);
        }
    }
    assert_eq!(slot_of("123456789"), 0x31C3);
    assert_eq!(slot_of(&format!("{}key", tag_of(4711))), 4711);
    for (node, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask("AUTH admin admin"), "+OK");
        let key = format!("{}key", cluster.tag_on(node));
        assert_eq!(client.ask(&format!("SET {key} v")), "+OK");
    }
}

#[test]
fn slot_migrates_step_by_step() {
    let cluster = RedisCluster::start(2, 0);
    let tag = cluster.tag_on(0);
    let (moved, stays, new) = (format!("{tag}a"), format!("{tag}b"), format!("{tag}c"));
    let slot = slot_of(&tag);
    let [mut source, mut target] = [0, 1].map(|node| cluster.client(node));
    assert_eq!(source.ask(&format!("MSET {moved} 1 {stays} 2")), "+OK");

    cluster.begin_migration(slot, 1);
    assert!(cluster.move_key(&moved, 1));
    assert!(!cluster.move_key(&moved, 1));
    let ask = format!("-ASK {slot} {}", cluster.node(1).address());
    assert_eq!(source.ask(&format!("GET {stays}")), "$1 2");
    assert_eq!(source.ask(&format!("GET {moved}")), ask);
    assert_eq!(source.ask(&format!("SET {new} 3")), ask);
    let direct = format!("-MOVED {slot} {}", cluster.node(0).address());
    assert_eq!(target.ask(&format!("GET {moved}")), direct);
    assert_eq!(
        target.ask_all(&format!("ASKING | GET {moved}")),
        ["+OK", "$1 1"]
    );
    let both = target.ask_all(&format!("ASKING | MGET {moved} {stays}"));
    assert_eq!(both[0], "+OK");
    assert!(both[1].starts_with("-TRYAGAIN "), "{both:?}");

    cluster.move_keys(slot, 1);
    assert_eq!(source.ask(&format!("GET {stays}")), ask);
    cluster.end_migration(slot, 1);
    cluster.wait_owner(slot, 1);
    let direct = format!("-MOVED {slot} {}", cluster.node(1).address());
    assert_eq!(source.ask(&format!("GET {stays}")), direct);
    assert_eq!(target.ask(&format!("MGET {moved} {stays}")), "*2 $1 1 $1 2");

    cluster.begin_migration(slot, 0);
    cluster.cancel_migration(slot, 0);
    assert_eq!(target.ask(&format!("GET {new}")), "$-1");
    // More keys than one MIGRATE takes.
    for n in 0..250 {
        assert_eq!(target.ask(&format!("SET {tag}{n} v")), "+OK");
    }
    cluster.migrate_slot(slot, 0);
    let count = format!("CLUSTER COUNTKEYSINSLOT {slot}");
    assert_eq!([source.number(&count), target.number(&count)], [252, 0]);
}

#[test]
fn slots_migrate_atomically() {
    let cluster = RedisCluster::start(2, 0);
    if cluster.lacks(Feature::AtomicMigration) {
        return;
    }
    let (tags, slots) = ([tag_of(100), tag_of(120)], 100..=120);
    let [mut source, mut target] = [0, 1].map(|node| cluster.client(node));
    for tag in &tags {
        assert_eq!(source.ask(&format!("SET {tag} v")), "+OK");
    }
    cluster.migrate_atomically(slots, 1);
    for tag in &tags {
        let reply = source.ask(&format!("GET {tag}"));
        assert!(reply.starts_with("-MOVED "), "{reply}");
        assert_eq!(target.ask(&format!("GET {tag}")), "$1 v");
    }
    assert_eq!([cluster.node_of(99), cluster.node_of(121)], [0, 0]);
}

#[test]
fn replica_takes_over() {
    let mut cluster = RedisCluster::start(3, 1);
    assert_eq!(cluster.replicas(), [3, 4, 5]);
    assert_eq!(cluster.replicas_of(1), [4]);
    let tags = [0, 1].map(|node| cluster.tag_on(node));
    for (node, tag) in tags.iter().enumerate() {
        let mut client = cluster.client(node);
        let replies = client.ask_all(&format!("SET {tag} v | WAIT 1 0"));
        assert_eq!(replies, ["+OK", ":1"]);
    }

    // By command: the old primary is a replica of the new one.
    cluster.failover(3);
    assert_eq!(cluster.node_of(slot_of(&tags[0])), 3);
    assert_eq!(cluster.replicas_of(3), [0]);
    assert_eq!(cluster.client(3).ask(&format!("GET {}", tags[0])), "$1 v");

    // After a failure: it becomes a replica when it is back.
    cluster.kill(1);
    cluster.wait_primary(4);
    cluster.wait_settled();
    assert_eq!(cluster.primaries(), [2, 3, 4]);
    assert_eq!(cluster.client(4).ask(&format!("GET {}", tags[1])), "$1 v");
    cluster.start_again(1);
    wait_until("the old primary is a replica", || {
        cluster.replicas_of(4) == [1]
    });
    cluster.wait_settled();
}

#[test]
fn cluster_stops_serving_while_a_primary_is_paused() {
    let mut cluster = RedisCluster::start(3, 0);
    let key = cluster.tag_on(0);
    let mut client = cluster.client(0);
    cluster.pause(2);
    wait_until("the other nodes stop serving", || !cluster.serves(0));
    let reply = client.ask(&format!("SET {key} v"));
    assert!(reply.starts_with("-CLUSTERDOWN "), "{reply}");
    cluster.resume(2);
    cluster.wait_settled();
    assert_eq!(client.ask(&format!("SET {key} v")), "+OK");
}

/// Without a proxy, each client gets the errors of a node that does not have all slots.
#[test]
fn workload_at_a_node_gets_right_replies_and_redirections() {
    let cluster = RedisCluster::start(2, 0);
    let summary = run_while_slots_migrate(&cluster, cluster.node(0).address());
    assert_eq!((summary.wrong, summary.closed), (0, 0), "{summary}");
    let redirections = ["-MOVED ", "-ASK ", "-TRYAGAIN ", "-EXECABORT "];
    assert_eq!(summary.errors_beside(&redirections), [""; 0], "{summary}");
    assert!(summary.errors.contains_key("-MOVED # #.#.#.#:#"));
}

/// A cluster looks like one server.
#[test]
fn client_uses_all_slots_as_of_one_server() {
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::of(cluster.node(0));
    let (mut client, mut other) = (proxy.client_as("admin", "admin"), proxy.client());
    let keys: Vec<String> = (0..60).map(|n| format!("key:{n}")).collect();
    for key in &keys {
        assert_eq!(client.ask(&format!("SET {key} {key}")), "+OK");
    }
    let lines: Vec<String> = keys.iter().map(|key| format!("GET {key}")).collect();
    let values: Vec<String> = { keys.iter() }
        .map(|key| format!("${} {key}", key.len()))
        .collect();
    assert_eq!(client.ask_all(&lines.join(" | ")), values);
    assert_eq!(client.ask("DBSIZE"), ":60");
    assert_eq!(
        client.ask(&format!("EXISTS {} none", keys.join(" "))),
        ":60"
    );
    let all = client.ask(&format!("MGET {} none", keys.join(" ")));
    assert_eq!(all, format!("*61 {} $-1", values.join(" ")));
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot";
    for line in ["DEL key:1 key:2", "RENAME key:1 key:2", "MSET a 1 b 2 c 3"] {
        assert_eq!(client.ask(line), crossed, "{line}");
    }
    let [a, b] = [0, 1].map(|node| format!("{}k", cluster.tag_on(node)));
    assert_eq!(
        client.ask_all(&format!(
            "MULTI | PING | SET {a} 1 | EXEC | MULTI | INCR {b} | EXEC"
        )),
        [
            "+OK",
            "+QUEUED",
            "+QUEUED",
            "*2 +PONG +OK",
            "+OK",
            "+QUEUED",
            "*1 :1"
        ]
    );
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(
        client.ask_all(&format!("MULTI | SET {a} 2 | SET {b} 2 | EXEC | GET {b}")),
        ["+OK", "+QUEUED", crossed, aborted, "$1 1"]
    );
    assert_eq!(
        client.ask_all("MULTI | EXEC | MULTI | DISCARD"),
        ["+OK", "*0", "+OK", "+OK"]
    );
    assert_eq!(
        client.ask_all(&format!("WATCH {a} | GET {b} | MULTI")),
        ["+OK", "$1 1", "+OK"]
    );
    assert_eq!(other.ask(&format!("SET {a} 3")), "+OK");
    assert_eq!(
        client.ask_all(&format!("GET {a} | EXEC")),
        ["+QUEUED", "*-1"]
    );
    client.send(array(&format!("BLPOP {b}list 0")));
    wait_until("it waits", || {
        other.ask(&format!("RPUSH {b}list x")) == ":1"
    });
    assert_eq!(client.reply(), format!("*2 ${} {b}list $1 x", b.len() + 4));
    assert!(client.ask("HELLO").contains("$4 mode $10 standalone"));
    let disabled = "-ERR This instance has cluster support disabled";
    assert_eq!(client.ask("CLUSTER INFO"), disabled);
}

/// A client chooses the error of its script: it names no server that the proxy connects to, and is
/// no reason to execute the script again.
#[test]
fn error_of_a_script_is_no_redirection() {
    let script = |text: &str, key: &str| {
        let code = format!("redis.call('INCR',KEYS[1]) return redis.error_reply('{text}')");
        request(&[b"EVAL", code.as_bytes(), b"1", key.as_bytes()])
    };
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    stranger.set_nonblocking(true).unwrap();
    let at = stranger.local_addr().unwrap();
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::of(cluster.node(0));
    let mut client = proxy.client();
    let tag = cluster.tag_on(1);
    let (slot, key) = (slot_of(&tag), format!("{tag}k"));
    let moved = "-TRYAGAIN The slot has moved to another node";
    for (n, (text, heard)) in [
        (format!("MOVED {slot} {at}"), moved.to_owned()),
        (format!("ASK {slot} {at}"), moved.to_owned()),
        (
            format!("MOVED {} {at}", slot ^ 1),
            format!("-MOVED {} {at}", slot ^ 1),
        ),
        ("TRYAGAIN later".to_owned(), "-TRYAGAIN later".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        client.send(script(&text, &key));
        assert_eq!(client.reply(), heard, "{text}");
        assert_eq!(
            client.ask(&format!("GET {key}")),
            format!("$1 {}", n + 1),
            "{text}"
        );
    }
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    client.send(script(&format!("MOVED {slot} {at}"), &key));
    assert_eq!(client.reply(), format!("-MOVED {slot} {at}"));
    assert_eq!(client.ask(&format!("GET {key}")), "$1 1");
    assert!(stranger.accept().is_err(), "the proxy connected to it");
}

/// A primary is killed, and its replica takes over: clients wait, and lose only what was under way.
#[test]
fn clients_go_on_when_a_replica_takes_over() {
    let mut cluster = RedisCluster::start(3, 1);
    let proxy = Proxy::of(cluster.node(0));
    let mut client = proxy.client();
    let keys = [0, 1, 2].map(|node| format!("{}k", cluster.tag_on(node)));
    for killed in [1, 0] {
        for key in &keys {
            assert_eq!(client.ask(&format!("SET {key} {killed}")), "+OK");
        }
        let replica = cluster.replicas_of(killed)[0];
        wait_until("the replica has the key", || {
            let mut replica = cluster.client(replica);
            replica.ask("READONLY");
            replica.ask(&format!("GET {}", keys[killed])) == format!("$1 {killed}")
        });
        cluster.kill(killed);
        for round in 0..20 {
            for key in &keys {
                assert_eq!(
                    client.ask(&format!("GET {key}")),
                    format!("$1 {killed}"),
                    "{round}"
                );
            }
        }
        assert_eq!(client.ask(&format!("SET {} x", keys[killed])), "+OK");
        cluster.start_again(killed);
        cluster.wait_settled();
    }
}

/// Behind the proxy, the same clients need not know that there are nodes.
#[test]
fn workload_behind_the_proxy_gets_right_replies() {
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::of(cluster.node(0));
    let summary = run_while_slots_migrate(&cluster, proxy.address());
    assert_eq!((summary.wrong, summary.closed), (0, 0), "{summary}");
    assert_eq!(summary.errors_beside(&[]), [""; 0], "{summary}");
}

/// Runs the workload at an address while slots with its keys change their node all the time.
fn run_while_slots_migrate(cluster: &RedisCluster, address: impl Display + Sync) -> Summary {
    let workload = Workload::new(4);
    let mut random = Random(workload.seed);
    let slots = workload.slots();
    let atomic = !cluster.lacks(Feature::AtomicMigration);
    let (summary, migrated) = thread::scope(|scope| {
        let run = scope.spawn(|| workload.run(&address, after_seconds(3)));
        let mut migrated = 0;
        while !run.is_finished() {
            let slot = random.pick(&slots);
            let mut others = cluster.primaries();
            others.retain(|node| *node != cluster.node_of(slot));
            let to = random.pick(&others);
            if atomic && random.below(2) == 0 {
                cluster.migrate_atomically(slot..=slot, to);
            } else {
                cluster.begin_migration(slot, to);
                pause();
                cluster.move_keys(slot, to);
                pause();
                cluster.end_migration(slot, to);
                cluster.wait_owner(slot, to);
            }
            migrated += 1;
        }
        (run.join().unwrap(), migrated)
    });
    println!("{migrated} slots migrated\n{summary}");
    assert!(migrated > 5, "{migrated} slots migrated");
    summary
}
