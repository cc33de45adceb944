//! Whose turn it is: the share of the client whose bytes are decoded, the backlog, clients that
//! wait for their tenant's rate, and questions to all workers.

use std::collections::HashSet;

use super::Sessions;
use super::waits::mark_ready;
use crate::session::client::Hold;
use crate::session::share::{RATE_CHECK_MS, Share};
use crate::store::key::{ClientKey, TenantSlot};
use crate::store::time::Millis;

/// Clients of one tenant that are resumed at once when its rate allows requests again.
const RELEASED_MAX: u32 = 64;

/// The longest time that a client waits for its tenant's rate, ms.
const THROTTLED_MS: u64 = 1_000;

/// The share of one client.
impl Sessions {
    /// The bytes of another client are decoded.
    #[inline]
    pub(crate) fn begin_share(&mut self) {
        self.share = Share::default();
    }

    /// Takes a command of the client's share. `false`: the share is used up.
    #[inline]
    pub(crate) fn take_command(&mut self) -> bool {
        self.share.take()
    }

    /// The commands that were taken.
    pub(crate) fn commands_taken(&self) -> u32 {
        self.share.used()
    }

    /// Counts a request that a rate limit refused. Returns whether the client has had enough of
    /// them.
    pub(crate) fn count_refused(&mut self) -> bool {
        self.share.refuse()
    }

    /// Was a request of this share refused because of a rate?
    #[inline]
    pub(crate) fn is_over_rate(&self) -> bool {
        self.share.is_over_rate()
    }
}

/// Clients that wait for their turn.
impl Sessions {
    /// Makes a client continue after the other clients have had their share.
    pub(crate) fn defer(&mut self, key: ClientKey, tenant: TenantSlot, now: Millis) {
        if let Some(client) = self.table.get_mut(key) {
            client.hold.set(Hold::LIMIT);
            self.backlog.push(tenant, key, now);
        }
    }

    /// The number of clients in the backlog.
    pub(crate) fn deferred(&self) -> usize {
        self.backlog.len()
    }

    /// Takes the next client out of the backlog. `None`: the client is closed meanwhile, or there
    /// is none.
    pub(crate) fn next_deferred(&mut self) -> Option<ClientKey> {
        let key = self.backlog.pop()?;
        self.table.get_mut(key)?.hold.clear(Hold::LIMIT);
        Some(key)
    }

    /// Makes a client wait until its tenant's rate allows a request.
    pub(crate) fn throttle(&mut self, key: ClientKey, tenant: TenantSlot, now: Millis) {
        if let Some(client) = self.table.get_mut(key)
            && !client.hold.has(Hold::LIMIT)
        {
            client.hold.set(Hold::LIMIT);
            self.throttled.push(tenant, key, now);
        }
    }

    /// Resumes clients whose tenant's rate allows requests again: `room` says how many, and
    /// `wait_ms` when that may change. Clients at their longest wait are resumed, too.
    pub(crate) fn resume_throttled(
        &mut self,
        now: Millis,
        room: impl Fn(TenantSlot) -> Option<u32>,
        wait_ms: impl Fn(TenantSlot) -> u64,
    ) {
        let Some(mut throttled) = self.throttled.take_due(now) else {
            return;
        };
        let mut soonest = RATE_CHECK_MS;
        throttled.retain(|tenant, row| {
            let room = room(tenant).unwrap_or(RELEASED_MAX).min(RELEASED_MAX);
            let mut released = 0;
            while let Some(&(key, since)) = row.front() {
                let client = self.table.get_mut(key);
                let late = now.since(since) >= THROTTLED_MS && released < RELEASED_MAX;
                if client.is_some() && released >= room && !late {
                    break;
                }
                row.pop_front();
                if let Some(client) = client {
                    client.hold.clear(Hold::LIMIT);
                    released += 1;
                    mark_ready(&mut self.ready, client, key);
                }
            }
            if !row.is_empty() {
                soonest = soonest.min(wait_ms(tenant));
            }
        });
        self.throttled.put_back(throttled, now.after(soonest));
    }

    /// When [`resume_throttled`](Self::resume_throttled) is due; `None`: no client waits.
    pub(crate) fn next_rate_check(&self) -> Option<Millis> {
        self.throttled.due()
    }

    /// Panics if a client waits in two lists, or in none of them although it is held for that.
    pub(crate) fn check_lists(&self) {
        let paused = self.paused.iter().map(|(key, _)| *key);
        let shared = self.backlog.keys().chain(self.throttled.keys());
        let waiting: Vec<ClientKey> = shared.chain(paused).collect();
        let all: HashSet<ClientKey> = waiting.iter().copied().collect();
        assert_eq!(waiting.len(), all.len(), "a client waits in two lists");
        for (key, client) in self.table.iter() {
            let waits = client.hold.has(Hold::LIMIT);
            assert_eq!(waits, all.contains(&key), "{key:?}");
        }
    }
}

/// Questions to all workers.
impl Sessions {
    /// Queues a client's question to all workers.
    pub(crate) fn queue_question(&mut self, key: ClientKey, tenant: TenantSlot, now: Millis) {
        self.questions.push(tenant, key, now);
    }

    /// Queues the next slice of a search: searches in progress finish before others start, so that
    /// few lists are kept at a time.
    pub(crate) fn queue_slice(&mut self, key: ClientKey, tenant: TenantSlot, now: Millis) {
        self.questions.push_first(tenant, key, now);
    }

    /// The client whose question is put next.
    pub(crate) fn next_question(&mut self) -> Option<ClientKey> {
        self.questions.pop()
    }

    /// Is a question of this client queued?
    pub(crate) fn has_question(&self, key: ClientKey) -> bool {
        self.questions.keys().any(|other| other == key)
    }
}
