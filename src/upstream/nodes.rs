//! The nodes of a Redis Cluster, and which of them serves which slot, as this worker knows it.

use std::collections::HashSet;
use std::mem;
use std::net::SocketAddr;

use crate::cluster::slot_map::{NodeIndex, SlotMap};
use crate::command::slot::Slot;
use crate::store::key::{InstanceKey, LinkKey};
use crate::store::time::Millis;

/// Between two questions about the slots, ms.
const REFRESH_MS_MIN: u64 = 100;

/// After this time without a change, the slots are asked for again, ms.
const REFRESH_MS_MAX: u64 = 30_000;

/// A question about the slots that has no answer after this time is asked of another node, ms.
const ANSWER_MS: u64 = 1_000;

/// The nodes of one cluster. Each is an [instance](super::instance::Instance) of the tenant.
#[derive(Debug)]
pub(crate) struct Nodes {
    map: SlotMap,
    all: Vec<Node>,
    /// Changes with the map. No two clusters of a worker have the same.
    version: u32,
    /// The question about the slots that has no answer yet.
    asked: Option<LinkKey>,
    /// `None`: no node was asked yet.
    asked_at: Option<Millis>,
    /// A redirection has changed the map since: a shard may have two primaries in it.
    patched: bool,
    /// How often a node said who serves which slot.
    learned: u32,
    /// The link of the last answer without slots.
    failed: Option<LinkKey>,
    /// A reply showed that the map is not right.
    stale: bool,
}

/// A node: its place in the list is its index in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub address: SocketAddr,
    /// `NONE`: the node left the cluster.
    pub instance: InstanceKey,
}

impl Nodes {
    /// A cluster whose slots are not known.
    pub(crate) fn new(version: u32) -> Self {
        Self {
            map: SlotMap::default(),
            all: Vec::new(),
            version,
            asked: None,
            asked_at: None,
            patched: false,
            learned: 0,
            failed: None,
            stale: true,
        }
    }

    /// Changes whenever a slot gets another node.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The instance that serves a slot. `None`: no node is known to serve it.
    #[inline]
    pub(crate) fn of_slot(&self, slot: Slot) -> Option<InstanceKey> {
        let node = self.all.get(self.map.node_of(slot)?.as_usize())?;
        (node.instance != InstanceKey::NONE).then_some(node.instance)
    }

    /// The instance that serves a slot, and the last slot of the range that it serves from there.
    pub(crate) fn range_from(&self, slot: Slot) -> Option<(InstanceKey, Slot)> {
        let mut ranges = self.map.ranges();
        let (_, last, _) = ranges.find(|(first, last, _)| (*first..=*last).contains(&slot))?;
        Some((self.of_slot(slot)?, last))
    }

    /// How often a node said who serves which slot.
    pub(crate) fn learned(&self) -> u32 {
        self.learned
    }

    /// The address of the node that serves a slot.
    pub(crate) fn address_of(&self, slot: Slot) -> Option<SocketAddr> {
        let node = self.all.get(self.map.node_of(slot)?.as_usize())?;
        Some(node.address)
    }

    /// Has a node said who serves the slots, and which are all primaries?
    pub(crate) fn is_complete(&self) -> bool {
        self.map.is_covered() && !self.patched
    }

    /// The instances that serve slots, in the order of their lowest slot.
    pub(crate) fn shards(&self) -> Vec<(Slot, InstanceKey)> {
        let shards = self.map.shards();
        let shards = shards.filter_map(|(slot, node)| Some((slot, self.all.get(node.as_usize())?)));
        let shards = shards.filter(|(_, node)| node.instance != InstanceKey::NONE);
        shards.map(|(slot, node)| (slot, node.instance)).collect()
    }

    /// The node at an address.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<NodeIndex> {
        let here = |node: &Node| node.address == address && node.instance != InstanceKey::NONE;
        NodeIndex::new(self.all.iter().position(here)?)
    }

    /// All nodes.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> {
        let present = |node: &&Node| node.instance != InstanceKey::NONE;
        self.all.iter().filter(present)
    }

    /// Adds a node. `None`: there are too many.
    pub(crate) fn add(&mut self, node: Node) -> Option<NodeIndex> {
        let index = NodeIndex::new(self.all.len())?;
        self.all.push(node);
        Some(index)
    }

    /// A node serves a slot. Returns whether it did not before.
    pub(crate) fn set(&mut self, slot: Slot, node: NodeIndex, version: u32) -> bool {
        let changes = self.map.node_of(slot) != Some(node);
        if changes {
            self.map.set(slot, node);
            self.patched = true;
            self.version = version;
        }
        changes
    }

    /// Replaces the nodes and the map. Returns the instances that are nodes no longer.
    pub(crate) fn replace(
        &mut self,
        all: Vec<Node>,
        map: SlotMap,
        version: u32,
    ) -> HashSet<InstanceKey> {
        let before = Self {
            all: mem::replace(&mut self.all, all),
            map: mem::replace(&mut self.map, map),
            ..*self
        };
        (self.failed, self.patched) = (None, false);
        self.learned += 1;
        if !before.served().eq(self.served()) {
            self.version = version;
        }
        let stays = |key: &InstanceKey| self.all().any(|node| node.instance == *key);
        let old = before.all().map(|node| node.instance);
        old.filter(|key| !stays(key)).collect()
    }

    /// The ranges of slots, and who serves them.
    fn served(&self) -> impl Iterator<Item = (Slot, Slot, Option<&Node>)> {
        let ranges = self.map.ranges();
        ranges.map(|(first, last, node)| (first, last, self.all.get(node.as_usize())))
    }
}

/// When the slots are asked for.
impl Nodes {
    /// A reply showed that the map is not right, or a node cannot be reached.
    pub(crate) fn doubt(&mut self) {
        self.stale = true;
    }

    /// When the slots are to be asked for next, unless a node is asked already.
    pub(crate) fn ask_at(&self) -> Millis {
        let pause = match (self.asked, self.stale) {
            (Some(_), _) => ANSWER_MS,
            (None, true) => REFRESH_MS_MIN,
            (None, false) => REFRESH_MS_MAX,
        };
        self.asked_at
            .map_or_else(Millis::default, |at| at.after(pause))
    }

    /// The slots are asked for on this link; without one, they are asked for later.
    pub(crate) fn ask(&mut self, on: Option<LinkKey>, now: Millis) {
        (self.asked, self.asked_at) = (on, Some(now));
        self.stale &= on.is_none();
    }

    /// The answer on this link has no slots: its user may not ask, or its node does not know them.
    pub(crate) fn fail_question(&mut self, on: LinkKey) {
        self.failed = Some(on);
    }

    /// The link of the last answer without slots.
    pub(crate) fn failed(&self) -> Option<LinkKey> {
        self.failed
    }

    /// The question has an answer, or its link has ended. Returns whether it was outstanding.
    pub(crate) fn end_question(&mut self, on: LinkKey) -> bool {
        let asked = self.asked == Some(on);
        if asked {
            self.asked = None;
        }
        asked
    }
}
