//! The number of clients of each worker.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Clients of each worker. The acceptor adds a client when it gives it to a worker, and that worker
/// subtracts it when it closes, so each client is counted exactly once.
#[derive(Debug)]
pub(super) struct Loads(Vec<Load>);

/// Each counter has a cache line of its own, because its worker writes it all the time.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load(AtomicUsize);

impl Loads {
    pub(super) fn new(workers: u16) -> Self {
        Self((0..workers).map(|_| Load::default()).collect())
    }

    /// The worker with the fewest clients; of several, the first from `turn` on.
    pub(super) fn least(&self, turn: usize) -> usize {
        let n = self.0.len().max(1);
        let by_turn = (0..n).map(|i| (i + turn) % n);
        by_turn
            .min_by_key(|&worker| self.of(worker))
            .unwrap_or_default()
    }

    pub(super) fn total(&self) -> usize {
        (0..self.0.len()).map(|worker| self.of(worker)).sum()
    }

    fn of(&self, worker: usize) -> usize {
        self.0
            .get(worker)
            .map_or(0, |load| load.0.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, worker: usize) {
        if let Some(load) = self.0.get(worker) {
            load.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn subtract(&self, worker: usize) {
        if let Some(load) = self.0.get(worker) {
            load.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_client_goes_to_the_worker_with_the_fewest() {
        let loads = Loads::new(3);
        for turn in 0..300 {
            loads.add(loads.least(turn));
        }
        assert_eq!((loads.of(0), loads.of(1), loads.of(2)), (100, 100, 100));
        for _ in 0..50 {
            loads.subtract(1);
        }
        assert_eq!(loads.least(0), 1);
        assert_eq!(loads.total(), 250);
    }
}
