//! SCAN over all nodes of a Redis Cluster: the requests for a page, and what their replies mean.
//!
//! A client sees the SCAN of one server: every key that is there from the start to the end is
//! returned, also while slots migrate and nodes fail over. Slots are scanned in their order, and
//! the cursor is the slot and the place in it ([`ScanCursor`]). So a slot that moves is not missed:
//! it is done, or it is to come, whichever node has it.
//!
//! A page is true for a slot if the node that is asked has all keys of the slot at that moment.
//! Only the node itself knows: no node redirects SCAN, and the proxy's map of the slots may be old.
//! So SCAN is sent between two CLUSTER NODES, in one write:
//!
//! | what the node says, both times | what is done |
//! |---|---|
//! | it has the slot | its keys of this slot, and of the next ones that it has, are the page |
//! | keys of the slot migrate to another node | the whole slot is read here, then there |
//! | another node has the slot | that one is asked |
//!
//! Keys move in one direction while a slot migrates. So a key that is not yet found there was found
//! here before, if the two are read in this order. A page in the middle of a slot needs only the
//! confirmation of its node: a key that left the node and came back between two pages has its old
//! place there.
//!
//! Servers since Redis 7.4 and Valkey 8.0 have a table for each slot. Their SCAN visits the slots
//! in order, and its cursor has the slot in its low bits, so that a page is one SCAN on one node.
//! The place in a slot depends on the hash seed of the process. Older servers have one table for
//! all slots, in which a cursor says nothing about slots: they are read slot by slot with CLUSTER
//! GETKEYSINSLOT, several small slots in a page, and MATCH and TYPE are applied here. CLUSTERSCAN
//! of Valkey 9.1 is not used: its cursor is no number, and it does not see both sides of a slot
//! that migrates.

mod claim;
mod cursor;
mod glob;
mod request;
#[cfg(test)]
mod tests;
mod whole;

use std::net::SocketAddr;

pub use cursor::{ProcessTag, ScanCursor};

use super::error_reply::ErrorReply;
use super::proxy_command;
use super::slot::Slot;
use crate::resp::number::parse_i64;
use crate::resp::read::{self, Elements};
use crate::resp::{ReplyScanner, Scan as Scanned, write};
use claim::Claim;
use request::ScanRequest;

/// After this many changes of the slot during one request, the page is empty, and the client goes
/// on at the same slot.
const CHANGES_MAX: u8 = 5;

/// Errors of a node that serves no slots at the moment.
const LATER: [&[u8]; 4] = [b"LOADING ", b"MASTERDOWN ", b"CLUSTERDOWN ", b"TRYAGAIN "];

/// What is done next for a client's SCAN.
#[derive(Debug, PartialEq, Eq)]
pub enum ScanStep {
    /// A node is sent these requests. The replies are handled together, by [`Scan::replies`].
    Ask(ScanNode, Vec<u8>, u32),
    /// The client gets this reply.
    Reply(Vec<u8>),
    /// The scan is started again: this node has the slot.
    Moved(Slot, SocketAddr),
    /// The scan is started again when a node serves the slot.
    Later,
}

/// The node that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanNode {
    /// The one that [`Scan::start`] is for.
    Owner,
    /// The one to which the slot migrates.
    Target(SocketAddr),
}

/// What the outstanding replies are.
#[derive(Clone, Debug)]
enum Stage {
    /// An error for options that are not known here.
    Options,
    /// A page of a server with a table for each slot.
    Page,
    /// The numbers of keys in slots.
    Counts,
    /// The keys of these slots; all slots up to the last one are then done.
    Keys { slots: Vec<Slot>, last: Slot },
    /// The keys of a slot that migrates, at its owner. The node to which it migrates follows, when
    /// the owner has said which.
    Source(Option<SocketAddr>),
    /// The keys of the same slot at the other node.
    Target(SocketAddr),
    /// The types of the keys that the stage before returned.
    Types(Box<Self>, Vec<Box<[u8]>>),
}

/// A client's SCAN, until it has its reply.
#[derive(Debug)]
pub struct Scan {
    request: ScanRequest,
    cursor: ScanCursor,
    /// Whether the node has a table for each slot.
    by_slot: bool,
    /// Up to which slot the node has all, as far as the proxy knows.
    last: Slot,
    /// Up to which slot the node says that it has all, before the page.
    claimed: Option<Slot>,
    stage: Stage,
    /// The encoded keys so far, and their number.
    keys: (Vec<u8>, usize),
    changes: u8,
}

