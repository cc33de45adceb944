//! A large reply that its client reads slowly, and the clients behind it on the same link. (Late
//! replies are in `late`.)
//!
//! ```text
//!   the reply fills the client's buffer ──► its link is read paused ──► the client catches up:
//!                                                │                      the link is read again
//!                                                │ other clients wait behind it for too long
//!                                                ▼
//!                clients that wait only for replies to reads are retried on other links;
//!                the first link's replies to them are dropped
//!                                                │
//!                                                │ some remain: a write is never sent twice
//!                                                ▼
//!                the reply is buffered as it arrives, up to its client's limit
//! ```

use crate::link::request::Kind;
use crate::link::stall::{PAUSE_BYTES, Stall};
use crate::proxy::action::{Action, Flow};
use crate::proxy::machine::Machine;
use crate::session::client::{Client, Flag};
use crate::store::key::{ConnKey, LinkKey};

/// Clients wait this long behind a reply that is not read before they are retried elsewhere, ms. A
/// client on the same network reads many megabytes in that time.
const RETRY_AFTER_MS: u64 = 20;

/// The longest wait for another link to become ready, ms.
const RETRY_AFTER_MAX_MS: u64 = 100;

impl Machine {
    /// Pauses reading of a link while the client of its head does not read. If other clients wait
    /// behind that client, the pause ends after at most `RETRY_AFTER_MAX_MS`; then the reply is
    /// buffered, up to its client's limit.
    pub(in crate::proxy) fn pause_for_slow_reader(&mut self, key: LinkKey) -> Flow {
        let Some(link) = self.links.get_mut(key) else {
            return Flow::Continue;
        };
        // The link was just read.
        link.paused = false;
        // Replies of other kinds do not go to a client: the proxy consumes or drops them.
        let head = self.requests.get(link.fifo.head);
        let Some(head) = head.filter(|head| head.kind == Kind::Deliver) else {
            return Flow::Continue;
        };
        let reader = head.client;
        // A client that is read paused may be blocked in a send, and read nothing until its replies
        // are here.
        let slow = |it: &&Client| it.outbound.len() > PAUSE_BYTES && !it.is(Flag::Paused);
        if self.clients.get(reader).filter(slow).is_none() {
            return Flow::Continue;
        }
        let followed = self.has_followers(key);
        let Some(link) = self.links.get_mut(key) else {
            return Flow::Continue;
        };
        match link.stall {
            // No client waits behind the reply any more. The next one that does starts a new wait.
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

    /// Handles clients that wait behind a slowly read reply. Cheap if there are none.
    pub(in crate::proxy) fn check_stalls(&mut self) {
        for key in self.links.take_stalled() {
            let Some(link) = self.links.get(key) else {
                continue;
            };
            let since = match link.stall {
                Stall::Since(since) => since,
                Stall::Late(_) | Stall::Served(_) | Stall::Held(_) => {
                    if self.check_late(key) {
                        self.links.put_back_stalled(key);
                    }
                    continue;
                }
                Stall::None | Stall::Kept => continue,
            };
            let waited = self.now.since(since);
            let last = waited >= RETRY_AFTER_MAX_MS;
            if waited < RETRY_AFTER_MS || self.retry_elsewhere(key, last) {
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

    /// Does any other client than the head's wait for a reply on this link?
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
