//! Subscribers: their messages, their allowed commands, and the end of their subscriptions.

mod support;

use std::thread;

use support::{
    Feature, Proxy, Redis, Wire, array, commands, compare, compare_at, id_of, packet, request,
    wait_until,
};

/// Sends a line, and returns everything before the reply to a PING behind it.
fn hear(client: &mut Wire, line: &str) -> Vec<String> {
    client.send(packet(line));
    client.send(array("PING heard"));
    let mut said = Vec::new();
    loop {
        let reply = client.reply();
        if reply == "$5 heard" || reply == "*2 $4 pong $5 heard" {
            return said;
        }
        said.push(reply);
    }
}

/// Whether the line names shard channels, which Redis 6 does not have.
fn is_of_shards(line: &str) -> bool {
    line.contains("SSUB") || line.contains("SUNSUB")
}

#[test]
fn subscriber_mode_is_that_of_the_server() {
    let said = compare(|target| {
        let mut client = target.client();
        let mut said = hear(&mut client, "SUBSCRIBE a b");
        for line in commands(
            "GET k | SET k v | EXEC | WATCH k | BLPOP l 0.01 | SELECT 1 | AUTH bob bobpw | \
             CLIENT GETNAME | CLIENT REPLY ON | PUBLISH x y | NOSUCH | ACL WHOAMI | PING | \
             PING x | PING x y | ECHO x | UNWATCH | DISCARD | XREAD BLOCK 1 STREAMS s $ | ROLE",
        ) {
            said.extend(hear(&mut client, line));
        }
        if !target.is_resp3() {
            // There they are allowed; the proxy has its own errors for them.
            for line in commands(
                "CLIENT ID | CLIENT LIST | CLIENT INFO | HELLO 3 | COMMAND | INFO | MONITOR | MULTI | \
                 CLIENT TRACKING ON | CLIENT TRACKING OFF | CLIENT KILL ID 1 | CLIENT UNBLOCK 1",
            ) {
                said.extend(hear(&mut client, line));
            }
        }
        for line in commands(
            "PSUBSCRIBE p* | UNSUBSCRIBE a | GET k | SUBSCRIBE a a | PUNSUBSCRIBE | \
             SSUBSCRIBE s | UNSUBSCRIBE a b | GET k | SUNSUBSCRIBE | GET k | SET k v | \
             SUBSCRIBE | SUBSCRIBE c",
        ) {
            if is_of_shards(line) && target.redis().lacks(Feature::Functions) {
                continue;
            }
            said.extend(hear(&mut client, line));
        }
        said.push(client.ask("RESET"));
        said.extend(client.ask_all("GET k | PING | CLIENT GETNAME | PING x"));
        said.extend(hear(&mut client, "SUBSCRIBE c | PSUBSCRIBE d"));
        said.push(client.ask("QUIT"));
        client.expect_end();
        said
    });
    assert_eq!(
        said[0][..2],
        ["*3 $9 subscribe $1 a :1", "*3 $9 subscribe $1 b :2"]
    );
    assert!(said[0][2].starts_with("-ERR Can't execute 'get': only "));
    assert_eq!(
        said[1][..3],
        [">3 $9 subscribe $1 a :1", ">3 $9 subscribe $1 b :2", "_"]
    );
}

#[test]
fn messages_are_delivered() {
    compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        let mut said = hear(
            &mut client,
            "SUBSCRIBE a b | PSUBSCRIBE b* *c | SSUBSCRIBE s",
        );
        for line in commands(
            "PUBLISH a 1 | PUBLISH b 2 | PUBLISH bc 3 | PUBLISH d 4 | SPUBLISH s 5 | SPUBLISH a 6 | \
             PUBSUB NUMSUB a b d | PUBSUB NUMPAT | PUBSUB SHARDNUMSUB s | PUBSUB CHANNELS a* | \
             PUBSUB SHARDCHANNELS | MULTI | PUBLISH a 7 | PUBLISH bc 8 | EXEC | \
             EVAL return(redis.call('publish','a','9')) 0",
        ) {
            said.push(other.ask(line));
            said.extend(hear(&mut client, "PING"));
        }
        said.push(other.ask("PUBLISH b last"));
        said.extend(hear(&mut client, "UNSUBSCRIBE b | PUNSUBSCRIBE b*"));
        said.extend(other.ask_all("PUBLISH b x | PUBLISH bb x | PUBLISH c y | PUBSUB CHANNELS"));
        said.extend(hear(&mut client, "PING"));
        drop(client);
        wait_until("it is not subscribed any more", || {
            other.ask("PUBSUB NUMPAT") == ":0"
        });
        said
    });
}

/// Messages and channel names of any bytes and any size.
#[test]
fn messages_may_have_any_bytes_and_size() {
    compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        let all: Vec<u8> = (0..=255).collect();
        let name = [&b"subscribe\r\n:1\r\n"[..], &all].concat();
        client.send(request(&[b"SUBSCRIBE", &name, b""]));
        let mut said = client.replies(2);
        for message in [
            &b""[..],
            b"\r\n:1\r\n",
            &all,
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:7\r\n",
            &vec![b'x'; 5_000_000],
        ] {
            for channel in [&name[..], b""] {
                other.send(request(&[b"PUBLISH", channel, message]));
                said.push(other.reply());
                said.push(client.reply());
            }
        }
        client.send(request(&[b"UNSUBSCRIBE", &name, b"", b"no"]));
        said.extend(client.replies(3));
        said.extend(client.ask_all("SET k v | GET k"));
        said
    });
}

