//! Does an instance do as it should? Asked actively, with a PING now and then, and learned from
//! what it answers to requests.

use std::collections::BTreeMap;

use crate::cluster::Health;
use crate::command::hello;
use crate::metrics::ErrorKind;
use crate::resp::write;

use super::action::News;
use super::backend::Backend;
use super::forward::append;
use super::handshake::error_text;
use super::instance::Instance;
use super::key::{BackendKey, ClientKey, InstanceKey};
use super::machine::Machine;
use super::pin::Verb;
use super::request::{Fifo, Kind};

/// Why an instance is not as it should be that was asked to write and would not.
const READ_ONLY: &str = "it answers READONLY to a write";

/// An instance that has no clients is asked so many times more seldom: that takes a connection.
const UNUSED_FACTOR: u64 = 5;

impl Machine {
    /// What is due of the checks; called in each round.
    pub(super) fn check_health(&mut self) {
        let every = self.settings.check_ms;
        if every == 0 {
            return;
        }
        self.find_late_checks();
        if self.draining || self.now < self.next_check {
            return;
        }
        self.next_check = self.now.after(every);
        let asked = self.ready_by_instance();
        let unused = every.saturating_mul(UNUSED_FACTOR);
        // One that is held back on its connection is asked anew on another one.
        let over = |since| self.now.since(since) >= every.max(self.settings.check_timeout_ms);
        let due: Vec<InstanceKey> = (self.pools.instances.iter())
            .filter(|(_, it)| it.check.is_none_or(|(_, since)| over(since)))
            .filter(|(_, it)| it.leaving.is_none())
            .map(|(key, _)| key)
            .collect();
        for key in due {
            match asked.get(&key) {
                Some(&(_, on)) => self.begin_check(key, on),
                None if self.settings.worker == 0 || self.is_degraded(key) => {
                    self.check_by_connecting(key, unused);
                }
                None => {}
            }
        }
    }

    /// For each instance a connection to ask on, best an idle one: of a pool that is in use, or of
    /// a stranger's, which was opened to ask on.
    fn ready_by_instance(&self) -> BTreeMap<InstanceKey, (usize, BackendKey)> {
        let mut found: BTreeMap<InstanceKey, (usize, BackendKey)> = BTreeMap::new();
        for (_, pool) in self.pools.pools.iter() {
            let Some(account) = self.pools.accounts.get(pool.account) else {
                continue;
            };
            if pool.clients == 0 && !account.is_anonymous() {
                continue;
            }
            for &key in &pool.backends {
                let fit = |it: &&Backend| {
                    it.is_ready() && it.is_open() && it.drawbacks(self.now) == (false, false)
                };
                let Some(backend) = self.backends.get(key).filter(fit) else {
                    continue;
                };
                let owed = usize::from(!backend.fifo.is_empty());
                let best = found.entry(account.instance).or_insert((owed, key));
                if owed < best.0 {
                    *best = (owed, key);
                }
            }
        }
        found
    }

    /// Asks an instance on this connection: PING, or whether it takes writes again.
    fn begin_check(&mut self, key: InstanceKey, on: BackendKey) {
        let (Some(instance), Some(backend)) =
            (self.pools.instances.get_mut(key), self.backends.get_mut(on))
        else {
            return;
        };
        let mut bytes = Vec::new();
        let question: &[u8] = if instance.read_only {
            b"HELLO"
        } else {
            b"PING"
        };
        write::command(&mut bytes, &[question]);
        (instance.check, instance.checked_at) = (Some((on, self.now)), self.now);
        if backend.fifo.is_empty() {
            backend.since = self.now;
        }
        let (start, what) = (backend.queued, (Kind::Check, Verb::Plain));
        let nobody = ClientKey::NONE;
        let mut nobodys = Fifo::default();
        self.requests
            .push(&mut nobodys, &mut backend.fifo, nobody, what, 1, (start, 0));
        backend.queued += bytes.len() as u64;
        append(
            &mut self.to_backends,
            &mut self.dirty_backends,
            backend,
            on,
            &bytes,
        );
        self.counters.checks += 1;
    }

    /// An instance that nobody uses is asked by opening a connection to it.
    fn check_by_connecting(&mut self, key: InstanceKey, every: u64) {
        let Some(instance) = self.pools.instances.get_mut(key) else {
            return;
        };
        // Those that are down or unknown are tried in `probe`.
        let known = matches!(instance.health, Health::Up | Health::Degraded);
        if !known || instance.connecting > 0 || self.now.since(instance.checked_at) < every {
            return;
        }
        instance.checked_at = self.now;
        let account = self.pools.account((key, None));
        let pool = self.pools.pool(account, 0, crate::resp::Protocol::Resp2);
        self.open_shared(pool);
        self.counters.checks += 1;
    }

