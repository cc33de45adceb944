//! Bytes between the sockets and the machine: reads and writes, so many per turn and connection.

use std::io::IoSlice;
use std::mem;

use super::pace::{SMALL_READ_BYTES, SMALL_WRITE_BYTES};
use super::socket::Got;
use super::{Outside, Reactor, us_since};
use crate::proxy::{ConnKey, Failure, Flow, Key, SLICES_MAX};

/// Reads per turn of a client; whoever has more to say goes on in the next turn.
const CLIENT_READS_MAX: usize = 1;

/// Reads per turn of a backend, which speaks for many clients.
const BACKEND_READS_MAX: usize = 4;

/// Writes per turn of one connection.
const WRITES_MAX: usize = 4;

impl<O: Outside> Reactor<O> {
    /// Reads a socket and feeds the machine, as much as one turn allows.
    pub(super) fn read(&mut self, key: ConnKey) {
        let reads = match key {
            ConnKey::Client(_) => CLIENT_READS_MAX,
            ConnKey::Link(_) => BACKEND_READS_MAX,
        };
        for _ in 0..reads {
            let over = self.pace.is_over();
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
                Got::More(n) => (n, false),
                Got::Drained(n) => (n, true),
                Got::Nothing => return,
                Got::End => return self.ended(key),
                Got::Broken => return self.broken(key),
            };
            let flow = match key {
                ConnKey::Client(key) => self.machine.client_read(key, n),
                ConnKey::Link(key) => self.machine.link_read(key, n),
            };
            self.pace.serve(n, || us_since(self.start));
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

    /// A connection is not read for now; is there anything left that no event will tell of again?
    /// That a client has gone is told all the same.
    fn pause(&mut self, key: ConnKey, left: bool) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        socket.paused = true;
        socket.left |= left;
        if socket.hung_up
            && let ConnKey::Client(key) = key
        {
            self.machine.client_hung_up(key);
        }
    }

    pub(super) fn read_later(&mut self, key: ConnKey) {
        if let Some(socket) = self.socket(key)
            && !mem::replace(&mut socket.queued, true)
        {
            self.unread.push(key);
        }
    }

    /// Those that used up their turn, or were paused, are read on.
    pub(super) fn read_on(&mut self) {
        // What reading adds is for the next turn.
        for key in mem::take(&mut self.unread) {
            if self.pace.is_over() {
                self.unread.push(key);
            } else if let Some(socket) = self.socket(key) {
                socket.queued = false;
                self.read(key);
            }
        }
    }

    /// The peer sends no more.
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

    /// A connection is written to in the next turn, after those that are so already.
    pub(super) fn write_later(&mut self, key: ConnKey) {
        if let Some(socket) = self.socket(key)
            && !mem::replace(&mut socket.owed, true)
        {
            self.unwritten.push(key);
        }
    }

    /// Writes once to every connection that has something to send, backends first.
    pub(super) fn flush(&mut self) {
        let now = self.clock_us();
        self.pace.begin(now);
        for key in mem::take(&mut self.unwritten) {
            if let Some(socket) = self.socket(key) {
                socket.owed = false;
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
            if self.pace.is_over() && self.machine.outbound_len(key) > SMALL_WRITE_BYTES {
                break;
            }
            let (wanted, written) = match self.machine.outbound_whole(key) {
                // As nearly always: all those slices need not be set up.
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
                    self.pace.serve(written, || us_since(self.start));
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
