//! The state of a session (database, protocol, name), and the replies that the proxy writes.

mod support;

use support::{Feature, Redis, Target, Wire, array, commands, compare, request, text, wait_until};

#[test]
fn every_client_has_its_own_database() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut clients: Vec<_> = (0..8).map(|_| proxy.client_as("ann", "annpw")).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("SELECT {}", i % 4)), "+OK");
        assert_eq!(client.ask(&format!("SET where {i}")), "+OK");
    }
    for (i, client) in clients.iter_mut().enumerate() {
        // Two clients use the same database, and the later one wrote last.
        assert_eq!(client.ask("GET where"), format!("$1 {}", i % 4 + 4));
    }
    assert_eq!(clients[1].ask("SELECT 16"), "-ERR DB index is out of range");
    for line in commands("SELECT -1 | SELECT x | SELECT 99999999999 | SELECT | SELECT 1 2") {
        assert_eq!(clients[1].ask(line), redis.direct().ask(line), "{line}");
        assert_eq!(clients[1].ask("GET where"), "$1 5");
    }
    // In one packet, to another database and back.
    let lines = [
        "SELECT 0",
        "GET where",
        "SELECT 3",
        "GET where",
        "SELECT 77",
        "GET where",
    ];
    clients[1].send(lines.map(array).concat());
    assert_eq!(
        clients[1].replies(6),
        [
            "+OK",
            "$1 4",
            "+OK",
            "$1 7",
            "-ERR DB index is out of range",
            "$1 7"
        ]
    );
}

#[test]
fn clients_of_both_protocols_are_served() {
    let (_redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let (mut two, mut three) = (
        proxy.client_as("ann", "annpw"),
        proxy.client_as("ann", "annpw"),
    );
    assert!(three.ask("HELLO 3").starts_with("%7 "));
    two.ask("HSET h f v");
    two.ask("ZADD z 1.5 m");
    for _ in 0..20 {
        two.send(
            [
                array("HGETALL h"),
                array("ZRANGE z 0 -1 WITHSCORES"),
                array("GET none"),
            ]
            .concat(),
        );
        three.send(
            [
                array("HGETALL h"),
                array("ZRANGE z 0 -1 WITHSCORES"),
                array("GET none"),
            ]
            .concat(),
        );
        assert_eq!(two.replies(3), ["*2 $1 f $1 v", "*2 $1 m $3 1.5", "$-1"]);
        assert_eq!(three.replies(3), ["%1 $1 f $1 v", "*1 *2 $1 m ,1.5", "_"]);
    }
    // Changes of the protocol in one packet: each reply has the protocol of its moment.
    two.send(
        ["HGETALL h", "HELLO 3", "HGETALL h", "HELLO 2", "HGETALL h"]
            .map(array)
            .concat(),
    );
    let replies = two.replies(5);
    assert_eq!(replies[0], "*2 $1 f $1 v");
    assert!(replies[1].starts_with("%7 "), "{}", replies[1]);
    assert_eq!(replies[2], "%1 $1 f $1 v");
    assert!(replies[3].starts_with("*14 "), "{}", replies[3]);
    assert_eq!(replies[4], "*2 $1 f $1 v");
}

#[test]
fn hello_reply_describes_the_server_and_the_connection() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    for version in ["HELLO", "HELLO 2", "HELLO 3"] {
        let mut client = proxy.client();
        let (ours, direct) = (client.ask(version), redis.direct().ask(version));
        let id = client.ask("CLIENT ID");
        let (before, after) = ours.split_once(&format!(" $2 id {id} ")).expect(&ours);
        assert!(direct.starts_with(before), "{direct}");
        assert!(direct.ends_with(after), "{direct}");
        let list = client.ask("CLIENT INFO");
        assert!(list.contains(&format!("id={} ", &id[1..])), "{list}");
        assert!(before.contains("$7 version $"), "{before}");
    }
}

