//! A connection together with its socket, and what is known of that one's readiness.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::proxy::Millis;

use super::connection::{Connection, Turn};

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    pub(super) connection: Connection,
    /// The last read did not say that there is no more.
    pub(super) readable: bool,
    /// The last write did not say that there is no room.
    pub(super) writable: bool,
    /// The peer's end of stream is in, though maybe behind unread bytes.
    pub(super) hung_up: bool,
    /// Our end of stream is out.
    shut: bool,
}

impl Link {
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

    /// Is there anything to do without a further event?
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

/// Says no to somebody there is no room for. Bytes that are left unread would make the kernel take
/// the answer back.
pub(super) fn refuse(stream: &mut TcpStream, answer: &[u8], scratch: &mut [u8]) {
    // A fresh socket takes these few bytes; if not, the close alone has to do.
    let _ = stream.write(answer);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(scratch);
}

/// Did the peer go before it was accepted?
pub(super) fn is_the_peers(error: &io::Error) -> bool {
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
