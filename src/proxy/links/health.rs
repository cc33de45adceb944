//! Health checks of instances: active ones (PING at an interval), and checks that a reply to a
//! request makes due. Which are due, and what their results mean, is in `upstream`.

use crate::link::handshake::HelloReply;
use crate::link::request::Kind;
use crate::metrics::ErrorKind;
use crate::proxy::action::HealthChange;
use crate::proxy::machine::Machine;
use crate::store::key::{InstanceKey, LinkKey};
use crate::upstream::upstreams::health::CheckResult;

/// An instance without clients is checked this many times less often: each check opens a link.
const UNUSED_FACTOR: u64 = 5;

impl Machine {
    /// Starts the checks that are due; called in each round.
    pub(in crate::proxy) fn check_health(&mut self) {
        let (every, timeout) = (self.settings.check_ms, self.settings.check_timeout_ms);
        if every == 0 {
            return;
        }
        for key in self.upstreams.late_checks(&self.links, timeout, self.now) {
            let why = format!("no answer to a check within {timeout} ms");
            self.end_check(key, CheckResult::Failed(why));
        }
        for (key, on) in self.upstreams.due_suspects(&self.links, self.now) {
            self.begin_check(key, on);
        }
        if self.clients.is_draining() || self.now < self.rounds.next_check {
            return;
        }
        self.rounds.next_check = self.now.after(every);
        let unused = every.saturating_mul(UNUSED_FACTOR);
        let due = (self.upstreams).due_checks(&self.links, every.max(timeout), self.now);
        for (key, on) in due {
            match on {
                Some(on) => self.begin_check(key, on),
                None if self.settings.worker == 0 || self.upstreams.is_degraded(key) => {
                    self.check_by_connecting(key, unused);
                }
                None => {}
            }
        }
    }

    /// Starts a check: does the instance answer, and which role does it have?
    fn begin_check(&mut self, key: InstanceKey, on: LinkKey) {
        self.upstreams.begin_check(key, on, self.now);
        let pool = self.links.get(on).map(|link| link.pool);
        let hello = pool.and_then(|pool| self.upstreams.hello(pool));
        let old = matches!(hello, Some(HelloReply::Unknown(_)));
        self.ask_server(on, Kind::Check, &[b"PING"]);
        self.ask_server(on, Kind::Role, &[if old { b"ROLE" } else { b"HELLO" }]);
        self.stats.counters.checks += 1;
    }

    /// Sends a server a request on the proxy's own account.
    pub(in crate::proxy) fn ask_server(&mut self, on: LinkKey, kind: Kind, question: &[&[u8]]) {
        (self.links).ask(&mut self.requests, on, kind, question, self.now);
    }

    /// Checks an instance without clients by opening a link to it.
    fn check_by_connecting(&mut self, key: InstanceKey, every: u64) {
        if let Some(pool) = (self.upstreams).check_by_connecting(key, every, self.now) {
            self.open_shared(pool);
            self.stats.counters.checks += 1;
        }
    }

    /// Handles the reply to a check.
    pub(in crate::proxy) fn checked(&mut self, on: LinkKey, kind: Kind, reply: &[u8]) {
        if let Some(key) = self.links.get(on).map(|link| link.instance) {
            let result = match kind {
                Kind::Role => self.upstreams.role_answered(key, reply),
                _ => self.upstreams.checked(key, reply),
            };
            self.end_check(key, result);
        }
    }

    /// Notes the result of a check, and reports what changed.
    pub(in crate::proxy) fn end_check(&mut self, key: InstanceKey, result: CheckResult) {
        match result {
            CheckResult::Passed if self.upstreams.passed(key) => {
                self.log_health(key, HealthChange::Up)
            }
            CheckResult::Failed(reason) => {
                self.stats.counters.checks_failed += 1;
                if self.upstreams.degrade(key, &reason) {
                    self.log_health(key, HealthChange::Degraded(reason));
                }
            }
            CheckResult::Passed | CheckResult::Open => {}
        }
    }

    /// An error of a server shows that the instance may not be able to serve requests: makes a
    /// check due.
    pub(in crate::proxy) fn suspect(&mut self, on: LinkKey, kind: ErrorKind) {
        if self.settings.check_ms > 0
            && let Some(link) = self.links.get(on)
        {
            self.upstreams.suspect(link.instance, kind);
        }
    }
}
