//! Accepting clients, each of which goes to the worker with the fewest.
//!
//! One listener instead of one per worker: Redis clients are few and long-lived, and the kernel's
//! hashing would leave workers a quarter apart. The first worker accepts for all: on a thread of
//! its own, whoever connects and soon leaves costs two changes of threads more.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::proxy::Origin;
use crate::reactor::{Accepted, Inbox, Keepalive, Message, Newcomer};

use super::loads::Loads;

/// What Redis says.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// Connections that may wait to be accepted. A client that finds no place is heard again only
/// after a second, when its SYN is repeated.
const BACKLOG: i32 = 4_096;

/// Where Linux tells how many it lets wait at most.
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

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
    listener: TcpListener,
    local: SocketAddr,
    limits: AcceptLimits,
    loads: Arc<Loads>,
    next_id: u64,
    turn: usize,
    /// Clients that may be accepted now, and when that was so, us since the start.
    tokens: (f64, u64),
    counts: Arc<AcceptCounts>,
    starved: bool,
}

/// What an acceptor counts: it alone writes, anybody reads.
#[derive(Debug, Default)]
pub(super) struct AcceptCounts {
    refused: AtomicU64,
    rests: AtomicU64,
}

impl AcceptCounts {
    /// Clients refused because there were too many.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Times that accepting rested.
    pub(super) fn rests(&self) -> u64 {
        self.rests.load(Ordering::Relaxed)
    }
}

impl Acceptor {
    /// Listens. The clients of each worker are counted in `loads`.
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

    /// Where it listens: the port is known even if any was asked for.
    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What it will have counted.
    pub(super) fn counts(&self) -> Arc<AcceptCounts> {
        Arc::clone(&self.counts)
    }

    /// The socket, to be registered.
    pub(super) fn listener(&mut self) -> &mut TcpListener {
        &mut self.listener
    }

    /// Accepts at most `max` clients; those of the worker that asks, `me`, are added to `mine`.
    pub(super) fn accept(
        &mut self,
        max: usize,
        now_us: u64,
        (me, inboxes): (usize, &[Inbox]),
        mine: &mut Vec<Newcomer>,
    ) -> Accepted {
        for _ in 0..max {
            if !self.has_token(now_us) {
                return self.rest();
            }
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    self.starved = false;
                    self.tokens.0 -= 1.0;
                    self.hand_over(stream, peer, (me, inboxes), mine);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Accepted::All,
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: clients wait in the kernel's queue.
                    if !std::mem::replace(&mut self.starved, true) {
                        log::warn!("accepting rests: {error}");
                    }
                    return self.rest();
                }
            }
        }
        Accepted::Some
    }

    fn rest(&self) -> Accepted {
        self.counts.rests.fetch_add(1, Ordering::Relaxed);
        Accepted::Rest
    }

    fn hand_over(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        (me, inboxes): (usize, &[Inbox]),
        mine: &mut Vec<Newcomer>,
    ) {
        if self.loads.total() >= self.limits.clients {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            let max = self.limits.clients;
            log::warn!("client refused peer={peer} limit=limit.clients clients={max}");
            // A fresh socket takes these few bytes; if not, the close alone has to do.
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
            return mine.push((stream, origin));
        }
        let inbox = inboxes.get(worker);
        if !inbox.is_some_and(|inbox| inbox.send(Message::Client(stream, origin))) {
            self.loads.subtract(worker);
        }
    }

    /// Is there room in this second?
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

/// Listens. Every socket accepted from it has TCP_NODELAY and keepalive from the start, without a
/// system call of its own: one write a turn, so there is nothing for Nagle to gather.
fn listen(address: SocketAddr, keepalive: Keepalive) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart finds connections of before in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    keepalive.set(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    if let Some(max) = backlog_cut() {
        log::warn!("listener: backlog cut by net.core.somaxconn wanted={BACKLOG} now={max}");
    }
    Ok(TcpListener::from_std(socket.into()))
}

/// What the system makes of [`BACKLOG`], if that is less; where it is known.
fn backlog_cut() -> Option<i32> {
    let text = fs::read_to_string(SOMAXCONN).ok()?;
    let max = text.trim().parse().ok()?;
    (max < BACKLOG).then_some(max)
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

    fn accept(acceptor: &mut Acceptor, max: usize, now_us: u64) -> (Accepted, Vec<Newcomer>) {
        let mut mine = Vec::new();
        let accepted = acceptor.accept(max, now_us, (0, &[]), &mut mine);
        (accepted, mine)
    }

    fn connect(acceptor: &Acceptor, n: usize) -> Vec<net::TcpStream> {
        let to = acceptor.local_addr();
        (0..n)
            .map(|_| net::TcpStream::connect(to).unwrap())
            .collect()
    }

    #[test]
    fn clients_are_accepted_in_bounded_bursts_and_without_delay() {
        let mut acceptor = acceptor(100, 0);
        let clients = connect(&acceptor, 5);
        let (accepted, mine) = accept(&mut acceptor, 3, 0);
        assert_eq!((accepted, mine.len()), (Accepted::Some, 3));
        for (i, ((stream, origin), client)) in mine.iter().zip(&clients).enumerate() {
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
        let (accepted, mine) = accept(&mut acceptor, 3, 0);
        assert_eq!((accepted, mine.len()), (Accepted::All, 2));
    }

    #[test]
    fn a_burst_waits_in_the_listeners_queue() {
        let acceptor = acceptor(1_000, 0);
        let room = usize::try_from(backlog_cut().unwrap_or(BACKLOG)).unwrap();
        let wait = Duration::from_secs(5);
        let connect = |_| net::TcpStream::connect_timeout(&acceptor.local_addr(), wait);
        // Nobody accepts: a client beyond the queue would be refused by the timeout.
        let clients: Result<Vec<_>, _> = (0..room.min(300)).map(connect).collect();
        assert!(clients.is_ok(), "{clients:?}");
    }

    #[test]
    fn no_more_than_the_rate_are_accepted_in_a_second() {
        let mut acceptor = acceptor(100, 4);
        let _clients = connect(&acceptor, 7);
        let (accepted, mine) = accept(&mut acceptor, 64, 10);
        assert_eq!((accepted, mine.len()), (Accepted::Rest, 4));
        let (accepted, mine) = accept(&mut acceptor, 64, 500_010);
        assert_eq!((accepted, mine.len()), (Accepted::Rest, 2));
        let (accepted, mine) = accept(&mut acceptor, 64, 1_000_010);
        assert_eq!((accepted, mine.len()), (Accepted::All, 1));
        assert_eq!(acceptor.counts().rests(), 2);
    }

    #[test]
    fn one_too_many_hears_so() {
        let mut acceptor = acceptor(1, 0);
        let mut clients = connect(&acceptor, 2);
        let (accepted, mine) = accept(&mut acceptor, 64, 0);
        assert_eq!((accepted, mine.len()), (Accepted::All, 1));
        assert_eq!(acceptor.counts().refused(), 1);
        let mut heard = Vec::new();
        io::Read::read_to_end(&mut clients[1], &mut heard).unwrap();
        assert_eq!(heard, TOO_MANY);
    }
}
