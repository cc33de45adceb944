//! Which instance a client gets, and which instances are draining: offline or removed.

use std::collections::HashSet;

use crate::store::key::{InstanceKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::upstreams::Upstreams;

/// A draining instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    pub tenant: TenantSlot,
    /// The registry removed the instance.
    pub gone: bool,
    /// How long it has been offline or gone, ms.
    pub ms: u64,
    /// Clients may try to move now.
    pub may_move: bool,
}

/// Draining instances, by what happens to their clients next.
#[derive(Debug, Default)]
pub(crate) struct DrainingInstances {
    /// Their clients move to other instances.
    pub draining: HashSet<InstanceKey>,
    /// They have no client left.
    pub left: HashSet<InstanceKey>,
    /// Their grace period is over.
    pub over: HashSet<InstanceKey>,
    /// The grace period after a change of their addresses is over.
    pub moved: HashSet<InstanceKey>,
}

impl Upstreams {
    /// Chooses one of the tenant's fittest instances with the balancer.
    pub(crate) fn balance(&mut self, tenant: TenantSlot) -> Option<InstanceKey> {
        let random = self.random.next();
        let tenant = self.tenants.get_mut(tenant)?;
        let known = tenant.instances.iter();
        let known = known.filter_map(|&key| Some((key, self.instances.get(key)?)));
        let best = known.clone().map(|(_, it)| it.unfitness()).min()?;
        let fit = known.filter(|(_, it)| it.unfitness() == best);
        let (keys, clients): (Vec<InstanceKey>, Vec<u32>) =
            fit.map(|(key, it)| (key, it.clients)).unzip();
        let turn = tenant.turn.wrapping_add(self.rules.worker.into());
        tenant.turn = tenant.turn.wrapping_add(1);
        let chosen = self.rules.balancer.choose(&clients, turn, random)?;
        keys.get(chosen).copied()
    }

    /// Like [`balance`](Self::balance), for a client that moves: not to an instance that is down.
    pub(crate) fn balance_move(&mut self, tenant: TenantSlot, now: Millis) -> Option<InstanceKey> {
        let to = self.balance(tenant)?;
        let instance = self.instances.get(to)?;
        (!instance.fails_fast(now)).then_some(to)
    }

    /// May a client of a tenant stay with this instance? `bound`: it has a dedicated link, and the
    /// state of the link cannot move.
    pub(crate) fn may_stay(&self, at: InstanceKey, tenant: TenantSlot, bound: bool) -> bool {
        let usable = { self.tenants.get(tenant) }.is_some_and(|it| it.instances.contains(&at));
        let instance = self.instances.get(at);
        usable || bound && instance.is_some_and(|it| it.slot == tenant)
    }

    /// The state of a pool's instance, if it is draining.
    pub(crate) fn draining(&self, pool: PoolKey, now: Millis) -> Option<Draining> {
        let instance = self.instance_at(pool)?;
        Some(Draining {
            tenant: instance.slot,
            gone: instance.gone,
            ms: now.since(instance.draining_since?),
            may_move: now >= instance.moves_after,
        })
    }

    /// Clients of this pool try to leave its instance not before then.
    pub(crate) fn delay_moves(&mut self, pool: PoolKey, until: Millis) {
        let instance = self.instance_of(pool);
        if let Some(instance) = instance.and_then(|key| self.instances.get_mut(key)) {
            instance.moves_after = until;
        }
    }

    /// The draining instances, and those whose addresses changed a grace period ago.
    pub(crate) fn draining_instances(&mut self, grace_ms: u64, now: Millis) -> DrainingInstances {
        let mut found = DrainingInstances::default();
        // Only instances in use are visited: many may be offline for a long time.
        for key in self.used_instances() {
            let Some(instance) = self.instances.get_mut(key) else {
                continue;
            };
            let over = |at: Option<Millis>| at.map(|at| now.since(at) >= grace_ms);
            match over(instance.draining_since) {
                Some(_) if instance.clients == 0 => found.left.insert(key),
                Some(true) => found.over.insert(key),
                Some(false) => found.draining.insert(key),
                None if over(instance.moved_at) == Some(true) => {
                    instance.moved_at = None;
                    found.moved.insert(key)
                }
                None => false,
            };
        }
        found
    }
}
