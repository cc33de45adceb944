//! A request that is split over shards has the reply of one server with all keys.

use std::collections::BTreeMap;

use super::*;
use crate::command::keys::keys;
use crate::command::slot::Slot;
use crate::resp::read::Elements;
use crate::resp::{Args, read};

const RUNS: u64 = 150;
const REQUESTS: usize = 40;

/// A server with strings. It executes the commands that are split.
#[derive(Clone, Default)]
struct Server {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Server {
    fn execute(&mut self, frame: &[u8], protocol: Protocol) -> Vec<u8> {
        let mut args = Args::new(frame);
        let name = args.next().unwrap().to_ascii_lowercase();
        let mut out = Vec::new();
        match name.as_slice() {
            b"mget" => {
                write::array(&mut out, args.len());
                for key in args {
                    match self.values.get(key) {
                        Some(value) => write::bulk(&mut out, value),
                        None => write::null(&mut out, protocol),
                    }
                }
            }
            b"mset" => {
                while let (Some(key), Some(value)) = (args.next(), args.next()) {
                    self.values.insert(key.to_vec(), value.to_vec());
                }
                write::simple(&mut out, "OK");
            }
            b"del" | b"unlink" => {
                let removed = args.filter(|key| self.values.remove(*key).is_some());
                write::integer(&mut out, removed.count() as i64);
            }
            b"exists" | b"touch" => {
                let found = args.filter(|key| self.values.contains_key(*key));
                write::integer(&mut out, found.count() as i64);
            }
            b"dbsize" => write::integer(&mut out, self.values.len() as i64),
            b"keys" => {
                write::array(&mut out, self.values.len());
                self.values
                    .keys()
                    .for_each(|key| write::bulk(&mut out, key));
            }
            other => panic!("{}", other.escape_ascii()),
        }
        out
    }
}

/// The shards of a cluster, each with a range of slots.
struct Cluster {
    shards: Vec<Server>,
    protocol: Protocol,
}

/// A shard, and the frame that it executes.
type Part = (usize, Vec<u8>);

/// What happens to one part.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Refused,
    Failed,
    Lost,
}

impl Cluster {
    fn shard(&self, slot: Slot) -> usize {
        usize::from(slot.number()) * self.shards.len() / usize::from(Slot::COUNT)
    }

    /// Executes a part as a node of a cluster does: all keys must have one slot, which is its own.
    fn execute(&mut self, shard: usize, frame: &[u8]) -> Vec<u8> {
        let mut slots = keys(frame).unwrap().map(|(_, key)| Slot::of(key));
        if let Some(first) = slots.next() {
            assert!(slots.all(|slot| slot == first));
            assert_eq!(self.shard(first), shard);
        }
        self.shards[shard].execute(frame, self.protocol)
    }

    /// All parts, and their merge. `None`: one node executes the request.
    fn parts(&self, frame: &[u8]) -> Option<(Vec<Part>, Merge)> {
        match rule(frame, CrossSlot::All) {
            Rule::Slot(_) => None,
            Rule::EveryPrimary(rule) => {
                let parts = (0..self.shards.len()).map(|shard| (shard, frame.to_vec()));
                let parts: Vec<_> = parts.collect();
                let merge = Merge::new(rule, parts.len());
                Some((parts, merge))
            }
            Rule::Slots(split) => {
                let parts = split.parts();
                let parts = parts.map(|(slot, frame)| (self.shard(slot), frame.to_vec()));
                let parts: Vec<_> = parts.collect();
                Some((parts, split.into_merge()))
            }
            other => panic!("{other:?}"),
        }
    }

    /// The reply to a request whose parts are executed, and reply, in any order.
    fn ask(&mut self, frame: &[u8], numbers: &mut Numbers) -> Vec<u8> {
        let Some((parts, mut merge)) = self.parts(frame) else {
            let Rule::Slot(slot) = rule(frame, CrossSlot::All) else {
                panic!("no slot");
            };
            return self.execute(self.shard(slot), frame);
        };
        let mut order: Vec<usize> = (0..parts.len()).collect();
        numbers.shuffle(&mut order);
        let replies = order.iter().map(|part| {
            let (shard, frame) = &parts[*part];
            (*part, self.execute(*shard, frame))
        });
        let mut replies: Vec<_> = replies.collect();
        numbers.shuffle(&mut replies);
        for (part, reply) in replies {
            assert!(!merge.is_complete());
            merge.part(part, &reply);
        }
        assert!(merge.is_complete());
        merge.finish(self.protocol)
    }