/// In RESP3 a subscriber may send any command.
#[test]
fn resp3_subscriber_may_send_other_commands() {
    let said = compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        if !target.is_resp3() {
            return Vec::new();
        }
        let old = target.redis().lacks(Feature::Functions);
        let mut said = hear(&mut client, "SUBSCRIBE a | PSUBSCRIBE p*");
        for line in [
            "PUBLISH a me",
            // The messages are between the elements, also where the proxy writes an element.
            "MULTI | PUBLISH a inside | PUBLISH p1 inside | SET k v | EXEC",
            "CLIENT SETNAME me | MULTI | PUBLISH a x | CLIENT GETNAME | PUBLISH a y | EXEC",
            "SUBSCRIBE b | MULTI | GET k | EXEC | UNSUBSCRIBE b",
            "WATCH k | SET k w | MULTI | PUBLISH a no | EXEC",
            "SELECT 1 | PUBLISH a one | SET k 1 | SELECT 0 | GET k",
            "CLIENT SETNAME me | CLIENT GETNAME | ACL WHOAMI",
            "AUTH bob bobpw | ACL WHOAMI | PUBLISH p2 bob | GET k",
            "CLIENT REPLY SKIP | PUBLISH a unheard | GET k",
            "CLIENT REPLY OFF | PUBLISH a unheard | GET k | CLIENT REPLY ON",
            "HELLO 3 NONSENSE | SUBSCRIBE | NOSUCH | GET a b",
        ] {
            // Redis 6 sends no messages then either.
            if line.starts_with("CLIENT REPLY") && old {
                continue;
            }
            said.extend(hear(&mut client, line));
        }
        // While the client is blocked.
        client.send(packet("BLPOP l 0 | GET k"));
        target.redis().wait_blocked(1);
        said.extend(other.ask_all("PUBLISH a 1 | PUBLISH p3 2"));
        said.extend(client.replies(2));
        said.push(other.ask("RPUSH l x"));
        said.extend(hear(&mut client, "UNSUBSCRIBE | PUNSUBSCRIBE | GET k"));
        said
    });
    assert!(
        said[1].contains(&">3 $7 message $1 a $2 me".to_owned()),
        "{:?}",
        said[1]
    );
}

#[test]
fn pipelines_may_start_and_end_subscriptions() {
    compare(|target| {
        let mut client = target.client();
        let old = target.redis().lacks(Feature::Functions);
        let mut said = Vec::new();
        client.ask("SET k v");
        for (line, count) in [
            ("SUBSCRIBE a | UNSUBSCRIBE a | GET k", 3),
            ("SUBSCRIBE a b | GET k | UNSUBSCRIBE a b | GET k | PING", 7),
            (
                "SUBSCRIBE a | PSUBSCRIBE a* | UNSUBSCRIBE | PUNSUBSCRIBE | SET k w | GET k",
                6,
            ),
            (
                "UNSUBSCRIBE | PUNSUBSCRIBE | SUNSUBSCRIBE | UNSUBSCRIBE x y | PUNSUBSCRIBE x | GET k",
                7,
            ),
            (
                "SUBSCRIBE a | UNSUBSCRIBE | SUBSCRIBE b | UNSUBSCRIBE | MULTI | GET k | EXEC",
                7,
            ),
            ("SUBSCRIBE a | UNSUBSCRIBE x y | UNSUBSCRIBE a x | GET k", 6),
            (
                "SSUBSCRIBE a | SUBSCRIBE a | SUNSUBSCRIBE | GET k | UNSUBSCRIBE | GET k",
                6,
            ),
            (
                // Redis 6.2 treats 0.001 s as no timeout.
                "MULTI | GET k | EXEC | SUBSCRIBE a | UNSUBSCRIBE | BLPOP l 0.01 | WATCH k | UNWATCH",
                8,
            ),
            (
                "SUBSCRIBE a | RESET | GET k | SUBSCRIBE a | PING | UNSUBSCRIBE a | GET k",
                7,
            ),
        ] {
            if is_of_shards(line) && old {
                continue;
            }
            // The replies behind RESET are in RESP2.
            for _ in 0..5 {
                client.send(packet(line));
                said.extend(client.replies(count));
            }
        }
        // Without channels: one confirmation for each, in the server's order.
        let names: Vec<String> = (0..50).map(|i| format!("channel{i}")).collect();
        client.send(array(&format!("SUBSCRIBE {}", names.join(" "))));
        client.replies(50);
        client.send(packet("UNSUBSCRIBE | GET k"));
        let mut goodbyes = client.replies(50);
        said.push(client.reply());
        let left = |reply: &String| reply.rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(
            goodbyes.iter().map(left).collect::<Vec<u32>>(),
            (0..50).rev().collect::<Vec<_>>()
        );
        goodbyes
            .iter_mut()
            .for_each(|reply| reply.truncate(reply.find(':').unwrap()));
        goodbyes.sort();
        said.extend(goodbyes);
        said
    });
}

