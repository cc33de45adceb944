//! Decides which server is the primary: a majority of all sentinels names its address, and the
//! server itself says that it is a primary.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::config::HostPort;
use crate::resp::Printable;

use super::super::super::primaries::Wanted;
use super::super::super::update::Update;
use super::super::{now, spawn};
use super::asker::Names;
use super::event::{Checked, Event, Found};
use super::primary::Primary;
use super::role;
use super::stats::Stats;
use super::votes::{Majority, Votes};

/// Shortest time between two questions to all sentinels that have a reason.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// Most checks of roles at the same time. Each has a thread, because it may block.
const CHECKS_MAX: usize = 16;

/// Longest wait for events.
const IDLE: Duration = Duration::from_secs(60);

/// The threads of one sentinel, which end when this is dropped.
pub(super) struct Peer {
    /// Makes the asker ask for these names.
    pub names: Sender<Names>,
    /// Keeps the subscriber running.
    pub _keep: Sender<()>,
}

pub(super) struct Watcher {
    peers: Vec<Peer>,
    events: Receiver<Event>,
    /// For the results of checks.
    sender: Sender<Event>,
    updates: Sender<Update>,
    stats: Arc<Stats>,
    votes: Votes,
    names: Names,
    primaries: BTreeMap<String, Primary>,
    /// Checks that are running.
    checks: usize,
    /// There is a reason to ask the sentinels.
    suspicious: bool,
    /// They are not asked before this time.
    ask_after: Instant,
}

impl Watcher {
    /// Watches no primary yet.
    pub(super) fn new(
        peers: Vec<Peer>,
        (sender, events): (Sender<Event>, Receiver<Event>),
        updates: Sender<Update>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            votes: Votes::new(peers.len()),
            peers,
            events,
            sender,
            updates,
            stats,
            names: Names::default(),
            primaries: BTreeMap::new(),
            checks: 0,
            suspicious: false,
            ask_after: now(),
        }
    }

    /// Watches until [`Event::Stop`].
    pub(super) fn run(mut self) {
        let mut due = now();
        loop {
            match self
                .events
                .recv_timeout(due.saturating_duration_since(now()))
            {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = now();
            self.ask_if_due(now);
            due = self.check_roles(now);
            if self.suspicious {
                due = due.min(self.ask_after);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Wanted(Wanted::Names(names)) => {
                self.primaries.retain(|name, _| names.contains(name));
                for name in &names {
                    self.primaries.entry(name.clone()).or_default();
                }
                self.names = Arc::new(names);
                self.count_unknown();
                self.ask_all();
            }
            Event::Wanted(Wanted::Now) | Event::Announced => self.suspicious = true,
            Event::Answers(sentinel, answers) => self.votes.set(sentinel, answers),
            Event::Checked(checked) => self.take_check(checked),
            Event::Stop => {}
        }
    }

    fn ask_if_due(&mut self, now: Instant) {
        if self.suspicious && now >= self.ask_after {
            self.suspicious = false;
            self.ask_after = now + ASK_INTERVAL;
            self.ask_all();
        }
    }

    fn ask_all(&self) {
        for peer in &self.peers {
            // Without a receiver the thread has ended, and its sentinel has no vote.
            let _ = peer.names.send(Arc::clone(&self.names));
        }
    }

    /// Checks the roles of addresses that a majority names. Returns when the next check is due.
    fn check_roles(&mut self, now: Instant) -> Instant {
        let mut next = now + IDLE;
        let mut begun = Vec::new();
        for (name, primary) in &mut self.primaries {
            let endpoint = match self.votes.majority(name) {
                Majority::Address(endpoint) => endpoint,
                Majority::Unknown => {
                    if primary.is_news("unknown") {
                        let name = Printable(name.as_bytes());
                        log::warn!("sentinel: name not monitored master={name}");
                    }
                    continue;
                }
                Majority::None => continue,
            };
            match primary.check_due(endpoint, now) {
                Some(due) if due > now => next = next.min(due),
                Some(_) if self.checks < CHECKS_MAX => {
                    self.checks += 1;
                    primary.begin_check();
                    begun.push((name.clone(), endpoint.clone(), primary.address()));
                }
                // The end of another check is an event.
                Some(_) | None => {}
            }
        }
        for (name, endpoint, known) in begun {
            let sender = self.sender.clone();
            let (failed, to) = (name.clone(), endpoint.clone());
            let started = spawn("sentinel-role", move || {
                let outcome = role::check(&endpoint, known);
                // Without a receiver the proxy has stopped.
                let _ = sender.send(Event::Checked(Checked {
                    name,
                    endpoint,
                    outcome,
                }));
            });
            if let Err(error) = started {
                self.take_check(Checked {
                    name: failed,
                    endpoint: to,
                    outcome: Err(error.to_string()),
                });
            }
        }
        next
    }

    /// Takes the result of a check. It counts only while the majority still names the address.
    fn take_check(&mut self, checked: Checked) {
        self.checks -= 1;
        let Checked {
            name,
            endpoint,
            outcome,
        } = checked;
        let Some(primary) = self.primaries.get_mut(&name) else {
            return;
        };
        if self.votes.majority(&name) != Majority::Address(&endpoint) {
            return primary.end_check();
        }
        match outcome {
            Ok(found) => self.publish(name, endpoint, &found),
            Err(why) => {
                // The workers log that they cannot reach the published primary.
                let news = !primary.is(&endpoint) && primary.is_news(&format!("{endpoint} {why}"));
                if news {
                    let name = Printable(name.as_bytes());
                    log::warn!(
                        "sentinel: address not used master={name} address={endpoint} \
                         reason=\"{why}\""
                    );
                }
                primary.failed(endpoint, now());
            }
        }
    }

    /// Publishes the address of a primary, if it has changed.
    fn publish(&mut self, name: String, endpoint: HostPort, found: &Found) {
        let Some(primary) = self.primaries.get_mut(&name) else {
            return;
        };
        let address = found.address;
        let Some(before) = primary.found(endpoint, address, now()) else {
            return;
        };
        let shown = Printable(name.as_bytes());
        match before {
            None => log::info!("sentinel: primary known master={shown} address={address}"),
            Some(before) => {
                self.stats.add_switch();
                log::warn!("sentinel: switched master={shown} from={before} address={address}");
            }
        }
        if let Some(why) = &found.unchecked {
            log::warn!(
                "sentinel: role not checked master={shown} address={address} reason=\"{why}\""
            );
        }
        // Without a publisher the proxy has stopped.
        let _ = self.updates.send(Update::Primary(name, address));
        self.count_unknown();
    }

    fn count_unknown(&self) {
        let primaries = self.primaries.values();
        let unknown = primaries.filter(|it| it.address().is_none()).count();
        self.stats.set_unknown(unknown);
    }
}
