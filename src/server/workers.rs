//! The worker threads.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use mio::Poll;

use crate::cluster::Snapshot;
use crate::config::Config;
use crate::proxy::Machine;
use crate::reactor::{Inbox, Message, Reactor, poll_and_inbox};

use super::spawn::spawn;
use super::worker_handle::WorkerHandle;
use super::{Event, now, settings};

/// A poll with its message queue, and an inbox, for each worker.
#[allow(clippy::type_complexity, reason = "it is taken apart at once")]
pub(super) fn polls_and_inboxes(
    workers: u16,
) -> io::Result<(Vec<(Poll, Receiver<Message>)>, Arc<[Inbox]>)> {
    let mut polls = Vec::new();
    let mut inboxes = Vec::new();
    for _ in 0..workers {
        let (poll, inbox, receiver) = poll_and_inbox()?;
        polls.push((poll, receiver));
        inboxes.push(inbox);
    }
    Ok((polls, inboxes.into()))
}

/// Starts the workers; each sends [`Event::WorkerEnded`] when it ends.
pub(super) fn spawn_workers(
    config: &Config,
    polls: Vec<(Poll, Receiver<Message>)>,
    snapshot: &Arc<Snapshot>,
    mut handle: impl FnMut(usize) -> WorkerHandle,
    end: &Sender<Event>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let start = now();
    let mut threads = Vec::new();
    for (worker, poll) in (0..config.workers()).zip(polls) {
        let settings = settings::settings(config, worker);
        let keepalive = settings::keepalive(config);
        let batching = config.worker_batching;
        let handle = handle(usize::from(worker));
        let snapshot = Arc::clone(snapshot);
        let end = end.clone();
        threads.push(spawn(&format!("worker-{worker}"), move || {
            // Created on its own thread, so that no two workers' memory shares a cache line.
            let reactor =
                Reactor::new(poll, settings, keepalive, batching, snapshot, handle, start);
            match reactor.run() {
                Ok(machine) => log_counters(worker, &machine),
                Err(error) => log::error!("worker: failed worker={worker} reason=\"{error}\""),
            }
            // The receiver is gone once the grace period has ended.
            let _ = end.send(Event::WorkerEnded);
        })?);
    }
    Ok(threads)
}

/// Sends a message to every worker.
pub(super) fn send_to_all(inboxes: &[Inbox], message: impl Fn() -> Message) {
    for inbox in inboxes {
        // A worker that has ended needs no message.
        inbox.send(message());
    }
}

fn log_counters(worker: u16, machine: &Machine) {
    let n = machine.counters();
    log::info!(
        "worker: ended worker={worker} clients={} requests={} replies={} errors={}",
        n.clients_opened,
        n.requests,
        n.replies,
        n.errors
    );
    log::debug!("worker: counters worker={worker} {n:?}");
}
