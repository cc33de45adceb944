//! Health checks of instances: active ones (PING at an interval), and checks that a reply to a
//! request makes due. A reply alone is no evidence, because a script can return anything.

use std::collections::BTreeMap;

use crate::cluster::Health;
use crate::command::{hello, proxy_command};
use crate::metrics::ErrorKind;

use crate::link::handshake::HelloReply;
use crate::link::link::Link;
use crate::link::request::{Fifo, Kind};
use crate::link::server_error::{ServerError, error_text};
use crate::link::verb::Verb;
use crate::proxy::action::News;
use crate::proxy::machine::Machine;
use crate::store::key::{ClientKey, InstanceKey, LinkKey};
use crate::upstream::instance::Instance;

/// The reason for `degraded` when the server refuses writes.
const READ_ONLY: &str = "it answers READONLY to a write";

/// The least time between two checks that replies made due, ms.
const SUSPECT_MS: u64 = 200;

/// An instance without clients is checked this many times less often: each check opens a link.
const UNUSED_FACTOR: u64 = 5;

impl Machine {
    /// Starts the checks that are due; called in each round.
    pub(in crate::proxy) fn check_health(&mut self) {
        let every = self.settings.check_ms;
        if every == 0 {
            return;
        }
        self.find_late_checks();
        self.check_suspects();
        if self.clients.is_draining() || self.now < self.rounds.next_check {
            return;
        }
        self.rounds.next_check = self.now.after(every);
        let asked = self.ready_by_instance();
        let unused = every.saturating_mul(UNUSED_FACTOR);
        // A check that is held up on its link is repeated on another one.
        let over = |since| self.now.since(since) >= every.max(self.settings.check_timeout_ms);
        let due: Vec<InstanceKey> = (self.upstreams.instances.iter())
            .filter(|(_, it)| it.check.is_none_or(|(_, since)| over(since)))
            .filter(|(_, it)| it.leaving.is_none())
            .map(|(key, _)| key)
            .collect();
        for key in due {
            match asked.get(&key) {
                Some(&(_, on)) => self.begin_check(key, on),
                None if self.settings.worker == 0 || self.upstreams.is_degraded(key) => {
                    self.check_by_connecting(key, unused);
                }
                None => {}
            }
        }
    }

    /// Checks the instances for which a reply made a check due.
    fn check_suspects(&mut self) {
        if !std::mem::take(&mut self.upstreams.suspects) {
            return;
        }
        let suspected = self.upstreams.instances.iter();
        let suspected = suspected.filter(|(_, it)| it.suspected.is_some() && it.check.is_none());
        let suspected: Vec<(InstanceKey, bool)> = suspected
            .map(|(key, it)| (key, self.now.since(it.checked_at) >= SUSPECT_MS))
            .collect();
        if suspected.is_empty() {
            return;
        }
        let asked = self.ready_by_instance();
        for (key, due) in suspected {
            match asked.get(&key) {
                Some(&(_, on)) if due => self.begin_check(key, on),
                _ => self.upstreams.suspects = true,
            }
        }
    }

    /// A link to each instance for its check, preferably an idle one: of a pool in use, or an
    /// anonymous one that was opened for checks.
    fn ready_by_instance(&self) -> BTreeMap<InstanceKey, (usize, LinkKey)> {
        let mut found: BTreeMap<InstanceKey, (usize, LinkKey)> = BTreeMap::new();
        for (_, pool) in self.upstreams.pools.iter() {
            let Some(access) = self.upstreams.access.get(pool.access) else {
                continue;
            };
            let Some(account) = self.upstreams.accounts.get(access.account) else {
                continue;
            };
            if pool.clients == 0 && !account.is_anonymous() {
                continue;
            }
            for &key in &pool.links {
                let fit = |it: &&Link| {
                    it.is_ready() && it.is_open() && it.drawbacks(self.now) == (false, false)
                };
                let Some(link) = self.links.get(key).filter(fit) else {
                    continue;
                };
                let owed = usize::from(!link.fifo.is_empty());
                let best = found.entry(access.instance).or_insert((owed, key));
                if owed < best.0 {
                    *best = (owed, key);
                }
            }
        }
        found
    }

    /// Starts a check: does the instance answer, and which role does it have?
    fn begin_check(&mut self, key: InstanceKey, on: LinkKey) {
        let Some(instance) = self.upstreams.instances.get_mut(key) else {
            return;
        };
        (instance.check, instance.checked_at) = (Some((on, self.now)), self.now);
        let pool = self.links.get(on).map(|link| link.pool);
        let pool = pool.and_then(|pool| self.upstreams.pools.get(pool));
        let old = pool.is_some_and(|pool| matches!(pool.hello, Some(HelloReply::Unknown(_))));
        self.ask_server(on, Kind::Check, &[b"PING"]);
        self.ask_server(on, Kind::Role, &[if old { b"ROLE" } else { b"HELLO" }]);
        self.stats.counters.checks += 1;
    }

    /// Sends a server one of the proxy's own requests.
    pub(in crate::proxy) fn ask_server(&mut self, on: LinkKey, kind: Kind, question: &[&[u8]]) {
        let Some(link) = self.links.get_mut(on) else {
            return;
        };
        let mut bytes = Vec::new();
        proxy_command::write(&mut bytes, question);
        if link.fifo.is_empty() {
            link.since = self.now;
        }
        let verb = match kind {
            Kind::Wait => Verb::Wait,
            _ => Verb::Plain,
        };
        let (start, what) = (link.queued, (kind, verb));
        let (mut nobodys, nobody) = (Fifo::default(), ClientKey::NONE);
        self.requests
            .push(&mut nobodys, &mut link.fifo, nobody, what, 1, start);
        link.queued += bytes.len() as u64;
        self.links.append(on, &bytes);
    }

