//! A big reply whose client reads slowly, and who waits behind it on the same connection. (Replies
//! that are late are in `late`.)
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

use crate::link::request::Kind;
use crate::link::stall::{LOOK_AGAIN_MS, PAUSE_BYTES, Stall};
use crate::proxy::action::{Action, Flow};
use crate::proxy::machine::Machine;
use crate::session::client::{Client, Flag};
use crate::store::key::{ConnKey, LinkKey};
use crate::store::time::Millis;

/// Others wait behind a reply that is not read for so long at most before they are sent round it,
/// ms. A client on the same network takes a reply of many megabytes in that time.
const PATIENCE_MS: u64 = 20;

/// And for so long at most until a way round it is there, ms.
const PATIENCE_MAX_MS: u64 = 100;

impl Machine {
    /// A client that does not read: its backend is not read either. If somebody waits behind it,
    /// that is so for a moment only; then the client's own limit decides.
    pub(in crate::proxy) fn pause_for_slow_reader(&mut self, key: LinkKey) -> Flow {
        let Some(link) = self.links.get_mut(key) else {
            return Flow::Continue;
        };
        // It has just been read.
        link.paused = false;
        // A verdict is read here, however slow its client is.
        let head = self.requests.get(link.fifo.head);
        let Some(head) = head.filter(|head| head.kind == Kind::Deliver) else {
            return Flow::Continue;
        };
        let reader = head.client;
        // One that is not read may be stuck in its send until its replies are here.
        let slow = |it: &&Client| it.outbound.len() > PAUSE_BYTES && !it.is(Flag::Paused);
        if self.clients.get(reader).filter(slow).is_none() {
            return Flow::Continue;
        }
        let followed = self.has_followers(key);
        let Some(link) = self.links.get_mut(key) else {
            return Flow::Continue;
        };
        match link.stall {
            // Those for whom it was kept have gone: who comes next waits anew.
            _ if !followed => link.stall = Stall::None,
            Stall::Kept => return Flow::Continue,
            Stall::Since(_) => {}
            Stall::None | Stall::Late(_) | Stall::Served(_) | Stall::Held(_) => {
                self.links.stall(key, Stall::Since(self.now));
            }
        }
        if let Some(link) = self.links.get_mut(key) {
            link.paused = true;
        }
        Flow::Pause
    }

    /// Looks after those who wait behind a reply that its client reads slowly. Cheap if there are
    /// none.
    pub(in crate::proxy) fn check_stalls(&mut self) {
        for key in self.links.take_stalled() {
            let Some(link) = self.links.get(key) else {
                continue;
            };
            let since = match link.stall {
                Stall::Since(since) => since,
                Stall::Late(_) | Stall::Served(_) | Stall::Held(_) => {
                    if self.look_at_late(key) {
                        self.links.put_back_stalled(key);
                    }
                    continue;
                }
                Stall::None | Stall::Kept => continue,
            };
            let waited = self.now.since(since);
            let last = waited >= PATIENCE_MAX_MS;
            if waited < PATIENCE_MS || self.lead_round(key, last) {
                self.links.put_back_stalled(key);
                continue;
            }
            let left = self.has_followers(key);
            if let Some(link) = self.links.get_mut(key) {
                if left {
                    link.stall = Stall::Kept;
                    if link.unpause(self.now) {
                        self.actions.push_back(Action::Resume(ConnKey::Link(key)));
                    }
                } else {
                    link.stall = Stall::None;
                }
            }
        }
    }

    /// When [`check_stalls`](Self::check_stalls) has to look again.
    pub(in crate::proxy) fn next_look_at_stalls(&self) -> Option<Millis> {
        self.links
            .any_stalled()
            .then(|| self.now.after(LOOK_AGAIN_MS))
    }

    /// Does anybody but the client at the head wait for something of this connection?
    pub(in crate::proxy) fn has_followers(&self, key: LinkKey) -> bool {
        let Some(link) = self.links.get(key) else {
            return false;
        };
        let mut queue = self.requests.of_link(link.fifo);
        let Some((_, head)) = queue.next() else {
            return false;
        };
        let reader = head.client;
        queue.any(|(_, it)| it.client != reader && self.clients.contains(it.client))
    }
}
