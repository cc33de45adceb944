//! When something was wrong with a cluster, and with which of its nodes.

use super::Cluster;

/// A time in which requests may fail.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) nodes: Vec<usize>,
    /// The slot that moves.
    pub(crate) slot: Option<usize>,
    pub(crate) why: &'static str,
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
            why: "a migration",
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
