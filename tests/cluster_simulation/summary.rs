//! What happened in a seed, or in several: a test that passes must have seen all of it.

use super::cluster::Happened;

/// The names of counts, and how many of each a hundred seeds have at least.
const LEAST: [(&str, u64); 22] = [
    ("requests", 2_000),
    ("clean requests", 100),
    ("moved", 200),
    ("ask", 80),
    ("held", 500),
    ("split", 200),
    ("retried", 10),
    ("migrations", 100),
    ("atomic migrations", 50),
    ("failovers", 8),
    ("restarts", 20),
    ("lies", 100),
    ("ASKING", 80),
    ("TRYAGAIN of nodes", 40),
    ("CLUSTERDOWN of nodes", 200),
    ("LOADING of nodes", 10),
    ("blocked clients moved", 3),
    ("outcome unknown", 10),
    ("errors after hold-ms", 5),
    ("transactions", 15),
    ("elements popped", 40),
    ("messages", 20),
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
