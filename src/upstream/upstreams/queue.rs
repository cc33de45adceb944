//! The wait queues for dedicated links, see [`WaitQueues`](crate::upstream::wait_queues).

use crate::store::key::{ClientKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::upstreams::Upstreams;
use crate::upstream::wait_queues::QueuedClient;

impl Upstreams {
    /// Does any client wait for a dedicated link?
    pub(crate) fn any_queued(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Does a client of this pool wait for a dedicated link?
    pub(crate) fn has_queue(&self, pool: PoolKey) -> bool {
        self.first_queued(pool).is_some()
    }

    /// The first of a pool's waiting clients.
    pub(crate) fn first_queued(&self, pool: PoolKey) -> Option<QueuedClient> {
        let mut queue = self.queues.of(self.tenant_of_pool(pool), pool);
        queue.next().copied()
    }

    /// The pools for which clients wait, each with its tenant.
    pub(crate) fn queues(&self) -> Vec<(TenantSlot, PoolKey)> {
        self.queues.keys().collect()
    }

    /// The pools of a tenant for which clients wait, and whose instance is not down, each with the
    /// time since when its first client waits.
    pub(crate) fn queues_of(
        &self,
        tenant: TenantSlot,
        now: Millis,
    ) -> impl Iterator<Item = (Millis, PoolKey)> {
        let queues = self.queues.of_tenant(tenant);
        queues.filter(move |(_, pool)| !self.fails_fast(*pool, now))
    }

    /// Does a client of the tenant wait that comes before a new one of this pool? A client whose
    /// instance is full waits for that instance, and not for the tenant's limits.
    pub(crate) fn comes_behind(&self, pool: PoolKey, now: Millis) -> bool {
        let of = self.instance_of(pool);
        let mut queues = self.queues_of(self.tenant_of_pool(pool), now);
        queues.any(|(_, other)| {
            let its = self.instance_of(other);
            its == of || !its.is_some_and(|it| self.is_full(it))
        })
    }

    /// A client waits for a dedicated link of this pool.
    pub(crate) fn enqueue(&mut self, pool: PoolKey, queued: QueuedClient) {
        self.queues.push(self.tenant_of_pool(pool), pool, queued);
    }

    /// A client waits no longer.
    pub(crate) fn leave_queue(&mut self, pool: PoolKey, client: ClientKey) {
        let tenant = self.tenant_of_pool(pool);
        self.queues.remove(tenant, pool, |it| it.client == client);
    }

    /// Takes a client that has waited this long.
    pub(crate) fn overdue_queued(
        &mut self,
        pool: PoolKey,
        ms: u64,
        now: Millis,
    ) -> Option<ClientKey> {
        let late = |queued: &QueuedClient| now.since(queued.since) >= ms;
        self.queues.remove(self.tenant_of_pool(pool), pool, late)
    }

    /// The number of a pool's waiting clients, and how long the first of them has waited, ms.
    pub(super) fn waits_of(&self, pool: PoolKey, now: Millis) -> (usize, u64) {
        let queue = self.queues.of(self.tenant_of_pool(pool), pool);
        let longest = queue.clone().map(|queued| now.since(queued.since)).max();
        (queue.len(), longest.unwrap_or_default())
    }
}
