//! Clients that send random pipelines to an address and check every reply against its request.
//!
//! Each key belongs to one client, and each value to one write, so that a client knows the only
//! reply that is right. Errors are counted by their texts; the text of an error says whether its
//! command may have been executed. The test decides what listens at the address, and what happens
//! to it meanwhile. `tests/e2e_cluster.rs` runs the workload for a few seconds while slots migrate.
//! This command runs it for ten minutes and prints the summary:
//!
//! ```sh
//! ELIKA_CHECK_SECONDS=600 cargo test --test e2e_cluster workload -- --nocapture
//! ```
//!
//! `ELIKA_CHECK_SEED` repeats the choices of a run, though not its timing.

#![allow(
    dead_code,
    reason = "every test crate compiles this and uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; these helpers are not marked as tests"
)]

mod client;
mod model;
mod op;
mod summary;

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::Duration;

use crate::support::{Random, now, setting, slot_of};
use client::Client;
pub(crate) use op::Kind;
use op::{TAGS, tag};
pub(crate) use summary::Summary;

/// The parameters of a run.
pub(crate) struct Workload {
    /// Each has up to three connections: for its pipelines, for BLPOP and for its channel.
    pub(crate) clients: u64,
    pub(crate) seed: u64,
    /// What the clients do.
    pub(crate) kinds: Vec<Kind>,
}

impl Workload {
    /// This number of clients that do all kinds of commands, with the seed of the environment or a
    /// new one.
    pub(crate) fn new(clients: u64) -> Self {
        let seed = setting("ELIKA_CHECK_SEED");
        Self {
            clients,
            seed: seed.unwrap_or_else(|| RandomState::new().hash_one(0)),
            kinds: Kind::ALL.to_vec(),
        }
    }

    /// Runs until `stop` returns true. Each client calls it before a pipeline.
    pub(crate) fn run(&self, address: impl Display, stop: impl Fn() -> bool + Sync) -> Summary {
        let mut random = Random(self.seed);
        let start = now();
        let mut summary = thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|number| {
                    let random = Random(random.next());
                    let client = Client::new(number, address.to_string(), random, &self.kinds);
                    let stop = &stop;
                    scope.spawn(move || client.run(stop))
                })
                .collect();
            let summaries = clients.into_iter().map(|client| client.join().unwrap());
            summaries.fold(Summary::default(), Summary::with)
        });
        summary.seed = self.seed;
        summary.seconds = start.elapsed().as_secs_f64();
        summary
    }

    /// The hash slots of the keys, without those of BLPOP.
    pub(crate) fn slots(&self) -> Vec<u16> {
        let clients = 0..self.clients;
        let tags = clients.flat_map(|client| (0..TAGS).map(move |n| tag(client, n)));
        tags.map(|tag| slot_of(&tag)).collect()
    }
}

/// Stops a run after the seconds of the environment, or else of the test.
pub(crate) fn after_seconds(default: u64) -> impl Fn() -> bool + Sync {
    let seconds = setting("ELIKA_CHECK_SECONDS").unwrap_or(default);
    let end = now() + Duration::from_secs(seconds);
    move || now() >= end
}
