//! Commands: forwarded, refused, or a reason to close the client.

mod support;

use support::{Feature, Proxy, Redis, Wire, array, commands, request};

#[test]
fn commands_are_forwarded_unchanged() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    for hello in ["HELLO 2", "HELLO 3"] {
        let (mut ours, mut direct) = (proxy.client(), redis.direct());
        ours.ask(hello);
        direct.ask(hello);
        // Both write, so each has its own database.
        direct.ask("SELECT 1");
        for line in commands(
            "NOSUCH a b | GET | COMMAND COUNT | COMMAND DOCS get | COMMAND INFO set | \
             COMMAND GETKEYS set a b | OBJECT HELP | OBJECT NONSENSE | \
             CONFIG GET maxmemory | ACL CAT read | SET s 1 | LPUSH s 1 | RPUSH l a b c | \
             LRANGE l 0 -1 | DEL l | SMISMEMBER none a b | GEOPOS none a | \
             EVAL return{1,'a',{ok='x'},{double=1.5},false} 0 | EVAL return{err='MINE'} 0 | \
             DBSIZE | XRANGE none - + | MEMORY USAGE s | FUNCTION STATS | PUBLISH c m",
        ) {
            assert_eq!(ours.ask(line), direct.ask(line), "{hello}, {line}");
        }
        let docs = (ours.ask("COMMAND DOCS"), direct.ask("COMMAND DOCS"));
        // These commands are as old as functions.
        assert!(docs.0.len() > 100_000 || redis.lacks(Feature::Functions));
        assert!(docs.0 == docs.1, "COMMAND DOCS differs");
        let version = |info: String| {
            let line = info.split(' ').find(|it| it.starts_with("redis_version:"));
            line.map(str::to_owned)
        };
        let (ours, direct) = (ours.ask("INFO server"), direct.ask("INFO server"));
        assert!(version(ours).is_some_and(|ours| Some(ours) == version(direct)));
    }
}

/// FUNCTION STATS uses an idle connection, in the protocol of the client.
#[test]
fn function_stats_has_the_protocol_of_the_client() {
    let redis = Redis::open();
    if redis.lacks(Feature::Functions) {
        return;
    }
    let proxy = Proxy::with(&redis, &["--core-num=1"]);
    let ask = |mut client: Wire, hello: &str| {
        client.ask(hello);
        client.ask("GET k");
        client
    };
    let hellos = ["HELLO 2", "HELLO 3"];
    let mut ours = hellos.map(|hello| ask(proxy.client(), hello));
    let mut direct = hellos.map(|hello| ask(redis.direct(), hello));
    for _ in 0..2 {
        for (ours, direct) in ours.iter_mut().zip(&mut direct) {
            assert_eq!(ours.ask("FUNCTION STATS"), direct.ask("FUNCTION STATS"));
        }
    }
}

#[test]
fn administrative_commands_follow_the_option() {
    let redis = Redis::open();
    let deny = Proxy::with(&redis, &["--admin-commands=deny"]);
    let mut client = deny.client_as("ann", "annpw");
    for (line, name) in [
        ("CONFIG SET maxmemory 1gb", "config|set"),
        ("config resetstat", "config|resetstat"),
        ("ACL SETUSER x", "acl|setuser"),
        ("ACL LIST", "acl|list"),
        ("DEBUG SLEEP 0", "debug"),
        ("SHUTDOWN NOSAVE", "shutdown"),
        ("REPLICAOF a 1", "replicaof"),
        ("SLOWLOG GET", "slowlog|get"),
        ("CLIENT PAUSE 1000", "client|pause"),
        ("MODULE LOAD x", "module|load"),
        ("MONITOR", "monitor"),
        ("SCRIPT KILL", "script|kill"),
        ("CLUSTER FAILOVER", "cluster|failover"),
    ] {
        let wanted = format!("-NOPERM User ann has no permissions to run the '{name}' command");
        assert_eq!(client.ask(line), wanted, "{line}");
    }
    assert_eq!(client.ask("CONFIG GET maxmemory"), "*2 $9 maxmemory $1 0");
    let allow = Proxy::with(&redis, &["--admin-commands=allow"]);
    let mut client = allow.client_as("ann", "annpw");
    assert_eq!(client.ask("CONFIG SET maxmemory 1gb"), "+OK");
    assert_eq!(
        client.ask("CONFIG GET maxmemory"),
        "*2 $9 maxmemory $10 1073741824"
    );
    assert!(client.ask("ACL LIST").starts_with('*'));
    let mut reader = allow.client_as("reader", "readerpw");
    assert!(reader.ask("CONFIG SET maxmemory 0").starts_with("-NOPERM "));
    assert_eq!(
        client.ask("CONFIG GET maxmemory"),
        "*2 $9 maxmemory $10 1073741824"
    );
    // This is allowed too, and has the effect that it names.
    client.send(array("SHUTDOWN NOSAVE"));
    assert_eq!(
        client.reply(),
        "-ERR elika: backend connection lost, outcome unknown"
    );
}

#[test]
fn commands_without_one_reply_are_never_forwarded() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    for (line, name) in [
        ("SYNC", "sync"),
        ("PSYNC ? -1", "psync"),
        ("REPLCONF listening-port 1", "replconf"),
        ("SCRIPT DEBUG YES", "script|debug"),
    ] {
        let wanted = format!("-NOPERM User default has no permissions to run the '{name}' command");
        assert_eq!(client.ask(line), wanted, "{line}");
        client.send(format!("{line}\r\n"));
        assert_eq!(client.reply(), wanted, "{line}, inline");
    }
    let stats = redis.ask("INFO commandstats");
    for name in ["sync", "psync", "replconf", "script|debug"] {
        assert!(!stats.contains(&format!("cmdstat_{name}:")), "{name}");
    }
}

