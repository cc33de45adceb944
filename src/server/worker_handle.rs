//! A worker's access to the process: the acceptor, load counters, inboxes and the publisher.
//! Nothing here is used per request.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use mio::net::TcpListener;

use crate::proxy::HealthEvent;
use crate::reactor::{AcceptOutcome, AcceptedClient, Inbox, ProcessHandle};

use super::acceptor::Acceptor;
use super::loads::Loads;
use super::update::Update;

#[derive(Debug)]
pub(super) struct WorkerHandle {
    pub worker: usize,
    /// The acceptor, on worker 0 until its listener is closed.
    pub acceptor: Option<Acceptor>,
    pub loads: Arc<Loads>,
    pub updates: Sender<Update>,
    pub inboxes: Arc<[Inbox]>,
}

impl ProcessHandle for WorkerHandle {
    fn listener(&mut self) -> Option<&mut TcpListener> {
        self.acceptor.as_mut().map(Acceptor::listener)
    }

    fn accept(&mut self, max: usize, now_us: u64, own: &mut Vec<AcceptedClient>) -> AcceptOutcome {
        let workers = (self.worker, &*self.inboxes);
        let acceptor = self.acceptor.as_mut();
        acceptor.map_or(AcceptOutcome::Drained, |it| {
            it.accept(max, now_us, workers, own)
        })
    }

    fn close_listener(&mut self) -> bool {
        self.acceptor.take().is_some()
    }

    fn client_closed(&self) {
        self.loads.subtract(self.worker);
    }

    fn health_event(&self, event: HealthEvent) {
        // The publisher runs until all workers have ended.
        let _ = self.updates.send(Update::HealthEvent(self.worker, event));
    }

    fn peers(&self) -> &[Inbox] {
        &self.inboxes
    }
}
