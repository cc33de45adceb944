//! Limits of dedicated connections: their number, the wait for one, and how long they are kept.

mod support;

use std::thread;
use std::time::Duration;

use support::{Proxy, Redis, Wire, array, assert_took, now, packet, wait_until};

/// A client that needs a second dedicated connection is refused soon.
const SHORT_WAIT: [&str; 3] = [
    "--core-num=1",
    "--backend-pool.dedicated-max=1",
    "--backend-pool.wait-ms=200",
];

const NO_DEDICATED: &str = "-ERR elika: no dedicated backend connection available";

/// Sends a line, and waits until the worker has read it.
fn begin(client: &mut Wire, asker: &mut Wire, line: &str) {
    client.send(packet(line));
    assert_eq!(asker.ask("UNWATCH"), "+OK");
}

/// All connections of the proxy to the server, including those of subscribers.
fn connections(redis: &Redis) -> usize {
    let list = redis.ask("CLIENT LIST");
    list.lines()
        .filter(|line| line.contains(" name=elika "))
        .count()
}

/// One connection is shared; the other is dedicated to one client at a time.
#[test]
fn clients_share_one_dedicated_connection_in_turn() {
    let redis = Redis::open();
    {
        let options = ["--core-num=1", "--backend-pool.dedicated-max=1"];
        let proxy = Proxy::with(&redis, &options);
        let mut asker = proxy.client();
        let mut clients: Vec<_> = (0..5).map(|_| proxy.client()).collect();
        assert_eq!(clients[0].ask("MULTI"), "+OK");
        for client in &mut clients[1..] {
            begin(client, &mut asker, "MULTI | INCR n | EXEC | ECHO x");
        }
        // Their later commands wait with them; other clients are served.
        assert_eq!(asker.ask_all("INCR n | SET k v"), [":1", "+OK"]);
        for client in &mut clients[1..] {
            client.expect_silence();
        }
        assert_eq!(connections(&redis), 2);
        assert_eq!(clients[0].ask_all("INCR n | EXEC"), ["+QUEUED", "*1 :2"]);
        for (client, n) in clients[1..].iter_mut().zip(3..) {
            assert_eq!(
                client.replies(4),
                ["+OK", "+QUEUED", &format!("*1 :{n}"), "$1 x"]
            );
        }
        assert_eq!(connections(&redis), 2);
        assert_eq!(asker.ask("DEL n"), ":1");
    }
}

#[test]
fn waiting_clients_are_served_in_order() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1", "--backend-pool.dedicated-max=1"]);
    let mut asker = proxy.client();
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
    let lines = [
        "WATCH k",
        "SUBSCRIBE c",
        "BLPOP l 0",
        "MULTI",
        "XREAD BLOCK 0 STREAMS s $",
        "WATCH k",
    ];
    for (client, line) in clients.iter_mut().zip(lines) {
        begin(client, &mut asker, line);
    }
    let mut clients = clients.into_iter();
    let mut next = || clients.next().unwrap();
    let mut watcher = next();
    assert_eq!(watcher.reply(), "+OK");
    let (mut subscriber, mut blocked, mut gone) = (next(), next(), next());
    subscriber.expect_silence();
    assert_eq!(watcher.ask("UNWATCH"), "+OK");
    assert_eq!(subscriber.reply(), "*3 $9 subscribe $1 c :1");
    assert_eq!(asker.ask("PUBLISH c x"), ":1");
    assert_eq!(subscriber.reply(), "*3 $7 message $1 c $1 x");
    blocked.expect_silence();
    // A client in the middle of the wait queue disconnects.
    gone.expect_silence();
    drop(gone);
    drop(subscriber);
    redis.wait_blocked(1);
    assert_eq!(asker.ask("RPUSH l a"), ":1");
    assert_eq!(blocked.reply(), "*2 $1 l $1 a");
    redis.wait_blocked(1);
    let (mut reader, mut last) = (next(), next());
    last.expect_silence();
    assert_eq!(asker.ask("XADD s 1-1 f v"), "$3 1-1");
    assert_eq!(reader.reply(), "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v");
    assert_eq!(last.reply(), "+OK");
    assert_eq!(connections(&redis), 2);
}

