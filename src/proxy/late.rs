//! Late replies: is the whole server busy, or does something hold up this one reply?
//!
//! ```text
//!   a connection is silent for late_ms ──► has the server answered anything since?
//!        others wait behind its head          │no                      │yes
//!                                             ▼                        ▼
//!                    see that it is asked something:          those that wait for nothing but
//!                    PING on an idle connection, else         replies to reads are asked again
//!                    a new one, whose handshake is it         there; writes wait
//! ```
//! A busy server answers nobody, so that nothing is asked twice because of it. A server that holds
//! back writes (CLIENT PAUSE WRITE, FAILOVER, a shutdown that waits for replicas) answers reads.
//!
//! After `backend-pool.reply-ms` of silence the same question decides whether a connection is given
//! up: as long as the server answers elsewhere, it is not, but takes no new requests.

use super::backend::{Backend, Failure, State, Verifying};
use super::key::{BackendKey, ClientKey, PoolKey};
use super::machine::Machine;
use super::request::{Kind, Reason};
use super::settings::Millis;
use super::stall::{LOOK_AGAIN_MS, Stall};

/// Where replies may take any time, those to a handshake or a login may take so long, ms: no
/// request of a client depends on this one connection, and verifiers are few.
const GREETING_MS: u64 = 60_000;

/// A server that has answered nothing is asked again after this, ms.
const ASK_AGAIN_MS: u64 = 1_000;

impl Machine {
    /// Finds replies that are late; called in each round.
    pub(super) fn find_late(&mut self) {
        let late = |backend: &Backend| {
            backend.is_late(self.now) && backend.stall == Stall::None && may_be_led_round(backend)
        };
        let late = self.backends.iter().filter(|(_, it)| late(it));
        let late: Vec<BackendKey> = late.map(|(key, _)| key).collect();
        for key in late {
            if self.has_followers(key) {
                self.note_late(key);
            }
        }
    }

    fn note_late(&mut self, key: BackendKey) {
        if let Some(backend) = self.backends.get_mut(key) {
            backend.stall = Stall::Late(backend.since.after(backend.late_ms));
            if !self.stalled.contains(&key) {
                self.stalled.push(key);
            }
        }
    }

    /// Looks at a connection whose reply is late. Returns whether it is to be looked at again.
    pub(super) fn look_at_late(&mut self, key: BackendKey) -> bool {
        let Some(backend) = self.backends.get(key) else {
            return false;
        };
        let (pool, stall) = (backend.pool, backend.stall);
        let late = backend.is_late(self.now) && may_be_led_round(backend);
        let next = match stall {
            _ if !late => Stall::None,
            Stall::Late(at) if self.heard_of(pool) > at => Stall::Served(self.now),
            Stall::Late(_) => {
                self.seek_answer(pool);
                stall
            }
            // Its own reply may be on its way, too.
            Stall::Served(at) if self.now.since(at) < LOOK_AGAIN_MS => stall,
            _ if self.lead_round_late(key) => stall,
            _ => Stall::None,
        };
        if let Some(backend) = self.backends.get_mut(key) {
            backend.stall = next;
        }
        next != Stall::None
    }

    /// Asks for what waits behind a late reply on other connections. Returns whether that had
    /// better wait for one being opened.
    fn lead_round_late(&mut self, key: BackendKey) -> bool {
        let movable = self.late_movable(key);
        if movable.is_empty() {
            return false;
        }
        let mut ways = self.unused_beside(key);
        if ways.is_empty() {
            ways = self.serving_beside(key);
        }
        if ways.is_empty() {
            return self.opens_beside(key, 1);
        }
        for (client, to) in movable.into_iter().zip(ways.into_iter().cycle()) {
            self.ask_again_on(client, key, to, Reason::LateReply);
        }
        false
    }

    /// Clients behind the head that may be asked again, and were not because of a late reply.
    fn late_movable(&self, key: BackendKey) -> Vec<ClientKey> {
        let mut movable = self.movable(key);
        movable.retain(|&client| {
            let head = self.clients.get(client).map(|client| client.fifo.head);
            let head = head.and_then(|head| self.requests.get(head));
            head.is_some_and(|head| !head.retried.has(Reason::LateReply))
        });
        movable
    }

    /// When the server of a pool was last heard of, on whatever connection of this worker.
    fn heard_of(&self, pool: PoolKey) -> Millis {
        let instance = self.pools.instance_of_pool(pool);
        instance.map_or_else(Millis::default, |instance| instance.heard)
    }

    /// Sees that the server of a pool is asked something by which it can show that it is there.
    fn seek_answer(&mut self, pool_key: PoolKey) {
        let Some(pool) = self.pools.pools.get(pool_key) else {
            return;
        };
        let idle = pool.backends.iter().copied();
        let mut idle = idle.filter(|&key| {
            let backend = self.backends.get(key);
            backend.is_some_and(|it| it.is_ready() && it.is_open() && it.fifo.is_empty())
        });
        let (idle, room) = (
            idle.next(),
            pool.shared() < self.settings.pool_connections_max,
        );
        let instance = self.pools.account_of(pool_key).map(|it| it.instance);
        let Some(instance) = instance.and_then(|key| self.pools.instances.get_mut(key)) else {
            return;
        };
        let asked = instance.asked_alive > instance.heard
            && self.now.since(instance.asked_alive) < ASK_AGAIN_MS;
        let begins = instance.connecting > 0 || !room || instance.rests(self.now);
        if asked || idle.is_none() && begins {
            return;
        }
        instance.asked_alive = self.now;
        match idle {
            Some(on) => self.ask_server(on, Kind::Alive, &[b"PING"]),
            None => drop(self.open_shared(pool_key)),
        }
    }

    /// A connection that does not come about in time is given up, and one that owes a reply for too
    /// long, unless its server answers others.
    pub(super) fn check_deadlines(&mut self) {
        let settings = &self.settings;
        let reply = settings.backend_reply_ms;
        let greeting = if reply > 0 { reply } else { GREETING_MS };
        let (mut over, mut owing) = (Vec::new(), Vec::new());
        for (key, backend) in self.backends.iter() {
            let silent = self.now.since(backend.since);
            match backend.state {
                State::Connecting if silent >= self.connect_ms(backend) => over.push(key),
                State::Verifying(Verifying::Idle { .. }) => {}
                // A busy server takes as long for a handshake or a login as for anything else.
                State::Greeting(_) | State::Verifying(_) if silent >= greeting => over.push(key),
                State::Ready if reply > 0 && silent >= reply / 2 && backend.owes() => {
                    owing.push((key, backend.pool, silent >= reply));
                }
                _ => {}
            }
        }
        for key in over {
            if !self.try_next_address(key, &Failure::TimedOut) {
                self.fail(key, &Failure::TimedOut);
            }
        }
        for (key, pool, late) in owing {
            let unheard = self.now.since(self.heard_of(pool));
            if unheard >= reply / 2 {
                self.seek_answer(pool);
            }
            let shared = |it: &Backend| it.is_shared() && !it.dedicated;
            match late {
                true if unheard >= reply => self.fail(key, &Failure::TimedOut),
                // It brings what it owes, when it can.
                true if self.backends.get(key).is_some_and(shared) => self.retire(key),
                _ => {}
            }
        }
    }
}

/// May others that wait on a connection be asked elsewhere?
fn may_be_led_round(backend: &Backend) -> bool {
    backend.is_ready()
        && !backend.dedicated
        && backend.owner == ClientKey::NONE
        && backend.blocking == 0
}
