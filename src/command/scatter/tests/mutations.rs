//! Replies of servers that lie: the merged reply is one complete value, whatever they contain.

use super::*;
use crate::resp::check::oracle;

const ROUNDS: usize = 1_500;

/// For each policy a request, and a good reply of a part.
const GOOD: [(&str, &str); 15] = [
    ("DBSIZE", ":12\r\n"),
    ("WAIT 1 0", ":12\r\n"),
    ("WAITAOF 1 1 0", "*2\r\n:1\r\n:0\r\n"),
    ("SCRIPT EXISTS a b", "*2\r\n:1\r\n:0\r\n"),
    ("FLUSHALL", "+OK\r\n"),
    ("SCRIPT LOAD x", "$4\r\nabcd\r\n"),
    ("SCRIPT KILL", "+OK\r\n"),
    ("KEYS *", "*2\r\n$1\r\na\r\n$2\r\nbc\r\n"),
    (
        "SLOWLOG GET",
        "*2\r\n*2\r\n:1\r\n$1\r\na\r\n*1\r\n*1\r\n_\r\n",
    ),
    ("PUBSUB CHANNELS", "*2\r\n$1\r\na\r\n$2\r\nbc\r\n"),
    (
        "PUBSUB NUMSUB a bc",
        "*4\r\n$1\r\na\r\n:1\r\n$2\r\nbc\r\n:2\r\n",
    ),
    ("RANDOMKEY", "$3\r\nabc\r\n"),
    (
        "FUNCTION STATS",
        "%1\r\n$14\r\nrunning_script\r\n%1\r\n$1\r\na\r\n*0\r\n",
    ),
    (
        "INFO",
        "=47\r\ntxt:# Keyspace\r\ndb0:keys=1,expires=1,avg_ttl=10\r\n",
    ),
    ("MGET a b {a}1 {b}1", "*2\r\n$1\r\na\r\n$-1\r\n"),
];

/// Bytes that have a meaning somewhere in a reply.
const PIECES: [&str; 18] = [
    "\r\n",
    "*",
    "$-1\r\n",
    "_\r\n",
    "*-1\r\n",
    "%1\r\n",
    "|1\r\n:1\r\n:1\r\n",
    ">1\r\n",
    "-ERR a",
    "!3\r\nERR\r\n",
    ":9223372036854775807\r\n",
    "*4294967295\r\n",
    "$99999999999\r\n",
    "=",
    ",",
    "0",
    "-",
    "db0:",
];

fn mutate(reply: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(reply.len() + 1);
        let to = at + numbers.below(reply.len() + 1 - at);
        match numbers.below(6) {
            0 => reply.truncate(at),
            1 => drop(reply.drain(at..to)),
            2 => {
                let piece = PIECES[numbers.below(PIECES.len())].bytes();
                drop(reply.splice(at..at, piece));
            }
            3 => {
                let copy = reply[at..to].to_vec();
                drop(reply.splice(at..at, copy));
            }
            4 => {
                let byte = reply.get_mut(at);
                byte.into_iter()
                    .for_each(|byte| *byte = numbers.below(256) as u8);
            }
            _ => {
                let piece = PIECES[numbers.below(PIECES.len())].bytes();
                drop(reply.splice(at..to, piece));
            }
        }
    }
}

fn merge_of(words: &str) -> (usize, Merge) {
    match rule(&request(words), CrossSlot::All) {
        Rule::Slots(split) => (split.count(), split.into_merge()),
        Rule::EveryPrimary(rule) => (3, Merge::new(rule, 3)),
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn merged_reply_is_one_value_whatever_the_parts_reply() {
    let (mut errors, mut others) = (0, 0);
    let mut numbers = Numbers::new(1);
    for (words, good) in GOOD {
        for round in 0..ROUNDS {
            let (parts, mut merge) = merge_of(words);
            for part in 0..parts {
                let mut reply = good.as_bytes().to_vec();
                if round > 0 && numbers.below(2) == 0 {
                    mutate(&mut reply, &mut numbers);
                }
                merge.part(part, &reply);
            }
            let reply = merge.finish([Protocol::Resp2, Protocol::Resp3][numbers.below(2)]);
            let end = oracle::reply(&reply).map(|end| end.len);
            assert_eq!(end, Ok(reply.len()), "{words}: {}", reply.escape_ascii());
            let is_error = reply.starts_with(b"-");
            assert!(round > 0 || !is_error, "{words}: {}", reply.escape_ascii());
            errors += usize::from(is_error);
            others += usize::from(!is_error);
        }
    }
    assert!(errors > 5_000 && others > 2_000, "{errors} {others}");
}

/// Depth costs neither stack nor time.
#[test]
fn deep_reply_is_merged() {
    let depth = 200_000;
    let deep = format!("*1\r\n{}:1\r\n", "*1\r\n".repeat(depth));
    let merged = resp2("SLOWLOG GET", &[&deep, "*0\r\n"]);
    assert_eq!(merged, deep);
    assert!(resp2("KEYS *", &[&deep]).starts_with("-ERR elika: unexpected"));
}
