//! The thread of the service port: listeners, sockets, a clock.
//!
//! There are few connections, so each turn of the loop serves all of them. The decisions about one
//! connection are made in [`connection`](super::connection).

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

use super::access::Caller;
use super::admission;
use super::call_threads::{CallThreads, Done, Job};
use super::connection::{Connection, Turn};
use super::context::{Context, ServiceSettings};
use super::counters::Limit;
use super::handle::ServiceHandle;
use super::http::After;
use super::limits::{ADMIN_MAX, CLOSE_MS, CONNECTIONS_MAX, PROBE_MS, PROBES_MAX};
use super::routes::Thread;
use super::socket::{Socket, is_peer_gone, refuse};
use super::{Control, now};

/// No connection has such a high index.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: [Token; 2] = [Token(usize::MAX - 1), Token(usize::MAX - 2)];

/// Bytes of the buffer for all reads.
const SCRATCH_BYTES: usize = 16 * 1024;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 2 * (CONNECTIONS_MAX + PROBES_MAX + ADMIN_MAX);

/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Milliseconds that accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE_MS: u64 = 50;

#[derive(Debug)]
pub(crate) struct ServicePort {
    poll: Poll,
    /// Empty once the port is closed.
    listeners: Vec<Listener>,
    local: SocketAddr,
    sockets: Slab<Socket>,
    /// Calls given to other threads so far.
    asked: u64,
    context: Arc<Context>,
    threads: CallThreads,
    /// A request has begun to wait for a change that may have happened already.
    compare: bool,
    closed: Arc<AtomicBool>,
    scratch: Box<[u8]>,
    start: Instant,
    now: Millis,
    /// When the connections that are left at the close are dropped.
    until: Option<Millis>,
    starved: bool,
}

/// A listening socket.
#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    admin: bool,
    /// There may be a connection to accept, from this time on.
    due: Option<Millis>,
}

impl ServicePort {
    /// Serves this listener, and the admin listener if there is one.
    ///
    /// # Errors
    ///
    /// If a poll or a thread cannot be created.
    pub(crate) fn new(
        (public, admin): (TcpListener, Option<TcpListener>),
        mut settings: ServiceSettings,
        control: Arc<dyn Control>,
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
        let context = Arc::new(Context::new(settings, control, registry, changed));
        let port = Self {
            poll,
            listeners,
            local,
            sockets: Slab::new(),
            asked: 0,
            threads: CallThreads::start(&context, &handle.waker)?,
            context,
            compare: false,
            closed: Arc::clone(&handle.closed),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            start: now(),
            now: Millis::default(),
            until: None,
            starved: false,
        };
        Ok((port, handle))
    }

    /// The address of the service port, with the port that the system chose if 0 was configured.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The address of the admin listener, if there is one.
    pub(crate) fn admin_addr(&self) -> Option<SocketAddr> {
        self.context.settings.admin
    }

