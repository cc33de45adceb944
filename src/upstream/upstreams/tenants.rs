//! The tenants of a worker: changes of the registry.

use std::collections::HashSet;

use crate::cluster::{self, TenantKey};
use crate::command::scatter::CrossSlot;
use crate::upstream::tenant::Use;

use crate::store::key::TenantSlot;
use crate::store::time::Millis;
use crate::upstream::tenant::Tenant;
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// The tenant of this key.
    pub(crate) fn tenant(&self, key: &TenantKey) -> Option<TenantSlot> {
        self.by_tenant.get(key).copied()
    }

    /// The key of a tenant.
    pub(crate) fn tenant_key(&self, slot: TenantSlot) -> Option<&TenantKey> {
        Some(&self.tenants.get(slot)?.key)
    }

    /// Which requests with keys in several slots are split for a tenant.
    pub(crate) fn cross_slot(&self, slot: TenantSlot) -> CrossSlot {
        self.tenants
            .get(slot)
            .map_or_else(CrossSlot::default, Tenant::cross_slot)
    }

    /// All tenants.
    pub(crate) fn tenants(&self) -> impl Iterator<Item = TenantSlot> {
        self.tenants.iter().map(|(slot, _)| slot)
    }

    /// Tenants with clients that the registry dropped this long ago.
    pub(crate) fn removed_tenants(&self, ms: u64, now: Millis) -> HashSet<TenantSlot> {
        let removed = |it: &Tenant| it.gone.is_some_and(|at| now.since(at) >= ms);
        let tenants = self.tenants.iter();
        let tenants = tenants.filter(|(_, it)| it.used(Use::Client) > 0 && removed(it));
        tenants.map(|(slot, _)| slot).collect()
    }

    /// Follows a new snapshot.
    pub(crate) fn apply_tenant(&mut self, tenant: &cluster::Tenant, now: Millis) -> TenantSlot {
        let (tenants, lists) = (&mut self.tenants, &mut self.denied_lists);
        let slot = *self
            .by_tenant
            .entry(tenant.key.clone())
            .or_insert_with(|| tenants.insert(Tenant::new(tenant, lists)));
        if let Some(known) = tenants.get_mut(slot) {
            known.replace_quota(&tenant.quota);
            known.apply_limits(&tenant.limits, lists, now);
            known.gone = None;
            if let Some(until) = self.early_pauses.remove(&tenant.key) {
                known.paused_until = Some(until);
            }
        }
        slot
    }

    /// A tenant that is not in the snapshot gets no new clients, and is forgotten when the last of
    /// its clients has gone.
    pub(crate) fn forget_tenant(&mut self, key: &TenantKey, now: Millis) {
        let slot = self.by_tenant.get(key);
        if let Some(tenant) = slot.and_then(|&slot| self.tenants.get_mut(slot)) {
            tenant.gone = tenant.gone.or(Some(now));
            tenant.instances.clear();
        }
    }

    /// See [`forget_tenant`](Self::forget_tenant).
    pub(crate) fn sweep_tenants(&mut self) {
        let instances = self.instances.iter().map(|(_, instance)| instance.slot);
        let accounts = self.accounts.iter().map(|(_, account)| account.tenant);
        let used: HashSet<TenantSlot> = instances.chain(accounts).collect();
        let tenants = &mut self.tenants;
        self.by_tenant.retain(|_, &mut slot| {
            let unused =
                |it: &Tenant| it.gone.is_some() && it.used == [0; 3] && !used.contains(&slot);
            let forgotten = tenants.get(slot).is_none_or(unused);
            if forgotten {
                tenants.remove(slot);
            }
            !forgotten
        });
        self.denied_lists.sweep();
    }

    /// Updates `any_checked`: must the requests of any tenant be checked?
    pub(crate) fn update_any_checked(&mut self) {
        let mut all = self.tenants.iter();
        self.any_checked = all.any(|(_, it)| it.needs_check() || it.limits.request_bytes.is_some());
    }
}
