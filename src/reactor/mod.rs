//! One worker: mio's sockets and the clock around a [`Machine`].
//!
//! It owns every system call of the data path and no decision. A turn of the loop has the phases
//! of [`Reactor::run`], in that order, one function each; what one connection does to another goes
//! through the machine's queues, never through a call.

mod accept;
mod gather;
mod inbox;
mod keepalive;
mod pace;
mod socket;
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
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Waker};

use crate::cluster::Snapshot;
use crate::proxy::{
    Action, Answer, ClientKey, ConnKey, Failure, Key, LinkKey, Machine, Millis, Origin, Settings,
    Survey, Wanted,
};

pub(crate) use accept::{Accepted, Newcomer};
pub(crate) use inbox::{Inbox, Message};
pub(crate) use keepalive::Keepalive;

use gather::Gather;
use pace::Pace;
use socket::{Socket, Sockets};

/// Events taken from the kernel at once: fewer favour latency, more bandwidth.
const EVENTS_MAX: usize = 512;

/// As short as the system can; Linux makes some 50 microseconds of it, a thread's timer slack.
const SHORTEST_SLEEP: Duration = Duration::from_nanos(1);

/// What a worker tells the rest of the process.
pub(crate) trait Outside: Send {
    /// A client of this worker is gone.
    fn client_gone(&self);
    /// Something happened to an instance.
    fn report(&self, report: crate::proxy::Report);
    /// The inboxes of all workers, by number.
    fn peers(&self) -> &[Inbox];
    /// Where clients connect, if this worker accepts for all.
    fn listener(&mut self) -> Option<&mut TcpListener>;
    /// Accepts at most `max` clients. Adds this worker's to `mine`, and hands the others on.
    fn accept(&mut self, max: usize, now_us: u64, mine: &mut Vec<Newcomer>) -> Accepted;
    /// No new clients from now on. `false`: this worker does not accept.
    fn close_listener(&mut self) -> bool;
}

/// See the module.
pub(crate) struct Reactor<O> {
    poll: Poll,
    machine: Machine,
    clients: Sockets,
    links: Sockets,
    inbox: Receiver<Message>,
    outside: O,
    /// Which worker this is.
    worker: u16,
    /// Of connections to backends; clients' have it from the listener.
    keepalive: Keepalive,
    start: Instant,
    now: Millis,
    /// To be read in this turn though no event may say so.
    unread: Vec<ConnKey>,
    /// To be written in this turn though the machine has nothing new for them.
    unwritten: Vec<ConnKey>,
    turn: Turns,
    pace: Pace,
    gather: Gather,
    door: accept::Door,
    mail: bool,
    stop: bool,
}

/// The turns of the loop so far, and how long they took from the end of the poll on.
#[derive(Default)]
struct Turns {
    began_us: u64,
    count: u64,
    busy_us: u64,
    longest_us: u64,
}

/// Makes a worker's poll and the inbox that wakes it; the reactor itself is made on its thread.
pub(crate) fn poll_and_inbox() -> io::Result<(Poll, Inbox, Receiver<Message>)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), token::WAKER)?;
    let (inbox, receiver) = Inbox::new(waker);
    Ok((poll, inbox, receiver))
}

