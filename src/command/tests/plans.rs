//! Plans against the full list of command names, and the traps of single commands.

use super::{names, plan_of, request, resp2};
use crate::command::table::{Class, ROWS, Row};
use crate::command::{Answer, Own, Plan, Topic, client, lookup, plan};
use crate::resp::Args;

/// The plan with as many arguments as the command wants.
fn plan_with_enough(words: &str) -> Plan {
    let mut words = words.to_owned();
    for _ in 0..3 {
        let plan = plan_of(&words);
        if !matches!(plan, Plan::Answer(Answer::Arity(_))) {
            return plan;
        }
        words.push_str(" x");
    }
    panic!("no number of arguments is right: {words}")
}

/// `Config Set` -> `config|set`.
fn full_name(name: &str) -> String {
    name.to_lowercase().replace(' ', "|")
}

#[test]
fn every_row_is_found_in_any_case() {
    fn check(row: &'static Row, words: &str) {
        let mixed: String = words
            .chars()
            .enumerate()
            .map(|(i, c)| {
                if i % 2 == 0 {
                    c.to_ascii_uppercase()
                } else {
                    c
                }
            })
            .collect();
        for words in [words, &words.to_uppercase(), &mixed] {
            let plan = plan_of(&format!("{words} on"));
            match row.class {
                Class::Own(own) | Class::OwnIfOn(own, ..) => assert_eq!(plan, Plan::Own(own)),
                Class::Script => assert_eq!(plan, Plan::Script),
                Class::Admin => assert_eq!(plan, Plan::Admin(row.name)),
                Class::AdminIfSecret => {
                    assert_eq!(plan, Plan::Forward);
                    let plan = plan_of(&format!("{words} maxmemory masterauth"));
                    assert_eq!(plan, Plan::Admin(row.name));
                }
                Class::Never => assert_eq!(plan, Plan::Never(row.name)),
                Class::CrossProtocol => assert_eq!(plan, Plan::CrossProtocol),
                Class::Answer(answer, _) => {
                    assert_eq!(plan_with_enough(words), Plan::Answer(answer));
                }
                Class::Session(session, _) => {
                    assert_eq!(plan_with_enough(words), Plan::Session(session));
                }
                Class::OwnIfBlocking => {
                    assert_eq!(
                        plan_of(&format!("{words} block 0 streams")),
                        Plan::Own(Own::Block)
                    );
                }
                Class::Container(subs, _) => {
                    for sub in subs {
                        assert!(
                            sub.name.starts_with(&format!("{}|", row.name)),
                            "{}",
                            sub.name
                        );
                        check(sub, &sub.name.replace('|', " "));
                    }
                }
            }
        }
    }
    for row in ROWS {
        check(row, row.name);
        assert_eq!(lookup::find(row.name.as_bytes()).unwrap().name, row.name);
    }
}

#[test]
fn near_misses_have_no_row() {
    let names: [&[u8]; 9] = [
        b"",
        b"pin",
        b"pings",
        b"ping\0",
        b"p\0ng",
        b"PING ",
        b"q\x95it",
        b"bgrewriteaofbgrewriteaof",
        b"restore-asking\0",
    ];
    for name in names {
        assert!(lookup::find(name).is_none(), "{name:?}");
    }
    // What folding must leave alone: the neighbours of the letters, and bytes that are not ASCII.
    for row in ROWS {
        for at in 0..row.name.len() {
            for byte in 0..=u8::MAX {
                let mut name = row.name.as_bytes().to_vec();
                name[at] = byte;
                let same = |row: &&Row| row.name.as_bytes().eq_ignore_ascii_case(&name);
                let expected = ROWS.iter().find(same).map(|row| row.name);
                assert_eq!(
                    lookup::find(&name).map(|row| row.name),
                    expected,
                    "{name:?}"
                );
            }
        }
    }
}

