//! Builds snapshots of the clusters, and publishes them to workers and the service port. A snapshot
//! combines the registry's listing, resolved host names, the health of instances and the limits of
//! the tenants file.
//!
//! This thread never blocks on any of these sources: each has a thread of its own, which sends
//! [`Update`]s.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::cluster::{
    ClusterInstance, ClusterKey, Health, InstanceId, Known, Owners, SnapshotBuilder, TenantKey,
    TenantRules,
};
use crate::reactor::{Inbox, Message};

use super::host_names::HostNames;
use super::now;
use super::primaries::Primaries;
use super::process_state::ProcessState;
use super::registry::{Listed, Listing};
use super::resolver::{Lookup, Resolver};
use super::tenant_warnings::{
    TenantWarnings, bad_aliases, bad_cluster_labels, refused_name, unknown_commands,
};
use super::update::Update;

/// Shortest time between two snapshots, because each worker goes through a new one completely. The
/// first change after a longer pause is published at once.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(40);

/// How long a snapshot waits for the first result of a new host name. Most results take less.
const NAME_TIMEOUT: Duration = Duration::from_millis(50);

/// The same for the first snapshot, which the first clients get.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// Listings in which a deleted cluster may still appear: one that was being read during the
/// deletion, and the next.
const LISTINGS_AFTER_RELEASE: u8 = 2;

/// Longest wait for updates.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct Publisher {
    updates: Receiver<Update>,
    builder: SnapshotBuilder,
    listing: Listing,
    primaries: Primaries,
    names: HostNames,
    resolver: Resolver,
    rules: TenantRules,
    warnings: TenantWarnings,
    process: Arc<ProcessState>,
    /// The thread that saves the owners of names, and the version that was sent to it last.
    owners_writer: (Option<Sender<Owners>>, u64),
    /// Deleted clusters, each with the number of listings in which it may still appear.
    released: Vec<(ClusterKey, u8)>,
    /// Instances that are in the last snapshot and not in the listing. An instance that returns
    /// before the next snapshot keeps its health: workers, which saw no change, would not report it
    /// again.
    removed: HashSet<(TenantKey, InstanceId)>,
    /// Tenants that have changed since the last snapshot.
    dirty: BTreeSet<TenantKey>,
    /// When the first of them changed.
    changed: Option<Instant>,
    /// No snapshot before this time.
    not_before: Instant,
    stopped: bool,
}

impl Publisher {
    /// Builds the first snapshot from this listing. `sender` is the sending end of `updates`. Names
    /// belong to `owners`; changes of these are sent to `writer`.
    pub(super) fn new(
        (sender, updates): (Sender<Update>, Receiver<Update>),
        default_tenant: Option<TenantKey>,
        listing: Listing,
        (owners, writer): (Owners, Option<Sender<Owners>>),
        primaries: Primaries,
        process: Arc<ProcessState>,
        lookup: Lookup,
    ) -> Self {
        let now = now();
        process.set_owners(owners.clone());
        let deliver = move |name, answer| {
            // Without a receiver the proxy has stopped.
            let _ = sender.send(Update::Resolved(name, answer));
        };
        let mut publisher = Self {
            updates,
            owners_writer: (writer, owners.version()),
            released: Vec::new(),
            dirty: default_tenant.iter().cloned().collect(),
            builder: SnapshotBuilder::with_owners(default_tenant, owners),
            listing: Listing::default(),
            primaries,
            names: HostNames::new(now),
            resolver: Resolver::new(lookup, deliver),
            rules: TenantRules::default(),
            warnings: TenantWarnings::default(),
            process,
            removed: HashSet::new(),
            changed: None,
            not_before: now,
            stopped: false,
        };
        publisher.take(Update::Listing(listing), now);
        // The tenants' file has been read already: its rules are in the channel.
        publisher.wait(now);
        publisher.resolve_names(now);
        let unknown = |it: &Self| it.names.any_new() || it.primaries.any_unknown();
        while unknown(&publisher) && self::now() < now + FIRST_TIMEOUT {
            publisher.wait(now + FIRST_TIMEOUT);
        }
        publisher.publish();
        publisher
    }

