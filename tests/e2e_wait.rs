//! WAIT: for the writes of its client, on any connection.

mod support;

use std::thread;

use support::{Proxy, Redis, Wire, array, both_ways, compare_at, id_of, packet, wait_until};

const UNKNOWN: &str = "-ERR elika: the connection that carried the writes is in use or closed";

/// A server and its replica, which has all of its data.
fn pair() -> (Redis, Redis) {
    // A ping to the replica counts as a write.
    let main = Redis::open_with("repl-diskless-sync-delay 0\nrepl-ping-replica-period 3600");
    let replica = Redis::open_with(&format!("replicaof 127.0.0.1 {}", main.port()));
    wait_until("the replica is there", || {
        main.ask("INFO replication").contains("state=online")
    });
    (main, replica)
}

/// Waits until the replica has received all writes.
fn in_step(main: &Redis) {
    let mut control = main.control();
    control.ask("SET last word");
    assert_eq!(control.ask("WAIT 1 20000"), ":1");
}

/// Waits until the replica has acknowledged all writes. The request for an acknowledgement counts
/// as a write on Redis before 7.2, and is acknowledged within a second: until then a WAIT that must
/// not block returns 0 or 1.
fn confirmed(main: &Redis) {
    let mut control = main.control();
    wait_until("the replica confirms all", || {
        let info = control.ask("INFO replication");
        let after = |name: &str| {
            let rest = info.split(name).nth(1).unwrap_or_default();
            rest.split([' ', ',']).next().map(str::to_owned)
        };
        after(",offset=") == after("master_repl_offset:")
    });
}

#[test]
fn silent_replica_is_not_counted() {
    let (main, replica) = pair();
    for workers in ["--core-num=1", "--core-num=2"] {
        let proxy = Proxy::with(&main, &[workers]);
        for write in [
            "SET k 1",
            "MULTI | SET k 2 | EXEC",
            "SET k 3 | MULTI | SET k 4 | EXEC",
            "MULTI | SET k 5 | EXEC | SET k 6",
            "WATCH k | SET k 7 | UNWATCH",
            "RPUSH l a | BLPOP l 0 | GET k",
            "MULTI | SET k 8 | EXEC | GET k | GET k | ECHO x",
            "SELECT 1 | SET k 9",
            "HELLO 3 | SUBSCRIBE c | SET k 10 | UNSUBSCRIBE c",
            "EVAL return(redis.call('set','k',1)) 0",
            "SET k 11 | WATCH k",
            "HELLO 3 | SET k 12 | CLIENT TRACKING ON",
            "MULTI | SET k 13 | EXEC | SET k 14 NX | EVAL return(1) 0",
            "MULTI | SET k 15 | EXEC | MULTI | GET k | EXEC",
        ] {
            for at_once in [true, false] {
                let mut client = proxy.client();
                // A connection exists before, and not only for this.
                client.ask("GET k");
                replica.freeze();
                let count = support::commands(write).count();
                client.send(packet(write));
                if !at_once {
                    client.replies(count);
                }
                client.send(packet("WAIT 1 60 | ECHO behind"));
                if at_once {
                    client.replies(count);
                }
                assert_eq!(
                    client.replies(2),
                    [":0", "$6 behind"],
                    "{write}, {at_once}, {workers}"
                );
                replica.thaw();
                assert_eq!(client.ask("WAIT 1 20000"), ":1", "{write}, {workers}");
                in_step(&main);
            }
        }
    }
}

#[test]
fn other_clients_continue_during_a_wait() {
    let (main, replica) = pair();
    let proxy = Proxy::with(&main, &["--core-num=1", "--backend-pool.max-size=3"]);
    let mut client = proxy.client();
    let mut others: Vec<Wire> = (0..4).map(|_| proxy.client()).collect();
    for (i, other) in others.iter_mut().enumerate() {
        assert_eq!(other.ask(&format!("SET n{i} 0")), "+OK");
    }
    replica.freeze();
    // Requests of other clients are in flight on the same connection, before and behind it.
    let pipeline = |i: usize| packet(&format!("INCR n{i} | ECHO x | INCR n{i} | GET n{i}"));
    for (i, other) in others.iter_mut().enumerate() {
        other.send(pipeline(i));
        if i == 1 {
            client.send(packet("SET k v | WAIT 1 0 | SET k w | WAIT 1 0 | GET k"));
        }
    }
    for other in &mut others {
        assert_eq!(other.replies(4), [":1", "$1 x", ":2", "$1 2"]);
    }
    main.wait_blocked(1);
    for (i, other) in others.iter_mut().enumerate() {
        for round in 1..=20 {
            other.send(pipeline(i));
            let n = 2 * round + 2;
            let digits = n.to_string().len();
            assert_eq!(
                other.replies(4),
                [
                    format!(":{}", n - 1),
                    "$1 x".into(),
                    format!(":{n}"),
                    format!("${digits} {n}")
                ]
            );
        }
        assert_eq!(
            other.ask_all(&format!("MULTI | GET n{i} | EXEC"))[2],
            "*1 $2 42"
        );
    }
    assert_eq!(client.reply(), "+OK");
    client.expect_silence();
    replica.thaw();
    assert_eq!(client.replies(4), [":1", "+OK", ":1", "$1 w"]);
    // The connection is shared again.
    in_step(&main);
    wait_until("few connections are left", || main.connections().len() <= 3);
    assert_eq!(others[0].ask("GET k"), "$1 w");
}

