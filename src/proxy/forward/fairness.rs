//! Fairness: resumes the clients in the backlog and the clients above their tenant's rate, tenant
//! by tenant. The share of each client is in `share`.

use crate::proxy::machine::Machine;
use crate::stats::notice::NoticeKind;
use crate::store::key::ClientKey;

/// Commands of the backlog per turn, rounded up to a whole go: about 0.1 ms of work.
const BACKLOG_COMMANDS_MAX: u32 = 512;

/// Commands before a login that are refused or need no login, failed logins included; then the
/// client is closed.
const REFUSED_COMMANDS_MAX: u32 = 64;

impl Machine {
    /// Ends the client's share of this turn. The client continues after the other clients have had
    /// theirs.
    #[cold]
    pub(in crate::proxy) fn defer(&mut self, key: ClientKey) {
        if self.clients.is_over_rate() && self.tenant_of(key).is_some() {
            self.throttle(key);
        } else if let Some(client) = self.clients.get(key) {
            let tenant = self.upstreams.tenant_of_account(client.account());
            self.clients.defer(key, tenant, self.now);
        }
    }

    /// Resumes the clients of the backlog, each at most once.
    pub(in crate::proxy) fn resume_backlog(&mut self) {
        let mut left = BACKLOG_COMMANDS_MAX;
        for _ in 0..self.clients.deferred() {
            if left == 0 {
                return;
            }
            if let Some(key) = self.clients.next_deferred() {
                self.resume_client(key);
                self.run_work();
                left = left.saturating_sub(self.clients.commands_taken());
            }
        }
    }

    /// Counts a request of this client that a rate limit refused.
    pub(in crate::proxy) fn note_over_rate(&mut self, key: ClientKey) {
        if self.clients.count_refused() {
            self.throttle(key);
        }
    }

    /// Counts a command of an anonymous client that was refused or needs no login. A client with
    /// too many of them is closed after the reply.
    #[cold]
    pub(in crate::proxy) fn note_refused_command(&mut self, key: ClientKey) {
        if !self.must_log_in(key) {
            return;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let refused = &mut client.details_mut().refused_commands;
        *refused += 1;
        if *refused == REFUSED_COMMANDS_MAX {
            self.note_eviction(
                key,
                NoticeKind::RefusedCommands,
                u64::from(REFUSED_COMMANDS_MAX),
            );
            self.finish_client(key);
            self.mark_ready(key);
        }
    }

    /// Ends the client's share of this turn. Throttles the client if a request was refused because
    /// of its tenant's rate.
    #[inline]
    pub(in crate::proxy) fn end_share(&mut self, key: ClientKey) {
        if self.clients.is_over_rate() {
            self.throttle(key);
        }
    }

    /// Makes the client wait until its tenant's rate allows a request.
    #[cold]
    fn throttle(&mut self, key: ClientKey) {
        if let Some(tenant) = self.tenant_of(key) {
            self.clients.throttle(key, tenant, self.now);
        }
    }

    /// Resumes clients whose tenant's rate allows requests again, as many as it allows.
    pub(in crate::proxy) fn check_rates(&mut self) {
        let (now, upstreams) = (self.now, &self.upstreams);
        let room = |tenant| upstreams.room(tenant, now);
        let wait_ms = |tenant| upstreams.wait_ms(tenant, now);
        self.clients.resume_throttled(now, room, wait_ms);
    }
}
