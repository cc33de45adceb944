//! At the end all records are compared: when each request was executed, when it was sent, and the
//! limits and pauses of its tenant in between.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::denies;
use super::redis::{Execution, Moment, Redis, SEQUENCE, Tag, is_read};
use super::script::Asks;
use super::world::World;

/// An executed request.
#[derive(Clone, Copy, Debug)]
struct Done<'a> {
    tag: Tag,
    server: &'a Redis,
    execution: &'a Execution,
    sent: Moment,
    asks: &'a Asks,
}

impl World {
    pub(crate) fn audit(&self) -> Result<(), String> {
        for client in &self.clients {
            let counted = self.nodes[client.worker].machine.counters();
            for tag in &client.never {
                // For a retried read, the reply identifies the execution that was read.
                let asks = self.asked.get(tag);
                let again =
                    counted.asked_again > 0 && asks.is_some_and(|it| is_read(&it.1.command));
                if !again && self.view().executions(*tag).next().is_some() {
                    return Err(format!("{tag} was executed, although its client heard not"));
                }
            }
            let answered = client.pending.is_empty() || client.done;
            if !answered || !client.done {
                return Err(format!("client {} never came to its end", client.id));
            }
        }
        let done = self.done()?;
        self.audit_again(&done)?;
        self.audit_order(&done)?;
        for it in &done {
            self.audit_denied(it)?;
            self.audit_pauses(it)?;
        }
        self.audit_logins()?;
        self.audit_rates(&done)
    }

