//! Time: what falls due, and when the machine wants to be woken for it.

use super::backend::Failure;
use super::client::Client;
use super::key::{ClientKey, InstanceKey};
use super::machine::Machine;
use super::pool::Health;
use super::settings::Millis;

/// Between two looks at deadlines, ms: whatever is late is found late by this at most.
const ROUND_MS: u64 = 100;

/// Between two rounds over all clients and pools, ms.
const SLOW_ROUND_MS: u64 = 1_000;

/// A connection that nobody needs is closed after this, ms.
const BACKEND_IDLE_MS: u64 = 30_000;

impl Machine {
    /// Time passed. Does what is due; to be called once per turn, and cheap if nothing is.
    pub fn tick(&mut self, now: Millis) {
        self.now = now;
        if now < self.next_round {
            return;
        }
        self.next_round = now.after(ROUND_MS);
        self.check_deadlines();
        self.refill_tokens();
        self.probe();
        if now >= self.next_slow_round {
            self.next_slow_round = now.after(SLOW_ROUND_MS);
            self.close_idle_clients();
            self.close_idle_backends();
            self.pools.sweep();
        }
        self.check_invariants();
    }

    /// When [`tick`](Self::tick) is to be called next; `None`: not before something happens.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.has_ready() {
            return Some(self.now);
        }
        let owed = self.requests.len() > 0 || self.opening > 0 || !self.delayed.is_empty();
        if owed || self.probing {
            return Some(self.next_round);
        }
        let anybody = !self.clients.is_empty() || !self.backends.is_empty();
        anybody.then_some(self.next_slow_round.max(self.next_round))
    }

    /// The first worker asks after an instance that is not known to be there, so that it is
    /// known when it comes, and the log says so.
    fn probe(&mut self) {
        self.probing = self.settings.worker == 0 && !self.draining && self.pools.any_not_up();
        if !self.probing {
            return;
        }
        let due: Vec<InstanceKey> = (self.pools.instances.iter())
            .filter(|(_, instance)| instance.health != Health::Up && instance.connecting == 0)
            .filter(|(_, instance)| !instance.gone && self.now >= instance.retry_at)
            .map(|(key, _)| key)
            .collect();
        for instance in due {
            let account = self.pools.account(instance, None);
            let pool = self.pools.pool(account, 0, crate::resp::Protocol::Resp2);
            self.open_shared(pool);
        }
    }

    fn close_idle_clients(&mut self) {
        let (login, idle) = (self.settings.client_login_ms, self.settings.client_idle_ms);
        if login == 0 && idle == 0 {
            return;
        }
        let now = self.now;
        let is_late = |client: &Client| {
            let asked = client.command != [0; 16] || client.waiting.is_some();
            let late = login > 0 && !asked && now.since(client.opened) >= login;
            let silent = idle > 0 && client.is_quiet() && now.since(client.active) >= idle;
            (late, silent)
        };
        let late: Vec<(ClientKey, bool)> = (self.clients.iter())
            .map(|(key, client)| (key, is_late(client)))
            .filter(|(_, (late, silent))| *late || *silent)
            .map(|(key, (late, _))| (key, late))
            .collect();
        for (key, late) in late {
            if late {
                self.counters.login_timeouts += 1;
            } else {
                self.counters.idle_timeouts += 1;
            }
            self.close_now(key);
        }
    }

    /// One connection of a pool that has clients stays; the others go when they are not used.
    fn close_idle_backends(&mut self) {
        let mut idle = Vec::new();
        for (_, pool) in self.pools.pools.iter() {
            let spared = usize::from(pool.clients > 0);
            for &key in pool.backends.iter().skip(spared) {
                if let Some(backend) = self.backends.get(key)
                    && backend.is_ready()
                    && backend.fifo.is_empty()
                    && self.now.since(backend.since) >= BACKEND_IDLE_MS
                {
                    idle.push(key);
                }
            }
        }
        for key in idle {
            self.fail(key, &Failure::Lost);
        }
    }
}
