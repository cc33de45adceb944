//! Accepts clients, and gives each to the worker with the fewest clients.
//!
//! There is one listener instead of one per worker (`SO_REUSEPORT`): connections are long-lived,
//! and the kernel's hash would give some workers a quarter more clients than others. Worker 0
//! accepts, because a thread for accepting costs two more context switches per short-lived client.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::proxy::Origin;
use crate::reactor::{AcceptOutcome, AcceptedClient, Inbox, Keepalive, Message};

use super::loads::Loads;

/// The reply that Redis gives.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// Length of the listener's queue. A client that does not fit is retried only after a second, when
/// the kernel repeats its SYN.
const BACKLOG: i32 = 4_096;

/// The file in which Linux shows the longest queue that it allows.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Limits that apply when a client is accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct AcceptLimits {
    /// Most clients of the process.
    pub clients: usize,
    /// Most clients accepted per second; 0: no limit.
    pub per_second: u32,
}

#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    local: SocketAddr,
    limits: AcceptLimits,
    loads: Arc<Loads>,
    next_id: u64,
    turn: usize,
    /// Token bucket of `per_second`: clients that may be accepted, and the time of that count in
    /// microseconds since the start.
    tokens: (f64, u64),
    counts: Arc<AcceptCounts>,
    starved: bool,
}

/// Counters of the acceptor: the accepting worker writes them, the service port reads them.
#[derive(Debug, Default)]
pub(super) struct AcceptCounts {
    refused: AtomicU64,
    pauses: AtomicU64,
}

impl AcceptCounts {
    /// Clients refused because of `limit.clients`.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Times that accepting was paused.
    pub(super) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }
}

impl Acceptor {
    /// Binds the listener. The clients of each worker are counted in `loads`.
    pub(super) fn bind(
        address: SocketAddr,
        limits: AcceptLimits,
        keepalive: Keepalive,
        loads: Arc<Loads>,
    ) -> io::Result<Self> {
        let listener = listen(address, keepalive)?;
        Ok(Self {
            local: listener.local_addr()?,
            listener,
            limits,
            loads,
            next_id: 0,
            turn: 0,
            tokens: (f64::from(limits.per_second), 0),
            counts: Arc::default(),
            starved: false,
        })
    }

    /// The address of the listener, with the port that the system chose if 0 was configured.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The counters, which other threads may read.
    pub(super) fn counts(&self) -> Arc<AcceptCounts> {
        Arc::clone(&self.counts)
    }

    /// The listener, for registration with a poll.
    pub(super) fn listener(&mut self) -> &mut TcpListener {
        &mut self.listener
    }

    /// Accepts at most `max` clients. Those that fall to the calling worker, `me`, are added to
    /// `own`, the others are sent to the inbox of their worker.
    pub(super) fn accept(
        &mut self,
        max: usize,
        now_us: u64,
        (me, inboxes): (usize, &[Inbox]),
        own: &mut Vec<AcceptedClient>,
    ) -> AcceptOutcome {
        for _ in 0..max {
            if !self.has_token(now_us) {
                return self.pause();
            }
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    self.starved = false;
                    self.tokens.0 -= 1.0;
                    self.hand_over(stream, peer, (me, inboxes), own);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return AcceptOutcome::Drained;
                }
                Err(error) if is_peer_gone(&error) => {}
                Err(error) => {
                    // No descriptors or memory left: clients wait in the kernel's queue.
                    if !std::mem::replace(&mut self.starved, true) {
                        log::warn!("acceptor: paused reason=\"{error}\"");
                    }
                    return self.pause();
                }
            }
        }
        AcceptOutcome::More
    }

    fn pause(&self) -> AcceptOutcome {
        self.counts.pauses.fetch_add(1, Ordering::Relaxed);
        AcceptOutcome::Paused
    }

    fn hand_over(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        (me, inboxes): (usize, &[Inbox]),
        own: &mut Vec<AcceptedClient>,
    ) {
        if self.loads.total() >= self.limits.clients {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            let max = self.limits.clients;
            log::warn!("client: refused peer={peer} limit=limit.clients clients={max}");
            // The send buffer of a new socket takes these few bytes; if it does not, the client
            // only sees the close.
            let _ = stream.write(TOO_MANY);
            return;
        }
        let local = match self.local.ip().is_unspecified() {
            true => stream.local_addr().unwrap_or(self.local),
            false => self.local,
        };
        self.next_id += 1;
        let origin = Origin {
            id: self.next_id,
            peer,
            local,
        };
        let worker = self.loads.least(self.turn);
        self.turn = self.turn.wrapping_add(1);
        self.loads.add(worker);
        if worker == me {
            return own.push((stream, origin));
        }
        let inbox = inboxes.get(worker);
        if !inbox.is_some_and(|inbox| inbox.send(Message::Client(stream, origin))) {
            self.loads.subtract(worker);
        }
    }

    /// Whether `accepts-per-second` allows another client now.
    fn has_token(&mut self, now_us: u64) -> bool {
        let rate = f64::from(self.limits.per_second);
        if rate == 0.0 {
            return true;
        }
        let (tokens, at) = self.tokens;
        let seconds = now_us.saturating_sub(at) as f64 / 1e6;
        let tokens = (tokens + seconds * rate).min(rate);
        self.tokens = (tokens, now_us);
        tokens >= 1.0
    }
}