    /// All executed requests, by tag.
    fn done(&self) -> Result<Vec<Done<'_>>, String> {
        let mut all = Vec::new();
        for server in &self.servers {
            for (tag, execution) in { server.executed.iter() }
                .flat_map(|(tag, all)| all.iter().map(move |it| (*tag, it)))
            {
                let Some((sent, asks)) = self.asked.get(&tag) else {
                    return Err(format!("{tag} was invented"));
                };
                all.push(Done {
                    tag,
                    server,
                    execution,
                    sent: *sent,
                    asks,
                });
            }
        }
        all.sort_by_key(|it| (it.tag, it.execution.at));
        Ok(all)
    }

    /// A read is executed twice, or out of order, only where it was retried; and exactly one of its
    /// replies was read.
    fn audit_again(&self, done: &[Done<'_>]) -> Result<(), String> {
        for same in done.chunk_by(|a, b| a.tag == b.tag) {
            let [first, others @ ..] = same else { continue };
            if others.is_empty() && !first.execution.late {
                continue;
            }
            let whose = |it: &Execution| (it.user.clone(), it.db, it.protocol);
            let same_place = { same.iter() }.all(|it| {
                let tenants = (it.server.tenant, first.server.tenant);
                tenants.0 == tenants.1 && whose(it.execution) == whose(first.execution)
            });
            // Executions on one connection have the same properties.
            let heard = same.iter().filter(|it| it.execution.heard);
            let heard = heard.map(|it| (it.server.index, it.execution.session));
            let heard: BTreeSet<(usize, u64)> = heard.collect();
            if !(self.may_be_asked_again(first) && same_place && heard.len() <= 1) {
                return Err(format!(
                    "{} was executed without a reason: {same:?}",
                    first.tag
                ));
            }
        }
        Ok(())
    }

    /// Whether the request is a read whose worker has retried any read.
    fn may_be_asked_again(&self, done: &Done<'_>) -> bool {
        let client = &self.clients[(done.tag / SEQUENCE) as usize - 1];
        let counted = self.nodes[client.worker].machine.counters();
        counted.asked_again > 0 && is_read(&done.asks.command)
    }

    /// A client's requests are executed in order, on any connection. A retried request counts where
    /// its reply was read, if that is known.
    fn audit_order(&self, done: &[Done<'_>]) -> Result<(), String> {
        let counts = |same: &'_ [Done<'_>]| {
            let mut heard = { same.iter().enumerate() }.filter(|(_, it)| it.execution.heard);
            match (heard.next(), heard.next()) {
                (Some((place, _)), None) => Some(place),
                (Some(_), Some(_)) => None,
                (None, _) => (!self.may_be_asked_again(&same[0])).then_some(0),
            }
        };
        let all = done.chunk_by(|a, b| a.tag == b.tag);
        let all: Vec<&Done<'_>> = all.filter_map(|same| Some(&same[counts(same)?])).collect();
        for pair in all.windows(2) {
            let [before, after] = pair else { continue };
            let same = before.tag / SEQUENCE == after.tag / SEQUENCE;
            // The commands of a transaction have the time of EXEC and no order among others.
            if same && before.execution.at.step > after.execution.at.step {
                let [before, after] = [before, after].map(|it| (it.tag, it.execution));
                return Err(format!("{after:?} was executed before {before:?}"));
            }
        }
        Ok(())
    }

    /// A command that was denied all the time is not executed.
    fn audit_denied(&self, done: &Done<'_>) -> Result<(), String> {
        let view = self.view();
        let key = &done.server.tenant_key;
        let mut snapshots = view.snapshots(done.sent, done.execution.at);
        let denied = snapshots.all(|it| {
            let tenant = it.snapshot.tenant_by_key(key);
            tenant.is_some_and(|tenant| denies(&tenant.limits, &done.asks.command))
        });
        match denied {
            true => Err(format!(
                "{} was executed: {:?} is denied",
                done.tag, done.asks
            )),
            false => Ok(()),
        }
    }

    /// A request that was sent after the start of a pause is executed after its end.
    fn audit_pauses(&self, done: &Done<'_>) -> Result<(), String> {
        let at = done.execution.at;
        match self.was_held(done.server, done.sent, at) {
            true => Err(format!(
                "{}, sent at {:?}, was executed at {at:?}, in a pause",
                done.tag, done.sent
            )),
            false => Ok(()),
        }
    }

    /// Whether the tenant was paused from before the request was sent until it was executed.
    fn was_held(&self, server: &Redis, sent: Moment, at: Moment) -> bool {
        let (view, tenant) = (self.view(), &self.tenants[server.tenant]);
        tenant.pauses.iter().any(|pause| {
            // A worker that does not know the tenant does not know its pause.
            let mut snapshots = view.snapshots(pause.from, at);
            pause.holds(sent)
                && pause.holds(at)
                && snapshots.all(|it| it.snapshot.tenant_by_key(&tenant.key).is_some())
        })
    }

    /// A login also waits until the end of the pause, where it is verified for the first time.
    fn audit_logins(&self) -> Result<(), String> {
        let mut first: BTreeMap<&str, (Moment, &Redis)> = BTreeMap::new();
        for server in &self.servers {
            for verdict in &server.verdicts {
                let found = first
                    .entry(&verdict.password)
                    .or_insert((verdict.at, server));
                if verdict.at < found.0 {
                    *found = (verdict.at, server);
                }
            }
        }
        for (password, sent) in &self.logins {
            if let Some((at, server)) = first.get(password.as_str())
                && self.was_held(server, *sent, *at)
            {
                return Err(format!(
                    "{password:?}, sent at {sent:?}, was verified at {at:?}, in a pause"
                ));
            }
        }
        Ok(())
    }

    /// In any interval, no more requests of a tenant are executed than its rate allows in the
    /// interval and one second; workers may hold some in advance.
    fn audit_rates(&self, done: &[Done<'_>]) -> Result<(), String> {
        for tenant in 0..self.tenants.len() {
            let its = done.iter().filter(|it| it.server.tenant == tenant);
            let mut its: Vec<&Done<'_>> = its.collect();
            // A retry is not counted again.
            its.dedup_by_key(|it| it.tag);
            its.sort_unstable_by_key(|it| it.execution.at);
            let starts: BTreeSet<Moment> = its.iter().map(|it| it.sent).collect();
            let apart = starts.len().div_ceil(12).max(1);
            for from in starts.into_iter().step_by(apart) {
                let asked = its.iter().filter(|it| it.sent >= from);
                for (nth, last) in asked.enumerate() {
                    let most = self.allowed(tenant, from, last.execution.at);
                    if most.is_some_and(|most| nth as u64 + 1 > most) {
                        let at = last.execution.at;
                        return Err(format!(
                            "{} requests of tenant {tenant} from {from:?} to {at:?}, not {most:?}",
                            nth + 1
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// The number of requests of a tenant that may be executed in this time; `None`: no limit.
    fn allowed(&self, tenant: usize, from: Moment, to: Moment) -> Option<u64> {
        let (view, key) = (self.view(), &self.tenants[tenant].key);
        let rates = view.snapshots(from, to).map(|picture| {
            let limits = &picture.snapshot.tenant_by_key(key)?.limits;
            limits.requests_per_second.map(u64::from)
        });
        let rates: Option<Vec<u64>> = rates.collect();
        let rate = rates?.into_iter().max()?;
        let held = u64::from(self.plan.workers) * (rate / 100).max(1);
        Some(rate * (to.ms - from.ms + 1_000) / 1_000 + held + 1)
    }
}
