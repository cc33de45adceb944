//! The network of a [`check`](super): opens and breaks links, and delivers the bytes of the
//! servers.

use std::io::IoSlice;

use crate::resp::{Args, RequestDecoder, RequestLimits, Step};

use crate::link::failure::Failure;
use crate::proxy::action::Flow;
use crate::proxy::check::traffic::reply_to;
use crate::proxy::check::{Wire, World};
use crate::store::chunk::SLICES_MAX;
use crate::store::key::{ConnKey, LinkKey};

/// The most bytes that are read from a link at once.
const PIECE_BYTES: usize = 128 * 1024;

impl World<'_> {
    /// A wire for which `wanted` holds.
    fn wire(&mut self, wanted: impl Fn(&LinkKey, &Wire) -> bool) -> Option<LinkKey> {
        let wires = self.wires.iter();
        let keys: Vec<LinkKey> = wires
            .filter(|(key, wire)| wanted(key, wire))
            .map(|(key, _)| *key)
            .collect();
        self.input.pick(&keys)
    }

    pub(super) fn connect(&mut self) {
        if let Some(key) = self.wire(|_, wire| !wire.open)
            && let Some(wire) = self.wires.get_mut(&key)
        {
            wire.open = true;
            self.machine.link_connected(key);
        }
    }

    pub(super) fn break_link(&mut self) {
        let Some(key) = self.wire(|_, _| true) else {
            return;
        };
        self.wires.remove(&key);
        let failure = match self.input.number() % 3 {
            0 => Failure::Unreachable("connection refused".into()),
            _ => Failure::Lost,
        };
        self.machine.link_failed(key, &failure);
    }

    pub(super) fn server_sends(&mut self, bytes: &[u8]) {
        let paused = self.paused_links.clone();
        if let Some(key) = self.wire(|key, wire| wire.open && !paused.contains(key)) {
            self.deliver(key, bytes);
        }
    }

    fn deliver(&mut self, key: LinkKey, bytes: &[u8]) {
        if self.machine.link_bytes(key, bytes) == Flow::Pause {
            self.paused_links.insert(key);
        }
    }

    /// A server answers all requests that it received, as a correct one does.
    pub(super) fn serve(&mut self) {
        let paused = self.paused_links.clone();
        let Some(key) = self.wire(|key, wire| wire.open && !paused.contains(key)) else {
            return;
        };
        let Some(wire) = self.wires.get_mut(&key) else {
            return;
        };
        let mut replies = std::mem::take(&mut wire.unread);
        let mut decoder = RequestDecoder::default();
        if std::mem::take(&mut wire.session.blocked) {
            replies.extend_from_slice(b"*-1\r\n");
        }
        while !wire.session.blocked
            && let Ok(Step::Array { len, .. }) =
                decoder.decode(&wire.received, &RequestLimits::AFTER_LOGIN)
        {
            let frame: Vec<u8> = wire.received.drain(..len).collect();
            reply_to(
                Args::new(&frame),
                self.fault,
                &mut wire.session,
                &mut replies,
            );
        }
        // A large reply arrives in pieces; what the machine does not read stays in the wire.
        let mut pieces = replies.chunks(PIECE_BYTES);
        for piece in pieces.by_ref() {
            self.deliver(key, piece);
            if self.paused_links.contains(&key) {
                break;
            }
        }
        if let Some(wire) = self.wires.get_mut(&key) {
            wire.unread = pieces.flatten().copied().collect();
        }
    }

    /// Makes a client slow (it reads nothing by itself), lets it read some bytes, or lets it read
    /// on.
    pub(super) fn read_some(&mut self) {
        let how = self.input.number();
        let Some(key) = self.input.pick(&self.clients) else {
            return;
        };
        match how % 4 {
            0 | 1 => drop(self.slow_clients.insert(key)),
            2 => self.take(ConnKey::Client(key), 1 + (how / 4) * 8_000),
            _ => {
                self.slow_clients.remove(&key);
                self.take(ConnKey::Client(key), usize::MAX);
            }
        }
    }

    /// The network takes at most this many of a connection's bytes to send.
    fn take(&mut self, key: ConnKey, most: usize) {
        let mut left = most;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = self.machine.outbound(key, &mut slices);
            let all: usize = slices.iter().take(n).map(|slice| slice.len()).sum();
            let taken = all.min(left);
            left -= taken;
            if !self.machine.sent(key, taken) || taken == 0 {
                return;
            }
        }
    }

    /// The network takes some of the bytes to send.
    pub(super) fn flush(&mut self) {
        let how = self.input.number();
        while let Some(key) = self.machine.next_dirty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = self.machine.outbound(key, &mut slices);
            let all: Vec<u8> = (slices.iter().take(n))
                .flat_map(|slice| slice.iter().copied())
                .collect();
            let slow = matches!(key, ConnKey::Client(key) if self.slow_clients.contains(&key));
            let taken = match how % 4 {
                _ if slow => 0,
                0 => all.len() * (how / 4) / 64,
                _ => all.len(),
            };
            if let ConnKey::Link(key) = key
                && let Some(wire) = self.wires.get_mut(&key)
            {
                wire.received.extend(all.iter().take(taken));
            }
            self.machine.sent(key, taken);
        }
    }
}
