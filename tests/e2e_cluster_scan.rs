//! SCAN of a Redis Cluster as of one server, while slots and primaries move.
//!
//! With a million keys, for some minutes:
//!
//! ```sh
//! ELIKA_SCAN_KEYS=1000000 ELIKA_SCAN_MOVES=500 cargo test --release --test e2e_cluster_scan
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::{
    Feature, Proxy, Random, RedisCluster, Wire, array, pause, setting, slot_of, tag_of, wait_until,
};

/// The slots that move. They have half of the keys.
const MOVING: usize = 12;

/// Requests of one write.
const PIPELINE: usize = 1_000;

/// A page: the cursor, and the keys.
fn page(reply: &str) -> (&str, Vec<&str>) {
    let mut words = reply.split(' ');
    assert_eq!(words.next(), Some("*2"), "{reply}");
    let cursor = words.nth(1).unwrap();
    let keys = words.skip(1).skip(1).step_by(2);
    (cursor, keys.collect())
}

/// All keys that a whole iteration returns, and the number of its pages. Each page is asked for by
/// the next client.
fn scan(clients: &mut [Wire], options: &str) -> (BTreeSet<String>, usize) {
    let (mut all, mut cursor, mut pages) = (BTreeSet::new(), "0".to_owned(), 0);
    loop {
        let client = pages % clients.len();
        let reply = clients[client].ask(&format!("SCAN {cursor}{options}"));
        let (next, keys) = page(&reply);
        assert!(next.parse::<i64>().is_ok(), "{reply}");
        all.extend(keys.into_iter().map(str::to_owned));
        pages += 1;
        next.clone_into(&mut cursor);
        if cursor == "0" {
            return (all, pages);
        }
    }
}

/// Sets these keys.
fn fill(client: &mut Wire, keys: &BTreeSet<String>) {
    let keys: Vec<&String> = keys.iter().collect();
    for keys in keys.chunks(PIPELINE) {
        let all: Vec<u8> = { keys.iter() }
            .flat_map(|key| array(&format!("SET {key} v")))
            .collect();
        client.send(all);
        for reply in client.replies(keys.len()) {
            assert_eq!(reply, "+OK");
        }
    }
}

#[test]
fn scan_returns_the_keys_of_all_nodes() {
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::of(cluster.node(0));
    let mut clients = [proxy.client(), proxy.client()];
    assert_eq!(scan(&mut clients, "").0, BTreeSet::new());
    let tag = cluster.tag_on(1);
    let some = (0..300).map(|n| format!("key:{n}"));
    let one_slot = (0..500).map(|n| format!("{tag}{n}"));
    let keys: BTreeSet<String> = some.chain(one_slot).collect();
    fill(&mut clients[0], &keys);
    for options in ["", " COUNT 1", " COUNT 10000", " MATCH *", " TYPE string"] {
        assert_eq!(scan(&mut clients, options).0, keys, "{options}");
    }
    let matching = |pattern: &dyn Fn(&String) -> bool| -> BTreeSet<String> {
        keys.iter().filter(|key| pattern(key)).cloned().collect()
    };
    let (found, _) = scan(&mut clients, " MATCH key:1?");
    assert_eq!(
        found,
        matching(&|key| key.starts_with("key:1") && key.len() == 6)
    );
    let (found, pages) = scan(&mut clients, &format!(" MATCH {tag}*"));
    assert_eq!(found, matching(&|key| key.starts_with(&tag)));
    assert!(pages < 12, "{pages}");
    assert_eq!(scan(&mut clients, " TYPE set").0, BTreeSet::new());
    assert_eq!(clients[0].ask("SADD theset a"), ":1");
    let (found, _) = scan(&mut clients, " TYPE SET");
    assert_eq!(found, ["theset".to_owned()].into());
}

#[test]
fn errors_of_scan_are_those_of_a_server() {
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::of(cluster.node(0));
    let mut client = proxy.client();
    for line in [
        "SCAN",
        "SCAN x",
        "SCAN 0 COUNT 0",
        "SCAN 0 COUNT x",
        "SCAN 0 MATCH",
        "SCAN 0 FOO",
        "SCAN 0 NOVALUES",
        "SCAN -1",
    ] {
        let expected = cluster.client(0).ask(line);
        // Servers accept a sign.
        let expected = match line {
            "SCAN -1" => "-ERR invalid cursor",
            _ => &expected,
        };
        assert_eq!(client.ask(line), expected, "{line}");
    }
}

/// Each key that is there all the time is returned, whatever moves.
#[test]
fn scan_returns_every_key_while_slots_and_primaries_move() {
    let mut random = Random(setting("ELIKA_SEED").unwrap_or(1));
    let cluster = RedisCluster::start(3, 1);
    let proxy = Proxy::with(cluster.node(0), &["--core-num=2"]);
    let mut clients = [0; 4].map(|_| proxy.client());
    let moving: Vec<u16> = (0..MOVING).map(|_| random.below(16_384) as u16).collect();
    let count = setting("ELIKA_SCAN_KEYS").unwrap_or(20_000);
    let keys: BTreeSet<String> = (0..count)
        .map(|n| match n % 2 {
            0 => format!("key:{n}"),
            _ => format!("{}{n}", tag_of(moving[n as usize / 2 % MOVING])),
        })
        .collect();
    fill(&mut clients[0], &keys);
    let (moves, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                move_something(&cluster, &moving, &mut random);
                moves.fetch_add(1, Ordering::Relaxed);
            }
        });
        let wanted = setting("ELIKA_SCAN_MOVES").unwrap_or(30);
        let (mut iterations, mut pages) = (0, 0);
        let mut missing = Vec::new();
        while moves.load(Ordering::Relaxed) < wanted && missing.is_empty() {
            let options = [" COUNT 100", "", " COUNT 1000", " TYPE string"][iterations % 4];
            let (found, of_it) = scan(&mut clients, options);
            missing = keys.difference(&found).cloned().collect();
            (iterations, pages) = (iterations + 1, pages + of_it);
        }
        enough.store(true, Ordering::Relaxed);
        let moves = moves.load(Ordering::Relaxed);
        println!("{iterations} iterations, {pages} pages, {moves} moves");
        let slots: Vec<u16> = missing.iter().map(|key| slot_of(key)).collect();
        assert!(missing.is_empty(), "{} keys: {slots:?}", missing.len());
        assert!(iterations > 3, "{iterations}");
    });
}

/// A slot migrates, in one of the two ways, or a replica takes over.
fn move_something(cluster: &RedisCluster, moving: &[u16], random: &mut Random) {
    if random.below(12) == 0 {
        let replica = random.pick(&cluster.replicas());
        return cluster.failover(replica);
    }
    let slot = random.pick(moving);
    let mut others = cluster.primaries();
    others.retain(|node| *node != cluster.node_of(slot));
    let to = random.pick(&others);
    if !cluster.lacks(Feature::AtomicMigration) && random.below(2) == 0 {
        return cluster.migrate_atomically(slot..=slot, to);
    }
    cluster.begin_migration(slot, to);
    let half = format!("CLUSTER GETKEYSINSLOT {slot} 400");
    let reply = cluster.node(cluster.node_of(slot)).ask(&half);
    for key in reply.split(' ').skip(2).step_by(2).step_by(3) {
        cluster.move_key(key, to);
    }
    pause();
    cluster.move_keys(slot, to);
    pause();
    cluster.end_migration(slot, to);
    cluster.wait_owner(slot, to);
    wait_until("the node serves the slot", || cluster.node_of(slot) == to);
}