#[test]
fn answered_names_are_answered() {
    for name in names::ANSWERED {
        let plan = plan_with_enough(name);
        let help_of_the_backend =
            name.ends_with(" HELP") && !["CLIENT HELP", "CLUSTER HELP"].contains(name);
        let of_the_backend = ["PING", "ECHO", "ROLE", "ACL WHOAMI"].contains(name);
        if help_of_the_backend || of_the_backend {
            assert_eq!(plan, Plan::Forward, "{name}");
        } else if name.starts_with("SLOWLOG") || name.starts_with("COMMANDLOG") {
            // The proxy keeps no log of its own, and does not pretend to.
            assert!(
                matches!(plan, Plan::Admin(full) if full == full_name(name)),
                "{name}"
            );
        } else {
            assert!(
                matches!(plan, Plan::Answer(_) | Plan::Session(_)),
                "{name}: {plan:?}"
            );
        }
    }
}

#[test]
fn own_names_get_a_connection_of_their_own() {
    for name in names::OWN {
        let plan = plan_of(name);
        match *name {
            "EXEC" | "DISCARD" | "UNWATCH" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE" => {
                assert!(matches!(plan, Plan::Answer(_)), "{name}: {plan:?}");
            }
            "XREAD" | "XREADGROUP" => assert_eq!(plan, Plan::Forward),
            "CLIENT TRACKING" => {
                assert_eq!(plan, Plan::Answer(Answer::Arity("client|tracking")));
                assert_eq!(plan_of("client tracking on"), Plan::Own(Own::Tracking));
            }
            "CLIENT IMPORT-SOURCE" => assert_eq!(plan, Plan::Own(Own::ImportSource)),
            "MULTI" => assert_eq!(plan, Plan::Own(Own::Multi)),
            "WATCH" => assert_eq!(plan, Plan::Own(Own::Watch)),
            "WAIT" | "WAITAOF" => assert_eq!(plan, Plan::Own(Own::Wait)),
            "SUBSCRIBE" => assert_eq!(plan, Plan::Own(Own::Subscribe(Topic::Channel))),
            "PSUBSCRIBE" => assert_eq!(plan, Plan::Own(Own::Subscribe(Topic::Pattern))),
            "SSUBSCRIBE" => assert_eq!(plan, Plan::Own(Own::Subscribe(Topic::Shard))),
            _ => assert_eq!(plan, Plan::Own(Own::Block), "{name}"),
        }
    }
}

