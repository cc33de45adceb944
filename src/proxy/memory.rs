//! The memory limits of a worker, and how memory is given back.

use std::collections::HashMap;

use crate::proxy::machine::Machine;
use crate::proxy::texts::OUT_OF_MEMORY;
use crate::session::client::Client;
use crate::stats::notice::NoticeKind;
use crate::store::allocator::{
    UNCACHED_BYTES, has_memory, shrink, shrink_queue, trade_cached_pieces,
};
use crate::store::buffer::ReadBuffer;
use crate::store::key::{ClientKey, TenantSlot};

/// The tables of requests and chunks shrank by at least this since the last look: a burst is over.
const BURST_BYTES: usize = 16 * 1024;

/// The bytes that a client may keep for its login when the worker is at a limit.
const LOGIN_BYTES_MAX: usize = 4 * 1024;

/// Memory that must be available beyond what is kept. Most allocations for a client's bytes cannot
/// report a lack of memory: the process would abort.
const HEADROOM_BYTES: usize = 16 << 20;

/// The available memory is checked again when this many more bytes are kept, and in each round.
const LOOK_BYTES: usize = 4 << 20;

/// A client with less than this is not evicted for lack of memory: it would free too little.
const EVICTED_BYTES_MIN: usize = 64 * 1024;

impl Machine {
    /// Bytes of requests and replies that are kept, in both directions. An upper bound until they
    /// are [counted](Sessions::recount_kept).
    fn kept_bytes(&self) -> usize {
        self.clients.partial_bytes() + self.links.chunks().bytes() + self.unread_bytes()
    }

    fn unread_bytes(&self) -> usize {
        self.clients.chunks().bytes() + self.requests.parked_bytes()
    }

    /// Keeps the worker within its limits by evicting the largest client.
    pub(super) fn keep_limits(&mut self) {
        let (unread_max, kept_max) = (
            self.settings.worker_outbound_bytes_max,
            self.settings.worker_buffer_bytes_max,
        );
        while self.unread_bytes() > unread_max {
            let Some(worst) = self.worst(Client::unread_bytes) else {
                break;
            };
            let unread = self.unread_bytes();
            self.evict(worst, NoticeKind::WorkerOutbound, unread as u64);
        }
        if self.kept_bytes() <= kept_max.min(self.scratch.proven_bytes) {
            return;
        }
        self.keep_headroom();
        if self.kept_bytes() <= kept_max {
            return;
        }
        let mut of_clients = self.clients.recount_kept();
        // The rest are bytes that servers are slow to take: that ends without evictions.
        while self.kept_bytes() > kept_max && of_clients > kept_max / 2 {
            let Some(worst) = self.worst(Client::kept_bytes) else {
                break;
            };
            let kept = self.kept_bytes() as u64;
            self.give_up(worst, NoticeKind::WorkerBuffer, kept);
            of_clients = self.clients.recount_kept();
        }
    }

    /// Checks that memory is available beyond what is kept; if not, clients are evicted as at a
    /// limit.
    #[cold]
    fn keep_headroom(&mut self) {
        if self.kept_bytes() <= self.scratch.proven_bytes {
            return;
        }
        let large = |client: &Client| match client.kept_bytes() {
            ..EVICTED_BYTES_MIN => 0,
            bytes => bytes,
        };
        while !has_memory(HEADROOM_BYTES + 2 * self.table_bytes()) {
            self.clients.recount_kept();
            let Some(worst) = self.worst(large) else {
                break;
            };
            let kept = self.kept_bytes() as u64;
            self.give_up(worst, NoticeKind::Memory, kept);
            self.clients.chunks_mut().trim();
            self.links.chunks_mut().trim();
        }
        self.scratch.proven_bytes = self.kept_bytes() + LOOK_BYTES;
    }

    /// Bytes of tables that may have to double: while they grow, the old and the new copy exist.
    fn table_bytes(&self) -> usize {
        self.requests.table_bytes()
            + self.clients.chunks().table_bytes()
            + self.links.chunks().table_bytes()
    }

    /// The client to evict at a limit of the worker, by the bytes that `of` counts: the largest
    /// anonymous client that keeps more than a login needs. If there is none: the largest client of
    /// the tenant that uses most of its share, so that no tenant is evicted because of another
    /// tenant or of anonymous clients.
    fn worst(&self, of: fn(&Client) -> usize) -> Option<ClientKey> {
        let anonymous = (self.clients.iter())
            .filter(|(key, client)| of(client) > LOGIN_BYTES_MAX && self.must_log_in(*key));
        if let Some((key, _)) = anonymous.max_by_key(|(_, client)| of(client)) {
            return Some(key);
        }
        let all = self.usage(of);
        let used = |&(tenant, bytes): &(TenantSlot, usize)| {
            ((bytes as u128) << u32::BITS) / self.share_of(tenant) as u128
        };
        let (tenant, _) = all.into_iter().max_by_key(used)?;
        self.largest(tenant, of)
    }

