//! The wait queues for dedicated links: one for each pool, in the order of arrival.
//!
//! The limits on dedicated links hold for a tenant. So a free place goes to the client of the
//! tenant that has waited longest, whichever its pool is.

use std::collections::vec_deque::Iter;
use std::collections::{BTreeMap, VecDeque};

use crate::store::key::{ClientKey, Key, PoolKey, TenantSlot};
use crate::store::time::Millis;

/// See the module. A pool for which no client waits has no entry.
#[derive(Debug, Default)]
pub(crate) struct WaitQueues(BTreeMap<(TenantSlot, PoolKey), VecDeque<QueuedClient>>);

/// A client in the wait queue for a dedicated link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueuedClient {
    pub client: ClientKey,
    pub since: Millis,
}

impl WaitQueues {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pools for which clients wait, each with its tenant.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (TenantSlot, PoolKey)> {
        self.0.keys().copied()
    }

    /// A pool's waiting clients.
    pub(crate) fn of(&self, tenant: TenantSlot, pool: PoolKey) -> Iter<'_, QueuedClient> {
        let queue = self.0.get(&(tenant, pool));
        queue.map_or_else(Iter::default, VecDeque::iter)
    }

    /// The pools of a tenant for which clients wait, each with the time at which its first client
    /// came.
    pub(crate) fn of_tenant(&self, tenant: TenantSlot) -> impl Iterator<Item = (Millis, PoolKey)> {
        let queues = self.0.range((tenant, PoolKey::new(0, 0))..);
        let queues = queues.take_while(move |((of, _), _)| *of == tenant);
        queues.filter_map(|((_, pool), queue)| Some((queue.front()?.since, *pool)))
    }

    /// Adds a client behind those that have waited as long. A client that waits again has the place
    /// that it had.
    pub(crate) fn push(&mut self, tenant: TenantSlot, pool: PoolKey, client: QueuedClient) {
        let queue = self.0.entry((tenant, pool)).or_default();
        let at = queue.partition_point(|it| it.since <= client.since);
        queue.insert(at, client);
    }

    /// Removes the first of a pool's waiting clients that `is` accepts.
    pub(crate) fn remove(
        &mut self,
        tenant: TenantSlot,
        pool: PoolKey,
        is: impl Fn(&QueuedClient) -> bool,
    ) -> Option<ClientKey> {
        let queue = self.0.get_mut(&(tenant, pool))?;
        let at = queue.iter().position(is)?;
        let removed = queue.remove(at)?;
        if queue.is_empty() {
            self.0.remove(&(tenant, pool));
        }
        Some(removed.client)
    }
}
