//! Keys and their slots, compared with what a real server says of the same requests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use elika::command::keys::{Slots, keys, slots};
use elika::command::slot::Slot;
use elika::resp::{Args, write};
use support::{Feature, Redis};

/// Requests of each command.
const REQUESTS: usize = 400;

/// Commands whose arguments are channels or cursors. They have a slot, and no keys for the server.
const NOT_KEYS: &[&str] = &["clusterscan", "spublish", "ssubscribe", "sunsubscribe"];

/// Words at which the keys of some commands begin or end, numbers of keys, and keys.
const WORDS: &[&str] = &[
    "1",
    "2",
    "3",
    "k",
    "other",
    "{tag}k",
    "",
    "store",
    "STOREDIST",
    "streams",
    "count",
    "block",
    "noack",
    "group",
    "get",
    "by",
    "limit",
    "keys",
    "auth",
    "auth2",
    "copy",
    "0",
    "-1",
];

/// A sequence of numbers that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % n
    }

    fn request(&mut self, name: &str) -> Vec<Vec<u8>> {
        let words = (0..self.below(9)).map(|_| WORDS[self.below(WORDS.len())].as_bytes().to_vec());
        let words: Vec<_> = words.collect();
        [vec![name.as_bytes().to_vec()], words].concat()
    }
}

fn frame(words: &[Vec<u8>]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut frame = Vec::new();
    write::command(&mut frame, &words);
    frame
}

fn names(redis: &Redis) -> Vec<String> {
    let list = redis.ask("COMMAND LIST");
    let words = list.split_whitespace().map(str::to_lowercase);
    let names = words.filter(|word| !word.starts_with(['*', '$']) && !word.contains(['|', '.']));
    names.collect()
}

/// Is this an XREAD or XREADGROUP with more or fewer keys than IDs?
fn lacks_id(words: &[Vec<u8>]) -> bool {
    let from = match &*words[0] {
        b"xread" => 1,
        b"xreadgroup" => 4,
        _ => return false,
    };
    let mut left = words.iter().skip(from);
    left.any(|word| word == b"streams") && left.len() % 2 == 1
}

/// Is this a GEORADIUS or GEORADIUSBYMEMBER with several destinations, of which the last one
/// counts, or with one instead of a unit? Here the servers differ.
fn has_odd_store(words: &[Vec<u8>]) -> bool {
    let is_store = |word: &Vec<u8>| [b"store".as_slice(), b"STOREDIST"].contains(&&**word);
    let stores = words.iter().filter(|word| is_store(word)).count();
    let at_unit = words.get(5).is_some_and(is_store) && words[0] == b"georadius";
    words[0].starts_with(b"georadius") && (stores > 1 || at_unit)
}

#[test]
fn keys_are_those_of_the_server() {
    let redis = Redis::open();
    if redis.lacks(Feature::Functions) {
        return;
    }
    let mut client = redis.direct();
    let (mut numbers, mut compared) = (Numbers(1), 0);
    for name in names(&redis) {
        if NOT_KEYS.contains(&&*name) {
            continue;
        }
        let requests: Vec<_> = (0..REQUESTS).map(|_| numbers.request(&name)).collect();
        let ask = |words: &Vec<Vec<u8>>| {
            let ask = ["COMMAND", "GETKEYS"].map(|word| word.as_bytes().to_vec());
            frame(&[ask.to_vec(), words.clone()].concat())
        };
        client.send(requests.iter().flat_map(ask).collect::<Vec<u8>>());
        for words in &requests {
            let reply = client.frame();
            let shown = words.iter().map(|word| String::from_utf8_lossy(word));
            let shown = shown.collect::<Vec<_>>().join(" ");
            let request = frame(words);
            let here = keys(&request).unwrap_or_else(|| panic!("{name} is not known"));
            let here: Vec<&[u8]> = here
                .map(|(at, key)| {
                    assert_eq!(words[at], key, "{shown}");
                    key
                })
                .collect();
            match reply.first() {
                // The server refuses the request itself, because an ID is missing.
                Some(b'*') if has_odd_store(words) => {}
                Some(b'*') if lacks_id(words) => assert!(here.is_empty(), "{shown}"),
                Some(b'*') => {
                    let there: Vec<&[u8]> = Args::new(&reply).collect();
                    assert_eq!(here, there, "{shown}");
                    compared += 1;
                }
                _ if reply.starts_with(b"-ERR The command has no key arguments") => {
                    assert!(here.is_empty(), "{shown}: {here:?}");
                }
                _ => assert_eq!(reply.first(), Some(&b'-'), "{shown}"),
            }
        }
    }
    assert!(compared > 30_000, "{compared}");
}

#[test]
fn slots_are_those_of_the_server() {
    let redis = Redis::with("cluster-enabled yes\n");
    let mut client = redis.direct();
    let mut numbers = Numbers(2);
    let keys: Vec<Vec<u8>> = (0..2_000)
        .map(|_| {
            let bytes = (0..numbers.below(20)).map(|_| b"{}{}abc\x00\xff"[numbers.below(9)]);
            bytes.collect()
        })
        .collect();
    let ask = |key: &Vec<u8>| frame(&[b"CLUSTER".to_vec(), b"KEYSLOT".to_vec(), key.clone()]);
    client.send(keys.iter().flat_map(ask).collect::<Vec<u8>>());
    for key in &keys {
        let here = format!(":{}\r\n", Slot::of(key).number());
        assert_eq!(client.frame(), here.as_bytes(), "{key:?}");
        let get = frame(&[b"GET".to_vec(), key.clone()]);
        assert_eq!(slots(&get), Slots::One(Slot::of(key)));
    }
}
