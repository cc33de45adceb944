//! The way out: which connections have bytes to send, what they are, and what follows when they
//! are gone.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::link::request::{Requests, parked_size};
use crate::proxy::action::Action;
use crate::proxy::forward::route::BACKEND_OUTBOUND_BYTES_MAX;
use crate::proxy::machine::{Machine, mark_ready};
use crate::session::client::{Client, Flag, Hold};
use crate::store::chunk::{ChunkList, ChunkPool};
use crate::store::key::{ClientKey, ConnKey, LinkKey};

/// A client that reads slowly: with no more than this to read, its backend is read again.
const RESUME_BYTES: usize = 64 * 1024;

impl Machine {
    /// The next connection that has bytes to send: backends first, so that their replies may
    /// still come in this turn, and in the order in which requests came. A server that is asked
    /// by two clients one after the other so hears them in that order.
    pub fn next_dirty(&mut self) -> Option<ConnKey> {
        if let Some(key) = self.links.next_dirty() {
            return Some(ConnKey::Link(key));
        }
        while let Some(key) = self.dirty_clients.pop_front() {
            if let Some(client) = self.clients.get_mut(key) {
                client.clear(Flag::Dirty);
                return Some(ConnKey::Client(key));
            }
        }
        None
    }

    /// Bytes that a connection has to send.
    pub fn outbound_len(&self, key: ConnKey) -> usize {
        self.to_send(key).map_or(0, |(_, list)| list.len())
    }

    /// All that a connection has to send, if that is in one piece.
    pub fn outbound_whole(&self, key: ConnKey) -> Option<&[u8]> {
        let (pool, list) = self.to_send(key)?;
        pool.whole(list)
    }

    /// The front of what a connection has to send; returns how many slices were filled.
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
            ConnKey::Client(key) => {
                let client = self.clients.get(key)?;
                Some((&self.to_clients, &client.outbound))
            }
            ConnKey::Link(key) => self.links.to_send(key),
        }
    }

    /// `n` bytes of what [`outbound`](Self::outbound) showed have been taken by the kernel.
    /// Returns whether there is more.
    #[inline]
    pub fn sent(&mut self, key: ConnKey, n: usize) -> bool {
        match key {
            ConnKey::Client(key) => self.sent_to_client(key, n),
            ConnKey::Link(key) => self.sent_to_link(key, n),
        }
    }

    fn sent_to_client(&mut self, key: ClientKey, n: usize) -> bool {
        let Some(client) = self.clients.get_mut(key) else {
            return false;
        };
        self.to_clients.consume(&mut client.outbound, n);
        if n > 0 {
            // It reads.
            client.count_written(n);
            client.active = self.tenths;
            if !self.stuck.is_empty() {
                self.stuck.remove(&key);
            }
        }
        let left = client.outbound.len();
        if left <= RESUME_BYTES
            && let Some(link) = self.links.get_mut(client.link)
            && link.unpause(self.now)
        {
            self.actions
                .push_back(Action::Resume(ConnKey::Link(client.link)));
        }
        if left == 0 && (client.is(Flag::Closing) || client.is(Flag::Eof) || self.draining) {
            self.settle(key);
        }
        left > 0
    }

    fn sent_to_link(&mut self, key: LinkKey, n: usize) -> bool {
        let left = self.links.sent(key, n);
        if !self.crowded.is_empty() && left <= BACKEND_OUTBOUND_BYTES_MAX / 2 {
            self.release_crowd(key);
        }
        left > 0
    }

    /// A backend has room again, or is gone: who waited for that goes on.
    pub(super) fn release_crowd(&mut self, link: LinkKey) {
        let (mut i, mut woken) = (0, Vec::new());
        while let Some(&(of, client)) = self.crowded.get(i) {
            if of == link {
                self.crowded.swap_remove(i);
                woken.push(client);
            } else {
                i += 1;
            }
        }
        for key in woken {
            if let Some(client) = self.clients.get_mut(key) {
                client.hold.clear(Hold::BACKEND);
                mark_ready(&mut self.ready, client, key);
            }
        }
    }
}

/// Has a client's bytes sent this turn.
pub(super) fn mark_client_dirty(
    dirty: &mut VecDeque<ClientKey>,
    client: &mut Client,
    key: ClientKey,
) {
    if !client.is(Flag::Dirty) {
        client.set(Flag::Dirty);
        dirty.push_back(key);
    }
}

/// Lets replies made here go that waited for nothing but their turn.
pub(super) fn release_parked(requests: &mut Requests, chunks: &mut ChunkPool, client: &mut Client) {
    while let Some(mut replies) = requests.take_parked(&mut client.fifo) {
        client.count_unparked(parked_size(&replies));
        chunks.join(&mut client.outbound, &mut replies);
    }
}
