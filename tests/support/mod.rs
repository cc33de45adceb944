//! Helpers of the tests over real sockets: processes, and clients that send and read bytes.
//!
//! The helpers own the processes that they start. They do not know the proxy's internals: a test
//! that uses only them could run against any build.

#![allow(
    dead_code,
    unused_imports,
    reason = "every test crate compiles this and uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; these helpers are not marked as tests"
)]

mod cluster;
mod compare;
mod exposition;
mod http;
mod proxy;
mod random;
mod redis;
mod script;
mod sentinel;
mod wire;

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

pub(crate) use cluster::{RedisCluster, slot_of, tag_of};
pub(crate) use compare::{Target, both_ways, compare, compare_at};
pub(crate) use exposition::Exposition;
pub(crate) use http::{Answer, Http};
pub(crate) use proxy::{Proxy, TENANT};
pub(crate) use random::{Random, setting};
pub(crate) use redis::{Feature, Redis, id_of, unused_port};
pub(crate) use script::{Backend, HELLO, WHICH_BLOCK, hello_reply, request};
pub(crate) use sentinel::{MASTER, Sentinels};
pub(crate) use wire::{Wire, array, commands, packet, text};

/// Longer than any step takes on a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The tests' clock.
#[allow(clippy::disallowed_methods, reason = "tests measure real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Checks that so many milliseconds have passed since then.
#[track_caller]
pub(crate) fn assert_took(since: Instant, ms: std::ops::Range<u64>) {
    let took = since.elapsed();
    let [min, max] = [ms.start, ms.end].map(Duration::from_millis);
    assert!(took >= min && took < max, "{took:?}");
}

/// Waits until a condition holds, and panics if it takes too long.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = now() + PATIENCE;
    while !holds() {
        assert!(now() < until, "waited in vain: {what}");
        pause();
    }
}

/// The pause between two checks of a condition.
#[allow(
    clippy::disallowed_methods,
    reason = "the one pause between two looks at a condition"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(3));
}

/// Sends a signal with the shell's `kill`, because the program may be missing.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -$0 $1", name, &pid.to_string()])
        .status();
    assert!(status.is_ok_and(|it| it.success()), "kill -{name} {pid}");
}

/// Waits for the end of a process.
pub(crate) fn wait_for(child: &mut std::process::Child) -> ExitStatus {
    let mut status = None;
    wait_until("a process ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// The kernel's timers of connections with this port at one end.
pub(crate) fn timers_of_established(port: u16, local: bool) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let rows = table.lines().filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let end = if local { fields[1] } else { fields[2] };
        let is_it = end.ends_with(&port) && fields[3] == "01";
        is_it.then(|| fields[5].split(':').next().unwrap().to_owned())
    });
    rows.collect()
}
