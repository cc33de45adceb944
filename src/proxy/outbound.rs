//! Output: which connections have bytes to send, the bytes, and what follows when they are sent.

use std::io::IoSlice;

use crate::proxy::action::Action;
use crate::proxy::forward::route::LINK_OUTBOUND_BYTES_MAX;
use crate::proxy::machine::Machine;
use crate::session::client::Flag;
use crate::store::chunk::{ChunkList, ChunkPool};
use crate::store::key::{ClientKey, ConnKey, LinkKey};

/// A slow client with no more than this to read has caught up: its link is read again.
const RESUME_BYTES: usize = 64 * 1024;

impl Machine {
    /// The next connection with bytes to send. Links come first, in the order in which requests
    /// arrived: their replies may arrive in this turn, and a server gets the requests of two
    /// clients in that order.
    pub fn next_dirty(&mut self) -> Option<ConnKey> {
        if let Some(key) = self.links.next_dirty() {
            return Some(ConnKey::Link(key));
        }
        self.clients.next_dirty().map(ConnKey::Client)
    }

    /// The number of bytes that a connection has to send.
    pub fn outbound_len(&self, key: ConnKey) -> usize {
        self.to_send(key).map_or(0, |(_, list)| list.len())
    }

    /// All bytes that a connection has to send, if they are in one piece.
    pub fn outbound_whole(&self, key: ConnKey) -> Option<&[u8]> {
        let (pool, list) = self.to_send(key)?;
        pool.whole(list)
    }

    /// The first bytes that a connection has to send; returns how many slices were filled.
    pub fn outbound<'a>(&'a self, key: ConnKey, into: &mut [IoSlice<'a>]) -> usize {
        let Some((pool, list)) = self.to_send(key) else {
            return 0;
        };
        let n = pool.slices(list, into);
        if let Some(whole) = pool.whole(list) {
            debug_assert!(into.first().is_none_or(|first| **first == *whole));
        }
        n
    }

    #[inline]
    fn to_send(&self, key: ConnKey) -> Option<(&ChunkPool, &ChunkList)> {
        match key {
            ConnKey::Client(key) => self.clients.to_send(key),
            ConnKey::Link(key) => self.links.to_send(key),
        }
    }

    /// The kernel took `n` bytes of what [`outbound`](Self::outbound) returned. Returns whether
    /// there is more.
    #[inline]
    pub fn sent(&mut self, key: ConnKey, n: usize) -> bool {
        match key {
            ConnKey::Client(key) => self.sent_to_client(key, n),
            ConnKey::Link(key) => self.sent_to_link(key, n),
        }
    }

    fn sent_to_client(&mut self, key: ClientKey, n: usize) -> bool {
        let Some(client) = self.clients.sent(key, n) else {
            return false;
        };
        let left = client.outbound.len();
        if left <= RESUME_BYTES {
            let link = client.link;
            if self.links.unpause(link, self.now) {
                self.actions.push_back(Action::Resume(ConnKey::Link(link)));
            }
            for &(_, link) in client.lanes() {
                if self.links.unpause(link, self.now) {
                    self.actions.push_back(Action::Resume(ConnKey::Link(link)));
                }
            }
        }
        if left == 0 && (client.is_closing() || client.is(Flag::Eof) || self.clients.is_draining())
        {
            self.close_if_done(key);
            self.finish_call();
        }
        left > 0
    }

    fn sent_to_link(&mut self, key: LinkKey, n: usize) -> bool {
        let left = self.links.sent(key, n);
        if self.clients.any_waits_for_room() && left <= LINK_OUTBOUND_BYTES_MAX / 2 {
            self.clients.end_wait_for_room(key);
        }
        left > 0
    }
}