    /// The bytes that this worker may keep for a tenant, at least 1.
    fn share_of(&self, tenant: TenantSlot) -> usize {
        let own = self.upstreams.buffer_bytes_max(tenant);
        let share = match (own, self.settings.tenant_buffer_bytes_max) {
            (Some(own), _) => usize::try_from(own).unwrap_or(usize::MAX),
            (None, 0) => usize::MAX,
            (None, max) => max,
        };
        share.min(self.settings.worker_buffer_bytes_max).max(1)
    }

    /// The client of a tenant with the most bytes; `None` if none of its clients has any.
    fn largest(&self, tenant: TenantSlot, of: fn(&Client) -> usize) -> Option<ClientKey> {
        let upstreams = &self.upstreams;
        let its = (self.clients.iter())
            .filter(|(_, it)| upstreams.tenant_of_account(it.account()) == tenant && of(it) > 0);
        its.max_by_key(|(_, client)| of(client)).map(|(key, _)| key)
    }

    /// The bytes of each tenant's clients.
    fn usage(&self, of: fn(&Client) -> usize) -> HashMap<TenantSlot, usize> {
        let mut all = HashMap::new();
        for (_, client) in self.clients.iter() {
            let tenant = self.upstreams.tenant_of_account(client.account());
            *all.entry(tenant).or_default() += of(client);
        }
        all
    }

    /// Keeps each tenant within its share of the worker by evicting its largest client, even if the
    /// worker is below its limit.
    pub(super) fn keep_tenant_limits(&mut self) {
        let tenants = self.upstreams.tenants();
        let least = tenants.map(|slot| self.share_of(slot)).min();
        let least = least
            .unwrap_or(usize::MAX)
            .min(self.share_of(TenantSlot::NONE));
        if self.kept_bytes() <= least {
            return;
        }
        self.clients.recount_kept();
        for (tenant, mut bytes) in self.usage(Client::kept_bytes) {
            let max = self.share_of(tenant);
            if bytes <= max {
                continue;
            }
            let upstreams = &self.upstreams;
            let its = (self.clients.iter())
                .filter(|(_, it)| upstreams.tenant_of_account(it.account()) == tenant);
            let mut its: Vec<_> = its.map(|(key, it)| (it.kept_bytes(), key)).collect();
            its.sort_unstable();
            while bytes > max
                && let Some((kept, key)) = its.pop()
            {
                self.give_up(key, NoticeKind::TenantBuffer, bytes as u64);
                bytes = bytes.saturating_sub(kept);
            }
        }
    }

    /// Evicts a client to free memory. The client gets an error only if nothing of it is in flight
    /// or buffered.
    fn give_up(&mut self, key: ClientKey, kind: NoticeKind, kept: u64) {
        let client = self.clients.get(key);
        if client.is_some_and(|client| client.is_quiet() && !client.is_closing()) {
            self.note_eviction(key, kind, kept);
            self.reply_error_and_close(key, &OUT_OF_MEMORY);
            // With CLIENT REPLY OFF there is nothing to send before the close.
            self.mark_ready(key);
        } else {
            self.evict(key, kind, kept);
        }
    }

    /// Evicts a client whose send buffer is above its limit.
    pub(super) fn close_overfull(&mut self, key: ClientKey) {
        let unread = self.clients.get(key).map_or(0, Client::unread_bytes);
        self.evict(key, NoticeKind::ClientOutbound, unread as u64);
    }

    /// Frees memory that is not needed now.
    pub(super) fn trim(&mut self) {
        let tables = self.table_bytes();
        self.clients.recount_partial();
        self.scratch.proven_bytes = 0;
        self.clients.trim();
        self.links.trim();
        self.requests.trim();
        shrink_queue(&mut self.actions);
        self.work.trim();
        for room in [&mut self.scratch.out, &mut self.scratch.inline_frame] {
            room.clear();
            shrink(room, UNCACHED_BYTES);
        }
        if self.table_bytes() + BURST_BYTES <= tables {
            trade_cached_pieces();
        }
        // The buffer is allocated again. It may lie above free memory and keep glibc from returning
        // that memory to the system; and glibc returns memory only when it frees a piece as large
        // as this buffer.
        self.scratch.buffer = ReadBuffer::new();
    }
}
