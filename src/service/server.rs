//! The service port's thread: two listeners, a few sockets, a clock.
//!
//! Few connections, so a turn of the loop looks at each of them, and readiness is remembered. What
//! a connection says and hears is decided in [`connection`](super::connection).

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::cluster::ClusterRegistry;
use crate::proxy::Millis;

use super::Office;
use super::connection::{Connection, Turn};
use super::counters::Limit;
use super::desk::{Desk, ServiceSettings};
use super::guard::Caller;
use super::handle::ServiceHandle;
use super::helpers::{Done, Helpers, Job};
use super::http::After;
use super::limits::{ADMIN_MAX, CLOSE_MS, CONNECTIONS_MAX, PROBE_MS, PROBES_MAX};
use super::link::{Link, is_the_peers, refuse};
use super::places;
use super::routes::Place;

/// No connection has so high a number.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: [Token; 2] = [Token(usize::MAX - 1), Token(usize::MAX - 2)];

/// Bytes of the buffer all sockets are read into.
const SCRATCH_BYTES: usize = 16 * 1024;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 2 * (CONNECTIONS_MAX + PROBES_MAX + ADMIN_MAX);

/// Connections accepted in one turn.
const BURST_MAX: usize = 64;

/// Milliseconds that accepting rests when the process has no file descriptor left.
const REST_MS: u64 = 50;

/// See the module.
#[derive(Debug)]
pub(crate) struct ServicePort {
    poll: Poll,
    /// None when the port is closed.
    listeners: Vec<Listener>,
    local: SocketAddr,
    links: Slab<Link>,
    /// Questions to the helpers so far.
    asked: u64,
    desk: Arc<Desk>,
    helpers: Helpers,
    /// Somebody has begun to wait for a change that may have come before.
    look: bool,
    closed: Arc<AtomicBool>,
    scratch: Box<[u8]>,
    start: Instant,
    now: Millis,
    /// When those still served at the close are given up.
    until: Option<Millis>,
    starved: bool,
}

/// Where connections come from.
#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    admin: bool,
    /// There may be somebody to accept, from then on.
    due: Option<Millis>,
}

impl ServicePort {
    /// Serves this listener, and the one for administrators, if there is one.
    ///
    /// # Errors
    ///
    /// If a poll or a thread cannot be had.
    pub(crate) fn new(
        (public, admin): (TcpListener, Option<TcpListener>),
        mut settings: ServiceSettings,
        office: Arc<dyn Office>,
        registry: Arc<dyn ClusterRegistry>,
    ) -> io::Result<(Self, ServiceHandle)> {
        let poll = Poll::new()?;
        let local = public.local_addr()?;
        settings.admin = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        let sockets = [Some(public), admin].into_iter().flatten();
        let mut listeners: Vec<Listener> = sockets.zip([false, true]).map(Listener::new).collect();
        for (listener, token) in listeners.iter_mut().zip(LISTENERS) {
            let registry = poll.registry();
            registry.register(&mut listener.socket, token, Interest::READABLE)?;
        }
        let handle = ServiceHandle {
            changed: Arc::new(AtomicBool::new(false)),
            closed: Arc::new(AtomicBool::new(false)),
            waker: Arc::new(Waker::new(poll.registry(), WAKER)?),
        };
        let changed = Arc::clone(&handle.changed);
        let desk = Arc::new(Desk::new(settings, office, registry, changed));
        let port = Self {
            poll,
            listeners,
            local,
            links: Slab::new(),
            asked: 0,
            helpers: Helpers::start(&desk, &handle.waker)?,
            desk,
            look: false,
            closed: Arc::clone(&handle.closed),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            start: now(),
            now: Millis::default(),
            until: None,
            starved: false,
        };
        Ok((port, handle))
    }

    /// Where it listens: the port is known even if any was asked for.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The same of the admin listener, if there is one.
    pub(crate) fn admin_addr(&self) -> Option<SocketAddr> {
        self.desk.settings.admin
    }

