//! Slots that change their node, in one go or step by step.

use std::ops::RangeInclusive;

use super::RedisCluster;
use super::view::View;
use crate::support::{Wire, request, text, wait_until};

/// Keys of one MIGRATE.
const BATCH: usize = 100;

/// The time that MIGRATE may take, ms.
const TIMEOUT: &str = "10000";

impl RedisCluster {
    /// Migrates a slot with its keys, as redis-cli does, and waits until all nodes know it.
    pub(crate) fn migrate_slot(&self, slot: u16, to: usize) {
        self.begin_migration(slot, to);
        self.move_keys(slot, to);
        self.end_migration(slot, to);
        self.wait_owner(slot, to);
    }

    /// The first step: keys that the owner of the slot does not have are asked for at `to` (ASK).
    pub(crate) fn begin_migration(&self, slot: u16, to: usize) {
        let from = self.node_of(slot);
        let (source, target) = (self.id(from), self.id(to));
        self.command(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {source}"));
        self.command(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {target}"));
    }

    /// The second step: moves all keys of the slot.
    pub(crate) fn move_keys(&self, slot: u16, to: usize) {
        let mut source = self.node(self.node_of(slot)).control();
        loop {
            let keys = source.ask(&format!("CLUSTER GETKEYSINSLOT {slot} {BATCH}"));
            // `*2 $1 a $1 b`: the keys of tests have no spaces.
            let keys: Vec<&str> = keys.split(' ').skip(2).step_by(2).collect();
            if keys.is_empty() {
                return;
            }
            self.migrate(&mut source, &keys, to);
        }
    }

    /// Moves one key: a part of the second step. Returns whether the key was there.
    pub(crate) fn move_key(&self, key: &str, to: usize) -> bool {
        let mut source = self.node(self.node_of(super::slot_of(key))).control();
        self.migrate(&mut source, &[key], to)
    }

    /// The third step: `to` owns the slot. The other nodes are told, but replicas may not know yet.
    pub(crate) fn end_migration(&self, slot: u16, to: usize) {
        let from = self.node_of(slot);
        let others = self.primaries().into_iter();
        let others = others.filter(|node| ![from, to].contains(node));
        for node in [to, from].into_iter().chain(others) {
            let id = self.id(to);
            self.command(node, &format!("CLUSTER SETSLOT {slot} NODE {id}"));
        }
    }

    /// Ends a migration that has begun without a change: the slot stays where it is, and keys that
    /// were moved stay lost at `to`.
    pub(crate) fn cancel_migration(&self, slot: u16, to: usize) {
        for node in [self.node_of(slot), to] {
            self.command(node, &format!("CLUSTER SETSLOT {slot} STABLE"));
        }
    }

    /// Migrates slots of one node by CLUSTER MIGRATESLOTS, and waits until all nodes know it; see
    /// [`Feature::AtomicMigration`](crate::support::Feature).
    pub(crate) fn migrate_atomically(&self, slots: RangeInclusive<u16>, to: usize) {
        let (first, last) = (*slots.start(), *slots.end());
        let id = self.id(to);
        let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {first} {last} NODE {id}");
        self.command(self.node_of(first), &line);
        self.wait_owner_of(slots, to);
    }

    /// Waits until all nodes know that this node owns a slot, and its epoch. A node that does not
    /// know the epochs of the others chooses a wrong one when it is the next owner of a slot: then
    /// an old claim of another node wins, and the slot is lost.
    pub(crate) fn wait_owner(&self, slot: u16, node: usize) {
        self.wait_owner_of(slot..=slot, node);
    }

    fn wait_owner_of(&self, slots: RangeInclusive<u16>, node: usize) {
        let id = self.id(node);
        wait_until(&format!("node {node} owns slots {slots:?}"), || {
            let epoch = self.view(node).epoch(id);
            let owns_all = |view: &View| slots.clone().all(|slot| view.owner(slot) == Some(id));
            let knows = |view: &View| owns_all(view) && view.epoch(id) == epoch;
            self.views().iter().all(knows)
        });
    }

    fn migrate<S: std::io::Read + std::io::Write>(
        &self,
        source: &mut Wire<S>,
        keys: &[&str],
        to: usize,
    ) -> bool {
        let port = self.node(to).port().to_string();
        let head = ["MIGRATE", "127.0.0.1", &port, "", "0", TIMEOUT];
        let login = ["AUTH2", "control", "x", "KEYS"];
        let words = [&head[..], &login, keys].concat();
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        source.send(request(&words));
        let reply = text(&source.frame());
        assert!(["+OK", "+NOKEY"].contains(&&*reply), "{keys:?}: {reply}");
        reply == "+OK"
    }
}
