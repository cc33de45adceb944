//! Moves bytes between sockets and the machine, with limits per turn and connection.

use std::io::IoSlice;
use std::mem;

use super::socket::ReadOutcome;
use super::time_slice::{SMALL_READ_BYTES, SMALL_WRITE_BYTES};
use super::{ProcessHandle, Reactor, us_since};
use crate::proxy::{ConnKey, Failure, Flow, Key, SLICES_MAX};

/// Reads of a client per turn.
const CLIENT_READS_MAX: usize = 1;

/// Reads of a backend per turn: more, because its bytes are for many clients.
const BACKEND_READS_MAX: usize = 4;

/// Writes of a connection per turn.
const WRITES_MAX: usize = 4;

impl<O: ProcessHandle> Reactor<O> {
    /// Reads a socket and passes the bytes to the machine, as much as one turn allows.
    pub(super) fn read(&mut self, key: ConnKey) {
        let reads = match key {
            ConnKey::Client(_) => CLIENT_READS_MAX,
            ConnKey::Link(_) => BACKEND_READS_MAX,
        };
        for _ in 0..reads {
            let over = self.slice.is_over();
            let socket = match key {
                ConnKey::Client(key) => self.clients.get(key.index(), key.generation()),
                ConnKey::Link(key) => self.links.get(key.index(), key.generation()),
            };
            let Some(socket) = socket else { return };
            if socket.paused {
                return self.pause(key, true);
            }
            let space = self.machine.space();
            let room = match over {
                true => SMALL_READ_BYTES.min(space.len()),
                false => space.len(),
            };
            let (n, drained) = match socket.read(space.get_mut(..room).unwrap_or_default()) {
                ReadOutcome::More(n) => (n, false),
                ReadOutcome::Drained(n) => (n, true),
                ReadOutcome::Nothing => return,
                ReadOutcome::End => return self.ended(key),
                ReadOutcome::Broken => return self.broken(key),
            };
            let flow = match key {
                ConnKey::Client(key) => self.machine.client_read(key, n),
                ConnKey::Link(key) => self.machine.link_read(key, n),
            };
            self.slice.serve(n, || us_since(self.start));
            if flow == Flow::Pause {
                return self.pause(key, !drained);
            }
            if drained {
                return;
            }
            if over {
                break;
            }
        }
        self.read_later(key);
    }

    /// Notes that reading is paused, and whether bytes may be left for which no event will come.
    /// The machine still learns that a client has hung up.
    fn pause(&mut self, key: ConnKey, unread: bool) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        socket.paused = true;
        socket.unread |= unread;
        if socket.hung_up
            && let ConnKey::Client(key) = key
        {
            self.machine.client_hung_up(key);
        }
    }

    pub(super) fn read_later(&mut self, key: ConnKey) {
        if let Some(socket) = self.socket(key)
            && !mem::replace(&mut socket.read_queued, true)
        {
            self.unread.push(key);
        }
    }

    /// Reads the connections whose limit of the last turn left bytes, or whose reading was resumed.
    pub(super) fn read_unread(&mut self) {
        // Connections queued by these reads are for the next turn.
        for key in mem::take(&mut self.unread) {
            if self.slice.is_over() {
                self.unread.push(key);
            } else if let Some(socket) = self.socket(key) {
                socket.read_queued = false;
                self.read(key);
            }
        }
    }

    /// Handles the end of stream.
    fn ended(&mut self, key: ConnKey) {
        match key {
            ConnKey::Client(key) => self.machine.client_eof(key),
            ConnKey::Link(key) => self.lost(key, &Failure::Lost),
        }
    }

    fn broken(&mut self, key: ConnKey) {
        match key {
            ConnKey::Client(key) => {
                self.machine.client_closed(key);
                self.drop_client(key);
            }
            ConnKey::Link(key) => self.lost(key, &Failure::Lost),
        }
    }

    /// Queues a connection for writing in the next turn.
    pub(super) fn write_later(&mut self, key: ConnKey) {
        if let Some(socket) = self.socket(key)
            && !mem::replace(&mut socket.write_queued, true)
        {
            self.unwritten.push(key);
        }
    }

    /// Writes once to every connection that has data, backends first.
    pub(super) fn flush(&mut self) {
        let now = self.clock_us();
        self.slice.begin(now);
        for key in mem::take(&mut self.unwritten) {
            if let Some(socket) = self.socket(key) {
                socket.write_queued = false;
                self.write(key);
            }
        }
        while let Some(key) = self.machine.next_dirty() {
            self.write(key);
        }
    }

    fn write(&mut self, key: ConnKey) {
        let socket = match key {
            ConnKey::Client(key) => self.clients.get(key.index(), key.generation()),
            ConnKey::Link(key) => self.links.get(key.index(), key.generation()),
        };
        let Some(socket) = socket.filter(|socket| socket.writable) else {
            return;
        };
        for _ in 0..WRITES_MAX {
            if self.slice.is_over() && self.machine.outbound_len(key) > SMALL_WRITE_BYTES {
                break;
            }
            let (wanted, written) = match self.machine.outbound_whole(key) {
                // The usual case: the slices need not be set up.
                Some(bytes) => (bytes.len(), socket.write(bytes)),
                None => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let n = self.machine.outbound(key, &mut slices);
                    let slices = slices.get(..n).unwrap_or_default();
                    let wanted = slices.iter().map(|slice| slice.len()).sum();
                    (wanted, socket.write_vectored(slices))
                }
            };
            match written {
                Ok(written) => {
                    let more = self.machine.sent(key, written);
                    self.slice.serve(written, || us_since(self.start));
                    if written < wanted {
                        socket.writable = false;
                        return;
                    }
                    if !more {
                        return;
                    }
                }
                Err(_) => return self.broken(key),
            }
        }
        self.write_later(key);
    }
}
