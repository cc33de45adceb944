//! The errors that a client may get, and when.

use super::super::client::{Op, Sent};
use super::super::cluster::Execution;
use super::super::world::World;

/// A request may wait this much longer than hold-ms for an error of a node or of the proxy, because
/// of the network, ms.
const SLACK_MS: u64 = 100;

/// The error for a script that a node redirects, or that looks so.
const MOVED_SCRIPT: &str = "TRYAGAIN The slot has moved to another node";

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
        if matches!(sent.op, Op::Script(_)) && text == MOVED_SCRIPT {
            return self.judge_moved_script(index, sent);
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
            Op::Exec { .. }
                | Op::Queued
                | Op::CrossSlot { queued: true }
                | Op::Watch
                | Op::Block(_)
                | Op::Multi
                | Op::Subscribe(_)
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
                    true if self.judge_unknown(index, sent).is_ok() => Ok(()),
                    true => self.judge_unavailable(index, sent),
                    false => self.judge_held(index, sent),
                }
            }
            _ => Err("an unexpected error".into()),
        }
    }

    /// A script whose error names a node that the proxy does not know: its text may be the script's
    /// own.
    fn judge_moved_script(&mut self, index: usize, sent: &Sent) -> Result<(), String> {
        let cluster = &self.clusters[self.clients[index].cluster];
        let moved = |it: &Execution| it.reply.starts_with(b"-MOVED ");
        let slot = sent.op.slots().first().copied();
        let mut troubles = cluster.troubles.between(sent.at, self.now);
        match cluster.executions(sent.tag) {
            [one] if moved(one) => Ok(()),
            [] if troubles.any(|it| it.slot.is_none() || it.slot == slot) => Ok(()),
            other => Err(format!("executed as {other:?}")),
        }
    }

    fn judge_cross_slot(&mut self, index: usize, sent: &Sent) -> Result<(), String> {
        self.clients[index].never.push(sent.tag);
        match sent.op {
            Op::CrossSlot { .. } => Ok(()),
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
