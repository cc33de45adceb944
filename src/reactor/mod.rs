//! One worker: mio sockets and the clock around a [`Machine`].
//!
//! The reactor makes every system call of the data path, and the machine every decision. A turn of
//! the loop consists of the phases in [`Reactor::run`], in that order, one function each. What
//! happens on one connection reaches another only through the queues of the machine.

mod accept;
mod batching;
mod inbox;
mod keepalive;
mod process_handle;
mod socket;
mod time_slice;
mod token;
mod transfer;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Poll, Waker};

use crate::cluster::Snapshot;
use crate::proxy::{
    Action, Answer, ClientKey, ConnKey, Failure, Key, LinkKey, Machine, Millis, Origin, Settings,
    StatsRequest, WorkerStats,
};

pub(crate) use inbox::{Inbox, Message};
pub(crate) use keepalive::Keepalive;
pub(crate) use process_handle::{AcceptOutcome, AcceptedClient, ProcessHandle};

use batching::Batching;
use socket::{Socket, Sockets};
use time_slice::TimeSlice;

/// Events taken from the kernel at once: fewer favour latency, more favour throughput.
const EVENTS_MAX: usize = 512;

/// The duration that is passed to `sleep`: the shortest possible one. The sleep itself takes about
/// 50 microseconds on Linux, the default timer slack of a thread.
const SHORTEST_SLEEP: Duration = Duration::from_nanos(1);

pub(crate) struct Reactor<O> {
    poll: Poll,
    machine: Machine,
    clients: Sockets,
    links: Sockets,
    inbox: Receiver<Message>,
    process: O,
    /// The number of this worker.
    worker: u16,
    /// Keepalive of backend connections; clients inherit it from the listener.
    keepalive: Keepalive,
    start: Instant,
    now: Millis,
    /// Connections to read in the next turn, though no event may come for them.
    unread: Vec<ConnKey>,
    /// Connections to write in the next turn, though the machine may have nothing new for them.
    unwritten: Vec<ConnKey>,
    turn: Turns,
    slice: TimeSlice,
    batching: Batching,
    listener: accept::ListenerState,
    inbox_ready: bool,
    stop: bool,
}

/// Count and durations of turns. A turn lasts from the end of one poll to the beginning of the
/// next.
#[derive(Default)]
struct Turns {
    began_us: u64,
    count: u64,
    busy_us: u64,
    longest_us: u64,
}

/// Makes the poll and the inbox of a worker, whose reactor is made later on its own thread.
pub(crate) fn poll_and_inbox() -> io::Result<(Poll, Inbox, Receiver<Message>)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), token::WAKER)?;
    let (inbox, receiver) = Inbox::new(waker);
    Ok((poll, inbox, receiver))
}

impl<O: ProcessHandle> Reactor<O> {
    /// A worker without clients. `start` is that of the process: all workers count time from it.
    pub(crate) fn new(
        (poll, inbox): (Poll, Receiver<Message>),
        settings: Settings,
        keepalive: Keepalive,
        batching: bool,
        snapshot: Arc<Snapshot>,
        process: O,
        start: Instant,
    ) -> Self {
        Self {
            poll,
            worker: settings.worker,
            keepalive,
            machine: Machine::new(settings, snapshot),
            clients: Sockets::default(),
            links: Sockets::default(),
            inbox,
            process,
            start,
            now: Millis::default(),
            unread: Vec::new(),
            unwritten: Vec::new(),
            turn: Turns::default(),
            slice: TimeSlice::default(),
            batching: Batching::new(batching),
            listener: accept::ListenerState::default(),
            inbox_ready: false,
            stop: false,
        }
    }