    fn is_degraded(&self, key: InstanceKey) -> bool {
        let instance = self.pools.instances.get(key);
        instance.is_some_and(|instance| instance.health == Health::Degraded)
    }

    /// Who has no login may not ask an instance. If nobody else can, what was wrong with it is
    /// forgotten: its next client finds out whether it still is.
    pub(super) fn may_not_ask(&mut self, key: InstanceKey) {
        if self.is_degraded(key) && !self.ready_by_instance().contains_key(&key) {
            self.passed(key);
        }
    }

    /// The answer to a check.
    pub(super) fn checked(&mut self, on: BackendKey, reply: &[u8]) {
        let backend = self.backends.get(on);
        let Some(key) = backend.map(|backend| backend.instance) else {
            return;
        };
        let Some(instance) = self.pools.instances.get_mut(key) else {
            return;
        };
        instance.check = None;
        let passing = ["LOADING", "MASTERDOWN", "BUSY"];
        match error_text(reply) {
            Some(text) if passing.iter().any(|word| text.starts_with(word)) => {
                self.counters.checks_failed += 1;
                self.degrade(key, text);
            }
            _ if instance.read_only && !is_primary(reply) => {
                self.counters.checks_failed += 1;
                self.degrade(key, READ_ONLY.to_owned());
            }
            // It answers, whatever it thinks of the question.
            _ => self.passed(key),
        }
    }

    /// An instance does as it should.
    fn passed(&mut self, key: InstanceKey) {
        if let Some(instance) = self.pools.instances.get_mut(key) {
            instance.read_only = false;
            if std::mem::replace(&mut instance.health, Health::Up) != Health::Up {
                instance.reason.clear();
                self.report(key, News::Up);
            }
        }
    }

    /// A reply said that the instance cannot do what it is there for.
    pub(super) fn trouble(&mut self, on: BackendKey, kind: ErrorKind) {
        let backend = self.backends.get(on);
        let Some(key) = backend.map(|backend| backend.instance) else {
            return;
        };
        let reason = match kind {
            ErrorKind::Loading => "it answers LOADING",
            ErrorKind::MasterDown => "it answers MASTERDOWN",
            _ => READ_ONLY,
        };
        if self.settings.check_ms == 0 {
            // Nobody would find out when that is over.
            return;
        }
        if let Some(instance) = self.pools.instances.get_mut(key) {
            instance.read_only |= kind == ErrorKind::ReadOnly;
        }
        self.degrade(key, reason.to_owned());
    }

    fn degrade(&mut self, key: InstanceKey, reason: String) {
        if let Some(instance) = self.pools.instances.get_mut(key)
            && instance.health != Health::Degraded
        {
            instance.health = Health::Degraded;
            instance.reason.clone_from(&reason);
            self.probing = true;
            self.report(key, News::Degraded(reason));
        }
    }

    /// Checks that are not answered in time.
    fn find_late_checks(&mut self) {
        let patience = self.settings.check_timeout_ms;
        for (_, instance) in self.pools.instances.iter_mut() {
            // Behind a reply that its client does not read: that is not the instance's fault.
            if let Some((on, since)) = &mut instance.check
                && self.backends.get(*on).is_some_and(|it| it.paused)
            {
                *since = self.now;
            }
        }
        let instances = self.pools.instances.iter();
        // One that answers others holds back this answer only.
        let silent = |it: &Instance| {
            let asked = it.check.map(|(_, since)| since.max(it.heard));
            asked.is_some_and(|since| self.now.since(since) >= patience)
        };
        let late: Vec<InstanceKey> = instances
            .filter(|(_, it)| it.health == Health::Up && silent(it))
            .map(|(key, _)| key)
            .collect();
        for key in late {
            self.counters.checks_failed += 1;
            self.degrade(key, format!("no answer to a check within {patience} ms"));
        }
    }

    /// A connection has ended, and the check on it with it.
    pub(super) fn end_check(&mut self, key: InstanceKey, on: BackendKey) {
        if let Some(instance) = self.pools.instances.get_mut(key)
            && instance.check.is_some_and(|(with, _)| with == on)
        {
            instance.check = None;
        }
    }
}

/// Does a reply to HELLO say that the server takes writes? One without HELLO tells nothing, and is
/// believed.
fn is_primary(reply: &[u8]) -> bool {
    hello::field(reply, b"role").is_none_or(|role| role == b"master")
}
