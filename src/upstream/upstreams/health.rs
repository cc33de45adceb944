//! What this worker finds out about the health of the instances: which checks are due, and what
//! their results say. A reply to a request alone is no evidence, because a script can return
//! anything.

use std::collections::BTreeMap;

use crate::cluster::Health;
use crate::command::hello;
use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::links::Links;
use crate::link::server_error::{ServerError, error_text};
use crate::metrics::ErrorKind;
use crate::store::key::{InstanceKey, LinkKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::instance::{BACKOFF_MS, Instance};
use crate::upstream::upstreams::Upstreams;

/// The reason for `degraded` when the server refuses writes.
const READ_ONLY: &str = "it answers READONLY to a write";

/// The least time between two checks that replies made due, ms.
const SUSPECT_MS: u64 = 200;

/// A server that has not answered a probe is probed again after this, ms.
const ASK_AGAIN_MS: u64 = 1_000;

/// The result of a check.
#[derive(Debug)]
pub(crate) enum CheckResult {
    /// The instance can serve requests.
    Passed,
    /// The instance cannot serve requests, and why.
    Failed(String),
    /// The reply decides nothing.
    Open,
}

/// Checks.
impl Upstreams {
    /// Instances to check, each with a link for it if there is one. A check that is held up on its
    /// link for `repeat_ms` is repeated on another one.
    pub(crate) fn due_checks(
        &self,
        links: &Links,
        repeat_ms: u64,
        now: Millis,
    ) -> Vec<(InstanceKey, Option<LinkKey>)> {
        let ready = self.ready_by_instance(links, now);
        let over = |since| now.since(since) >= repeat_ms;
        let due = (self.instances.iter())
            .filter(|(_, it)| it.check.is_none_or(|(_, since)| over(since)))
            .filter(|(_, it)| it.draining_since.is_none());
        due.map(|(key, _)| (key, ready.get(&key).map(|&(_, on)| on)))
            .collect()
    }

    /// The instances for which a reply made a check due, each with a link for it.
    pub(crate) fn due_suspects(
        &mut self,
        links: &Links,
        now: Millis,
    ) -> Vec<(InstanceKey, LinkKey)> {
        if !std::mem::take(&mut self.suspects) {
            return Vec::new();
        }
        let suspected = |it: &Instance| it.suspected.is_some() && it.check.is_none();
        if !self.instances.iter().any(|(_, it)| suspected(it)) {
            return Vec::new();
        }
        let ready = self.ready_by_instance(links, now);
        let mut due = Vec::new();
        for (key, instance) in self.instances.iter().filter(|(_, it)| suspected(it)) {
            match ready.get(&key) {
                Some(&(_, on)) if now.since(instance.checked_at) >= SUSPECT_MS => {
                    due.push((key, on));
                }
                _ => self.suspects = true,
            }
        }
        due
    }

    /// A link to each instance for its check, preferably an idle one: of a pool in use, or an
    /// anonymous one that was opened for checks.
    fn ready_by_instance(
        &self,
        links: &Links,
        now: Millis,
    ) -> BTreeMap<InstanceKey, (usize, LinkKey)> {
        let mut found: BTreeMap<InstanceKey, (usize, LinkKey)> = BTreeMap::new();
        for (_, pool) in self.pools.iter() {
            let Some(access) = self.access.get(pool.access) else {
                continue;
            };
            let Some(account) = self.accounts.get(access.account) else {
                continue;
            };
            if pool.clients == 0 && !account.is_anonymous() {
                continue;
            }
            for &key in &pool.links {
                let fit = |it: &&Link| {
                    it.is_ready() && it.is_open() && it.drawbacks(now) == (false, false)
                };
                let Some(link) = links.get(key).filter(fit) else {
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

    /// A check of the instance starts on this link.
    pub(crate) fn begin_check(&mut self, key: InstanceKey, on: LinkKey, now: Millis) {
        if let Some(instance) = self.instances.get_mut(key) {
            (instance.check, instance.checked_at) = (Some((on, now)), now);
        }
    }

    /// The pool whose new link checks an instance without clients, if the last check is this long
    /// ago. Instances that are down or unknown are [probed](Self::probe) instead.
    pub(crate) fn check_by_connecting(
        &mut self,
        key: InstanceKey,
        every_ms: u64,
        now: Millis,
    ) -> Option<PoolKey> {
        let instance = self.instances.get_mut(key)?;
        let known = matches!(instance.health, Health::Up | Health::Degraded);
        if !known || instance.connecting > 0 || now.since(instance.checked_at) < every_ms {
            return None;
        }
        instance.checked_at = now;
        Some(self.anonymous_pool(key))
    }

    /// Handles the reply to a check.
    pub(crate) fn checked(&mut self, key: InstanceKey, reply: &[u8]) -> CheckResult {
        let Some(instance) = self.instances.get_mut(key) else {
            return CheckResult::Open;
        };
        instance.check = None;
        if instance.suspected != Some(ErrorKind::ReadOnly) {
            instance.suspected = None;
        }
        match error_text(reply) {
            Some(text) if ServerError::of(&text).is_down() => CheckResult::Failed(text),
            // The reply to ROLE decides.
            _ if instance.read_only => CheckResult::Open,
            // Any reply shows that the server is up.
            _ => CheckResult::Passed,
        }
    }

    /// Handles the reply to HELLO or ROLE.
    pub(crate) fn role_answered(&mut self, key: InstanceKey, reply: &[u8]) -> CheckResult {
        self.update_hello_role(key, reply);
        let Some(instance) = self.instances.get_mut(key) else {
            return CheckResult::Open;
        };
        let suspected = instance.suspected == Some(ErrorKind::ReadOnly);
        if suspected {
            instance.suspected = None;
        }
        match is_primary(reply) {
            false if suspected || instance.read_only => {
                instance.read_only = true;
                CheckResult::Failed(READ_ONLY.to_owned())
            }
            true if instance.read_only => CheckResult::Passed,
            _ => CheckResult::Open,
        }
    }

    /// Handles a check that the default user may not send. If no other user's link can send it, the
    /// instance counts as up: the replies to its next client show whether it is degraded.
    pub(crate) fn check_not_permitted(
        &self,
        key: InstanceKey,
        links: &Links,
        now: Millis,
    ) -> CheckResult {
        let asks = || self.ready_by_instance(links, now).contains_key(&key);
        match self.is_degraded(key) && !asks() {
            true => CheckResult::Passed,
            false => CheckResult::Open,
        }
    }

    /// Instances that are up, and whose check is not answered in time.
    pub(crate) fn late_checks(
        &mut self,
        links: &Links,
        timeout_ms: u64,
        now: Millis,
    ) -> Vec<InstanceKey> {
        let mut late = Vec::new();
        for (key, instance) in self.instances.iter_mut() {
            let Some((on, since)) = &mut instance.check else {
                continue;
            };
            // A slow client blocks the reply: this is not the instance's fault.
            if links.get(*on).is_some_and(|it| it.paused) {
                *since = now;
            }
            // A server that answers on other links holds back this reply only.
            let silent = now.since((*since).max(instance.read_at)) >= timeout_ms;
            if instance.health == Health::Up && silent {
                late.push(key);
            }
        }
        late
    }

    /// Ends the check that ran on a closed link.
    pub(super) fn end_check(&mut self, key: InstanceKey, on: LinkKey) {
        if let Some(instance) = self.instances.get_mut(key)
            && instance.check.is_some_and(|(with, _)| with == on)
        {
            instance.check = None;
        }
    }
}

/// Health.
impl Upstreams {
    /// Marks an instance as up. Returns whether it was not up before.
    pub(crate) fn passed(&mut self, key: InstanceKey) -> bool {
        let Some(instance) = self.instances.get_mut(key) else {
            return false;
        };
        instance.read_only = false;
        if std::mem::replace(&mut instance.health, Health::Up) == Health::Up {
            return false;
        }
        instance.reason.clear();
        true
    }

    /// Marks an instance as degraded. Returns whether it was not degraded before.
    pub(crate) fn degrade(&mut self, key: InstanceKey, reason: &str) -> bool {
        let instance = self.instances.get_mut(key);
        let Some(instance) = instance.filter(|it| it.health != Health::Degraded) else {
            return false;
        };
        instance.health = Health::Degraded;
        reason.clone_into(&mut instance.reason);
        self.probing = true;
        true
    }

    /// An error of a server shows that the instance may not be able to serve requests: makes a
    /// check due.
    pub(crate) fn suspect(&mut self, key: InstanceKey, kind: ErrorKind) {
        if let Some(instance) = self.instances.get_mut(key)
            && instance.health == Health::Up
            && instance.suspected != Some(ErrorKind::ReadOnly)
        {
            instance.suspected = Some(kind);
            self.suspects = true;
        }
    }

    pub(crate) fn is_degraded(&self, key: InstanceKey) -> bool {
        let instance = self.instances.get(key);
        instance.is_some_and(|instance| instance.health == Health::Degraded)
    }

    /// Notes that an instance answered. A degraded instance stays degraded until it passes a check.
    /// Returns whether the instance was down or unknown before.
    pub(crate) fn came_up(&mut self, key: InstanceKey) -> bool {
        let Some(instance) = self.instances.get_mut(key) else {
            return false;
        };
        (instance.failures, instance.retry_at) = (0, Millis::default());
        if !matches!(instance.health, Health::Unknown | Health::Down) {
            return false;
        }
        (instance.health, instance.reason) = (Health::Up, String::new());
        true
    }

    /// Notes that a link to an instance could not be opened, or failed before it worked. The
    /// instance is down, unless another link to it is ready; the next attempt to connect is
    /// delayed. Returns whether the instance was not down before.
    pub(crate) fn went_down(&mut self, key: InstanceKey, why: &Failure, now: Millis) -> bool {
        let jitter = self.random.next();
        let Some(instance) = self.instances.get_mut(key) else {
            return false;
        };
        let (first, longest) = BACKOFF_MS;
        let wait = (first << instance.failures.min(16)).min(longest);
        // Half fixed, half random, so that workers and proxies do not reconnect at the same time.
        let wait = wait / 2 + jitter % (wait / 2 + 1);
        instance.failures = instance.failures.saturating_add(1);
        instance.retry_at = now.after(wait);
        if instance.ready > 0 {
            return false;
        }
        instance.down_error = why.error_if_unsent();
        instance.reason = why.reason();
        let news = std::mem::replace(&mut instance.health, Health::Down) != Health::Down;
        self.probing |= news;
        news
    }

    /// Does this worker probe an instance in use that is down or degraded, or of unknown health?
    pub(crate) fn is_probing(&self) -> bool {
        self.probing
    }

    pub(crate) fn stop_probing(&mut self) {
        self.probing = false;
    }

    /// The pools whose new links probe the instances that are down, and with `unknown_too` those of
    /// unknown health.
    pub(crate) fn probe(&mut self, unknown_too: bool, now: Millis) -> Vec<PoolKey> {
        self.probing = self.instances.iter().any(|(_, it)| match it.health {
            _ if it.draining_since.is_some() => false,
            Health::Unknown => unknown_too,
            Health::Down | Health::Degraded => true,
            Health::Up => false,
        });
        if !self.probing {
            return Vec::new();
        }
        let due = (self.instances.iter())
            .filter(|(_, it)| it.connecting == 0 && it.draining_since.is_none())
            .filter(|(_, it)| match it.health {
                Health::Unknown => unknown_too,
                Health::Down => now >= it.retry_at,
                Health::Up | Health::Degraded => false,
            });
        let due: Vec<InstanceKey> = due.map(|(key, _)| key).collect();
        let mut pools = Vec::with_capacity(due.len());
        for key in due {
            pools.push(self.anonymous_pool(key));
        }
        pools
    }

    /// The server of a link sent bytes.
    #[inline]
    pub(crate) fn note_read(&mut self, key: InstanceKey, now: Millis) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.read_at = now;
        }
    }

    /// When the server of a pool last answered, on any link of this worker.
    pub(crate) fn last_read_of(&self, pool: PoolKey) -> Millis {
        let instance = self.instance_at(pool);
        instance.map_or_else(Millis::default, |instance| instance.read_at)
    }

    /// Is the server to be probed now, because a reply is late: on an `idle` link, or else by
    /// opening one? If so, this is noted.
    pub(crate) fn seek_answer(&mut self, key: InstanceKey, idle: bool, now: Millis) -> bool {
        let Some(instance) = self.instances.get_mut(key) else {
            return false;
        };
        let asked = instance.asked_alive > instance.read_at
            && now.since(instance.asked_alive) < ASK_AGAIN_MS;
        let begins = instance.connecting > 0 || instance.is_in_backoff(now);
        let due = !asked && (idle || !begins);
        if due {
            instance.asked_alive = now;
        }
        due
    }
}

/// Does a reply to HELLO or ROLE say that the server takes writes? An error says nothing about the
/// role, so the server is taken for a primary.
fn is_primary(reply: &[u8]) -> bool {
    let role = hello::field(reply, b"role");
    let replica = reply.starts_with(b"*5\r\n$5\r\nslave\r\n");
    role.map_or(!replica, |role| role == b"master")
}
