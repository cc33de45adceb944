//! Bytes on their way to clients, and bytes kept of them.

use std::collections::VecDeque;

use super::waits::mark_ready;
use super::{ClientLimits, Full, Sessions};
use crate::link::request::{Kind, Requests, parked_size};
use crate::session::client::{Client, Flag, Hold};
use crate::session::inbound::Inbound;
use crate::stats::counters::Counters;
use crate::store::chunk::{ChunkList, ChunkPool};
use crate::store::key::ClientKey;
use crate::store::time::Millis;

impl Sessions {
    pub(crate) fn chunks(&self) -> &ChunkPool {
        &self.chunks
    }

    pub(crate) fn chunks_mut(&mut self) -> &mut ChunkPool {
        &mut self.chunks
    }

    /// Appends bytes for a client, and has them sent in this turn. Returns whether too many wait
    /// for it.
    pub(crate) fn write(&mut self, key: ClientKey, bytes: &[u8]) -> Full {
        let Some(client) = self.table.get_mut(key) else {
            return Full::No;
        };
        self.chunks.append(&mut client.outbound, bytes);
        mark_dirty(&mut self.dirty, client, key);
        self.limits.full(client)
    }

    /// Appends a reply made here behind the replies that are still to come.
    pub(crate) fn park(&mut self, requests: &mut Requests, key: ClientKey, reply: &[u8]) -> Full {
        let Some(client) = self.table.get_mut(key) else {
            return Full::No;
        };
        let size = requests.park(&mut client.fifo, key, reply, &mut self.chunks);
        client.count_parked(size);
        self.limits.full(client)
    }

    /// Gives a client bytes of the replies of a record, of which `done` are complete. `through`:
    /// they were the last, and the record has left its link's queue. Before its turn they are
    /// kept; if the client has gone, they are dropped.
    pub(crate) fn deliver(
        &mut self,
        requests: &mut Requests,
        counters: &mut Counters,
        (key, index): (ClientKey, u32),
        (kind, part): (Kind, &[u8]),
        (done, through): (u32, bool),
    ) -> Full {
        let Some(client) = self.table.get_mut(key) else {
            counters.replies_dropped += u64::from(done);
            if through {
                requests.remove(index);
            }
            return Full::No;
        };
        client.in_flight -= done;
        let in_turn = client.fifo.head == index;
        if kind != Kind::Deliver {
            counters.replies_dropped += u64::from(done);
        } else {
            counters.replies += u64::from(done);
            match in_turn {
                true => self.chunks.append(&mut client.outbound, part),
                false => client.count_parked(requests.keep(index, part, &mut self.chunks)),
            }
        }
        if through {
            if requests.get(index).is_some_and(|it| it.writes) && client.pin().is_none() {
                client.has_written();
            }
            match in_turn {
                true => {
                    requests.leave_client(&mut client.fifo);
                    release_parked(requests, &mut self.chunks, client);
                }
                false => requests.complete(index),
            }
        }
        if !client.outbound.is_empty() {
            mark_dirty(&mut self.dirty, client, key);
        }
        if may_go_on(client, self.draining, self.limits) {
            mark_ready(&mut self.ready, client, key);
        }
        self.limits.full(client)
    }

    /// Lets replies made here go out that wait for nothing but their turn.
    pub(crate) fn release_parked(&mut self, requests: &mut Requests, key: ClientKey) {
        if let Some(client) = self.table.get_mut(key) {
            release_parked(requests, &mut self.chunks, client);
            if !client.outbound.is_empty() {
                mark_dirty(&mut self.dirty, client, key);
            }
        }
    }

    /// Replies that a client was to get take the place of a record that no server answers.
    pub(crate) fn answer(
        &mut self,
        requests: &mut Requests,
        (key, index): (ClientKey, u32),
        replies: ChunkList,
    ) {
        if let Some(client) = self.table.get_mut(key) {
            client.count_parked(parked_size(&replies));
            requests.answer(index, replies, &mut self.chunks);
        }
    }

    /// A client hears nothing more: what is still to come for it is dropped.
    pub(crate) fn silence(&mut self, requests: &mut Requests, key: ClientKey) {
        if let Some(client) = self.table.get(key) {
            requests.silence(client.fifo, &mut self.chunks);
        }
    }

    pub(crate) fn mark_dirty(&mut self, key: ClientKey) {
        if let Some(client) = self.table.get_mut(key) {
            mark_dirty(&mut self.dirty, client, key);
        }
    }

