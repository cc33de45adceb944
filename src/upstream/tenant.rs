//! Tenants on this worker: their limits, their use of them, and their pauses.
//!
//! The use is counted for all workers together (see [`Quota`]). Not for each request: a worker
//! takes requests from the quota, and charges bytes to it, in portions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::{self, Quota, TenantKey, TenantLimits};
use crate::command::DenyList;
use crate::command::scatter::CrossSlot;
use crate::resp::Args;

use crate::stats::worker_stats::Limit;
use crate::store::key::InstanceKey;
use crate::store::time::Millis;

/// A worker takes requests from the quota, and charges bytes to it, in portions of 1/100 of the
/// rate.
const PORTIONS_PER_SECOND: u64 = 100;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(super) key: TenantKey,
    pub(super) limits: Arc<TenantLimits>,
    /// The denied commands.
    denied: Option<Arc<DenyList>>,
    quota: Arc<Quota>,
    /// This worker's part of `quota`: clients, dedicated links, clients that wait for the end of a
    /// pause.
    pub(super) used: [u32; 3],
    /// Instances that may be given to new clients, by id.
    pub(super) instances: Vec<InstanceKey>,
    /// The number of choices among them so far.
    pub(super) turn: u64,
    /// Requests wait until then.
    pub(super) paused_until: Option<Millis>,
    /// Requests taken from the quota and not used yet.
    portion: u32,
    /// Bytes transferred and not charged yet; negative after a refund: charged bytes that were not
    /// transferred.
    uncharged: i64,
    /// How often each limit was reached, in the order of [`Limit::ALL`].
    pub(super) refused: [u64; Limit::ALL.len()],
    /// When the registry removed the tenant.
    pub(super) gone: Option<Millis>,
}

/// A gauge of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Client,
    Pinned,
    Waiting,
}

impl Tenant {
    pub(crate) fn new(tenant: &cluster::Tenant, lists: &mut DeniedLists) -> Self {
        Self {
            key: tenant.key.clone(),
            limits: Arc::clone(&tenant.limits),
            denied: lists.get(&tenant.limits.deny),
            quota: Arc::clone(&tenant.quota),
            used: [0; 3],
            instances: Vec::new(),
            turn: 0,
            paused_until: None,
            portion: 0,
            uncharged: 0,
            refused: [0; Limit::ALL.len()],
            gone: None,
        }
    }

    /// The full name of the command of this request, if the tenant may not use it.
    pub(crate) fn denied_name<'a>(&'a self, frame: &'a [u8]) -> Option<Cow<'a, str>> {
        self.denied.as_ref()?.denied_name(Args::new(frame))
    }

    /// Which requests with keys in several slots of a Redis Cluster are split.
    pub(crate) fn cross_slot(&self) -> CrossSlot {
        self.limits.cross_slot
    }

    fn gauge(&self, of: Use) -> &cluster::Gauge {
        match of {
            Use::Client => &self.quota.clients,
            Use::Pinned => &self.quota.pinned,
            Use::Waiting => &self.quota.waiting,
        }
    }

    /// Adds one to a gauge, unless it has reached `max`. Returns whether it did.
    pub(crate) fn take(&mut self, of: Use, max: Option<u32>) -> bool {
        let taken = match max {
            Some(max) => self.gauge(of).add_below(max),
            None => {
                self.gauge(of).add();
                true
            }
        };
        if let Some(used) = self.used.get_mut(of as usize) {
            *used += u32::from(taken);
        }
        taken
    }

    /// Subtracts one from a gauge.
    pub(crate) fn release(&mut self, of: Use) {
        self.gauge(of).subtract();
        if let Some(used) = self.used.get_mut(of as usize) {
            *used -= 1;
        }
    }

    /// This worker's part of a gauge.
    pub(crate) fn used(&self, of: Use) -> u32 {
        self.used.get(of as usize).copied().unwrap_or_default()
    }

    /// Moves the counts to another quota: the tenant was removed and added again.
    pub(crate) fn replace_quota(&mut self, quota: &Arc<Quota>) {
        if Arc::ptr_eq(&self.quota, quota) {
            return;
        }
        let old = std::mem::replace(&mut self.quota, Arc::clone(quota));
        let (old, new) = (&*old, &*self.quota);
        let gauges = [
            (&old.clients, &new.clients),
            (&old.pinned, &new.pinned),
            (&old.waiting, &new.waiting),
        ];
        for ((old, new), n) in gauges.into_iter().zip(self.used) {
            for _ in 0..n {
                old.subtract();
                new.add();
            }
        }
    }

    /// Takes over the limits of a new snapshot. Requests taken and bytes not charged yet (at most
    /// 1/100 of a second) are forgotten.
    pub(crate) fn apply_limits(
        &mut self,
        limits: &Arc<TenantLimits>,
        lists: &mut DeniedLists,
        now: Millis,
    ) {
        if self.limits == *limits {
            return;
        }
        let old = std::mem::replace(&mut self.limits, Arc::clone(limits));
        let quota = &self.quota;
        let rate = |it: &TenantLimits| it.requests_per_second.map_or(u64::MAX, u64::from);
        quota.requests.follow(rate(&old), rate(limits), now.0);
        let rate = |it: &TenantLimits| it.bytes_per_second.unwrap_or(u64::MAX);
        quota.bytes.follow(rate(&old), rate(limits), now.0);
        self.denied = lists.get(&limits.deny);
        (self.portion, self.uncharged) = (0, 0);
    }

