//! The errors that a client may get, and when.

use super::super::client::{Op, Sent};
use super::super::cluster::Execution;
use super::super::plan::{Endpoints, Faults};
use super::super::world::World;

/// After something was wrong, requests may fail for this much longer than hold-ms: connections are
/// opened again, ms.
const SLACK_MS: u64 = 1_500;

/// The error for a client whose dedicated connection is to another node.
const OTHER_NODE: &str = "ERR elika: a client that watches, subscribes or tracks cannot use keys \
    of another node here";

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
        if matches!(sent.op, Op::Script(_)) && self.is_last_refusal(index, sent, text) {
            // Only redirections of scripts are followed.
            self.clients[index].never.push(sent.tag);
            return Ok(());
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
            // The connection of the command before it is not free yet.
            _ if matches!(sent.op, Op::Block(_)) && text == OTHER_NODE => Ok(()),
            "EXECABORT" if matches!(sent.op, Op::Exec { .. }) => Ok(()),
            // A transaction or a blocked client cannot follow its slot.
            "TRYAGAIN" | "CLUSTERDOWN" | "UNBLOCKED" | "LOADING" | "MASTERDOWN" if dedicated => {
                Ok(())
            }
            // These errors do not say that the server is a node of a cluster.
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" if self.may_be_single(index, sent) => Ok(()),
            "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" => {
                self.summary.count("errors after hold-ms", 1);
                self.judge_held(index, sent)
            }
            _ if text.starts_with("ERR elika: backend unavailable: ") => {
                let early = !self.knows_cluster(index, sent);
                let session = matches!(sent.op, Op::Login | Op::Select);
                match dedicated || session || early {
                    true if self.judge_unknown(index, sent).is_ok() => Ok(()),
                    true => self.judge_unavailable(index, sent),
                    false => self.judge_held(index, sent),
                }
            }
            _ => Err("an unexpected error".into()),
        }
    }

    /// Whether a node refused the request with this text.
    fn is_last_refusal(&self, index: usize, sent: &Sent, text: &str) -> bool {
        let cluster = &self.clusters[self.clients[index].cluster];
        let refusals = cluster.refusals.get(&sent.tag);
        let last = refusals.and_then(|all| all.last());
        last.is_some_and(|last| last.text == text && !text.starts_with("ASK "))
    }

    /// A script whose error names a node that the proxy does not know: its text may be the script's
    /// own.
    fn judge_moved_script(&self, index: usize, sent: &Sent) -> Result<(), String> {
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

    /// A request whose connection ended when it may have been executed. A read is sent again, once,
    /// and if its client has not sent a write behind it.
    fn judge_unknown(&self, index: usize, sent: &Sent) -> Result<(), String> {
        let client = &self.clients[index];
        let losses = self.losses[client.cluster].iter();
        let lost = losses.filter(|(at, _)| *at >= sent.at).count();
        let bound = client.pending.iter().any(|it| !it.op.only_reads());
        let slow = client.asleep_until >= sent.at || client.writes_first || client.room < 500;
        match lost {
            0 => Err("no connection was lost".into()),
            1 if sent.op.only_reads() && !bound && !slow => Err("a read".into()),
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
        let slots = sent.op.slots();
        // A request with one key follows its slot, unless the redirections have host names.
        let named = cluster.plan.endpoints == Endpoints::HostName;
        let slow = self.plan.faults.lag || self.plan.faults.pause;
        let one = matches!(sent.op, Op::One { write: false, .. }) && !named && !slow;
        // The time at a node that takes long counts for a request that is held, or waits behind one
        // that was.
        let Faults { migrate, lag, .. } = self.plan.faults;
        let held = migrate || lag || !self.knows_cluster(index, sent);
        let mut troubles = cluster.troubles.between(from, self.now);
        let reason = troubles.any(|it| {
            // The slot may have had another shard.
            let concerns = slots.is_empty()
                || self.plan.faults.migrate
                || slots.iter().any(|slot| cluster.concerns(it, *slot));
            let failure = it.is_failure() || held;
            failure && concerns && !(one && it.is_migration())
        });
        let losses = self.losses[self.clients[index].cluster].iter();
        let lost = losses.filter(|(at, _)| *at >= from).count();
        match reason || self.plan.faults.cut && lost > 1 {
            true => Ok(()),
            false => Err("nothing was wrong".into()),
        }
    }

    fn judge_unavailable(&self, index: usize, sent: &Sent) -> Result<(), String> {
        let cluster = &self.clusters[self.clients[index].cluster];
        let from = sent.at.saturating_sub(2_000);
        // After a failure, no connection is opened for a while.
        let losses = &self.losses[self.clients[index].cluster];
        if losses.iter().any(|(at, _)| *at >= from) {
            return Ok(());
        }
        match cluster
            .troubles
            .between(from, self.now)
            .any(|it| it.is_failure())
        {
            true => Ok(()),
            false => Err("nothing was wrong".into()),
        }
    }
}