#[test]
fn waiting_client_gets_an_error_after_wait_ms() {
    let (_redis, proxy) = Redis::open().proxied(&SHORT_WAIT);
    let (mut holder, mut client) = (proxy.client(), proxy.client());
    assert_eq!(holder.ask("MULTI"), "+OK");
    for line in [
        "BLPOP l 0",
        "SUBSCRIBE c",
        "XREAD BLOCK 0 STREAMS s $",
        "MONITOR",
        "SELECT 1 | BLPOP l 0 | SELECT 0",
    ] {
        let start = now();
        // The client continues in its previous state.
        let replies = client.ask_all(&format!("SET k v | {line} | GET k | PING"));
        // The limit counts per tenant.
        let expected: &[&str] = match line.starts_with("SELECT") {
            true => &["+OK", "+OK", NO_DEDICATED, "+OK", "$1 v", "+PONG"],
            false => &["+OK", NO_DEDICATED, "$1 v", "+PONG"],
        };
        assert_eq!(replies, expected, "{line}");
        assert_took(start, 190..5_000);
    }
    assert_eq!(holder.ask_all("GET k | EXEC"), ["+QUEUED", "*1 $1 v"]);
    assert_eq!(client.ask_all("RESET | MULTI | GET k | EXEC")[3], "*1 $1 v");
}

/// A client that pipelines has sent the transaction before it reads that MULTI was refused.
#[test]
fn refused_transaction_closes_its_client_and_runs_nothing() {
    let (_redis, proxy) = Redis::open().proxied(&SHORT_WAIT);
    let mut holder = proxy.client();
    assert_eq!(holder.ask("MULTI"), "+OK");
    for line in [
        "MULTI | INCR n | INCR n | EXEC",
        "WATCH n | GET n | MULTI | INCR n | EXEC",
        "MULTI",
    ] {
        let mut client = proxy.client();
        client.send(packet(&format!("GET k | {line}")));
        assert_eq!(client.replies(2), ["$-1", NO_DEDICATED], "{line}");
        client.expect_end();
    }
    assert_eq!(holder.ask_all("GET n | EXEC"), ["+QUEUED", "*1 $-1"]);
}

/// Many clients at few connections: every client is served, and every transaction is complete.
#[test]
fn many_clients_finish_their_transactions_on_few_connections() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=2", "--backend-pool.dedicated-max=2"]);
    let mut clients: Vec<_> = (0..60).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(packet(
            "MULTI | INCR a | INCR b | EXEC | BLPOP l 0.01 | INCR c | WATCH a | UNWATCH",
        ));
    }
    for client in &mut clients {
        let replies = client.replies(8);
        let pair = replies[3].strip_prefix("*2 :").expect(&replies[3]);
        let (a, b) = pair.split_once(" :").unwrap();
        assert_eq!(a, b);
        assert_eq!(
            (&*replies[4], &*replies[6], &*replies[7]),
            ("*-1", "+OK", "+OK")
        );
    }
    assert_eq!(redis.ask("MGET a b c"), "*3 $2 60 $2 60 $2 60");
    assert!(connections(&redis) <= 2 * 3);
}

#[test]
fn max_idle_connections_are_kept() {
    let redis = Redis::open();
    for (idle, kept) in [("0", 1), ("1", 2), ("3", 4)] {
        let options = ["--core-num=1", &format!("--backend-pool.max-idle={idle}")];
        let proxy = Proxy::with(&redis, &options);
        let mut clients: Vec<_> = (0..6).map(|_| proxy.client()).collect();
        for client in &mut clients {
            assert_eq!(client.ask_all("MULTI | PING"), ["+OK", "+QUEUED"]);
        }
        assert_eq!(connections(&redis), 7);
        for client in &mut clients {
            assert_eq!(client.ask("EXEC"), "*1 +PONG");
        }
        wait_until("the others are closed", || connections(&redis) <= kept);
        for client in &mut clients {
            assert_eq!(client.ask_all("MULTI | PING | EXEC")[2], "*1 +PONG");
        }
        wait_until("they are used again", || connections(&redis) == kept);
        drop(proxy);
        wait_until("all are gone", || connections(&redis) == 0);
    }
}

