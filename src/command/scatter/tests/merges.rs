//! How replies become one, for each policy.

use super::*;
use crate::resp::Protocol::{Resp2, Resp3};

const UNEXPECTED: &str = "-ERR elika: unexpected reply from a shard\r\n";

/// The reply to a split request, with a reply of each part.
fn gathered(words: &str, protocol: Protocol, replies: &[&str]) -> String {
    let split = split_of(words);
    assert_eq!(split.count(), replies.len(), "{words}");
    let mut merge = split.into_merge();
    for (index, reply) in replies.iter().enumerate().rev() {
        assert!(!merge.is_complete());
        merge.part(index, reply.as_bytes());
    }
    String::from_utf8(merge.finish(protocol)).unwrap()
}

#[test]
fn values_are_in_the_order_of_the_keys() {
    let words = "MGET a b {a}1 {b}1 a";
    let replies = [
        "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n1\r\n",
        "*2\r\n$2\r\n\r\n\r\n$0\r\n\r\n",
    ];
    assert_eq!(
        gathered(words, Resp2, &replies),
        "*5\r\n$1\r\n1\r\n$2\r\n\r\n\r\n$-1\r\n$0\r\n\r\n$1\r\n1\r\n"
    );
    let replies = ["*3\r\n$1\r\n1\r\n_\r\n$1\r\n1\r\n", "*2\r\n_\r\n_\r\n"];
    assert_eq!(
        gathered(words, Resp3, &replies),
        "*5\r\n$1\r\n1\r\n_\r\n_\r\n_\r\n$1\r\n1\r\n"
    );
}

#[test]
fn values_that_do_not_fit_the_keys_are_unexpected() {
    for reply in [
        "*0\r\n",
        "*1\r\n:1\r\n",
        "*2\r\n_\r\n_\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n-ERR\r\n",
        "*-1\r\n",
        "$1\r\na\r\n",
        "+OK\r\n",
        "*1\r\n",
        "*1\r\n_\r\n_\r\n",
        "",
        "%1\r\n_\r\n_\r\n",
        "*1\r\n|1\r\n:1\r\n:1\r\n$1\r\na\r\n",
    ] {
        assert_eq!(
            gathered("MGET a b", Resp3, &["*1\r\n_\r\n", reply]),
            UNEXPECTED,
            "{reply}"
        );
    }
}

#[test]
fn numbers_are_summed() {
    assert_eq!(
        gathered("EXISTS a b a", Resp2, &[":2\r\n", ":1\r\n"]),
        ":3\r\n"
    );
    assert_eq!(
        resp2("DBSIZE", &[":0\r\n", ":10\r\n", ":32\r\n"]),
        ":42\r\n"
    );
    assert_eq!(
        resp2("DBSIZE", &[":9223372036854775807\r\n", ":0\r\n"]),
        ":9223372036854775807\r\n"
    );
    for reply in [
        ":9223372036854775807\r\n",
        ":-1\r\n",
        "+1\r\n",
        "$1\r\n1\r\n",
        ":\r\n",
        "_\r\n",
        "",
    ] {
        assert_eq!(resp2("DBSIZE", &[":1\r\n", reply]), UNEXPECTED, "{reply}");
    }
}

#[test]
fn smallest_number_counts() {
    assert_eq!(resp2("WAIT 1 0", &[":2\r\n", ":1\r\n", ":3\r\n"]), ":1\r\n");
    let replies = ["*2\r\n:1\r\n:0\r\n", "*2\r\n:0\r\n:2\r\n"];
    assert_eq!(resp2("WAITAOF 1 1 0", &replies), "*2\r\n:0\r\n:0\r\n");
    assert_eq!(
        resp2("WAITAOF 1 1 0", &["*2\r\n:1\r\n:0\r\n", "*1\r\n:1\r\n"]),
        UNEXPECTED
    );
}

#[test]
fn script_exists_if_all_shards_have_it() {
    let replies = ["*3\r\n:1\r\n:1\r\n:0\r\n", "*3\r\n:1\r\n:0\r\n:0\r\n"];
    assert_eq!(
        resp2("SCRIPT EXISTS x y z", &replies),
        "*3\r\n:1\r\n:0\r\n:0\r\n"
    );
    assert_eq!(
        resp2("SCRIPT EXISTS x", &["*1\r\n:2\r\n", "*1\r\n:2\r\n"]),
        UNEXPECTED
    );
}

