//! Commands about all nodes of a Redis Cluster, see [`redis_cluster`](super::redis_cluster).

use elika::proxy::{Failure, LinkKey};

use super::harness::{Worker, command};
use super::redis_cluster::{connections, on_a_cluster};

const UNKNOWN: &str = "-ERR elika: the connection that carried the writes is in use or closed\r\n";

/// Slots that are counted for a page.
const COUNTED: usize = 128;

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// What the node of `link` says of the slots, of which it has these, and the other node those.
fn nodes(worker: &Worker, [link, other]: [LinkKey; 2], own: &str, others: &str) -> String {
    let at = |link| format!("127.0.0.{}:{}@1", worker.host(link), worker.port(link));
    bulk(&format!(
        "{0:?} {1} myself,master - 0 0 1 connected {own}\n\
         {2:?} {3} master - 0 0 1 connected {others}\n",
        worker.port(link),
        at(link),
        worker.port(other),
        at(other),
    ))
}

/// The number of keys in each slot that is counted: these in the first one.
fn counts(first: u32) -> String {
    format!(":{first}\r\n{}", ":0\r\n".repeat(COUNTED - 1))
}

/// Waits until one of these connections, or of those that the machine opens, gets this request.
fn asked(worker: &mut Worker, links: &mut Vec<LinkKey>, request: &str) -> Option<LinkKey> {
    for _ in 0..20 {
        for link in worker.new_links() {
            worker.establish(link);
            links.push(link);
        }
        let open: Vec<LinkKey> = { links.iter().copied() }
            .filter(|link| !worker.closed(*link))
            .collect();
        for link in open {
            let got = worker.requests(link);
            if got.contains(request) {
                return Some(link);
            }
        }
        worker.advance(50);
    }
    None
}

/// The client's reply: the cursor.
fn cursor(reply: &str) -> &str {
    reply.lines().nth(2).unwrap()
}

#[test]
fn scan_goes_from_node_to_node() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    let of_first = nodes(&worker, [first, second], "0-8191", "8192-16383");
    let of_second = nodes(&worker, [second, first], "8192-16383", "0-8191");
    let (mut next, mut found, mut pages) = ("0".to_owned(), 0, 0);
    loop {
        worker.send(client, &format!("SCAN {next}"));
        let (on, view) = match worker.requests(first) {
            asked if asked.contains("COUNTKEYSINSLOT") => (first, &of_first),
            _ => (second, &of_second),
        };
        worker.reply(on, format!("{view}{}", counts(2)));
        assert!(worker.requests(on).contains("GETKEYSINSLOT"));
        worker.reply(on, format!("*2\r\n$1\r\na\r\n$1\r\nb\r\n{view}"));
        let reply = worker.received(client);
        found += usize::from(reply.ends_with("*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
        pages += 1;
        cursor(&reply).clone_into(&mut next);
        if next == "0" {
            break;
        }
    }
    assert_eq!((found, pages), (128, 128));
}

/// The proxy's map is old: the node says so.
#[test]
fn scan_follows_a_slot_that_has_moved() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    worker.send_bytes(client, ["SCAN 0", "GET bar"].map(command).concat());
    let left = nodes(&worker, [first, second], "1-8191", "0 8192-16383");
    worker.requests(first);
    worker.reply(first, format!("{left}{}", counts(0)));
    worker.reply(first, "$1\r\nv\r\n");
    assert!(worker.requests(second).contains("COUNTKEYSINSLOT"));
    let has = nodes(&worker, [second, first], "0 8192-16383", "1-8191");
    worker.reply(second, format!("{has}{}", counts(1)));
    worker.reply(second, format!("*1\r\n$1\r\na\r\n{has}"));
    let reply = worker.received(client);
    assert!(reply.ends_with("*1\r\n$1\r\na\r\n$1\r\nv\r\n"), "{reply}");
}

