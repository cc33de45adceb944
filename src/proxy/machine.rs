//! The machine: its tables, its input and its output.
//!
//! Input: `clock`, `client_opened`, `client_read`, `client_eof`, `client_hung_up`, `client_closed`,
//! `link_connected`, `link_read`, `link_failed`, `registry_changed`, `pause`, `unpause`,
//! `question_from_worker`, `answer_from_worker`, `tick`, `drain`. Output: `next_dirty`,
//! `outbound`, `sent`, `next_action`, `next_deadline`. After any number of calls,
//! [`Machine::resume`] resumes the clients that can continue.

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
use crate::upstream::upstreams::{Rules, Upstreams};

/// One worker's proxy. See the module.
#[derive(Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    /// The time of the current call.
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
    /// The client whose question about clients is being answered, and the length of its request in
    /// bytes: a server still counts those bytes in the client's buffer.
    pub(super) asking: (ClientKey, usize),
}

/// When the periodic tasks are due.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The next check of deadlines.
    pub next: Millis,
    /// The next pass over all clients and pools.
    pub next_slow: Millis,
    /// The next health check of instances.
    pub next_check: Millis,
}

/// Buffers that are reused from call to call.
#[derive(Debug)]
pub(super) struct Scratch {
    /// The buffer that sockets are read into.
    pub buffer: ReadBuffer,
    /// Buffers for a reply and for a re-encoded inline command: empty between calls.
    pub out: Vec<u8>,
    pub inline_frame: Vec<u8>,
    /// No memory check is needed while fewer bytes than this are kept: memory for them was
    /// available at the last check.
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
    /// Creates a machine without clients.
    pub fn new(settings: Settings, snapshot: Arc<Snapshot>) -> Self {
        let limits = ClientLimits {
            in_flight: settings.client_in_flight_max,
            outbound_bytes: settings.client_outbound_bytes_max,
        };
        let rules = Rules {
            worker: settings.worker,
            balancer: settings.balancer,
            logins_per_second: settings.logins_per_second,
            dedicated_max: settings.dedicated_max,
            instance_connections_max: settings.instance_connections_max,
            connect_ms: settings.backend_connect_ms,
            seed: settings.seed,
        };
        let upstreams = Upstreams::new(snapshot, rules);
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

    /// The buffer into which the next bytes of a client or a server are read.
    pub fn space(&mut self) -> &mut [u8] {
        self.scratch.buffer.space()
    }

    /// A client connected.
    pub fn client_opened(&mut self, origin: Origin) -> ClientKey {
        self.stats.counters.clients_opened += 1;
        let key = self.clients.open(Client::new(origin, self.now));
        if self.clients.is_draining() {
            self.mark_ready(key);
        }
        key
    }

    /// A client sent FIN. It is closed when all of its requests are answered.
    pub fn client_eof(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.set(Flag::Eof);
            self.close_if_done(key);
            self.finish_call();
        }
    }

    /// The client hung up; its socket may still have unread bytes (after `Pause` the socket is not
    /// read). A blocked command of the client is cancelled, so that the command takes no data.
    pub fn client_hung_up(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.set(Flag::Gone);
            self.close_if_done(key);
            self.finish_call();
        }
    }

    /// A client's socket failed. The reactor drops the socket itself.
    pub fn client_closed(&mut self, key: ClientKey) {
        self.forget_client(key);
        self.finish_call();
    }

    /// The registry has a new snapshot of the clusters.
    pub fn registry_changed(&mut self, snapshot: Arc<Snapshot>) {
        let changes = self.upstreams.apply_snapshot(snapshot, self.now);
        self.retire_instances(&changes.gone);
        self.follow_modes(&changes.modes);
        self.fence(&changes.fenced);
        self.leave_addresses(&changes.moved, false);
        self.start_moves(&changes.draining);
        self.finish_call();
    }

    /// Sets the time since the start, in microseconds. Call this once per turn, before all other
    /// calls: everything read in the turn arrives at this time.
    pub fn clock(&mut self, us: u64) {
        self.now = Millis(us / 1000);
        self.clients.set_time(self.now);
        self.requests.set_time(us);
    }

    /// Starts a drain: a client is closed as soon as nothing of it is in flight.
    pub fn drain(&mut self) {
        self.clients.drain();
        for key in self.clients.keys() {
            // A question that is still queued is answered without the other workers.
            if !self.clients.has_question(key) {
                self.finish_question(key);
            }
            self.mark_ready(key);
        }
        self.finish_call();
    }

    /// Is the drain complete?
    pub fn is_drained(&self) -> bool {
        self.clients.is_draining() && self.clients.is_empty()
    }

    /// The number of clients.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// The number of links.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Bytes buffered for sending, in both directions.
    pub fn outbound_bytes(&self) -> usize {
        self.clients.chunks().bytes() + self.links.chunks().bytes()
    }

    /// Requests forwarded so far, and requests in flight except blocking ones.
    pub fn load(&self) -> (u64, usize) {
        (self.stats.counters.requests, self.requests.moving())
    }

    /// All counters.
    pub fn counters(&self) -> &Counters {
        &self.stats.counters
    }

    /// Queues `key` for the next [`resume`](Self::resume).
    pub(super) fn mark_ready(&mut self, key: ClientKey) {
        self.clients.mark_ready(key);
    }

    /// Closes a client that has nothing left to do: it is closing, half-closed or drained, and its
    /// replies are sent. Cancels the blocked command of a client that has left.
    #[inline]
    pub(super) fn close_if_done(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let leaving = client.is(Flag::Eof) || self.clients.is_draining();
        if !client.is_closing() && (leaving || client.is(Flag::Gone)) && self.is_blocked(key) {
            return self.stop_waiting(key);
        }
        let done = match client.is_closing() {
            true => client.outbound.is_empty(),
            // A client that is ready may have more requests buffered: `resume` decides.
            false => leaving && client.is_quiet() && !client.is_held() && !client.is(Flag::Ready),
        };
        if done {
            self.close_now(key);
        }
    }

    /// Closes a client immediately; replies that wait for it are dropped.
    pub(super) fn close_now(&mut self, key: ClientKey) {
        if self.forget_client(key) {
            self.actions.push_back(Action::Close(ConnKey::Client(key)));
        }
    }

    fn forget_client(&mut self, key: ClientKey) -> bool {
        self.leave_phase(key);
        self.leave_pause(key);
        let client = self.clients.get_mut(key);
        let links: Vec<LinkKey> = client.map_or_else(Vec::new, |client| {
            let links = client.links().collect();
            client.link = LinkKey::NONE;
            links
        });
        self.move_client(key, PoolKey::NONE);
        let to_links = self.links.chunks_mut();
        let Some(mut client) = self.clients.remove(key, &mut self.requests, to_links) else {
            return false;
        };
        self.stats.counters.clients_closed += 1;
        self.upstreams
            .change_account(client.account(), AccountKey::NONE);
        // This client may have been the reason why its links were read paused.
        for &link in &links {
            if self.links.unpause(link, self.now) {
                self.actions.push_back(Action::Resume(ConnKey::Link(link)));
            }
        }
        if let Some(&own) = links.first()
            && self.links.get(own).is_some()
            && let Some(pin) = client.set_pin(None)
        {
            self.release_dedicated(pin.tenant);
            self.client_gone(own, &pin);
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
        client.set_link(LinkKey::NONE);
        client.leave_lanes();
    }

    /// Has [`resume`](Self::resume) anything to do?
    pub fn has_ready(&self) -> bool {
        self.clients.has_work() || self.links.any_unresolved()
    }

    /// The next action for the reactor, in order.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
