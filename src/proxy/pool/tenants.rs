//! The tenants of a worker: what the registry lists.

use crate::cluster::{self, TenantKey};

use super::super::key::{InstanceKey, TenantSlot};
use super::super::tenant::Tenant;
use super::Pools;

impl Pools {
    /// The tenant of this key.
    pub(in super::super) fn tenant(&self, key: &TenantKey) -> Option<TenantSlot> {
        self.by_tenant.get(key).copied()
    }

    /// The tenant of an instance.
    pub(in super::super) fn tenant_of(&mut self, instance: InstanceKey) -> Option<&mut Tenant> {
        let slot = self.instances.get(instance)?.slot;
        self.tenants.get_mut(slot)
    }

    /// Takes over what a new picture says.
    pub(in super::super) fn follow_tenant(&mut self, tenant: &cluster::Tenant) -> TenantSlot {
        let (tenants, lists) = (&mut self.tenants, &mut self.denied_lists);
        let slot = *self
            .by_tenant
            .entry(tenant.key.clone())
            .or_insert_with(|| tenants.insert(Tenant::new(tenant, lists)));
        if let Some(known) = tenants.get_mut(slot) {
            known.follow_quota(&tenant.quota);
            known.follow_limits(&tenant.limits, lists);
            known.gone = false;
            if let Some(until) = self.early_pauses.remove(&tenant.key) {
                known.paused_until = Some(until);
            }
        }
        slot
    }

    /// A tenant that is not in the picture gets no new clients, and is forgotten when the last of
    /// its clients has gone.
    pub(in super::super) fn forget_tenant(&mut self, key: &TenantKey) {
        let slot = self.by_tenant.get(key);
        if let Some(tenant) = slot.and_then(|&slot| self.tenants.get_mut(slot)) {
            tenant.gone = true;
            tenant.instances.clear();
        }
    }

    /// See [`forget_tenant`](Self::forget_tenant).
    pub(in super::super) fn sweep_tenants(&mut self) {
        let used: std::collections::HashSet<TenantSlot> = (self.instances.iter())
            .map(|(_, instance)| instance.slot)
            .collect();
        let tenants = &mut self.tenants;
        self.by_tenant.retain(|_, &mut slot| {
            let unused = |it: &Tenant| it.gone && it.used == [0; 3] && !used.contains(&slot);
            let forgotten = tenants.get(slot).is_none_or(unused);
            if forgotten {
                tenants.remove(slot);
            }
            !forgotten
        });
        self.denied_lists.sweep();
    }
}
