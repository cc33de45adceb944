//! Limits and pauses of tenants: their changes, and the counters while they apply.

use std::sync::Arc;

use elika::cluster::{Quota, TenantLimits};

use super::client::Op;
use super::plan::Plan;
use super::redis::Moment;
use super::rng::Rng;
use super::world::World;

/// Words of a deny list, and the commands that they deny.
const WORDS: &[(&str, &[&str])] = &[
    ("get", &["get"]),
    ("set", &["set"]),
    ("incr", &["incr"]),
    ("nest", &["nest"]),
    ("multi", &["multi"]),
    ("exec", &["exec"]),
    ("discard", &["discard"]),
    ("watch", &["watch"]),
    ("publish", &["publish"]),
    ("subscribe", &["subscribe"]),
    ("unsubscribe", &["unsubscribe"]),
    ("blpop", &["blpop"]),
    ("select", &["select"]),
    ("sync", &["sync"]),
    ("config|set", &["config|set"]),
    ("client|list", &["client|list"]),
    ("client|tracking", &["client|tracking"]),
    (
        "@pubsub",
        &[
            "publish",
            "subscribe",
            "unsubscribe",
            "psubscribe",
            "punsubscribe",
        ],
    ),
    (
        "@transaction",
        &["multi", "exec", "discard", "watch", "unwatch"],
    ),
];

/// Limits as a control plane may set them; often none.
pub(super) fn draw(rng: &mut Rng, plan: &Plan) -> TenantLimits {
    if plan.crowded {
        // No other limit keeps clients from sending too much.
        let shares = [None, None, Some(15_000), Some(40_000), Some(150_000)];
        return TenantLimits {
            tenant_buffer_bytes: *rng.pick(&shares),
            ..TenantLimits::default()
        };
    }
    if rng.one_in(3) {
        return TenantLimits::default();
    }
    let mut deny: Vec<String> = Vec::new();
    for _ in 0..*rng.pick(&[0, 0, 1, 3]) {
        deny.push(rng.pick(WORDS).0.to_owned());
    }
    deny.sort_unstable();
    deny.dedup();
    let mut some = |from: &[u64]| match rng.one_in(3) {
        true => Some(*rng.pick(from)),
        false => None,
    };
    let small = |number: Option<u64>| number.map(|it| it as u32);
    TenantLimits {
        clients: small(some(&[0, 1, 2, 4, 8])),
        pinned: small(some(&[0, 1, 2, 5])),
        requests_per_second: small(some(&[1, 5, 20, 100, 300])),
        bytes_per_second: some(&[1_000, 20_000, 200_000]),
        request_bytes: some(&[1_024, 5_000, 50_000]),
        tenant_buffer_bytes: some(&[300_000, 700_000, 2 << 20]),
        deny,
        ..TenantLimits::default()
    }
}

/// Whether the command is denied.
pub(crate) fn denies(limits: &TenantLimits, command: &str) -> bool {
    let meant = limits.deny.iter().flat_map(|word| {
        let known = WORDS.iter().find(|(known, _)| known == word);
        known.map_or(&[][..], |(_, commands)| *commands)
    });
    meant.into_iter().any(|meant| *meant == command)
}

/// A pause of a tenant.
#[derive(Debug)]
pub(crate) struct Pause {
    pub(crate) from: Moment,
    /// When it expires, ms.
    pub(crate) until: u64,
    /// When it was ended.
    pub(crate) ended: Option<Moment>,
}

impl Pause {
    /// Whether it applies then.
    pub(crate) fn holds(&self, at: Moment) -> bool {
        at > self.from && at.ms < self.until && self.ended.is_none_or(|ended| at < ended)
    }

    /// Whether it applied at any time since then.
    pub(crate) fn since(&self, since: Moment) -> bool {
        // It ends in the next round of a machine.
        self.until + 1_000 >= since.ms && self.ended.is_none_or(|ended| ended >= since)
    }
}

/// The usage of a tenant at the last check.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    clients: u32,
    pinned: u32,
    /// When the maximum of clients, or of waiting clients, was reached.
    pub(crate) limit_reached_at: Option<Moment>,
    pub(crate) full_of_waiters: Option<Moment>,
    /// The shared counters.
    quota: Option<Arc<Quota>>,
}

