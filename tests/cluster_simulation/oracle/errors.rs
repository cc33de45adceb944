//! The errors that a client may get, and when.

use super::super::client::{Op, Sent};
use super::super::world::World;

/// A request may wait this much longer than hold-ms for an error of a node or of the proxy, because
/// of the network, ms.
const SLACK_MS: u64 = 100;

impl World {
    /// Judges an error that no script chose.
    pub(super) fn judge_error(
        &mut self,
        index: usize,
        sent: &Sent,
        text: &str,
    ) -> Result<(), String> {
        let word = text.split(' ').next().unwrap_or_default();
        match word {
            "MOVED" | "ASK" => return Err("a redirection".into()),
            "CROSSSLOT" => return self.judge_cross_slot(index, sent),
            _ => {}
        }
        if !self.plan.faults.any() && !matches!(sent.op, Op::Exec { fails: true, .. }) {
            return Err("an error without a fault".into());
        }
        if text.ends_with("outcome unknown") {
            self.summary.count("outcome unknown", 1);
            return self.judge_unknown(index, sent);
        }
        if let Op::Exec { tags, .. } = &sent.op {
            self.clients[index].never.extend(tags);
        }
        if !sent.op.only_reads() {
            self.clients[index].never.push(sent.tag);
        }
        let dedicated = matches!(
            sent.op,
            Op::Exec { .. } | Op::Queued | Op::Watch | Op::Block(_) | Op::Multi
        );
        match word {
            "EXECABORT" if matches!(sent.op, Op::Exec { .. }) => Ok(()),
            // A transaction or a blocked client cannot follow its slot.
            "TRYAGAIN" | "CLUSTERDOWN" | "UNBLOCKED" | "LOADING" | "MASTERDOWN" if dedicated => {
                Ok(())
            }
            "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" => {
                self.summary.count("errors after hold-ms", 1);
                self.judge_held(index, sent)
            }
            _ if text.starts_with("ERR elika: backend unavailable: ") => {
                match dedicated || matches!(sent.op, Op::Login) {
                    true => self.judge_unavailable(index, sent),
                    false => self.judge_held(index, sent),
                }
            }
            _ => Err("an unexpected error".into()),
        }
    }

    fn judge_cross_slot(&mut self, index: usize, sent: &Sent) -> Result<(), String> {
        self.clients[index].never.push(sent.tag);
        match sent.op {
            Op::CrossSlot => Ok(()),
            _ => Err("its keys have one slot".into()),
        }
    }

    /// A write whose connection ended.
    fn judge_unknown(&self, index: usize, sent: &Sent) -> Result<(), String> {
        let lost = { self.losses[self.clients[index].cluster].iter() }
            .filter(|at| **at >= sent.at)
            .count();
        match lost {
            0 => Err("no connection was lost".into()),
            _ => Ok(()),
        }
    }

    /// A request that no node executed for hold-ms.
    fn judge_held(&self, index: usize, sent: &Sent) -> Result<(), String> {
        let hold = self.plan.settings.cluster_hold_ms;
        let waited = self.now - sent.at;
        if waited < hold {
            return Err(format!("after {waited} ms"));
        }
        let cluster = &self.clusters[self.clients[index].cluster];
        let from = self.now.saturating_sub(hold + SLACK_MS).max(sent.at);
        match cluster.troubles.between(from, self.now).next() {
            Some(_) => Ok(()),
            None => Err("nothing was wrong".into()),
        }
    }

    fn judge_unavailable(&self, index: usize, sent: &Sent) -> Result<(), String> {
        let cluster = &self.clusters[self.clients[index].cluster];
        let from = sent.at.saturating_sub(2_000);
        match cluster.troubles.between(from, self.now).next() {
            Some(_) => Ok(()),
            None => Err("nothing was wrong".into()),
        }
    }
}
