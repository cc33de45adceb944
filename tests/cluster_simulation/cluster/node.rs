//! A node: what it knows, what it may do at the moment, and its connections.

use std::collections::{BTreeMap, BTreeSet};

use super::data::Data;
use super::lies::Lie;
use super::session::Session;
use super::{Cluster, View};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) shard: usize,
    pub(super) view: View,
    /// What it is going to hear, and when.
    news: Vec<(u64, View)>,
    /// The data of a primary that has been replaced and does not know it yet.
    pub(super) stale: Option<Data>,
    /// The slots that it gives away, and the shards that get them.
    pub(super) migrating: BTreeMap<usize, usize>,
    pub(super) importing: BTreeSet<usize>,
    /// Writes to these slots wait until it hears that they have moved.
    pub(super) write_paused: BTreeSet<usize>,
    pub(crate) is_down: bool,
    /// It executes nothing before this time, ms.
    pub(super) silent_until: u64,
    /// It hears nothing before this time, ms: a primary that was paused may not know yet that it
    /// has been replaced.
    pub(super) deaf_until: u64,
    /// It loads its data until this time, ms.
    pub(super) loading_until: u64,
    /// It sees the cluster as down until this time, ms.
    pub(super) fail_until: u64,
    /// As a replica, it has no connection to its primary until this time, ms.
    pub(super) unlinked_until: u64,
    pub(super) lie: Option<Lie>,
    pub(crate) sessions: BTreeMap<u64, Session>,
}

impl Node {
    pub(super) fn new(id: usize, shard: usize, view: View) -> Self {
        Self {
            id,
            shard,
            view,
            news: Vec::new(),
            stale: None,
            migrating: BTreeMap::new(),
            importing: BTreeSet::new(),
            write_paused: BTreeSet::new(),
            is_down: false,
            silent_until: 0,
            deaf_until: 0,
            loading_until: 0,
            fail_until: 0,
            unlinked_until: 0,
            lie: None,
            sessions: BTreeMap::new(),
        }
    }

    /// Whether it takes itself for the primary of its shard.
    pub(super) fn is_primary(&self) -> bool {
        self.view.primary[self.shard] == self.id
    }

    /// Whether it takes itself for the owner of a slot.
    pub(super) fn owns(&self, slot: usize) -> bool {
        self.view.owner(slot) == self.id
    }

    /// The node hears all news at once.
    pub(super) fn hear_at_once(&mut self) {
        for (due, _) in &mut self.news {
            *due = 0;
        }
    }

    pub(super) fn due(&self) -> Option<u64> {
        let news = self.news.iter().map(|(due, _)| *due);
        let blocked = self.sessions.values().filter_map(Session::due);
        let times = [
            self.silent_until,
            self.deaf_until,
            self.loading_until,
            self.fail_until,
        ];
        let lie = self.lie.as_ref().map(|lie| lie.until);
        let all = times.into_iter().chain(lie).chain(blocked).chain(news);
        all.filter(|due| *due > 0).min()
    }
}

impl Cluster {
    /// What is true has changed. `first` hear it at once, and the others later.
    pub(super) fn announce(&mut self, first: &[usize]) {
        self.truth.epoch += 1;
        for node in 0..self.nodes.len() {
            let lag = match first.contains(&node) {
                true => 0,
                false => self.rng.between(0, self.plan.lag_ms),
            };
            let news = (self.now + lag, self.truth.clone());
            self.nodes[node].news.push(news);
        }
        self.hear_news();
    }

    /// The nodes hear what is due. A node that is down or silent hears it afterwards.
    pub(super) fn hear_news(&mut self) {
        for id in 0..self.nodes.len() {
            let node = &mut self.nodes[id];
            if node.is_down || node.deaf_until > self.now {
                continue;
            }
            let now = self.now;
            let due = node.news.extract_if(.., |(due, _)| *due <= now);
            let newest = due.map(|(_, view)| view).max_by_key(|view| view.epoch);
            if let Some(view) = newest.filter(|view| view.epoch > node.view.epoch) {
                self.adopt(id, view);
            }
        }
    }

    fn adopt(&mut self, id: usize, view: View) {
        let node = &mut self.nodes[id];
        let before = std::mem::replace(&mut node.view, view);
        let was_primary = before.primary[node.shard] == id;
        if was_primary && !node.is_primary() {
            // It becomes a replica, with the data of the new primary.
            node.stale = None;
            node.migrating.clear();
            node.importing.clear();
            self.end_blocked_of_replica(id);
        }
        for slot in 0..self.slots.len() {
            // News from before the migration do not end it.
            if self.migrates(slot) {
                continue;
            }
            let node = &mut self.nodes[id];
            if node.owns(slot) {
                node.importing.remove(&slot);
            } else {
                node.migrating.remove(&slot);
                node.write_paused.remove(&slot);
                self.redirect_blocked(id, slot);
            }
        }
    }
}