#[test]
fn administrative_names_are_administrative() {
    const NEVER: [&str; 4] = ["PSYNC", "REPLCONF", "SCRIPT DEBUG", "SYNC"];
    for name in names::ADMIN {
        let full_name: &'static str = full_name(name).leak();
        let expected = match *name {
            "MONITOR" => Plan::Own(Own::Monitor),
            "SCRIPT KILL" => Plan::Own(Own::Apart(Some("script|kill"))),
            "FUNCTION KILL" => Plan::Own(Own::Apart(Some("function|kill"))),
            name if name.starts_with("SENTINEL ") => Plan::Admin("sentinel"),
            name if NEVER.contains(&name) => Plan::Never(full_name),
            _ => Plan::Admin(full_name),
        };
        assert_eq!(plan_of(name), expected, "{name}");
        assert_eq!(
            plan_of(&format!("{name} some more arguments")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn all_other_names_are_forwarded() {
    for name in names::POLICY.iter().chain(names::PLAIN) {
        let script = name.starts_with("EVAL") || name.starts_with("FCALL");
        let expected = match *name {
            "FUNCTION STATS" => Plan::Own(Own::Apart(None)),
            _ if script => Plan::Script,
            _ => Plan::Forward,
        };
        assert_eq!(plan_of(name), expected, "{name}");
        assert_eq!(plan_of(&format!("{name} k 1 block")), expected, "{name}");
    }
    for name in [
        "NOSUCHCOMMAND",
        "JSON.GET",
        "FT.SEARCH",
        "",
        "HIMPORT SET",
        "CONFIG",
        "ACL NEW",
    ] {
        assert_eq!(plan_of(name), Plan::Forward, "{name}");
    }
    assert_eq!(plan(Args::new(b"")), Plan::Forward);
}

#[test]
fn http_is_recognised() {
    for words in ["POST / HTTP/1.1", "post", "Host: example.org", "HOST:"] {
        assert_eq!(plan_of(words), Plan::CrossProtocol);
    }
}

#[test]
fn connection_state_of_newer_servers_is_kept_off_shared_connections() {
    assert_eq!(
        plan_of("HIMPORT PREPARE u name email"),
        Plan::Own(Own::Prepare)
    );
    let marked = Plan::Never("debug|mark-internal-client");
    assert_eq!(plan_of("DEBUG MARK-INTERNAL-CLIENT"), marked);
    assert_eq!(plan_of("DEBUG SLEEP 1"), Plan::Admin("debug"));
    // Turns a connection into a stream between the nodes of a cluster.
    assert_eq!(
        plan_of("CLUSTER SYNCSLOTS SYNC"),
        Plan::Answer(Answer::ClusterDisabled)
    );
}

#[test]
fn reads_of_streams_block_only_with_the_option() {
    for words in [
        "XREAD BLOCK 0 STREAMS s $",
        "xread count 2 block 100 streams s $",
        "XREAD COUNT block BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
        "XREADGROUP BLOCK 0 GROUP g c STREAMS s >",
        "XREADGROUP GROUP streams streams NOACK BLOCK 0 STREAMS s >",
        "XREADGROUP GROUP g c CLAIM 5 COUNT 1 BLOCK 0 STREAMS s >",
        "XREADGROUP GROUP g c SOMEDAY BLOCK 0 STREAMS s >",
    ] {
        assert_eq!(plan_of(words), Plan::Own(Own::Block), "{words}");
    }
    for words in [
        "XREAD STREAMS block 0",
        "XREAD STREAMS block block 0 0",
        "XREAD COUNT 1 STREAMS s BLOCK",
        "XREADGROUP GROUP block block STREAMS s >",
        "XREADGROUP GROUP g block NOACK COUNT block STREAMS block >",
        "XREADGROUP GROUP g c CLAIM block STREAMS s >",
        "XREADGROUP GROUP",
        "XREAD COUNT",
    ] {
        assert_eq!(plan_of(words), Plan::Forward, "{words}");
    }
}

#[test]
fn tracking_needs_a_connection_only_when_it_goes_on() {
    let own = Plan::Own(Own::Tracking);
    assert_eq!(plan_of("CLIENT TRACKING ON"), own);
    assert_eq!(
        plan_of("client tracking on bcast prefix redirect noloop"),
        own
    );
    assert_eq!(
        plan_of("CLIENT TRACKING ON NONSENSE"),
        own,
        "the backend refuses it"
    );
    assert_eq!(plan_of("CLIENT TRACKING ON BCAST REDIRECT 5"), own);
    assert_eq!(resp2("CLIENT TRACKING OFF"), "+OK\r\n");
    assert_eq!(
        resp2("CLIENT TRACKING off bcast prefix x optin redirect 3"),
        "+OK\r\n"
    );
    assert_eq!(resp2("CLIENT TRACKING off prefix"), "-ERR syntax error\r\n");
    assert_eq!(resp2("CLIENT TRACKING off what"), "-ERR syntax error\r\n");
    assert_eq!(resp2("CLIENT TRACKING maybe"), "-ERR syntax error\r\n");
}

#[test]
fn the_client_to_redirect_to_is_found_by_its_option() {
    let redirect = |words: &str| client::redirect_of(Args::new(&request(words)));
    assert_eq!(redirect("CLIENT TRACKING ON REDIRECT 5"), Some((4, 5)));
    assert_eq!(
        redirect("CLIENT TRACKING ON BCAST PREFIX redirect redirect 7 NOLOOP"),
        Some((7, 7))
    );
    assert_eq!(
        redirect("CLIENT TRACKING ON REDIRECT 5 REDIRECT 6"),
        Some((6, 6))
    );
    assert_eq!(redirect("CLIENT TRACKING ON BCAST PREFIX redirect"), None);
    assert_eq!(redirect("CLIENT TRACKING ON REDIRECT me"), None);
    assert_eq!(redirect("CLIENT TRACKING ON REDIRECT"), None);
}
