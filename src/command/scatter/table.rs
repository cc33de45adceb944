//! The commands that several shards execute.
//!
//! The rules follow the tips of the servers' `COMMAND` (`request_policy`, `response_policy`), with
//! these exceptions:
//!
//! | command | tips | here |
//! |---|---|---|
//! | MSETNX | `multi_shard` | never split: all keys are set or none |
//! | MSETEX | `multi_shard` | never split: with NX and XX it is as MSETNX |
//! | SCAN, CLUSTERSCAN | `special` | no parts: the cursor says which shard is asked |
//! | PING | `all_shards` | any primary |
//! | KEYS, SLOWLOG GET, COMMANDLOG GET | no `response_policy` | concatenated |
//! | RANDOMKEY | `special` | any key that a shard returns |
//! | FUNCTION STATS | `special` | the reply of a shard that runs a function |
//! | INFO | `special` | one node, with the keys of all: see [`info`](super::info) |
//! | SCRIPT EXISTS | `agg_logical_and` | for each script |
//! | WAITAOF | `agg_min` | for each of its two numbers |
//! | PUBSUB CHANNELS, SHARDCHANNELS | none | the union: a node knows only its own subscribers |
//! | PUBSUB NUMSUB, SHARDNUMSUB, NUMPAT | none | sums (1) |
//! | MEMORY DOCTOR, MALLOC-STATS, STATS | `special` | any primary: a report about one process |
//! | LATENCY, except for RESET | `special` | any primary: a report about one process |
//! | ACL SETUSER, DELUSER, SAVE | `all_nodes` | any primary (2) |
//! | CLIENT SETNAME, SETINFO | `all_nodes` | the proxy executes them |
//! | CLUSTER SLOT-STATS | `all_shards` | any primary: clients see no cluster |
//!
//! (1) NUMPAT counts a pattern once for each node with a subscriber, because it returns no names.
//! (2) Users are set up on all nodes of a cluster, also on its replicas, and not through the proxy.
//!
//! For other commands with `all_nodes`, the nodes are the primaries. WAIT, WAITAOF and the KILLs
//! need connections of their own, which the caller chooses; this module merges their replies.
//!
//! FUNCTION LIST and DUMP, EVAL without keys, CONFIG GET, TIME and PUBLISH have no
//! `request_policy`: any primary executes them.
//!
//! All other commands with keys in several slots are not split, because one node must have all
//! keys: RENAME, COPY, SINTERSTORE, ZUNIONSTORE, PFCOUNT, BLPOP, EVAL, WATCH. SSUBSCRIBE and
//! SUNSUBSCRIBE have channels in several slots, but not one reply that could be merged.

use super::policy::MergeRule;
use super::policy::ResponsePolicy::{
    self, AnyKey, EachAnd, EachMin, Entries, Info, Min, OneSucceeded, Running, Same, Strings, Sum,
    SumByName, Union, Values,
};
use crate::command::name_index::{self, NameIndex};
use crate::resp::Args;

/// The shards that execute a command.
enum Scope {
    /// One for each slot. A key with its value has `step` arguments.
    Keys {
        step: usize,
        rule: MergeRule,
    },
    EveryPrimary(MergeRule),
    /// Sub-commands, in lower case. Any primary executes those that are not named.
    Container(&'static [(&'static str, MergeRule)]),
}

const fn reads(response: ResponsePolicy) -> MergeRule {
    MergeRule {
        response,
        writes: false,
    }
}

const fn writes(response: ResponsePolicy) -> MergeRule {
    MergeRule {
        response,
        writes: true,
    }
}

const fn keys(step: usize, rule: MergeRule) -> Scope {
    Scope::Keys { step, rule }
}

/// Each command in lower case.
static ROWS: &[(&str, Scope)] = &[
    ("del", keys(1, writes(Sum))),
    ("exists", keys(1, reads(Sum))),
    ("mget", keys(1, reads(Values))),
    ("mset", keys(2, writes(Same))),
    ("touch", keys(1, reads(Sum))),
    ("unlink", keys(1, writes(Sum))),
    ("dbsize", Scope::EveryPrimary(reads(Sum))),
    ("flushall", Scope::EveryPrimary(writes(Same))),
    ("flushdb", Scope::EveryPrimary(writes(Same))),
    ("info", Scope::EveryPrimary(reads(Info))),
    ("keys", Scope::EveryPrimary(reads(Strings))),
    ("randomkey", Scope::EveryPrimary(reads(AnyKey))),
    ("wait", Scope::EveryPrimary(reads(Min))),
    ("waitaof", Scope::EveryPrimary(reads(EachMin))),
    (
        "commandlog",
        Scope::Container(&[
            ("get", reads(Entries)),
            ("len", reads(Sum)),
            ("reset", writes(Same)),
        ]),
    ),
    (
        "config",
        Scope::Container(&[
            ("resetstat", writes(Same)),
            ("rewrite", writes(Same)),
            ("set", writes(Same)),
        ]),
    ),
    (
        "function",
        Scope::Container(&[
            ("delete", writes(Same)),
            ("flush", writes(Same)),
            ("kill", reads(OneSucceeded)),
            ("load", writes(Same)),
            ("restore", writes(Same)),
            ("stats", reads(Running)),
        ]),
    ),
    ("latency", Scope::Container(&[("reset", writes(Sum))])),
    ("memory", Scope::Container(&[("purge", writes(Same))])),
    (
        "pubsub",
        Scope::Container(&[
            ("channels", reads(Union)),
            ("numpat", reads(Sum)),
            ("numsub", reads(SumByName)),
            ("shardchannels", reads(Union)),
            ("shardnumsub", reads(SumByName)),
        ]),
    ),
    (
        "script",
        Scope::Container(&[
            ("exists", reads(EachAnd)),
            ("flush", writes(Same)),
            ("kill", reads(OneSucceeded)),
            ("load", writes(Same)),
        ]),
    ),
    (
        "slowlog",
        Scope::Container(&[
            ("get", reads(Entries)),
            ("len", reads(Sum)),
            ("reset", writes(Same)),
        ]),
    ),
];

static INDEX: NameIndex<{ ROWS.len() }, 128> = NameIndex::of(index_keys());

const fn index_keys() -> [u128; ROWS.len()] {
    let mut keys = [0; ROWS.len()];
    let mut row = 0;
    while row < ROWS.len() {
        let key = name_index::key(ROWS[row].0.as_bytes());
        assert!(key.is_some(), "a name in the table is too long");
        if let Some(key) = key {
            keys[row] = key;
        }
        row += 1;
    }
    keys
}

/// How the replies are merged when every primary executes the request.
pub(super) fn of_every_primary(mut args: Args<'_>) -> Option<MergeRule> {
    match ROWS.get(INDEX.find(args.next()?)?)? {
        (_, Scope::EveryPrimary(rule)) => Some(*rule),
        (_, Scope::Container(subs)) => {
            let sub = args.next()?;
            let is = |(name, _): &&(&str, _)| name.as_bytes().eq_ignore_ascii_case(sub);
            subs.iter().find(is).map(|(_, rule)| *rule)
        }
        (_, Scope::Keys { .. }) => None,
    }
}

/// The name of a command that is split by its keys, the number of arguments of each key, and how
/// the replies are merged.
pub(super) fn of_keys(mut args: Args<'_>) -> Option<(&'static str, usize, MergeRule)> {
    match ROWS.get(INDEX.find(args.next()?)?)? {
        (name, Scope::Keys { step, rule }) => Some((name, *step, *rule)),
        _ => None,
    }
}
