//! Plans for the full list of commands, and the special cases of single commands.

use super::{names, plan_of, request, resp2};
use crate::command::table::{Class, ROWS, Row};
use crate::command::{Answer, Dedicated, Plan, Topic, client, lookup, plan};
use crate::resp::Args;

/// The plan of the command with a number of arguments that it accepts.
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
                Class::Dedicated(own) | Class::DedicatedIfOn(own, ..) => {
                    assert_eq!(plan, Plan::Dedicated(own))
                }
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
                Class::DedicatedIfBlocking => {
                    assert_eq!(
                        plan_of(&format!("{words} block 0 streams")),
                        Plan::Dedicated(Dedicated::Block)
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
fn names_similar_to_a_row_have_no_row() {
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
    // The conversion keeps the neighbours of the letters and bytes that are not ASCII.
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
fn commands_of_the_proxy_are_answered_or_executed() {
    for name in names::ANSWERED {
        let plan = plan_with_enough(name);
        let help_of_the_backend =
            name.ends_with(" HELP") && !["CLIENT HELP", "CLUSTER HELP"].contains(name);
        let of_the_backend = ["PING", "ECHO", "ROLE", "ACL WHOAMI"].contains(name);
        if help_of_the_backend || of_the_backend {
            assert_eq!(plan, Plan::Forward, "{name}");
        } else if name.starts_with("SLOWLOG") || name.starts_with("COMMANDLOG") {
            // The proxy has no slow log.
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
fn commands_with_connection_state_get_a_dedicated_connection() {
    for name in names::DEDICATED {
        let plan = plan_of(name);
        match *name {
            "EXEC" | "DISCARD" | "UNWATCH" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" | "SUNSUBSCRIBE" => {
                assert!(matches!(plan, Plan::Answer(_)), "{name}: {plan:?}");
            }
            "XREAD" | "XREADGROUP" => assert_eq!(plan, Plan::Forward),
            "CLIENT TRACKING" => {
                assert_eq!(plan, Plan::Answer(Answer::Arity("client|tracking")));
                assert_eq!(
                    plan_of("client tracking on"),
                    Plan::Dedicated(Dedicated::Tracking)
                );
            }
            "CLIENT IMPORT-SOURCE" => assert_eq!(plan, Plan::Dedicated(Dedicated::ImportSource)),
            "MULTI" => assert_eq!(plan, Plan::Dedicated(Dedicated::Multi)),
            "WATCH" => assert_eq!(plan, Plan::Dedicated(Dedicated::Watch)),
            "WAIT" | "WAITAOF" => assert_eq!(plan, Plan::Dedicated(Dedicated::Wait)),
            "SUBSCRIBE" => assert_eq!(plan, Plan::Dedicated(Dedicated::Subscribe(Topic::Channel))),
            "PSUBSCRIBE" => assert_eq!(plan, Plan::Dedicated(Dedicated::Subscribe(Topic::Pattern))),
            "SSUBSCRIBE" => assert_eq!(plan, Plan::Dedicated(Dedicated::Subscribe(Topic::Shard))),
            _ => assert_eq!(plan, Plan::Dedicated(Dedicated::Block), "{name}"),
        }
    }
}

#[test]
fn administrative_commands_are_not_forwarded() {
    const NEVER: [&str; 4] = ["PSYNC", "REPLCONF", "SCRIPT DEBUG", "SYNC"];
    for name in names::ADMIN {
        let full_name: &'static str = full_name(name).leak();
        let expected = match *name {
            "MONITOR" => Plan::Dedicated(Dedicated::Monitor),
            "SCRIPT KILL" => Plan::Dedicated(Dedicated::Bypass(Some("script|kill"))),
            "FUNCTION KILL" => Plan::Dedicated(Dedicated::Bypass(Some("function|kill"))),
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
fn all_other_commands_are_forwarded() {
    for name in names::POLICY.iter().chain(names::PLAIN) {
        let script = name.starts_with("EVAL") || name.starts_with("FCALL");
        let expected = match *name {
            "FUNCTION STATS" => Plan::Dedicated(Dedicated::Bypass(None)),
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
fn http_request_is_cross_protocol() {
    for words in ["POST / HTTP/1.1", "post", "Host: example.org", "HOST:"] {
        assert_eq!(plan_of(words), Plan::CrossProtocol);
    }
}

#[test]
fn connection_state_of_newer_servers_needs_a_dedicated_connection() {
    assert_eq!(
        plan_of("HIMPORT PREPARE u name email"),
        Plan::Dedicated(Dedicated::Prepare)
    );
    let marked = Plan::Never("debug|mark-internal-client");
    assert_eq!(plan_of("DEBUG MARK-INTERNAL-CLIENT"), marked);
    assert_eq!(plan_of("DEBUG SLEEP 1"), Plan::Admin("debug"));
    // This command turns the connection into a stream between the nodes of a cluster.
    assert_eq!(
        plan_of("CLUSTER SYNCSLOTS SYNC"),
        Plan::Answer(Answer::ClusterDisabled)
    );
}

#[test]
fn xread_blocks_only_with_its_option() {
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
        assert_eq!(plan_of(words), Plan::Dedicated(Dedicated::Block), "{words}");
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
fn only_tracking_on_needs_a_dedicated_connection() {
    let own = Plan::Dedicated(Dedicated::Tracking);
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
fn redirect_option_of_tracking_is_found() {
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