    /// The reply to a request of which one part has a fault; the others are executed or not.
    fn ask_with_fault(&self, frame: &[u8], numbers: &mut Numbers) -> Option<(Vec<u8>, String)> {
        let (parts, mut merge) = self.parts(frame)?;
        let mut shards = Self {
            shards: self.shards.clone(),
            protocol: self.protocol,
        };
        let fault = [Fault::Refused, Fault::Failed, Fault::Lost][numbers.below(3)];
        let at = numbers.below(parts.len());
        let error = ErrorReply::Proxy("ERR elika: backend connection lost, outcome unknown");
        let mut order: Vec<usize> = (0..parts.len()).collect();
        numbers.shuffle(&mut order);
        for part in order {
            match fault {
                _ if part != at => merge.part(part, &shards.execute(parts[part].0, &parts[part].1)),
                Fault::Refused => merge.part(part, format!("-{}\r\n", error.text()).as_bytes()),
                Fault::Failed => merge.failed(part, &error),
                Fault::Lost => merge.lost(part, &error),
            }
        }
        let writes = ["mset", "del", "unlink"];
        let name = Args::new(frame).next().unwrap();
        let writes = writes.iter().any(|write| write.as_bytes() == name);
        let in_part = if writes && parts.len() > 1 {
            "ERR elika: executed in part: "
        } else {
            ""
        };
        let expected = format!("-{in_part}{}\r\n", error.text());
        Some((merge.finish(self.protocol), expected))
    }
}

fn random_request(numbers: &mut Numbers) -> Vec<u8> {
    const NAMES: [&str; 8] = [
        "mget", "mset", "del", "unlink", "exists", "touch", "dbsize", "keys",
    ];
    let name = NAMES[numbers.below(NAMES.len())];
    let mut words = vec![name.to_owned()];
    match name {
        "dbsize" => {}
        "keys" => words.push("*".to_owned()),
        _ => {
            let longest = if numbers.below(10) == 0 { 300 } else { 8 };
            for _ in 0..=numbers.below(longest) {
                words.push(match numbers.below(4) {
                    0 => format!("{{tag}}{}", numbers.below(4)),
                    1 => String::new(),
                    _ => format!("key:{}", numbers.below(60)),
                });
                if name == "mset" {
                    words.push("v\r\n".repeat(numbers.below(20)));
                }
            }
        }
    }
    let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    let mut frame = Vec::new();
    write::command(&mut frame, &words);
    frame
}

/// A reply in a form that does not depend on the order of keys.
fn normal(frame: &[u8], reply: &[u8]) -> Vec<Vec<u8>> {
    assert!(read::is_complete(reply));
    if Args::new(frame).next() != Some(b"keys") {
        return vec![reply.to_vec()];
    }
    let elements = Elements::new(reply).unwrap();
    let mut elements: Vec<_> = elements.map(<[u8]>::to_vec).collect();
    elements.sort_unstable();
    elements
}

#[test]
fn shards_reply_as_one_server() {
    let (mut split, mut failed) = (0, 0);
    for seed in 0..RUNS {
        let mut numbers = Numbers::new(seed);
        let protocol = [Protocol::Resp2, Protocol::Resp3][numbers.below(2)];
        let mut whole = Server::default();
        let mut cluster = Cluster {
            shards: vec![Server::default(); 1 + numbers.below(7)],
            protocol,
        };
        for _ in 0..REQUESTS {
            let frame = random_request(&mut numbers);
            if let Some((reply, error)) = cluster.ask_with_fault(&frame, &mut numbers) {
                assert_eq!(
                    String::from_utf8_lossy(&reply),
                    error,
                    "{}",
                    frame.escape_ascii()
                );
                failed += 1;
            }
            let reply = cluster.ask(&frame, &mut numbers);
            let expected = whole.execute(&frame, protocol);
            split += usize::from(cluster.parts(&frame).is_some());
            assert_eq!(
                normal(&frame, &reply),
                normal(&frame, &expected),
                "seed {seed}"
            );
        }
        let keys: usize = cluster.shards.iter().map(|shard| shard.values.len()).sum();
        assert_eq!(keys, whole.values.len(), "seed {seed}");
    }
    assert!(split > 2_000 && failed == split, "{split} {failed}");
}
