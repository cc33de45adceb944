//! The threads that carry clients, the workers.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use mio::Poll;

use crate::cluster::Snapshot;
use crate::config::Config;
use crate::proxy::Machine;
use crate::reactor::{Inbox, Message, Reactor, poll_and_inbox};

use super::outside::WorkerOutside;
use super::spawn::spawn;
use super::{Event, now, settings};

/// One of each per worker.
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

/// Starts the workers; each tells of its end.
pub(super) fn spawn_workers(
    config: &Config,
    polls: Vec<(Poll, Receiver<Message>)>,
    snapshot: &Arc<Snapshot>,
    mut outside: impl FnMut(usize) -> WorkerOutside,
    end: &Sender<Event>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let start = now();
    let mut threads = Vec::new();
    for (worker, poll) in (0..config.workers()).zip(polls) {
        let settings = settings::settings(config, worker);
        let keepalive = settings::keepalive(config);
        let outside = outside(usize::from(worker));
        let snapshot = Arc::clone(snapshot);
        let end = end.clone();
        threads.push(spawn(&format!("worker-{worker}"), move || {
            // Made here, its memory is this thread's alone: no cache line has two workers.
            let reactor = Reactor::new(poll, settings, keepalive, snapshot, outside, start);
            match reactor.run() {
                Ok(machine) => log_counters(worker, &machine),
                Err(error) => log::error!("worker {worker} failed: {error}"),
            }
            // Nobody listens any more if the grace period is over.
            let _ = end.send(Event::WorkerEnded);
        })?);
    }
    Ok(threads)
}

/// Leaves a message for every worker.
pub(super) fn tell(inboxes: &[Inbox], message: impl Fn() -> Message) {
    for inbox in inboxes {
        // A worker that has ended needs no telling.
        inbox.send(message());
    }
}

fn log_counters(worker: u16, machine: &Machine) {
    let n = machine.counters();
    log::info!(
        "worker {worker}: {} clients in all, {} requests forwarded, {} replies, {} errors made here",
        n.clients_opened,
        n.requests,
        n.replies,
        n.errors
    );
    log::debug!("worker {worker}: {n:?}");
}
