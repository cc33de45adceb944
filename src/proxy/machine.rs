//! The machine: its tables, what it is told, and what it wants done.
//!
//! In: `client_opened`, `client_bytes`, `client_eof`, `client_hung_up`, `client_closed`,
//! `link_connected`, `link_failed`, `link_bytes`, `registry_changed`, `peer_asked`,
//! `peer_told`, `tick`, `drain`. Out: `next_dirty`, `outbound`, `sent`, `next_action`,
//! `next_deadline`. After any number of calls, [`Machine::resume`] lets those clients go on that
//! waited for something.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::cluster::Snapshot;

use crate::link::links::Links;
use crate::link::request::Requests;
use crate::proxy::action::{Action, Actions};
use crate::proxy::settings::Settings;
use crate::session::client::{Client, Flag, Origin};
use crate::session::inbound::{Spares, first_spares};
use crate::session::share::{Rows, Share};
use crate::stats::counters::Counters;
use crate::stats::notice::Notices;
use crate::store::buffer::ReadBuffer;
use crate::store::chunk::ChunkPool;
use crate::store::key::{AccountKey, ClientKey, ConnKey, LinkKey, PoolKey, TenantSlot};
use crate::store::table::Table;
use crate::store::time::{Millis, Tenths};
use crate::upstream::logins::Tokens;
use crate::upstream::permits::Inquiry;
use crate::upstream::pool::Pools;
use crate::upstream::tenant::Use;

/// See the module.
#[derive(Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) snapshot: Arc<Snapshot>,
    /// The time of the call under way.
    pub(super) now: Millis,
    /// The same, as it is noted for each read and each write.
    pub(super) tenths: Tenths,
    pub(super) clients: Table<ClientKey, Client>,
    pub(super) links: Links,
    pub(super) requests: Requests,
    /// Bytes on their way to clients: the limit of waiting bytes is about these.
    pub(super) to_clients: ChunkPool,
    /// What is read to.
    pub(super) buffer: ReadBuffer,
    /// At most so many bytes are kept of incomplete requests in one piece.
    pub(super) partial_bytes: usize,
    /// While no more bytes than these are kept, there is memory for what comes.
    pub(super) proven_bytes: usize,
    /// For clients that send less than a request.
    pub(super) spare_inbounds: Spares,
    pub(super) pools: Pools,
    pub(super) counters: Counters,
    pub(super) notices: Notices,
    pub(super) actions: Actions,
    pub(super) dirty_clients: VecDeque<ClientKey>,
    /// Clients whose hold may be over, or that may be done.
    pub(super) ready: VecDeque<ClientKey>,
    /// What is left of the go of the client whose bytes are decoded.
    pub(super) share: Share,
    /// Clients that had their go, and sent more.
    pub(super) backlog: Rows,
    /// Clients that wait for their tenant's rate, and when that is looked at.
    pub(super) throttled: Rows,
    pub(super) next_look_at_rates: Millis,
    /// Clients that had something to read when they were looked at last, and took none of it since
    /// then.
    pub(super) stuck: HashMap<ClientKey, Millis>,
    /// Clients that wait for a backend to take what it was sent.
    pub(super) crowded: Vec<(LinkKey, ClientKey)>,
    /// Clients that asked for another one's own connection, which is not ready yet.
    pub(super) again_later: Vec<ClientKey>,
    /// Clients in line for a connection of their own.
    pub(super) in_line: u32,
    /// Who is just asking about clients, and in how many bytes: they are still in its buffer, as a
    /// server sees it.
    pub(super) asking: (ClientKey, usize),
    /// Clients whose question about other clients is to be put, or the next slice of it.
    pub(super) questions: Rows,
    /// What servers are asked about the permissions of users.
    pub(super) inquiries: Vec<Inquiry>,
    /// Connections that may be opened for logins and SELECTs, and who waits to do so.
    pub(super) tokens: Tokens,
    /// When the next look at deadlines is due, and the next round over all clients and pools.
    pub(super) next_round: Millis,
    pub(super) next_slow_round: Millis,
    /// When instances are to be checked next.
    pub(super) next_check: Millis,
    /// Clients that wait for their tenant to go on, or for the one they want to log in to.
    pub(super) paused: Vec<(ClientKey, TenantSlot)>,
    /// Some instance is suspected not to do as it should.
    pub(super) suspects: bool,
    /// This worker asks after an instance that is not known to be there.
    pub(super) probing: bool,
    /// Some backend has blocking commands that the table does not have.
    pub(super) learned_any: bool,
    pub(super) draining: bool,
    pub(super) random: u64,
    /// Room for a reply and for a re-encoded inline command: borrowed, never kept.
    pub(super) out: Vec<u8>,
    pub(super) inline_frame: Vec<u8>,
}

