//! What workers share with the rest of the process: load counters, inboxes, and where to report
//! what happened to an instance. None of it is touched per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use mio::net::TcpListener;

use crate::proxy::Report;
use crate::reactor::{Accepted, Inbox, Newcomer, Outside};

use super::acceptor::Acceptor;
use super::directory::Fact;

/// Clients of each worker, counted by who accepts at the hand-off and counted down by the worker
/// that closes: no client is counted twice, nor one that is gone.
#[derive(Debug)]
pub(super) struct Loads(Vec<Load>);

/// A cache line of its own: workers write their counters all the time.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Load(AtomicUsize);

impl Loads {
    pub(super) fn new(workers: u16) -> Self {
        Self((0..workers).map(|_| Load::default()).collect())
    }

    /// The worker with the fewest clients; of several the first from `turn` on.
    pub(super) fn least(&self, turn: usize) -> usize {
        let n = self.0.len().max(1);
        let by_turn = (0..n).map(|i| (i + turn) % n);
        by_turn
            .min_by_key(|&worker| self.of(worker))
            .unwrap_or_default()
    }

    /// Clients of all workers.
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

/// What one worker has of all this.
#[derive(Debug)]
pub(super) struct WorkerOutside {
    pub worker: usize,
    /// Where clients connect, as long as there is one that accepts them here.
    pub acceptor: Option<Acceptor>,
    pub loads: Arc<Loads>,
    pub facts: Sender<Fact>,
    pub inboxes: Arc<[Inbox]>,
}

impl Outside for WorkerOutside {
    fn listener(&mut self) -> Option<&mut TcpListener> {
        self.acceptor.as_mut().map(Acceptor::listener)
    }

    fn accept(&mut self, max: usize, now_us: u64, mine: &mut Vec<Newcomer>) -> Accepted {
        let among = (self.worker, &*self.inboxes);
        let acceptor = self.acceptor.as_mut();
        acceptor.map_or(Accepted::All, |it| it.accept(max, now_us, among, mine))
    }

    fn close_listener(&mut self) -> bool {
        self.acceptor.take().is_some()
    }

    fn client_gone(&self) {
        self.loads.subtract(self.worker);
    }

    fn report(&self, report: Report) {
        // The directory is there as long as a worker is.
        let _ = self.facts.send(Fact::Report(self.worker, report));
    }

    fn peers(&self) -> &[Inbox] {
        &self.inboxes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_with_the_fewest_clients_gets_the_next() {
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
