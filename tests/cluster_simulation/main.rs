//! A seeded simulation of [`elika::proxy::Machine`] in front of a fake Redis Cluster: slots move,
//! maps lag and lie, nodes fail. An oracle compares every reply with what the nodes executed.
//!
//! A run depends only on its seed. A failing seed prints how to repeat it:
//!
//! ```text
//! ELIKA_SIM_SEED=17 ELIKA_SIM_TRACE=1 cargo test --test cluster_simulation replay -- --nocapture
//! ELIKA_SIM_FIRST=300 ELIKA_SIM_SEEDS=5000 cargo test --test cluster_simulation seeds
//! ```
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may fail, and has no users"
)]

mod client;
mod cluster;
mod link;
mod network;
mod oracle;
mod pipe;
mod plan;
#[path = "../simulation/rng.rs"]
mod rng;
mod run;
#[path = "../support/cluster/slot.rs"]
mod slot;
mod summary;
mod tag;
#[path = "../simulation/wire.rs"]
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

use summary::Summary;

/// Seeds of an ordinary run.
const SEEDS: u64 = 500;

/// A seed takes some milliseconds. If none ends in this time, one does not end at all.
const SEED_TIMEOUT: Duration = Duration::from_secs(60);

/// The number of failing seeds after which a run stops.
const FAILURES_MAX: usize = 5;

/// The summary of a correct seed, or the error.
type Outcome = Result<Summary, String>;

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
    println!("{seeds} seeds: {}", all.shown());
    failures.sort();
    for (seed, why) in &failures {
        println!(
            "seed {seed}: {why}\n  ELIKA_SIM_SEED={seed} ELIKA_SIM_TRACE=1 \
             cargo test --test cluster_simulation replay -- --nocapture\n"
        );
    }
    let failed: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
    let rare = all.too_rare(seeds);
    assert!(rare.is_empty(), "these events are too rare: {rare:?}");
}

#[test]
fn replay() {
    let Some(seed) = number("ELIKA_SIM_SEED") else {
        return;
    };
    let trace = env::var_os("ELIKA_SIM_TRACE").is_some();
    match run(seed, trace) {
        Ok(summary) => println!("seed {seed}: correct: {}", summary.shown()),
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
