//! Helpers of the tests: requests from words, their rules, and merged replies.

use super::{CrossSlot, Merge, MergeRule, ResponsePolicy, Rule, Split, rule};
use crate::command::error_reply::ErrorReply;
use crate::resp::{Protocol, write};

mod infos;
mod merges;
mod model;
mod mutations;
mod rules;
mod splits;
mod tips;

/// A request with these words, which are separated by spaces.
fn request(words: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let mut frame = Vec::new();
    write::command(&mut frame, &words);
    frame
}

fn split_of(words: &str) -> Split {
    match rule(&request(words), CrossSlot::All) {
        Rule::Slots(split) => split,
        other => panic!("{words}: {other:?}"),
    }
}

/// The rule of a request that every primary executes.
fn everywhere(words: &str) -> MergeRule {
    match rule(&request(words), CrossSlot::default()) {
        Rule::EveryPrimary(rule) => rule,
        other => panic!("{words}: {other:?}"),
    }
}

/// The reply to a request that every primary executes, with a reply of each of them.
fn merged(words: &str, protocol: Protocol, replies: &[&str]) -> String {
    let mut merge = Merge::new(everywhere(words), replies.len());
    for (index, reply) in replies.iter().enumerate().rev() {
        merge.part(index, reply.as_bytes());
    }
    assert!(merge.is_complete());
    String::from_utf8(merge.finish(protocol)).unwrap()
}

fn resp2(words: &str, replies: &[&str]) -> String {
    merged(words, Protocol::Resp2, replies)
}

/// A sequence of numbers that is the same in each run: xorshift.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % n
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
