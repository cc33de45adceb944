//! The instances of a worker: changes of the registry, and health.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cluster::{self, InstanceId, Snapshot};

use crate::link::failure::Failure;
use crate::store::key::InstanceKey;
use crate::store::time::Millis;
use crate::upstream::instance::{Changes, Instance, Moved};
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// Follows the registry from one snapshot to the next.
    pub(crate) fn apply_snapshot(&mut self, new: Arc<Snapshot>, now: Millis) -> Changes {
        let mut changes = Changes::default();
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(&new));
        for (old, new) in new.changes_since(&old) {
            if let Some(old) = old {
                self.lose(old, new, now, &mut changes);
            }
            let Some(tenant) = new else { continue };
            let slot = self.apply_tenant(tenant, now);
            let mut usable = Vec::new();
            for new in &tenant.instances {
                let id = (tenant.key.clone(), new.id.clone());
                let instances = &mut self.instances;
                self.any_front |= new.redis_cluster.front.is_some();
                let known = self.by_id.contains_key(&id);
                let key = *self.by_id.entry(id).or_insert_with(|| {
                    instances.insert(Instance::new(tenant.key.clone(), slot, new))
                });
                let Some(instance) = instances.get_mut(key) else {
                    continue;
                };
                let mode = instance.redis_cluster.mode;
                let stayed = instance.draining_since.is_none();
                match instance.apply(new, now) {
                    Some(Moved::Retired) => drop(changes.moved.insert(key)),
                    Some(Moved::Fenced) => drop(changes.fenced.insert(key)),
                    None => {}
                }
                match instance.draining_since {
                    None => usable.push(key),
                    Some(_) if stayed => {
                        changes.draining.insert(key);
                    }
                    Some(_) => {}
                }
                if mode != new.redis_cluster.mode || mode.is_some() && !known {
                    changes.modes.insert(key);
                    changes.gone.extend(self.follow_mode(key, now));
                }
            }
            if let Some(tenant) = self.tenants.get_mut(slot) {
                tenant.instances = usable;
            }
        }
        self.probing = true;
        self.update_any_checked();
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
                instance.draining_since = instance.draining_since.or(Some(now));
                changes.gone.insert(key);
                changes.draining.insert(key);
                changes.gone.extend(self.lose_cluster(key, now));
            }
        }
        if new.is_none() {
            self.forget_tenant(&old.key, now);
        }
    }

    /// Does the registry list any instance?
    pub(crate) fn any_instance(&self) -> bool {
        !self.instances.is_empty()
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
