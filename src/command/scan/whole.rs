//! Slots that are read whole: all slots on servers with one table for them, and on any server those
//! whose keys migrate.

use std::net::SocketAddr;

use super::claim::{self, Claim};
use super::{Scan, ScanStep, Stage, ask_nodes, following, refused};
use crate::command::proxy_command;
use crate::command::slot::Slot;
use crate::resp::read::{self, Elements};

/// The number of slots whose keys are counted for a page.
const SLOTS_PER_PAGE: u32 = 128;

/// As many keys as a slot has.
const ALL: &[u8] = b"2147483647";

impl Scan {
    /// Asks how many keys the next slots have; the requests so far are sent in front.
    pub(super) fn ask_counts(&mut self, mut out: Vec<u8>) -> ScanStep {
        let mut count = 1;
        for slot in slots_from(self.cursor.slot) {
            let slot = slot.number().to_string();
            let words: [&[u8]; 3] = [b"CLUSTER", b"COUNTKEYSINSLOT", slot.as_bytes()];
            proxy_command::write(&mut out, &words);
            count += 1;
        }
        self.ask(Stage::Counts, out, count)
    }

    /// Chooses the slots of the page: as many as have `COUNT` keys, and at least one with keys.
    pub(super) fn counts(&mut self, replies: &[&[u8]]) -> Option<ScanStep> {
        let (before, counts) = replies.split_first()?;
        let claim = claim::read(before, self.cursor.slot);
        self.claimed = match claim {
            None => None,
            Some((Claim::Owner(last), _)) => Some(last),
            Some((claim, _)) => return self.not_here(claim),
        };
        let last = self.claimed.unwrap_or(self.last);
        let (mut slots, mut total, mut end) = (Vec::new(), 0, self.cursor.slot);
        for (slot, count) in slots_from(self.cursor.slot).zip(counts) {
            let Some(count) = read::integer(count) else {
                return Some(refused(count));
            };
            if slot > last || total > 0 && total + count > self.request.count {
                break;
            }
            (total, end) = (total + count, slot);
            if count > 0 {
                slots.push(slot);
            }
        }
        let mut out = Vec::new();
        for slot in &slots {
            ask_keys(*slot, &mut out);
        }
        ask_nodes(&mut out);
        let count = slots.len() as u32 + 1;
        Some(self.ask(Stage::Keys { slots, last: end }, out, count))
    }

    pub(super) fn keys_of(
        &mut self,
        slots: &[Slot],
        last: Slot,
        replies: &[&[u8]],
    ) -> Option<ScanStep> {
        let (after, lists) = replies.split_last()?;
        let last = match (claim::read(after, self.cursor.slot), self.claimed) {
            (Some((Claim::Owner(end), _)), Some(_)) => last.min(end),
            (None, None) => last,
            _ => return None,
        };
        let mut keys = Vec::new();
        let done = slots.iter().zip(lists).filter(|(slot, _)| **slot <= last);
        for (_, list) in done {
            if read::error(list).is_some() {
                return Some(refused(list));
            }
            self.select(list, &mut keys)?;
        }
        let slots = Vec::new();
        Some(self.take(Stage::Keys { slots, last }, keys))
    }

    pub(super) fn ask_source(&mut self) -> ScanStep {
        let out = self.ask_whole_slot();
        self.ask(Stage::Source(None), out, 3)
    }

