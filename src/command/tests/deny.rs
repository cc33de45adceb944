//! Deny lists: by name, by sub-command, by category, and the commands that cannot be denied.

use super::{names, request};
use crate::command::category::TABLE;
use crate::command::{DenyList, UNDENIABLE, categories};
use crate::resp::Args;

fn compile(words: &str) -> Option<DenyList> {
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    DenyList::compile(&words)
}

/// The full name with which the request is denied; empty if it is allowed.
fn denied_name(denied: &DenyList, words: &str) -> String {
    let frame = request(words);
    let name = denied.denied_name(Args::new(&frame));
    name.map_or_else(String::new, |name| name.into_owned())
}

/// Checks requests, each with the full name with which it is denied; empty if it is allowed.
#[track_caller]
fn assert_denied(words: &str, requests: &[(&str, &str)]) {
    let denied = compile(words).expect("nothing is denied");
    for (request, name) in requests {
        assert_eq!(denied_name(&denied, request), *name, "{words}: {request}");
    }
}

#[test]
fn empty_list_denies_nothing() {
    for words in [
        "",
        "@unknown",
        "ping",
        "auth hello PING Client|SetName",
        "@",
    ] {
        assert_eq!(compile(words), None, "{words}");
    }
}

#[test]
fn name_denies_the_command_and_all_its_sub_commands() {
    assert_denied(
        "FLUSHALL config ft.search get",
        &[
            ("flushall", "flushall"),
            ("FlushAll ASYNC", "flushall"),
            ("flushdb", ""),
            ("flushal", ""),
            ("flushalll", ""),
            ("CONFIG", "config"),
            ("CONFIG SET a b", "config|set"),
            ("config Get *", "config|get"),
            ("config tomorrow", "config"),
            ("FT.SEARCH index *", "ft.search"),
            ("ft.info index", ""),
            ("get config", "get"),
            ("set config set", ""),
            ("", ""),
        ],
    );
}

#[test]
fn sub_command_is_denied_without_its_siblings() {
    assert_denied(
        "config|SET tomorrow|sub acl|tomorrow",
        &[
            ("CONFIG set a b", "config|set"),
            ("config get a", ""),
            ("config", ""),
            ("config sett", ""),
            ("set a b", ""),
            ("tomorrow SUB", "tomorrow|sub"),
            ("tomorrow", ""),
            ("acl tomorrow", "acl|tomorrow"),
            ("acl list", ""),
        ],
    );
}

#[test]
fn category_denies_its_commands() {
    assert_denied(
        "@dangerous @HASH",
        &[
            ("flushall", "flushall"),
            ("keys *", "keys"),
            ("HGETALL a", "hgetall"),
            ("hgetdel a fields 1 b", "hgetdel"),
            ("get a", ""),
            ("config set a b", "config|set"),
            ("config help", ""),
            ("client list", "client|list"),
            ("client id", ""),
            // An unknown sub-command whose siblings are dangerous.
            ("config tomorrow", "config"),
            ("client tomorrow", "client"),
            ("xgroup tomorrow", ""),
            ("tomorrow", ""),
            ("backup start", "backup"),
        ],
    );
    assert_denied(
        "@transaction",
        &[("multi", "multi"), ("exec", "exec"), ("eval 1 0", "")],
    );
    assert_denied("@set", &[("sadd a b", "sadd"), ("set a b", "")]);
}

#[test]
fn all_denies_known_and_unknown_commands() {
    let long = "X".repeat(200);
    assert_denied(
        "@all",
        &[
            ("get a", "get"),
            ("client KILL a", "client|kill"),
            ("client tomorrow", "client"),
            ("Tomorrow a", "tomorrow"),
            ("tomorrow\0\r\n", "tomorrow"),
            (&long, &"x".repeat(128)),
            ("", ""),
        ],
    );
    let all = compile("@all").unwrap();
    for (_, names) in TABLE {
        for name in names.split(' ').filter(|name| !UNDENIABLE.contains(name)) {
            assert_eq!(denied_name(&all, &name.replace('|', " ")), name);
        }
    }
}

#[test]
fn undeniable_commands_are_never_denied() {
    let named = UNDENIABLE.map(|name| format!("{name} ")).concat();
    let all: String = categories().map(|name| format!("@{name} ")).collect();
    for words in [
        all.as_str(),
        "@all",
        "@connection @fast @slow",
        "client flushall",
        &named,
    ] {
        let Some(denied) = compile(words) else {
            assert_eq!(words, named);
            continue;
        };
        for name in UNDENIABLE {
            let request = name.replace('|', " ");
            assert_eq!(
                denied_name(&denied, &format!("{request} x")),
                "",
                "{words}: {name}"
            );
            assert_eq!(
                denied_name(&denied, &request.to_uppercase()),
                "",
                "{words}: {name}"
            );
        }
    }
    assert_denied(
        "client",
        &[
            ("client no-evict on", "client|no-evict"),
            ("client", "client"),
        ],
    );
}

#[test]
fn every_command_is_fast_or_slow_and_sorted() {
    let words = |category: &str| {
        let row = TABLE.iter().find(|(name, _)| *name == category);
        row.unwrap().1.split(' ').collect::<Vec<_>>()
    };
    let (fast, slow) = (words("fast"), words("slow"));
    assert!(fast.iter().all(|name| !slow.contains(name)));
    for (category, _) in TABLE {
        let names = words(category);
        assert!(names.is_sorted_by(|a, b| a < b), "{category}");
        let one = |name: &&str| fast.contains(name) || slow.contains(name);
        let lost: Vec<_> = names.iter().filter(|name| !one(name)).collect();
        assert!(lost.is_empty(), "{category}: {lost:?}");
    }
    assert!(TABLE.is_sorted_by_key(|(category, _)| *category));
    let lists = [
        names::ANSWERED,
        names::DEDICATED,
        names::ADMIN,
        names::POLICY,
        names::PLAIN,
    ];
    for name in lists.concat() {
        let name = name.to_lowercase().replace(' ', "|");
        let name = if name.starts_with("sentinel|") {
            "sentinel"
        } else {
            &name
        };
        assert!(fast.contains(&name) || slow.contains(&name), "{name}");
    }
}
