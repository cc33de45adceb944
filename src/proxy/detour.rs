//! A big reply whose client reads slowly, and who waits behind it on the same connection.
//!
//! ```text
//!   its bytes pile up here ──► its backend is not read for now ──► the client catches up: go on
//!                                          │
//!                                          │ somebody waits behind it, for too long
//!                                          ▼
//!            those who wait for replies to reads only are asked for again on other connections;
//!            what the first one brings for them is dropped
//!                                          │
//!                                          │ somebody is left: a write is never sent twice
//!                                          ▼
//!            the reply is kept here as it comes, up to its client's limit
//! ```

use std::collections::HashSet;

use crate::command;
use crate::resp::{RequestDecoder, RequestLimits, Step};

use super::action::Flow;
use super::backend::{Backend, Failure};
use super::client::{Flag, Hold};
use super::forward::{append, unpause};
use super::key::{BackendKey, ClientKey, PoolKey};
use super::machine::Machine;
use super::pin::Verb;
use super::request::{Kind, Requests};
use super::settings::Millis;

/// Above this many bytes for a client, its backend is not read.
pub(super) const PAUSE_BYTES: usize = 256 * 1024;

/// Others wait behind a reply that is not read for so long at most before they are sent round it,
/// ms. A client on the same network takes a reply of many megabytes in that time.
const PATIENCE_MS: u64 = 20;

/// And for so long at most until a way round it is there, ms.
const PATIENCE_MAX_MS: u64 = 100;

/// Between two looks for a way round, ms.
const LOOK_AGAIN_MS: u64 = 10;

/// After so long without a way round, those who took one go back, ms.
const CALM_MS: u64 = 10_000;

/// Unanswered requests of one connection that are remembered, bytes: what a turn's pipelines have.
const RECENT_BYTES_MAX: usize = 64 * 1024;

/// Requests that came in one piece of more than this are not, bytes.
const RECENT_PIECE_BYTES_MAX: usize = 8 * 1024;

/// What becomes of those who wait behind a reply that its client reads slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stall {
    /// Nobody does.
    #[default]
    None,
    /// They have waited since then.
    Since(Millis),
    /// They cannot go elsewhere: the reply is kept here, so that theirs can come.
    Kept,
}

/// The requests that a connection carried last and has not answered, so that those that only read
/// can be asked again.
#[derive(Debug, Default)]
pub(super) struct Recent {
    bytes: Vec<u8>,
    /// Where the first of `bytes` stands in all that was ever queued for the connection.
    from: u64,
}

impl Recent {
    /// Where the next byte will stand.
    pub(super) fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    /// More was queued.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let fits = self.bytes.len() + bytes.len() <= RECENT_BYTES_MAX;
        if fits && bytes.len() <= RECENT_PIECE_BYTES_MAX {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.skip(bytes.len());
        }
    }

    /// More was queued that is not remembered, and nothing before it from now on.
    pub(super) fn skip(&mut self, len: usize) {
        self.from = self.end() + len as u64;
        self.bytes.clear();
    }

    /// All before this has been answered.
    pub(super) fn answered(&mut self, until: u64) {
        let done = usize::try_from(until.saturating_sub(self.from)).unwrap_or(usize::MAX);
        if done >= self.bytes.len() {
            self.from = self.end();
            self.bytes.clear();
        } else if done > self.bytes.len() / 2 {
            self.bytes.drain(..done);
            self.from += done as u64;
        }
    }

    fn get(&self, start: u64, end: u64) -> Option<&[u8]> {
        let start = usize::try_from(start.checked_sub(self.from)?).ok()?;
        let end = usize::try_from(end.checked_sub(self.from)?).ok()?;
        self.bytes.get(start..end)
    }
}

impl Machine {
    /// A client that does not read: its backend is not read either. If somebody waits behind it,
    /// that is so for a moment only; then the client's own limit decides.
    pub(super) fn pause_for_slow_reader(&mut self, key: BackendKey) -> Flow {
        let Some(backend) = self.backends.get_mut(key) else {
            return Flow::Continue;
        };
        // A verdict is read here, however slow its client is.
        let head = self.requests.get(backend.fifo.head);
        let Some(head) = head.filter(|head| head.kind == Kind::Deliver) else {
            return Flow::Continue;
        };
        let reader = head.client;
        let waiting = self
            .clients
            .get(reader)
            .map_or(0, |client| client.outbound.len());
        if waiting <= PAUSE_BYTES {
            return Flow::Continue;
        }
        let followed = self.has_followers(key);
        let Some(backend) = self.backends.get_mut(key) else {
            return Flow::Continue;
        };
        match backend.stall {
            // Those for whom it was kept have gone: who comes next waits anew.
            _ if !followed => backend.stall = Stall::None,
            Stall::Kept => return Flow::Continue,
            Stall::Since(_) => {}
            Stall::None => stall(&mut self.stalled, backend, key, self.now),
        }
        backend.paused = true;
        Flow::Pause
    }

