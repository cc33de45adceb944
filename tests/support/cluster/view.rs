//! What one node knows of its cluster: the reply to CLUSTER NODES.

use super::slot::SLOTS;

/// The view of one node.
pub(super) struct View {
    nodes: Vec<Known>,
}

/// A node as another node, or the node itself, sees it.
struct Known {
    id: String,
    flags: Vec<String>,
    /// The id of its primary, if it is a replica.
    primary: Option<String>,
    /// Its claims on slots win over those with a lower epoch.
    epoch: u64,
    has_link: bool,
    /// The first and the last slot of each of its ranges.
    ranges: Vec<(u16, u16)>,
}

impl View {
    /// Parses the reply as [`text`](super::super::text).
    pub(super) fn parse(reply: &str) -> Self {
        let (_, lines) = reply.split_once(' ').expect(reply);
        let nodes = lines.lines().filter(|line| !line.trim().is_empty());
        Self {
            nodes: nodes.map(Known::parse).collect(),
        }
    }

    /// Whether the node has links to these nodes and all slots have an owner.
    pub(super) fn is_complete(&self, ids: &[&str]) -> bool {
        let owners = self.owners().into_iter();
        let slots: u16 = owners.map(|(first, last, _)| last - first + 1).sum();
        let has = |id: &&str| self.nodes.iter().any(|it| it.id == *id && it.is_linked());
        slots == SLOTS && ids.iter().all(has)
    }

    /// All ranges of slots with the ids of their owners, in order.
    pub(super) fn owners(&self) -> Vec<(u16, u16, &str)> {
        let owned = self.nodes.iter().flat_map(|it| {
            let ranges = it.ranges.iter();
            ranges.map(|(first, last)| (*first, *last, it.id.as_str()))
        });
        let mut owned: Vec<_> = owned.collect();
        owned.sort_unstable();
        owned
    }

    /// The id of the owner of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&str> {
        let owners = self.owners();
        let of_slot = |(first, last, _): &&(u16, u16, &str)| (*first..=*last).contains(&slot);
        owners.iter().find(of_slot).map(|(_, _, id)| *id)
    }

    /// The epoch of a node.
    pub(super) fn epoch(&self, id: &str) -> Option<u64> {
        let found = self.nodes.iter().find(|it| it.id == id);
        found.map(|it| it.epoch)
    }

    /// Whether the node itself is a primary.
    pub(super) fn is_primary(&self) -> bool {
        self.itself().is("master")
    }

    /// The id of the node's own primary, if it is a replica.
    pub(super) fn primary(&self) -> Option<&str> {
        self.itself().primary.as_deref()
    }

    /// The primaries of all replicas: the ids of both, in order.
    pub(super) fn replicas(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<_> = self.nodes.iter().filter_map(Known::as_replica).collect();
        pairs.sort_unstable();
        pairs
    }

    fn itself(&self) -> &Known {
        self.nodes.iter().find(|it| it.is("myself")).unwrap()
    }
}

impl Known {
    /// Parses a line: id, address, flags, primary, times of ping and pong, epoch, link, slots.
    fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect(line).to_owned();
        let (id, _address, flags, primary) = (word(), word(), word(), word());
        let (_ping, _pong, epoch, link) = (word(), word(), word(), word());
        Self {
            id,
            flags: flags.split(',').map(str::to_owned).collect(),
            primary: (primary != "-").then_some(primary),
            epoch: epoch.parse().unwrap(),
            has_link: link == "connected",
            ranges: words.filter_map(range).collect(),
        }
    }

    fn is_linked(&self) -> bool {
        self.has_link && !self.is("handshake")
    }

    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|it| it == flag)
    }

    fn as_replica(&self) -> Option<(&str, &str)> {
        Some((&self.id, self.primary.as_deref()?))
    }
}

/// Parses `7` and `0-5460`; a slot that is being migrated, like `[7->-ID]`, is no range.
fn range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}
