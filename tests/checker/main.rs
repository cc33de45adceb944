//! Clients send random pipelined commands while their backend is killed and restarted, and check
//! every reply against its request.
//!
//! `ELIKA_CHECK_SECONDS` is the duration (8; a full check is 60), `ELIKA_CHECK_SEED` repeats the
//! choices of a run, though not its timing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod client;
mod model;
#[path = "../support/mod.rs"]
mod support;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use client::{Client, Tally};
use support::{Proxy, Random, Redis, now, pause, setting};

/// Each user may access only the keys that begin with its name: on a connection of another user a
/// command would be refused.
const USERS: &str = "\
user default on nopass ~default:* +@all
user one on >pw-one ~one:* +@all
user two on >pw-two ~two:* +@all
user three on >pw-three ~three:* +@all
";

const CLIENTS: u64 = 8;

/// How long after a restart of the backend the proxy may still report that it is unavailable, ms:
/// the longest pause between two attempts after such a short outage, and slow machines.
const RECOVERY_MS: u64 = 3_000;

/// The state of the backend, as the clients see it.
struct World {
    start: Instant,
    /// Incremented before and after each kill: commands in between may be executed, and lost.
    epoch: AtomicU64,
    /// The backend is down, or about to be killed.
    down: AtomicBool,
    /// When it was last ready again, ms after the start.
    ready_ms: AtomicU64,
    /// The last restart is over.
    calm: AtomicBool,
}

impl World {
    /// Whether the proxy may report the loss of the backend for a request of that epoch.
    fn excuses(&self, sent_epoch: u64) -> bool {
        self.down.load(Ordering::SeqCst)
            || self.epoch.load(Ordering::SeqCst) != sent_epoch
            || self.elapsed_ms() < self.ready_ms.load(Ordering::SeqCst) + RECOVERY_MS
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }
}

#[test]
fn every_reply_belongs_to_its_request() {
    let seconds = setting("ELIKA_CHECK_SECONDS").unwrap_or(8);
    let seed = setting("ELIKA_CHECK_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("ELIKA_CHECK_SECONDS={seconds} ELIKA_CHECK_SEED={seed}");
    let mut random = Random(seed);
    let mut redis = Redis::with(USERS);
    let proxy = Proxy::with(&redis, &["--core-num=2"]);
    let world = World {
        start: now(),
        epoch: AtomicU64::new(0),
        down: AtomicBool::new(false),
        ready_ms: AtomicU64::new(0),
        calm: AtomicBool::new(false),
    };
    let restarts = (seconds / 3).max(3);
    let tally = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let random = Random(random.next());
                let mut client = Client::new(number, proxy.address(), &world, random);
                scope.spawn(move || client.run())
            })
            .collect();
        for i in 0..restarts {
            let share = seconds * 1_000 / (restarts + 1);
            let due = share * (i + 1) - share / 4 + random.below(share / 2);
            let failed = || clients.iter().any(|client| client.is_finished());
            while world.elapsed_ms() < due && !failed() {
                pause();
            }
            // Every second time requests are certainly in flight.
            restart(&mut redis, &world, &mut random, i % 2 == 0);
        }
        world.calm.store(true, Ordering::SeqCst);
        let tallies = clients.into_iter().map(|client| client.join());
        tallies.fold(Tally::default(), |sum, tally| sum + tally.unwrap())
    });
    println!("{restarts} restarts, {tally:?}");
    assert!(tally.good > 1_000 && tally.switches > 100, "{tally:?}");
    assert!(
        tally.lost + tally.unavailable > 0,
        "no request met a death: {tally:?}"
    );
}

/// Kills and restarts the backend. If it `hangs` for a moment before, requests accumulate.
fn restart(redis: &mut Redis, world: &World, random: &mut Random, hangs: bool) {
    let rest = |ms: u64| {
        let start = now();
        while start.elapsed() < Duration::from_millis(ms) {
            pause();
        }
    };
    world.down.store(true, Ordering::SeqCst);
    world.epoch.fetch_add(1, Ordering::SeqCst);
    if hangs {
        redis.freeze();
        rest(60 + random.below(60));
    }
    redis.kill();
    world.epoch.fetch_add(1, Ordering::SeqCst);
    rest(random.below(300));
    redis.start_again();
    world.ready_ms.store(world.elapsed_ms(), Ordering::SeqCst);
    world.down.store(false, Ordering::SeqCst);
}
