//! Transactions: MULTI, EXEC, DISCARD and WATCH are those of a direct connection.

mod support;

use support::{Feature, Proxy, Redis, TENANT, array, both_ways, commands, compare, packet};

const NOT_INSIDE: &str = "-ERR Command not allowed inside a transaction";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.";

#[test]
fn transaction_in_one_packet_works() {
    let said = compare(|target| {
        let mut client = target.client();
        client.ask_all(
            "SET a 1 | MULTI | INCR a | GET a | EXEC | GET a | MULTI | EXEC | MULTI | DISCARD | \
             MULTI | SET a 5 | DISCARD | GET a | MULTI | HSET h f v | HGETALL h | GET none | \
             ZADD z 1.5 m | ZSCORE z m | EXEC",
        )
    });
    let [two, three] = said;
    assert_eq!(
        two[..8],
        [
            "+OK",
            "+OK",
            "+QUEUED",
            "+QUEUED",
            "*2 :2 $1 2",
            "$1 2",
            "+OK",
            "*0"
        ]
    );
    assert_eq!(two[20], "*5 :1 *2 $1 f $1 v $-1 :1 $3 1.5");
    assert_eq!(three[20], "*5 :1 %1 $1 f $1 v _ :1 ,1.5");
}

#[test]
fn transaction_errors_are_those_of_the_server() {
    let said = compare(|target| {
        let mut client = target.client();
        let mut said = Vec::new();
        for lines in [
            // While the command is queued.
            "MULTI | NOSUCH a | SET a 1 | EXEC | GET a",
            "MULTI | SET a | EXEC | EXEC | GET a",
            "MULTI | MULTI | SET a 2 | EXEC | GET a",
            "MULTI | WATCH a | SET a 3 | EXEC | GET a",
            "MULTI | UNWATCH | SET a 4 | EXEC | GET a",
            "MULTI | NOSUCH | DISCARD | SET a 5 | GET a",
            // When the command is executed.
            "MULTI | SET a x | INCR a | LPUSH a 1 | SET b 1 | EXEC | GET b",
            // The transaction commands themselves.
            "EXEC | DISCARD | UNWATCH | EXEC x | DISCARD x | MULTI x | WATCH | UNWATCH x",
            "MULTI | EXEC x | SET a 6 | GET a",
            "MULTI | SET a 7 | EXEC x | EXEC",
            "MULTI | MULTI x | SET a 8 | EXEC | GET a",
            "MULTI | DISCARD x | SET a 9 | EXEC | GET a",
            "WATCH a | EXEC | DISCARD | MULTI | SET a 10 | EXEC | GET a",
            "WATCH | MULTI | PING | EXEC",
        ] {
            said.extend(both_ways(&mut client, "FLUSHALL", lines));
        }
        said
    });
    for said in said {
        assert_eq!(said[4], ABORTED);
    }
}

#[test]
fn watched_keys_abort_the_transaction() {
    let said = compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        let mut said = Vec::new();
        for (before, between, changed) in [
            ("WATCH k", "SET k 2", true),
            ("WATCH k", "SET l 2", false),
            ("WATCH a b k", "DEL k", true),
            ("WATCH k | UNWATCH", "SET k 2", false),
            ("WATCH k | UNWATCH | WATCH l", "SET k 2", false),
            ("WATCH k | WATCH l", "SET k 2", true),
            ("WATCH k | MULTI | EXEC", "SET k 2", false),
            ("WATCH k | MULTI | DISCARD", "SET k 2", false),
            ("WATCH k | EXEC", "SET k 2", true),
            ("WATCH k | DISCARD", "SET k 2", true),
            ("WATCH k | GET k | PING", "FLUSHALL", true),
            ("WATCH k | SET k 3", "PING", true),
            (
                "WATCH k | CLIENT SETNAME n | CLIENT GETNAME",
                "SET k 2",
                true,
            ),
            ("WATCH k | ECHO x | RESET", "SET k 2", false),
        ] {
            client.ask("SET k 1");
            said.extend(commands(before).map(|line| client.ask(line)));
            if target.is_resp3() {
                // RESET may have been among them.
                client.ask("HELLO 3");
            }
            said.push(other.ask(between));
            let replies = client.ask_all("MULTI | GET k | ECHO done | EXEC");
            let null = if target.is_resp3() { "_" } else { "*-1" };
            assert_eq!(
                replies[3] == null,
                changed,
                "{before:?}, {between}: {replies:?}"
            );
            said.extend(replies);
        }
        said
    });
    assert_eq!(said[0].len(), said[1].len());
}

