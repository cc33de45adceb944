//! Asking servers about replicas on shared links: when a server is asked, and where other clients'
//! requests go meanwhile.
//!
//! A server answers nothing else on a link that waits. So the link is borrowed: other clients use
//! another link, and the server is asked once nothing is in flight. It is asked for a moment only,
//! so that no client's wait keeps the link from the others: then the link is shared again, and the
//! links that have waited longer are asked first.
//!
//! ```text
//!                 another link is ready                nothing is in flight
//!   shared ─────────────────────────────────► reserved ──────────────────────► borrowed, asked
//!     ▲                                                                            │
//!     └───────────── answered: satisfied and timed-out waiters leave ──────────────┘
//! ```
//! Without another link, the server is asked on the shared one, for so short a time that the
//! requests behind are hardly delayed.

use crate::link::link::Link;
use crate::link::request::Kind;
use crate::link::role::Role;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::key::{ClientKey, LinkKey};

/// The longest question while other clients' requests are behind it, ms.
const BEFORE_OTHERS_MS: u64 = 10;

/// The least time between two such questions, ms.
const BEFORE_OTHERS_EVERY_MS: u64 = 100;

/// Where other clients' requests go while the server is asked.
enum Others {
    /// To another link, which is ready.
    Elsewhere,
    /// Another link is not ready yet.
    Later,
    /// Behind the question.
    Behind,
}

impl Machine {
    /// Asks servers on the links where this is possible now. Links take turns in their order.
    pub(in crate::proxy) fn serve_waits(&mut self) {
        if !self.links.any_waits() {
            return;
        }
        let mut all = self.links.take_waits();
        all.retain(|&on| self.take_turn(on));
        self.links.put_back_waits(all);
    }

    /// Asks the server on this link, if possible now. Returns whether any client still waits there.
    fn take_turn(&mut self, on: LinkKey) -> bool {
        let Some(link) = self.links.get_mut(on) else {
            return false;
        };
        if link.is_retired() {
            let waiters = link.waits.take();
            self.unreserve(on);
            self.end_waits(waiters);
            return false;
        }
        if link.waits.is_empty() {
            self.unreserve(on);
            return false;
        }
        if link.waits.is_asking() || matches!(link.role(), Role::Borrowed(_)) {
            return true;
        }
        if link.is_dedicated() {
            self.ask_dedicated(on);
            return true;
        }
        let at_once = link.waits.want_nothing();
        let others = match at_once {
            true => Others::Behind,
            false => self.where_others_go(on),
        };
        self.assign(
            on,
            match others {
                Others::Elsewhere => Role::Reserved,
                Others::Later | Others::Behind => Role::Shared,
            },
        );
        let Some(link) = self.links.get(on) else {
            return false;
        };
        match others {
            Others::Elsewhere if link.fifo.is_empty() && link.is_ready() => {
                self.assign(on, Role::Borrowed(ClientKey::NONE));
                self.ask_wait(on, u64::MAX);
            }
            Others::Behind
                if (at_once || self.now.since(link.asked_wait) >= BEFORE_OTHERS_EVERY_MS)
                    && link.is_ready()
                    && link.is_open() =>
            {
                self.ask_wait(on, BEFORE_OTHERS_MS);
            }
            _ => {}
        }
        true
    }

    /// Asks on a link that is not shared: an idle one, or a dedicated one on behalf of its owner.
    /// On another client's dedicated link the server is asked as on a shared one.
    fn ask_dedicated(&mut self, on: LinkKey) {
        let Some(link) = self.links.get(on).filter(|it| it.is_ready()) else {
            return;
        };
        let (owner, calm) = (link.owner(), link.fifo.is_empty());
        let its = link.waits.clients().any(|it| it == owner);
        let due = self.now.since(link.asked_wait) >= BEFORE_OTHERS_EVERY_MS;
        if its && calm || self.take_idle(on) {
            self.ask_wait(on, u64::MAX);
        } else if calm && due && self.clients.lets_ask(owner) {
            self.ask_wait(on, BEFORE_OTHERS_MS);
        }
    }

    /// Decides where other clients' requests go while the server is asked on this link. Opens a
    /// link for them if necessary.
    fn where_others_go(&mut self, on: LinkKey) -> Others {
        let pool_key = self.links.get(on).map(|it| it.pool).unwrap_or_default();
        let Some(size) = self.upstreams.pool_size(pool_key) else {
            return Others::Later;
        };
        let others = self.upstreams.shared_links(pool_key).iter();
        let others = others.filter(|&&other| other != on);
        let others = others.filter_map(|&other| self.links.get(other));
        let (mut opening, mut asking) = (false, self.upstreams.any_borrowed(pool_key));
        for other in others {
            if other.is_ready() && other.is_open() {
                return Others::Elsewhere;
            }
            opening |= other.is_opening();
            asking |= other.is_reserved();
        }
        if opening {
            return Others::Later;
        }
        let room = size < self.settings.pool_connections_max
            && !self.upstreams.is_in_backoff(pool_key, self.now)
            && !self.upstreams.fails_fast(pool_key, self.now)
            && !self.upstreams.is_refused(pool_key, self.now);
        match room && self.open_shared(pool_key).is_some() {
            true => Others::Later,
            // The question on the other link ends in a moment.
            false if asking => Others::Later,
            false => Others::Behind,
        }
    }

    /// Sends WAIT for the least count that any client waits for.
    fn ask_wait(&mut self, on: LinkKey, most: u64) {
        let (now, clients) = (self.now, &self.clients);
        // The link's silence is expected until then.
        let most = match self.settings.backend_reply_ms {
            0 => most,
            overdue => most.min(overdue / 4).max(1),
        };
        let ready = |key| clients.get(key).is_some_and(|it| it.fifo.is_empty());
        let link = self.links.get_mut(on);
        let asked = link.and_then(|it| it.waits.ask(now, most, ready));
        let Some((wanted, ms)) = asked else {
            // No waiter is ready. The link is asked again in a later round.
            if let Some(link) = self.links.get_mut(on) {
                link.asked_wait = now;
            }
            return self.end_turn_of(on);
        };
        let words = wanted.words(ms);
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        self.ask_server(on, Kind::Wait, &words);
    }

    /// Handles the server's reply.
    pub(in crate::proxy) fn wait_answered(&mut self, on: LinkKey, reply: &[u8]) {
        let Some(link) = self.links.get_mut(on) else {
            return;
        };
        link.asked_wait = self.now;
        let done = link.waits.answered(reply, self.now);
        link.traffic.requests += done.len() as u64;
        link.traffic.replies += done.len() as u64;
        self.end_turn_of(on);
        // The other links are asked first.
        self.links.put_last(on);
        for waiter in done {
            self.go_on_waiting(waiter, reply);
        }
        self.work.push(Work::ServeWaits);
    }

    /// Makes the link shared or idle again.
    fn end_turn_of(&mut self, on: LinkKey) {
        match self.links.get(on) {
            Some(it) if it.is_dedicated() && it.owner() == ClientKey::NONE => {
                self.give_back(on, false)
            }
            _ => self.take_back(on),
        }
    }

    fn unreserve(&mut self, on: LinkKey) {
        if self.links.get(on).is_some_and(Link::is_reserved) {
            self.assign(on, Role::Shared);
        }
    }
}
