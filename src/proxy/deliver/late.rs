//! Late replies: decides whether the whole server is busy or only this reply is delayed.
//!
//! ```text
//!   a link is silent for late_ms ──► has the server answered on any link since?
//!     clients wait behind its head     │no                      │yes
//!                                      ▼                        ▼
//!             the server is asked something:           clients that wait only for
//!             PING on an idle link, else               replies to reads are retried
//!             the handshake of a new one               elsewhere; writes wait
//! ```
//! A busy server answers on no link, so it gets no request twice. A server that holds back writes
//! (CLIENT PAUSE WRITE, FAILOVER, a shutdown that waits for replicas) answers reads. Then one link
//! is enough for all writes: later writes join the late one, so that the other links serve reads.
//! Links that are late with a write do not count towards the size of a pool.
//!
//! After `backend-pool.reply-ms` of silence the same check decides whether a link is closed: while
//! the server answers elsewhere, the link stays open but takes no new requests.

use crate::command;
use crate::resp::write;

use crate::link::failure::Failure;
use crate::link::link::{Link, State, Verifying};
use crate::link::request::Kind;
use crate::link::request::Reason;
use crate::link::role::Role;
use crate::link::stall::{STALL_CHECK_MS, Stall};
use crate::link::verb::Verb;
use crate::proxy::deliver::retry::first_unanswered;
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::store::key::{ClientKey, LinkKey, PoolKey};

/// Where replies may take any time, this is the timeout of handshakes and logins, ms: no request
/// depends on one such link, and verifiers are few.
const HANDSHAKE_MS: u64 = 60_000;

/// Links above `pool_connections_max` that a pool may open to probe its server.
const BEYOND: usize = 1;

/// Between two attempts to retry reads behind a write that is held back, ms.
const HELD_LOOK_MS: u64 = 100;

impl Machine {
    /// Finds late replies; called in each round.
    pub(in crate::proxy) fn find_late(&mut self) {
        let late = |link: &Link| {
            link.is_late(self.now) && link.stall == Stall::None && may_be_retried(link)
        };
        let late = self.links.iter().filter(|(_, it)| late(it));
        let late: Vec<LinkKey> = late.map(|(key, _)| key).collect();
        for key in late {
            if self.has_followers(key) {
                self.links.note_late(key);
            }
        }
    }

    /// Handles a link whose reply is late. Returns whether the link is to be checked again.
    pub(in crate::proxy) fn check_late(&mut self, key: LinkKey) -> bool {
        let Some(link) = self.links.get(key) else {
            return false;
        };
        let (pool, stall) = (link.pool, link.stall);
        let late = link.is_late(self.now) && may_be_retried(link);
        let next = match stall {
            _ if !late => Stall::None,
            Stall::Late(at) if self.upstreams.last_read_of(pool) > at => Stall::Served(self.now),
            Stall::Late(_) => {
                self.seek_answer(pool);
                stall
            }
            // The late reply itself may be arriving, too.
            Stall::Served(at) if self.now.since(at) < STALL_CHECK_MS => stall,
            // Clients may have found no other link.
            Stall::Held(at) if self.now.since(at) < HELD_LOOK_MS => stall,
            _ if self.retry_late_elsewhere(key) => Stall::Served(self.now),
            _ if self.has_write_in_front(key) => Stall::Held(self.now),
            _ => Stall::None,
        };
        if let Some(link) = self.links.get_mut(key) {
            link.stall = next;
        }
        next != Stall::None
    }

    /// Retries the requests behind a late reply on other links. Returns whether to wait for a link
    /// that is connecting.
    fn retry_late_elsewhere(&mut self, key: LinkKey) -> bool {
        let movable = self.late_movable(key);
        if movable.is_empty() {
            return false;
        }
        let mut targets = self.upstreams.unused_links(key, &self.links);
        if targets.is_empty() {
            targets = self.upstreams.serving_links(key, &self.links, self.now);
        }
        if targets.is_empty() {
            return self.open_more_links(key, 1);
        }
        for (client, to) in movable.into_iter().zip(targets.into_iter().cycle()) {
            self.retry_on(client, key, to, Reason::LateReply);
        }
        false
    }

    /// Clients behind the head that may be retried and were not retried because of a late reply.
    /// Behind a write a second retry is allowed: they may have moved from one held-back link to
    /// another.
    fn late_movable(&self, key: LinkKey) -> Vec<ClientKey> {
        let mut movable = self.movable(key);
        let again = self.has_write_in_front(key);
        movable.retain(|&client| {
            let head = self.clients.get(client).map(|client| client.fifo.head);
            let head = head.and_then(|head| self.requests.get(head));
            head.is_some_and(|head| again || !head.retried.has(Reason::LateReply))
        });
        movable
    }

    /// Probes the server of a pool: sends PING on an idle link, or opens a new one.
    fn seek_answer(&mut self, pool: PoolKey) {
        let Some(of) = self.upstreams.instance_of(pool) else {
            return;
        };
        let idle = self.upstreams.idle_link(of, pool, &self.links);
        if !self.upstreams.seek_answer(of, idle.is_some(), self.now) {
            return;
        }
        if let Some(on) = idle {
            return self.ask_server(on, Kind::Alive, &[b"PING"]);
        }
        let mut pools = [pool, self.upstreams.anonymous_pool(of)].into_iter();
        if let Some(pool) = pools.find(|&it| self.has_room(it, BEYOND)) {
            self.open_shared(pool);
        }
    }