#[test]
fn all_shards_must_say_the_same() {
    assert_eq!(resp2("FLUSHALL", &["+OK\r\n", "+OK\r\n"]), "+OK\r\n");
    assert_eq!(resp2("SCRIPT LOAD x", &["$2\r\nab\r\n"; 3]), "$2\r\nab\r\n");
    assert_eq!(
        resp2("SCRIPT LOAD x", &["$2\r\nab\r\n", "$2\r\nac\r\n"]),
        "-ERR elika: executed in part: ERR elika: unexpected reply from a shard\r\n"
    );
    for reply in [
        ":1\r\n",
        "*0\r\n",
        "$-1\r\n",
        "+OK",
        "+O\nK\r\n",
        "+OK\r\n+OK\r\n",
    ] {
        assert_eq!(resp2("FLUSHALL", &[reply]), UNEXPECTED, "{reply}");
    }
}

#[test]
fn one_success_is_enough_to_kill_a_script() {
    let (idle, busy) = (
        "-NOTBUSY No scripts in execution right now.\r\n",
        "-UNKILLABLE Sorry\r\n",
    );
    for words in ["SCRIPT KILL", "FUNCTION KILL"] {
        assert_eq!(resp2(words, &[idle, "+OK\r\n", busy]), "+OK\r\n");
        assert_eq!(resp2(words, &[idle, busy, idle]), busy);
        assert_eq!(resp2(words, &[idle, idle]), idle);
        assert_eq!(resp2(words, &[idle, ":1\r\n"]), UNEXPECTED);
    }
}

#[test]
fn arrays_are_concatenated() {
    assert_eq!(
        resp2(
            "KEYS *",
            &[
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
                "*0\r\n",
                "*1\r\n$1\r\na\r\n"
            ]
        ),
        "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\na\r\n"
    );
    for reply in [
        "*1\r\n:1\r\n",
        "*1\r\n$-1\r\n",
        "*2\r\n$1\r\na\r\n",
        "*-1\r\n",
        ":1\r\n",
    ] {
        assert_eq!(resp2("KEYS *", &["*0\r\n", reply]), UNEXPECTED, "{reply}");
    }
    assert_eq!(
        resp2("SLOWLOG GET", &["*1\r\n*1\r\n:1\r\n", "*1\r\n*1\r\n*0\r\n"]),
        "*2\r\n*1\r\n:1\r\n*1\r\n*0\r\n"
    );
}

#[test]
fn channel_of_several_shards_is_named_once() {
    let replies = [
        "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*2\r\n$1\r\nb\r\n$1\r\nc\r\n",
    ];
    for words in ["PUBSUB CHANNELS", "PUBSUB SHARDCHANNELS *"] {
        assert_eq!(
            resp2(words, &replies),
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"
        );
        assert_eq!(resp2(words, &["*0\r\n", "*1\r\n:1\r\n"]), UNEXPECTED);
    }
}

#[test]
fn subscribers_are_summed_for_each_channel() {
    let replies = [
        "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n",
        "*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:3\r\n",
    ];
    for words in ["PUBSUB NUMSUB a b", "PUBSUB SHARDNUMSUB a b"] {
        assert_eq!(
            resp2(words, &replies),
            "*4\r\n$1\r\na\r\n:3\r\n$1\r\nb\r\n:3\r\n"
        );
        assert_eq!(resp2(words, &["*0\r\n", "*0\r\n"]), "*0\r\n");
        let one = "*2\r\n$1\r\na\r\n:1\r\n";
        for reply in [
            "*2\r\n$1\r\nb\r\n:1\r\n",
            "*0\r\n",
            "*1\r\n$1\r\na\r\n",
            "*2\r\n$1\r\na\r\n$1\r\n1\r\n",
            "*2\r\n$1\r\na\r\n:9223372036854775807\r\n",
            replies[0],
        ] {
            assert_eq!(resp2(words, &[one, reply]), UNEXPECTED, "{reply}");
        }
    }
    assert_eq!(resp2("PUBSUB NUMPAT", &[":1\r\n", ":2\r\n"]), ":3\r\n");
}

