//! The thread that makes the pictures of the clusters which workers see, from everything that is
//! learned of them: what the registry says, what names resolve to, how instances answer.
//!
//! It never waits for any of these: whatever takes time has a thread of its own and tells it here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{io, net::SocketAddr};

use crate::cluster::{
    ClusterInstance, ClusterKey, Health, InstanceId, Known, Owners, Refused, SnapshotBuilder,
    TenantKey, TenantRules,
};
use crate::proxy::Report;
use crate::reactor::{Inbox, Message};

use super::board::Board;
use super::complaints::{Complaints, bad_aliases, unknown_commands};
use super::names::Names;
use super::registry::{Listed, Listing};
use super::resolver::{Lookup, Resolver};

/// Time between two pictures: workers go through each as a whole. A change that comes after a rest
/// is passed on at once.
const PACE: Duration = Duration::from_millis(40);

/// A picture with a new name in it waits so long for the name's address: most come sooner.
const NAME_PATIENCE: Duration = Duration::from_millis(50);

/// The same for the first picture, which the first clients get.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Listings that may still have a deleted cluster: one that was being read, and the next.
const LISTINGS_AFTER_RELEASE: u8 = 2;

/// How often to look whether there is anything to do, if nothing is known to be.
const IDLE: Duration = Duration::from_secs(60);

/// What the directory is told.
#[derive(Debug)]
pub(super) enum Fact {
    /// What the registry says now.
    Listing(Listing),
    /// What the registry says now of one tenant.
    Tenant(TenantKey, Listed),
    /// What a name resolves to now.
    Resolved(String, io::Result<Vec<SocketAddr>>),
    /// What a worker (by its number) found out about an instance.
    Report(usize, Report),
    /// What the tenants' file says now.
    Rules(TenantRules),
    /// A cluster was deleted: its names are free.
    Release(ClusterKey),
    /// The proxy has stopped.
    Stop,
}

/// See the module.
pub(super) struct Directory {
    facts: Receiver<Fact>,
    builder: SnapshotBuilder,
    listing: Listing,
    names: Names,
    resolver: Resolver,
    rules: TenantRules,
    complaints: Complaints,
    board: Arc<Board>,
    /// Where to tell whom names belong to, and which version of that was told.
    keep_owners: (Option<Sender<Owners>>, u64),
    /// Deleted clusters, each with how many listings may still have it.
    released: Vec<(ClusterKey, u8)>,
    /// Instances that were in the last picture, and will not be in the next. Workers that have seen
    /// nothing of that would not tell again about one that comes back before.
    gone: HashSet<(TenantKey, InstanceId)>,
    /// Tenants of which something is known that is in no snapshot yet.
    dirty: BTreeSet<TenantKey>,
    /// Since when there are any.
    changed: Option<Instant>,
    /// No picture before this.
    not_before: Instant,
    stopped: bool,
}

impl Directory {
    /// Takes the first picture, of this listing. `sender` is the other end of `facts`; names belong
    /// to `owners`, whose changes are told to the other end of `keep`.
    pub(super) fn new(
        (sender, facts): (Sender<Fact>, Receiver<Fact>),
        default_tenant: Option<TenantKey>,
        listing: Listing,
        (owners, keep): (Owners, Option<Sender<Owners>>),
        board: Arc<Board>,
        lookup: Lookup,
    ) -> Self {
        let now = now();
        board.set_owners(owners.clone());
        let deliver = move |name, answer| {
            // Nobody takes it if the proxy has stopped.
            let _ = sender.send(Fact::Resolved(name, answer));
        };
        let mut directory = Self {
            facts,
            keep_owners: (keep, owners.version()),
            released: Vec::new(),
            dirty: default_tenant.iter().cloned().collect(),
            builder: SnapshotBuilder::with_owners(default_tenant, owners),
            listing: Listing::default(),
            names: Names::new(now),
            resolver: Resolver::new(lookup, deliver),
            rules: TenantRules::default(),
            complaints: Complaints::default(),
            board,
            gone: HashSet::new(),
            changed: None,
            not_before: now,
            stopped: false,
        };
        directory.take(Fact::Listing(listing), now);
        // The tenants' file, for one, has been read already.
        directory.wait(now);
        directory.ask_names(now);
        while directory.names.any_new() && self::now() < now + FIRST_PATIENCE {
            directory.wait(now + FIRST_PATIENCE);
        }
        directory.show();
        directory
    }