    /// The next client that has something to read.
    pub(crate) fn next_dirty(&mut self) -> Option<ClientKey> {
        while let Some(key) = self.dirty.pop_front() {
            if let Some(client) = self.table.get_mut(key) {
                client.clear(Flag::Dirty);
                return Some(key);
            }
        }
        None
    }

    /// What is to be sent to a client now.
    #[inline]
    pub(crate) fn to_send(&self, key: ClientKey) -> Option<(&ChunkPool, &ChunkList)> {
        let client = self.table.get(key)?;
        Some((&self.chunks, &client.outbound))
    }

    /// `n` bytes of a client were read. A client that closes is not active by that.
    #[inline]
    pub(crate) fn received(&mut self, key: ClientKey, n: usize) -> Option<&mut Client> {
        let client = self.table.get_mut(key)?;
        client.count_read(n);
        if !client.is_closing() {
            client.active = self.now;
        }
        Some(client)
    }

    /// The kernel has taken `n` bytes for a client. Returns the client, with what is left.
    #[inline]
    pub(crate) fn sent(&mut self, key: ClientKey, n: usize) -> Option<&Client> {
        let client = self.table.get_mut(key)?;
        self.chunks.consume(&mut client.outbound, n);
        if n > 0 {
            // It reads.
            client.count_written(n);
            client.active = self.now;
            if !self.stuck.is_empty() {
                self.stuck.remove(&key);
            }
        }
        Some(client)
    }

    /// Looks which clients have something to read. Returns those that have taken none of it for
    /// `max` milliseconds, and for how long. One that has just been written to is looked at the
    /// next time.
    pub(crate) fn find_stuck(&mut self, max: u64, now: Millis) -> Vec<(ClientKey, u64)> {
        let table = &self.table;
        let stuck = |client: &Client| !client.outbound.is_empty() && !client.is(Flag::Dirty);
        self.stuck
            .retain(|key, _| table.get(*key).is_some_and(stuck));
        for (key, _) in table.iter().filter(|(_, client)| stuck(client)) {
            self.stuck.entry(key).or_insert(now);
        }
        let all = self.stuck.iter();
        all.map(|(key, since)| (*key, now.since(*since)))
            .filter(|(_, ms)| *ms >= max)
            .collect()
    }

    /// A record for bytes of a client that cannot be consumed yet.
    pub(crate) fn take_spare(&mut self) -> Box<Inbound> {
        self.spares.take()
    }

    /// Keeps a record for the next client that needs one.
    pub(crate) fn put_spare(&mut self, inbound: Box<Inbound>, to_links: &mut ChunkPool) {
        self.spares.put(inbound, to_links);
    }

    /// So many more bytes are kept of incomplete requests, or of answers that are gathered.
    pub(crate) fn count_partial(&mut self, bytes: usize) {
        self.partial_bytes += bytes;
    }

    /// Bytes kept of incomplete requests, of names and of unfinished lists. It may be too many,
    /// until they are [counted](Self::recount_partial).
    pub(crate) fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// Counts them. Until the next time, what comes is added and what goes is not subtracted.
    pub(crate) fn recount_partial(&mut self) {
        let partial = |client: &Client| {
            let inbound = client.inbound.as_ref().map_or(0, |it| it.bytes.len());
            inbound + client.name_bytes() + client.gathered_bytes()
        };
        self.partial_bytes = self.table.iter().map(|(_, it)| partial(it)).sum();
    }
}

impl ClientLimits {
    #[inline]
    fn full(self, client: &Client) -> Full {
        match client.unread_bytes() > self.outbound_bytes {
            true => Full::Yes,
            false => Full::No,
        }
    }
}

/// Is there anything a client was waiting for that may have happened now?
#[inline]
fn may_go_on(client: &Client, draining: bool, limits: ClientLimits) -> bool {
    let over = client.hold.has(Hold::IN_FLIGHT) && client.in_flight <= limits.in_flight / 2;
    let done = client.hold.has(Hold::BARRIER) || client.is(Flag::Eof) || draining;
    over || (done && client.fifo.is_empty())
}

#[inline]
fn mark_dirty(dirty: &mut VecDeque<ClientKey>, client: &mut Client, key: ClientKey) {
    if !client.is(Flag::Dirty) {
        client.set(Flag::Dirty);
        dirty.push_back(key);
    }
}

fn release_parked(requests: &mut Requests, chunks: &mut ChunkPool, client: &mut Client) {
    while let Some(mut replies) = requests.take_kept(&mut client.fifo) {
        client.count_unparked(parked_size(&replies));
        chunks.join(&mut client.outbound, &mut replies);
    }
}
