//! The service port's thread: a listener, a few sockets, a clock.
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
use super::http::After;
use super::limits::{CLOSE_MS, CONNECTIONS_MAX};
use super::link::{Link, refuse};

/// No connection has so high a number.
const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Bytes of the buffer all sockets are read into.
const SCRATCH_BYTES: usize = 16 * 1024;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 2 * CONNECTIONS_MAX;

/// Connections accepted in one turn.
const BURST_MAX: usize = 64;

/// Milliseconds that accepting rests when the process has no file descriptor left.
const REST_MS: u64 = 50;

/// See the module.
#[derive(Debug)]
pub(crate) struct ServicePort {
    poll: Poll,
    /// Gone when the port is closed.
    listener: Option<TcpListener>,
    local: SocketAddr,
    links: Slab<Link>,
    desk: Desk,
    closed: Arc<AtomicBool>,
    scratch: Box<[u8]>,
    start: Instant,
    now: Millis,
    /// There may be somebody to accept, from then on.
    accept_at: Option<Millis>,
    /// When those still served at the close are given up.
    until: Option<Millis>,
    starved: bool,
}

/// How other threads reach the service port; any may have one.
#[derive(Debug, Clone)]
pub(crate) struct ServiceHandle {
    changed: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl ServiceHandle {
    /// The clusters have changed: whoever waits for that is answered.
    pub(crate) fn changed(&self) {
        self.changed.store(true, Ordering::Release);
        self.wake();
    }

    /// No new connections and requests; responses on their way may arrive, for a second at most.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the service port cannot be woken: {error}");
        }
    }
}

impl ServicePort {
    /// Listens.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or a poll cannot be had.
    pub(crate) fn bind(
        address: SocketAddr,
        settings: ServiceSettings,
        office: Arc<dyn Office>,
        registry: Arc<dyn ClusterRegistry>,
    ) -> io::Result<(Self, ServiceHandle)> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        let local = listener.local_addr()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let handle = ServiceHandle {
            changed: Arc::new(AtomicBool::new(false)),
            closed: Arc::new(AtomicBool::new(false)),
            waker: Arc::new(Waker::new(poll.registry(), WAKER)?),
        };
        let changed = Arc::clone(&handle.changed);
        let port = Self {
            poll,
            listener: Some(listener),
            local,
            links: Slab::new(),
            desk: Desk::new(settings, office, registry, changed),
            closed: Arc::clone(&handle.closed),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            start: now(),
            now: Millis::default(),
            accept_at: None,
            until: None,
            starved: false,
        };
        Ok((port, handle))
    }

    /// Where it listens: the port is known even if any was asked for.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
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
            self.accept();
            self.desk.counters.set_connections(self.links.len());
            self.turns();
            self.tell_changes();
            self.close();
            self.links.retain(|_, link| !link.connection.has_ended());
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let late = |until: Millis| self.now >= until;
        self.until.is_some_and(late) || self.listener.is_none() && self.links.is_empty()
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
            let deadlines = deadlines.chain(self.accept_at).chain(self.until);
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
            || self.accept_at.is_some_and(|at| self.now >= at)
    }

    fn event(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.accept_at = Some(self.now),
            WAKER => {}
            Token(index) => {
                if let Some(link) = self.links.get_mut(index) {
                    link.hung_up |= event.is_read_closed() || event.is_error();
                    link.readable |= event.is_readable() || link.hung_up;
                    link.writable |= event.is_writable();
                }
            }
        }
    }

    /// Accepts some, if it is time to.
    fn accept(&mut self) {
        if self.accept_at.is_none_or(|at| self.now < at) {
            return;
        }
        for _ in 0..BURST_MAX {
            let Some(listener) = &self.listener else {
                self.accept_at = None;
                return;
            };
            match listener.accept() {
                Ok((stream, peer)) => {
                    self.starved = false;
                    self.welcome(stream, peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accept_at = None;
                    return;
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: they wait in the kernel's queue.
                    if !std::mem::replace(&mut self.starved, true) {
                        log::warn!("service port: accepting rests: {error}");
                    }
                    self.accept_at = Some(self.now.after(REST_MS));
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        if self.links.len() >= CONNECTIONS_MAX && !self.make_room() {
            let response = self.desk.exhausted(Limit::Connections);
            return refuse(
                &mut stream,
                &response.into_bytes(false, After::Close),
                &mut self.scratch,
            );
        }
        let entry = self.links.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| registry.register(&mut stream, Token(entry.key()), both));
        if let Err(error) = ready {
            log::debug!("service port: the connection from {peer} is of no use: {error}");
            return;
        }
        let connection = Connection::new(peer.ip(), self.now);
        entry.insert(Link::new(stream, connection));
    }

    /// Closes the connection that can be spared most easily; false if there is none.
    fn make_room(&mut self) -> bool {
        let dispensable = self.links.iter().filter_map(|(index, link)| {
            let rank = link.connection.dispensable(self.now)?;
            Some((rank, index))
        });
        let Some((_, index)) = dispensable.min() else {
            return false;
        };
        self.desk.counters.reached(Limit::Connections);
        self.links.remove(index);
        true
    }

    /// Gives every connection its turn.
    fn turns(&mut self) {
        let mut parked = self.parked();
        for (_, link) in &mut self.links {
            parked -= usize::from(link.connection.is_parked());
            let turn = Turn {
                desk: &self.desk,
                now: self.now,
                parked,
            };
            link.turn(&turn, &mut self.scratch);
            parked += usize::from(link.connection.is_parked());
        }
    }

    fn parked(&self) -> usize {
        let parked = self.links.iter();
        parked
            .filter(|(_, link)| link.connection.is_parked())
            .count()
    }

    /// Answers whoever waits for the clusters to change, if they have.
    fn tell_changes(&mut self) {
        if !self.desk.take_changed() || self.parked() == 0 {
            return;
        }
        let etag = self.desk.etag();
        let mut links = self.links.iter();
        if !links.any(|(_, link)| link.connection.waits_for_other(&etag)) {
            return;
        }
        // One list for all.
        let (etag, list) = self.desk.list();
        let turn = Turn {
            desk: &self.desk,
            now: self.now,
            parked: 0,
        };
        for (_, link) in &mut self.links {
            link.connection.changed(&etag, &list, &turn);
        }
    }

    /// Begins to close, if it is time to.
    fn close(&mut self) {
        if self.listener.is_none() || !self.closed.load(Ordering::Acquire) {
            return;
        }
        self.listener = None;
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

/// Did the peer go before it was accepted?
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
    )
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
