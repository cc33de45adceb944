//! Slots that move to another shard: key by key, or all at once.

use super::Cluster;

/// A slot that moves.
#[derive(Clone, Debug)]
pub(crate) struct Migration {
    slot: usize,
    to: usize,
    /// When its next step is due.
    pub(super) due: u64,
    step: Step,
    /// Keys that move in a step, and the time between steps, ms.
    pace: (usize, u64),
    /// All keys move at once.
    atomic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The target imports, and the source does not know it yet.
    Importing,
    /// Keys move.
    Keys,
    /// The slot is the target's. The nodes hear it.
    Owned,
    /// At the source, writes wait for the end of the move.
    Paused,
}

impl Cluster {
    /// A slot begins to move, if any can.
    pub(crate) fn begin_migration(&mut self) {
        let slot = self.rng.below(self.slots.len());
        let from = self.truth.home[slot];
        let to = self.rng.below(self.data.len());
        let moves = self.migrations.iter().any(|it| it.slot == slot);
        let able = |shard: usize| {
            let primary = &self.nodes[self.truth.primary[shard]];
            !primary.is_down && primary.silent_until <= self.now && primary.is_primary()
        };
        // All have heard of an earlier migration.
        let known = self.nodes.iter().all(|node| node.view.home[slot] == from);
        if to == from || moves || !known || !able(from) || !able(to) {
            return;
        }
        let atomic = self.rng.one_in(3);
        let target = self.truth.primary[to];
        let (pace, step) = match atomic {
            true => {
                self.happened.atomic_migrations += 1;
                let source = self.truth.primary[from];
                self.nodes[source].write_paused.insert(slot);
                (self.rng.between(1, 60), Step::Paused)
            }
            false => {
                self.happened.migrations += 1;
                self.nodes[target].importing.insert(slot);
                (*self.rng.pick(&[1, 5, 20, 100]), Step::Importing)
            }
        };
        self.migrations.push(Migration {
            slot,
            to,
            due: self.now + pace,
            step,
            pace: (1 + self.rng.below(3), pace),
            atomic,
        });
        self.trouble_of_slot(slot);
    }

    /// Whether keys of a slot move.
    pub(super) fn migrates(&self, slot: usize) -> bool {
        let moves = |it: &Migration| it.slot == slot && it.step != Step::Owned;
        self.migrations.iter().any(moves)
    }

    /// The steps that are due.
    pub(super) fn migrate(&mut self) {
        let mut all = std::mem::take(&mut self.migrations);
        all.retain_mut(|it| it.due > self.now || self.migration_step(it));
        self.migrations = all;
    }

    /// One step. Returns whether more follow.
    fn migration_step(&mut self, it: &mut Migration) -> bool {
        let from = self.truth.home[it.slot];
        let (source, target) = (self.truth.primary[from], self.truth.primary[it.to]);
        it.due = self.now + it.pace.1;
        let able = |node: usize| {
            let node = &self.nodes[node];
            !node.is_down && node.silent_until <= self.now && node.is_primary()
        };
        let ended = it.step == Step::Owned;
        let both = able(source) && able(target);
        if !ended && !both {
            // It goes on when both are there.
            return true;
        }
        match it.step {
            Step::Importing => {
                self.nodes[target].importing.insert(it.slot);
                self.nodes[source].migrating.insert(it.slot, it.to);
                it.step = Step::Keys;
            }
            Step::Keys => {
                self.nodes[target].importing.insert(it.slot);
                self.nodes[source].migrating.insert(it.slot, it.to);
                if self.move_keys(it.slot, (from, it.to), it.pace.0) == 0 {
                    self.hand_over(it, from);
                    it.step = Step::Owned;
                }
            }
            Step::Paused => {
                self.move_keys(it.slot, (from, it.to), usize::MAX);
                self.hand_over(it, from);
                it.step = Step::Owned;
            }
            Step::Owned => return false,
        }
        true
    }

    /// Moves keys of a slot. Returns how many.
    fn move_keys(&mut self, slot: usize, (from, to): (usize, usize), most: usize) -> usize {
        let names = self.data[from].names();
        let its = names.filter(|key| self.slot_of(key) == Some(slot));
        let its: Vec<Vec<u8>> = its.take(most).cloned().collect();
        for key in &its {
            if let Some(value) = self.data[from].remove(key) {
                self.data[to].put(key, value);
            }
        }
        its.len()
    }

    /// The slot is the target's. The source or the target may know it first.
    fn hand_over(&mut self, it: &Migration, from: usize) {
        self.truth.home[it.slot] = it.to;
        let (source, target) = (self.truth.primary[from], self.truth.primary[it.to]);
        // Without MIGRATING, the source must not serve the slot any more.
        let first = match (it.atomic, self.rng.below(3)) {
            (true, _) => vec![source, target],
            (false, 0) => vec![source],
            (false, 1) => vec![target],
            (false, _) => vec![],
        };
        self.announce(&first);
        self.end_trouble_of_slot(it.slot);
    }
}
