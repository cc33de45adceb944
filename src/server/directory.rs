//! The thread that makes the pictures of the clusters which workers see, from everything that is
//! learned of them: what the registry says, what names resolve to, how instances answer.
//!
//! It never waits for any of these: whatever takes time has a thread of its own and tells it here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};
use std::{io, net::SocketAddr};

use crate::cluster::{
    ALIAS_LABEL, ClusterInstance, ClusterKey, Endpoint, Health, InstanceId, Known, Owners, Refused,
    SnapshotBuilder, TenantKey, TenantLimits, TenantRules,
};
use crate::command::is_command;
use crate::proxy::Report;
use crate::reactor::{Inbox, Message};

use super::board::Board;
use super::names::Names;
use super::registry::{Listed, Listing, changes};
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
    Tenant(TenantKey, Vec<Listed>),
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
    /// What was said of labels that make no sense, and is still so.
    complaints: BTreeSet<(TenantKey, String)>,
    board: Arc<Board>,
    /// Where to tell whom names belong to, and which version of that was told.
    keep_owners: (Option<Sender<Owners>>, u64),
    /// Deleted clusters, each with how many listings may still have it.
    released: Vec<(ClusterKey, u8)>,
    /// Instances that were in the last picture, and will not be in the next. Workers that have seen
    /// nothing of that would not tell again about one that comes back before.
    gone: HashSet<(TenantKey, InstanceId)>,
    /// Since when something is known that is in no picture yet.
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
            builder: SnapshotBuilder::with_owners(default_tenant, owners),
            listing: Listing::default(),
            names: Names::new(now),
            resolver: Resolver::new(lookup, deliver),
            rules: TenantRules::default(),
            complaints: BTreeSet::new(),
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
            self.wait(due.unwrap_or_else(idle).min(self.names.next_due()));
            if self.stopped {
                return;
            }
            let now = now();
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
        let left = until.saturating_duration_since(now());
        match self.facts.recv_timeout(left) {
            Ok(fact) => self.take(fact, now()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.stopped = true,
        }
        while let Ok(fact) = self.facts.try_recv() {
            self.take(fact, now());
        }
    }

    fn take(&mut self, fact: Fact, now: Instant) {
        let changed = match fact {
            Fact::Listing(listing) => self.follow(listing, now),
            Fact::Tenant(tenant, instances) => self.follow_tenant(&tenant, instances, now),
            Fact::Resolved(name, answer) => self.names.answered(&name, answer, now),
            Fact::Report(worker, report) => self.board.desk().tell(worker, report),
            Fact::Rules(rules) => std::mem::replace(&mut self.rules, rules) != self.rules,
            Fact::Release(cluster) => {
                self.released.push((cluster, LISTINGS_AFTER_RELEASE));
                true
            }
            Fact::Stop => {
                self.stopped = true;
                false
            }
        };
        if changed {
            self.changed.get_or_insert(now);
        }
    }

    fn follow(&mut self, listing: Listing, now: Instant) -> bool {
        self.release_some(&listing);
        if listing == self.listing {
            return false;
        }
        let old = std::mem::take(&mut self.listing);
        self.note_changes(&listing.instances, &old.instances);
        self.listing = listing;
        self.follow_names(now);
        true
    }

    /// The same for one tenant: of many, most are as they were.
    fn follow_tenant(&mut self, tenant: &TenantKey, new: Vec<Listed>, now: Instant) -> bool {
        let old = self.listing.replace(tenant, new.clone());
        if old == new {
            return false;
        }
        self.note_changes(&new, &old);
        let endpoints = |all: &[Listed]| -> Vec<Option<Endpoint>> {
            let all = all.iter();
            all.map(|it| it.instance.endpoint().cloned()).collect()
        };
        if endpoints(&new) != endpoints(&old) {
            self.follow_names(now);
        }
        true
    }

    /// Instances have come and gone.
    fn note_changes(&mut self, new: &[Listed], old: &[Listed]) {
        let (mut desk, gone) = (self.board.desk(), &mut self.gone);
        changes(new, old, |listed, there| match there {
            true => {
                if !gone.remove(&(listed.tenant.clone(), listed.id.clone())) {
                    desk.expect(&listed.tenant, &listed.id);
                }
            }
            false => {
                gone.insert((listed.tenant.clone(), listed.id.clone()));
            }
        });
    }

    fn follow_names(&mut self, now: Instant) {
        let instances = self.listing.instances.iter();
        let endpoints = instances.filter_map(|it| it.instance.endpoint());
        self.names.follow(endpoints, now);
    }

    /// Names are free as soon as the registry no longer lists their deleted cluster. A listing may
    /// have been read before the deletion.
    fn release_some(&mut self, listing: &Listing) {
        let builder = &mut self.builder;
        self.released.retain_mut(|(cluster, listings)| {
            if listing.clusters.binary_search(cluster).is_err() {
                builder.release(cluster);
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

    /// Takes a picture.
    fn show(&mut self) {
        self.changed = None;
        let (names, board) = (&self.names, &self.board);
        let mut desk = board.desk();
        for (tenant, id) in std::mem::take(&mut self.gone) {
            desk.forget(&tenant, &id);
        }
        let known = self.listing.instances.iter().map(|listed| {
            let Listed {
                tenant,
                id,
                instance,
            } = listed;
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
        let clusters = &self.listing.clusters;
        let mut complaints = BTreeSet::new();
        // Many tenants are denied the same.
        let mut commands = HashMap::new();
        let limits = |tenant: &TenantKey, aliases: &[&str], instances: &[&ClusterInstance]| {
            let (limits, wrong) = self.rules.limits_of(tenant, aliases, instances);
            let wrong = wrong.into_iter().chain(bad_aliases(instances));
            let wrong = wrong.chain(unknown_commands(&limits, &mut commands));
            complaints.extend(wrong.map(|wrong| (tenant.clone(), wrong)));
            limits
        };
        let snapshot = self.builder.build(clusters, known, limits);
        complaints.extend(self.builder.refused().map(|(key, why)| {
            let what = match why {
                Refused::Key(_) => "left out",
                Refused::Alias(..) | Refused::KeyForm(_) => "alias refused",
            };
            (key.tenant(), format!("cluster {key} {what}: {why}"))
        }));
        let refused = self.builder.refused().len();
        drop(desk);
        self.board.show(Arc::new(snapshot), refused);
        self.tell_owners();
        for (tenant, wrong) in complaints.difference(&self.complaints) {
            log::warn!("tenant code {tenant}: {wrong}");
        }
        self.complaints = complaints;
    }
}

/// Denied commands that nobody has heard of: a module's, or misspelt ones.
fn unknown_commands(
    limits: &TenantLimits,
    known: &mut HashMap<String, bool>,
) -> impl Iterator<Item = String> {
    let commands = limits.deny.iter().filter(|word| !word.starts_with('@'));
    let unknown = commands.filter(|word| {
        let known = known.entry(word.to_string());
        !*known.or_insert_with_key(|word| is_command(word))
    });
    unknown.map(|word| format!("deny: no command of Redis or Valkey is called {word}"))
}

/// Labels that cannot be a name of the tenant's.
fn bad_aliases(instances: &[&ClusterInstance]) -> Vec<String> {
    let labels = instances.iter().filter_map(|instance| {
        let label = instance.labels.get(ALIAS_LABEL)?;
        let bad = instance.alias().is_none();
        bad.then(|| {
            format!("label {ALIAS_LABEL}: {label:?} is no alias: 1 to 64 letters, digits, - and _")
        })
    });
    labels.collect()
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
