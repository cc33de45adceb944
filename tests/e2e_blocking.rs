//! Blocking commands: each element goes to one client, and no other client waits.

mod support;

use std::time::Duration;

use support::{
    Feature, Proxy, Redis, array, both_ways, commands, compare, compare_at, now, packet, request,
    wait_until,
};

/// Commands that block, and one that serves each; the empty server has what they need.
const BLOCKING: &[(&str, &str)] = &[
    ("BLPOP none l", "RPUSH l a b"),
    ("BRPOP l none", "RPUSH l a b"),
    ("BLMOVE l to LEFT RIGHT", "RPUSH l a b"),
    ("BRPOPLPUSH l to", "RPUSH l a b"),
    ("BZPOPMIN none z", "ZADD z 1.5 a 2 b"),
    ("BZPOPMAX z none", "ZADD z 1.5 a 2 b"),
];

/// Further commands, with the timeout at `?`.
const OTHERS: &[(&str, &str)] = &[
    ("BLMPOP ? 2 none l LEFT COUNT 2", "RPUSH l a b c"),
    ("BZMPOP ? 1 z MAX", "ZADD z 1.5 a 2 b"),
    ("XREAD BLOCK ? STREAMS s $", "XADD s 5-1 f v"),
    ("XREAD COUNT 1 BLOCK ? STREAMS none s 0 0", "XADD s 5-1 f v"),
    ("XREADGROUP GROUP g c BLOCK ? STREAMS g >", "XADD g 5-1 f v"),
    (
        "xreadgroup group g block count 1 block ? noack streams g >",
        "XADD g 5-1 f v",
    ),
];

/// All of them that the server has, with this timeout; the last number is in milliseconds for
/// streams.
fn blocking(redis: &Redis, seconds: &str, ms: &str) -> Vec<(String, &'static str)> {
    // BLMPOP and BZMPOP are as old as functions.
    let lacks_mpop = redis.lacks(Feature::Functions);
    let at_the_end = BLOCKING
        .iter()
        .map(|(line, feed)| (format!("{line} {seconds}"), *feed));
    let others = OTHERS
        .iter()
        .filter(|(line, _)| !(lacks_mpop && line.contains("MPOP")));
    let others = others.map(|(line, feed)| {
        let time = if line.to_ascii_uppercase().starts_with('X') {
            ms
        } else {
            seconds
        };
        (line.replace('?', time), *feed)
    });
    at_the_end.chain(others).collect()
}

#[test]
fn blocking_commands_return_at_once_later_or_at_the_timeout() {
    // The server searches for expired timeouts at intervals.
    compare_at(&Redis::open_with("hz 500"), |target| {
        let (mut client, mut other) = (target.client(), target.client());
        let group = "XGROUP CREATE g g $ MKSTREAM";
        let mut said = Vec::new();
        for (line, feed) in blocking(target.redis(), "0", "0") {
            said.extend(other.ask_all(&format!("FLUSHALL | {group} | {feed}")));
            if !line.ends_with('$') {
                said.push(client.ask(&line));
            }
            said.extend(other.ask_all(&format!("FLUSHALL | {group}")));
            client.send(array(&line));
            target.redis().wait_blocked(1);
            said.push(other.ask(feed));
            said.push(client.reply());
            said.extend(other.ask_all("LRANGE l 0 -1 | LRANGE to 0 -1 | ZCARD z"));
        }
        for (line, _) in blocking(target.redis(), "0.02", "20") {
            said.extend(other.ask_all(&format!("FLUSHALL | {group}")));
            // Alone, and in front of other commands.
            said.extend(client.ask_all(&line));
            said.extend(client.ask_all(&format!("{line} | GET k | {line} | ECHO x")));
        }
        for line in [
            "BLPOP l x | BLPOP l -1 | BLPOP l | BLPOP | BLMPOP 0 | BLMPOP 0 x l LEFT | BZPOPMIN z 1e400",
            "SET l 1 | BLPOP l 0 | BRPOPLPUSH l to 0 | XREAD BLOCK 0 STREAMS l 0 | BLPOP none l 0 | GET l",
            "XREAD BLOCK x STREAMS s 0 | XREAD BLOCK -1 STREAMS s 0 | XREAD BLOCK 0 | XREAD BLOCK",
            "XREADGROUP GROUP none c BLOCK 0 STREAMS s > | XREAD COUNT 1 BLOCK 10 | XREAD COUNT x",
        ] {
            said.extend(both_ways(&mut client, "FLUSHALL", line));
        }
        said
    });
}

/// Streams and groups may have any name: only the option makes the command block.
#[test]
fn non_blocking_form_needs_no_dedicated_connection() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut client = proxy.client();
    for line in [
        "XADD block 1-1 f v | XADD streams 1-1 f v | XGROUP CREATE block block 0",
        "XREAD STREAMS block streams 0 0 | XREAD COUNT 5 STREAMS streams block 0 0",
        "XREADGROUP GROUP block block STREAMS block > | XREADGROUP GROUP block block STREAMS block 0",
        "XREADGROUP GROUP block streams COUNT 1 NOACK STREAMS block > | XREAD STREAMS block $",
    ] {
        for reply in client.ask_all(line) {
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        assert_eq!(redis.connections().len(), 1, "{line}");
    }
    let reply = client.ask("XREAD BLOCK 1 STREAMS block 0");
    assert_eq!(reply, "*1 *2 $5 block *1 *2 $3 1-1 *2 $1 f $1 v");
    assert_eq!(redis.connections().len(), 2);
}

