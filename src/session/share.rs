//! The share of one client: how many commands a worker handles for it before it continues with
//! other clients.
//!
//! A client's bytes are decoded up to [`COMMANDS_MAX`] commands at once. A client with more
//! commands waits in the backlog and is read paused; each turn handles a number of commands of the
//! backlog, in turn by tenant and by client. So a client with few commands is answered in the turn
//! in which they arrive, whatever other clients send.
//!
//! A client above its tenant's rate waits until the rate allows a request, or for at most one
//! second; then its next request gets an error.

use std::collections::VecDeque;

use crate::store::key::{ClientKey, TenantSlot};
use crate::store::time::Millis;

/// Commands of one client at once: more than usual pipelines have.
const COMMANDS_MAX: u32 = 256;

/// Requests of one client that a rate refuses at once.
const REFUSALS_MAX: u32 = 8;

/// The longest time between two checks of a rate, ms: the limit may have been lifted.
pub(super) const RATE_CHECK_MS: u64 = 100;

/// What is left of a client's share.
#[derive(Debug)]
pub(crate) struct Share {
    commands: u32,
    refusals: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            commands: COMMANDS_MAX,
            refusals: REFUSALS_MAX,
        }
    }
}

impl Share {
    /// Takes one command. `false`: the share is used up.
    #[inline]
    pub(crate) fn take(&mut self) -> bool {
        match self.commands.checked_sub(1) {
            Some(left) => {
                self.commands = left;
                true
            }
            None => false,
        }
    }

    pub(crate) fn used(&self) -> u32 {
        COMMANDS_MAX - self.commands
    }

    /// Counts a request that a rate refused. Returns whether the client has had enough of them.
    pub(crate) fn refuse(&mut self) -> bool {
        self.refusals = self.refusals.saturating_sub(1);
        self.refusals == 0
    }

    /// Has a rate refused a request?
    #[inline]
    pub(crate) fn is_over_rate(&self) -> bool {
        self.refusals < REFUSALS_MAX
    }
}

/// A queue of clients for each tenant, with the start of their wait; the tenants take turns. Keys
/// of closed clients may be among them.
#[derive(Debug, Default)]
pub(crate) struct Rows(VecDeque<(TenantSlot, Row)>);

/// The clients of one tenant, with the start of their wait.
type Row = VecDeque<(ClientKey, Millis)>;

impl Rows {
    /// Visits the queue of each tenant, and removes it if it is empty afterwards.
    pub(crate) fn retain(&mut self, mut look: impl FnMut(TenantSlot, &mut Row)) {
        self.0.retain_mut(|(tenant, row)| {
            look(*tenant, row);
            !row.is_empty()
        });
    }

    pub(crate) fn push(&mut self, tenant: TenantSlot, key: ClientKey, now: Millis) {
        match self.0.iter_mut().find(|(of, _)| *of == tenant) {
            Some((_, row)) => row.push_back((key, now)),
            None => self.0.push_back((tenant, Row::from([(key, now)]))),
        }
    }

    /// Puts the client at the head of its tenant's queue.
    pub(crate) fn push_first(&mut self, tenant: TenantSlot, key: ClientKey, now: Millis) {
        match self.0.iter_mut().find(|(of, _)| *of == tenant) {
            Some((_, row)) => row.push_front((key, now)),
            None => self.push(tenant, key, now),
        }
    }

    /// The next client of the next tenant.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<ClientKey> {
        let (tenant, mut row) = self.0.pop_front()?;
        let (key, _) = row.pop_front()?;
        if !row.is_empty() {
            self.0.push_back((tenant, row));
        }
        Some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|(_, row)| row.len()).sum()
    }

    /// All clients.
    pub(crate) fn keys(&self) -> impl Iterator<Item = ClientKey> {
        self.0
            .iter()
            .flat_map(|(_, row)| row.iter().map(|(key, _)| *key))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Clients that wait for their tenant's rate, and when the rates are checked.
#[derive(Debug, Default)]
pub(crate) struct Throttled {
    rows: Rows,
    next_check: Millis,
}

impl Throttled {
    /// Adds a client: its tenant's rate is checked in the next turn.
    pub(crate) fn push(&mut self, tenant: TenantSlot, key: ClientKey, now: Millis) {
        self.rows.push(tenant, key, now);
        self.next_check = now;
    }

    /// Takes the clients out, if their tenants' rates are to be checked now.
    pub(crate) fn take_due(&mut self, now: Millis) -> Option<Rows> {
        let due = self.due().is_some_and(|due| now >= due);
        due.then(|| std::mem::take(&mut self.rows))
    }

    /// Puts back the clients that still wait, and sets the time of the next check.
    pub(crate) fn put_back(&mut self, rows: Rows, next_check: Millis) {
        (self.rows, self.next_check) = (rows, next_check);
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = ClientKey> {
        self.rows.keys()
    }

    /// When the rates are checked next; `None`: no client waits.
    pub(crate) fn due(&self) -> Option<Millis> {
        (!self.rows.is_empty()).then_some(self.next_check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Key;

    #[test]
    fn tenants_take_turns_and_so_do_the_clients_of_each() {
        let mut rows = Rows::default();
        let (one, other) = (TenantSlot::new(1, 0), TenantSlot::new(2, 0));
        let client = |n| ClientKey::new(n, 0);
        for n in 0..4 {
            rows.push(one, client(n), Millis(0));
        }
        rows.push(other, client(9), Millis(0));
        assert_eq!(rows.len(), 5);
        let all: Vec<ClientKey> = std::iter::from_fn(|| rows.pop()).collect();
        assert_eq!(all, [0, 9, 1, 2, 3].map(client));
        assert!(rows.is_empty());
    }
}
