//! The machine: its tables, what it is told, and what it wants done.
//!
//! In: `client_opened`, `client_bytes`, `client_eof`, `client_hung_up`, `client_closed`,
//! `link_connected`, `link_failed`, `link_bytes`, `registry_changed`, `peer_asked`,
//! `peer_told`, `tick`, `drain`. Out: `next_dirty`, `outbound`, `sent`, `next_action`,
//! `next_deadline`. After any number of calls, [`Machine::resume`] lets those clients go on that
//! waited for something.

use std::sync::Arc;

use crate::cluster::Snapshot;

use crate::link::links::Links;
use crate::link::request::Requests;
use crate::proxy::action::{Action, Actions};
use crate::proxy::settings::Settings;
use crate::proxy::work::WorkQueue;
use crate::session::client::{Client, Flag, Origin};
use crate::session::sessions::{ClientLimits, Sessions};
use crate::stats::Stats;
use crate::stats::counters::Counters;
use crate::store::buffer::ReadBuffer;
use crate::store::key::{AccountKey, ClientKey, ConnKey, LinkKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::tenant::Use;
use crate::upstream::upstreams::Upstreams;

/// See the module.
#[derive(Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    /// The time of the call under way.
    pub(super) now: Millis,
    pub(super) rounds: Rounds,
    pub(super) clients: Sessions,
    pub(super) links: Links,
    pub(super) requests: Requests,
    pub(super) upstreams: Upstreams,
    pub(super) stats: Stats,
    pub(super) actions: Actions,
    pub(super) work: WorkQueue,
    pub(super) scratch: Scratch,
    /// Who is just asking about clients, and in how many bytes: they are still in its buffer, as a
    /// server sees it.
    pub(super) asking: (ClientKey, usize),
}

/// When what is done every so often is due.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The next look at deadlines.
    pub next: Millis,
    /// The next round over all clients and pools.
    pub next_slow: Millis,
    /// The next check of instances.
    pub next_check: Millis,
}

/// Memory for what is under way in a call.
#[derive(Debug)]
pub(super) struct Scratch {
    /// What is read to.
    pub buffer: ReadBuffer,
    /// Room for a reply and for a re-encoded inline command: borrowed, never kept.
    pub out: Vec<u8>,
    pub inline_frame: Vec<u8>,
    /// While no more bytes than these are kept, there is memory for what comes.
    pub proven_bytes: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            buffer: ReadBuffer::new(),
            out: Vec::new(),
            inline_frame: Vec::new(),
            proven_bytes: 0,
        }
    }
}

impl Machine {
    /// A machine without clients.
    pub fn new(settings: Settings, snapshot: Arc<Snapshot>) -> Self {
        let limits = ClientLimits {
            in_flight: settings.client_in_flight_max,
            outbound_bytes: settings.client_outbound_bytes_max,
        };
        let upstreams = Upstreams::new(snapshot, settings.logins_per_second, settings.seed);
        Self {
            settings,
            now: Millis::default(),
            rounds: Rounds::default(),
            clients: Sessions::new(limits),
            links: Links::default(),
            requests: Requests::default(),
            upstreams,
            stats: Stats::default(),
            actions: Actions::default(),
            work: WorkQueue::default(),
            scratch: Scratch::default(),
            asking: (ClientKey::NONE, 0),
        }
    }

    /// Where the next bytes of a client or a backend are to be read to.
    pub fn space(&mut self) -> &mut [u8] {
        self.scratch.buffer.space()
    }

    /// A client connected.
    pub fn client_opened(&mut self, origin: Origin) -> ClientKey {
        self.stats.counters.clients_opened += 1;
        let key = self.clients.open(Client::new(origin, self.now));
        if self.clients.is_draining() {
            self.wake(key);
        }
        key
    }

