//! Each command that the tips of `COMMAND` send to several nodes has a rule, or a reason for none.

use super::*;

/// The tips `request_policy` and `response_policy` of Redis 7.0 and 8.2 and of Valkey 9.1. Where
/// they differ, those of the newer servers.
const TIPS: &[(&str, &str, &str)] = &[
    ("acl|deluser", "all_nodes", "all_succeeded"),
    ("acl|save", "all_nodes", "all_succeeded"),
    ("acl|setuser", "all_nodes", "all_succeeded"),
    ("client|setinfo", "all_nodes", "all_succeeded"),
    ("client|setname", "all_nodes", "all_succeeded"),
    ("clusterscan", "special", "special"),
    ("cluster|slot-stats", "all_shards", ""),
    ("commandlog|get", "all_nodes", ""),
    ("commandlog|len", "all_nodes", "agg_sum"),
    ("commandlog|reset", "all_nodes", "all_succeeded"),
    ("config|resetstat", "all_nodes", "all_succeeded"),
    ("config|rewrite", "all_nodes", "all_succeeded"),
    ("config|set", "all_nodes", "all_succeeded"),
    ("dbsize", "all_shards", "agg_sum"),
    ("del", "multi_shard", "agg_sum"),
    ("exists", "multi_shard", "agg_sum"),
    ("flushall", "all_shards", "all_succeeded"),
    ("flushdb", "all_shards", "all_succeeded"),
    ("function|delete", "all_shards", "all_succeeded"),
    ("function|flush", "all_shards", "all_succeeded"),
    ("function|kill", "all_shards", "one_succeeded"),
    ("function|load", "all_shards", "all_succeeded"),
    ("function|restore", "all_shards", "all_succeeded"),
    ("function|stats", "all_shards", "special"),
    ("info", "all_shards", "special"),
    ("keys", "all_shards", ""),
    ("latency|doctor", "all_nodes", "special"),
    ("latency|graph", "all_nodes", "special"),
    ("latency|histogram", "all_nodes", "special"),
    ("latency|history", "all_nodes", "special"),
    ("latency|latest", "all_nodes", "special"),
    ("latency|reset", "all_nodes", "agg_sum"),
    ("memory|doctor", "all_shards", "special"),
    ("memory|malloc-stats", "all_shards", "special"),
    ("memory|purge", "all_shards", "all_succeeded"),
    ("memory|stats", "all_shards", "special"),
    ("mget", "multi_shard", ""),
    ("mset", "multi_shard", "all_succeeded"),
    ("msetex", "multi_shard", "all_succeeded"),
    ("msetnx", "multi_shard", "agg_min"),
    ("ping", "all_shards", "all_succeeded"),
    ("randomkey", "all_shards", "special"),
    ("scan", "special", "special"),
    ("script|exists", "all_shards", "agg_logical_and"),
    ("script|flush", "all_nodes", "all_succeeded"),
    ("script|kill", "all_shards", "one_succeeded"),
    ("script|load", "all_nodes", "all_succeeded"),
    ("slowlog|get", "all_nodes", ""),
    ("slowlog|len", "all_nodes", "agg_sum"),
    ("slowlog|reset", "all_nodes", "all_succeeded"),
    ("touch", "multi_shard", "agg_sum"),
    ("unlink", "multi_shard", "agg_sum"),
    ("wait", "all_shards", "agg_min"),
    ("waitaof", "all_shards", "agg_min"),
];

/// Commands that do not follow their tips, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "acl|deluser",
        "users are set up on all nodes, with the replicas, and not by clients",
    ),
    ("acl|save", "as ACL DELUSER"),
    ("acl|setuser", "as ACL DELUSER"),
    ("client|setinfo", "the proxy executes it"),
    ("client|setname", "the proxy executes it"),
    ("clusterscan", "the cursor says which shard is asked"),
    (
        "cluster|slot-stats",
        "clients see a server without cluster support",
    ),
    ("latency|doctor", "a report about one process"),
    ("latency|graph", "a report about one process"),
    ("latency|histogram", "a report about one process"),
    ("latency|history", "a report about one process"),
    ("latency|latest", "a report about one process"),
    ("memory|doctor", "a report about one process"),
    ("memory|malloc-stats", "a report about one process"),
    ("memory|stats", "a report about one process"),
    ("msetex", "with NX or XX all keys are set or none"),
    ("msetnx", "all keys are set or none"),
    ("ping", "any node can answer"),
    ("scan", "the cursor says which shard is asked"),
];

/// Commands with a tip that any of several policies fulfils.
const SPECIAL: &[(&str, ResponsePolicy)] = &[
    ("commandlog|get", ResponsePolicy::Entries),
    ("function|stats", ResponsePolicy::Running),
    ("info", ResponsePolicy::Info),
    ("keys", ResponsePolicy::Strings),
    ("mget", ResponsePolicy::Values),
    ("randomkey", ResponsePolicy::AnyKey),
    ("slowlog|get", ResponsePolicy::Entries),
    // For each of several numbers.
    ("script|exists", ResponsePolicy::EachAnd),
    ("waitaof", ResponsePolicy::EachMin),
];

/// The merge of a command that several shards execute, and whether it is split by its keys.
fn rule_of(name: &str) -> Option<(MergeRule, bool)> {
    let words = name.replace('|', " ");
    match rule(&request(&format!("{words} a 1 b 2")), CrossSlot::All) {
        Rule::Slots(split) => return Some((split.rule(), true)),
        Rule::EveryPrimary(rule) => return Some((rule, false)),
        _ => {}
    }
    // Behind a sub-command of MEMORY the server expects a key.
    match rule(&request(&words), CrossSlot::All) {
        Rule::EveryPrimary(rule) => Some((rule, false)),
        _ => None,
    }
}

#[test]
fn every_command_with_a_request_policy_has_a_rule_or_a_reason() {
    for (name, request_policy, response_policy) in TIPS {
        let exception = EXCEPTIONS.iter().find(|(known, _)| known == name);
        let Some((rule, is_split)) = rule_of(name) else {
            assert!(
                exception.is_some(),
                "{name} has neither a rule nor a reason"
            );
            continue;
        };
        assert_eq!(exception, None, "{name} has a rule");
        assert_eq!(is_split, *request_policy == "multi_shard", "{name}");
        let special = SPECIAL.iter().find(|(known, _)| known == name);
        let expected = match (special, *response_policy) {
            (Some((_, policy)), _) => *policy,
            (None, "agg_sum") => ResponsePolicy::Sum,
            (None, "agg_min") => ResponsePolicy::Min,
            (None, "all_succeeded") => ResponsePolicy::Same,
            (None, "one_succeeded") => ResponsePolicy::OneSucceeded,
            (None, other) => panic!("{name}: {other}"),
        };
        assert_eq!(rule.response, expected, "{name}");
    }
}

#[test]
fn exceptions_are_commands_with_a_request_policy() {
    let has_tips = |name: &str| TIPS.iter().any(|(known, ..)| *known == name);
    for (name, _) in EXCEPTIONS {
        assert!(has_tips(name), "{name}");
    }
    for (name, _) in SPECIAL {
        assert!(has_tips(name), "{name}");
    }
}