#[test]
fn requests_behind_a_blocking_command_wait() {
    let said = compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        let mut said = Vec::new();
        client.send(packet(
            "SET x 0 | BLPOP l 0 | SET x 1 | GET x | SELECT 1 | GET x | BLPOP m 0 | SELECT 0 | GET x",
        ));
        target.redis().wait_blocked(1);
        said.extend(other.ask_all("GET x | LPUSH l a b | SELECT 1"));
        said.extend(client.replies(6));
        target.redis().wait_blocked(1);
        said.push(other.ask("RPUSH m 1"));
        said.extend(client.replies(3));
        // Transactions, logins and further blocking commands.
        client.send(packet(
            "MULTI | INCR x | EXEC | BLPOP l 0 | BLPOP l 0 | AUTH bob bobpw | ACL WHOAMI | MULTI | \
             BLPOP l 0 | GET x | EXEC | WATCH x | BRPOP l 0 | MULTI | PING | EXEC | CLIENT GETNAME",
        ));
        said.extend(client.replies(4));
        for _ in 0..2 {
            target.redis().wait_blocked(1);
            said.extend(other.ask_all("SELECT 0 | RPUSH l 1"));
        }
        said.extend(client.replies(13));
        said
    });
    assert_eq!(said[0][0], "$1 0");
    assert_eq!(said[0][3..6], ["+OK", "*2 $1 l $1 b", "+OK"]);
}

#[test]
fn hundred_clients_block_at_once() {
    const COUNT: usize = 100;
    let redis = Redis::open();
    for workers in ["--core-num=1", "--core-num=2"] {
        let proxy = Proxy::with(&redis, &[workers, "--backend-pool.max-size=200"]);
        let mut other = proxy.client();
        let mut clients: Vec<_> = (0..COUNT).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.send(packet("BLPOP l 0 | INCR served"));
        }
        redis.wait_blocked(COUNT as u64);
        // The other clients continue meanwhile.
        for i in 1..=50 {
            assert_eq!(other.ask("INCR n"), format!(":{i}"));
        }
        let values: Vec<String> = (0..COUNT).map(|i| format!("v{i:03}")).collect();
        for some in values.chunks(7) {
            other.ask(&format!("RPUSH l {}", some.join(" ")));
        }
        let mut came: Vec<String> = Vec::new();
        for client in &mut clients {
            let reply = client.reply();
            came.push(reply.strip_prefix("*2 $1 l $4 ").expect(&reply).to_owned());
            client.reply();
        }
        came.sort();
        assert_eq!(came, values);
        assert_eq!(other.ask_all("LLEN l | GET served")[..], [":0", "$3 100"]);
        // Their connections are kept for the next clients, up to the limit.
        wait_until("few are kept", || redis.connections().len() <= 2 * (10 + 1));
        assert_eq!(other.ask("FLUSHALL"), "+OK");
    }
}

/// A client that disconnects while blocked pops nothing: after a close, after a FIN, and also when
/// the proxy does not read the client because of requests behind the command.
#[test]
fn blocked_client_that_disconnects_pops_nothing() {
    let redis = Redis::open();
    for workers in ["--core-num=1", "--core-num=2"] {
        let proxy = Proxy::with(&redis, &[workers]);
        let mut other = proxy.client();
        let long: Vec<u8> = (0..3_000)
            .flat_map(|_| array("SET evil evil-evil-evil-evil"))
            .collect();
        let long = [packet("BLPOP l 0 | SELECT 1"), long].concat();
        let packets = [
            array("BLPOP l 0"),
            packet("BLPOP l 0 | SELECT 1 | SET evil 1"),
            packet("SET k v | BLPOP l 0 | SET evil 1"),
            [array("BLPOP l 0"), b"*2\r\n$3\r\nGE".to_vec()].concat(),
            packet("MULTI | SET k v | EXEC | BLMOVE l to LEFT LEFT 0 | AUTH ann annpw"),
            packet("HELLO 3 | SUBSCRIBE c | BLPOP l 0 | PING"),
            long,
        ];
        for (i, bytes) in packets.iter().enumerate() {
            for half in [false, true] {
                let mut client = proxy.client();
                client.send(bytes);
                redis.wait_blocked(1);
                match half {
                    true => client.finish_sending(),
                    false => drop(client),
                }
                redis.wait_blocked(0);
                assert_eq!(
                    other.ask_all("RPUSH l a | LLEN l | EXISTS evil"),
                    [":1", ":1", ":0"],
                    "{i}"
                );
                assert_eq!(other.ask_all("DEL l | DEL k")[0], ":1");
            }
        }
        // A FIN right behind the command: the client no longer waits when the command is read.
        for _ in 0..20 {
            let mut client = proxy.client();
            client.send(packet("INCR n | BLPOP l 0"));
            client.finish_sending();
            assert_eq!(client.reply()[..1], *":");
            client.expect_end();
        }
        redis.wait_blocked(0);
        assert_eq!(
            other.ask_all("RPUSH l a | LLEN l | DEL l"),
            [":1", ":1", ":1"]
        );
    }
}