    /// Serves until closed.
    ///
    /// # Errors
    ///
    /// If polling fails.
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
            self.context.counters.set_connections(self.sockets.len());
            self.take_done();
            self.serve_connections();
            self.notify_parked();
            self.close();
            self.sockets
                .retain(|_, socket| !socket.connection.has_ended());
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let late = |until: Millis| self.now >= until;
        self.until.is_some_and(late) || self.listeners.is_empty() && self.sockets.is_empty()
    }

    /// Waits for events, then reads the clock, once a turn.
    fn poll(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            let deadlines = self
                .sockets
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
        self.sockets.iter().any(|(_, socket)| socket.has_work())
            || self.context.has_changed()
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
        } else if let Some(socket) = self.sockets.get_mut(token.0) {
            socket.hung_up |= event.is_read_closed() || event.is_error();
            socket.readable |= event.is_readable() || socket.hung_up;
            socket.writable |= event.is_writable();
        }
    }

    /// Accepts connections from a listener, if it is due.
    fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            let now = self.now;
            let listener = self.listeners.get_mut(index);
            let Some(listener) = listener.filter(|it| it.due.is_some_and(|at| now >= at)) else {
                return;
            };
            if !admission::any(&self.sockets, listener.admin, now) {
                // Connections wait in the kernel's queue.
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
                    self.open_connection(stream, caller);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.due = None,
                Err(error) if is_peer_gone(&error) => {}
                Err(error) => {
                    // No descriptors or memory left: connections wait in the kernel's queue.
                    if !std::mem::replace(&mut self.starved, true) {
                        log::warn!("service port: accepting paused reason=\"{error}\"");
                    }
                    listener.due = Some(now.after(ACCEPT_PAUSE_MS));
                }
            }
        }
    }

    fn open_connection(&mut self, mut stream: TcpStream, caller: Caller) {
        let Some(thread) = admission::find(&self.sockets, caller.peer, caller.admin, self.now)
        else {
            let response = self.context.exhausted(Limit::Connections);
            return refuse(
                &mut stream,
                &response.into_bytes(false, After::Close),
                &mut self.scratch,
            );
        };
        if thread.peer_is_full {
            self.context.counters.reached(Limit::Peer);
        }
        if let Some(index) = thread.instead_of {
            self.context.counters.reached(Limit::Connections);
            self.sockets.remove(index);
        }
        let entry = self.sockets.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| registry.register(&mut stream, Token(entry.key()), both));
        if let Err(error) = ready {
            let peer = caller.peer;
            log::debug!("service port: registration failed peer={peer} reason=\"{error}\"");
            return;
        }
        let connection = Connection::new(caller, thread.class, self.now);
        entry.insert(Socket::new(stream, connection));
    }

    /// Serves every connection once.
    fn serve_connections(&mut self) {
        let mut parked = self.parked();
        for (index, socket) in &mut self.sockets {
            parked -= usize::from(socket.connection.is_parked());
            let turn = Turn {
                context: &self.context,
                now: self.now,
                parked,
            };
            socket.turn(&turn, &mut self.scratch);
            if let Some((thread, request)) = socket.connection.call(self.asked + 1) {
                self.asked += 1;
                let call = (index, self.asked);
                let job = Job::Call(call, socket.connection.caller(), request);
                if !self.threads.queue(thread, job) {
                    socket.connection.call_rejected(&turn);
                }
            }
            parked += usize::from(socket.connection.is_parked());
        }
    }

    fn parked(&self) -> usize {
        let parked = self.sockets.iter();
        parked
            .filter(|(_, socket)| socket.connection.is_parked())
            .count()
    }

    /// Takes the results of calls.
    fn take_done(&mut self) {
        while let Some(done) = self.threads.next_done() {
            let turn = Turn {
                context: &self.context,
                now: self.now,
                parked: self.parked(),
            };
            match done {
                Done::Answer((index, number), answer) => {
                    // The connection may have closed since, and another one may have its index.
                    if let Some(socket) = self.sockets.get_mut(index) {
                        socket.connection.answered(number, answer, &turn);
                        self.compare |= socket.connection.is_parked();
                    }
                }
                Done::List(etag, list) => {
                    for (_, socket) in &mut self.sockets {
                        socket.connection.changed(&etag, &list, &turn);
                    }
                }
            }
        }
    }

    /// Compares the ETags of waiting requests with the present clusters, if these may have changed.
    fn notify_parked(&mut self) {
        if !self.context.take_changed() & !std::mem::take(&mut self.compare) {
            return;
        }
        let parked = self.sockets.iter();
        let known = parked.filter_map(|(_, socket)| socket.connection.parked_with());
        let mut known: Vec<String> = known.map(str::to_owned).collect();
        known.sort_unstable();
        known.dedup();
        if !known.is_empty() && !self.threads.queue(Thread::Call, Job::Compare(known)) {
            // The queue is full; try again when a call is done.
            self.compare = true;
        }
    }

    /// Closes the port, if asked to.
    fn close(&mut self) {
        if self.listeners.is_empty() || !self.closed.load(Ordering::Acquire) {
            return;
        }
        self.listeners.clear();
        self.until = Some(self.now.after(CLOSE_MS));
        let turn = Turn {
            context: &self.context,
            now: self.now,
            parked: 0,
        };
        for (_, socket) in &mut self.sockets {
            socket.connection.close(&turn);
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

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