    /// Looks after those who wait behind a reply that its client reads slowly. Cheap if there are
    /// none.
    pub(super) fn check_stalls(&mut self) {
        for key in std::mem::take(&mut self.stalled) {
            let Some(backend) = self.backends.get(key) else {
                continue;
            };
            let Stall::Since(since) = backend.stall else {
                continue;
            };
            let waited = self.now.since(since);
            let last = waited >= PATIENCE_MAX_MS;
            if waited < PATIENCE_MS || self.lead_round(key, last) {
                self.stalled.push(key);
                continue;
            }
            let left = self.has_followers(key);
            if let Some(backend) = self.backends.get_mut(key) {
                if left {
                    backend.stall = Stall::Kept;
                    unpause(backend, key, &mut self.actions, self.now);
                } else {
                    backend.stall = Stall::None;
                }
            }
        }
    }

    /// When [`check_stalls`](Self::check_stalls) has to look again.
    pub(super) fn next_look_at_stalls(&self) -> Option<Millis> {
        (!self.stalled.is_empty()).then(|| self.now.after(LOOK_AGAIN_MS))
    }

    /// Does anybody but the client at the head wait for something of this connection?
    pub(super) fn has_followers(&self, key: BackendKey) -> bool {
        let Some(backend) = self.backends.get(key) else {
            return false;
        };
        let mut queue = self.requests.of_backend(backend.fifo);
        let Some((_, head)) = queue.next() else {
            return false;
        };
        let reader = head.client;
        queue.any(|(_, it)| it.client != reader && self.clients.contains(it.client))
    }

    /// Sends those who wait behind the head's reply to other connections, as far as they may go:
    /// one to each if there are enough, as some may read no faster than the head. Returns whether
    /// that had better wait for more connections, unless this is the `last` look.
    fn lead_round(&mut self, key: BackendKey, last: bool) -> bool {
        let (movable, unused) = (self.movable(key), self.unused_beside(key));
        if !last && self.opens_beside(key, movable.len().saturating_sub(unused.len())) {
            return true;
        }
        for (client, to) in movable.into_iter().zip(unused.into_iter().cycle()) {
            self.ask_again_on(client, key, to);
        }
        false
    }

    /// Begins to open connections of the same pool until there are so many, or no room for more.
    /// Returns whether any is being opened.
    fn opens_beside(&mut self, key: BackendKey, wanted: usize) -> bool {
        let Some(pool_key) = self.backends.get(key).map(|backend| backend.pool) else {
            return false;
        };
        let out = self.is_out(pool_key);
        loop {
            let Some(pool) = self.pools.pools.get(pool_key) else {
                return false;
            };
            let opening = pool.backends.iter();
            let opening =
                opening.filter(|&&it| self.backends.get(it).is_some_and(|it| !it.is_ready()));
            let opening = opening.count();
            let room = !out && pool.connections() < self.settings.pool_connections_max;
            if opening >= wanted || !room || self.open_shared(pool_key).is_none() {
                return wanted > 0 && opening > 0;
            }
        }
    }

    /// Ready connections of the same pool on which nothing is under way.
    fn unused_beside(&self, key: BackendKey) -> Vec<BackendKey> {
        let pool = self.backends.get(key).map(|backend| backend.pool);
        let Some(pool) = pool.and_then(|pool| self.pools.pools.get(pool)) else {
            return Vec::new();
        };
        let unused = |it: &Backend| {
            it.is_ready() && it.is_open() && it.fifo.is_empty() && it.outbound.is_empty()
        };
        let keys = pool.backends.iter().copied();
        keys.filter(|&it| it != key && self.backends.get(it).is_some_and(unused))
            .collect()
    }