    /// May this pool have one more shared link? Links that are late with the reply to a write do
    /// not count; `beyond` more links than the pool's size are allowed.
    pub(in crate::proxy) fn has_room(&self, pool: PoolKey, beyond: usize) -> bool {
        let Some(size) = self.upstreams.pool_size(pool) else {
            return false;
        };
        let held = |key: LinkKey| {
            // Only links that take further writes count: otherwise each late write and each script
            // would allow one more link.
            let late = self.links.get(key).is_some_and(|it| {
                it.is_late(self.now) && !it.runs_script() && it.role() == Role::Shared
            });
            late && self.has_write_in_front(key)
        };
        let most = self.settings.pool_connections_max + beyond;
        size < most || {
            let links = self.upstreams.shared_links(pool).iter();
            size < most + links.filter(|&&key| held(key)).count()
        }
    }

    /// The link of a pool that is late with the reply to a write behind which clients wait.
    #[cold]
    #[inline(never)]
    pub(in crate::proxy) fn held_back_in(&self, pool: PoolKey) -> Option<LinkKey> {
        let holds = |key: LinkKey| {
            let it = self.links.get(key)?;
            let fit = it.pool == pool && it.role() == Role::Shared;
            // A request behind a script waits for the end of the script.
            let fit = fit && !it.runs_script();
            match it.stall {
                _ if !fit || !it.is_late(self.now) => None,
                Stall::Held(_) => Some(key),
                Stall::Late(_) | Stall::Served(_) => self.has_write_in_front(key).then_some(key),
                Stall::None | Stall::Since(_) | Stall::Kept => None,
            }
        };
        self.links.stalled().iter().find_map(|&key| holds(key))
    }

    /// Is the next reply of a link the reply to a write? Best effort.
    fn has_write_in_front(&self, key: LinkKey) -> bool {
        let Some(link) = self.links.get(key) else {
            return false;
        };
        // The head may be a running script; further writes do not go behind it.
        let head = self.requests.get(link.fifo.head);
        let Some(head) = head.filter(|head| head.verb == Verb::Plain) else {
            return false;
        };
        match link.bytes_of(&self.requests, head) {
            Some(bytes) => {
                first_unanswered(bytes, head.count).is_some_and(command::is_paused_with_writes)
            }
            // The request was too large to be remembered.
            None => self.clients.get(head.client).is_some_and(|client| {
                let mut name = Vec::new();
                write::command(&mut name, &[&client.command.shown()]);
                command::is_paused_with_writes(&name)
            }),
        }
    }

    /// Do writes of this client go to another link than this one?
    #[cold]
    #[inline(never)]
    pub(in crate::proxy) fn writes_go_elsewhere(&self, key: ClientKey, on: LinkKey) -> bool {
        let shares = self.clients.get(key).filter(|it| it.pin().is_none());
        let held = shares.and_then(|client| self.held_back_in(client.pool));
        held.is_some_and(|held| held != on)
    }

    /// Routes a write to the link that is late with another write.
    #[cold]
    #[inline(never)]
    pub(in crate::proxy) fn route_held(
        &mut self,
        key: ClientKey,
        on: LinkKey,
    ) -> Result<LinkKey, Refusal> {
        let Some(client) = self.clients.get_mut(key) else {
            return Err(Refusal::Later);
        };
        if client.in_flight > 0 && client.link != on {
            // The client changes its link only when nothing is in flight: its requests keep their
            // order.
            self.at_barrier(key);
            return Err(Refusal::Later);
        }
        client.set_link(on);
        self.with_room(key, on)
    }

    /// Closes links that are not ready in time, and links with an overdue reply unless their server
    /// answers on others.
    pub(in crate::proxy) fn check_deadlines(&mut self) {
        let settings = &self.settings;
        let reply = settings.backend_reply_ms;
        let handshake = if reply > 0 { reply } else { HANDSHAKE_MS };
        let (mut over, mut waiting) = (Vec::new(), Vec::new());
        for (key, link) in self.links.iter() {
            let silent = self.now.since(link.since);
            match link.state {
                State::Connecting if silent >= self.upstreams.connect_ms(link.instance) => {
                    over.push(key)
                }
                State::Verifying(Verifying::Idle { .. }) => {}
                // A busy server takes as long for a handshake or a login as for any other request.
                State::Handshake(_) | State::Verifying(_) if silent >= handshake => over.push(key),
                State::Ready if reply > 0 && silent >= reply / 2 && link.awaits_reply() => {
                    waiting.push((key, link.pool, silent >= reply));
                }
                _ => {}
            }
        }
        for key in over {
            if !self.try_next_address(key, &Failure::TimedOut) {
                self.fail(key, &Failure::TimedOut);
            }
        }
        for (key, pool, late) in waiting {
            let unheard = self.now.since(self.upstreams.last_read_of(pool));
            if unheard >= reply / 2 {
                self.seek_answer(pool);
            }
            let shared = |it: &Link| it.is_shared() && !it.is_dedicated();
            let asked = |it: &Link| it.is_asked_only();
            match late {
                true if unheard >= reply => self.fail(key, &Failure::TimedOut),
                true if self.links.get(key).is_some_and(asked) => {
                    self.fail(key, &Failure::Removed);
                }
                // Its outstanding replies are still delivered.
                true if self.links.get(key).is_some_and(shared) => self.retire(key),
                _ => {}
            }
        }
    }
}

/// May requests behind the head of a link be retried elsewhere?
fn may_be_retried(link: &Link) -> bool {
    link.is_ready() && !link.is_dedicated() && link.owner() == ClientKey::NONE && !link.blocks()
}