#[test]
fn client_may_disconnect_while_it_waits() {
    let (main, replica) = pair();
    let proxy = Proxy::with(&main, &["--core-num=1"]);
    let mut other = proxy.client();
    for round in 0..6 {
        replica.freeze();
        let mut client = proxy.client();
        let before = if round % 2 == 0 {
            "SET k v"
        } else {
            "MULTI | SET k v | EXEC"
        };
        client.send(packet(&format!("{before} | WAIT 1 0 | SET evil 1")));
        main.wait_blocked(1);
        assert_eq!(other.ask("INCR n"), format!(":{}", round + 1));
        match round % 3 {
            0 => drop(client),
            1 => client.finish_sending(),
            _ => {
                let list = other.ask("CLIENT LIST");
                let blocked = list.lines().find(|line| line.contains(" flags=b "));
                let id = id_of(blocked.expect(&list));
                assert_eq!(other.ask(&format!("CLIENT KILL ID {id}")), ":1");
                client.rest();
            }
        }
        assert_eq!(
            other.ask_all("SET m 1 | MULTI | GET m | EXEC")[3],
            "*1 $1 1"
        );
        replica.thaw();
        main.wait_blocked(0);
        in_step(&main);
    }
}

/// The connection that carried the write is used by the WAIT of another client. Any other
/// connection would return at once, because it carried no write.
#[test]
fn wait_is_not_sent_on_a_connection_without_the_write() {
    let (main, replica) = pair();
    let proxy = Proxy::with(&main, &["--core-num=1"]);
    let (mut client, mut other, mut third) = (proxy.client(), proxy.client(), proxy.client());
    // One connection is idle from now on.
    assert_eq!(third.ask_all("MULTI | PING | EXEC")[2], "*1 +PONG");
    assert_eq!(other.ask("SET other v"), "+OK");
    in_step(&main);
    replica.freeze();
    assert_eq!(client.ask("SET k v"), "+OK");
    other.send(array("WAIT 1 700"));
    main.wait_blocked(1);
    assert_eq!(client.ask("WAIT 1 50"), ":0");
    assert_eq!(other.reply(), ":0");
    replica.thaw();
    assert_eq!(client.ask_all("SET k w | WAIT 1 20000"), ["+OK", ":1"]);
}

/// Nor is WAIT sent on the connection that the client uses after its write.
#[test]
fn wait_covers_writes_on_an_earlier_connection() {
    let (main, replica) = pair();
    let proxy = Proxy::with(&main, &["--core-num=1"]);
    let moves = [
        "SELECT 1",
        "HELLO 3",
        "AUTH ann annpw",
        "RESET",
        "SELECT 1 | MULTI | PING | EXEC",
    ];
    for there in moves {
        // Another client was there before, and has left a free connection.
        let (mut client, mut resident) = (proxy.client(), proxy.client());
        resident.ask_all(&format!("{there} | GET k | MULTI | PING | EXEC"));
        client.ask("GET k");
        in_step(&main);
        replica.freeze();
        assert_eq!(client.ask("SET k v"), "+OK");
        client.ask_all(there);
        let reply = client.ask("WAIT 1 100");
        assert!(reply == ":0" || reply == UNKNOWN, "{there}: {reply}");
        replica.thaw();
    }
}