/// A later client has neither, on any connection.
#[test]
fn watch_and_transaction_end_with_their_client() {
    let redis = Redis::open();
    for options in [
        &["--core-num=1", "--backend-pool.max-idle=1"][..],
        &["--core-num=2"],
    ] {
        let proxy = Proxy::with(&redis, options);
        let mut other = proxy.client();
        for round in 0..30 {
            let mut client = proxy.client();
            match round % 6 {
                0 => assert_eq!(client.ask("WATCH k"), "+OK"),
                1 => client.send(array("WATCH k")),
                2 => {
                    client.send(packet("WATCH k | MULTI | SET k evil"));
                    client.finish_sending();
                    assert_eq!(client.replies(3), ["+OK", "+OK", "+QUEUED"]);
                }
                3 => assert_eq!(client.ask_all("WATCH k | QUIT"), ["+OK", "+OK"]),
                4 => client.send(packet("MULTI | SET k evil")),
                _ => client.send(packet("WATCH k | RESET")),
            }
            drop(client);
            let mut next = proxy.client();
            assert_eq!(next.ask("ECHO x"), "$1 x");
            assert_eq!(next.ask("MULTI"), "+OK");
            assert_eq!(other.ask(&format!("SET k {round}")), "+OK");
            assert_eq!(next.ask("ECHO x"), "+QUEUED");
            assert_eq!(next.ask("EXEC"), "*1 $1 x", "round {round}");
            assert_eq!(
                next.ask("GET k"),
                format!("${} {round}", round.to_string().len())
            );
        }
    }
}

#[test]
fn select_inside_multi_takes_effect_at_exec() {
    compare(|target| {
        let (mut client, mut other) = (target.client(), target.client());
        for db in 0..4 {
            let replies = other.ask_all(&format!("SELECT {db} | SET db {db}"));
            assert_eq!(replies, ["+OK", "+OK"]);
        }
        let mut said = Vec::new();
        for lines in [
            "MULTI | SELECT 1 | SET x 1 | EXEC | GET db | GET x",
            "MULTI | GET db | SELECT 2 | GET db | SELECT 3 | EXEC | GET db | SELECT 1",
            // It has no effect if nothing is executed, or if its element is an error.
            "MULTI | SELECT 2 | NOSUCH | EXEC | GET db",
            "MULTI | SELECT 2 | DISCARD | GET db",
            "MULTI | SELECT 99 | GET db | EXEC | GET db",
            "MULTI | SELECT x | GET db | EXEC | GET db",
            "MULTI | SELECT | GET db | EXEC | GET db",
            "MULTI | SELECT 2 | SELECT 99 | EXEC | GET db | SELECT 0 | GET db",
        ] {
            said.extend(both_ways(&mut client, "SELECT 0", lines));
        }
        // The reply of the backend is null.
        client.ask("SELECT 0");
        said.extend(client.ask_all("WATCH w | MULTI | SELECT 2"));
        said.extend(other.ask_all("SELECT 0 | SET w 1"));
        said.extend(client.ask_all("EXEC | GET db"));
        assert_eq!(said.last().unwrap(), "$1 0");
        // Other clients are not affected: neither on the shared connection nor on this one later.
        let mut next = target.client();
        said.extend(next.ask_all("GET db | MULTI | GET db | EXEC"));
        assert_eq!(said.last().unwrap(), "*1 $1 0");
        said
    });
}

