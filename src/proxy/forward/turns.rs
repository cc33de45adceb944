//! Fairness: resumes the clients in the backlog and the clients above their tenant's rate, tenant
//! by tenant. The share of each client is in `share`.

use crate::proxy::machine::Machine;
use crate::session::client::Hold;
use crate::session::share::{LOOK_AGAIN_MS, REFUSALS_MAX, Row};
use crate::stats::notice::Bound;
use crate::store::key::{ClientKey, TenantSlot};

/// Commands of the backlog per turn, rounded up to a whole go: about 0.1 ms of work.
const BACKLOG_COMMANDS_MAX: u32 = 512;

/// Commands before a login that are refused or need no login, failed logins included; then the
/// client is closed.
const REFUSED_COMMANDS_MAX: u32 = 64;

/// Clients of one tenant that are resumed at once when its rate allows requests again.
const RELEASED_MAX: u32 = 64;

/// The longest time that a client waits for its tenant's rate, ms.
const THROTTLED_MS: u64 = 1_000;

impl Machine {
    /// Ends the client's share of this turn. The client continues after the other clients have had
    /// theirs.
    #[cold]
    pub(in crate::proxy) fn defer(&mut self, key: ClientKey) {
        if self.clients.share.refusals < REFUSALS_MAX && self.tenant_of(key).is_some() {
            self.throttle(key);
        } else if let Some(client) = self.clients.get_mut(key) {
            client.hold.set(Hold::LIMIT);
            let tenant = self.upstreams.tenant_of_account(client.account());
            self.clients.backlog.push(tenant, key, self.now);
        }
    }

    /// Resumes the clients of the backlog, each at most once.
    pub(in crate::proxy) fn resume_backlog(&mut self) {
        let mut left = BACKLOG_COMMANDS_MAX;
        for _ in 0..self.clients.backlog.len() {
            if left == 0 {
                return;
            }
            let Some(key) = self.clients.backlog.pop() else {
                return;
            };
            if let Some(client) = self.clients.get_mut(key) {
                client.hold.clear(Hold::LIMIT);
                self.resume_client(key);
                self.run_work();
                left = left.saturating_sub(self.clients.share.used());
            }
        }
    }

    /// Counts a request of this client that a rate limit refused.
    pub(in crate::proxy) fn note_over_rate(&mut self, key: ClientKey) {
        self.clients.share.refusals = self.clients.share.refusals.saturating_sub(1);
        if self.clients.share.refusals == 0 {
            self.throttle(key);
        }
    }

    /// Counts a command of an anonymous client that was refused or needs no login. A client with
    /// too many of them is closed after the reply.
    #[cold]
    pub(in crate::proxy) fn note_refused_command(&mut self, key: ClientKey) {
        if !self.is_anonymous(key) {
            return;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let refused = &mut client.details_mut().refused_commands;
        *refused += 1;
        if *refused == REFUSED_COMMANDS_MAX {
            self.note_eviction(key, Bound::RefusedCommands, u64::from(REFUSED_COMMANDS_MAX));
            self.finish_client(key);
            self.wake(key);
        }
    }

    /// Ends the client's share of this turn. Throttles the client if a request was refused because
    /// of its tenant's rate.
    #[inline]
    pub(in crate::proxy) fn end_go(&mut self, key: ClientKey) {
        if self.clients.share.refusals < REFUSALS_MAX {
            self.throttle(key);
        }
    }

    /// Makes the client wait until its tenant's rate allows a request.
    #[cold]
    fn throttle(&mut self, key: ClientKey) {
        let tenant = self.tenant_of(key);
        if let (Some(tenant), Some(client)) = (tenant, self.clients.get_mut(key))
            && !client.hold.has(Hold::LIMIT)
        {
            client.hold.set(Hold::LIMIT);
            self.clients.throttled.push(tenant, key, self.now);
        }
    }

    /// Resumes clients whose tenant's rate allows requests again, as many as it allows.
    pub(in crate::proxy) fn check_rates(&mut self) {
        let Some(mut throttled) = self.clients.throttled.take_due(self.now) else {
            return;
        };
        let mut soonest = LOOK_AGAIN_MS;
        throttled.retain(|slot, row| {
            self.release(slot, row);
            if !row.is_empty() {
                soonest = soonest.min(self.upstreams.wait_ms(slot, self.now));
            }
        });
        let next_look = self.now.after(soonest);
        self.clients.throttled.put_back(throttled, next_look);
    }

    /// Resumes clients of one tenant: as many as its rate allows, and those at their longest wait.
    fn release(&mut self, slot: TenantSlot, row: &mut Row) {
        let room = self.upstreams.room(slot, self.now).unwrap_or(RELEASED_MAX);
        let room = room.min(RELEASED_MAX);
        let mut released = 0;
        while let Some(&(key, since)) = row.front() {
            let client = self.clients.get_mut(key);
            let late = self.now.since(since) >= THROTTLED_MS && released < RELEASED_MAX;
            if client.is_some() && released >= room && !late {
                break;
            }
            row.pop_front();
            if let Some(client) = client {
                client.hold.clear(Hold::LIMIT);
                released += 1;
                self.wake(key);
            }
        }
    }
}