/// Binds the listener. Accepted sockets inherit TCP_NODELAY and keepalive, which saves a system
/// call each. There is one write a turn, so Nagle's algorithm has nothing to merge.
fn listen(address: SocketAddr, keepalive: Keepalive) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // After a restart, connections of the previous process are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    keepalive.set(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    if let Some(max) = backlog_cut() {
        log::warn!(
            "acceptor: backlog reduced limit=net.core.somaxconn wanted={BACKLOG} backlog={max}"
        );
    }
    Ok(TcpListener::from_std(socket.into()))
}

/// The queue length that the system allows, if it is known and less than [`BACKLOG`].
fn backlog_cut() -> Option<i32> {
    let text = fs::read_to_string(SOMAXCONN).ok()?;
    let max = text.trim().parse().ok()?;
    (max < BACKLOG).then_some(max)
}

/// Whether the client disconnected before it was accepted: the kernel reports errors of the new
/// connection.
fn is_peer_gone(error: &io::Error) -> bool {
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

#[cfg(test)]
mod tests {
    use std::net::{self, Ipv4Addr};
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    fn acceptor(clients: usize, per_second: u32) -> Acceptor {
        let limits = AcceptLimits {
            clients,
            per_second,
        };
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Acceptor::bind(any, limits, Keepalive::new(60), Arc::new(Loads::new(1))).unwrap()
    }

    fn accept(
        acceptor: &mut Acceptor,
        max: usize,
        now_us: u64,
    ) -> (AcceptOutcome, Vec<AcceptedClient>) {
        let mut own = Vec::new();
        let accepted = acceptor.accept(max, now_us, (0, &[]), &mut own);
        (accepted, own)
    }

    fn connect(acceptor: &Acceptor, n: usize) -> Vec<net::TcpStream> {
        let to = acceptor.local_addr();
        (0..n)
            .map(|_| net::TcpStream::connect(to).unwrap())
            .collect()
    }

    #[test]
    fn clients_are_accepted_in_bounded_bursts() {
        let mut acceptor = acceptor(100, 0);
        let clients = connect(&acceptor, 5);
        let (accepted, own) = accept(&mut acceptor, 3, 0);
        assert_eq!((accepted, own.len()), (AcceptOutcome::More, 3));
        for (i, ((stream, origin), client)) in own.iter().zip(&clients).enumerate() {
            assert!(stream.nodelay().unwrap());
            let socket = SockRef::from(stream);
            assert!(socket.keepalive().unwrap());
            #[cfg(target_os = "linux")]
            {
                let seconds = Duration::from_secs;
                assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(60));
                assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(20));
                assert_eq!(socket.tcp_user_timeout().unwrap(), Some(seconds(120)));
            }
            assert_eq!(origin.id, i as u64 + 1);
            assert_eq!(origin.peer, client.local_addr().unwrap());
            assert_eq!(origin.local, stream.local_addr().unwrap());
        }
        let (accepted, own) = accept(&mut acceptor, 3, 0);
        assert_eq!((accepted, own.len()), (AcceptOutcome::Drained, 2));
    }

    #[test]
    fn burst_of_connections_fits_in_the_listen_queue() {
        let acceptor = acceptor(1_000, 0);
        let room = usize::try_from(backlog_cut().unwrap_or(BACKLOG)).unwrap();
        let wait = Duration::from_secs(5);
        let connect = |_| net::TcpStream::connect_timeout(&acceptor.local_addr(), wait);
        // Nothing accepts, so a client beyond the queue runs into the timeout.
        let clients: Result<Vec<_>, _> = (0..room.min(300)).map(connect).collect();
        assert!(clients.is_ok(), "{clients:?}");
    }

    #[test]
    fn accept_rate_is_limited_per_second() {
        let mut acceptor = acceptor(100, 4);
        let _clients = connect(&acceptor, 7);
        let (accepted, own) = accept(&mut acceptor, 64, 10);
        assert_eq!((accepted, own.len()), (AcceptOutcome::Paused, 4));
        let (accepted, own) = accept(&mut acceptor, 64, 500_010);
        assert_eq!((accepted, own.len()), (AcceptOutcome::Paused, 2));
        let (accepted, own) = accept(&mut acceptor, 64, 1_000_010);
        assert_eq!((accepted, own.len()), (AcceptOutcome::Drained, 1));
        assert_eq!(acceptor.counts().pauses(), 2);
    }

    #[test]
    fn client_over_the_limit_gets_an_error() {
        let mut acceptor = acceptor(1, 0);
        let mut clients = connect(&acceptor, 2);
        let (accepted, own) = accept(&mut acceptor, 64, 0);
        assert_eq!((accepted, own.len()), (AcceptOutcome::Drained, 1));
        assert_eq!(acceptor.counts().refused(), 1);
        let mut received = Vec::new();
        io::Read::read_to_end(&mut clients[1], &mut received).unwrap();
        assert_eq!(received, TOO_MANY);
    }
}