/// A command that the proxy answers has its element in EXEC's reply, with the reply that it has
/// outside.
#[test]
fn proxy_replies_are_elements_of_exec() {
    let (redis, proxy) = Redis::open().proxied(&["--core-num=2"]);
    let old = redis.lacks(Feature::Functions);
    for hello in ["HELLO 2", "HELLO 3"] {
        let mut client = proxy.client_as("ann", "annpw");
        client.ask(hello);
        // A server without NO-EVICT replies an error, and outside of MULTI the proxy replies.
        let eviction = match old {
            true => "",
            false => "CLIENT NO-EVICT ON | CLIENT NO-EVICT MAYBE | ",
        };
        let lines = &format!(
            "CLIENT ID | ACL WHOAMI | PING | PING hello | ECHO x | CLIENT GETNAME | ROLE | \
             CLIENT GETREDIR | {eviction}READONLY | CLUSTER INFO | CLIENT TRACKINGINFO | \
             SELECT 0 | GET none | CLIENT HELP"
        );
        let outside = client.ask_all(lines);
        for round in 0..2 {
            client.send(packet(&format!("MULTI | {lines} | EXEC")));
            assert_eq!(client.reply(), "+OK");
            for line in commands(lines) {
                assert_eq!(client.reply(), "+QUEUED", "{line}, {hello}");
            }
            client.expect(format!("*{}\r\n", outside.len()));
            for (line, wanted) in commands(lines).zip(&outside) {
                assert_eq!(client.reply(), *wanted, "{line}, {hello}, {round}");
            }
        }
        // In the order of execution.
        client.send(packet(
            "MULTI | CLIENT GETNAME | CLIENT SETNAME me | CLIENT GETNAME | CLIENT INFO | \
             SELECT 3 | CLIENT INFO | EXEC",
        ));
        client.replies(7);
        client.expect("*6\r\n");
        let null = if hello == "HELLO 2" { "$-1" } else { "_" };
        assert_eq!(client.replies(3), [null, "+OK", "$2 me"]);
        let id = outside[0].trim_start_matches(':');
        let info = client.reply();
        assert!(
            info.contains(&format!("id={id} ")) && info.contains(" name=me "),
            "{info}"
        );
        assert!(info.contains(" db=0 "), "{info}");
        assert_eq!(client.reply(), "+OK");
        assert!(client.reply().contains(" db=3 "));
        assert_eq!(client.ask("CLIENT GETNAME"), "$2 me");
        // Discarded commands are not executed.
        let replies = client.ask_all("MULTI | CLIENT SETNAME no | DISCARD | CLIENT GETNAME");
        assert_eq!(replies, ["+OK", "+QUEUED", "+OK", "$2 me"]);
    }
}

#[test]
fn refused_commands_abort_the_transaction() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client_as("ann", "annpw");
    let refused = "AUTH bob bobpw | AUTH x | HELLO | HELLO 3 | SUBSCRIBE c | PSUBSCRIBE c | \
                   SSUBSCRIBE c | UNSUBSCRIBE | PUNSUBSCRIBE c | SUNSUBSCRIBE | CLIENT REPLY OFF | \
                   CLIENT REPLY SKIP | CLIENT LIST | CLIENT KILL ID 1 | CLIENT UNBLOCK 1 | \
                   CLIENT TRACKING ON | CLIENT TRACKING OFF | MONITOR";
    for line in commands(refused) {
        // Some servers refuse some of them too.
        let [_, said, _] = &redis.direct().ask_all(&format!("MULTI | {line} | DISCARD"))[..] else {
            panic!("{line}");
        };
        if said.starts_with("-ERR unknown command") {
            // This server does not have the command.
            continue;
        }
        let refusal = match said.starts_with("+QUEUED") {
            true => NOT_INSIDE,
            false => said,
        };
        for at_once in [false, true] {
            let lines = format!("MULTI | SET k v | {line} | SET l v | EXEC | EXISTS k l");
            let replies = match at_once {
                true => client.ask_all(&lines),
                false => commands(&lines).map(|line| client.ask(line)).collect(),
            };
            let wanted = ["+OK", "+QUEUED", refusal, "+QUEUED", ABORTED, ":0"];
            assert_eq!(replies, wanted, "{line}, {at_once}");
        }
        assert_eq!(client.ask("MULTI"), "+OK");
        assert_eq!(client.ask(line), refusal, "{line}");
        assert_eq!(client.ask("DISCARD"), "+OK");
        assert_eq!(client.ask("ACL WHOAMI"), "$3 ann");
    }
    assert_eq!(client.ask("MULTI"), "+OK");
    let reply = client.ask("SYNC");
    assert_eq!(
        reply,
        "-NOPERM User ann has no permissions to run the 'sync' command"
    );
    assert_eq!(client.ask("EXEC"), ABORTED);
    let strict = Proxy::with(&redis, &["--admin-commands=deny"]);
    let mut client = strict.client_as("ann", "annpw");
    let replies = client.ask_all("MULTI | SET k v | CONFIG RESETSTAT | EXEC | EXISTS k");
    let refused = "-NOPERM User ann has no permissions to run the 'config|resetstat' command";
    assert_eq!(replies, ["+OK", "+QUEUED", refused, ABORTED, ":0"]);
}

