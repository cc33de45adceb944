//! Dedicated links: their limits, and which link a client may get.

use crate::link::links::Links;
use crate::stats::notice::NoticeKind;
use crate::stats::worker_stats::Limit;
use crate::store::key::{LinkKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::tenant::Use;
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// Counts a dedicated link for a tenant. Returns false if the tenant's limit is reached.
    pub(crate) fn take_dedicated(&mut self, tenant: TenantSlot, links: &Links) -> bool {
        if self.has_all_dedicated(tenant, links) {
            return false;
        }
        let max = self.tenants.get(tenant).and_then(|it| it.limits.pinned);
        self.take(tenant, Use::Pinned, max)
    }

    /// Has this tenant reached its limit on dedicated links of this worker? Links on which WAIT is
    /// in flight count, too; they return to the pool in a moment.
    fn has_all_dedicated(&self, tenant: TenantSlot, links: &Links) -> bool {
        let used = self.used(tenant, Use::Pinned);
        let left = self.rules.dedicated_max.saturating_sub(used);
        left == 0 || self.asked_about_waits(tenant, links) >= left
    }

    /// The number of a tenant's dedicated links without an owner on which WAIT is in flight.
    fn asked_about_waits(&self, tenant: TenantSlot, links: &Links) -> u32 {
        let asked = links.waits().iter().filter(|&&on| {
            let asked = links.get(on);
            let asked = asked.filter(|it| it.is_dedicated() && it.is_asked_only());
            asked.is_some_and(|it| self.tenant_of_pool(it.pool) == tenant)
        });
        u32::try_from(asked.count()).unwrap_or(u32::MAX)
    }

    /// Has a pool a link that no client has, or room for a new one? Also true if a new one would be
    /// refused.
    pub(crate) fn may_get_link(&mut self, pool: PoolKey, links: &Links, now: Millis) -> bool {
        let Some(of) = self.instance_of(pool) else {
            return false;
        };
        !self.idle_links(pool).is_empty()
            || self.is_refused(pool, now)
            || self.has_room_for_link(of, links, now)
    }

    /// The limit because of which a pool can get no further dedicated link.
    pub(crate) fn dedicated_limit(&self, pool: PoolKey, links: &Links) -> NoticeKind {
        if self.has_all_dedicated(self.tenant_of_pool(pool), links) {
            NoticeKind::Dedicated
        } else if self.instance_of(pool).is_some_and(|it| self.is_full(it)) {
            NoticeKind::InstanceConnections
        } else {
            NoticeKind::Tenant(Limit::Pinned)
        }
    }

    /// May another client get this link as its dedicated one?
    pub(crate) fn is_clean(&self, key: LinkKey, links: &Links) -> bool {
        links.get(key).is_some_and(|link| {
            link.is_ready()
                && link.fifo.is_empty()
                && link.scanner.at_start()
                && !link.is_retired()
                && self.has_pool(link.pool)
                && self.is_in_use(link.instance, link.address)
        })
    }
}
