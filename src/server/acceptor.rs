//! The thread that accepts clients and hands each to the worker with the fewest.
//!
//! One listener instead of one per worker: Redis clients are few and long-lived, and the kernel's
//! hashing would leave workers a quarter apart.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::proxy::Origin;
use crate::reactor::{Inbox, Message};

use super::shared::Loads;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// Clients accepted before the workers are woken.
const BURST_MAX: usize = 64;

/// How long accepting rests when the process has no file descriptor left, or the accept rate is
/// used up.
const REST: Duration = Duration::from_millis(50);

/// What Redis says.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// Limits of accepting.
#[derive(Debug, Clone, Copy)]
pub(super) struct AcceptLimits {
    /// Clients of the process.
    pub clients: usize,
    /// Clients per second; 0: any number.
    pub per_second: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Acceptor {
    poll: Poll,
    listener: TcpListener,
    local: SocketAddr,
    limits: AcceptLimits,
    loads: Arc<Loads>,
    inboxes: Arc<[Inbox]>,
    closed: Arc<AtomicBool>,
    next_id: u64,
    turn: usize,
    tokens: (f64, Instant),
    counts: Arc<AcceptCounts>,
    starved: bool,
}

/// What an acceptor counts: it alone writes, anybody reads.
#[derive(Debug, Default)]
struct AcceptCounts {
    refused: AtomicU64,
    rests: AtomicU64,
}

/// Ends an acceptor, and tells what it counted.
#[derive(Debug)]
pub(super) struct AcceptorHandle {
    closed: Arc<AtomicBool>,
    waker: Waker,
    counts: Arc<AcceptCounts>,
}

impl AcceptorHandle {
    /// Closes the listener: no new clients.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("the listener cannot be told to close: {error}");
        }
    }

    /// Clients refused because there were too many.
    pub(super) fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Times that accepting rested.
    pub(super) fn rests(&self) -> u64 {
        self.counts.rests.load(Ordering::Relaxed)
    }
}

impl Acceptor {
    /// Listens.
    pub(super) fn bind(
        address: SocketAddr,
        limits: AcceptLimits,
        loads: Arc<Loads>,
        inboxes: Arc<[Inbox]>,
    ) -> io::Result<(Self, AcceptorHandle)> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        let local = listener.local_addr()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let closed = Arc::new(AtomicBool::new(false));
        let waker = Waker::new(poll.registry(), WAKER)?;
        let counts = Arc::new(AcceptCounts::default());
        let handle = AcceptorHandle {
            closed: Arc::clone(&closed),
            waker,
            counts: Arc::clone(&counts),
        };
        let (next_id, turn, starved) = (0, 0, false);
        let tokens = (f64::from(limits.per_second), now());
        let acceptor = Self {
            poll,
            listener,
            local,
            limits,
            loads,
            inboxes,
            closed,
            next_id,
            turn,
            tokens,
            counts,
            starved,
        };
        Ok((acceptor, handle))
    }

    /// Where it listens: the port is known even if any was asked for.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Accepts until closed.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(8);
        let mut again = None;
        loop {
            match self.poll.poll(&mut events, again) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => outcome?,
            }
            if self.closed.load(Ordering::Acquire) {
                return Ok(());
            }
            again = self.burst();
        }
    }

    /// Accepts some; returns when to look again without an event.
    fn burst(&mut self) -> Option<Duration> {
        let mut woken = vec![false; self.inboxes.len()];
        let mut again = Some(Duration::ZERO);
        for _ in 0..BURST_MAX {
            if !self.has_token() {
                again = Some(REST);
                break;
            }
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    self.starved = false;
                    self.tokens.0 -= 1.0;
                    self.hand_over(stream, peer, &mut woken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    again = None;
                    break;
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: clients wait in the kernel's queue.
                    if !std::mem::replace(&mut self.starved, true) {
                        log::warn!("accepting rests: {error}");
                    }
                    again = Some(REST);
                    break;
                }
            }
        }
        if again == Some(REST) {
            self.counts.rests.fetch_add(1, Ordering::Relaxed);
        }
        for (inbox, _) in self.inboxes.iter().zip(woken).filter(|(_, woken)| *woken) {
            if let Err(error) = inbox.wake() {
                log::error!("a worker cannot be woken: {error}");
            }
        }
        again
    }

    fn hand_over(&mut self, mut stream: TcpStream, peer: SocketAddr, woken: &mut [bool]) {
        if self.loads.total() >= self.limits.clients {
            let n = self.counts.refused.fetch_add(1, Ordering::Relaxed) + 1;
            if n.is_power_of_two() {
                let max = self.limits.clients;
                log::warn!("{n} clients refused so far: limit.clients is {max}");
            }
            // A fresh socket takes these few bytes; if not, the close alone has to do.
            let _ = stream.write(TOO_MANY);
            return;
        }
        let local = stream.local_addr().unwrap_or(self.local);
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("client from {peer} is gone: {error}");
            return;
        }
        self.next_id += 1;
        let worker = self.loads.least(self.turn);
        self.turn = self.turn.wrapping_add(1);
        self.loads.add(worker);
        let origin = Origin {
            id: self.next_id,
            peer,
            local,
        };
        let inbox = self.inboxes.get(worker);
        if !inbox.is_some_and(|inbox| inbox.leave(Message::Client(stream, origin))) {
            self.loads.subtract(worker);
        }
        if let Some(woken) = woken.get_mut(worker) {
            *woken = true;
        }
    }

    /// Is there room in this second?
    fn has_token(&mut self) -> bool {
        let rate = f64::from(self.limits.per_second);
        if rate == 0.0 {
            return true;
        }
        let (tokens, at) = self.tokens;
        let time = now();
        let tokens = (tokens + time.duration_since(at).as_secs_f64() * rate).min(rate);
        self.tokens = (tokens, time);
        tokens >= 1.0
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the acceptor has a thread and a clock of its own"
)]
fn now() -> Instant {
    Instant::now()
}

/// Did the client go before it was accepted? (The kernel reports errors of the new connection.)
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::TimedOut
    )
}