    /// Follows what comes until told to stop, or until no worker is left.
    pub(super) fn run(mut self, inboxes: &[Inbox]) {
        loop {
            let due = self.picture_due();
            let idle = || now() + IDLE;
            let until = due.unwrap_or_else(idle).min(self.names.next_due());
            let left_out = self.board.desk().told_at();
            self.wait(left_out.map_or(until, |told_at| told_at.min(until)));
            if self.stopped {
                return self.tell_owners();
            }
            let now = now();
            self.board.desk().tell_left_out(now);
            self.ask_names(now);
            if self.picture_due().is_none_or(|due| now < due) {
                continue;
            }
            self.show();
            let snapshot = self.board.snapshot();
            let mut anybody = false;
            for inbox in inboxes {
                anybody |= inbox.send(Message::Snapshot(Arc::clone(&snapshot)));
            }
            if !anybody {
                return;
            }
            self.not_before = self::now() + PACE;
        }
    }

    /// When the next picture is to be taken, if one is wanted.
    fn picture_due(&self) -> Option<Instant> {
        let changed = self.changed?;
        let due = match self.names.any_new() {
            true => changed + NAME_PATIENCE,
            false => changed,
        };
        Some(due.max(self.not_before))
    }

    /// Waits for facts until this time, and takes all that there are.
    fn wait(&mut self, until: Instant) {
        match (self.facts).recv_timeout(until.saturating_duration_since(now())) {
            Ok(fact) => self.take(fact, now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.stopped = true,
        }
        while let Ok(fact) = self.facts.try_recv() {
            self.take(fact, now());
        }
    }

    fn take(&mut self, fact: Fact, now: Instant) {
        match fact {
            Fact::Listing(listing) => self.follow(listing, now),
            Fact::Tenant(tenant, mut listed) => {
                if let Some(old) = self.listing.get(&tenant) {
                    listed.clusters.extend(old.clusters.iter().cloned());
                }
                self.follow_tenant(tenant, listed, now);
            }
            Fact::Resolved(name, answer) => {
                if self.names.answered(&name, answer, now) {
                    self.dirty.extend(self.names.tenants(&name).cloned());
                }
            }
            Fact::Report(worker, report) => {
                let tenant = self.listing.get_key_value(report.tenant.as_str());
                let tenant = tenant.map(|(tenant, _)| tenant.clone());
                if self.board.desk().tell(worker, report) {
                    self.dirty.extend(tenant);
                }
            }
            Fact::Rules(rules) => {
                if std::mem::replace(&mut self.rules, rules) != self.rules {
                    self.dirty.extend(self.listing.keys().cloned());
                }
            }
            Fact::Release(cluster) => {
                let tenant = cluster.tenant();
                if { self.listing.get(&tenant) }.is_none_or(|it| !it.clusters.contains(&cluster)) {
                    self.builder.release(&cluster);
                    self.dirty.insert(tenant);
                }
                self.released.push((cluster, LISTINGS_AFTER_RELEASE));
            }
            Fact::Stop => self.stopped = true,
        }
        if !self.dirty.is_empty() {
            self.changed.get_or_insert(now);
        }
    }

    fn follow(&mut self, listing: Listing, now: Instant) {
        self.release_some(&listing);
        let known = self.listing.keys();
        let known: BTreeSet<TenantKey> = known.cloned().collect();
        for tenant in known.iter().filter(|it| !listing.contains_key(*it)) {
            self.follow_tenant(tenant.clone(), Listed::default(), now);
        }
        for (tenant, listed) in listing {
            self.follow_tenant(tenant, listed, now);
        }
    }

    /// Of many tenants, most are as they were.
    fn follow_tenant(&mut self, tenant: TenantKey, mut new: Listed, now: Instant) {
        new.prefer(self.builder.owners().owner(tenant.as_str()));
        let old = self.listing.remove(&tenant).unwrap_or_default();
        if old != new {
            self.note_changes(&tenant, &new.instances, &old.instances, now);
            self.dirty.insert(tenant.clone());
        }
        if new != Listed::default() {
            self.listing.insert(tenant, new);
        }
    }

    /// Instances have come and gone, and have other addresses.
    fn note_changes(
        &mut self,
        tenant: &TenantKey,
        new: &BTreeMap<InstanceId, ClusterInstance>,
        old: &BTreeMap<InstanceId, ClusterInstance>,
        now: Instant,
    ) {
        let (mut desk, names) = (self.board.desk(), &mut self.names);
        let name = |instance: Option<&ClusterInstance>| {
            let endpoint = instance.and_then(ClusterInstance::endpoint);
            endpoint.map(|it| it.addr.clone())
        };
        for (id, instance) in new {
            let user = (tenant.clone(), id.clone());
            if !old.contains_key(id) && !self.gone.remove(&user) {
                desk.expect(tenant, id);
            }
            if let Some(addr) = name(Some(instance)) {
                names.want(&addr, user, now);
            }
        }
        for (id, instance) in old {
            let user = (tenant.clone(), id.clone());
            let (before, after) = (name(Some(instance)), name(new.get(id)));
            if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
                names.leave(&before, &user);
            }
            if !new.contains_key(id) {
                self.gone.insert(user);
            }
        }
    }

