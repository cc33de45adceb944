//! A primary that sentinels monitor: planned failovers, and a primary that dies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::{MASTER, Proxy, Sentinels, Wire, array, unused_port, wait_until};
use tempfile::TempDir;

const CLIENTS: usize = 8;

/// Writes that each client has acknowledged before and after a failover.
const WRITES: u64 = 200;

const UNKNOWN_OUTCOME: &str = "-ERR elika: backend connection lost, outcome unknown";

/// A client that writes one key after the other, and reads each.
struct Writer {
    wire: Wire,
    number: usize,
    /// The acknowledged writes, in order.
    written: Vec<u64>,
    /// Errors instead of replies.
    errors: Vec<String>,
}

impl Writer {
    fn new(proxy: &Proxy, number: usize) -> Self {
        Self {
            wire: proxy.client(),
            number,
            written: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn key(&self, n: u64) -> String {
        format!("{}:{n}", self.number)
    }

    /// Writes and reads until `stop`; counts acknowledged writes in `progress`.
    fn run(mut self, progress: &AtomicU64, stop: &AtomicBool) -> Self {
        let mut n = 0;
        while !stop.load(Ordering::SeqCst) {
            n += 1;
            let key = self.key(n);
            let reply = self.wire.ask(&format!("SET {key} {n}"));
            if reply == "+OK" {
                self.written.push(n);
                progress.fetch_add(1, Ordering::SeqCst);
            } else {
                self.errors.push(reply);
            }
            let reply = self.wire.ask(&format!("GET {key}"));
            if reply.starts_with('-') {
                self.errors.push(format!("GET: {reply}"));
            }
        }
        self
    }

    /// A write that the former primary has acknowledged before the switch may be lost, because
    /// replication is asynchronous. After the first write that the new primary has acknowledged, no
    /// write may be lost: the former primary serves nobody any more.
    fn assert_none_lost_after_the_switch(&self, keys: &HashSet<String>) -> usize {
        let has = |n: &&u64| keys.contains(&self.key(**n));
        let is_lost = |n: &&u64| !has(n);
        let lost = self.written.iter().filter(is_lost).count();
        let before = self.written.iter().take_while(has).count();
        let rest = &self.written[before + lost..];
        assert!(rest.iter().all(|n| has(&n)), "client {}", self.number);
        assert!(!rest.is_empty() || lost == 0);
        lost
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// All keys of a server.
fn keys_of(sentinels: &Sentinels, server: usize) -> HashSet<String> {
    let reply = sentinels.server(server).ask("KEYS *");
    let words = reply.split(' ').skip(1);
    words
        .filter(|it| it.contains(':'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn planned_failover_under_load() {
    let sentinels = Sentinels::start();
    let proxy = Proxy::behind(&sentinels, &["--core-num=2"]);
    let client = proxy.client_as("admin", "admin");
    drop(client);
    let (stop, progress) = (
        AtomicBool::new(false),
        [(); CLIENTS].map(|()| AtomicU64::new(0)),
    );
    let all_have = |n: u64| progress.iter().all(|it| it.load(Ordering::SeqCst) >= n);
    let (new, writers) = thread::scope(|scope| {
        // Ends the clients when a check fails, too.
        let _guard = StopOnDrop(&stop);
        let writers: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (writer, progress) = (Writer::new(&proxy, number), &progress[number]);
                scope.spawn(|| writer.run(progress, &stop))
            })
            .collect();
        wait_until("all clients write", || all_have(WRITES));
        let new = sentinels.fail_over(0);
        wait_until("the proxy follows", || {
            proxy.logged("sentinel: switched") == 1
        });
        wait_until("the former primary is fenced", || {
            sentinels.server(0).connections().is_empty()
        });
        let written: u64 = progress
            .iter()
            .map(|it| it.load(Ordering::SeqCst))
            .max()
            .unwrap();
        wait_until("all clients write again", || all_have(written + WRITES));
        assert!(sentinels.server(0).connections().is_empty());
        stop.store(true, Ordering::SeqCst);
        let writers: Vec<Writer> = writers.into_iter().map(|it| it.join().unwrap()).collect();
        (new, writers)
    });
    let keys = keys_of(&sentinels, new);
    let mut lost = 0;
    for writer in &writers {
        lost += writer.assert_none_lost_after_the_switch(&keys);
        let others = writer.errors.iter().filter(|it| *it != UNKNOWN_OUTCOME);
        assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
        assert!(writer.errors.len() <= 1, "one write is in flight at a time");
    }
    println!("{lost} writes that were acknowledged before the switch are lost");
    let page = proxy.service().get("/metrics").body;
    assert!(
        page.contains("\nelika_sentinel_switches_total 1\n"),
        "{page}"
    );
    assert_eq!(page.matches("\nelika_sentinel_up{").count(), 3);
}

/// The cluster is in a file, with the name of its primary instead of an address.
#[test]
fn replica_takes_over_when_the_primary_dies() {
    let mut sentinels = Sentinels::start();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("clusters.json");
    let clusters = format!(
        r#"[{{"name": {{"namespace": "shop", "name": "carts"}},
              "location": {{"region": "eu", "availability_zone": "a", "node_name": "n1"}},
              "instances": [{{"id": "i", "labels": {{"tenant": "carts", "sentinel": "{MASTER}"}}}}]
           }}]"#
    );
    fs::write(&file, clusters).unwrap();
    let options = [
        format!("--router.sentinels={}", sentinels.addresses()),
        format!("--router.file={}", file.display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let proxy = Proxy::sync(&options);
    let mut client = proxy.client_when_known("carts.ann", "annpw");
    let replies = client.ask_all("SET k 1 | WAIT 2 10000");
    assert_eq!(replies, ["+OK", ":2"]);
    sentinels.server_mut(0).kill();
    let new = sentinels.wait_switched(0);
    wait_until("the client is served again", || {
        client.ask("SET k 2") == "+OK"
    });
    assert_eq!(client.ask("GET k"), "$1 2");
    assert_eq!(sentinels.server(new).ask("GET k"), "$1 2");
    let mut late = proxy.client_as("carts.bob", "bobpw");
    assert_eq!(late.ask("GET k"), "$1 2");
    // The old primary comes back, and says that it is a primary until the sentinels demote it.
    sentinels.server_mut(0).start_again();
    wait_until("the old primary is a replica", || {
        assert_eq!(client.ask("GET k"), "$1 2");
        sentinels.server(new).stat("connected_slaves") == 2
    });
    assert_eq!(client.ask("INCR k"), ":3");
    assert_eq!(sentinels.server(new).ask("GET k"), "$1 3");
    assert_eq!(proxy.logged("sentinel: switched"), 1);
    assert!(sentinels.server(0).connections().is_empty());
}

/// Its connections stay open, so the clients wait until the sentinels have agreed.
#[test]
fn clients_of_a_primary_that_hangs_continue_at_the_new_one() {
    let sentinels = Sentinels::start();
    let proxy = Proxy::behind(&sentinels, &["--core-num=1"]);
    let [mut reader, mut writer, mut late] =
        ["admin", "ann", "bob"].map(|it| proxy.client_as(it, &password(it)));
    assert_eq!(writer.ask_all("SET k 1 | WAIT 2 10000"), ["+OK", ":2"]);
    assert_eq!(reader.ask("GET k"), "$1 1");
    sentinels.server(0).freeze();
    reader.send(array("GET k"));
    writer.send(array("INCR k"));
    // Its connection to the frozen server has not been made.
    late.send(array("BLPOP list 0.001"));
    let new = sentinels.wait_switched(0);
    assert_eq!(writer.reply(), UNKNOWN_OUTCOME);
    assert_eq!(reader.reply(), "$1 1");
    assert_eq!(writer.ask("INCR k"), ":2");
    let late = late.reply();
    assert!(
        late == "*-1" || late.ends_with(": the primary has changed"),
        "{late}"
    );
    sentinels.server(0).thaw();
    assert_eq!(writer.ask("INCR k"), ":3");
    assert_eq!(sentinels.server(new).ask("GET k"), "$1 3");
}

/// The password of a user of every server.
fn password(user: &str) -> String {
    match user {
        "admin" => "admin".to_owned(),
        user => format!("{user}pw"),
    }
}

#[test]
fn sentinels_that_fail_do_not_disturb_clients() {
    let mut sentinels = Sentinels::start();
    let proxy = Proxy::behind(&sentinels, &[]);
    let mut client = proxy.client_as("ann", "annpw");
    assert_eq!(client.ask("SET k v"), "+OK");
    sentinels.freeze_sentinel(0);
    sentinels.kill_sentinel(1);
    sentinels.kill_sentinel(2);
    wait_until("no sentinel answers", || {
        let page = proxy.service().get("/metrics").body;
        page.lines()
            .filter(|line| line.starts_with("elika_sentinel_up{"))
            .all(|line| line.ends_with(" 0"))
    });
    assert_eq!(client.ask("GET k"), "$1 v");
    let mut late = proxy.client_as("bob", "bobpw");
    assert_eq!(late.ask("GET k"), "$1 v");
    assert_eq!(proxy.logged("sentinel: switched"), 0);
}

#[test]
fn without_sentinels_the_primary_is_not_known() {
    let port = unused_port();
    let list = format!("--router.sentinels=127.0.0.1:{port}");
    let proxy = Proxy::with_options(&[&list]);
    assert_eq!(
        proxy.client().ask("GET k"),
        "-ERR elika: backend unavailable: its primary is not known"
    );
    assert_eq!(proxy.service().get("/readyz").status, 503);
    wait_until("the log says why", || {
        proxy.logged("sentinel: unavailable") == 1
    });
    assert!(proxy.log().contains(" master=mymaster"));
}