/// The replies of a server to a client that neither watches, tracks nor subscribes.
#[test]
fn proxy_replies_equal_those_of_the_server() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    for hello in ["HELLO 2", "HELLO 3"] {
        let (mut ours, mut direct) = (proxy.client(), redis.direct());
        ours.ask(hello);
        direct.ask(hello);
        for line in commands(
            "PING | PING hello | PING a b | ECHO hello | ECHO | ROLE | ACL WHOAMI | \
             CLIENT GETNAME | CLIENT SETNAME me | CLIENT GETNAME | CLIENT SETNAME a b | \
             CLIENT NO-EVICT ON | CLIENT NO-EVICT MAYBE | CLIENT GETREDIR | \
             CLIENT TRACKINGINFO | CLIENT TRACKING OFF | CLIENT CACHING YES | \
             CLIENT UNBLOCK 99999 | CLIENT KILL 127.0.0.1:1 | CLIENT KILL ID x | \
             CLIENT KILL ID 0 | CLIENT KILL ID 999999 ID 999998 | \
             CLIENT KILL ID 999999 999998 | CLIENT KILL NAME nobody | \
             CLIENT KILL MAXAGE 100000 | CLIENT KILL USER nobody | \
             CLIENT KILL USER nobody ID 7 | CLIENT KILL ID 7 8 USER nobody | \
             CLIENT KILL USER nobody TYPE x | CLIENT KILL USER nobody SKIPME | \
             CLIENT KILL USER admin | CLIENT LIST USER nobody | CLIENT LIST USER admin | \
             CLIENT LIST ID x | CLIENT LIST ID 999999 999998 | \
             CLIENT LIST ID 999999 NAME me | CLIENT LIST NAME nobody | \
             CLIENT LIST NOT-TYPE normal | CLIENT LIST FLAGS Q | CLIENT LIST CAPA z | \
             CLIENT LIST DB x | CLIENT LIST IDLE 0 | CLIENT LIST NOT-IDLE 1 | \
             CLIENT LIST IP 10.0.0.1 | CLIENT LIST LIB-NAME nothing | CLIENT LIST MAXAGE x | \
             CLIENT LIST NONSENSE | CLIENT REPLY NONSENSE | CLIENT REPLY ON | CLIENT | \
             CLIENT ID x | CLUSTER INFO | CLUSTER NODES | READONLY | READWRITE | ASKING | \
             EXEC | DISCARD | UNWATCH | RESET | CLIENT GETNAME",
        ) {
            // Redis 6.2 ignores the id 0, which would close all clients including the proxy's.
            let differs = ["CLIENT NO-EVICT", "CLIENT KILL ID 0"];
            if differs.iter().any(|it| line.starts_with(it)) && redis.lacks(Feature::Functions) {
                continue;
            }
            let (ours, direct) = (ours.ask(line), direct.ask(line));
            assert_eq!(ours, direct, "{hello}, {line}");
        }
        assert_eq!(ours.ask("QUIT"), direct.ask("QUIT"));
        ours.expect_end();
        direct.expect_end();
    }
}

#[test]
fn replies_about_the_proxys_own_clients_are_documented() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    assert_eq!(client.ask("CLIENT SETINFO LIB-NAME elika-test"), "+OK");
    assert_eq!(client.ask("CLIENT SETINFO LIB-VER 1.2"), "+OK");
    assert_eq!(client.ask("CLIENT NO-TOUCH OFF"), "+OK");
    assert_eq!(client.ask("CLIENT CAPA redirect"), "+OK");
    let info = client.ask("CLIENT INFO");
    assert!(info.contains(" lib-name=elika-test lib-ver=1.2"), "{info}");
    assert!(client.ask("CLIENT HELP").starts_with('*'));
    assert!(client.ask("CLUSTER HELP").starts_with('*'));
    let unknown = client.ask("CLIENT NONSENSE");
    assert_eq!(unknown, redis.direct().ask("CLIENT NONSENSE"));
    assert_eq!(client.ask("UNSUBSCRIBE a"), "*3 $11 unsubscribe $1 a :0");
}

/// Bytes read, bytes written and commands executed, from a line of CLIENT LIST; `None` for a server
/// without these fields.
fn totals(line: &str) -> Option<[u64; 3]> {
    let field = |name: &str| {
        let value = line.split(&format!(" {name}=")).nth(1)?;
        value.split(' ').next()?.parse().ok()
    };
    Some([
        field("tot-net-in")?,
        field("tot-net-out")?,
        field("tot-cmds")?,
    ])
}

/// The client's totals without the bytes of its replies so far, in which a direct connection
/// differs.
fn own_totals(client: &mut Wire, heard: &mut u64) -> Option<[u64; 3]> {
    client.send(array("CLIENT INFO"));
    let frame = client.frame();
    let [bytes_in, bytes_out, commands] = totals(&text(&frame))?;
    let unheard = bytes_out - *heard;
    *heard += frame.len() as u64;
    Some([bytes_in, unheard, commands])
}

