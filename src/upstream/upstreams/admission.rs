//! Admission: does the server admit a client, and do the limits of its tenant allow a request?

use std::borrow::Cow;

use crate::cluster::{Login, TenantKey};
use crate::command::ErrorReply;
use crate::link::links::Links;
use crate::stats::worker_stats::Limit;
use crate::store::key::{AccountKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::account::Account;
use crate::upstream::tenant::Use;
use crate::upstream::upstreams::Upstreams;

/// Why a client cannot send requests.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    /// The client must log in first.
    NotLoggedIn,
    /// The instance is down; the client gets this error.
    Down(ErrorReply),
    /// It is not known whether the server admits the default user.
    Unknown,
}

/// What the limits of a tenant say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    Allowed,
    /// The tenant is paused.
    Paused,
    /// A limit does not allow it.
    Refused(Limit),
}

/// What the server says.
impl Upstreams {
    /// Is a client of this account and pool logged in, or admitted as the default user? A login
    /// lasts wherever the client is.
    #[inline]
    pub(crate) fn admits(&self, account: AccountKey, pool: PoolKey) -> bool {
        let account = self.accounts.get(account);
        let anonymous = account.is_none_or(Account::is_anonymous);
        !anonymous || self.access_at(pool).is_some_and(|it| it.open)
    }

    /// Can clients of this pool send requests?
    ///
    /// # Errors
    ///
    /// Why not.
    pub(crate) fn admit(
        &self,
        pool: PoolKey,
        links: &Links,
        now: Millis,
    ) -> Result<(), NotAdmitted> {
        let key = self.access_key(pool);
        let access = self.access.get(key).ok_or(NotAdmitted::NotLoggedIn)?;
        if access.is_refused(now) && self.is_anonymous(pool) {
            return Err(NotAdmitted::NotLoggedIn);
        }
        if let Some(error) = self.why_down(key, links, now) {
            return Err(NotAdmitted::Down(error));
        }
        match access.open {
            true => Ok(()),
            false => Err(NotAdmitted::Unknown),
        }
    }

    /// Is there a tenant for clients that have not logged in?
    pub(crate) fn has_default_tenant(&self) -> bool {
        self.snapshot.default_tenant().is_some()
    }

    /// The default user of the default tenant, if the tenant has an instance for new clients.
    pub(crate) fn default_account(&mut self) -> Option<AccountKey> {
        let slot = self.tenant(&self.snapshot.default_tenant()?.key)?;
        let usable = &self.tenants.get(slot)?.instances;
        (!usable.is_empty()).then(|| self.account((slot, None)))
    }

    /// The tenant and the user of a login name. Without a name it is the default user of the
    /// default tenant. `None`: there is no tenant for it.
    pub(crate) fn resolve<'a>(
        &'a self,
        login: Option<&'a [u8]>,
    ) -> Option<(Option<TenantSlot>, &'a [u8])> {
        let (tenant, user) = match login.map(|login| self.snapshot.resolve_login(login)) {
            Some(Login::User { tenant, user }) => (tenant, user),
            Some(Login::UnknownTenant) => return None,
            None => (self.snapshot.default_tenant()?, &b"default"[..]),
        };
        Some((self.tenant(&tenant.key), user))
    }
}

/// Limits of tenants.
impl Upstreams {
    /// Has any tenant limits for single requests? If not, none is looked up.
    #[inline]
    pub(crate) fn any_limits(&self) -> bool {
        self.any_checked
    }

    /// The tenant whose limits hold for clients of this account. For clients without one this is
    /// the default tenant.
    #[inline]
    pub(crate) fn tenant_for_limits(&self, account: AccountKey) -> Option<TenantSlot> {
        match self.tenant_of_account(account) {
            TenantSlot::NONE => self.tenant(&self.snapshot.default_tenant()?.key),
            slot => Some(slot),
        }
    }

    /// Are requests of this tenant checked against limits?
    #[inline]
    pub(crate) fn is_limited(&self, tenant: TenantSlot) -> bool {
        self.tenants.get(tenant).is_some_and(|it| it.needs_check())
    }

    /// The largest request of a tenant, if it has a limit of its own.
    pub(crate) fn request_bytes_max(&self, tenant: TenantSlot) -> Option<u64> {
        self.tenants.get(tenant)?.limits.request_bytes
    }

    /// May clients of a tenant make this request now? If so, it is charged.
    pub(crate) fn allow(&mut self, tenant: TenantSlot, frame: &[u8], now: Millis) -> Allowance {
        let Some(tenant) = self.tenants.get_mut(tenant) else {
            return Allowance::Allowed;
        };
        if tenant.paused_until.is_some() {
            return Allowance::Paused;
        }
        if tenant.denied_name(frame).is_some() {
            return Allowance::Refused(Limit::Denied);
        }
        match tenant.admit_request(frame.len(), now) {
            Ok(()) => Allowance::Allowed,
            Err(limit) => Allowance::Refused(limit),
        }
    }

