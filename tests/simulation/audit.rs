//! In the end all books are compared: what was executed, when it was asked for, and what the limits
//! and pauses of its tenant were in between.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::denies;
use super::redis::{Execution, Moment, Redis, SEQUENCE, Tag};
use super::script::Asks;
use super::world::World;

/// A request that was executed.
#[derive(Clone, Copy)]
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
            for tag in &client.never {
                if self.view().execution(*tag).is_some() {
                    return Err(format!("{tag} was executed, although its client heard not"));
                }
            }
            let answered = client.pending.is_empty() || client.done;
            if !answered || !client.done {
                return Err(format!("client {} never came to its end", client.id));
            }
        }
        let done = self.done()?;
        self.audit_order(&done)?;
        for it in &done {
            self.audit_denied(it)?;
            self.audit_pauses(it)?;
        }
        self.audit_logins()?;
        self.audit_rates(&done)
    }

    /// All that was executed, by tag.
    fn done(&self) -> Result<Vec<Done<'_>>, String> {
        let mut all = BTreeMap::new();
        for server in &self.servers {
            for (tag, execution) in &server.executed {
                let Some((sent, asks)) = self.asked.get(tag) else {
                    return Err(format!("{tag} was invented"));
                };
                let done = Done {
                    tag: *tag,
                    server,
                    execution,
                    sent: *sent,
                    asks,
                };
                if all.insert(*tag, done).is_some() {
                    return Err(format!("{tag} was executed by two servers"));
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// A client's requests are executed in their order, wherever that is.
    fn audit_order(&self, done: &[Done<'_>]) -> Result<(), String> {
        for pair in done.windows(2) {
            let [before, after] = pair else { continue };
            let same = before.tag / SEQUENCE == after.tag / SEQUENCE;
            // Elements of a transaction have the time of their EXEC, and no order to others.
            if same && before.execution.at.step > after.execution.at.step {
                return Err(format!("{} was executed before {}", after.tag, before.tag));
            }
        }
        Ok(())
    }

    /// A command that was denied all the time is not executed.
    fn audit_denied(&self, done: &Done<'_>) -> Result<(), String> {
        let view = self.view();
        let key = &done.server.tenant_key;
        let mut pictures = view.pictures(done.sent, done.execution.at);
        let denied = pictures.all(|it| {
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

    /// What was asked after a pause had begun is executed after its end.
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

    /// Was a tenant paused from before this request was sent until after it was done?
    fn was_held(&self, server: &Redis, sent: Moment, at: Moment) -> bool {
        let (view, tenant) = (self.view(), &self.tenants[server.tenant]);
        tenant.pauses.iter().any(|pause| {
            // Whoever does not know a tenant does not know of its pause.
            let mut pictures = view.pictures(pause.from, at);
            pause.holds(sent)
                && pause.holds(at)
                && pictures.all(|it| it.snapshot.tenant_by_key(&tenant.key).is_some())
        })
    }

    /// So is a login, where it is verified the first time.
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

    /// In any time, no more of what was asked in it is executed than its tenant's rate allows in a
    /// second more; workers may hold some in advance.
    fn audit_rates(&self, done: &[Done<'_>]) -> Result<(), String> {
        for tenant in 0..self.tenants.len() {
            let its = done.iter().filter(|it| it.server.tenant == tenant);
            let mut its: Vec<&Done<'_>> = its.collect();
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

    /// So many requests of a tenant at most are executed in this time; `None`: any number.
    fn allowed(&self, tenant: usize, from: Moment, to: Moment) -> Option<u64> {
        let (view, key) = (self.view(), &self.tenants[tenant].key);
        let rates = view.pictures(from, to).map(|picture| {
            let limits = &picture.snapshot.tenant_by_key(key)?.limits;
            limits.requests_per_second.map(u64::from)
        });
        let rates: Option<Vec<u64>> = rates.collect();
        let rate = rates?.into_iter().max()?;
        let held = u64::from(self.plan.workers) * (rate / 100).max(1);
        Some(rate * (to.ms - from.ms + 1_000) / 1_000 + held + 1)
    }
}