/// Scripts are excluded, because a server counts the commands that they call. So are commands that
/// the server refuses.
#[test]
fn totals_of_a_client_equal_those_of_a_direct_connection() {
    let steps = |target: &Target<'_>| {
        let (mut client, mut heard) = (target.client(), 0);
        // The id in HELLO's reply differs.
        let hello = own_totals(&mut client, &mut heard).map_or(0, |it| it[1]);
        heard += hello;
        let mut said = Vec::new();
        for line in commands(
            "SET k v | GET k | LPUSH k v | CLIENT ID | SELECT 1; SELECT 0 | ECHO x | \
             WATCH k; MULTI; GET k; SET k w; CLIENT INFO; GET k; EXEC | \
             MULTI; GET k; DISCARD | MULTI; GET k; NOSUCH; EXEC | \
             WATCH k; SET k x; MULTI; GET k; EXEC | UNSUBSCRIBE a",
        ) {
            let mut last = String::new();
            for command in commands(line) {
                client.send(array(command));
                let frame = client.frame();
                heard += frame.len() as u64;
                last = text(&frame);
            }
            let inside = totals(&last).map(|[bytes_in, _, commands]| (bytes_in, commands));
            let own = own_totals(&mut client, &mut heard);
            said.push(format!("{line}: {inside:?} {own:?}"));
        }
        client.send(array("GET k").repeat(100));
        heard += (0..100).map(|_| client.frame().len() as u64).sum::<u64>();
        said.push(format!("{:?}", own_totals(&mut client, &mut heard)));
        let mut other = target.client();
        other.send(array("BLPOP l 0"));
        target.redis().wait_blocked(1);
        let blocked = |client: &mut Wire| {
            let list = client.ask("CLIENT LIST");
            let line = list.split("id=").find(|line| line.contains(" cmd=blpop "));
            format!("{:?}", line.and_then(totals).map(|it| (it[0], it[2])))
        };
        said.push(blocked(&mut client));
        client.ask("RPUSH l v");
        other.frame();
        said.push(blocked(&mut client));
        said
    };
    let [two, _] = compare(steps);
    let shown = two.iter().filter(|it| it.contains("Some")).count();
    assert!(shown == 0 || shown == two.len(), "{two:?}");
}

#[test]
fn proxy_replies_keep_their_place_in_a_pipeline() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    let mut pipeline = Vec::new();
    for i in 0..500 {
        pipeline.extend(array(&format!("SET k{i} {i}")));
        pipeline.extend(array(&format!("ECHO e{i}")));
        pipeline.extend(array(&format!("GET k{i}")));
        pipeline.extend(array("PING"));
        pipeline.extend(array("CLIENT GETNAME"));
        pipeline.extend(array("SYNC"));
        pipeline.extend(array("NOSUCH"));
    }
    client.send(&pipeline);
    for i in 0..500 {
        let (number, echo) = (i.to_string(), format!("e{i}"));
        assert_eq!(client.reply(), "+OK");
        assert_eq!(client.reply(), format!("${} {echo}", echo.len()));
        assert_eq!(client.reply(), format!("${} {number}", number.len()));
        assert_eq!(client.reply(), "+PONG");
        assert_eq!(client.reply(), "$-1");
        assert!(client.reply().starts_with('-'), "SYNC");
        let unknown = client.reply();
        assert!(
            unknown
                .replace('`', "'")
                .starts_with("-ERR unknown command 'NOSUCH'"),
            "{unknown}"
        );
    }
}

#[test]
fn client_reply_off_and_skip_suppress_replies() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    client.send(
        [
            "CLIENT REPLY OFF",
            "SET a 1",
            "PING",
            "NOSUCH",
            "CLIENT REPLY ON",
            "GET a",
            "CLIENT REPLY SKIP",
            "INCR a",
            "INCR a",
            "CLIENT REPLY SKIP",
            "PING",
            "ECHO x",
        ]
        .map(array)
        .concat(),
    );
    assert_eq!(client.replies(4), ["+OK", "$1 1", ":3", "$1 x"]);
    assert_eq!(client.ask("GET a"), "$1 3");
}