#[test]
fn random_key_is_of_any_shard_that_has_one() {
    assert_eq!(
        resp2("RANDOMKEY", &["$-1\r\n", "$1\r\na\r\n", "$-1\r\n"]),
        "$1\r\na\r\n"
    );
    assert_eq!(merged("RANDOMKEY", Resp3, &["_\r\n", "_\r\n"]), "_\r\n");
    assert_eq!(resp2("RANDOMKEY", &["$-1\r\n", ":1\r\n"]), UNEXPECTED);
    let mut of_first = 0;
    for n in 0..1_000 {
        let (first, second) = (
            format!("$4\r\n{:04}\r\n", n),
            format!("$5\r\n{:05}\r\n", n * 7),
        );
        of_first += usize::from(resp2("RANDOMKEY", &[&first, &second]) == first);
    }
    assert!((400..600).contains(&of_first), "{of_first}");
}

#[test]
fn function_stats_are_those_of_a_shard_that_runs_a_function() {
    let idle = "*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*0\r\n";
    let busy =
        "*4\r\n$14\r\nrunning_script\r\n*2\r\n$4\r\nname\r\n$1\r\nf\r\n$7\r\nengines\r\n*0\r\n";
    assert_eq!(resp2("FUNCTION STATS", &[idle, busy, idle]), busy);
    assert_eq!(resp2("FUNCTION STATS", &[idle, idle]), idle);
    let idle = "%2\r\n$14\r\nrunning_script\r\n_\r\n$7\r\nengines\r\n%0\r\n";
    let busy = "%1\r\n$14\r\nrunning_script\r\n%1\r\n$4\r\nname\r\n$1\r\nf\r\n";
    assert_eq!(merged("FUNCTION STATS", Resp3, &[idle, busy]), busy);
    assert_eq!(
        merged("FUNCTION STATS", Resp3, &[idle, "%1\r\n"]),
        UNEXPECTED
    );
}

#[test]
fn failed_part_fails_the_request_with_its_error() {
    for words in [
        "DBSIZE",
        "KEYS *",
        "RANDOMKEY",
        "SCRIPT EXISTS x",
        "INFO",
        "WAIT 1 0",
    ] {
        for at in 0..3 {
            let mut replies = [":1\r\n"; 3];
            replies[at] = "-NOPERM no\r\n";
            assert_eq!(resp2(words, &replies), "-NOPERM no\r\n", "{words}");
        }
    }
    assert_eq!(
        resp2("DBSIZE", &["-ERR a\r\n", "!5\r\nERR b\r\n"]),
        "-ERR a\r\n"
    );
    assert_eq!(
        resp2("DBSIZE", &[":1\r\n", "!6\r\nERR\r\nb\r\n"]),
        "-ERR  b\r\n"
    );
    assert_eq!(resp2("DBSIZE", &[":1\r\n", "!9\r\nERR b\r\n"]), UNEXPECTED);
}

#[test]
fn error_of_a_write_says_whether_a_part_was_executed() {
    let oom = "-OOM no memory\r\n";
    let in_part = "-ERR elika: executed in part: OOM no memory\r\n";
    assert_eq!(gathered("MSET a 1 b 2", Resp2, &[oom, oom]), oom);
    assert_eq!(gathered("MSET a 1 b 2", Resp2, &["+OK\r\n", oom]), in_part);
    assert_eq!(gathered("DEL a b", Resp2, &[oom, ":1\r\n"]), in_part);
    assert_eq!(resp2("FLUSHALL", &[oom, "+OK\r\n"]), in_part);

    let lost = ErrorReply::Proxy("ERR elika: backend connection lost, outcome unknown");
    let mut merge = split_of("DEL a b").into_merge();
    merge.part(0, oom.as_bytes());
    merge.lost(1, &lost);
    assert_eq!(
        merge.finish(Resp2),
        format!("-{}\r\n", lost.text()).as_bytes()
    );

    let mut merge = split_of("DEL a b c").into_merge();
    merge.failed(0, &ErrorReply::unavailable("removed"));
    merge.lost(1, &lost);
    merge.part(2, b":1\r\n");
    let expected = format!("-ERR elika: executed in part: {}\r\n", lost.text());
    assert_eq!(merge.finish(Resp2), expected.as_bytes());
}

#[test]
fn part_without_reply_fails_the_request() {
    let mut merge = Merge::new(everywhere("DBSIZE"), 2);
    merge.part(0, b":1\r\n");
    merge.part(0, b":1\r\n");
    merge.part(7, b":1\r\n");
    assert_eq!((merge.is_complete(), merge.buffered_bytes()), (false, 4));
    assert_eq!(
        merge.finish(Resp2),
        b"-ERR elika: no reply from a shard\r\n"
    );
    assert_eq!(resp2("DBSIZE", &[]), UNEXPECTED);
}
