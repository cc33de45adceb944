//! The instances of a worker: changes of the registry, and health.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::cluster::{self, Health, InstanceId, Snapshot};

use crate::link::failure::Failure;
use crate::store::key::InstanceKey;
use crate::store::time::Millis;
use crate::upstream::instance::{BACKOFF_MS, Changes, Instance};
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// Follows the registry from one snapshot to the next.
    pub(crate) fn follow(&mut self, new: Arc<Snapshot>, now: Millis) -> Changes {
        let mut changes = Changes::default();
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(&new));
        for (old, new) in new.changes_since(&old) {
            if let Some(old) = old {
                self.lose(old, new, now, &mut changes);
            }
            let Some(tenant) = new else { continue };
            let slot = self.follow_tenant(tenant, now);
            let mut usable = Vec::new();
            for new in &tenant.instances {
                let id = (tenant.key.clone(), new.id.clone());
                let instances = &mut self.instances;
                let key = *self.by_id.entry(id).or_insert_with(|| {
                    instances.insert(Instance::new(tenant.key.clone(), slot, new))
                });
                let Some(instance) = instances.get_mut(key) else {
                    continue;
                };
                let stayed = instance.leaving.is_none();
                if instance.follow(new, now) {
                    changes.moved.insert(key);
                }
                match instance.leaving {
                    None => usable.push(key),
                    Some(_) if stayed => {
                        changes.leaving.insert(key);
                    }
                    Some(_) => {}
                }
            }
            if let Some(tenant) = self.tenants.get_mut(slot) {
                tenant.instances = usable;
            }
        }
        self.probing = true;
        self.look_for_gates();
        changes
    }

    /// Handles the instances that a tenant no longer has.
    fn lose(
        &mut self,
        old: &cluster::Tenant,
        new: Option<&cluster::Tenant>,
        now: Millis,
        changes: &mut Changes,
    ) {
        let stays = |id: &InstanceId| new.is_some_and(|new| new.instance(id).is_some());
        for lost in old.instances.iter().filter(|it| !stays(&it.id)) {
            let id = (old.key.clone(), lost.id.clone());
            let Some(&key) = self.by_id.get(&id) else {
                continue;
            };
            if let Some(instance) = self.instances.get_mut(key)
                && !std::mem::replace(&mut instance.gone, true)
            {
                instance.down_error = Failure::Removed.error_if_unsent();
                instance.leaving = instance.leaving.or(Some(now));
                changes.gone.insert(key);
                changes.leaving.insert(key);
            }
        }
        if new.is_none() {
            self.forget_tenant(&old.key, now);
        }
    }

    /// Is an instance in use down or degraded, or, if `unknown_too`, of unknown health?
    pub(crate) fn any_not_up(&self, unknown_too: bool) -> bool {
        self.instances.iter().any(|(_, it)| match it.health {
            _ if it.leaving.is_some() => false,
            Health::Unknown => unknown_too,
            Health::Down | Health::Degraded => true,
            Health::Up => false,
        })
    }

    /// Is this one of the instance's addresses? See [`Instance::is_at`].
    pub(crate) fn is_at(&self, key: InstanceKey, address: Option<SocketAddr>) -> bool {
        self.instances.get(key).is_some_and(|it| it.is_at(address))
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
    /// delayed. `jitter` is a random number. Returns whether the instance was not down before.
    pub(crate) fn went_down(
        &mut self,
        key: InstanceKey,
        why: &Failure,
        now: Millis,
        jitter: u64,
    ) -> bool {
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
        std::mem::replace(&mut instance.health, Health::Down) != Health::Down
    }

    /// Instances that have an access or a verifier.
    pub(crate) fn used_instances(&self) -> HashSet<InstanceKey> {
        let verifying = self.instances.iter();
        let verifying = verifying.filter(|(_, it)| it.logins.verifiers > 0);
        let used = self.access.iter().map(|(_, it)| it.instance);
        used.chain(verifying.map(|(key, _)| key)).collect()
    }

    /// Removes unused instances that the registry has removed.
    pub(crate) fn sweep_instances(&mut self) {
        let used = self.used_instances();
        let instances = &mut self.instances;
        self.by_id.retain(|_, &mut key| {
            let instance = instances.get(key);
            let unused = |it: &Instance| it.gone && it.connecting == 0 && !used.contains(&key);
            let forgotten = instance.is_none_or(unused);
            if forgotten {
                instances.remove(key);
            }
            !forgotten
        });
    }
}
