//! A proxy that runs, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::reactor::{Inbox, Message};

use super::directory::Fact;
use super::office::Office;
use super::service::Service;
use super::source::Sources;
use super::{Event, now, tell};

/// A proxy that runs. Dropping this leaves it running; see [`stop`](Running::stop).
#[derive(Debug)]
pub struct Running {
    pub(super) address: SocketAddr,
    pub(super) service: Option<Service>,
    pub(super) office: Arc<Office>,
    pub(super) inboxes: Arc<[Inbox]>,
    pub(super) sources: Arc<Sources>,
    pub(super) workers: Vec<JoinHandle<()>>,
    /// The directory, and who writes down what it tells: that ends with it.
    pub(super) keepers: Vec<JoinHandle<()>>,
    pub(super) grace: Duration,
    pub(super) facts: Sender<Fact>,
    pub(super) events: Receiver<Event>,
    pub(super) sender: Sender<Event>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the service port listens, if there is one.
    pub fn service_address(&self) -> Option<SocketAddr> {
        self.service.as_ref().map(Service::address)
    }

    /// Where its admin listener is, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.service.as_ref().and_then(Service::admin_address)
    }

    /// Drains: no new clients, what is in flight is finished, then the connections are closed.
    /// Returns when that is done, or the grace period is over.
    pub fn stop(self) {
        self.finish(Event::Drain);
    }

    /// Where to tell the thread that waits for its end.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Waits for a reason to end it.
    pub(super) fn wait(&self) -> Event {
        // A sender is in here too, so there is always one.
        self.events.recv().unwrap_or(Event::Signal)
    }

    /// See [`stop`](Self::stop); this is why.
    pub(super) fn finish(self, why: Event) {
        log::info!(
            "draining: waiting up to {} s for work in flight",
            self.grace.as_secs()
        );
        self.office.begin_drain();
        if why == Event::WorkerEnded {
            // It may have been the one that passes it on.
            tell(&self.inboxes, || Message::Drain);
        }
        // Kubernetes, for one, first asks for a drain and then sends a signal all the same.
        let mut patient = why == Event::Drain;
        let until = now() + self.grace;
        let ended = usize::from(why == Event::WorkerEnded);
        let mut left = self.workers.len() - ended.min(self.workers.len());
        while left > 0 {
            let rest = until.saturating_duration_since(now());
            match self.events.recv_timeout(rest) {
                Ok(Event::WorkerEnded) => left -= 1,
                Ok(Event::Drain) => {}
                Ok(Event::Signal) if std::mem::take(&mut patient) => {
                    log::info!("signal: draining already");
                }
                Ok(Event::Signal) => {
                    log::warn!("second signal: closing what is left");
                    break;
                }
                Err(_) => {
                    log::warn!("the grace period is over: closing what is left");
                    break;
                }
            }
        }
        tell(&self.inboxes, || Message::Stop);
        for worker in self.workers {
            if worker.join().is_err() {
                log::error!("a worker panicked");
            }
        }
        // It may have ended with the last worker.
        let _ = self.facts.send(Fact::Stop);
        for keeper in self.keepers {
            if keeper.join().is_err() {
                log::error!("the thread of the clusters, or of the state file, panicked");
            }
        }
        if let Some(service) = self.service {
            service.close();
        }
        log::info!("stopped");
    }
}