    /// The clients behind the head's that wait for nothing but replies to reads.
    fn movable(&self, key: BackendKey) -> Vec<ClientKey> {
        let Some(backend) = self.backends.get(key) else {
            return Vec::new();
        };
        let mut queue = self.requests.of_backend(backend.fifo);
        let reader = queue.next().map(|(_, head)| head.client);
        let (mut movable, mut seen, mut bound) = (Vec::new(), HashSet::new(), HashSet::new());
        for (_, request) in queue {
            let key = request.client;
            let Some(client) = self.clients.get(key).filter(|_| Some(key) != reader) else {
                continue;
            };
            let next = self.requests.get(request.next_of_backend);
            let end = next.map_or(backend.queued, |next| next.start);
            let bytes = backend.recent.get(request.start, end);
            let plain = request.kind == Kind::Deliver && request.verb == Verb::Plain;
            // Another connection may have come in with a newer password than the client; and who
            // waits until this one takes more would do so in vain.
            let free = !self.is_logged_out(key) && !client.hold.has(Hold::BACKEND);
            if !plain || !free || !bytes.is_some_and(only_reads) {
                bound.insert(key);
            } else if seen.insert(key) {
                movable.push(key);
            }
        }
        movable.retain(|client| !bound.contains(client));
        movable
    }

    /// Asks for all that a client waits for on `from` once more, on `to`.
    fn ask_again_on(&mut self, key: ClientKey, from: BackendKey, to: BackendKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let queue = std::mem::take(&mut client.fifo);
        let mut index = queue.head;
        while let Some(request) = self.requests.get(index) {
            let next = request.next_of_client;
            if matches!(request.kind, Kind::Parked(_)) {
                self.requests.relink(&mut client.fifo, index);
            } else if let Some(old) = self.backends.get_mut(from) {
                let following = self.requests.get(request.next_of_backend);
                let end = following.map_or(old.queued, |following| following.start);
                let bytes = old
                    .recent
                    .get(request.start, end)
                    .unwrap_or_default()
                    .to_vec();
                let moved = (request.count, request.asked);
                self.requests.forsake(index);
                old.forsaken += 1;
                let Some(new) = self.backends.get_mut(to) else {
                    return;
                };
                if new.fifo.is_empty() {
                    new.since = self.now;
                }
                let what = (Kind::Deliver, Verb::Plain);
                let moment = (new.queued, moved.1);
                let (queue, count) = (&mut client.fifo, moved.0);
                self.requests
                    .push(queue, &mut new.fifo, key, what, count, moment);
                new.queued += bytes.len() as u64;
                let (chunks, dirty) = (&mut self.to_backends, &mut self.dirty_backends);
                append(chunks, dirty, new, to, &bytes);
            }
            index = next;
        }
        client.go_to(to);
        client.set(Flag::LedRound);
        if let Some(pool) = self.pools.pools.get_mut(client.pool) {
            pool.led_round_at = self.now;
        }
        self.counters.asked_again += 1;
    }

    /// Has nobody read a big reply slowly for some time? Then those who were sent round it go back
    /// to where the others are: the fewer connections, the more go into one write.
    pub(super) fn is_calm(&self, pool: PoolKey) -> bool {
        let pool = self.pools.pools.get(pool);
        pool.is_none_or(|pool| self.now.since(pool.led_round_at) >= CALM_MS)
    }

    /// Closes a connection that brings nothing but what nobody waits for any more.
    pub(super) fn close_forsaken(&mut self, key: BackendKey) {
        let nobody = |backend: &Backend| {
            let mut queue = self.requests.of_backend(backend.fifo);
            backend.forsaken > 0 && queue.all(|(_, it)| it.kind == Kind::Forsaken)
        };
        if self.backends.get(key).is_some_and(nobody) {
            self.fail(key, &Failure::Removed);
        }
    }
}

/// A request of `by` was put behind what is under way on a connection. If that waits for its client
/// to read, it does not do so for long.
pub(super) fn follow(
    requests: &Requests,
    stalled: &mut Vec<BackendKey>,
    backend: &mut Backend,
    key: BackendKey,
    by: ClientKey,
    now: Millis,
) {
    let head = requests.get(backend.fifo.head).map(|head| head.client);
    if backend.stall == Stall::None && head.is_some_and(|head| head != by) {
        stall(stalled, backend, key, now);
    }
}

/// Somebody waits on a connection that is not read, from now on.
fn stall(stalled: &mut Vec<BackendKey>, backend: &mut Backend, key: BackendKey, now: Millis) {
    backend.stall = Stall::Since(now);
    // It may have stalled since the last look, and gone on.
    if !stalled.contains(&key) {
        stalled.push(key);
    }
}

/// Are these whole requests that change nothing, so that it does no harm to send them twice?
fn only_reads(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let step = RequestDecoder::default().decode(bytes, &RequestLimits::AFTER_LOGIN);
        let Ok(Step::Array { len, .. }) = step else {
            return false;
        };
        let (frame, rest) = bytes.split_at(len.min(bytes.len()));
        if !command::only_reads(frame) {
            return false;
        }
        bytes = rest;
    }
    true
}
