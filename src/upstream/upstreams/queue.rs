//! The wait queues for dedicated links.

use crate::store::key::{ClientKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::pool::QueuedClient;
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// Does any client wait for a dedicated link?
    pub(crate) fn any_queued(&self) -> bool {
        self.queued > 0
    }

    /// Does a client of this pool wait for a dedicated link?
    pub(crate) fn has_queue(&self, pool: PoolKey) -> bool {
        self.pools.get(pool).is_some_and(|it| !it.queue.is_empty())
    }

    /// All pools.
    pub(crate) fn pools(&self) -> Vec<PoolKey> {
        self.pools.keys()
    }

    /// A client waits for a dedicated link of this pool, behind the others.
    pub(crate) fn enqueue(&mut self, pool: PoolKey, queued: QueuedClient) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.queue.push_back(queued);
            self.queued += 1;
        }
    }

    /// Like [`enqueue`](Self::enqueue), in front of the others: the client was
    /// [taken](Self::next_queued).
    pub(crate) fn requeue(&mut self, pool: PoolKey, queued: QueuedClient) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.queue.push_front(queued);
            self.queued += 1;
        }
    }

    /// Takes the first client of a pool's wait queue.
    pub(crate) fn next_queued(&mut self, pool: PoolKey) -> Option<QueuedClient> {
        let queued = self.pools.get_mut(pool)?.queue.pop_front()?;
        self.queued -= 1;
        Some(queued)
    }

    /// Takes a client that has waited this long.
    pub(crate) fn overdue_queued(
        &mut self,
        pool: PoolKey,
        ms: u64,
        now: Millis,
    ) -> Option<QueuedClient> {
        let queue = &mut self.pools.get_mut(pool)?.queue;
        let at = queue.iter().position(|it| now.since(it.since) >= ms)?;
        let queued = queue.remove(at)?;
        self.queued -= 1;
        Some(queued)
    }

    /// A client waits no longer.
    pub(crate) fn leave_queue(&mut self, pool: PoolKey, client: ClientKey) {
        if let Some(pool) = self.pools.get_mut(pool) {
            let before = pool.queue.len();
            pool.queue.retain(|queued| queued.client != client);
            self.queued -= before - pool.queue.len();
        }
    }
}
