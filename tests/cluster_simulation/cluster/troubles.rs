//! When something was wrong with a cluster, and with which of its nodes or slots.

use super::Cluster;

/// A time in which requests may fail or take longer.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    from: u64,
    until: u64,
    nodes: Vec<usize>,
    /// The slot that moves.
    pub(crate) slot: Option<usize>,
    why: &'static str,
}

impl Trouble {
    pub(super) const ABSENT: &str = "an absent primary";
    pub(super) const LIE: &str = "a lie";
    pub(super) const LOADING: &str = "a node that loads";
    pub(super) const MIGRATION: &str = "a migration";
    pub(super) const MINORITY: &str = "a node in a minority";
    pub(super) const PAUSE: &str = "a pause";

    /// Whether a request may fail because of it: not because a node takes long.
    pub(crate) fn is_failure(&self) -> bool {
        self.why != Self::PAUSE
    }

    /// Whether it is only that a slot moves.
    pub(crate) fn is_migration(&self) -> bool {
        self.why == Self::MIGRATION
    }
}

#[derive(Debug, Default)]
pub(crate) struct Troubles(Vec<Trouble>);

impl Troubles {
    /// The troubles in this time.
    pub(crate) fn between(&self, from: u64, until: u64) -> impl Iterator<Item = &Trouble> {
        let overlaps = move |it: &&Trouble| it.from <= until && it.until >= from;
        self.0.iter().filter(overlaps)
    }
}

impl Cluster {
    /// Whether a trouble concerns a slot.
    pub(crate) fn concerns(&self, trouble: &Trouble, slot: usize) -> bool {
        let mut members = self.members(slot);
        trouble.slot == Some(slot) || members.any(|node| trouble.nodes.contains(&node))
    }

    /// Something is wrong with these nodes from now on.
    pub(super) fn trouble(&mut self, until: u64, nodes: &[usize], why: &'static str) {
        self.troubles.0.push(Trouble {
            from: self.now,
            until,
            nodes: nodes.to_vec(),
            slot: None,
            why,
        });
    }

    /// A slot begins to move.
    pub(super) fn trouble_of_slot(&mut self, slot: usize) {
        self.troubles.0.push(Trouble {
            from: self.now,
            until: u64::MAX,
            nodes: Vec::new(),
            slot: Some(slot),
            why: Trouble::MIGRATION,
        });
    }

    /// A slot has moved, and the nodes are going to hear it.
    pub(super) fn end_trouble_of_slot(&mut self, slot: usize) {
        let until = self.now + self.plan.lag_ms;
        let mut all = self.troubles.0.iter_mut().rev();
        if let Some(trouble) = all.find(|it| it.slot == Some(slot)) {
            trouble.until = until;
        }
    }
}
