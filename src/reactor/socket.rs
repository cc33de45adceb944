//! A socket and its readiness.
//!
//! Sockets are registered once, edge-triggered, for both directions. So each socket remembers that
//! it is `writable` (only a short write clears that), and that it has not been read to the end.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::proxy::Failure;

use super::keepalive::Keepalive;

/// On epoll and kqueue a short read means that the socket is drained: the next byte makes a new
/// event. On other systems only `WouldBlock` does.
const SHORT_READ_IS_DRAINED: bool = cfg!(any(
    target_os = "linux",
    target_os = "macos",
    target_os = "freebsd"
));

/// Slots that are kept when all sockets are closed.
const SLOTS_MIN: usize = 64;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// The generation of the connection's key, so that a stale key does not find another socket.
    pub generation: u32,
    /// The last write was not short.
    pub writable: bool,
    /// The connection is not established yet: no reads or writes.
    pub connecting: bool,
    /// The machine has paused reading.
    pub paused: bool,
    /// There may be unread bytes since reading was paused.
    pub unread: bool,
    /// The peer has sent its end of stream, perhaps behind unread bytes. No further event will
    /// come, so the socket is read until its end.
    pub hung_up: bool,
    /// In the list of sockets to read in the next turn.
    pub read_queued: bool,
    /// In the list of sockets to write in the next turn.
    pub write_queued: bool,
}

/// The outcome of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// Bytes read; there may be more.
    More(usize),
    /// Bytes read; the next ones make an event.
    Drained(usize),
    /// No bytes at the moment.
    Nothing,
    /// End of stream.
    End,
    /// The connection is broken.
    Broken,
}

impl Socket {
    /// Wraps a connected stream.
    pub(super) fn new(stream: TcpStream, generation: u32) -> Self {
        Self {
            stream,
            generation,
            writable: true,
            connecting: false,
            paused: false,
            unread: false,
            hung_up: false,
            read_queued: false,
            write_queued: false,
        }
    }

    /// Starts to connect.
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

    /// Handles an event of a connecting socket; `None`: not connected yet.
    pub(super) fn connected(&mut self, keepalive: Keepalive) -> Option<io::Result<()>> {
        match self.stream.take_error() {
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
            Ok(None) => {}
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.connecting = false;
                self.writable = true;
                // There is one write a turn, so Nagle's algorithm has nothing to merge.
                let nodelay = self.stream.set_nodelay(true);
                Some(nodelay.and_then(|()| keepalive.set(&self.stream)))
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Reads once.
    pub(super) fn read(&mut self, into: &mut [u8]) -> ReadOutcome {
        loop {
            match self.stream.read(into) {
                Ok(0) => return ReadOutcome::End,
                Ok(n) if n == into.len() || self.hung_up || !SHORT_READ_IS_DRAINED => {
                    return ReadOutcome::More(n);
                }
                Ok(n) => return ReadOutcome::Drained(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return ReadOutcome::Nothing,
                Err(_) => return ReadOutcome::Broken,
            }
        }
    }

    /// Writes once. `Ok(0)`: no room at the moment.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retried(|| self.stream.write(bytes))
    }

    /// Writes several slices at once; `write` is faster for a single one.
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

/// Why a backend connection could not be opened, and whether the proxy or the backend is the cause.
pub(super) fn connect_failure(error: &io::Error) -> Failure {
    // On every Unix: the table of open files of the system or of the process is full.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let starved = matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
        || matches!(
            error.kind(),
            ErrorKind::AddrNotAvailable | ErrorKind::OutOfMemory
        );
    // Clients get the text without "(os error 111)".
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let text = text.to_lowercase();
    if starved {
        Failure::Starved(text)
    } else {
        Failure::Unreachable(text)
    }
}

/// Sockets by the index of their connection's key.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
}

impl Sockets {
    /// The socket, unless the key is stale.
    pub(super) fn get(&mut self, index: u32, generation: u32) -> Option<&mut Socket> {
        let slot = self.slots.get_mut(index as usize)?.as_mut();
        slot.filter(|socket| socket.generation == generation)
    }

    /// Puts a socket in its slot. Returns the socket of a stale key that was still there because
    /// its close had not been carried out yet.
    pub(super) fn put(&mut self, index: u32, socket: Socket) -> Option<Socket> {
        let index = index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots.get_mut(index)?.replace(socket)
    }

    /// Takes a socket out. Dropping it closes it and removes its registration.
    pub(super) fn take(&mut self, index: u32, generation: u32) -> Option<Socket> {
        self.get(index, generation)?;
        let socket = self.slots.get_mut(index as usize)?.take();
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        if self.slots.len() < self.slots.capacity() / 4 {
            // Memory that many connections needed is returned once they are closed. Not all of it:
            // glibc raises its threshold for returned memory with the size of each freed block.
            let room = (self.slots.len() * 2).max(SLOTS_MIN);
            self.slots.shrink_to(room);
        }
        socket
    }
}
