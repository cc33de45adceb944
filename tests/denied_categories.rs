//! The categories of commands that can be denied, compared with those of a real redis-server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use elika::command::{DenyList, UNDENIABLE, categories};
use elika::resp::{Args, write};
use support::{Feature, Redis};

/// Commands that later versions have in a category, and Redis 7.0 has not.
const LATER: &[(&str, &str)] = &[("blocking", "wait")];

fn list(redis: &Redis, line: &str) -> BTreeSet<String> {
    // The lengths are between the names.
    let reply = redis.ask(line);
    let words = reply.split_whitespace().map(str::to_owned);
    words.filter(|word| !word.starts_with(['*', '$'])).collect()
}

/// The name by which a list denies a command. Some modules have names in capitals, and of a newer
/// server only the container may be known here.
fn name_in(denied: &DenyList, name: &str) -> Option<String> {
    let words: Vec<&[u8]> = name.split('|').map(str::as_bytes).collect();
    let mut frame = Vec::new();
    write::command(&mut frame, &words);
    let found = denied.denied_name(Args::new(&frame))?;
    let container = name.split('|').next().unwrap_or_default();
    assert!(
        found.eq_ignore_ascii_case(name) || found == container,
        "{found}"
    );
    Some(found.into_owned())
}

fn is_denied(denied: &DenyList, name: &str) -> bool {
    name_in(denied, name).is_some()
}

#[test]
fn categories_have_the_commands_of_the_server() {
    let redis = Redis::open();
    if redis.lacks(Feature::Functions) {
        return;
    }
    let all = list(&redis, "COMMAND LIST");
    assert!(all.len() > 300, "{all:?}");
    let is_container = |name: &str| {
        let prefix = format!("{name}|");
        all.iter().any(|other| other.starts_with(&prefix))
    };
    let exact = redis.ask("INFO server").contains("redis_version:7.0.");
    let compile = |category: &str| DenyList::compile(&[format!("@{category}")]).unwrap();
    let known = [compile("fast"), compile("slow")];
    for category in categories().filter(|name| *name != "all") {
        let here = compile(category);
        let there = list(&redis, &format!("COMMAND LIST FILTERBY ACLCAT {category}"));
        assert!(there.len() > 4, "{category}: {there:?}");
        // A container is never sent alone; a newer server has unknown commands.
        let names = all.iter().filter(|name| {
            let undeniable = UNDENIABLE.contains(&name.as_str());
            let is_known = |list| name_in(list, name).is_some_and(|it| it == **name);
            let known = known.iter().any(is_known);
            assert!(known || undeniable || !exact, "{name} has no category");
            known && !undeniable && !is_container(name)
        });
        for name in names {
            let expected = there.contains(name);
            let later = !exact || LATER.contains(&(category, name));
            let denied = is_denied(&here, name);
            assert!(
                denied == expected || (denied && later),
                "{name} in {category}: {expected}"
            );
        }
    }
}
