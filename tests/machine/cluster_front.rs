//! The labels about Redis Cluster: what an instance is, what its clients see, and which requests
//! are split. `bar` is on the first node and `foo` on the second.

use std::net::SocketAddr;
use std::sync::Arc;

use elika::cluster::{
    ClusterInstance, ClusterKey, Endpoint, Health, Known, Snapshot, SnapshotBuilder, TenantRules,
};

use super::harness::{Worker, command};
use super::redis_cluster::{connections, on_a_cluster};

const DISABLED: &str = "-ERR This instance has cluster support disabled\r\n";
const CROSS_SLOT: &str = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
const MODE_CLUSTER: &str = "$4\r\nmode\r\n$7\r\ncluster\r\n";
const MODE_STANDALONE: &str = "$4\r\nmode\r\n$10\r\nstandalone\r\n";

/// One instance with these labels, separated by spaces.
fn labelled(labels: &str) -> Arc<Snapshot> {
    let key = ClusterKey::local();
    let endpoint = Endpoint::new("127.0.0.1", 6379);
    let mut instance = ClusterInstance::new(key.clone(), "one", endpoint);
    let labels = labels.split_whitespace();
    let labels = labels.filter_map(|label| label.split_once('='));
    instance.labels = labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let known = Known {
        instance,
        addresses: vec![SocketAddr::from(([127, 0, 0, 1], 6_379))],
        health: Health::Unknown,
    };
    let rules = TenantRules::default();
    let mut builder = SnapshotBuilder::new(Some(key.tenant()));
    Arc::new(builder.build(&[], [known], |key, aliases, instances| {
        rules.limits_of(key, aliases, instances).0
    }))
}

fn worker(labels: &str) -> Worker {
    Worker::with_snapshot(labelled(labels), |_| {})
}

#[test]
fn client_sees_one_node_at_the_address_that_it_uses() {
    let mut worker = worker("front=cluster");
    let (client, _) = on_a_cluster(&mut worker);
    let [_, second] = connections(&mut worker, client);
    let mut ask = |line: &str| {
        worker.send(client, line);
        worker.received(client)
    };
    let slots = ask("CLUSTER SLOTS");
    let all = "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:1000\r\n$40\r\n";
    assert!(slots.starts_with(all), "{slots}");
    assert!(ask("HELLO").contains(MODE_CLUSTER));
    for line in ["READONLY", "READWRITE", "ASKING"] {
        assert_eq!(ask(line), "+OK\r\n", "{line}");
    }
    assert_eq!(ask("CLUSTER KEYSLOT foo"), ":12182\r\n");
    assert!(ask("CLUSTER MEET 127.0.0.1 7000").starts_with("-NOPERM "));
    assert!(ask("CLUSTER NOSUCH").starts_with("-ERR unknown subcommand 'NOSUCH'"));
    for line in [
        "CLUSTER COUNTKEYSINSLOT 12182",
        "CLUSTER GETKEYSINSLOT 12182 1",
    ] {
        worker.send(client, line);
        let sent = worker.requests(second);
        assert_eq!(sent.as_bytes(), command(line), "{line}");
        worker.deliver(second, client, ":1\r\n");
    }
}

#[test]
fn label_changes_what_connected_clients_see() {
    let mut worker = worker("");
    let (client, _) = on_a_cluster(&mut worker);
    for (labels, shown, reply) in [
        ("", MODE_STANDALONE, DISABLED),
        ("front=cluster", MODE_CLUSTER, "*1\r\n*3\r\n"),
        ("front=single", MODE_STANDALONE, DISABLED),
        ("front=nonsense", MODE_STANDALONE, DISABLED),
    ] {
        worker.apply(labelled(labels));
        worker.send(client, "HELLO");
        let hello = worker.received(client);
        assert!(hello.contains(shown), "{labels}: {hello}");
        worker.send(client, "CLUSTER SLOTS");
        let slots = worker.received(client);
        assert!(slots.starts_with(reply), "{labels}: {slots}");
    }
}

#[test]
fn client_that_sends_commands_of_a_cluster_sees_one() {
    let mut worker = worker("front=auto");
    let (client, _) = on_a_cluster(&mut worker);
    worker.send(client, "HELLO");
    assert!(worker.received(client).contains(MODE_STANDALONE));
    worker.send(client, "READONLY");
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.send(client, "HELLO");
    assert!(worker.received(client).contains(MODE_CLUSTER));
}

