//! The end of a dedicated connection: its client is killed, its backend is lost, or the client does
//! not read a large reply.

mod support;

use std::time::Duration;

use support::{Proxy, Redis, Wire, array, commands, compare, id_of, now, packet, wait_until};

const UNAVAILABLE: &str = "-ERR elika: backend unavailable: ";

/// Closes the proxy's connections to the server, except for its shared ones.
fn cut_own(redis: &Redis, shared: &[String]) {
    let shared: Vec<_> = shared.iter().map(|line| id_of(line)).collect();
    for line in &redis.connections() {
        let id = id_of(line);
        if !shared.contains(&id) {
            assert_eq!(redis.ask(&format!("CLIENT KILL ID {id}")), ":1");
        }
    }
}

#[test]
fn killed_client_leaves_no_transaction() {
    compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        let id = client.number("CLIENT ID");
        let mut said = client.ask_all("WATCH w | MULTI | SET k evil");
        said.push(other.ask(&format!("CLIENT KILL ID {id}")));
        client.expect_end();
        // The next client of the connection finds no state.
        for _ in 0..3 {
            said.extend(
                target
                    .client()
                    .ask_all("GET k | MULTI | SET w 1 | GET w | EXEC"),
            );
        }
        // When a client kills itself, its end follows the reply.
        said.extend(other.ask_all("MULTI | SET k evil"));
        let own = other.tcp().local_addr().unwrap();
        let mut killer = target.client();
        said.push(killer.ask(&format!("CLIENT KILL ADDR {own} USER default")));
        other.expect_end();
        said.push(killer.ask("GET k"));
        said
    });
}

#[test]
fn lost_connection_inside_multi_closes_the_client() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut neighbour = proxy.client();
    assert_eq!(neighbour.ask("SET k v"), "+OK");
    let shared = redis.connections();
    for state in [
        "MULTI",
        "MULTI | SET k evil",
        "WATCH k",
        "WATCH k | MULTI | SET k evil",
        "SELECT 1 | MULTI",
    ] {
        let mut client = proxy.client();
        for command in commands(state) {
            client.ask(command);
        }
        let shared = match state.starts_with("SELECT") {
            true => redis
                .connections()
                .into_iter()
                .filter(|line| !line.contains(" multi=0 "))
                .collect(),
            false => shared.clone(),
        };
        cut_own(&redis, &shared);
        // The client must not get replies as if the transaction still existed.
        client.expect_end();
        assert_eq!(neighbour.ask("GET k"), "$1 v", "{state}");
        assert_eq!(proxy.client().ask_all("MULTI | GET k | EXEC")[2], "*1 $1 v");
        cut_own(&redis, &shared);
    }
    assert_eq!(proxy.logged("backend: offline "), 0, "{}", proxy.log());
}

/// EXEC was sent and its outcome is unknown: the client gets no reply that could be wrong.
#[test]
fn server_lost_during_exec_closes_the_client() {
    let mut redis = Redis::open();
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let (mut client, mut asker) = (proxy.client(), proxy.client());
    assert_eq!(client.ask_all("WATCH k | MULTI | SET k v")[2], "+QUEUED");
    redis.freeze();
    client.send(packet("EXEC | GET k"));
    assert_eq!(asker.ask("UNWATCH"), "+OK");
    redis.kill();
    client.expect_end();
    redis.start_again();
    wait_until("it is served again", || asker.ask("SET k v") == "+OK");
}

/// No command of the transaction was sent. Later commands of it must not run outside of one.
#[test]
fn server_lost_before_multi_gives_an_error_and_closes_the_client() {
    let mut redis = Redis::open();
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let (mut client, mut asker) = (proxy.client(), proxy.client());
    assert_eq!(client.ask("SET k v"), "+OK");
    redis.freeze();
    // A new connection for it is opened, and the server sends nothing.
    client.send(packet("MULTI | SET k evil | EXEC"));
    assert_eq!(asker.ask("UNWATCH"), "+OK");
    redis.kill();
    let reply = client.reply();
    assert!(reply.starts_with(UNAVAILABLE), "{reply}");
    client.expect_end();
    redis.start_again();
    wait_until("it is served again", || {
        let mut client = proxy.client();
        let reply = client.ask("MULTI");
        assert!(reply == "+OK" || reply.starts_with(UNAVAILABLE), "{reply}");
        reply == "+OK"
    });
    let replies = asker.ask_all("MULTI | GET k | SET k w | EXEC | GET k");
    assert_eq!(replies[3..], ["*2 $-1 +OK", "$1 w"]);
}

