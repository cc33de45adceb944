//! The wait queue for dedicated links: who is served next, and which waits time out.

use crate::command::ErrorReply;

use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::stats::notice::Bound;
use crate::stats::worker_stats::Limit;
use crate::store::key::{ClientKey, PoolKey};

/// The error for a client whose wait timed out.
const NO_TURN: ErrorReply =
    ErrorReply::Proxy("ERR elika: no dedicated backend connection available");

impl Machine {
    /// Gives free links to the clients at the head of a pool's wait queue.
    pub(in crate::proxy) fn serve_queue(&mut self, pool_key: PoolKey) {
        while !self.upstreams.is_out(pool_key, self.now)
            // The client leaves the queue, and returns to its head if no link is free.
            && let Some(queued) = self.upstreams.next_queued(pool_key)
        {
            let key = queued.client;
            let refusal = match self.free_connection(pool_key) {
                Ok(None) => {
                    return self.upstreams.requeue(pool_key, queued);
                }
                Ok(Some(link)) => {
                    self.own(link, key);
                    None
                }
                // The client finds this out when its command is decoded again.
                Err(Refusal::NotLoggedIn | Refusal::LoggedOut) => None,
                Err(Refusal::Error(error)) => Some(error),
                Err(Refusal::Unknown | Refusal::Later) => Some(NO_TURN),
            };
            self.finish_waiting(key, refusal);
        }
    }

    /// Removes a client from the wait queue: its command is decoded again.
    fn finish_waiting(&mut self, key: ClientKey, refusal: Option<ErrorReply>) {
        if let Some(client) = self.clients.get_mut(key) {
            client.take_refusal();
            if let Some(error) = refusal {
                client.set_refusal(error);
            }
        }
        self.clients.go_on(key);
    }

    /// Answers clients whose wait timed out with an error.
    pub(in crate::proxy) fn check_queues(&mut self) {
        if !self.upstreams.any_queued() {
            return;
        }
        let wait_ms = self.settings.pool_wait_ms;
        for pool_key in self.upstreams.pools() {
            self.serve_queue(pool_key);
            let down_error = self.upstreams.why_out(pool_key, self.now);
            let error = down_error.clone().unwrap_or(NO_TURN);
            let slot = self.upstreams.tenant_of_pool(pool_key);
            while let Some(queued) = (self.upstreams).overdue_queued(pool_key, wait_ms, self.now) {
                let key = queued.client;
                self.stats.counters.pins_refused += 1;
                if down_error.is_none() {
                    let bound = self.dedicated_bound(pool_key);
                    match bound {
                        Bound::Tenant(limit) => self.note_limit(key, slot, limit),
                        bound => self.note_refusal(key, bound),
                    }
                }
                self.finish_waiting(key, Some(error.clone()));
            }
        }
    }

    /// The limit because of which a pool can get no further dedicated link.
    fn dedicated_bound(&self, pool: PoolKey) -> Bound {
        let full = { self.upstreams.instance_of(pool) }.is_some_and(|it| self.is_full(it));
        if self.has_all_dedicated(self.upstreams.tenant_of_pool(pool)) {
            Bound::Dedicated
        } else if full {
            Bound::InstanceConnections
        } else {
            Bound::Tenant(Limit::Pinned)
        }
    }

    /// Removes a client from the wait queue.
    pub(in crate::proxy) fn leave_queue(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        self.upstreams.leave_queue(client.pool, key);
        self.clients.go_on(key);
    }
}