#[test]
fn reset_and_quit_end_a_transaction() {
    compare(|target| {
        let mut client = target.client();
        let mut said = Vec::new();
        for lines in [
            "SELECT 1 | MULTI | SET k v | RESET | GET k | SET k w | GET k",
            "WATCH k | MULTI | RESET | EXEC | PING",
            "MULTI | RESET | MULTI | GET k | EXEC",
            // Inside a transaction they do not block.
            "MULTI | BLPOP none 0 | XREAD BLOCK 0 STREAMS none $ | WAIT 5 0 | EXEC | PING",
        ] {
            said.extend(both_ways(&mut client, "FLUSHALL", lines));
        }
        said.extend(client.ask_all("MULTI | SET k v | QUIT"));
        client.expect_end();
        said.push(target.client().ask("GET k"));
        said
    });
}

#[test]
fn client_reply_off_applies_inside_multi() {
    compare(|target| {
        let mut client = target.client();
        let mut said = Vec::new();
        for (lines, count) in [
            (
                "CLIENT REPLY OFF | MULTI | INCR n | SELECT 1 | EXEC | CLIENT REPLY ON | INCR n",
                2,
            ),
            ("SELECT 0 | CLIENT REPLY SKIP | MULTI | INCR n | EXEC", 3),
            (
                "MULTI | INCR n | INCR n | EXEC | CLIENT REPLY SKIP | MULTI | DISCARD | GET n",
                6,
            ),
            (
                "CLIENT REPLY OFF | MULTI | CLIENT SETNAME me | CLIENT ID | CLIENT INFO | GET n | EXEC | CLIENT REPLY ON | CLIENT GETNAME",
                2,
            ),
            (
                "CLIENT REPLY OFF | WATCH n | MULTI | NOSUCH | EXEC | CLIENT REPLY ON | EXEC",
                2,
            ),
        ] {
            client.send(packet(lines));
            said.extend(client.replies(count));
        }
        said.push(client.ask("PING"));
        said
    });
}

/// The state stays with the client while its session changes.
#[test]
fn session_may_change_while_keys_are_watched() {
    let said = compare(|target| {
        let mut said = Vec::new();
        for lines in [
            "SELECT 1 | SET k mine | SELECT 1",
            "SELECT 99 | SELECT x | SELECT",
            "HELLO 3 | HGETALL none",
            "HELLO 2 | HGETALL none",
            "HELLO 9 | HELLO 3 NONSENSE | HELLO x",
            "AUTH bob bobpw | ACL WHOAMI",
            "AUTH bob wrong | AUTH nobody x | AUTH gone gonepw | ACL WHOAMI",
            "HELLO 3 AUTH ann annpw SETNAME me | CLIENT GETNAME | ACL WHOAMI",
            "HELLO 3 AUTH ann wrong | ACL WHOAMI",
            "AUTH reader readerpw | SET k v | ACL WHOAMI",
        ] {
            let (mut client, mut other) = (target.client(), target.client());
            for change in ["SET k 2", "SET l 2"] {
                said.push(other.ask("SET k 1"));
                said.push(client.ask("WATCH k"));
                // The id of the connection differs in every run.
                let hide = |reply: String| match reply.split_once(" $2 id :") {
                    Some((before, rest)) => format!("{before} {}", rest.split_once(' ').unwrap().1),
                    None => reply,
                };
                said.extend(commands(lines).map(|line| hide(client.ask(line))));
                said.push(other.ask(change));
                said.extend(client.ask_all("MULTI | GET k | SELECT 0 | EXEC | GET k"));
            }
        }
        said
    });
    assert_eq!(said[0][9..11], ["*-1", "$4 mine"], "{:?}", said[0]);
    // The tenant's name leads to the same server, so the watch stays.
    let (redis, proxy) = Redis::open().proxied(&[]);
    let mut client = proxy.client();
    assert_eq!(client.ask("WATCH k"), "+OK");
    assert_eq!(client.ask(&format!("AUTH {TENANT}.bob bobpw")), "+OK");
    assert_eq!(redis.ask("SET k v"), "+OK");
    let replies = client.ask_all("MULTI | ACL WHOAMI | EXEC | ACL WHOAMI");
    assert_eq!(replies, ["+OK", "+QUEUED", "*-1", "$3 bob"]);
}
