//! All clients of a worker: their table, the bytes on their way to them, and which of them want to
//! be looked at.

mod bytes;
mod waits;

use std::collections::{HashMap, VecDeque};

use crate::link::request::Requests;
use crate::session::client::Client;
use crate::session::inbound::Spares;
use crate::session::share::{Rows, Share, Throttled};
use crate::store::allocator::{give_back_list, shrink_queue};
use crate::store::chunk::ChunkPool;
use crate::store::key::{ClientKey, LinkKey, TenantSlot};
use crate::store::table::Table;
use crate::store::time::{Millis, Tenths};

/// Limits of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientLimits {
    /// Requests that are not answered yet; more are read later.
    pub in_flight: u32,
    /// Bytes of replies that it has not read: above it the client is closed.
    pub outbound_bytes: usize,
}

/// Do too many bytes wait for a client?
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Full {
    No,
    Yes,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Table<ClientKey, Client>,
    /// Bytes on their way to clients.
    chunks: ChunkPool,
    limits: ClientLimits,
    /// The time, as it is noted for each read and each write.
    now: Tenths,
    /// Clients that have something to read.
    dirty: VecDeque<ClientKey>,
    /// Clients whose hold may be over, or that may be done.
    ready: VecDeque<ClientKey>,
    /// No new work is wanted: clients are closed as soon as nothing of theirs is in flight.
    draining: bool,
    /// What is left of the go of the client whose bytes are decoded.
    pub share: Share,
    /// Clients that had their go, and sent more.
    pub backlog: Rows,
    /// Clients that wait for their tenant's rate.
    pub throttled: Throttled,
    /// Clients whose question about other clients is to be put, or the next slice of it.
    pub questions: Rows,
    /// Clients that asked for another one's own link, which is not ready yet.
    asks_again: Vec<ClientKey>,
    /// Clients that wait for their tenant to go on, or for the one they want to log in to.
    paused: Vec<(ClientKey, TenantSlot)>,
    /// Clients that wait for a server to take what it was sent.
    crowded: Vec<(LinkKey, ClientKey)>,
    /// Clients that had something to read when they were looked at last, and took none of it since
    /// then.
    stuck: HashMap<ClientKey, Millis>,
    spares: Spares,
    /// Bytes kept of incomplete requests in one piece, at most.
    partial_bytes: usize,
}

impl Sessions {
    pub(crate) fn new(limits: ClientLimits) -> Self {
        Self {
            table: Table::default(),
            chunks: ChunkPool::of_short_lists(),
            limits,
            now: Tenths::default(),
            dirty: VecDeque::new(),
            ready: VecDeque::new(),
            draining: false,
            share: Share::default(),
            backlog: Rows::default(),
            throttled: Throttled::default(),
            questions: Rows::default(),
            asks_again: Vec::new(),
            paused: Vec::new(),
            crowded: Vec::new(),
            stuck: HashMap::new(),
            spares: Spares::default(),
            partial_bytes: 0,
        }
    }

    /// The time of the calls that follow.
    pub(crate) fn set_time(&mut self, now: Millis) {
        self.now = now.tenths();
    }

    pub(crate) fn open(&mut self, client: Client) -> ClientKey {
        self.table.insert(client)
    }

    #[inline]
    pub(crate) fn get(&self, key: ClientKey) -> Option<&Client> {
        self.table.get(key)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        self.table.get_mut(key)
    }

    pub(crate) fn contains(&self, key: ClientKey) -> bool {
        self.table.contains(key)
    }

    /// Takes a client out, and gives back the memory of all that waits for it.
    pub(crate) fn remove(
        &mut self,
        key: ClientKey,
        requests: &mut Requests,
        to_links: &mut ChunkPool,
    ) -> Option<Client> {
        let mut client = self.table.remove(key)?;
        requests.abandon(&mut client.fifo, &mut self.chunks);
        self.chunks.clear(&mut client.outbound);
        if let Some(inbound) = client.inbound.take() {
            self.spares.put(inbound, to_links);
        }
        Some(client)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.table.iter()
    }

    /// The clients of some slots of the table.
    pub(crate) fn within(
        &self,
        slots: std::ops::Range<usize>,
    ) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.table.within(slots)
    }

    /// No client's slot is as high.
    pub(crate) fn slots(&self) -> usize {
        self.table.slots()
    }

    pub(crate) fn keys(&self) -> Vec<ClientKey> {
        self.table.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Gives memory back that is not needed at the moment.
    pub(crate) fn trim(&mut self) {
        self.chunks.trim();
        shrink_queue(&mut self.ready);
        shrink_queue(&mut self.dirty);
        self.table.shrink();
        give_back_list(&mut self.crowded);
        give_back_list(&mut self.asks_again);
        give_back_list(&mut self.paused);
        self.spares.trim();
    }
}

#[cfg(test)]
mod tests;