#[test]
fn client_unblock_ends_a_blocking_command() {
    let said = compare(|target| {
        let (mut client, mut same_worker) = (target.client(), target.client());
        let mut other = target.client();
        let id = client.number("CLIENT ID");
        let mut said = Vec::new();
        for asker in [&mut same_worker, &mut other] {
            said.push(asker.ask(&format!("CLIENT UNBLOCK {id}")));
            for how in ["", "TIMEOUT", "ERROR", "error"] {
                client.send(packet("BLPOP l 0 | ECHO x"));
                target.redis().wait_blocked(1);
                said.push(asker.ask(&format!("CLIENT UNBLOCK {id} {how}")));
                said.extend(client.replies(2));
                said.push(asker.ask(&format!("CLIENT UNBLOCK {id}")));
            }
            for line in commands(
                "CLIENT UNBLOCK 0 | CLIENT UNBLOCK x | CLIENT UNBLOCK 1 x | CLIENT UNBLOCK",
            ) {
                said.push(asker.ask(line));
            }
        }
        // Inside MULTI nothing blocks, nor does a command behind other state.
        client.ask("MULTI");
        said.push(other.ask(&format!("CLIENT UNBLOCK {id}")));
        client.ask("DISCARD");
        client.ask("WATCH k");
        said.push(other.ask(&format!("CLIENT UNBLOCK {id}")));
        client.send(array("XREAD BLOCK 0 STREAMS s $"));
        target.redis().wait_blocked(1);
        said.push(other.ask(&format!("CLIENT UNBLOCK {id}")));
        said.push(client.reply());
        said.push(client.ask("UNWATCH"));
        said
    });
    assert_eq!(said[0][..4], [":0", ":1", "*-1", "$1 x"]);
}

/// Only clients of the same user can unblock each other.
#[test]
fn client_of_another_user_cannot_unblock() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=2"]);
    let mut client = proxy.client_as("ann", "annpw");
    let mut strangers = [
        proxy.client_as("bob", "bobpw"),
        proxy.client(),
        proxy.client_as("bob", "bobpw"),
    ];
    let id = client.number("CLIENT ID");
    client.send(array("BLPOP l 0"));
    redis.wait_blocked(1);
    for stranger in &mut strangers {
        // Neither by its id at the proxy, nor by the id of its backend connection.
        for id in 0..id + 20 {
            assert_eq!(stranger.ask(&format!("CLIENT UNBLOCK {id} ERROR")), ":0");
        }
    }
    assert_eq!(strangers[0].ask("RPUSH l x"), ":1");
    assert_eq!(client.reply(), "*2 $1 l $1 x");
}

/// `reply-ms` does not apply to a blocked request.
#[test]
fn blocked_client_outlives_reply_ms() {
    let (_redis, proxy) = Redis::open().proxied(&["--core-num=2", "--backend-pool.reply-ms=150"]);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    client.send(packet("BLPOP l 0 | GET k"));
    other.send(packet("BLPOP none 0.7 | ECHO x"));
    let start = now();
    assert_eq!(other.replies(2), ["*-1", "$1 x"]);
    assert!(start.elapsed() >= Duration::from_millis(650));
    assert_eq!(other.ask("RPUSH l x"), ":1");
    assert_eq!(client.replies(2), ["*2 $1 l $1 x", "$-1"]);
}

/// A script blocks the whole server; SCRIPT KILL must not wait behind it.
#[test]
fn script_is_killed_from_another_connection() {
    let redis = Redis::open_with("lua-time-limit 30");
    for workers in ["--core-num=1", "--core-num=2"] {
        let proxy = Proxy::with(&redis, &[workers]);
        for setup in ["PING", "SELECT 1", "HELLO 3", "AUTH ann annpw"] {
            let (mut client, mut killer) = (proxy.client(), proxy.client());
            client.ask(setup);
            killer.ask(setup);
            assert!(killer.ask("SCRIPT KILL").starts_with("-NOTBUSY "));
            client.send(
                [
                    request(&[b"EVAL", b"while true do end", b"0"]),
                    array("ECHO x"),
                ]
                .concat(),
            );
            wait_until("it is killed", || {
                let reply = killer.ask("SCRIPT KILL");
                assert!(
                    reply == "+OK" || reply.starts_with("-NOTBUSY "),
                    "{setup}: {reply}"
                );
                reply == "+OK"
            });
            let reply = client.reply();
            assert!(reply.contains("Script killed by user"), "{reply}");
            assert_eq!(client.reply(), "$1 x");
            assert_eq!(killer.ask_all("MULTI | ECHO x | EXEC")[2], "*1 $1 x");
        }
    }
}