impl Scan {
    /// # Errors
    ///
    /// The error of a server for these arguments.
    pub fn new(frame: &[u8]) -> Result<Self, ErrorReply> {
        let request = ScanRequest::parse(frame)?;
        let mut cursor = request.cursor;
        if let Some(only) = request.only_slot().filter(|only| cursor.slot < *only) {
            cursor = ScanCursor::at(only);
        }
        Ok(Self {
            stage: if request.is_plain {
                Stage::Page
            } else {
                Stage::Options
            },
            last: cursor.slot,
            request,
            cursor,
            by_slot: true,
            claimed: None,
            keys: (Vec::new(), 0),
            changes: 0,
        })
    }

    /// The slot whose node is to be asked.
    pub fn slot(&self) -> Slot {
        self.cursor.slot
    }

    /// Starts with the node that has this slot. `by_slot`: it has a table for each slot. `last`: up
    /// to which slot it has all, as far as the proxy knows.
    pub fn start(&mut self, by_slot: bool, last: Slot) -> ScanStep {
        let only = self.request.only_slot();
        if only.is_some_and(|only| only < self.cursor.slot) {
            return self.page(None);
        }
        (self.by_slot, self.last, self.claimed) = (by_slot, last, None);
        self.keys = (Vec::new(), 0);
        if self.request.is_plain {
            return self.begin_page();
        }
        let mut out = Vec::new();
        self.request.write(0, &mut out);
        self.ask(Stage::Options, out, 1)
    }

    fn begin_page(&mut self) -> ScanStep {
        let mut out = Vec::new();
        ask_nodes(&mut out);
        if self.by_slot {
            proxy_command::write(&mut out, &[b"INFO", b"server"]);
            self.request.write(self.cursor.of_server(), &mut out);
            ask_nodes(&mut out);
            return self.ask(Stage::Page, out, 4);
        }
        self.ask_counts(out)
    }

    fn ask(&mut self, stage: Stage, requests: Vec<u8>, count: u32) -> ScanStep {
        let node = match &stage {
            Stage::Target(target) => ScanNode::Target(*target),
            Stage::Types(of, _) => match **of {
                Stage::Target(target) => ScanNode::Target(target),
                _ => ScanNode::Owner,
            },
            _ => ScanNode::Owner,
        };
        self.stage = stage;
        ScanStep::Ask(node, requests, count)
    }

    /// Handles the replies to the last requests.
    pub fn replies(&mut self, replies: &[u8]) -> ScanStep {
        let replies = split(replies);
        let step = match self.stage.clone() {
            Stage::Options => self.options(&replies),
            Stage::Page => self.page_replies(&replies),
            Stage::Counts => self.counts(&replies),
            Stage::Keys { slots, last } => self.keys_of(&slots, last, &replies),
            Stage::Source(_) => self.source(&replies),
            Stage::Target(target) => self.target(target, &replies),
            Stage::Types(of, keys) => self.types(&of, &keys, &replies),
        };
        step.unwrap_or_else(|| self.changed())
    }

    fn options(&mut self, replies: &[&[u8]]) -> Option<ScanStep> {
        let reply = *replies.first()?;
        if read::error(reply).is_some() {
            return Some(refused(reply));
        }
        if self.by_slot {
            return Some(self.begin_page());
        }
        let mut out = Vec::new();
        ErrorReply::SYNTAX.write(&mut out);
        Some(ScanStep::Reply(out))
    }

