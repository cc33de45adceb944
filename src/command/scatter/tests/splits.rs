//! How a request is divided into parts.

use std::collections::BTreeSet;

use super::*;
use crate::command::keys::keys;
use crate::command::slot::Slot;
use crate::resp::{Args, RequestDecoder, RequestLimits, Step};

/// The words of each part.
fn parts_of(words: &str) -> Vec<String> {
    let split = split_of(words);
    let parts = split.parts().map(|(slot, frame)| {
        let decoded = RequestDecoder::default().decode(frame, &RequestLimits::AFTER_LOGIN);
        assert!(matches!(decoded, Ok(Step::Array { len, .. }) if len == frame.len()));
        assert!(keys(frame).unwrap().all(|(_, key)| Slot::of(key) == slot));
        let words = Args::new(frame).map(|word| String::from_utf8_lossy(word).into_owned());
        words.collect::<Vec<_>>().join(" ")
    });
    parts.collect()
}

#[test]
fn keys_of_a_slot_are_one_part_in_order_of_appearance() {
    assert_eq!(
        parts_of("mGet b a {b}1 c {a}1 b"),
        ["mGet b {b}1 b", "mGet a {a}1", "mGet c"]
    );
    assert_eq!(parts_of("EXISTS a b a"), ["EXISTS a a", "EXISTS b"]);
}

#[test]
fn values_go_with_their_keys() {
    assert_eq!(
        parts_of("MSET a 1 b 2 {a} b a 4"),
        ["MSET a 1 {a} b a 4", "MSET b 2"]
    );
}

#[test]
fn empty_and_binary_keys_are_copied() {
    let mut frame = Vec::new();
    let words: [&[u8]; 5] = [b"MSET", b"", b"\r\n\xff", b"*1\r\n$1\r\nx\r\n", b""];
    write::command(&mut frame, &words);
    let Rule::Slots(split) = rule(&frame, CrossSlot::All) else {
        panic!("not split");
    };
    let parts: Vec<_> = split.parts().map(|(_, frame)| frame.to_vec()).collect();
    for (part, pair) in parts.iter().zip(words[1..].chunks(2)) {
        assert!(Args::new(part).skip(1).eq(pair.iter().copied()));
    }
}

/// The masks choose slots that share a bucket.
#[test]
fn many_keys_have_a_part_for_each_slot() {
    for (number, mask) in [(3, 0), (100, 0), (60, 0xFF), (4, 0x0FFF), (40_000, 0)] {
        let names = (0..).map(|n| format!("key:{n}"));
        let names = names.filter(|name| Slot::of(name.as_bytes()).number() & mask == 0);
        let names: Vec<String> = names.take(number).collect();
        let slots: BTreeSet<_> = names.iter().map(|it| Slot::of(it.as_bytes())).collect();
        let split = split_of(&format!("MGET {}", names.join(" ")));
        assert_eq!(split.count(), slots.len());
        let found: BTreeSet<_> = split.parts().map(|(slot, _)| slot).collect();
        assert_eq!(found, slots);
        let keys = split.parts().map(|(_, frame)| Args::new(frame).len() - 1);
        assert_eq!(keys.sum::<usize>(), number);
    }
}
