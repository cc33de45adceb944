//! What a worker has of the rest of the process: who accepts, load counters, inboxes, and where to
//! report what happened to an instance. None of it is touched per request.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use mio::net::TcpListener;

use crate::proxy::Report;
use crate::reactor::{Accepted, Inbox, Newcomer, Outside};

use super::acceptor::Acceptor;
use super::directory::Fact;
use super::loads::Loads;

/// See the module.
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