impl Machine {
    /// A machine without clients.
    pub fn new(settings: Settings, snapshot: Arc<Snapshot>) -> Self {
        let mut pools = Pools::default();
        pools.follow(&Snapshot::default(), &snapshot, Millis::default());
        pools.look_for_gates();
        Self {
            tokens: Tokens::full(settings.logins_per_second),
            random: settings.seed,
            settings,
            snapshot,
            now: Millis::default(),
            tenths: Tenths::default(),
            clients: Table::default(),
            links: Links::default(),
            requests: Requests::default(),
            to_clients: ChunkPool::of_short_lists(),
            buffer: ReadBuffer::new(),
            partial_bytes: 0,
            proven_bytes: 0,
            spare_inbounds: first_spares(),
            pools,
            counters: Counters::default(),
            notices: Notices::default(),
            actions: VecDeque::new(),
            dirty_clients: VecDeque::new(),
            ready: VecDeque::new(),
            share: Share::default(),
            backlog: Rows::default(),
            throttled: Rows::default(),
            next_look_at_rates: Millis::default(),
            stuck: HashMap::new(),
            crowded: Vec::new(),
            questions: Rows::default(),
            inquiries: Vec::new(),
            in_line: 0,
            asking: (ClientKey::NONE, 0),
            again_later: Vec::new(),
            next_round: Millis::default(),
            next_slow_round: Millis::default(),
            next_check: Millis::default(),
            paused: Vec::new(),
            probing: true,
            suspects: false,
            learned_any: false,
            draining: false,
            out: Vec::new(),
            inline_frame: Vec::new(),
        }
    }