#[test]
fn http_request_gets_no_reply() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    for line in [
        "POST / HTTP/1.1\r\n",
        "Host: localhost\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
    ] {
        let mut client = proxy.client();
        client.send(line);
        let came = client.rest();
        assert!(!came.contains("HTTP") && came.len() < 80, "{line}: {came}");
    }
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\n\r\nSET evil 1\r\n");
    client.expect_end();
    assert_eq!(redis.ask("EXISTS evil"), ":0");
}

#[test]
fn protocol_error_closes_the_client_after_earlier_replies() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    for (bytes, says) in [
        ("*1\r\nfoo\r\n", "expected '$', got 'f'"),
        ("*x\r\n", "invalid multibulk length"),
        ("*2000000000\r\n", "invalid multibulk length"),
        ("*1\r\n$-5\r\n", "invalid bulk length"),
        ("*1\r\n$99999999999\r\n", "invalid bulk length"),
        ("*1\r\n$4\r\nPINGxx", "invalid CRLF in request"),
        ("SET \"a\r\n", "unbalanced quotes in request"),
    ] {
        let mut client = proxy.client();
        client.send(
            [
                array("SET k v"),
                array("GET k"),
                bytes.into(),
                array("SET k evil"),
            ]
            .concat(),
        );
        assert_eq!(client.replies(2), ["+OK", "$1 v"], "{says}");
        assert_eq!(client.reply(), format!("-ERR Protocol error: {says}"));
        client.expect_end();
    }
    let mut client = proxy.client();
    client.send(vec![b'a'; 70_000]);
    assert_eq!(
        client.reply(),
        "-ERR Protocol error: too big inline request"
    );
    client.expect_end();
    assert_eq!(redis.ask("GET k"), "$1 v");
    // Requests without content are not an error.
    let mut client = proxy.client();
    client.send("*0\r\n*-1\r\n\r\nPING\r\n");
    assert_eq!(client.reply(), "+PONG");
}

#[test]
fn pipeline_of_ten_thousand_commands_is_answered() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    let count = 10_000;
    let pipeline: Vec<u8> = (1..=count)
        .flat_map(|i| [array("INCR n"), array(&format!("ECHO {i}"))].concat())
        .collect();
    let mut writer = Wire::over(client.tcp().try_clone().unwrap());
    let sender = std::thread::spawn(move || writer.send(pipeline));
    for i in 1..=count {
        let digits = i.to_string();
        assert_eq!(client.reply(), format!(":{i}"));
        assert_eq!(client.reply(), format!("${} {i}", digits.len()));
    }
    sender.join().unwrap();
}

#[test]
fn keys_and_values_may_have_any_bytes() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    let all: Vec<u8> = (0..=255).collect();
    for value in [
        &all[..],
        b"\r\n",
        b"",
        b"*1\r\n$4\r\nPING\r\n",
        b"$-1\r\n",
        b"\0",
    ] {
        client.send(request(&[b"SET", value, value]));
        client.expect("+OK\r\n");
        client.send(request(&[b"GET", value]));
        client.expect([format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat());
        client.send(request(&[b"ECHO", value]));
        client.expect([format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat());
    }
}

/// Commands are the same in packets of any size.
#[test]
fn requests_may_arrive_in_any_pieces() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    let bytes = [
        array("SET key value"),
        b"GET key\r\n".to_vec(),
        array("ECHO x"),
        array("SELECT 1"),
        array("GET key"),
        array("SELECT 0"),
    ]
    .concat();
    let replies = "+OK\r\n$5\r\nvalue\r\n$1\r\nx\r\n+OK\r\n$-1\r\n+OK\r\n";
    for cut in 1..bytes.len() {
        client.send(&bytes[..cut]);
        // Only a reply proves that the first part was read separately; not every cut has one.
        support::pause();
        client.send(&bytes[cut..]);
        client.expect(replies);
    }
    for byte in &bytes {
        client.send([*byte]);
    }
    client.expect(replies);
}

#[test]
fn half_closed_client_gets_all_its_replies() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    client.send("PING\r\nSET x 1\r\nGET x\r\n");
    client.finish_sending();
    assert_eq!(client.replies(3), ["+PONG", "+OK", "$1 1"]);
    client.expect_end();
    // The first requests of a new client, including its login.
    let mut client = proxy.client();
    client.send("AUTH ann annpw\r\nSELECT 2\r\nGET x\r\nGE");
    client.finish_sending();
    assert_eq!(client.replies(3), ["+OK", "+OK", "$-1"]);
    client.expect_end();
    let mut client = proxy.client();
    let many: Vec<u8> = (0..5_000).flat_map(|_| array("INCR n")).collect();
    client.send(many);
    client.finish_sending();
    assert_eq!(client.replies(5_000).last().unwrap(), ":5000");
    client.expect_end();
}

#[test]
fn disconnecting_client_does_not_affect_others() {
    let (_redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut neighbour = proxy.client();
    assert_eq!(neighbour.ask("SET big 0"), "+OK");
    assert_eq!(neighbour.ask("SETRANGE big 3000000 x"), ":3000001");
    for i in 1..=100 {
        let mut other = proxy.client();
        let line = if i % 3 == 0 { "GET big" } else { "INCR gone" };
        let pipeline: Vec<u8> = (0..i).flat_map(|_| array(line)).collect();
        other.send(&pipeline);
        neighbour.send([array("INCR n"), array(&format!("ECHO {i}"))].concat());
        drop(other);
        assert_eq!(neighbour.reply(), format!(":{i}"));
        assert_eq!(neighbour.reply(), format!("${} {i}", i.to_string().len()));
    }
}
