//! What the metrics page shows of the sentinels.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::config::HostPort;

/// Written by the threads that follow the sentinels, and read by the service port.
#[derive(Debug)]
pub(in crate::server) struct Stats {
    /// Each sentinel, and whether it answers.
    sentinels: Vec<(String, AtomicBool)>,
    switches: AtomicU64,
    unknown: AtomicUsize,
}

impl Stats {
    /// No sentinel has answered yet.
    pub(super) fn new(sentinels: &[HostPort]) -> Self {
        let down = |it: &HostPort| (it.to_string(), AtomicBool::new(false));
        Self {
            sentinels: sentinels.iter().map(down).collect(),
            switches: AtomicU64::new(0),
            unknown: AtomicUsize::new(0),
        }
    }

    /// Notes whether a sentinel answers. Returns whether it did before.
    pub(super) fn set_up(&self, number: usize, up: bool) -> bool {
        let sentinel = self.sentinels.get(number);
        sentinel.is_some_and(|(_, it)| it.swap(up, Ordering::Relaxed))
    }

    pub(super) fn add_switch(&self) {
        self.switches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_unknown(&self, unknown: usize) {
        self.unknown.store(unknown, Ordering::Relaxed);
    }

    /// Each sentinel, and whether it answers.
    pub(in crate::server) fn sentinels(&self) -> Vec<(String, bool)> {
        let sentinels = self.sentinels.iter();
        let sentinels = sentinels.map(|(name, up)| (name.clone(), up.load(Ordering::Relaxed)));
        sentinels.collect()
    }

    /// How often a primary was replaced by another.
    pub(in crate::server) fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }

    /// Names of which no primary is known.
    pub(in crate::server) fn unknown(&self) -> usize {
        self.unknown.load(Ordering::Relaxed)
    }
}
