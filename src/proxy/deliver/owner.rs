//! What a reply needs on its way to its owner, and what follows for that client.

use std::collections::VecDeque;

use crate::link::request::{Kind, Request, Requests};
use crate::proxy::machine::mark_ready;
use crate::proxy::outbound::{mark_client_dirty, release_parked};
use crate::proxy::settings::Settings;
use crate::session::client::{Client, Flag, Hold};
use crate::stats::counters::Counters;
use crate::store::chunk::ChunkPool;
use crate::store::key::ClientKey;
use crate::store::table::Table;

/// Do too many bytes wait for a client?
#[derive(PartialEq, Eq)]
pub(in crate::proxy) enum Full {
    No,
    Yes,
}

/// What a reply needs to get to its owner.
pub(in crate::proxy) struct Owner<'a> {
    pub clients: &'a mut Table<ClientKey, Client>,
    pub requests: &'a mut Requests,
    pub chunks: &'a mut ChunkPool,
    pub dirty: &'a mut VecDeque<ClientKey>,
    pub ready: &'a mut VecDeque<ClientKey>,
    pub counters: &'a mut Counters,
    pub settings: &'a Settings,
    pub draining: bool,
}

impl Owner<'_> {
    /// Gives a client bytes of its replies, of which `done` are complete and `popped` is a record
    /// that is through. If the client has gone, nobody hears them.
    pub(in crate::proxy) fn take(
        self,
        key: ClientKey,
        kind: Kind,
        part: &[u8],
        done: u32,
        popped: Option<Request>,
    ) -> Full {
        let Some(client) = self.clients.get_mut(key) else {
            self.counters.replies_dropped += u64::from(done);
            return Full::No;
        };
        client.in_flight -= done;
        if kind == Kind::Deliver {
            self.counters.replies += u64::from(done);
            self.chunks.append(&mut client.outbound, part);
        } else {
            self.counters.replies_dropped += u64::from(done);
        }
        if let Some(popped) = popped {
            if popped.writes && client.pin.is_none() {
                client.has_written();
            }
            Requests::advance_client(&mut client.fifo, &popped);
            release_parked(self.requests, self.chunks, client);
        }
        if !client.outbound.is_empty() {
            mark_client_dirty(self.dirty, client, key);
        }
        if may_go_on(client, self.draining, self.settings) {
            mark_ready(self.ready, client, key);
        }
        if client.unread_bytes() > self.settings.client_outbound_bytes_max {
            return Full::Yes;
        }
        Full::No
    }
}

/// Is there anything a client was waiting for that may have happened now?
fn may_go_on(client: &Client, draining: bool, settings: &Settings) -> bool {
    let over =
        client.hold.has(Hold::IN_FLIGHT) && client.in_flight <= settings.client_in_flight_max / 2;
    let done = client.hold.has(Hold::BARRIER) || client.is(Flag::Eof) || draining;
    over || (done && client.fifo.is_empty())
}