    /// Names are free as soon as the registry no longer lists their deleted cluster. A listing may
    /// have been read before the deletion.
    fn release_some(&mut self, listing: &Listing) {
        let (builder, dirty) = (&mut self.builder, &mut self.dirty);
        self.released.retain_mut(|(cluster, listings)| {
            let tenant = cluster.tenant();
            let listed = listing.get(&tenant);
            if listed.is_none_or(|listed| !listed.clusters.contains(cluster)) {
                builder.release(cluster);
                // Another one may have been refused its name.
                dirty.insert(tenant);
                return false;
            }
            *listings -= 1;
            *listings > 0
        });
    }

    /// Tells whom names belong to, if that has changed.
    fn tell_owners(&mut self) {
        let owners = self.builder.owners();
        if owners.version() == self.keep_owners.1 {
            return;
        }
        self.keep_owners.1 = owners.version();
        if self.builder.refused().next().is_some() {
            // An alias that was given up may be the key of a cluster that was refused before.
            self.changed.get_or_insert_with(now);
        }
        self.board.set_owners(owners.clone());
        if let Some(keep) = &self.keep_owners.0 {
            // Its thread lives as long as this end of it.
            let _ = keep.send(owners.clone());
        }
    }

    fn ask_names(&mut self, now: Instant) {
        for (name, failed) in self.names.due(now) {
            self.resolver.ask(name, failed);
        }
    }

    /// Takes a snapshot.
    fn show(&mut self) {
        self.changed = None;
        let (names, board) = (&self.names, &self.board);
        let mut desk = board.desk();
        for (tenant, id) in std::mem::take(&mut self.gone) {
            desk.forget(&tenant, &id);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        // The name that they want may be free now.
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
            let health = match desk.health(tenant, id).0 {
                // Nobody can ask it, and nobody should be sent there.
                Health::Unknown if addresses.is_empty() => Health::Down,
                health => health,
            };
            Known {
                instance,
                addresses,
                health,
            }
        });
        let mut complaints: BTreeMap<TenantKey, BTreeSet<String>> = BTreeMap::new();
        // Many tenants are denied the same.
        let mut commands = HashMap::new();
        let limits = |tenant: &TenantKey, aliases: &[&str], instances: &[&ClusterInstance]| {
            let (limits, wrong) = self.rules.limits_of(tenant, aliases, instances);
            let wrong = wrong.into_iter().chain(bad_aliases(instances));
            let wrong = wrong.chain(unknown_commands(&limits, &mut commands));
            complaints.entry(tenant.clone()).or_default().extend(wrong);
            limits
        };
        let snapshot = self.builder.update(&dirty, clusters, known, limits);
        let mut refused = 0;
        for (tenant, (key, why)) in self.builder.refused() {
            refused += 1;
            let what = match why {
                Refused::Key(_) | Refused::KeyIsAlias(..) => "left out",
                Refused::Alias(..) | Refused::KeyForm(_) => "alias refused",
            };
            let complaint = format!("cluster {key} {what}: {why}");
            complaints
                .entry(tenant.clone())
                .or_default()
                .insert(complaint);
        }
        drop(desk);
        self.board.show(Arc::new(snapshot), refused);
        self.tell_owners();
        for tenant in dirty {
            let wrong = complaints.remove(&tenant).unwrap_or_default();
            self.complaints.tell(tenant, wrong);
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the directory has a thread and a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