/// Several megabytes in one element, between two elements that the proxy writes.
#[test]
fn large_replies_to_exec_are_delivered() {
    const SIZE: usize = 6_000_000;
    let redis = Redis::open();
    redis.ask(&format!("SETRANGE big {} x", SIZE - 1));
    let options = ["--core-num=1", "--limit.client-outbound-bytes=1000000"];
    let proxy = Proxy::with(&redis, &options);
    let (mut client, mut neighbour) = (proxy.client(), proxy.client());
    let id = client.ask("CLIENT ID");
    let mut value = vec![0; SIZE];
    value[SIZE - 1] = b'x';
    let element = [format!("${SIZE}\r\n").as_bytes(), &value, b"\r\n"].concat();
    for own in [false, true] {
        assert_eq!(neighbour.ask("DEL n")[..1], *":");
        let (before, _) = proxy.resident();
        let line = match own {
            true => {
                "MULTI | CLIENT ID | GET big | CLIENT GETNAME | GET big | GET big | CLIENT ID | INCR n"
            }
            false => "MULTI | GET big | GET big | GET big | INCR n",
        };
        client.send(packet(&format!("{line} | EXEC | GET n")));
        assert_eq!(client.reply(), "+OK");
        for _ in commands(line).skip(1) {
            assert_eq!(client.reply(), "+QUEUED");
        }
        client.expect(format!("*{}\r\n", commands(line).count() - 1));
        // The reader is idle for a while, which is allowed.
        for i in 1..=50 {
            assert_eq!(
                neighbour.ask("INCR m"),
                format!(":{}", i + 50 * i32::from(own))
            );
        }
        let pieces: [&[&[u8]]; 2] = [
            &[&element, &element, &element],
            &[
                id.as_bytes(),
                b"\r\n",
                &element,
                b"$-1\r\n",
                &element,
                &element,
                id.as_bytes(),
                b"\r\n",
            ],
        ];
        client.expect(pieces[usize::from(own)].concat());
        assert_eq!(client.replies(2), [":1", "$1 1"]);
        let (_, most) = proxy.resident();
        assert!(
            most.saturating_sub(before) < 16 << 20,
            "{} bytes",
            most - before
        );
    }
}

/// A client that disconnects in the middle of a large reply does not affect others.
#[test]
fn client_may_disconnect_during_the_reply_to_exec() {
    let redis = Redis::open();
    redis.ask("SETRANGE big 20000000 x");
    let proxy = Proxy::with(&redis, &["--core-num=1", "--backend-pool.dedicated-max=1"]);
    let mut neighbour = proxy.client();
    for i in 1..=5 {
        let mut client = proxy.client();
        client.send(packet("MULTI | GET big | CLIENT ID | EXEC"));
        client.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$20000001\r\n");
        drop(client);
        assert_eq!(
            neighbour.ask_all("MULTI | INCR n | EXEC")[2],
            format!("*1 :{i}")
        );
    }
    wait_until("its connections are gone", || {
        redis.connections().len() <= 2
    });
}

/// SIGTERM: clients that hold state and are idle are not waited for.
#[test]
fn drain_closes_blocked_and_idle_dedicated_clients() {
    let redis = Redis::open();
    let mut proxy = Proxy::with(&redis, &["--core-num=2"]);
    let mut clients: Vec<Wire> = (0..12).map(|_| proxy.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        match i % 6 {
            0 => assert_eq!(client.ask_all("MULTI | SET k evil")[1], "+QUEUED"),
            1 => assert_eq!(client.ask("WATCH k"), "+OK"),
            2 => assert_eq!(client.ask("SUBSCRIBE c"), "*3 $9 subscribe $1 c :1"),
            3 => client.send(array("BLPOP l 0")),
            4 => client.send(array("XREAD BLOCK 0 STREAMS s $")),
            _ => assert_eq!(client.ask("MONITOR"), "+OK"),
        }
    }
    redis.wait_blocked(4);
    let start = now();
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    for (i, client) in clients.iter_mut().enumerate() {
        if i % 6 == 5 {
            // The monitor has seen the commands of others.
            client.rest();
        } else {
            client.expect_end();
        }
    }
    redis.wait_blocked(0);
    assert_eq!(redis.ask("RPUSH l a b"), ":2");
    assert_eq!(redis.ask("LLEN l"), ":2");
    assert_eq!(redis.ask("EXISTS k"), ":0");
}