    /// Where the next bytes of a client or a backend are to be read to.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.space()
    }

    /// A client connected.
    pub fn client_opened(&mut self, origin: Origin) -> ClientKey {
        self.counters.clients_opened += 1;
        let key = self.clients.insert(Client::new(origin, self.now));
        if self.draining {
            self.wake(key);
        }
        key
    }

    /// A client will send no more. It is closed when all that it asked for is answered.
    pub fn client_eof(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.set(Flag::Eof);
            self.settle(key);
        }
    }

    /// A client hung up, though not all that it sent is read: on `Pause` nobody reads it. One that
    /// waits for something to come must not get it any more.
    pub fn client_hung_up(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.set(Flag::Gone);
            self.settle(key);
            self.check_invariants();
        }
    }

    /// A client's socket is broken. The reactor drops it by itself.
    pub fn client_closed(&mut self, key: ClientKey) {
        self.forget_client(key);
        self.check_invariants();
    }

    /// The registry has a new picture of the clusters.
    pub fn registry_changed(&mut self, snapshot: Arc<Snapshot>) {
        let changes = self.pools.follow(&self.snapshot, &snapshot, self.now);
        self.pools.look_for_gates();
        self.snapshot = snapshot;
        self.probing = true;
        self.retire_instances(&changes.gone);
        self.leave_addresses(&changes.moved, false);
        self.disperse(&changes.leaving);
        self.check_invariants();
    }

    /// The time since the start, microseconds. Call once per turn, before all else: what comes in
    /// the turn comes at this time.
    pub fn clock(&mut self, us: u64) {
        self.now = Millis(us / 1000);
        self.tenths = self.now.tenths();
        // Differences of up to an hour are right.
        self.requests.clock = us as u32;
        self.requests.asked = self.requests.clock;
    }

    /// No new work is wanted: clients are closed as soon as nothing of theirs is in flight.
    pub fn drain(&mut self) {
        self.draining = true;
        for key in self.clients.keys() {
            // One that has not begun goes on without the others.
            if !self.questions.keys().any(|its| its == key) {
                self.stop_gathering(key);
            }
            self.wake(key);
        }
    }

    /// Has a drain come to its end?
    pub fn is_drained(&self) -> bool {
        self.draining && self.clients.is_empty()
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
        self.to_clients.bytes() + self.links.chunks().bytes()
    }

    /// Requests forwarded so far, and those under way, but for those that wait for something to
    /// come.
    pub fn load(&self) -> (u64, usize) {
        (self.counters.requests, self.requests.moving())
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Has `key` looked at in the next [`resume`](Self::resume).
    pub(super) fn wake(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            mark_ready(&mut self.ready, client, key);
        }
    }

    /// Closes a client that is done: told to close, half-closed, or drained.
    #[inline]
    pub(super) fn settle(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let leaving = client.is(Flag::Eof) || self.draining;
        if !client.is(Flag::Closing) && (leaving || client.is(Flag::Gone)) && self.is_blocked(key) {
            return self.stop_waiting(key);
        }
        let done = match client.is(Flag::Closing) {
            true => client.outbound.is_empty(),
            // One that may go on has requests left, maybe: `resume` will tell.
            false => leaving && client.is_quiet() && !client.hold.any() && !client.is(Flag::Ready),
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
        self.leave_line(key);
        self.leave_waits(key);
        self.leave_pause(key);
        let client = self.clients.get_mut(key);
        let shared = client.map(|it| std::mem::replace(&mut it.link, LinkKey::NONE));
        self.move_client(key, PoolKey::NONE);
        let Some(mut client) = self.clients.remove(key) else {
            return false;
        };
        self.counters.clients_closed += 1;
        self.requests
            .abandon(&mut client.fifo, &mut self.to_clients);
        self.to_clients.clear(&mut client.outbound);
        if let Some(inbound) = client.inbound.take() {
            self.spare(inbound);
        }
        self.count_client(client.account, AccountKey::NONE);
        self.pools.release(client.tenant, Use::Client);
        let waited_for = client.end_waiting().map(|waiting| waiting.account);
        if let Some(account) = waited_for.and_then(|key| self.pools.accounts.get_mut(key)) {
            account.waiting -= 1;
        }
        // It may have been the one that kept its backend from being read.
        if let Some(key) = shared
            && let Some(link) = self.links.get_mut(key)
        {
            if link.unpause(self.now) {
                self.actions.push_back(Action::Resume(ConnKey::Link(key)));
            }
            if let Some(pin) = client.pin.take() {
                self.pools.release(pin.tenant, Use::Pinned);
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
        if let Some(pool) = self.pools.pools.get_mut(client.pool) {
            pool.clients -= 1;
        }
        client.pool = to;
        client.go_to(LinkKey::NONE);
        if let Some(pool) = self.pools.pools.get_mut(to) {
            pool.clients += 1;
        }
    }

    /// Is there anything left for [`resume`](Self::resume) to do?
    pub fn has_ready(&self) -> bool {
        !(self.ready.is_empty()
            && self.backlog.is_empty()
            && !self.links.any_unresolved()
            && self.questions.is_empty())
    }

    /// What is to be done next, in order.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next number of a splitmix64 sequence: jitter only, nothing secret.
    pub(super) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Has a client looked at in this turn's resume.
pub(super) fn mark_ready(ready: &mut VecDeque<ClientKey>, client: &mut Client, key: ClientKey) {
    if !client.is(Flag::Ready) {
        client.set(Flag::Ready);
        ready.push_back(key);
    }
}