    /// Publishes snapshots until [`Update::Stop`], or until no worker is left.
    pub(super) fn run(mut self, inboxes: &[Inbox]) {
        loop {
            let due = self.snapshot_due();
            let idle = || now() + IDLE;
            let until = due.unwrap_or_else(idle).min(self.names.next_due());
            let log_due = self.process.health_table().suppressed_due();
            self.wait(log_due.map_or(until, |at| at.min(until)));
            if self.stopped {
                return self.send_owners();
            }
            let now = now();
            self.process.health_table().log_suppressed(now);
            self.resolve_names(now);
            if self.snapshot_due().is_none_or(|due| now < due) {
                continue;
            }
            self.publish();
            let snapshot = self.process.snapshot();
            let mut delivered = false;
            for inbox in inboxes {
                delivered |= inbox.send(Message::Snapshot(Arc::clone(&snapshot)));
            }
            if !delivered {
                return;
            }
            self.not_before = self::now() + SNAPSHOT_INTERVAL;
        }
    }

    /// When the next snapshot is due, if anything has changed.
    fn snapshot_due(&self) -> Option<Instant> {
        let changed = self.changed?;
        let due = match self.names.any_new() {
            true => changed + NAME_TIMEOUT,
            false => changed,
        };
        Some(due.max(self.not_before))
    }

    /// Waits for updates until this time, and takes all that have arrived.
    fn wait(&mut self, until: Instant) {
        match (self.updates).recv_timeout(until.saturating_duration_since(now())) {
            Ok(update) => self.take(update, now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.stopped = true,
        }
        while let Ok(update) = self.updates.try_recv() {
            self.take(update, now());
        }
    }

    fn take(&mut self, update: Update, now: Instant) {
        match update {
            Update::Listing(listing) => self.take_listing(listing, now),
            Update::Tenant(tenant, mut listed) => {
                if let Some(old) = self.listing.get(&tenant) {
                    listed.clusters.extend(old.clusters.iter().cloned());
                }
                self.take_tenant(tenant, listed, now);
            }
            Update::Resolved(name, answer) => {
                if self.names.answered(&name, answer, now) {
                    self.dirty.extend(self.names.tenants(&name).cloned());
                }
            }
            Update::Primary(name, address) => {
                for tenant in self.primaries.take(name, address) {
                    if let Some(listed) = self.listing.get(&tenant).cloned() {
                        self.take_tenant(tenant, listed, now);
                    }
                }
            }
            Update::HealthEvent(worker, event) => {
                self.primaries.note(&event);
                let tenant = self.listing.get_key_value(event.tenant.as_str());
                let tenant = tenant.map(|(tenant, _)| tenant.clone());
                if self.process.health_table().take_event(worker, event) {
                    self.dirty.extend(tenant);
                }
            }
            Update::Rules(rules) => {
                if std::mem::replace(&mut self.rules, rules) != self.rules {
                    self.dirty.extend(self.listing.keys().cloned());
                }
            }
            Update::Release(cluster) => {
                let tenant = cluster.tenant();
                if { self.listing.get(&tenant) }.is_none_or(|it| !it.clusters.contains(&cluster)) {
                    self.builder.release(&cluster);
                    self.dirty.insert(tenant);
                }
                self.released.push((cluster, LISTINGS_AFTER_RELEASE));
            }
            Update::Stop => self.stopped = true,
        }
        if !self.dirty.is_empty() {
            self.changed.get_or_insert(now);
        }
    }

    fn take_listing(&mut self, listing: Listing, now: Instant) {
        self.release_unlisted(&listing);
        let known = self.listing.keys();
        let known: BTreeSet<TenantKey> = known.cloned().collect();
        for tenant in known.iter().filter(|it| !listing.contains_key(*it)) {
            self.take_tenant(tenant.clone(), Listed::default(), now);
        }
        for (tenant, listed) in listing {
            self.take_tenant(tenant, listed, now);
        }
    }

    /// Takes the listing of one tenant. Of many tenants, most are unchanged.
    fn take_tenant(&mut self, tenant: TenantKey, mut new: Listed, now: Instant) {
        new.prefer(self.builder.owners().owner(tenant.as_str()));
        self.primaries.apply(&tenant, &mut new);
        let old = self.listing.remove(&tenant).unwrap_or_default();
        if old != new {
            self.update_instances(&tenant, &new.instances, &old.instances, now);
            self.dirty.insert(tenant.clone());
        }
        if new != Listed::default() {
            self.listing.insert(tenant, new);
        }
    }

    /// Updates health and host names for instances that were added, removed or have another
    /// address.
    fn update_instances(
        &mut self,
        tenant: &TenantKey,
        new: &BTreeMap<InstanceId, ClusterInstance>,
        old: &BTreeMap<InstanceId, ClusterInstance>,
        now: Instant,
    ) {
        let (mut health_table, names) = (self.process.health_table(), &mut self.names);
        let name = |instance: Option<&ClusterInstance>| {
            let endpoint = instance.and_then(ClusterInstance::endpoint);
            endpoint.map(|it| it.addr.clone())
        };
        for (id, instance) in new {
            let instance_ref = (tenant.clone(), id.clone());
            if !old.contains_key(id) && !self.removed.remove(&instance_ref) {
                health_table.add(tenant, id);
            }
            if let Some(addr) = name(Some(instance)) {
                names.add(&addr, instance_ref, now);
            }
        }
        for (id, instance) in old {
            let instance_ref = (tenant.clone(), id.clone());
            let (before, after) = (name(Some(instance)), name(new.get(id)));
            if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
                names.remove(&before, &instance_ref);
            }
            if !new.contains_key(id) {
                self.removed.insert(instance_ref);
            }
        }
    }

