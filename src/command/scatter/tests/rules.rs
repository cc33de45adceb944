//! Which shards execute a request.

use super::*;
use crate::command::slot::Slot;

/// The name of the rule for a request.
fn name_of(words: &str, cross_slot: CrossSlot) -> String {
    match rule(&request(words), cross_slot) {
        Rule::Slot(_) => "slot".to_owned(),
        Rule::AnyPrimary => "any".to_owned(),
        Rule::EveryPrimary(_) => "every".to_owned(),
        Rule::Slots(split) => format!("{} parts", split.count()),
        Rule::Refused(error) => error.text().into_owned(),
        Rule::Unknown => "unknown".to_owned(),
    }
}

const REFUSED: &str = "CROSSSLOT Keys in request don't hash to the same slot";

#[test]
fn setting_says_what_is_split() {
    for words in ["MGET a b", "exists a b", "Touch a b"] {
        assert_eq!(name_of(words, CrossSlot::Error), REFUSED, "{words}");
        assert_eq!(name_of(words, CrossSlot::Read), "2 parts", "{words}");
        assert_eq!(name_of(words, CrossSlot::All), "2 parts", "{words}");
    }
    for words in ["DEL a b", "unlink a b", "MSET a 1 b 2"] {
        assert_eq!(name_of(words, CrossSlot::Error), REFUSED, "{words}");
        assert_eq!(name_of(words, CrossSlot::Read), REFUSED, "{words}");
        assert_eq!(name_of(words, CrossSlot::All), "2 parts", "{words}");
    }
    assert_eq!(CrossSlot::default(), CrossSlot::Read);
    for (name, setting) in [
        ("error", Some(CrossSlot::Error)),
        ("read", Some(CrossSlot::Read)),
        ("all", Some(CrossSlot::All)),
        ("All", None),
        ("", None),
    ] {
        assert_eq!(CrossSlot::from_name(name), setting, "{name}");
    }
}

#[test]
fn keys_that_one_node_must_have_are_never_split() {
    for words in [
        "MSETNX a 1 b 2",
        "MSETEX 2 a 1 b 2 EX 5",
        "RENAME a b",
        "COPY a b",
        "SINTERSTORE a b c",
        "ZUNIONSTORE a 2 b c",
        "PFCOUNT a b",
        "EVAL s 2 a b",
        "BLPOP a b 0",
        "WATCH a b",
        "SSUBSCRIBE a b",
        "LCS a b",
        "SORT a STORE b",
    ] {
        assert_eq!(name_of(words, CrossSlot::All), REFUSED, "{words}");
    }
}

#[test]
fn keys_of_one_slot_need_no_parts() {
    let slot = Slot::of(b"a");
    for words in [
        "MGET a",
        "MGET {a}1 {a}2",
        "DEL a a",
        "MSET a 1 {a} 2",
        "MSET a 1 a",
    ] {
        for setting in [CrossSlot::Error, CrossSlot::Read, CrossSlot::All] {
            let rule = rule(&request(words), setting);
            assert!(matches!(rule, Rule::Slot(it) if it == slot), "{words}");
        }
    }
}

#[test]
fn key_without_value_is_refused_as_by_a_server_without_cluster_support() {
    let error = "ERR wrong number of arguments for 'mset' command";
    assert_eq!(name_of("MSET a 1 b", CrossSlot::All), error);
    assert_eq!(name_of("MSET a 1 b", CrossSlot::Read), REFUSED);
}

#[test]
fn every_primary_executes_what_is_about_the_whole_data_set() {
    for words in [
        "DBSIZE",
        "dbsize",
        "KEYS *",
        "FLUSHALL ASYNC",
        "INFO",
        "RANDOMKEY",
    ] {
        assert_eq!(name_of(words, CrossSlot::Error), "every", "{words}");
    }
    for words in [
        "SCRIPT LOAD x",
        "script flush",
        "CONFIG SET a b",
        "PUBSUB CHANNELS",
    ] {
        assert_eq!(name_of(words, CrossSlot::Error), "every", "{words}");
    }
}

#[test]
fn any_primary_executes_other_requests_without_keys() {
    for words in [
        "PING",
        "ECHO x",
        "TIME",
        "PUBLISH a b",
        "SCRIPT",
        "SCRIPT HELP",
        "CONFIG GET x",
        "FUNCTION LIST",
        "FUNCTION DUMP",
        "MEMORY STATS",
        "MEMORY DOCTOR",
        "SCAN 0",
        "MGET",
        "EVAL s 0",
        "DEL",
        "PUBSUB",
        "SLOWLOG HELP",
        "LATENCY DOCTOR",
        "COMMAND",
    ] {
        assert_eq!(name_of(words, CrossSlot::All), "any", "{words}");
    }
    assert_eq!(name_of("MODULE.COMMAND a b", CrossSlot::All), "unknown");
}

#[test]
fn bytes_that_are_no_request_have_a_rule() {
    for frame in [
        b"".as_slice(),
        b"*",
        b"*1\r\n",
        b"*9223372036854775807\r\n$4\r\nMGET\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc",
        b"*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$9\r\nb\r\n",
    ] {
        drop(rule(frame, CrossSlot::All));
    }
}