    /// The slot changes its node at this moment.
    fn changed(&mut self) -> ScanStep {
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            self.keys = (Vec::new(), 0);
            return self.page(Some(ScanCursor::at(self.cursor.slot)));
        }
        let (by_slot, last) = (self.by_slot, self.last);
        self.start(by_slot, last)
    }

    /// What a node says that is not its owner, or does not have all keys.
    fn not_here(&mut self, claim: Claim) -> Option<ScanStep> {
        let slot = self.cursor.slot;
        match claim {
            Claim::Owner(_) => None,
            Claim::Migrating(_) => Some(self.ask_source()),
            Claim::Elsewhere(node) | Claim::Importing(Some(node)) => {
                self.changes += 1;
                match self.changes > CHANGES_MAX {
                    true => None,
                    false => Some(ScanStep::Moved(slot, node)),
                }
            }
            Claim::Importing(None) | Claim::Nobody => Some(ScanStep::Later),
        }
    }

    fn page_replies(&mut self, replies: &[&[u8]]) -> Option<ScanStep> {
        let [before, info, page, after] = replies else {
            return None;
        };
        let slot = self.cursor.slot;
        let claims = (claim::read(before, slot), claim::read(after, slot));
        let (last, id) = match claims {
            // The user may not ask, or the node cannot answer.
            (None, None) => (self.last, ""),
            (Some((Claim::Owner(first), id)), Some((Claim::Owner(last), _))) => {
                (first.min(last), id)
            }
            (Some((Claim::Owner(_), _)) | None, _) | (_, None) => return None,
            (Some((claim, _)), _) => return self.not_here(claim),
        };
        if read::error(page).is_some() {
            return Some(refused(page));
        }
        let process = ProcessTag::of(&[id.as_bytes(), run_id(info)]);
        let cursor = self.cursor.for_process(process);
        if cursor != self.cursor {
            self.cursor = cursor;
            return Some(self.begin_page());
        }
        let mut parts = Elements::new(page)?;
        let next = parse_i64(read::string(parts.next()?)?)?;
        let next = match u64::try_from(next).ok()? {
            0 => None,
            next => Some(ScanCursor::from_server(next, process)?),
        };
        let seen = next.map_or(Slot::new(Slot::COUNT - 1)?, |next| next.slot);
        let keys = parts.next()?;
        for key in Elements::new(keys)? {
            let of = Slot::of(read::string(key)?);
            if !(slot..=seen).contains(&of) {
                // It does not visit the slots in order.
                self.by_slot = false;
                return Some(self.begin_page());
            }
        }
        for key in Elements::new(keys)? {
            if Slot::of(read::string(key)?) <= last {
                self.add(key);
            }
        }
        let next = next.filter(|next| next.slot <= last);
        let next = next.or_else(|| following(last).map(ScanCursor::at));
        Some(self.page(next))
    }

    /// The client's reply: the keys so far, and where the scan goes on. `None`: it is complete.
    fn page(&self, next: Option<ScanCursor>) -> ScanStep {
        let only = self.request.only_slot();
        let next = next.filter(|next| only.is_none_or(|only| next.slot <= only));
        let next = next.map_or(0, ScanCursor::number).to_string();
        let (keys, count) = &self.keys;
        let mut out = Vec::with_capacity(keys.len() + 64);
        write::array(&mut out, 2);
        write::bulk(&mut out, next.as_bytes());
        write::array(&mut out, *count);
        out.extend_from_slice(keys);
        ScanStep::Reply(out)
    }

    /// The page ends with this slot, which is done.
    fn page_until(&self, last: Slot) -> ScanStep {
        self.page(following(last).map(ScanCursor::at))
    }

    fn add(&mut self, encoded: &[u8]) {
        self.keys.0.extend_from_slice(encoded);
        self.keys.1 += 1;
    }
}

fn ask_nodes(out: &mut Vec<u8>) {
    proxy_command::write(out, &[b"CLUSTER", b"NODES"]);
}

/// The next slot.
fn following(slot: Slot) -> Option<Slot> {
    Slot::new(slot.number() + 1)
}

/// What a node's error means for the client.
fn refused(error: &[u8]) -> ScanStep {
    let text = read::error(error).unwrap_or_default();
    match LATER.iter().any(|code| text.starts_with(code)) {
        true => ScanStep::Later,
        false => ScanStep::Reply(proxy_command::unmark(error)),
    }
}

/// The id of a process in its reply to INFO; empty if the user may not ask.
fn run_id(info: &[u8]) -> &[u8] {
    let text = read::string(info).unwrap_or_default();
    let mut lines = text.split(|byte| *byte == b'\n');
    let id = lines.find_map(|line| line.strip_prefix(b"run_id:"));
    id.map_or(b"", <[u8]>::trim_ascii_end)
}

fn split(mut replies: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Ok(Scanned::Complete { len }) = ReplyScanner::default().scan(replies) {
        let (reply, rest) = replies.split_at(len.min(replies.len()));
        all.push(reply);
        replies = rest;
    }
    all
}