    /// Checks an instance without clients by opening a link to it.
    fn check_by_connecting(&mut self, key: InstanceKey, every: u64) {
        let Some(instance) = self.upstreams.instances.get_mut(key) else {
            return;
        };
        // Instances that are down or unknown are checked in `probe`.
        let known = matches!(instance.health, Health::Up | Health::Degraded);
        if !known || instance.connecting > 0 || self.now.since(instance.checked_at) < every {
            return;
        }
        instance.checked_at = self.now;
        let access = self.upstreams.anonymous(key);
        let pool = self.upstreams.pool(access, 0, crate::resp::Protocol::Resp2);
        self.open_shared(pool);
        self.stats.counters.checks += 1;
    }

    /// Handles a check that the default user may not send. If no other user's link can send it, the
    /// instance counts as up: the replies to its next client show whether it is degraded.
    pub(in crate::proxy) fn may_not_ask(&mut self, key: InstanceKey) {
        if self.upstreams.is_degraded(key) && !self.ready_by_instance().contains_key(&key) {
            self.passed(key);
        }
    }

    /// Handles the reply to a check.
    pub(in crate::proxy) fn checked(&mut self, on: LinkKey, reply: &[u8]) {
        let link = self.links.get(on);
        let Some(key) = link.map(|link| link.instance) else {
            return;
        };
        let Some(instance) = self.upstreams.instances.get_mut(key) else {
            return;
        };
        instance.check = None;
        if instance.suspected != Some(ErrorKind::ReadOnly) {
            instance.suspected = None;
        }
        match error_text(reply) {
            Some(text) if ServerError::of(&text).is_down() => {
                self.stats.counters.checks_failed += 1;
                self.degrade(key, text);
            }
            // The reply to ROLE decides.
            _ if instance.read_only => {}
            // Any reply shows that the server is up.
            _ => self.passed(key),
        }
    }

    /// Handles the reply to ROLE.
    pub(in crate::proxy) fn role_answered(&mut self, on: LinkKey, reply: &[u8]) {
        let Some(key) = self.links.get(on).map(|link| link.instance) else {
            return;
        };
        self.upstreams.tell_pools(key, reply);
        let Some(instance) = self.upstreams.instances.get_mut(key) else {
            return;
        };
        let suspected = instance.suspected == Some(ErrorKind::ReadOnly);
        if suspected {
            instance.suspected = None;
        }
        match is_primary(reply) {
            false if suspected || instance.read_only => {
                instance.read_only = true;
                self.stats.counters.checks_failed += 1;
                self.degrade(key, READ_ONLY.to_owned());
            }
            true if instance.read_only => self.passed(key),
            _ => {}
        }
    }

    /// Marks an instance as up.
    fn passed(&mut self, key: InstanceKey) {
        if let Some(instance) = self.upstreams.instances.get_mut(key) {
            instance.read_only = false;
            if std::mem::replace(&mut instance.health, Health::Up) != Health::Up {
                instance.reason.clear();
                self.report(key, News::Up);
            }
        }
    }

    /// An error of a server shows that the instance may not be able to serve requests: makes a
    /// check due.
    pub(in crate::proxy) fn suspect(&mut self, on: LinkKey, kind: ErrorKind) {
        let instance = self.links.get(on).map(|link| link.instance);
        let instance = instance.and_then(|key| self.upstreams.instances.get_mut(key));
        if let Some(instance) = instance
            && self.settings.check_ms > 0
            && instance.health == Health::Up
            && instance.suspected != Some(ErrorKind::ReadOnly)
        {
            instance.suspected = Some(kind);
            self.upstreams.suspects = true;
        }
    }

    fn degrade(&mut self, key: InstanceKey, reason: String) {
        if let Some(instance) = self.upstreams.instances.get_mut(key)
            && instance.health != Health::Degraded
        {
            instance.health = Health::Degraded;
            instance.reason.clone_from(&reason);
            self.upstreams.probing = true;
            self.report(key, News::Degraded(reason));
        }
    }

    /// Finds checks that are not answered in time.
    fn find_late_checks(&mut self) {
        let patience = self.settings.check_timeout_ms;
        for (_, instance) in self.upstreams.instances.iter_mut() {
            // A slow client blocks the reply: this is not the instance's fault.
            if let Some((on, since)) = &mut instance.check
                && self.links.get(*on).is_some_and(|it| it.paused)
            {
                *since = self.now;
            }
        }
        let instances = self.upstreams.instances.iter();
        // A server that answers on other links holds back this reply only.
        let silent = |it: &Instance| {
            let asked = it.check.map(|(_, since)| since.max(it.heard));
            asked.is_some_and(|since| self.now.since(since) >= patience)
        };
        let late: Vec<InstanceKey> = instances
            .filter(|(_, it)| it.health == Health::Up && silent(it))
            .map(|(key, _)| key)
            .collect();
        for key in late {
            self.stats.counters.checks_failed += 1;
            self.degrade(key, format!("no answer to a check within {patience} ms"));
        }
    }
}

/// Does a reply to HELLO or ROLE say that the server takes writes? An error says nothing about the
/// role, so the server is taken for a primary.
fn is_primary(reply: &[u8]) -> bool {
    let role = hello::field(reply, b"role");
    let replica = reply.starts_with(b"*5\r\n$5\r\nslave\r\n");
    role.map_or(!replica, |role| role == b"master")
}