#[test]
fn scan_starts_anew_when_its_node_is_lost() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    worker.send(client, "SCAN 0");
    let view = nodes(&worker, [first, second], "0-8191", "8192-16383");
    worker.reply(first, &view);
    worker.fail(first, &Failure::Lost);
    let on = asked(&mut worker, &mut vec![second], "COUNTKEYS");
    let on = on.unwrap_or_else(|| panic!("{}", worker.received(client)));
    assert_eq!(worker.port(on), worker.port(first));
    let view = nodes(&worker, [on, second], "0-8191", "8192-16383");
    worker.reply(on, format!("{view}{}", counts(0)));
    worker.reply(on, &view);
    let reply = worker.received(client);
    assert!(
        reply.starts_with("*2\r\n") && reply.ends_with("*0\r\n"),
        "{reply}"
    );
}

#[test]
fn wait_asks_all_nodes_that_the_client_has_used() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    let links = connections(&mut worker, client);
    worker.send(client, "WAIT 1 0");
    // Other clients get other connections, and the questions are sent one after the other.
    let mut all = links.to_vec();
    for _ in links {
        assert_eq!(worker.received(client), "");
        let on = asked(&mut worker, &mut all, "WAIT").unwrap();
        assert!(links.contains(&on));
        worker.reply(on, if on == links[0] { ":2\r\n" } else { ":1\r\n" });
        worker.settle();
    }
    assert_eq!(worker.received(client), ":1\r\n");
}

/// The connections of a client that sends nothing are forgotten, unless it has sent WAIT.
#[test]
fn wait_does_not_count_writes_on_connections_that_are_forgotten() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    let [first, _] = connections(&mut worker, client);
    worker.advance(2_000);
    for line in ["WAIT 1 0", "WAIT 1 0"] {
        worker.send(client, line);
        assert_eq!(worker.received(client), UNKNOWN, "{line}");
    }
    worker.requests(first);
    worker.send(client, "SET bar 1");
    worker.reply(first, "+OK\r\n");
    assert_eq!(worker.received(client), "+OK\r\n");
    worker.advance(5_000);
    worker.requests(first);
    worker.send(client, "WAIT 1 0");
    assert_eq!(asked(&mut worker, &mut vec![first], "WAIT"), Some(first));
    worker.reply(first, ":1\r\n");
    worker.settle();
    assert_eq!(worker.received(client), ":1\r\n");
}

#[test]
fn script_kill_is_sent_to_all_nodes_past_the_requests_in_flight() {
    let mut worker = Worker::with(|settings| settings.admin_commands = true);
    let (client, _) = on_a_cluster(&mut worker);
    let [first, second] = connections(&mut worker, client);
    let other = worker.log_in("ann", "pw");
    worker.send(other, "EVAL x 1 foo");
    let mut all = vec![first, second];
    let busy = asked(&mut worker, &mut all, "EVAL").unwrap();
    worker.send(client, "SCRIPT KILL");
    for _ in 0..2 {
        assert_eq!(worker.received(client), "");
        let on = asked(&mut worker, &mut all, "KILL").unwrap();
        assert_ne!(on, busy);
        let runs = worker.port(on) == worker.port(busy);
        let none = "-NOTBUSY No scripts in execution right now.\r\n";
        worker.reply(on, if runs { "+OK\r\n" } else { none });
    }
    assert_eq!(worker.received(client), "+OK\r\n");
}

#[test]
fn scan_in_a_transaction_fails_it() {
    let mut worker = Worker::new();
    let (client, _) = on_a_cluster(&mut worker);
    connections(&mut worker, client);
    worker.send_bytes(client, ["MULTI", "SCAN 0", "EXEC"].map(command).concat());
    let heard = worker.received(client);
    assert!(
        heard.contains("-ERR elika: SCAN of a Redis Cluster"),
        "{heard}"
    );
    assert!(heard.contains("-EXECABORT "), "{heard}");
}