#[test]
fn client_of_a_single_server_sees_a_node_in_info() {
    let mut worker = worker("front=cluster");
    let (client, backend) = worker.user("ann");
    worker.requests(backend);
    worker.send_bytes(client, ["GET a", "INFO", "GET b"].map(command).concat());
    let text = |mode: &str, enabled: u8| {
        let text = format!("redis_mode:{mode}\r\n# Cluster\r\ncluster_enabled:{enabled}\r\n");
        format!("${}\r\n{text}\r\n", text.len())
    };
    worker.reply(backend, "$1\r\na\r\n");
    let info = text("standalone", 0);
    let (begin, end) = info.split_at(20);
    worker.reply(backend, begin);
    assert_eq!(worker.received(client), "$1\r\na\r\n");
    worker.reply(backend, end);
    assert_eq!(worker.received(client), text("cluster", 1));
    worker.deliver(backend, client, "$1\r\nb\r\n");
}

#[test]
fn redirection_reaches_the_clients_of_an_instance_with_mode_single() {
    let mut worker = worker("mode=single");
    let (client, backend) = worker.user("ann");
    worker.requests(backend);
    for line in [
        "-MOVED 12182 127.0.0.9:7000\r\n",
        "-ASK 12182 127.0.0.9:7000\r\n",
    ] {
        worker.send(client, "GET foo");
        worker.deliver(backend, client, line);
    }
    worker.send(client, "MGET foo bar");
    worker.deliver(backend, client, CROSS_SLOT);
    assert!(worker.new_links().is_empty());
}

#[test]
fn instance_with_mode_cluster_is_asked_for_its_slots_at_once() {
    let mut worker = worker("mode=cluster");
    let client = worker.client_sends("AUTH ann pw");
    let backend = worker.established();
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.advance(1);
    assert!(worker.requests(backend).contains("SLOTS"));
}

#[test]
fn cluster_that_a_label_calls_a_single_server_is_one() {
    let mut worker = worker("");
    let (client, any) = on_a_cluster(&mut worker);
    let [_, second] = connections(&mut worker, client);
    worker.send_bytes(client, ["GET foo", "GET bar"].map(command).concat());
    worker.requests(any);
    worker.apply(labelled("mode=single"));
    worker.send(client, "GET foo");
    assert_eq!(worker.requests(any), "", "a reply is outstanding");
    worker.reply(second, "+1\r\n");
    worker.advance(1);
    assert!(worker.closed(second));
}

#[test]
fn cross_slot_error_splits_no_request() {
    let mut worker = worker("cross-slot=error");
    let (client, _) = on_a_cluster(&mut worker);
    for line in ["MGET foo bar", "EXISTS foo bar", "DEL foo bar"] {
        worker.send(client, line);
        assert_eq!(worker.received(client), CROSS_SLOT, "{line}");
    }
    worker.apply(labelled("cross-slot=all"));
    let [first, second] = connections(&mut worker, client);
    worker.send(client, "DEL foo bar");
    worker.reply(first, ":1\r\n");
    worker.reply(second, ":1\r\n");
    assert_eq!(worker.received(client), ":2\r\n");
}

#[test]
fn cross_slot_all_says_if_a_part_took_place() {
    let mut worker = worker("cross-slot=all");
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    worker.send(client, "MSET foo 1 bar 2");
    assert_eq!(worker.requests(first).as_bytes(), command("MSET bar 2"));
    assert_eq!(worker.requests(second).as_bytes(), command("MSET foo 1"));
    worker.reply(first, "+OK\r\n");
    worker.reply(second, "-OOM command not allowed\r\n");
    assert_eq!(
        worker.received(client),
        "-ERR elika: executed in part: OOM command not allowed\r\n"
    );
    worker.send(client, "MSET foo 1 bar 2");
    worker.reply(first, "-OOM command not allowed\r\n");
    worker.reply(second, "-OOM command not allowed\r\n");
    assert_eq!(worker.received(client), "-OOM command not allowed\r\n");
}

/// While its slot migrates, a node may refuse a part with several keys, but not the request behind
/// it.
#[test]
fn request_behind_a_part_with_several_keys_waits() {
    let mut worker = worker("cross-slot=all");
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    worker.send_bytes(
        client,
        ["DEL bar {bar}2 foo", "SET bar 1"].map(command).concat(),
    );
    assert!(!worker.requests(first).contains("SET"));
    worker.reply(second, ":1\r\n");
    worker.reply(first, "-TRYAGAIN Multiple keys\r\n");
    worker.advance(100);
    assert!(worker.requests(first).starts_with("*3\r\n$3\r\nDEL"));
    worker.reply(first, ":2\r\n");
    assert_eq!(worker.received(client), ":3\r\n");
    assert!(worker.requests(first).contains("SET"));
    worker.deliver(first, client, "+OK\r\n");
}
