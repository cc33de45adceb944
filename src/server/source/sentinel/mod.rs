//! `--router.sentinels`: the addresses of primaries, as sentinels know them.
//!
//! ```text
//!   publisher ──names──► watcher ──names──► asker of each sentinel: GET-MASTER-ADDR-BY-NAME
//!       ▲                │ ▲ ▲ ▲                     │ its answers, each second
//!       │                │ │ │ └─────────────────────┘
//!       │                │ │ └── subscriber of each sentinel: +switch-master, a reason to ask now
//!       │                ▼ │
//!       │              ROLE of the address that a majority of all sentinels has answered
//!       └── address ─────┴── if its role is primary
//! ```
//! A sentinel that is down, hangs, knows less than the others or lies is outvoted. Without a
//! majority, the last known primary stays.

mod asker;
mod client;
mod event;
mod primary;
mod role;
mod stats;
mod subscriber;
mod votes;
mod watcher;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::config::Router;

use super::super::primaries::Primaries;
use super::super::update::Update;
use super::spawn;

use asker::Asker;
use client::Login;
use event::Event;
use subscriber::Subscriber;
use watcher::{Peer, Watcher};

pub(in crate::server) use stats::Stats;

/// Time for a connection attempt, and for the reply to a command.
const TIMEOUT: Duration = Duration::from_secs(1);

/// First and longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The threads that follow the sentinels. They end when this is dropped.
#[derive(Debug)]
pub(in crate::server) struct Sentinels {
    events: Sender<Event>,
    stats: Arc<Stats>,
}

impl Sentinels {
    /// Starts the threads; `None`: no sentinels are configured. Addresses of primaries are sent to
    /// `updates`.
    ///
    /// # Errors
    ///
    /// If a thread cannot be created.
    pub(super) fn start(router: &Router, updates: &Sender<Update>) -> io::Result<Option<Self>> {
        if router.sentinels.is_empty() {
            return Ok(None);
        }
        let stats = Arc::new(Stats::new(&router.sentinels));
        let (events, received) = channel();
        let mut peers = Vec::new();
        for (number, address) in router.sentinels.iter().enumerate() {
            let login = Login::of(router);
            let (names, asked) = channel();
            let asker = Asker::new(number, address.clone(), login.clone(), Arc::clone(&stats));
            let sender = events.clone();
            spawn(&format!("sentinel-{number}"), move || {
                asker.run(&asked, &sender)
            })?;
            let (keep, stop) = channel();
            let subscriber = Subscriber::new(address.clone(), login);
            let sender = events.clone();
            spawn(&format!("sentinel-{number}-sub"), move || {
                subscriber.run(&stop, &sender);
            })?;
            peers.push(Peer { names, _keep: keep });
        }
        let watcher = Watcher::new(
            peers,
            (events.clone(), received),
            updates.clone(),
            Arc::clone(&stats),
        );
        spawn("sentinels", move || watcher.run())?;
        Ok(Some(Self { events, stats }))
    }

    /// A table of primaries, which these threads fill.
    pub(in crate::server) fn primaries(&self) -> Primaries {
        let events = self.events.clone();
        Primaries::new(move |wanted| {
            // Without a receiver the proxy has stopped.
            let _ = events.send(Event::Wanted(wanted));
        })
    }

    /// What these threads count.
    pub(in crate::server) fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
    }
}

/// The pause after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    let (first, longest) = BACKOFF;
    let doublings = failures.saturating_sub(1).min(10);
    first.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests;