    /// Serves until closed.
    ///
    /// # Errors
    ///
    /// If the kernel no longer tells what happens.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_done() {
            self.poll(&mut events)?;
            for event in &events {
                self.event(event);
            }
            for index in 0..self.listeners.len() {
                self.accept(index);
            }
            self.desk.counters.set_connections(self.links.len());
            self.take_done();
            self.turns();
            self.tell_changes();
            self.close();
            self.links.retain(|_, link| !link.connection.has_ended());
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let late = |until: Millis| self.now >= until;
        self.until.is_some_and(late) || self.listeners.is_empty() && self.links.is_empty()
    }

    /// Waits for something to do; the clock is read once, here.
    fn poll(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            let deadlines = self
                .links
                .iter()
                .filter_map(|(_, it)| it.connection.deadline());
            let deadlines = deadlines.chain(self.next_accept()).chain(self.until);
            let first = deadlines.min();
            first.map(|at| Duration::from_millis(at.since(self.now)))
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            outcome => outcome?,
        }
        let elapsed = now().duration_since(self.start);
        self.now = Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn has_work(&self) -> bool {
        self.links.iter().any(|(_, link)| link.has_work())
            || self.desk.has_changed()
            || self.next_accept().is_some_and(|at| self.now >= at)
    }

    fn next_accept(&self) -> Option<Millis> {
        self.listeners.iter().filter_map(|it| it.due).min()
    }

    fn event(&mut self, event: &Event) {
        let token = event.token();
        let listeners = self.listeners.iter_mut().zip(LISTENERS);
        if let Some((listener, _)) = listeners.into_iter().find(|(_, it)| *it == token) {
            listener.due = Some(self.now);
        } else if let Some(link) = self.links.get_mut(token.0) {
            link.hung_up |= event.is_read_closed() || event.is_error();
            link.readable |= event.is_readable() || link.hung_up;
            link.writable |= event.is_writable();
        }
    }

    /// Accepts some at a listener, if it is time to.
    fn accept(&mut self, index: usize) {
        for _ in 0..BURST_MAX {
            let now = self.now;
            let listener = self.listeners.get_mut(index);
            let Some(listener) = listener.filter(|it| it.due.is_some_and(|at| now >= at)) else {
                return;
            };
            if !places::any(&self.links, listener.admin, now) {
                // They wait in the kernel's queue.
                listener.due = Some(now.after(PROBE_MS));
                return;
            }
            match listener.socket.accept() {
                Ok((stream, peer)) => {
                    self.starved = false;
                    let caller = Caller {
                        peer: peer.ip().to_canonical(),
                        admin: listener.admin,
                    };
                    self.welcome(stream, caller);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.due = None,
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: they wait in the kernel's queue.
                    if !std::mem::replace(&mut self.starved, true) {
                        log::warn!("service port: accepting rests: {error}");
                    }
                    listener.due = Some(now.after(REST_MS));
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: TcpStream, caller: Caller) {
        let Some(place) = places::find(&self.links, caller.peer, caller.admin, self.now) else {
            let response = self.desk.exhausted(Limit::Connections);
            return refuse(
                &mut stream,
                &response.into_bytes(false, After::Close),
                &mut self.scratch,
            );
        };
        if place.peer_is_full {
            self.desk.counters.reached(Limit::Peer);
        }
        if let Some(index) = place.instead_of {
            self.desk.counters.reached(Limit::Connections);
            self.links.remove(index);
        }
        let entry = self.links.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| registry.register(&mut stream, Token(entry.key()), both));
        if let Err(error) = ready {
            let peer = caller.peer;
            log::debug!("service port: the connection from {peer} is of no use: {error}");
            return;
        }
        let connection = Connection::new(caller, place.class, self.now);
        entry.insert(Link::new(stream, connection));
    }

    /// Gives every connection its turn.
    fn turns(&mut self) {
        let mut parked = self.parked();
        for (index, link) in &mut self.links {
            parked -= usize::from(link.connection.is_parked());
            let turn = Turn {
                desk: &self.desk,
                now: self.now,
                parked,
            };
            link.turn(&turn, &mut self.scratch);
            if let Some((place, request)) = link.connection.question(self.asked + 1) {
                self.asked += 1;
                let asker = (index, self.asked);
                let job = Job::Call(asker, link.connection.caller(), request);
                if !self.helpers.ask(place, job) {
                    link.connection.unanswered(&turn);
                }
            }
            parked += usize::from(link.connection.is_parked());
        }
    }

    fn parked(&self) -> usize {
        let parked = self.links.iter();
        parked
            .filter(|(_, link)| link.connection.is_parked())
            .count()
    }

    /// Takes what the helpers have done.
    fn take_done(&mut self) {
        while let Some(done) = self.helpers.next_done() {
            let turn = Turn {
                desk: &self.desk,
                now: self.now,
                parked: self.parked(),
            };
            match done {
                Done::Answer((index, number), answer) => {
                    // It may have gone meanwhile, and another have its place.
                    if let Some(link) = self.links.get_mut(index) {
                        link.connection.answered(number, answer, &turn);
                        self.look |= link.connection.is_parked();
                    }
                }
                Done::List(etag, list) => {
                    for (_, link) in &mut self.links {
                        link.connection.changed(&etag, &list, &turn);
                    }
                }
            }
        }
    }

    /// Has whoever waits for the clusters to change answered, if they may have.
    fn tell_changes(&mut self) {
        if !self.desk.take_changed() & !std::mem::take(&mut self.look) {
            return;
        }
        let parked = self.links.iter();
        let known = parked.filter_map(|(_, link)| link.connection.parked_with());
        let mut known: Vec<String> = known.map(str::to_owned).collect();
        known.sort_unstable();
        known.dedup();
        if !known.is_empty() && !self.helpers.ask(Place::Call, Job::Compare(known)) {
            // There are many other calls: as soon as one of them is done.
            self.look = true;
        }
    }

    /// Begins to close, if it is time to.
    fn close(&mut self) {
        if self.listeners.is_empty() || !self.closed.load(Ordering::Acquire) {
            return;
        }
        self.listeners.clear();
        self.until = Some(self.now.after(CLOSE_MS));
        let turn = Turn {
            desk: &self.desk,
            now: self.now,
            parked: 0,
        };
        for (_, link) in &mut self.links {
            link.connection.close(&turn);
        }
    }
}

impl Listener {
    fn new((socket, admin): (TcpListener, bool)) -> Self {
        Self {
            socket,
            admin,
            due: None,
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the service port has a thread and a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