    /// Runs until drained or stopped. Returns the machine for its counters.
    pub(crate) fn run(mut self) -> io::Result<Machine> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.register_listener()?;
        while !self.stop && !self.machine.is_drained() {
            self.poll(&mut events)?;
            self.read_unread();
            self.events(&events);
            self.accept(&events)?;
            self.read_inbox();
            self.machine.resume();
            self.actions();
            self.machine.tick();
            self.flush();
            self.actions();
            self.end_turn();
        }
        Ok(self.machine)
    }

    /// Waits for events. The time at which the wait ends is the time of the turn.
    fn poll(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = if self.unread.is_empty() && self.unwritten.is_empty() {
            let deadlines = [self.machine.next_deadline(), self.listener.paused_until()];
            let next = deadlines.into_iter().flatten().min();
            next.map(|at| Duration::from_millis(at.since(self.now)))
        } else {
            Some(Duration::ZERO)
        };
        if timeout != Some(Duration::ZERO) {
            self.batch();
        }
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            outcome => outcome?,
        }
        self.turn.began_us = self.clock_us();
        self.slice.begin(self.turn.began_us);
        self.now = Millis(self.turn.began_us / 1000);
        self.machine.clock(self.turn.began_us);
        Ok(())
    }

    /// Sleeps for a moment, if batching is worth it.
    fn batch(&mut self) {
        let now = self.clock_us();
        let (requests, in_flight) = self.machine.load();
        if self.batching.is_due(now, requests, in_flight) {
            #[allow(
                clippy::disallowed_methods,
                reason = "the sleep is bounded, and under load no request takes longer"
            )]
            thread::sleep(SHORTEST_SLEEP);
            self.batching.slept(now, self.clock_us() - now);
        }
    }

    #[inline]
    fn clock_us(&self) -> u64 {
        us_since(self.start)
    }

    fn end_turn(&mut self) {
        let us = self.clock_us().saturating_sub(self.turn.began_us);
        self.turn.count += 1;
        self.turn.busy_us += us;
        self.turn.longest_us = self.turn.longest_us.max(us);
    }

    fn collect_stats(&mut self, wanted: &StatsRequest) -> WorkerStats {
        WorkerStats {
            turns: self.turn.count,
            busy_us: self.turn.busy_us,
            longest_turn_us: mem::take(&mut self.turn.longest_us),
            ..self.machine.collect_stats(wanted)
        }
    }

    /// Handles the events of the turn. Clients that hung up come first, and their pending blocking
    /// commands are cancelled before any reply is read: a popped element must not be lost.
    fn events(&mut self, events: &Events) {
        let hung_up = |event: &Event, key| {
            let gone = event.is_read_closed() || event.is_error();
            gone && matches!(key, ConnKey::Client(_))
        };
        let mut any = false;
        for event in events {
            if let Some(key) = token::decode(event.token()).filter(|&key| hung_up(event, key)) {
                self.event(key, event);
                any = true;
            }
        }
        if any {
            self.actions();
        }
        for event in events {
            match token::decode(event.token()) {
                Some(key) if hung_up(event, key) => {}
                Some(key) => self.event(key, event),
                None if event.token() == token::LISTENER => self.listener.set_ready(),
                None => self.inbox_ready = true,
            }
        }
    }

    fn event(&mut self, key: ConnKey, event: &Event) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        if event.is_read_closed() || event.is_error() {
            socket.hung_up = true;
        }
        if socket.connecting {
            let ConnKey::Link(key) = key else { return };
            return self.connected(key);
        }
        let read_queued = socket.read_queued;
        if event.is_writable() && !mem::replace(&mut socket.writable, true) {
            self.write_later(key);
        }
        let reads = event.is_readable() || event.is_read_closed() || event.is_error();
        // A socket that is queued for reading keeps its place in the queue.
        if reads && !read_queued {
            self.read(key);
        }
    }

    #[inline]
    fn socket(&mut self, key: ConnKey) -> Option<&mut Socket> {
        match key {
            ConnKey::Client(key) => self.clients.get(key.index(), key.generation()),
            ConnKey::Link(key) => self.links.get(key.index(), key.generation()),
        }
    }

    fn lost(&mut self, key: LinkKey, failure: &Failure) {
        self.links.take(key.index(), key.generation());
        self.machine.link_failed(key, failure);
    }

    fn drop_client(&mut self, key: ClientKey) {
        if self.clients.take(key.index(), key.generation()).is_some() {
            self.process.client_closed();
        }
    }

    /// Takes the messages in the inbox, if the waker has been called.
    fn read_inbox(&mut self) {
        if !mem::take(&mut self.inbox_ready) {
            return;
        }
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Client(stream, origin) => self.open_client(stream, origin),
                Message::Snapshot(snapshot) => self.machine.registry_changed(snapshot),
                Message::Question(from, ticket, question) => {
                    let answer = self.machine.question_from_worker(question);
                    if let Some(peer) = self.process.peers().get(usize::from(from)) {
                        peer.send(Message::Answer(ticket, answer));
                    }
                }
                Message::Answer(ticket, answer) => self.machine.answer_from_worker(ticket, answer),
                Message::Collect(wanted, to) => {
                    // The sender may have stopped waiting.
                    let _ = to.send(self.collect_stats(&wanted));
                }
                Message::Pause(tenant, ms) => self.machine.pause(&tenant, ms),
                Message::Unpause(tenant) => self.machine.unpause(&tenant),
                Message::Drain => self.drain(),
                Message::Stop => self.stop = true,
            }
        }
    }

    fn open_client(&mut self, stream: TcpStream, origin: Origin) {
        let key = self.machine.client_opened(origin);
        let mut socket = Socket::new(stream, key.generation());
        match socket.register(self.poll.registry(), token::encode(ConnKey::Client(key))) {
            Ok(()) => {
                log::debug!(
                    "client: connected client={} peer={}",
                    origin.id,
                    origin.peer
                );
                if self.clients.put(key.index(), socket).is_some() {
                    self.process.client_closed();
                }
            }
            Err(error) => {
                let (client, peer) = (origin.id, origin.peer);
                log::warn!(
                    "client: registration failed client={client} peer={peer} reason=\"{error}\""
                );
                self.machine.client_closed(key);
                self.process.client_closed();
            }
        }
    }

    /// Carries out the actions that the machine requests.
    fn actions(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Connect(key, to) => self.connect(key, to),
                Action::Close(ConnKey::Client(key)) => self.drop_client(key),
                Action::Close(ConnKey::Link(key)) => {
                    self.links.take(key.index(), key.generation());
                }
                Action::Resume(key) => {
                    if let Some(socket) = self.socket(key) {
                        socket.paused = false;
                        if mem::take(&mut socket.unread) {
                            self.read_later(key);
                        }
                    }
                }
                Action::Ask(ticket, question) => {
                    for (worker, peer) in self.process.peers().iter().enumerate() {
                        let question = || Message::Question(self.worker, ticket, question.clone());
                        if worker != usize::from(self.worker) && !peer.send(question()) {
                            // That worker has ended, so it has no clients.
                            self.machine.answer_from_worker(ticket, Answer::Gone);
                        }
                    }
                }
                Action::HealthEvent(event) => self.process.health_event(event),
                Action::Notice(notice) => log::warn!("{notice}"),
            }
        }
    }

    fn connect(&mut self, key: LinkKey, to: SocketAddr) {
        let opened = Socket::connect(to, key.generation()).and_then(|mut socket| {
            let token = token::encode(ConnKey::Link(key));
            socket.register(self.poll.registry(), token)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => {
                self.links.put(key.index(), socket);
            }
            Err(error) => self.lost(key, &socket::connect_failure(&error)),
        }
    }

    fn connected(&mut self, key: LinkKey) {
        let Some(socket) = self.links.get(key.index(), key.generation()) else {
            return;
        };
        match socket.connected(self.keepalive) {
            None => {}
            Some(Ok(())) => {
                self.machine.link_connected(key);
                // A server at its connection limit sends an error and hangs up in the same event.
                self.read_later(ConnKey::Link(key));
            }
            Some(Err(error)) => self.lost(key, &socket::connect_failure(&error)),
        }
    }
}

/// The clock of a worker.
#[allow(
    clippy::disallowed_methods,
    reason = "the clock of a worker is read only here"
)]
#[inline]
fn us_since(start: Instant) -> u64 {
    let elapsed = Instant::now().duration_since(start);
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
