//! A backend that is a Redis Cluster: two nodes; `bar` is on the first and `foo` on the second.

use elika::proxy::{ClientKey, Failure, LinkKey, Millis};

use super::harness::{Worker, command};

const HELLO: &str = "*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:77\r\n\
    $4\r\nmode\r\n$7\r\ncluster\r\n";
const INFO: &str = "$18\r\ncluster_state:ok\r\n\r\n";

/// A client, and a connection to the first node for requests without keys.
pub(super) fn on_a_cluster(worker: &mut Worker) -> (ClientKey, LinkKey) {
    let client = worker.client_sends("AUTH ann pw");
    let any = worker.new_link();
    open_node(worker, any);
    let asked = worker.requests(any);
    assert!(asked.contains("SLOTS"), "{asked}");
    let node = |host, port| format!("*3\r\n$9\r\n127.0.0.{host}\r\n:{port}\r\n$1\r\nx\r\n");
    let (host, port) = (worker.host(any), worker.port(any));
    let (first, second) = (node(host, port), node(host, port + 1));
    let slots = format!("*2\r\n*3\r\n:0\r\n:8191\r\n{first}*3\r\n:8192\r\n:16383\r\n{second}");
    worker.reply(any, format!("{INFO}{slots}"));
    worker.received(client);
    (client, any)
}

fn open_node(worker: &mut Worker, link: LinkKey) {
    worker.open_handshake(link);
    worker.reply(link, "+OK\r\n");
    worker.reply(link, format!("{HELLO}*0\r\n"));
    worker.advance(1);
}

/// The client's connections to both nodes.
pub(super) fn connections(worker: &mut Worker, client: ClientKey) -> [LinkKey; 2] {
    worker.send_bytes(client, [command("GET bar"), command("GET foo")].concat());
    let mut links = worker.new_links();
    assert_eq!(links.len(), 2);
    links.sort_by_key(|link| worker.port(*link));
    for &link in &links {
        open_node(worker, link);
        worker.requests(link);
        worker.reply(link, "$-1\r\n");
    }
    assert_eq!(worker.received(client), "$-1\r\n$-1\r\n");
    [links[0], links[1]]
}

#[test]
fn replies_of_several_nodes_come_in_the_order_of_the_requests() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    let all = ["GET foo", "GET bar", "GET foo"].map(command).concat();
    worker.send_bytes(client, all);
    worker.reply(first, "+bar\r\n");
    assert_eq!(worker.received(client), "");
    worker.reply(second, "+1\r\n");
    assert_eq!(worker.received(client), "+1\r\n+bar\r\n");
    worker.reply(second, "+2\r\n");
    assert_eq!(worker.received(client), "+2\r\n");
}

#[test]
fn redirected_request_keeps_its_place() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    worker.send_bytes(
        client,
        ["GET bar", "SET bar 1", "GET foo"].map(command).concat(),
    );
    for link in [first, second] {
        worker.requests(link);
    }
    worker.reply(second, "+foo\r\n");
    let to = format!("127.0.0.{}:{}", worker.host(second), worker.port(second));
    worker.reply(first, format!("-MOVED 5061 {to}\r\n-MOV"));
    worker.reply(first, format!("ED 5061 {to}\r\n"));
    let sent = worker.requests(second);
    assert!(sent.find("GET") < sent.find("SET"), "{sent}");
    worker.send(client, "GET bar");
    assert_eq!(worker.requests(first), "", "the slot has moved");
    worker.reply(second, "+0\r\n+OK\r\n");
    assert_eq!(worker.received(client), "+0\r\n+OK\r\n+foo\r\n");
    assert!(worker.requests(second).contains("GET"));
}

#[test]
fn request_that_is_sent_away_again_and_again_ends() {
    let mut worker = Worker::with(|settings| settings.cluster_hold_ms = 500);
    let (client, _) = on_a_cluster(&mut worker);
    let links = connections(&mut worker, client);
    let at = links.map(|link| format!("127.0.0.{}:{}", worker.host(link), worker.port(link)));
    worker.send(client, "GET foo");
    let mut heard = String::new();
    for _ in 0..1_000 {
        for (link, other) in links.into_iter().zip([&at[1], &at[0]]) {
            if worker.requests(link).contains("GET") {
                worker.reply(link, format!("-MOVED 12182 {other}\r\n"));
            }
        }
        worker.advance(1);
        heard += &worker.received(client);
    }
    assert_eq!(heard, "-TRYAGAIN The slot has moved to another node\r\n");
}

/// A node cannot be asked for the slots without a connection.
#[test]
fn worker_sleeps_while_no_node_can_be_asked() {
    let mut worker = Worker::new();
    let (client, any) = on_a_cluster(&mut worker);
    worker.send(client, "GET foo");
    let second = worker.new_link();
    for link in [any, second] {
        worker.fail(link, &Failure::Lost);
    }
    for _ in 0..100 {
        for link in worker.new_links() {
            worker.fail(link, &Failure::Unreachable("connection refused".into()));
        }
        worker.advance(100);
        let next = worker.machine.next_deadline();
        assert!(
            next.is_none_or(|next: Millis| next > worker.now),
            "it does not sleep"
        );
    }
    assert!(
        worker
            .received(client)
            .starts_with("-ERR elika: backend unavailable")
    );
}
