//! Pauses of tenants: their requests and logins wait, and go on when the pause ends.

use crate::cluster::TenantKey;

use crate::proxy::forward::answer::Handled;
use crate::proxy::machine::Machine;
use crate::stats::worker_stats::Limit;
use crate::store::key::{ClientKey, TenantSlot};
use crate::upstream::tenant::Use;

impl Machine {
    /// Pauses a tenant: its requests wait, for at most `ms`.
    pub fn pause(&mut self, tenant: &TenantKey, ms: u64) {
        self.upstreams.pause(tenant, self.now.after(ms));
    }

    /// Ends a tenant's pause.
    pub fn unpause(&mut self, tenant: &TenantKey) {
        if let Some(slot) = self.upstreams.forget_early_pause(tenant) {
            self.end_pause(slot);
        }
    }

    fn end_pause(&mut self, slot: TenantSlot) {
        self.upstreams.end_pause(slot);
        for _ in 0..self.clients.end_pause(slot) {
            self.upstreams.release(slot, Use::Waiting);
        }
    }

    /// Ends the pauses whose time is over.
    pub(in crate::proxy) fn end_pauses(&mut self) {
        for slot in self.upstreams.overdue_pauses(self.now) {
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
        if !self.upstreams.take(slot, Use::Waiting, Some(max)) {
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
    pub(in crate::proxy) fn wait_for_login_tenant(
        &mut self,
        key: ClientKey,
        login: Option<&[u8]>,
    ) -> Option<Handled> {
        let slot = self.upstreams.paused_tenant(login)?;
        // Clients that are not logged in may fill at most half of the list.
        let max = self.settings.paused_clients_max.div_ceil(2);
        Some(self.wait_for_end_of_pause(key, slot, max, &[]))
    }
}
