//! A seeded simulation of [`elika::proxy::Machine`]: fake clients, fake Redis servers, a virtual
//! clock, and faults. An oracle checks every reply against its request: the server that executed
//! it, the user, the database and the protocol, once, in order.
//!
//! A run depends only on its seed. A failing seed prints how to repeat it:
//!
//! ```text
//! ELIKA_SIM_SEED=17 ELIKA_SIM_TRACE=1 cargo test --test simulation replay -- --nocapture
//! ELIKA_SIM_FIRST=300 ELIKA_SIM_SEEDS=5000 cargo test --test simulation seeds
//! ```
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may fail, and has no users"
)]

mod audit;
mod backends;
mod buffer_limit;
mod busy;
mod client;
mod client_lists;
mod clusters;
mod default_password;
mod guessed_passwords;
mod limits;
mod link;
mod monitors;
mod network;
mod oracle;
mod paused_writes;
mod plan;
mod redis;
mod replica_lag;
mod reports;
mod rng;
mod run;
mod script;
mod snapshot;
mod stats;
mod tenant_names;
mod wire;
mod workload;
mod world;

use std::collections::BTreeSet;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use oracle::Waits;

/// Seeds of an ordinary run.
const SEEDS: u64 = 1_000;

/// A seed takes some milliseconds. If none ends in this time, one does not end at all.
const SEED_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of failing seeds after which a run stops.
const FAILURES_MAX: usize = 5;

/// The number of these seeds in which reads are retried, at least.
const SEEDS_WITH_RETRIES_MIN: u64 = 40;

/// At least once in this many seeds, WAIT confirms a write that was sent on a connection that the
/// client has left.
const SEEDS_PER_WAIT_MAX: u64 = 5;

/// The summary of a correct seed, or the error.
type Outcome = Result<Summary, String>;

/// What happened in a seed, or in several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) events: u64,
    /// Clients whose reads were retried, and seeds in which there were any.
    pub(crate) asked_again: u64,
    with_retries: u64,
    /// Clients closed at the limit of all buffers.
    pub(crate) buffers_full: u64,
    /// How often a client of another tenant could have been closed at that limit, or at the limit
    /// of unread replies.
    pub(crate) choices: u64,
    pub(crate) waits: Waits,
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.asked_again += other.asked_again;
        self.buffers_full += other.buffers_full;
        self.choices += other.choices;
        self.waits.add(other.waits);
        self.with_retries += u64::from(other.asked_again > 0);
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn run(seed: u64, trace: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run::run(seed, trace))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("?")))
    })
}

/// Runs seeds on one thread until there are no more, and reports before and after each.
fn work(end: u64, next: &AtomicU64, report: &Sender<(u64, Option<Outcome>)>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || report.send((seed, None)).is_err() {
            return;
        }
        let outcome = run(seed, false);
        if report.send((seed, Some(outcome))).is_err() {
            return;
        }
    }
}

#[test]
fn seeds() {
    let seeds = number("ELIKA_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("ELIKA_SIM_FIRST").unwrap_or(0);
    let next = Arc::new(AtomicU64::new(first));
    let (report, reports) = mpsc::channel();
    for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
        let (next, report) = (Arc::clone(&next), report.clone());
        thread::spawn(move || work(first + seeds, &next, &report));
    }
    drop(report);
    let (mut all, mut running, mut failures) = (Summary::default(), BTreeSet::new(), Vec::new());
    while failures.len() < FAILURES_MAX {
        match reports.recv_timeout(SEED_TIMEOUT) {
            Ok((seed, None)) => {
                running.insert(seed);
            }
            Ok((seed, Some(outcome))) => {
                running.remove(&seed);
                match outcome {
                    Ok(seen) => all.add(seen),
                    Err(why) => failures.push((seed, why)),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let endless = |&seed: &u64| (seed, "does not end".to_owned());
                failures.extend(running.iter().map(endless));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    println!("{seeds} seeds, {all:?}");
    failures.sort();
    for (seed, why) in &failures {
        println!(
            "seed {seed}: {why}\n  ELIKA_SIM_SEED={seed} ELIKA_SIM_TRACE=1 \
             cargo test --test simulation replay -- --nocapture\n"
        );
    }
    let failed: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
    let enough = seeds / (SEEDS / SEEDS_WITH_RETRIES_MIN);
    assert!(
        all.with_retries >= enough && all.buffers_full > 0 && all.choices > 0,
        "these events are too rare: {all:?}"
    );
    // WAIT must also succeed, and not only return the error that the writes are unknown.
    let Waits { met_elsewhere, .. } = all.waits;
    assert!(
        met_elsewhere * SEEDS_PER_WAIT_MAX >= seeds,
        "{:?}",
        all.waits
    );
}

#[test]
fn replay() {
    let Some(seed) = number("ELIKA_SIM_SEED") else {
        return;
    };
    let trace = env::var_os("ELIKA_SIM_TRACE").is_some();
    match run(seed, trace) {
        Ok(summary) => println!("seed {seed}: correct, {summary:?}"),
        Err(why) => panic!("seed {seed}: {why}"),
    }
}

/// Every random choice must depend on the seed only.
#[test]
fn run_depends_only_on_the_seed() {
    for seed in [3, 4, 5] {
        assert_eq!(run(seed, false), run(seed, false));
    }
}