    /// The keys of the slot, between two questions about the slot.
    fn ask_whole_slot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        ask_nodes(&mut out);
        ask_keys(self.cursor.slot, &mut out);
        ask_nodes(&mut out);
        out
    }

    pub(super) fn source(&mut self, replies: &[&[u8]]) -> Option<ScanStep> {
        let [before, list, after] = replies else {
            return None;
        };
        let (before, _) = claim::read(before, self.cursor.slot)?;
        let (after, _) = claim::read(after, self.cursor.slot)?;
        let target = match after {
            Claim::Migrating(target) if before == after => target,
            _ => return None,
        };
        if target.is_none() {
            return Some(ScanStep::Later);
        }
        if read::error(list).is_some() {
            return Some(refused(list));
        }
        let mut keys = Vec::new();
        self.select(list, &mut keys)?;
        Some(self.take(Stage::Source(target), keys))
    }

    pub(super) fn target(&mut self, target: SocketAddr, replies: &[&[u8]]) -> Option<ScanStep> {
        let [before, list, after] = replies else {
            return None;
        };
        for reply in [before, after] {
            let (claim, _) = claim::read(reply, self.cursor.slot)?;
            if !matches!(claim, Claim::Importing(_) | Claim::Owner(_)) {
                return None;
            }
        }
        if read::error(list).is_some() {
            return Some(refused(list));
        }
        let mut keys = Vec::new();
        self.select(list, &mut keys)?;
        Some(self.take(Stage::Target(target), keys))
    }

    /// The keys of a reply that match the pattern.
    fn select(&self, list: &[u8], keys: &mut Vec<Box<[u8]>>) -> Option<()> {
        for key in Elements::new(list)? {
            if self.request.matches(read::string(key)?) {
                keys.push(key.into());
            }
        }
        Some(())
    }

    /// Takes the keys that a node returned, when their types are right.
    fn take(&mut self, of: Stage, keys: Vec<Box<[u8]>>) -> ScanStep {
        if self.request.type_name.is_none() || keys.is_empty() {
            for key in &keys {
                self.add(key);
            }
            return self.complete(&of);
        }
        let asking = matches!(of, Stage::Target(_));
        let mut out = Vec::new();
        for key in &keys {
            if asking {
                proxy_command::write(&mut out, &[b"ASKING"]);
            }
            let key = read::string(key).unwrap_or_default();
            proxy_command::write(&mut out, &[b"TYPE", key]);
        }
        let count = keys.len() as u32 * if asking { 2 } else { 1 };
        self.ask(Stage::Types(Box::new(of), keys), out, count)
    }

    pub(super) fn types(
        &mut self,
        of: &Stage,
        keys: &[Box<[u8]>],
        replies: &[&[u8]],
    ) -> Option<ScanStep> {
        let step = if matches!(of, Stage::Target(_)) { 2 } else { 1 };
        let wanted = self.request.type_name.clone().unwrap_or_default();
        for (key, reply) in keys.iter().zip(replies.chunks_exact(step)) {
            let reply = *reply.last()?;
            if let Some(text) = read::error(reply) {
                let left = text.starts_with(b"ASK ") || text.starts_with(b"MOVED ");
                match of {
                    // The other node, which is asked now, has it.
                    Stage::Source(_) if left => continue,
                    _ if left => return None,
                    _ => return Some(refused(reply)),
                }
            }
            let name = reply.strip_prefix(b"+").unwrap_or_default();
            if name.trim_ascii_end().eq_ignore_ascii_case(&wanted) {
                self.add(key);
            }
        }
        Some(self.complete(of))
    }

    /// All keys of a stage are taken.
    fn complete(&mut self, of: &Stage) -> ScanStep {
        match of {
            Stage::Keys { last, .. } => self.page_until(*last),
            Stage::Source(Some(target)) => {
                let out = self.ask_whole_slot();
                self.ask(Stage::Target(*target), out, 3)
            }
            _ => self.page_until(self.cursor.slot),
        }
    }
}

fn ask_keys(slot: Slot, out: &mut Vec<u8>) {
    let slot = slot.number().to_string();
    let words: [&[u8]; 4] = [b"CLUSTER", b"GETKEYSINSLOT", slot.as_bytes(), ALL];
    proxy_command::write(out, &words);
}

/// The slots that are counted for a page that begins with this one.
fn slots_from(first: Slot) -> impl Iterator<Item = Slot> {
    let slots = std::iter::successors(Some(first), |slot| following(*slot));
    slots.take(SLOTS_PER_PAGE as usize)
}