/// No WAIT is met: there is no replica.
#[test]
fn many_waits_block_no_other_client_and_open_few_connections() {
    let redis = Redis::open();
    let options = [
        "--core-num=1",
        "--backend-pool.max-size=6",
        "--backend-pool.wait-ms=400",
    ];
    let proxy = Proxy::with(&redis, &options);
    let mut other = proxy.client();
    assert_eq!(other.ask("SET n 0"), "+OK");
    let mut waiting: Vec<Wire> = Vec::new();
    for i in 1..=30 {
        let mut client = proxy.client();
        client.send(packet(&format!("AUTH ann annpw | SET k{i} v | WAIT 5 0")));
        assert_eq!(client.replies(2), ["+OK", "+OK"]);
        waiting.push(client);
        let mut ann = proxy.client();
        assert_eq!(ann.ask_all("AUTH ann annpw | INCR n")[1], format!(":{i}"));
        assert_eq!(other.ask("GET k1"), "$1 v");
    }
    // Clients whose timeout is over get their replies meanwhile.
    let mut timed: Vec<Wire> = Vec::new();
    for i in 1..=60 {
        let mut client = proxy.client();
        let line = format!("AUTH ann annpw | SET t{i} v | WAIT 1 500 | GET t{i}");
        client.send(packet(&line));
        timed.push(client);
    }
    for client in &mut timed {
        assert_eq!(client.replies(4), ["+OK", "+OK", ":0", "$1 v"]);
    }
    let mut ann = proxy.client_as("ann", "annpw");
    let blocked = ann.ask("CLIENT LIST").matches(" flags=b ").count();
    assert_eq!(blocked, 30);
    let connections = redis.connections().len();
    assert!(connections <= 6 + 4, "{connections} connections");
    drop(waiting);
    redis.wait_blocked(0);
    assert_eq!(
        ann.ask_all("SET k v | WAIT 0 1 | WAIT 5 1 | GET k")[3],
        "$1 v"
    );
}

/// Another client waits at the same time for a number that is never reached.
#[test]
fn refused_wait_gets_its_error_at_once() {
    let redis = Redis::open();
    compare_at(&redis, |target| {
        let mut other = target.client();
        other.send(packet("SET k v | WAITAOF 0 1 0"));
        assert_eq!(other.reply(), "+OK");
        let mut client = target.client();
        // A server has an append-only file, and this one has none.
        let lines = ["WAITAOF 5 0 0", "WAITAOF -1 1 0", "WAITAOF 1 0 0"];
        let mut said =
            lines.map(|line| client.ask_all(&format!("SET k v | {line}")).swap_remove(1));
        for words in &mut said {
            // A server without the command repeats the arguments in its error, including the
            // timeout.
            words.truncate(words.find(", with args").unwrap_or(words.len()));
        }
        said.into()
    });
}

/// Every reply is about the client's own write, or the error that it is unknown.
#[test]
fn many_clients_wait_at_once() {
    let (main, _replica) = pair();
    let proxy = Proxy::with(&main, &["--core-num=2", "--backend-pool.max-size=8"]);
    let run = |mut client: Wire, i: usize| {
        for round in 0..15 {
            let own = i % 2 == 1;
            let line = match own {
                false => format!("SET k{i} {round}"),
                true => format!("MULTI | SET k{i} {round} | EXEC"),
            };
            let replies = client.ask_all(&format!("{line} | WAIT 1 20000 | GET k{i}"));
            let [.., wait, get] = &replies[..] else {
                panic!("{replies:?}")
            };
            // Another client may have that connection now.
            assert!(wait == ":1" || own && wait == UNKNOWN, "{line}: {wait}");
            assert_eq!(*get, format!("${} {round}", round.to_string().len()));
        }
    };
    let threads: Vec<_> = (0..10)
        .map(|i| (i, proxy.client()))
        .map(|(i, client)| thread::spawn(move || run(client, i)))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn wait_errors_are_those_of_the_server() {
    let (main, _replica) = pair();
    compare_at(&main, |target| {
        let mut client = target.client();
        let mut said = Vec::new();
        for line in [
            "WAIT 1 20000 | WAIT x 1 | WAIT 1 x | WAIT 1 -1 | WAIT 1 | WAIT | WAIT 1 2 3 | ECHO x",
            "SET k v | WAIT 1 20000 | WAIT 5 5 | GET k | WAITAOF 0 0 0 | WAITAOF | PING",
            "WAIT 1 20000 | MULTI | GET k | WAIT 7 0 | EXEC | WAIT 1 20000",
            "SELECT 1 | SET k v | WAIT 1 20000 | SELECT 0 | SET k v | WAIT 1 20000",
        ] {
            // Otherwise the number of replicas would be random.
            in_step(target.redis());
            if line.contains("MULTI") {
                confirmed(target.redis());
            }
            said.extend(both_ways(&mut client, "SELECT 0", line));
        }
        client.send(array("SET k v"));
        said.extend(client.ask_all("WAIT 1 20000 | QUIT"));
        // A client that has changed its connection since, and has written nothing.
        let mut client = target.client();
        client.ask_all("GET k | SELECT 1 | GET k");
        said.extend(client.ask_all("WAIT 1 | WAIT x 1 | WAIT 1 x | WAIT 1 -1 | WAITAOF 1 0 x"));
        confirmed(target.redis());
        said.push(client.ask("WAIT 0 1"));
        said
    });
}
