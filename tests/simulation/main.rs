//! A seeded simulation of [`elika::proxy::Machine`]: fake clients, fake Redis servers, a virtual
//! clock, and faults. Every reply is checked against the request that it answers: who executed it,
//! as which user, in which database and protocol, once, in order.
//!
//! The same seed does the same. A failing seed says how to see it again:
//!
//! ```text
//! ELIKA_SIM_SEED=17 ELIKA_SIM_TRACE=1 cargo test --test simulation replay -- --nocapture
//! ELIKA_SIM_SEEDS=5000 cargo test --test simulation seeds
//! ```
#![allow(missing_docs, reason = "a test has no users")]

mod client;
mod judge;
mod link;
mod network;
mod people;
mod plan;
mod redis;
mod rng;
mod run;
mod script;
mod wire;
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;

/// So many failing seeds are enough to know.
const FAILURES_MAX: usize = 5;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

fn run(seed: u64, trace: bool) -> Result<u64, String> {
    catch_unwind(AssertUnwindSafe(|| run::run(seed, trace))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("?")))
    })
}

#[test]
fn seeds() {
    let seeds = number("ELIKA_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, events) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut failures: Vec<(u64, String)> = Vec::new();
    let work = || {
        let mut failures = Vec::new();
        while failures.len() < FAILURES_MAX {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            match run(seed, false) {
                Ok(steps) => {
                    events.fetch_add(steps, Ordering::Relaxed);
                }
                Err(why) => failures.push((seed, why)),
            }
        }
        failures
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            failures.extend(worker.join().unwrap());
        }
    });
    println!("{seeds} seeds, {events:?} events");
    failures.sort();
    for (seed, why) in &failures {
        println!(
            "seed {seed}: {why}\n  ELIKA_SIM_SEED={seed} ELIKA_SIM_TRACE=1 \
             cargo test --test simulation replay -- --nocapture\n"
        );
    }
    let failed: Vec<u64> = failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

#[test]
fn replay() {
    let Some(seed) = number("ELIKA_SIM_SEED") else {
        return;
    };
    let trace = env::var_os("ELIKA_SIM_TRACE").is_some();
    match run(seed, trace) {
        Ok(steps) => println!("seed {seed}: well, after {steps} events"),
        Err(why) => panic!("seed {seed}: {why}"),
    }
}

/// What is drawn must depend on nothing but the seed.
#[test]
fn a_seed_says_everything() {
    for seed in [3, 4, 5] {
        assert_eq!(run(seed, false), run(seed, false));
    }
}