    /// Frees the names of deleted clusters that the registry no longer lists. A listing may have
    /// been read before the deletion.
    fn release_unlisted(&mut self, listing: &Listing) {
        let (builder, dirty) = (&mut self.builder, &mut self.dirty);
        self.released.retain_mut(|(cluster, listings)| {
            let tenant = cluster.tenant();
            let listed = listing.get(&tenant);
            if listed.is_none_or(|listed| !listed.clusters.contains(cluster)) {
                builder.release(cluster);
                // Another cluster may have been refused one of these names.
                dirty.insert(tenant);
                return false;
            }
            *listings -= 1;
            *listings > 0
        });
    }

    /// Sends the owners of names to the process state and the state file, if they have changed.
    fn send_owners(&mut self) {
        let owners = self.builder.owners();
        if owners.version() == self.owners_writer.1 {
            return;
        }
        self.owners_writer.1 = owners.version();
        if self.builder.refused().next().is_some() {
            // An alias that was freed may be the tenant key of a cluster that was refused.
            self.changed.get_or_insert_with(now);
        }
        self.process.set_owners(owners.clone());
        if let Some(writer) = &self.owners_writer.0 {
            // Its thread ends only after this sender is dropped.
            let _ = writer.send(owners.clone());
        }
    }

    fn resolve_names(&mut self, now: Instant) {
        self.primaries.send_names();
        for (name, failed) in self.names.due(now) {
            self.resolver.ask(name, failed);
        }
    }

    /// Builds a snapshot of what has changed, and logs new warnings.
    fn publish(&mut self) {
        self.changed = None;
        let (names, process) = (&self.names, &self.process);
        let mut health_table = process.health_table();
        for (tenant, id) in std::mem::take(&mut self.removed) {
            health_table.remove(&tenant, &id);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        // The names that they need may be free now.
        dirty.extend(self.builder.refused().map(|(tenant, _)| tenant.clone()));
        let listed = dirty.iter().filter_map(|it| self.listing.get_key_value(it));
        let clusters = listed.clone().flat_map(|(_, listed)| &listed.clusters);
        let all = listed.flat_map(|(tenant, listed)| {
            let instances = listed.instances.iter();
            instances.map(move |(id, instance)| (tenant, id, instance))
        });
        let known = all.map(|(tenant, id, instance)| {
            let endpoint = instance.endpoint();
            let addresses = endpoint.map_or_else(Vec::new, |it| names.addresses(it));
            let health = match health_table.health(tenant, id).0 {
                // Workers cannot check an instance without an address.
                Health::Unknown if addresses.is_empty() => Health::Down,
                health => health,
            };
            Known {
                instance,
                addresses,
                health,
            }
        });
        let mut warnings: BTreeMap<TenantKey, BTreeSet<String>> = BTreeMap::new();
        // Many tenants are denied the same commands.
        let mut commands = HashMap::new();
        let limits = |tenant: &TenantKey, aliases: &[&str], instances: &[&ClusterInstance]| {
            let (limits, wrong) = self.rules.limits_of(tenant, aliases, instances);
            let wrong = wrong.into_iter().chain(bad_aliases(instances));
            let wrong = wrong.chain(bad_cluster_labels(instances));
            let wrong = wrong.chain(unknown_commands(&limits, &mut commands));
            let wrong = wrong.chain(self.primaries.not_followed(instances));
            warnings.entry(tenant.clone()).or_default().extend(wrong);
            limits
        };
        let snapshot = self.builder.update(&dirty, clusters, known, limits);
        let mut refused = 0;
        for (tenant, (key, why)) in self.builder.refused() {
            refused += 1;
            let refused = warnings.entry(tenant.clone()).or_default();
            refused.insert(refused_name(key, why));
        }
        drop(health_table);
        self.process.set_snapshot(Arc::new(snapshot), refused);
        self.send_owners();
        for tenant in dirty {
            let wrong = warnings.remove(&tenant).unwrap_or_default();
            self.warnings.log_new(tenant, wrong);
        }
    }
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;