#[test]
fn clients_of_both_workers_are_listed_and_killed() {
    let (_redis, proxy) = Redis::open().proxied(&["--core-num=2"]);
    let mut asker = proxy.client_as("ann", "annpw");
    let mut stranger = proxy.client_as("bob", "bobpw");
    let mut clients: Vec<_> = (0..6).map(|_| proxy.client_as("ann", "annpw")).collect();
    let mut ids = vec![asker.number("CLIENT ID")];
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(&format!("CLIENT SETNAME c{i}")), "+OK");
        ids.push(client.number("CLIENT ID"));
    }
    let listed = |list: &str| -> Vec<u64> {
        let field = |line: &str| line.split("id=").nth(1)?.split(' ').next()?.parse().ok();
        list.lines().filter_map(field).collect()
    };
    let list = asker.ask("CLIENT LIST");
    ids.sort_unstable();
    assert_eq!(listed(&list), ids, "{list}");
    assert!(list.contains(" name=c5 "), "{list}");
    assert!(list.contains(" cmd=client|list user=ann "), "{list}");
    let address = |client: &Wire| client.tcp().local_addr().unwrap().to_string();
    assert!(
        list.contains(&format!(" addr={} ", address(&clients[0]))),
        "{list}"
    );
    // A client of another user neither sees nor closes them.
    let theirs = stranger.ask("CLIENT LIST");
    assert_eq!(listed(&theirs), [stranger.number("CLIENT ID")], "{theirs}");
    assert_eq!(stranger.ask(&format!("CLIENT KILL ID {}", ids[3])), ":0");
    let first = address(&clients[0]);
    assert_eq!(asker.ask(&format!("CLIENT KILL {first}")), "+OK");
    clients[0].expect_end();
    assert_eq!(
        asker.ask(&format!("CLIENT KILL {first}")),
        "-ERR No such client"
    );
    let second = clients[1].number("CLIENT ID");
    assert_eq!(asker.ask(&format!("CLIENT KILL ID {second}")), ":1");
    clients[1].expect_end();
    assert_eq!(asker.ask("CLIENT KILL TYPE normal"), ":4");
    for client in &mut clients[2..] {
        client.expect_end();
    }
    assert_eq!(asker.ask("CLIENT KILL TYPE normal SKIPME no"), ":1");
    asker.expect_end();
    assert_eq!(stranger.ask("PING"), "+PONG");
}

#[test]
fn clients_share_few_connections() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=1"]);
    let mut clients: Vec<_> = (0..50).map(|_| proxy.client_as("ann", "annpw")).collect();
    for client in &mut clients {
        assert_eq!(client.ask("INCR n")[..1], *":");
    }
    let connections = redis.connections();
    let of_ann = connections
        .iter()
        .filter(|line| line.contains("user=ann "))
        .count();
    assert_eq!(of_ann, 1, "{connections:?}");
    // The connection stays when its clients disconnect.
    clients.truncate(1);
    assert_eq!(clients[0].ask("GET n"), "$2 50");
    wait_until("the others are gone", || {
        clients[0].ask("CLIENT LIST").matches(" addr=").count() == 1
    });
}

#[test]
fn inline_commands_work() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    client
        .send("SET \"a b\" 'c d'\r\nGET \"a b\"\n\r\n  \nECHO \"\\x41\\n\"\r\nPING\r\nSELECT 1\n");
    assert_eq!(
        client.replies(5),
        ["+OK", "$3 c d", "$2 A\n", "+PONG", "+OK"]
    );
    client.send(request(&[b"GET", b"a b"]));
    assert_eq!(client.reply(), "$-1");
    client.send("SELECT 0\r\n");
    assert_eq!(client.reply(), "+OK");
    client.send(request(&[b"GET", b"a b"]));
    assert_eq!(client.reply(), "$3 c d");
}

/// The replies of RESET after SKIP and OFF, directly and through the proxy.
#[test]
fn reset_is_answered_after_off_and_not_after_skip() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    for (mode, replies) in [("SKIP", &["$3 END"][..]), ("OFF", &["+RESET", "$3 END"])] {
        for mut client in [redis.direct(), proxy.client()] {
            let lines = [
                format!("CLIENT REPLY {mode}"),
                "RESET".into(),
                "ECHO END".into(),
            ];
            client.send(lines.map(|line| array(&line)).concat());
            assert_eq!(client.replies(replies.len()), replies, "{mode}");
        }
    }
}
