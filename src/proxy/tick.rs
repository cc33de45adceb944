//! Timers: what is due, and when the machine is to be called next.

use crate::dedicated::pin::Pin;
use crate::link::failure::Failure;
use crate::link::stall::STALL_CHECK_MS;
use crate::proxy::machine::Machine;
use crate::proxy::settings::Settings;
use crate::session::client::{Client, Flag};
use crate::stats::notice::NoticeKind;
use crate::store::key::ClientKey;
use crate::store::time::Millis;

/// Between two checks of deadlines, ms: a deadline is noticed at most this late.
const ROUND_MS: u64 = 100;

/// Between two passes over all clients and pools, ms.
const SLOW_ROUND_MS: u64 = 1_000;

/// The time that a closing or half-closed client has to read the rest, ms.
const LINGER_MS: u64 = 60_000;

impl Machine {
    /// Handles what is due. Must be called once per turn; cheap if nothing is due.
    pub fn tick(&mut self) {
        self.check_stalls();
        self.grant_tokens();
        if self.upstreams.any_clustered() {
            self.resend_held();
            self.ask_slots();
        }
        self.check_rates();
        if self.now >= self.rounds.next {
            self.round();
        }
        self.finish_call();
    }

    /// Handles what is due periodically.
    fn round(&mut self) {
        let now = self.now;
        self.rounds.next = now.after(ROUND_MS);
        self.check_deadlines();
        self.find_late();
        self.check_queues();
        self.check_waits();
        self.end_pauses();
        self.check_health();
        self.keep_tenant_limits();
        self.ask_again();
        self.ask_permissions_elsewhere();
        self.probe();
        self.report_suppressed();
        if now >= self.rounds.next_slow {
            self.rounds.next_slow = now.after(SLOW_ROUND_MS);
            self.close_overdue_clients();
            self.close_stuck_clients();
            self.end_draining();
            self.close_idle_links();
            self.drop_idle_lanes();
            self.upstreams.sweep(&self.links);
            self.trim();
        }
    }

    /// When [`tick`](Self::tick) is to be called next; `None`: only after another event.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.has_ready() {
            return Some(self.now);
        }
        let round = self.next_deadline_of_rounds();
        let all = [
            { self.links.any_stalled() }.then(|| self.now.after(STALL_CHECK_MS)),
            self.clients.next_rate_check(),
            self.upstreams.next_token(),
            self.next_of_nodes(),
            round,
        ];
        all.into_iter().flatten().min()
    }

    fn next_deadline_of_rounds(&self) -> Option<Millis> {
        let outstanding = self.requests.len() > 0
            || self.links.any_opening()
            || self.upstreams.any_queued()
            || self.links.any_waits()
            || self.clients.any_asks_again()
            || !self.clients.paused().is_empty()
            || self.stats.notices.any_suppressed();
        if outstanding || self.upstreams.is_probing() {
            return Some(self.rounds.next);
        }
        let any = !self.clients.is_empty() || !self.links.is_empty();
        // The first worker checks instances without clients.
        let checks = self.settings.worker == 0 && self.settings.check_ms > 0;
        let checks = checks && !self.clients.is_draining() && self.upstreams.any_instance();
        (any || checks).then_some(self.rounds.next_slow.max(self.rounds.next))
    }

    /// Asks instances that are down; the first worker also asks those whose state is unknown, so
    /// that their start is noticed and logged.
    fn probe(&mut self) {
        if self.clients.is_draining() {
            return self.upstreams.stop_probing();
        }
        for pool in self.upstreams.probe(self.settings.worker == 0, self.now) {
            self.open_shared(pool);
        }
    }

    fn close_overdue_clients(&mut self) {
        let overdue = |(key, client)| Some((key, self.overdue(client)?));
        let late: Vec<_> = self.clients.iter().filter_map(overdue).collect();
        for (key, (kind, ms)) in late {
            self.evict(key, kind, ms);
        }
        let lingers = |client: &Client| {
            (client.is_closing() || client.is(Flag::Eof))
                && client.fifo.is_empty()
                && self.now.since_tenths(client.active) >= LINGER_MS
        };
        let late = self.clients.iter().filter(|(_, client)| lingers(client));
        let late: Vec<ClientKey> = late.map(|(key, _)| key).collect();
        for key in late {
            self.stats.counters.slow_readers += 1;
            self.close_now(key);
        }
    }

    /// Closes clients that have not taken a byte of their replies for too long.
    fn close_stuck_clients(&mut self) {
        let max = self.settings.client_send_ms;
        if max == 0 {
            return;
        }
        let late = self.clients.find_stuck(max, self.now);
        for (key, ms) in late {
            self.evict(key, NoticeKind::Send, ms);
        }
    }

    /// The timeout that an inactive client has exceeded, and how long the client has been inactive,
    /// ms.
    fn overdue(&self, client: &Client) -> Option<(NoticeKind, u64)> {
        let Settings {
            client_login_ms: login,
            client_idle_ms: idle,
            pinned_idle_ms: pinned_idle,
            ..
        } = self.settings;
        let silent = self.now.since_tenths(client.active);
        let pin = client.pin();
        let listens = pin.is_some_and(|pin| pin.subscriptions() > 0 || pin.monitor);
        let transaction = pin.is_some_and(Pin::holds_transaction_only);
        let admitted = self.admits(client);
        // A slow server may delay a login, so a client with a login in progress is not closed;
        // except after a refused login, because a client that guesses passwords always has a login
        // in progress.
        let asks = client.waiting().is_some() && !client.login_refused();
        let anonymous_for = self.now.since_tenths(client.anonymous_since());
        if login > 0 && !admitted && !asks && anonymous_for >= login {
            Some((NoticeKind::LoginTime, anonymous_for))
        } else if idle > 0 && client.is_quiet() && !listens && silent >= idle {
            Some((NoticeKind::Idle, silent))
        } else if pinned_idle > 0 && transaction && client.is_quiet() && silent >= pinned_idle {
            Some((NoticeKind::PinnedIdle, silent))
        } else {
            None
        }
    }

    /// Closes unused links, and retires old ones.
    fn close_idle_links(&mut self) {
        let (idle, old) = self.upstreams.idle_and_old(&self.links, self.now);
        for key in idle {
            self.fail(key, &Failure::Removed);
        }
        for key in old {
            self.retire(key);
        }
    }
}