    /// Must the tenant's requests be checked one by one?
    pub(crate) fn needs_check(&self) -> bool {
        self.paused_until.is_some()
            || self.denied.is_some()
            || self.limits.requests_per_second.is_some()
            || self.limits.bytes_per_second.is_some()
    }

    /// Do the tenant's rates allow a request of this many bytes now? If so, the request is charged.
    pub(crate) fn admit_request(&mut self, bytes: usize, now: Millis) -> Result<(), Limit> {
        if let Some(rate) = self.limits.requests_per_second
            && !self.take_request(rate, now)
        {
            return Err(Limit::Requests);
        }
        if self.limits.bytes_per_second.is_some() {
            // A refused request is not charged: otherwise a client that retries at once would never
            // be served again.
            if self.quota.bytes.is_overdrawn(now.0) {
                return Err(Limit::Bytes);
            }
            self.charge(bytes as u64, now);
        }
        Ok(())
    }

    /// The number of requests that the tenant's rates allow now.
    pub(crate) fn room(&self, now: Millis) -> u32 {
        let of_bytes = self.limits.bytes_per_second.is_some();
        if of_bytes && self.quota.bytes.is_overdrawn(now.0) {
            return 0;
        }
        let Some(rate) = self.limits.requests_per_second else {
            return u32::MAX;
        };
        let left = self.quota.requests.left(u64::from(rate), now.0);
        u32::try_from(left).map_or(u32::MAX, |left| left.saturating_add(self.portion))
    }

    /// The time until the rates may allow a request, ms.
    pub(crate) fn wait_ms(&self, now: Millis) -> u64 {
        let rates = &self.limits;
        let requests = rates.requests_per_second.map_or(0, |rate| {
            self.quota.requests.wait_ms(1, u64::from(rate), now.0)
        });
        let bytes = rates
            .bytes_per_second
            .map_or(0, |rate| self.quota.bytes.wait_ms(0, rate, now.0));
        requests.max(bytes)
    }

    fn take_request(&mut self, rate: u32, now: Millis) -> bool {
        let rate = u64::from(rate);
        if self.portion == 0 {
            let portion = (rate / PORTIONS_PER_SECOND).max(1);
            let taken = [portion, 1]
                .into_iter()
                .find(|&n| self.quota.requests.take(n, rate, now.0));
            self.portion = u32::try_from(taken.unwrap_or(0)).unwrap_or(u32::MAX);
        }
        let some = self.portion > 0;
        self.portion = self.portion.saturating_sub(1);
        some
    }

    /// Takes back a request that was admitted but not sent.
    pub(crate) fn refund(&mut self, bytes: usize) {
        if self.limits.requests_per_second.is_some() {
            self.portion = self.portion.saturating_add(1);
        }
        self.uncharged = self.uncharged.saturating_sub_unsigned(bytes as u64);
    }

    /// Charges transferred bytes, if the tenant has a limit on bytes per second.
    pub(crate) fn charge(&mut self, bytes: u64, now: Millis) {
        let Some(rate) = self.limits.bytes_per_second else {
            return;
        };
        self.uncharged = self.uncharged.saturating_add_unsigned(bytes);
        if let Ok(bytes) = u64::try_from(self.uncharged)
            && bytes >= rate / PORTIONS_PER_SECOND
        {
            self.uncharged = 0;
            self.quota.bytes.charge(bytes, rate, now.0);
        }
    }

    /// Counts that a limit was reached; returns how often it was.
    pub(crate) fn refuse(&mut self, limit: Limit) -> u64 {
        let count = self.refused.get_mut(limit as usize);
        count.map_or(0, |count| {
            *count += 1;
            *count
        })
    }
}

/// The deny lists of all tenants, by the configured words. Many tenants share one, and a compiled
/// list is large.
#[derive(Debug, Default)]
pub(crate) struct DeniedLists(HashMap<Vec<String>, Arc<DenyList>>);

impl DeniedLists {
    pub(crate) fn get(&mut self, words: &[String]) -> Option<Arc<DenyList>> {
        if let Some(known) = self.0.get(words) {
            return Some(Arc::clone(known));
        }
        let new = Arc::new(DenyList::compile(words)?);
        self.0.insert(words.to_vec(), Arc::clone(&new));
        Some(new)
    }

    /// Forgets the lists that no tenant uses any more.
    pub(crate) fn sweep(&mut self) {
        self.0.retain(|_, list| Arc::strong_count(list) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_with_the_same_words_share_a_deny_list() {
        let mut lists = DeniedLists::default();
        let words = ["flushall".to_owned()];
        let (first, second) = (lists.get(&words), lists.get(&words));
        assert!(Arc::ptr_eq(&first.unwrap(), second.as_ref().unwrap()));
        assert_eq!(lists.get(&[]), None);
        lists.sweep();
        assert_eq!(lists.0.len(), 1);
        drop(second);
        lists.sweep();
        assert!(lists.0.is_empty());
    }
}
