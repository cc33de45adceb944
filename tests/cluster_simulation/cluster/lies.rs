//! What a node reports for a while that is not so, and nodes that see the cluster as down.

use super::super::plan::Endpoints;
use super::{Cluster, Trouble, View};

/// A wrong report, and its end.
#[derive(Clone, Debug)]
pub(super) struct Lie {
    pub(super) until: u64,
    claim: Claim,
}

/// What CLUSTER SLOTS says instead.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    /// Nothing, as a node that has just joined.
    NoSlots,
    /// What was so before.
    Old(View),
    /// The node does not know its own address.
    Self_(Option<&'static str>),
    /// Host names without addresses, which nobody can look up.
    NamesOnly,
}

impl Cluster {
    /// What a node reports that is not so.
    pub(super) fn claim(&self, node: usize) -> Option<&Claim> {
        let lie = self.nodes[node].lie.as_ref();
        lie.filter(|lie| lie.until > self.now).map(|lie| &lie.claim)
    }

    /// A node begins to report something wrong, or sees the cluster as down.
    pub(crate) fn begin_lie(&mut self) {
        let node = self.rng.below(self.nodes.len());
        let until = self.now + self.rng.between(50, 800);
        self.happened.lies += 1;
        let claim = match self.rng.below(7) {
            0 => Claim::NoSlots,
            1 | 2 => Claim::Old(self.first_view()),
            3 => Claim::Self_(*self.rng.pick(&[None, Some(""), Some("?")])),
            4 => Claim::NamesOnly,
            _ => {
                self.nodes[node].fail_until = until;
                self.trouble(until, &[node], Trouble::MINORITY);
                return;
            }
        };
        if self.plan.endpoints == Endpoints::HostName {
            // Redirections do not say where a node is.
            let all: Vec<usize> = (0..self.nodes.len()).collect();
            self.trouble(until, &all, Trouble::LIE);
        }
        self.nodes[node].lie = Some(Lie { until, claim });
    }

    /// The cluster as it was at first, or nearly.
    fn first_view(&self) -> View {
        let mut view = self.truth.clone();
        for (slot, home) in self.slots.iter().zip(&mut view.home) {
            let holds = |range: &Option<(u16, u16)>| {
                range.is_some_and(|(first, last)| (first..=last).contains(&slot.number))
            };
            *home = self.ranges.iter().position(holds).unwrap_or(*home);
        }
        for (shard, primary) in view.primary.iter_mut().enumerate() {
            *primary = shard * (1 + self.plan.replicas);
        }
        view
    }

    /// Whether a node refuses requests because it sees the cluster as down.
    pub(super) fn is_cluster_down(&self, node: usize) -> bool {
        self.nodes[node].fail_until > self.now
    }
}