    /// A client will send no more. It is closed when all that it asked for is answered.
    pub fn client_eof(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.set(Flag::Eof);
            self.settle(key);
            self.finish_call();
        }
    }

    /// A client hung up, though not all that it sent is read: on `Pause` nobody reads it. One that
    /// waits for something to come must not get it any more.
    pub fn client_hung_up(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.set(Flag::Gone);
            self.settle(key);
            self.finish_call();
        }
    }

    /// A client's socket is broken. The reactor drops it by itself.
    pub fn client_closed(&mut self, key: ClientKey) {
        self.forget_client(key);
        self.finish_call();
    }

    /// The registry has a new picture of the clusters.
    pub fn registry_changed(&mut self, snapshot: Arc<Snapshot>) {
        let changes = self.upstreams.follow(snapshot, self.now);
        self.retire_instances(&changes.gone);
        self.leave_addresses(&changes.moved, false);
        self.disperse(&changes.leaving);
        self.finish_call();
    }

    /// The time since the start, microseconds. Call once per turn, before all else: what comes in
    /// the turn comes at this time.
    pub fn clock(&mut self, us: u64) {
        self.now = Millis(us / 1000);
        // Differences of up to an hour are right.
        self.requests.clock = us as u32;
        self.requests.asked = self.requests.clock;
    }

    /// No new work is wanted: clients are closed as soon as nothing of theirs is in flight.
    pub fn drain(&mut self) {
        self.clients.drain();
        for key in self.clients.keys() {
            // One that has not begun goes on without the others.
            if !self.clients.questions.keys().any(|its| its == key) {
                self.stop_gathering(key);
            }
            self.wake(key);
        }
        self.finish_call();
    }

    /// Has a drain come to its end?
    pub fn is_drained(&self) -> bool {
        self.clients.is_draining() && self.clients.is_empty()
    }

    /// Clients at this moment.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Backend connections at this moment.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Bytes kept for sending, in both directions.
    pub fn outbound_bytes(&self) -> usize {
        self.clients.chunks().bytes() + self.links.chunks().bytes()
    }

    /// Requests forwarded so far, and those under way, but for those that wait for something to
    /// come.
    pub fn load(&self) -> (u64, usize) {
        (self.stats.counters.requests, self.requests.moving())
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.stats.counters
    }

    /// Has `key` looked at in the next [`resume`](Self::resume).
    pub(super) fn wake(&mut self, key: ClientKey) {
        self.clients.mark_ready(key);
    }

    /// Closes a client that is done: told to close, half-closed, or drained.
    #[inline]
    pub(super) fn settle(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let leaving = client.is(Flag::Eof) || self.clients.is_draining();
        if !client.is_closing() && (leaving || client.is(Flag::Gone)) && self.is_blocked(key) {
            return self.stop_waiting(key);
        }
        let done = match client.is_closing() {
            true => client.outbound.is_empty(),
            // One that may go on has requests left, maybe: `resume` will tell.
            false => leaving && client.is_quiet() && !client.is_held() && !client.is(Flag::Ready),
        };
        if done {
            self.close_now(key);
        }
    }

    /// Closes a client at once; what waits for it is dropped.
    pub(super) fn close_now(&mut self, key: ClientKey) {
        if self.forget_client(key) {
            self.actions.push_back(Action::Close(ConnKey::Client(key)));
        }
    }

    fn forget_client(&mut self, key: ClientKey) -> bool {
        self.leave_phase(key);
        self.leave_pause(key);
        let client = self.clients.get_mut(key);
        let shared = client.map(|it| std::mem::replace(&mut it.link, LinkKey::NONE));
        self.move_client(key, PoolKey::NONE);
        let to_links = self.links.chunks_mut();
        let Some(mut client) = self.clients.remove(key, &mut self.requests, to_links) else {
            return false;
        };
        self.stats.counters.clients_closed += 1;
        self.upstreams
            .change_account(client.account(), AccountKey::NONE);
        // It may have been the one that kept its backend from being read.
        if let Some(key) = shared
            && let Some(link) = self.links.get_mut(key)
        {
            if link.unpause(self.now) {
                self.actions.push_back(Action::Resume(ConnKey::Link(key)));
            }
            if let Some(pin) = client.set_pin(None) {
                self.upstreams.release(pin.tenant, Use::Pinned);
                self.orphan(key, &pin);
            }
        }
        true
    }

    /// Moves a client to another pool (`NONE`: to none). Nothing of it may be in flight.
    pub(super) fn move_client(&mut self, key: ClientKey, to: PoolKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if client.pool == to {
            return;
        }
        self.upstreams.change_pool(client.pool, to);
        client.pool = to;
        client.go_to(LinkKey::NONE);
    }

    /// Is there anything left for [`resume`](Self::resume) to do?
    pub fn has_ready(&self) -> bool {
        self.clients.has_work() || self.links.any_unresolved()
    }

    /// What is to be done next, in order.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