impl<O: Outside> Reactor<O> {
    /// A worker without clients. `start` is the process's: all workers count from it.
    pub(crate) fn new(
        (poll, inbox): (Poll, Receiver<Message>),
        settings: Settings,
        keepalive: Keepalive,
        snapshot: Arc<Snapshot>,
        outside: O,
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
            outside,
            start,
            now: Millis::default(),
            unread: Vec::new(),
            unwritten: Vec::new(),
            turn: Turns::default(),
            pace: Pace::default(),
            gather: Gather::default(),
            door: accept::Door::default(),
            mail: false,
            stop: false,
        }
    }

    /// Runs until told to stop, or drained. Returns the machine, for its counters.
    pub(crate) fn run(mut self) -> io::Result<Machine> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.open_door()?;
        while !self.stop && !self.machine.is_drained() {
            self.poll(&mut events)?;
            self.read_on();
            self.events(&events);
            self.accept(&events)?;
            self.open_mail();
            self.machine.resume();
            self.actions();
            self.machine.tick();
            self.flush();
            self.actions();
            self.end_turn();
        }
        Ok(self.machine)
    }

    /// Waits for something to do; what the turn goes by is the time at its end.
    fn poll(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = if self.unread.is_empty() && self.unwritten.is_empty() {
            let deadlines = [self.machine.next_deadline(), self.door.rests_until()];
            let next = deadlines.into_iter().flatten().min();
            next.map(|at| Duration::from_millis(at.since(self.now)))
        } else {
            Some(Duration::ZERO)
        };
        if timeout != Some(Duration::ZERO) {
            self.gather();
        }
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            outcome => outcome?,
        }
        self.turn.began_us = self.clock_us();
        self.pace.begin(self.turn.began_us);
        self.now = Millis(self.turn.began_us / 1000);
        self.machine.clock(self.turn.began_us);
        Ok(())
    }

    /// Lets more come before the poll is asked, if that is worth it.
    fn gather(&mut self) {
        let now = self.clock_us();
        let (requests, under_way) = self.machine.load();
        if self.gather.is_due(now, requests, under_way) {
            #[allow(
                clippy::disallowed_methods,
                reason = "it is bounded, and nobody waits longer"
            )]
            thread::sleep(SHORTEST_SLEEP);
            self.gather.waited(now, self.clock_us() - now);
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

    fn survey(&mut self, wanted: &Wanted) -> Survey {
        Survey {
            turns: self.turn.count,
            busy_us: self.turn.busy_us,
            longest_turn_us: mem::take(&mut self.turn.longest_us),
            ..self.machine.survey(wanted)
        }
    }

    /// Clients that hung up come first, and what they wait for on the server is given up before
    /// anything else is done: it must not be given to them any more.
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
                None if event.token() == token::LISTENER => self.door.knock(),
                None => self.mail = true,
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
        let queued = socket.queued;
        if event.is_writable() && !mem::replace(&mut socket.writable, true) {
            self.write_later(key);
        }
        let reads = event.is_readable() || event.is_read_closed() || event.is_error();
        // One that is to be read on keeps its place among the others.
        if reads && !queued {
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
            self.outside.client_gone();
        }
    }

    /// Looks into the inbox, if the waker rang.
    fn open_mail(&mut self) {
        if !mem::take(&mut self.mail) {
            return;
        }
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Client(stream, origin) => self.open_client(stream, origin),
                Message::Snapshot(snapshot) => self.machine.registry_changed(snapshot),
                Message::Question(from, ticket, question) => {
                    let answer = self.machine.peer_asked(question);
                    if let Some(peer) = self.outside.peers().get(usize::from(from)) {
                        peer.send(Message::Answer(ticket, answer));
                    }
                }
                Message::Answer(ticket, answer) => self.machine.peer_told(ticket, answer),
                Message::Survey(wanted, to) => {
                    // Who asked may have lost patience.
                    let _ = to.send(self.survey(&wanted));
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
                log::debug!("client {} connected from {}", origin.id, origin.peer);
                if self.clients.put(key.index(), socket).is_some() {
                    self.outside.client_gone();
                }
            }
            Err(error) => {
                log::warn!("client from {} cannot be served: {error}", origin.peer);
                self.machine.client_closed(key);
                self.outside.client_gone();
            }
        }
    }

    /// Carries out what the machine wants done.
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
                        if mem::take(&mut socket.left) {
                            self.read_later(key);
                        }
                    }
                }
                Action::Ask(ticket, question) => {
                    for (worker, peer) in self.outside.peers().iter().enumerate() {
                        let question = || Message::Question(self.worker, ticket, question.clone());
                        if worker != usize::from(self.worker) && !peer.send(question()) {
                            // It has ended, and has no clients.
                            self.machine.peer_told(ticket, Answer::Gone);
                        }
                    }
                }
                Action::Report(report) => self.outside.report(report),
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
            Err(error) => self.lost(key, &socket::why_unopened(&error)),
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
                // A server that is full says so, and hangs up, in the very same event.
                self.read_later(ConnKey::Link(key));
            }
            Some(Err(error)) => self.lost(key, &socket::why_unopened(&error)),
        }
    }
}

/// The one clock of a worker.
#[allow(clippy::disallowed_methods, reason = "it is the one")]
#[inline]
fn us_since(start: Instant) -> u64 {
    let elapsed = Instant::now().duration_since(start);
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
