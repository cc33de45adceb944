//! What a worker keeps in memory for others, its limits, and how it is given back.

use std::collections::VecDeque;

use slab::Slab;

use super::buffer::ReadBuffer;
use super::client::{Client, Flag};
use super::key::ClientKey;
use super::machine::Machine;
use super::notice::Bound;

/// The error for a request that is too large for what memory there is.
pub(super) const OUT_OF_MEMORY: &str = "ERR elika: out of memory for this request";

/// Bytes of replies that a client may leave unread before it has logged in: it is read again when
/// it has read half of them.
pub(super) const ANONYMOUS_UNREAD_BYTES_MAX: usize = 64 * 1024;

impl Machine {
    /// Bytes of requests and replies that are kept here: those on their way in, those on their way
    /// out. It may be too many, until they are [counted](Self::count_partial).
    fn kept_bytes(&self) -> usize {
        self.partial_bytes + self.to_backends.bytes() + self.unread_bytes()
    }

    fn unread_bytes(&self) -> usize {
        self.to_clients.bytes() + self.requests.parked_bytes()
    }

    /// Keeps the worker within its limits: the client that takes up most goes.
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
            self.evict(worst, Bound::WorkerOutbound, unread as u64);
        }
        if self.kept_bytes() <= kept_max {
            return;
        }
        let mut of_clients = self.count_partial();
        // Without them, it is what backends are slow to take: that ends by itself.
        while self.kept_bytes() > kept_max && of_clients > kept_max / 2 {
            let Some(worst) = self.worst(Client::kept_bytes) else {
                break;
            };
            self.give_up(worst);
            of_clients = self.count_partial();
        }
    }

    /// The client with the most bytes, as `of` counts them.
    fn worst(&self, of: fn(&Client) -> usize) -> Option<ClientKey> {
        let worst = self.clients.iter().max_by_key(|(_, client)| of(client));
        let (key, client) = worst?;
        (of(client) > 0).then_some(key)
    }

    /// A client goes, so that there is room for others. It hears why, if it only sends too much.
    fn give_up(&mut self, key: ClientKey) {
        let kept = self.kept_bytes() as u64;
        let client = self.clients.get(key);
        if client.is_some_and(|client| client.is_quiet() && !client.is(Flag::Closing)) {
            self.note_eviction(key, Bound::WorkerBuffer, kept);
            self.say_and_close(key, OUT_OF_MEMORY);
            // It may have asked for silence, and then there is nothing to be sent before it goes.
            self.wake(key);
        } else {
            self.evict(key, Bound::WorkerBuffer, kept);
        }
    }

    /// Too many replies wait for a client.
    pub(super) fn close_overfull(&mut self, key: ClientKey) {
        let unread = self.clients.get(key).map_or(0, Client::unread_bytes);
        self.evict(key, Bound::ClientOutbound, unread as u64);
    }

    /// Counts what is kept of incomplete requests: until the next time, what comes is added and
    /// what goes is not subtracted. Returns all that is kept for clients.
    fn count_partial(&mut self) -> usize {
        let clients = self.clients.iter();
        let partial = clients.filter_map(|(_, client)| client.inbound.as_ref());
        self.partial_bytes = partial.map(|inbound| inbound.bytes.len()).sum();
        self.clients.iter().map(|(_, it)| it.kept_bytes()).sum()
    }

    /// Gives memory back that was needed once.
    pub(super) fn trim(&mut self) {
        self.count_partial();
        self.to_clients.trim();
        self.to_backends.trim();
        self.trim_spares();
        self.requests.trim();
        shrink_queue(&mut self.actions);
        shrink_queue(&mut self.ready);
        shrink_queue(&mut self.dirty_clients);
        self.clients.shrink();
        self.backends.shrink();
        // The buffer may have come last, after many that are gone, and hold what is beneath it; and
        // not before something so large is freed does glibc look for what it can give back.
        self.buffer = ReadBuffer::new();
    }
}

/// Makes the memory of an empty slab small, which it can only be while there is something in it.
///
/// Large memory is to be made small before it is freed: glibc takes the largest piece that it sees
/// freed for a size that comes and goes, and from then on keeps up to twice as much of what is
/// free (mallopt(3), `M_MMAP_THRESHOLD`; malloc.c, `mp_.trim_threshold`).
#[cold]
pub(super) fn make_small<T>(slab: &mut Slab<T>, something: T) -> T {
    slab.clear();
    let index = slab.insert(something);
    slab.shrink_to_fit();
    slab.remove(index)
}

/// Gives back the memory of a slab that holds nothing; see [`make_small`].
pub(super) fn give_back<T>(slab: &mut Slab<T>, something: T) {
    make_small(slab, something);
    *slab = Slab::new();
}

/// Gives back what a queue needed once; see [`make_small`].
fn shrink_queue<T>(queue: &mut VecDeque<T>) {
    queue.shrink_to(1);
    // And not left where it is, which may be behind all that has been freed.
    queue.shrink_to(0);
}
