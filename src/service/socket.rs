//! A connection together with its socket and the socket's readiness.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::proxy::Millis;

use super::connection::{Connection, Turn};

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    pub(super) connection: Connection,
    /// No read has returned `WouldBlock` since the last event.
    pub(super) readable: bool,
    /// No write has returned `WouldBlock` since the last event.
    pub(super) writable: bool,
    /// The peer has sent its end of stream, perhaps behind unread bytes.
    pub(super) hung_up: bool,
    /// Our side of the stream is shut down.
    shut: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self {
            stream,
            connection,
            readable: true,
            writable: true,
            hung_up: false,
            shut: false,
        }
    }

    /// Whether there is work without another event.
    pub(super) fn has_work(&self) -> bool {
        let connection = &self.connection;
        connection.is_fresh()
            || connection.wants_input() && self.readable
            || !connection.outbound().is_empty() && self.writable
            || connection.is_parked() && self.hung_up
    }

    /// One read, one request, one write.
    pub(super) fn turn(&mut self, turn: &Turn<'_>, scratch: &mut [u8]) {
        if self.connection.wants_input() && self.readable {
            self.read(scratch);
        }
        self.connection.proceed(turn);
        if self.hung_up {
            self.connection.hung_up(turn);
        }
        self.connection.tick(turn);
        if !self.connection.outbound().is_empty() && self.writable {
            self.write(turn.now);
        }
        if self.connection.is_lingering() && !self.shut {
            self.shut = true;
            if self.stream.shutdown(Shutdown::Write).is_err() {
                self.connection.failed();
            }
        }
    }

    fn read(&mut self, scratch: &mut [u8]) {
        match self.stream.read(scratch) {
            Ok(0) => self.connection.input_ended(),
            Ok(n) => self
                .connection
                .received(scratch.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.connection.failed(),
        }
    }

    fn write(&mut self, now: Millis) {
        match self.stream.write(self.connection.outbound()) {
            Ok(n) => self.connection.sent(n, now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.connection.failed(),
        }
    }
}

/// Sends a response to a connection that is not admitted. What the peer has sent is read, because
/// unread bytes would make the kernel discard the response.
pub(super) fn refuse(stream: &mut TcpStream, answer: &[u8], scratch: &mut [u8]) {
    // The send buffer of a new socket takes these few bytes; if it does not, the peer only sees the
    // close.
    let _ = stream.write(answer);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(scratch);
}

/// Whether the peer disconnected before it was accepted.
pub(super) fn is_peer_gone(error: &io::Error) -> bool {
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