    /// A request that was allowed was not made after all.
    pub(crate) fn refund(&mut self, tenant: TenantSlot, bytes: usize) {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.refund(bytes);
        }
    }

    /// Counts bytes that clients of a pool got.
    pub(crate) fn charge(&mut self, pool: PoolKey, bytes: usize, now: Millis) {
        let account = self.account_at(pool);
        let tenant = account.map(|account| account.tenant);
        if let Some(tenant) = tenant.and_then(|slot| self.tenants.get_mut(slot)) {
            tenant.charge(bytes as u64, now);
        }
    }

    /// The full name of the command of this request, if the tenant may not use it.
    pub(crate) fn denied_name<'a>(
        &'a self,
        tenant: TenantSlot,
        frame: &'a [u8],
    ) -> Option<Cow<'a, str>> {
        self.tenants.get(tenant)?.denied_name(frame)
    }

    /// Counts that a client reached a limit of its tenant. Returns the limit; of a denied command,
    /// how many there were.
    pub(crate) fn refuse(&mut self, tenant: TenantSlot, limit: Limit) -> Option<u64> {
        let tenant = self.tenants.get_mut(tenant)?;
        let refused = tenant.refuse(limit);
        let limits = &tenant.limits;
        match limit {
            Limit::Clients => limits.clients.map(u64::from),
            Limit::Pinned => limits.pinned.map(u64::from),
            Limit::Requests => limits.requests_per_second.map(u64::from),
            Limit::Bytes => limits.bytes_per_second,
            Limit::RequestBytes => limits.request_bytes,
            Limit::Denied => Some(refused),
            Limit::Paused => None,
        }
    }

    /// Adds one to a gauge of a tenant, if that leaves it within `max`.
    pub(crate) fn take(&mut self, tenant: TenantSlot, of: Use, max: Option<u32>) -> bool {
        let tenant = self.tenants.get_mut(tenant);
        tenant.is_none_or(|tenant| tenant.take(of, max))
    }

    /// Subtracts one from a gauge of a tenant.
    pub(crate) fn release(&mut self, tenant: TenantSlot, of: Use) {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.release(of);
        }
    }

    /// This worker's part of a gauge.
    pub(crate) fn used(&self, tenant: TenantSlot, of: Use) -> u32 {
        self.tenants.get(tenant).map_or(0, |tenant| tenant.used(of))
    }

    /// How many requests the rates of a tenant allow now. `None`: the tenant is gone.
    pub(crate) fn room(&self, tenant: TenantSlot, now: Millis) -> Option<u32> {
        Some(self.tenants.get(tenant)?.room(now))
    }

    /// Time until the rates of a tenant may allow a request, at least 1 ms.
    pub(crate) fn wait_ms(&self, tenant: TenantSlot, now: Millis) -> u64 {
        let tenant = self.tenants.get(tenant);
        tenant.map_or(1, |tenant| tenant.wait_ms(now).max(1))
    }

    /// The bytes that may be kept for the clients of a tenant, if it has a limit of its own.
    pub(crate) fn buffer_bytes_max(&self, tenant: TenantSlot) -> Option<u64> {
        self.tenants.get(tenant)?.limits.tenant_buffer_bytes
    }
}

/// Pauses of tenants.
impl Upstreams {
    /// Requests of a tenant wait until then. The pause of a tenant that is not known yet begins
    /// when it is.
    pub(crate) fn pause(&mut self, tenant: &TenantKey, until: Millis) {
        let slot = self.tenant(tenant);
        let Some(known) = slot.and_then(|slot| self.tenants.get_mut(slot)) else {
            self.early_pauses.insert(tenant.clone(), until);
            return;
        };
        known.paused_until = Some(until);
        self.update_any_checked();
    }

    /// Ends the pause of a tenant. Its clients that wait are the caller's matter.
    pub(crate) fn end_pause(&mut self, tenant: TenantSlot) {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.paused_until = None;
        }
        self.update_any_checked();
    }

    /// Forgets the pause of a tenant that is not known yet. Returns the tenant if it is.
    pub(crate) fn forget_early_pause(&mut self, tenant: &TenantKey) -> Option<TenantSlot> {
        self.early_pauses.remove(tenant);
        self.tenant(tenant)
    }

    /// Tenants whose pause is to end.
    pub(crate) fn overdue_pauses(&mut self, now: Millis) -> Vec<TenantSlot> {
        self.early_pauses.retain(|_, until| now < *until);
        let due = |until: Option<Millis>| until.is_some_and(|until| now >= until);
        let over = self.tenants.iter();
        let over = over.filter(|(_, tenant)| due(tenant.paused_until));
        over.map(|(slot, _)| slot).collect()
    }

    /// The tenant of a login name, if it is paused.
    pub(crate) fn paused_tenant(&self, login: Option<&[u8]>) -> Option<TenantSlot> {
        let slot = self.resolve(login)?.0?;
        let tenant = self.tenants.get(slot)?;
        tenant.paused_until.is_some().then_some(slot)
    }
}