/// An idle transaction is not kept forever, and neither is a watch.
#[test]
fn idle_transaction_is_closed() {
    let redis = Redis::open();
    let proxy = Proxy::with(
        &redis,
        &["--core-num=2", "--backend-pool.pinned-idle-seconds=1"],
    );
    let mut abandoned = Vec::new();
    let mut others = Vec::new();
    for line in [
        "MULTI",
        "WATCH k",
        "WATCH k | MULTI | SET k evil",
        "SELECT 1 | MULTI",
    ] {
        let mut client = proxy.client();
        client.ask_all(line);
        abandoned.push(client);
    }
    for line in [
        "SUBSCRIBE c",
        "PSUBSCRIBE c",
        "PING",
        "MULTI | EXEC",
        "WATCH k | UNWATCH",
        "SELECT 1",
        "HELLO 3 | SUBSCRIBE c | WATCH k",
        "HELLO 3 | CLIENT TRACKING ON | MULTI",
    ] {
        let mut client = proxy.client();
        client.ask_all(line);
        others.push(client);
    }
    let (mut blocked, mut busy) = (proxy.client(), proxy.client());
    blocked.send(packet("WATCH k | BLPOP l 0"));
    assert_eq!(busy.ask("MULTI"), "+OK");
    redis.wait_blocked(1);
    let start = now();
    // An active client is not affected.
    while start.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(busy.ask("GET k"), "+QUEUED");
        support::pause();
    }
    for mut client in abandoned {
        client.expect_end();
    }
    for client in &mut others {
        client.send(array("PING"));
        let reply = client.reply();
        assert!(
            ["+PONG", "+QUEUED", "*2 $4 pong $0 "].contains(&&*reply),
            "{reply}"
        );
    }
    assert!(busy.ask("EXEC").starts_with('*'));
    assert_eq!(busy.ask("RPUSH l x"), ":1");
    assert_eq!(blocked.replies(2), ["+OK", "*2 $1 l $1 x"]);
    assert_eq!(redis.ask("EXISTS k"), ":0");
}

/// The server is lost while clients wait: they get an error and wait no longer.
#[test]
fn waiting_clients_get_an_error_when_the_server_is_lost() {
    let mut redis = Redis::open();
    let options = [
        "--core-num=1",
        "--backend-pool.dedicated-max=1",
        "--backend-pool.wait-ms=1000",
    ];
    let proxy = Proxy::with(&redis, &options);
    let (mut asker, mut holder) = (proxy.client(), proxy.client());
    assert_eq!(holder.ask("MULTI"), "+OK");
    let mut waiting: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        begin(client, &mut asker, "BLPOP l 1");
    }
    redis.kill();
    holder.expect_end();
    for client in &mut waiting {
        let reply = client.reply();
        assert!(
            reply.starts_with("-ERR elika: backend unavailable: "),
            "{reply}"
        );
    }
    redis.start_again();
    wait_until("it is served again", || asker.ask("SET k v") == "+OK");
    for mut client in waiting {
        assert_eq!(client.ask_all("GET k | MULTI | GET k | EXEC")[3], "*1 $1 v");
    }
}

/// Optimistic counters: every increment counts exactly once, even with few connections.
#[test]
fn optimistic_counters_lose_no_increment() {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 25;
    let (redis, proxy) = Redis::open().proxied(&["--core-num=2", "--backend-pool.dedicated-max=3"]);
    let count = |mut client: Wire| {
        let mut done = 0;
        while done < EACH {
            let value = client.ask_all("WATCH n | GET n").pop().unwrap();
            let digits = value.split(' ').nth(1);
            let value: u64 = digits.map_or(0, |digits| digits.parse().unwrap());
            let replies = client.ask_all(&format!("MULTI | SET n {} | EXEC", value + 1));
            assert_eq!(replies[..2], ["+OK", "+QUEUED"]);
            match replies[2].as_str() {
                "*1 +OK" => done += 1,
                other => assert_eq!(other, "*-1"),
            }
        }
    };
    let threads: Vec<_> = (0..CLIENTS)
        .map(|_| proxy.client())
        .map(|client| thread::spawn(move || count(client)))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(redis.ask("GET n"), format!("$3 {}", CLIENTS * EACH));
    wait_until("few connections are kept", || {
        redis.connections().len() <= 8
    });
}
