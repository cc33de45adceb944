//! What happened in a seed, or in several: a test that passes must have seen all of it.

use super::cluster::Happened;

/// The names of counts, and how many of each a hundred seeds have at least.
const LEAST: [(&str, u64); 21] = [
    ("requests", 1_000),
    ("moved", 50),
    ("ask", 50),
    ("held", 20),
    ("split", 100),
    ("retried", 5),
    ("migrations", 30),
    ("atomic migrations", 10),
    ("failovers", 10),
    ("restarts", 10),
    ("lies", 10),
    ("ASKING", 50),
    ("TRYAGAIN of nodes", 1),
    ("CLUSTERDOWN of nodes", 10),
    ("LOADING of nodes", 1),
    ("blocked clients moved", 0),
    ("outcome unknown", 1),
    ("errors after hold-ms", 1),
    ("transactions", 10),
    ("elements popped", 5),
    ("messages", 10),
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    counts: [u64; LEAST.len()],
    /// Virtual time, ms, and events.
    pub(crate) ms: u64,
    pub(crate) rounds: u64,
    pub(crate) slowest_ms: u64,
}

impl Summary {
    pub(crate) fn count(&mut self, name: &str, n: u64) {
        let at = LEAST.iter().position(|(it, _)| *it == name).unwrap();
        self.counts[at] += n;
    }

    pub(crate) fn count_happened(&mut self, it: &Happened) {
        for (name, n) in [
            ("migrations", it.migrations),
            ("atomic migrations", it.atomic_migrations),
            ("failovers", it.failovers),
            ("restarts", it.restarts),
            ("lies", it.lies),
            ("ASKING", it.asked),
            ("TRYAGAIN of nodes", it.tried_again),
            ("CLUSTERDOWN of nodes", it.down_replies),
            ("LOADING of nodes", it.loading_replies),
            ("blocked clients moved", it.moved_blocked),
        ] {
            self.count(name, n);
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (all, one) in self.counts.iter_mut().zip(other.counts) {
            *all += one;
        }
        self.ms += other.ms;
        self.rounds += other.rounds;
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
    }

    /// The counts that are too small for this number of seeds.
    pub(crate) fn too_rare(&self, seeds: u64) -> Vec<String> {
        let all = LEAST.iter().zip(self.counts);
        let rare = all.filter(|((_, least), count)| *count < least * (seeds / 100));
        rare.map(|((name, _), count)| format!("{name}: {count}"))
            .collect()
    }

    pub(crate) fn shown(&self) -> String {
        let all = LEAST.iter().zip(self.counts);
        let all: Vec<String> = all.map(|((name, _), n)| format!("{name} {n}")).collect();
        format!(
            "{}; {} ms, {} rounds, slowest reply after {} ms",
            all.join(", "),
            self.ms,
            self.rounds,
            self.slowest_ms
        )
    }
}
