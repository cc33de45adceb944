//! All clients of a worker: their table, the bytes to send to them, and the lists of clients that
//! need attention.

mod bytes;
mod settings;
mod turns;
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
    /// Requests in flight; above it the client is read paused.
    pub in_flight: u32,
    /// Bytes of replies that the client has not read; above it the client is closed.
    pub outbound_bytes: usize,
}

/// Is a client's buffer above its limit?
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Full {
    No,
    Yes,
}

/// All clients of a worker. See the module.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Table<ClientKey, Client>,
    /// Bytes to send to clients.
    chunks: ChunkPool,
    limits: ClientLimits,
    /// The time that each read and each write notes.
    now: Tenths,
    /// Clients with bytes to send.
    dirty: VecDeque<ClientKey>,
    /// Clients that may continue or may be finished.
    ready: VecDeque<ClientKey>,
    /// Draining: a client is closed as soon as nothing of it is in flight.
    draining: bool,
    /// The unused share of the client whose bytes are being decoded.
    share: Share,
    /// Clients that used their share and have more commands buffered.
    backlog: Rows,
    /// Clients that wait for their tenant's rate.
    throttled: Throttled,
    /// Clients whose question about other clients, or its next slice, is to be asked.
    questions: Rows,
    /// Clients whose question is asked again: the other client's dedicated link was not ready.
    asks_again: Vec<ClientKey>,
    /// Clients that wait for the end of a pause of their tenant, or of the one they log in to.
    paused: Vec<(ClientKey, TenantSlot)>,
    /// Clients that wait for a link to have room for more requests.
    waiting_for_room: Vec<(LinkKey, ClientKey)>,
    /// Clients that had bytes to read at the last check, and have taken none of them since.
    stuck: HashMap<ClientKey, Millis>,
    spares: Spares,
    /// Bytes of incomplete requests kept in one piece; an upper bound.
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
            waiting_for_room: Vec::new(),
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

    /// Removes a client and frees the memory of all that waits for it.
    pub(crate) fn remove(
        &mut self,
        key: ClientKey,
        requests: &mut Requests,
        to_links: &mut ChunkPool,
    ) -> Option<Client> {
        let mut client = self.table.remove(key)?;
        requests.forget_client(&mut client.fifo, &mut self.chunks);
        self.chunks.clear(&mut client.outbound);
        if let Some(inbound) = client.inbound.take() {
            self.spares.put(inbound, to_links);
        }
        Some(client)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientKey, &Client)> + Clone {
        self.table.iter()
    }

    /// The clients in some slots of the table.
    pub(crate) fn within(
        &self,
        slots: std::ops::Range<usize>,
    ) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.table.within(slots)
    }

    /// An upper bound on the slots in use.
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

    /// Frees memory that is not needed now.
    pub(crate) fn trim(&mut self) {
        self.chunks.trim();
        shrink_queue(&mut self.ready);
        shrink_queue(&mut self.dirty);
        self.table.shrink();
        give_back_list(&mut self.waiting_for_room);
        give_back_list(&mut self.asks_again);
        give_back_list(&mut self.paused);
        self.spares.trim();
    }
}

#[cfg(test)]
mod tests;
