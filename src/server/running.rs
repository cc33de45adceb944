//! A running proxy, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::reactor::{Inbox, Message};

use super::control::Control;
use super::service_thread::ServiceThread;
use super::source::Sources;
use super::update::Update;
use super::{Event, now, send_to_all};

/// A running proxy. Dropping this leaves it running; see [`stop`](Running::stop).
#[derive(Debug)]
pub struct Running {
    pub(super) address: SocketAddr,
    pub(super) service: Option<ServiceThread>,
    pub(super) control: Arc<Control>,
    pub(super) inboxes: Arc<[Inbox]>,
    pub(super) sources: Arc<Sources>,
    pub(super) workers: Vec<JoinHandle<()>>,
    /// The publisher, and the thread that writes the state file, which ends after it.
    pub(super) background: Vec<JoinHandle<()>>,
    pub(super) grace: Duration,
    pub(super) updates: Sender<Update>,
    pub(super) events: Receiver<Event>,
    pub(super) sender: Sender<Event>,
}

impl Running {
    /// The address of the proxy port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the service port, if it is enabled.
    pub fn service_address(&self) -> Option<SocketAddr> {
        self.service.as_ref().map(ServiceThread::address)
    }

    /// The address of the admin listener, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.service.as_ref().and_then(ServiceThread::admin_address)
    }

    /// Drains: closes the listener, finishes requests in flight, then closes the connections.
    /// Returns when all are closed or the grace period has ended.
    pub fn stop(self) {
        self.finish(Event::Drain);
    }

    /// Sends events to the thread that waits for the end.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Waits for an event that ends the proxy.
    pub(super) fn wait(&self) -> Event {
        // This struct holds a sender, so the channel is never closed.
        self.events.recv().unwrap_or(Event::Signal)
    }

    /// Stops the proxy, see [`stop`](Self::stop); `why` is the reason.
    pub(super) fn finish(self, why: Event) {
        log::info!("proxy: draining seconds={}", self.grace.as_secs());
        self.control.begin_drain();
        if why == Event::WorkerEnded {
            // The worker that ended may be the one that passes the drain on.
            send_to_all(&self.inboxes, || Message::Drain);
        }
        // Kubernetes calls the drain hook first, then sends SIGTERM, which must not end the drain.
        let mut ignore_signal = why == Event::Drain;
        let until = now() + self.grace;
        let ended = usize::from(why == Event::WorkerEnded);
        let mut left = self.workers.len() - ended.min(self.workers.len());
        while left > 0 {
            let rest = until.saturating_duration_since(now());
            match self.events.recv_timeout(rest) {
                Ok(Event::WorkerEnded) => left -= 1,
                Ok(Event::Drain) => {}
                Ok(Event::Signal) if std::mem::take(&mut ignore_signal) => {
                    log::info!("proxy: signal ignored, already draining");
                }
                Ok(Event::Signal) => {
                    log::warn!("proxy: second signal, closing all connections");
                    break;
                }
                Err(_) => {
                    log::warn!("proxy: grace period ended, closing all connections");
                    break;
                }
            }
        }
        send_to_all(&self.inboxes, || Message::Stop);
        for worker in self.workers {
            if worker.join().is_err() {
                log::error!("worker: panicked");
            }
        }
        // The publisher may have ended with the last worker.
        let _ = self.updates.send(Update::Stop);
        for thread in self.background {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                log::error!("thread: panicked name={name}");
            }
        }
        if let Some(service) = self.service {
            service.close();
        }
        log::info!("proxy: stopped");
    }
}
