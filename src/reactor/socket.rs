//! One socket and what is known of its readiness. No decisions: the machine makes them.
//!
//! Sockets are registered once, edge-triggered, for both directions. So `writable` must be
//! remembered (it is cleared by a short write only), and so must the wish to read on of a socket
//! that was not read to its end.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::proxy::Failure;

use super::keepalive::Keepalive;

/// On epoll and kqueue a short read from a stream socket means that it is drained: the next byte
/// makes a new event. Elsewhere only `WouldBlock` does.
const SHORT_READ_IS_DRAINED: bool = cfg!(any(
    target_os = "linux",
    target_os = "macos",
    target_os = "freebsd"
));

/// Slots that are kept when all sockets have gone.
const SLOTS_MIN: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// The generation of the connection's key: a stale key must not reach its successor.
    pub generation: u32,
    /// The last write was not short.
    pub writable: bool,
    /// Connecting: nothing may be read or written yet.
    pub connecting: bool,
    /// The machine wants no more bytes for now.
    pub paused: bool,
    /// There was something to read when it was paused, or there is since.
    pub left: bool,
    /// The peer's end of stream is in, though maybe behind unread bytes: no further event will
    /// tell, so read until it shows.
    pub hung_up: bool,
    /// On the list of sockets to read in the next turn.
    pub queued: bool,
    /// On the list of sockets to write in the next turn.
    pub owed: bool,
}

/// How a read ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// This many bytes, and there may be more.
    More(usize),
    /// This many bytes, and the next ones make an event.
    Drained(usize),
    /// Nothing for now.
    Nothing,
    /// The peer sends no more.
    End,
    /// The connection is broken.
    Broken,
}

impl Socket {
    /// Takes a connected stream in.
    pub(super) fn new(stream: TcpStream, generation: u32) -> Self {
        Self {
            stream,
            generation,
            writable: true,
            connecting: false,
            paused: false,
            left: false,
            hung_up: false,
            queued: false,
            owed: false,
        }
    }

    /// Begins to connect.
    pub(super) fn connect(to: SocketAddr, generation: u32) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        let socket = Self::new(stream, generation);
        Ok(Self {
            writable: false,
            connecting: true,
            ..socket
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut self.stream,
            token,
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// An event came while connecting: is it done, and how? `None`: not yet.
    pub(super) fn connected(&mut self, keepalive: Keepalive) -> Option<io::Result<()>> {
        match self.stream.take_error() {
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
            Ok(None) => {}
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.connecting = false;
                self.writable = true;
                // One write a turn: there is nothing for Nagle to gather.
                let nodelay = self.stream.set_nodelay(true);
                Some(nodelay.and_then(|()| keepalive.set(&self.stream)))
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// One read.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Got {
        loop {
            match self.stream.read(into) {
                Ok(0) => return Got::End,
                Ok(n) if n == into.len() || self.hung_up || !SHORT_READ_IS_DRAINED => {
                    return Got::More(n);
                }
                Ok(n) => return Got::Drained(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Got::Nothing,
                Err(_) => return Got::Broken,
            }
        }
    }

    /// One write. `Ok(0)`: nothing for now.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retried(|| self.stream.write(bytes))
    }

    /// The same for many pieces, or none; a single one has a shorter way through the kernel.
    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if slices.is_empty() {
            return Ok(0);
        }
        retried(|| self.stream.write_vectored(slices))
    }
}

#[inline]
fn retried(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            outcome => return outcome,
        }
    }
}

/// Why a connection to a backend could not be opened, and whose fault that is.
pub(super) fn why_unopened(error: &io::Error) -> Failure {
    // The same on every Unix: the system's table of open files is full, or the process's.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let starved = matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
        || matches!(
            error.kind(),
            ErrorKind::AddrNotAvailable | ErrorKind::OutOfMemory
        );
    // "Connection refused (os error 111)" is for the log of a program, not for a client.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.to_lowercase();
    if starved {
        Failure::Starved(text)
    } else {
        Failure::Unreachable(text)
    }
}

/// Sockets by the slot of their connection's key.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
}

impl Sockets {
    /// The socket, if the key is not stale.
    pub(super) fn get(&mut self, index: u32, generation: u32) -> Option<&mut Socket> {
        let slot = self.slots.get_mut(index as usize)?.as_mut();
        slot.filter(|socket| socket.generation == generation)
    }

    /// Puts a socket in its slot. Returns the one whose key has become stale meanwhile, if its
    /// closing has not been carried out yet.
    pub(super) fn put(&mut self, index: u32, socket: Socket) -> Option<Socket> {
        let index = index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots.get_mut(index)?.replace(socket)
    }

    /// Takes a socket out; dropping it closes it, and the kernel forgets its registration.
    pub(super) fn take(&mut self, index: u32, generation: u32) -> Option<Socket> {
        self.get(index, generation)?;
        let socket = self.slots.get_mut(index as usize)?.take();
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        if self.slots.len() < self.slots.capacity() / 4 {
            // What a crowd needed is given back when it has gone; not all of it, because glibc
            // keeps the more, the larger a piece is that it frees rather than makes small.
            let room = (self.slots.len() * 2).max(SLOTS_MIN);
            self.slots.shrink_to(room);
        }
        socket
    }
}