#[test]
fn keyspace_notifications_are_delivered() {
    compare_at(&Redis::open_with("notify-keyspace-events KEA"), |target| {
        let (mut client, mut other) = (target.client(), target.client());
        let mut said = hear(&mut client, "PSUBSCRIBE __key*__:*");
        for line in [
            "SET k v | LPUSH l a b | DEL k",
            "MULTI | SET k w | EXPIRE k 100 | EXEC",
            "RPOP l 2",
        ] {
            said.extend(other.ask_all(line));
            said.extend(hear(&mut client, "PING"));
        }
        said
    });
}

/// Each of them gets all messages in order, or is closed.
#[test]
fn slow_subscriber_is_closed() {
    const COUNT: usize = 4_000;
    let redis = Redis::open();
    let proxy = Proxy::with(
        &redis,
        &["--core-num=1", "--limit.subscriber-outbound-bytes=1000000"],
    );
    let (mut slow, mut fast, mut publisher) = (proxy.client(), proxy.client(), proxy.client());
    for client in [&mut slow, &mut fast] {
        assert_eq!(client.ask("SUBSCRIBE c"), "*3 $9 subscribe $1 c :1");
    }
    let filler = "x".repeat(10_000);
    let message = move |i: usize| format!("{i:05} {filler}");
    let text = message.clone();
    let reader = thread::spawn(move || {
        for i in 0..COUNT {
            fast.expect(format!(
                "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$10006\r\n{}\r\n",
                text(i)
            ));
        }
        fast
    });
    let (before, _) = proxy.resident();
    for i in 0..COUNT {
        publisher.send(request(&[b"PUBLISH", b"c", message(i).as_bytes()]));
        let heard = publisher.reply();
        assert!(heard == ":2" || heard == ":1", "{heard}");
    }
    let mut fast = reader.join().unwrap();
    let (_, most) = proxy.resident();
    assert!(most - before < 24 << 20, "{} bytes", most - before);
    // It was closed, and has the messages that were sent before.
    let came = slow.rest_len();
    assert!(came < COUNT * 10_000 / 2, "{came} bytes came");
    assert_eq!(publisher.ask("PUBLISH c last"), ":1");
    assert_eq!(fast.reply(), "*3 $7 message $1 c $4 last");
}

#[test]
fn connection_is_returned_after_the_last_subscription() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1", "--backend-pool.max-idle=1"]);
    let ids = || {
        let list = redis.ask("CLIENT LIST");
        let lines = list.lines().filter(|line| line.contains(" name=elika "));
        let mut ids: Vec<String> = lines.map(|line| id_of(line).to_owned()).collect();
        ids.sort();
        ids
    };
    let (mut client, mut other) = (proxy.client(), proxy.client());
    assert_eq!(client.ask("SUBSCRIBE a")[..4], *"*3 $");
    assert_eq!(other.ask("PING"), "+PONG");
    let both = ids();
    assert_eq!(both.len(), 2);
    if redis.lacks(Feature::Functions) {
        return;
    }
    for i in 0..10 {
        assert_eq!(hear(&mut client, "PSUBSCRIBE b | SSUBSCRIBE c").len(), 2);
        assert_eq!(
            hear(&mut client, "UNSUBSCRIBE | PUNSUBSCRIBE | SUNSUBSCRIBE").len(),
            3
        );
        assert_eq!(client.ask(&format!("SET k {i}")), "+OK");
        // The same connection serves the next client, which finds no subscription.
        assert_eq!(
            other.ask_all("MULTI | GET k | EXEC")[2],
            format!("*1 $1 {i}")
        );
        assert_eq!(
            other.ask_all("PUBLISH a x | PUBLISH b x | SPUBLISH c x"),
            [":0"; 3]
        );
        assert_eq!(other.ask("GET k"), format!("$1 {i}"));
        assert_eq!(hear(&mut client, "SUBSCRIBE a").len(), 1);
        assert_eq!(ids(), both);
    }
}

#[test]
fn subscriber_is_closed_with_its_connection() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut neighbour = proxy.client();
    for hello in ["HELLO 2", "HELLO 3"] {
        let mut clients = Vec::new();
        for line in ["SUBSCRIBE a", "PSUBSCRIBE a", "SSUBSCRIBE a"] {
            if is_of_shards(line) && redis.lacks(Feature::Functions) {
                continue;
            }
            let mut client = proxy.client();
            client.ask(hello);
            assert!(client.ask(line).ends_with(" $1 a :1"));
            clients.push(client);
        }
        let killed = format!(":{}", clients.len());
        assert_eq!(redis.ask("CLIENT KILL TYPE PUBSUB"), killed);
        for client in &mut clients {
            client.expect_end();
        }
        assert_eq!(neighbour.ask("SET k v"), "+OK");
    }
}
