//! Clients that may continue, and clients that wait for something outside their session.

use std::collections::VecDeque;

use super::Sessions;
use crate::command::ErrorReply;
use crate::session::change::Login;
use crate::session::client::{Client, Flag, Hold};
use crate::store::key::{AccessKey, ClientKey, LinkKey, TenantSlot};

impl Sessions {
    /// Queues a client for this turn's resume.
    pub(crate) fn mark_ready(&mut self, key: ClientKey) {
        if let Some(client) = self.table.get_mut(key) {
            mark_ready(&mut self.ready, client, key);
        }
    }

    /// Ends a reason for holding a client, and queues it for resume.
    pub(crate) fn end_hold(&mut self, key: ClientKey, hold: Hold) {
        if let Some(client) = self.table.get_mut(key) {
            client.hold.clear(hold);
            mark_ready(&mut self.ready, client, key);
        }
    }

    /// Ends a client's wait: the client returns to its [base](Client::base) phase and is queued for
    /// resume. Returns `false` if the client is closed, closing, or does not wait.
    pub(crate) fn end_wait(&mut self, key: ClientKey) -> bool {
        let waits = |it: &&mut Client| !it.phase().decodes() && !it.is_closing();
        let Some(client) = self.table.get_mut(key).filter(waits) else {
            return false;
        };
        let entered = client.enter(client.base());
        debug_assert!(entered.is_ok(), "{key:?}: {entered:?}");
        mark_ready(&mut self.ready, client, key);
        true
    }

    /// Ends a client's wait for a dedicated link. Its command is decoded again, and gets this error
    /// if there is one.
    pub(crate) fn leave_queue(&mut self, key: ClientKey, refusal: Option<ErrorReply>) {
        if let Some(client) = self.table.get_mut(key) {
            client.take_refusal();
            if let Some(error) = refusal {
                client.set_refusal(error);
            }
        }
        self.end_wait(key);
    }

    /// Does a client still wait for the auth result of this access? The result of one session
    /// change must never decide another.
    pub(crate) fn waits_for_result(&self, key: ClientKey, access: AccessKey) -> bool {
        let waiting = self.table.get(key).and_then(|client| client.waiting());
        waiting.is_some_and(|it| it.login == Login::Asked && it.access == access)
    }

    pub(crate) fn next_ready(&mut self) -> Option<ClientKey> {
        self.ready.pop_front()
    }

    /// The number of clients to resume.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Is there work for the next turn even without events?
    pub(crate) fn has_work(&self) -> bool {
        !(self.ready.is_empty() && self.backlog.is_empty() && self.questions.is_empty())
    }

    /// Makes a client wait until a link has room for more requests.
    pub(crate) fn wait_for_room(&mut self, key: ClientKey, on: LinkKey) {
        if let Some(client) = self.table.get_mut(key)
            && !client.hold.has(Hold::LINK)
        {
            client.hold.set(Hold::LINK);
            self.waiting_for_room.push((on, key));
        }
    }

    #[inline]
    pub(crate) fn any_waits_for_room(&self) -> bool {
        !self.waiting_for_room.is_empty()
    }

    /// A link has room again, or is closed: resumes the clients that wait for room.
    pub(crate) fn end_wait_for_room(&mut self, on: LinkKey) {
        let mut i = 0;
        while let Some(&(of, client)) = self.waiting_for_room.get(i) {
            if of == on {
                self.waiting_for_room.swap_remove(i);
                self.end_hold(client, Hold::LINK);
            } else {
                i += 1;
            }
        }
    }

    /// Makes a client wait for the end of its tenant's pause.
    pub(crate) fn wait_for_unpause(&mut self, key: ClientKey, tenant: TenantSlot) {
        if let Some(client) = self.table.get_mut(key) {
            client.hold.set(Hold::LIMIT);
            self.paused.push((key, tenant));
        }
    }

    /// The clients that wait for the end of a pause, with the tenant of the pause.
    pub(crate) fn paused(&self) -> &[(ClientKey, TenantSlot)] {
        &self.paused
    }

    /// Ends a tenant's pause. Returns how many clients are resumed.
    pub(crate) fn end_pause(&mut self, tenant: TenantSlot) -> usize {
        let (over, left) = std::mem::take(&mut self.paused)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, of)| *of == tenant);
        self.paused = left;
        for &(key, _) in &over {
            self.end_hold(key, Hold::LIMIT);
        }
        over.len()
    }

    /// Removes a client that waits for the end of a pause. Returns the tenant of the pause.
    pub(crate) fn leave_pause(&mut self, key: ClientKey) -> Option<TenantSlot> {
        let client = self.table.get_mut(key)?;
        if !client.hold.has(Hold::LIMIT) {
            return None;
        }
        let at = self
            .paused
            .iter()
            .position(|(waiting, _)| *waiting == key)?;
        client.hold.clear(Hold::LIMIT);
        Some(self.paused.swap_remove(at).1)
    }

    /// Asks the client's question again in the next round.
    pub(crate) fn ask_again(&mut self, key: ClientKey) {
        self.asks_again.push(key);
    }

    pub(crate) fn any_asks_again(&self) -> bool {
        !self.asks_again.is_empty()
    }

    pub(crate) fn take_asks_again(&mut self) -> Vec<ClientKey> {
        std::mem::take(&mut self.asks_again)
    }
}

#[inline]
pub(super) fn mark_ready(ready: &mut VecDeque<ClientKey>, client: &mut Client, key: ClientKey) {
    if !client.is(Flag::Ready) {
        client.set(Flag::Ready);
        ready.push_back(key);
    }
}