impl World {
    /// A tenant is paused or resumed.
    pub(super) fn change_pause(&mut self, tenant: usize) {
        let now = self.now;
        let paused = { self.tenants[tenant].pauses.iter() }.any(|pause| pause.holds(now));
        if paused && self.rng.one_in(4) {
            self.unpause(tenant);
        } else if self.rng.permille(self.plan.stir.pause) {
            self.unpause(tenant);
            let ms = *self.rng.pick(&[0, 50, 400, 2_000, 10_000]);
            self.note(|| format!("tenant {tenant} is paused for {ms} ms"));
            let key = self.tenants[tenant].key.clone();
            for node in &mut self.nodes {
                node.machine.pause(&key, ms);
            }
            self.tenants[tenant].pauses.push(Pause {
                from: self.now,
                until: self.now.ms + ms,
                ended: None,
            });
        }
    }

    pub(super) fn unpause(&mut self, tenant: usize) {
        let now = self.now;
        let pauses = self.tenants[tenant].pauses.iter_mut();
        for pause in pauses.filter(|pause| pause.ended.is_none()) {
            pause.ended = Some(now);
        }
        self.note(|| format!("tenant {tenant} goes on"));
        let key = self.tenants[tenant].key.clone();
        for node in &mut self.nodes {
            node.machine.unpause(&key);
        }
    }

    /// The usage of tenants must be within their limits, unless these were lowered.
    pub(crate) fn count(&mut self) -> Result<(), String> {
        if !self.plan.limited {
            return Ok(());
        }
        for tenant in 0..self.tenants.len() {
            self.count_of(tenant)?;
        }
        Ok(())
    }

    fn count_of(&mut self, tenant: usize) -> Result<(), String> {
        let (key, now) = (self.tenants[tenant].key.clone(), self.now);
        let (mut limits, mut quotas) = (Vec::new(), Vec::new());
        let mut away = false;
        for picture in self.view().snapshots(now, now) {
            let Some(known) = picture.snapshot.tenant_by_key(&key) else {
                away = true;
                continue;
            };
            limits.push(Arc::clone(&known.limits));
            quotas.push(Arc::clone(&known.quota));
        }
        quotas.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let (Some(quota), false) = (quotas.pop(), away || quotas.len() > 1) else {
            // Workers count at different times.
            self.tenants[tenant].count = Count {
                limit_reached_at: Some(now),
                full_of_waiters: Some(now),
                ..Count::default()
            };
            return Ok(());
        };
        // WAIT uses a connection regardless of the limit.
        let waits = self.silent > 0
            || (self.clients.iter().flat_map(|client| &client.pending))
                .any(|sent| matches!(sent.op, Op::Wait { .. }));
        let (clients, pinned) = (quota.clients.get(), quota.pinned.get());
        let most = |of: fn(&TenantLimits) -> Option<u32>| {
            let all: Option<Vec<u32>> = limits.iter().map(|limits| of(limits)).collect();
            all.and_then(|all| all.into_iter().max())
        };
        let count = &mut self.tenants[tenant].count;
        let same = count
            .quota
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, &quota));
        let over = |n: u32, before: u32, most: Option<u32>| {
            same && n > before && most.is_some_and(|most| n > most)
        };
        if over(clients, count.clients, most(|limits| limits.clients)) {
            return Err(format!(
                "tenant {tenant} has {clients} clients of {limits:?}"
            ));
        }
        if over(pinned, count.pinned, most(|limits| limits.pinned)) && !waits {
            return Err(format!("tenant {tenant} has {pinned} pins of {limits:?}"));
        }
        let full = |limits: &Arc<TenantLimits>| limits.clients.is_some_and(|most| clients >= most);
        if limits.iter().any(full) {
            count.limit_reached_at = Some(now);
        }
        // Logins wait while at most half of the places are taken.
        if quota.waiting.get() >= self.plan.settings.paused_clients_max.div_ceil(2) {
            count.full_of_waiters = Some(now);
        }
        (count.clients, count.pinned, count.quota) = (clients, pinned, Some(quota));
        Ok(())
    }

    /// At the end all usage is 0.
    pub(crate) fn check_quotas(&self) -> Result<(), String> {
        for tenant in self.snapshots.iter().flat_map(|it| it.snapshot.tenants()) {
            let quota = &tenant.quota;
            let all = [&quota.clients, &quota.pinned, &quota.waiting].map(|it| it.get());
            if all != [0; 3] {
                return Err(format!("tenant {} still uses {all:?}", tenant.key));
            }
        }
        Ok(())
    }
}
