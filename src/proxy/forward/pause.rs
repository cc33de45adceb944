//! Pauses of tenants: their requests and logins wait, and go on when the pause ends.

use crate::cluster::{Login, TenantKey};

use crate::proxy::forward::answer::Handled;
use crate::proxy::machine::Machine;
use crate::stats::worker_stats::Limit;
use crate::store::key::{ClientKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::tenant::Use;

impl Machine {
    /// Pauses a tenant: its requests wait, for at most `ms`.
    pub fn pause(&mut self, tenant: &TenantKey, ms: u64) {
        let until = self.now.after(ms);
        let Some(slot) = self.upstreams.tenant(tenant) else {
            self.upstreams.early_pauses.insert(tenant.clone(), until);
            return;
        };
        if let Some(tenant) = self.upstreams.tenants.get_mut(slot) {
            tenant.paused_until = Some(until);
        }
        self.upstreams.look_for_gates();
    }

    /// Ends a tenant's pause.
    pub fn unpause(&mut self, tenant: &TenantKey) {
        self.upstreams.early_pauses.remove(tenant);
        if let Some(slot) = self.upstreams.tenant(tenant) {
            self.end_pause(slot);
        }
    }

    fn end_pause(&mut self, slot: TenantSlot) {
        if let Some(tenant) = self.upstreams.tenants.get_mut(slot) {
            tenant.paused_until = None;
        }
        self.upstreams.look_for_gates();
        for _ in 0..self.clients.end_pause(slot) {
            self.upstreams.release(slot, Use::Waiting);
        }
    }

    /// Ends the pauses whose time is over.
    pub(in crate::proxy) fn end_pauses(&mut self) {
        self.upstreams
            .early_pauses
            .retain(|_, until| self.now < *until);
        let due = |until: Option<Millis>| until.is_some_and(|until| self.now >= until);
        let tenants = self.upstreams.tenants.iter();
        let over: Vec<TenantSlot> = tenants
            .filter(|(_, tenant)| due(tenant.paused_until))
            .map(|(slot, _)| slot)
            .collect();
        for slot in over {
            self.end_pause(slot);
        }
    }

    /// Makes a client wait until its tenant's pause ends, unless too many clients wait already.
    pub(super) fn wait_for_end_of_pause(
        &mut self,
        key: ClientKey,
        slot: TenantSlot,
        max: u32,
        frame: &[u8],
    ) -> Handled {
        let max = Some(max);
        let Some(tenant) = self.upstreams.tenants.get_mut(slot) else {
            return Handled::Later;
        };
        if !tenant.take(Use::Waiting, max) {
            return self.refuse_request(key, Limit::Paused, Some(slot), frame);
        }
        self.clients.wait_for_unpause(key, slot);
        self.stats.counters.paused_waits += 1;
        Handled::Later
    }

    /// Removes a client from the list of those that wait for the end of a pause.
    pub(in crate::proxy) fn leave_pause(&mut self, key: ClientKey) {
        if let Some(slot) = self.clients.leave_pause(key) {
            self.upstreams.release(slot, Use::Waiting);
        }
    }

    /// What happens to a login for a tenant that is paused; `None`: the tenant is not paused.
    pub(in crate::proxy) fn hold_login(
        &mut self,
        key: ClientKey,
        login: Option<&[u8]>,
    ) -> Option<Handled> {
        let tenant = match login.map(|login| self.upstreams.snapshot.resolve_login(login)) {
            Some(Login::User { tenant, .. }) => Some(tenant),
            Some(Login::UnknownTenant) => None,
            None => self.upstreams.snapshot.default_tenant(),
        };
        let slot = tenant.and_then(|tenant| self.upstreams.tenant(&tenant.key));
        let paused = |slot: &TenantSlot| {
            let tenant = self.upstreams.tenants.get(*slot);
            tenant.is_some_and(|tenant| tenant.paused_until.is_some())
        };
        let slot = slot.filter(paused)?;
        // Clients that are not logged in may fill at most half of the list.
        let max = self.settings.paused_clients_max.div_ceil(2);
        Some(self.wait_for_end_of_pause(key, slot, max, &[]))
    }
}
