//! The wait queues for dedicated links: which client is served next, and which waits time out.

use std::collections::BTreeSet;

use crate::command::ErrorReply;

use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::stats::notice::NoticeKind;
use crate::store::key::{ClientKey, TenantSlot};
use crate::upstream::wait_queues::QueuedClient;

/// The error for a client whose wait timed out.
const NO_DEDICATED: ErrorReply =
    ErrorReply::Proxy("ERR elika: no dedicated backend connection available");

impl Machine {
    /// Gives free links to a tenant's waiting clients, in the order of their arrival. While a pool
    /// gets no link because its instance is full, the clients of other pools are served.
    pub(in crate::proxy) fn serve_queues(&mut self, slot: TenantSlot) {
        let mut next: BTreeSet<_> = self.upstreams.queues_of(slot, self.now).collect();
        while let Some((_, pool)) = next.pop_first()
            && let Some(QueuedClient { client: key, .. }) = self.upstreams.first_queued(pool)
        {
            if !self.upstreams.may_get_link(pool, &self.links, self.now) {
                continue;
            }
            if !self.upstreams.take_dedicated(slot, &self.links) {
                break;
            }
            let refusal = match self.free_connection(pool, slot) {
                Ok(None) => continue,
                Ok(Some(link)) => {
                    self.make_dedicated(link, key);
                    None
                }
                // The client finds this out when its command is decoded again.
                Err(Refusal::NotLoggedIn | Refusal::LoggedOut) => None,
                Err(Refusal::Error(error)) => Some(error),
                Err(Refusal::Unknown | Refusal::Later) => Some(NO_DEDICATED),
            };
            self.upstreams.leave_queue(pool, key);
            self.clients.leave_queue(key, refusal);
            let first = self.upstreams.first_queued(pool);
            next.extend(first.map(|it| (it.since, pool)));
        }
    }

    /// Answers clients whose wait timed out with an error.
    pub(in crate::proxy) fn check_queues(&mut self) {
        let queues = self.upstreams.queues();
        let tenants: BTreeSet<_> = queues.iter().map(|&(tenant, _)| tenant).collect();
        for tenant in tenants {
            self.serve_queues(tenant);
        }
        let wait_ms = self.settings.pool_wait_ms;
        for (slot, pool_key) in queues {
            let down_error = self.upstreams.down_error(pool_key, self.now);
            let error = down_error.clone().unwrap_or(NO_DEDICATED);
            while let Some(key) = (self.upstreams).overdue_queued(pool_key, wait_ms, self.now) {
                self.stats.counters.pins_refused += 1;
                if down_error.is_none() {
                    let kind = self.upstreams.dedicated_limit(pool_key, &self.links);
                    match kind {
                        NoticeKind::Tenant(limit) => self.note_limit(key, slot, limit),
                        kind => self.note_refusal(key, kind),
                    }
                }
                self.clients.leave_queue(key, Some(error.clone()));
            }
        }
    }

    /// Removes a client from the wait queue.
    pub(in crate::proxy) fn leave_queue(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        self.upstreams.leave_queue(client.queued_in(), key);
        self.clients.end_wait(key);
    }
}
