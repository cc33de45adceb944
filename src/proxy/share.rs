//! How much a worker does for one client before it turns to the others.
//!
//! What a client sends is decoded in goes of at most [`COMMANDS_MAX`] commands. A client that has
//! more waits in the backlog, and is not read meanwhile; each turn goes through the backlog until
//! so many commands are done, tenant by tenant, and client by client of each. So a client that
//! sends little is answered in the turn in which its request came, whatever others send.
//!
//! A client that its tenant's rate refuses waits until the rate allows a request again, or for a
//! second: then it hears so once more.

use std::collections::VecDeque;

use super::client::Hold;
use super::key::{ClientKey, TenantSlot};
use super::machine::Machine;
use super::notice::Bound;
use super::settings::Millis;

/// Commands of one client in one go: more than any usual pipeline has.
const COMMANDS_MAX: u32 = 256;

/// Commands of the backlog in one turn, to the end of a go: some tenth of a millisecond of work.
const BACKLOG_COMMANDS_MAX: u32 = 512;

/// Requests of one client that a rate refuses in one go.
const REFUSALS_MAX: u32 = 8;

/// Commands before a login that are refused, wrong logins among them, or need none; then the client
/// is closed.
const REFUSED_COMMANDS_MAX: u32 = 64;

/// Clients of one tenant that go on at once when its rate allows requests again.
const RELEASED_MAX: u32 = 64;

/// A client waits so long for its tenant's rate at most, ms.
const THROTTLED_MS: u64 = 1_000;

/// A rate is looked at again after this, ms: it may have been lifted.
const LOOK_AGAIN_MS: u64 = 100;

/// What is left of a client's go.
#[derive(Debug)]
pub(super) struct Share {
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
    /// Takes one command of it. `false`: the go is over.
    #[inline]
    pub(super) fn take(&mut self) -> bool {
        match self.commands.checked_sub(1) {
            Some(left) => {
                self.commands = left;
                true
            }
            None => false,
        }
    }

    fn used(&self) -> u32 {
        COMMANDS_MAX - self.commands
    }
}

/// Clients in a row for each tenant, with since when they wait, and the tenants in turn. Clients
/// that are gone may be among them.
#[derive(Debug, Default)]
pub(super) struct Rows(VecDeque<(TenantSlot, Row)>);

type Row = VecDeque<(ClientKey, Millis)>;

impl Rows {
    pub(super) fn push(&mut self, tenant: TenantSlot, key: ClientKey, now: Millis) {
        match self.0.iter_mut().find(|(of, _)| *of == tenant) {
            Some((_, row)) => row.push_back((key, now)),
            None => self.0.push_back((tenant, Row::from([(key, now)]))),
        }
    }

    /// The client is its tenant's next one.
    pub(super) fn push_first(&mut self, tenant: TenantSlot, key: ClientKey, now: Millis) {
        match self.0.iter_mut().find(|(of, _)| *of == tenant) {
            Some((_, row)) => row.push_front((key, now)),
            None => self.push(tenant, key, now),
        }
    }

    /// The next client of the next tenant.
    pub(super) fn pop(&mut self) -> Option<ClientKey> {
        let (tenant, mut row) = self.0.pop_front()?;
        let (key, _) = row.pop_front()?;
        if !row.is_empty() {
            self.0.push_back((tenant, row));
        }
        Some(key)
    }

    fn len(&self) -> usize {
        self.0.iter().map(|(_, row)| row.len()).sum()
    }

    /// All of them.
    pub(super) fn keys(&self) -> impl Iterator<Item = ClientKey> {
        self.0
            .iter()
            .flat_map(|(_, row)| row.iter().map(|(key, _)| *key))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Machine {
    /// The client's go is over: it goes on when the others have had theirs.
    #[cold]
    pub(super) fn defer(&mut self, key: ClientKey) {
        if self.share.refusals < REFUSALS_MAX && self.tenant_of(key).is_some() {
            self.throttle(key);
        } else if let Some(client) = self.clients.get_mut(key) {
            client.hold.set(Hold::LIMIT);
            self.backlog.push(client.tenant, key, self.now);
        }
    }

    /// Clients of the backlog go on, each once at most.
    pub(super) fn resume_backlog(&mut self) {
        let mut left = BACKLOG_COMMANDS_MAX;
        for _ in 0..self.backlog.len() {
            if left == 0 {
                return;
            }
            let Some(key) = self.backlog.pop() else {
                return;
            };
            if let Some(client) = self.clients.get_mut(key) {
                client.hold.clear(Hold::LIMIT);
                self.resume_client(key);
                left = left.saturating_sub(self.share.used());
            }
        }
    }

    /// A rate refused a request of this client.
    pub(super) fn note_over_rate(&mut self, key: ClientKey) {
        self.share.refusals = self.share.refusals.saturating_sub(1);
        if self.share.refusals == 0 {
            self.throttle(key);
        }
    }

    /// A command of a client that has not logged in was refused, or does nothing for it: too many
    /// of them, and it is closed when it has heard so.
    #[cold]
    pub(super) fn note_refused_command(&mut self, key: ClientKey) {
        if !self.is_anonymous(key) {
            return;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let refused = &mut client.details_mut().refused_commands;
        *refused += 1;
        if *refused == REFUSED_COMMANDS_MAX {
            self.note_eviction(key, Bound::RefusedCommands, u64::from(REFUSED_COMMANDS_MAX));
            self.finish_client(key);
            self.wake(key);
        }
    }

    /// The client's go has come to its end, whatever the reason.
    #[inline]
    pub(super) fn end_go(&mut self, key: ClientKey) {
        if self.share.refusals < REFUSALS_MAX {
            self.throttle(key);
        }
    }

    /// The client waits until its tenant's rate allows a request.
    #[cold]
    fn throttle(&mut self, key: ClientKey) {
        let tenant = self.tenant_of(key);
        if let (Some(tenant), Some(client)) = (tenant, self.clients.get_mut(key))
            && !client.hold.has(Hold::LIMIT)
        {
            client.hold.set(Hold::LIMIT);
            self.throttled.push(tenant, key, self.now);
            self.next_look_at_rates = self.now;
        }
    }

    /// Lets clients go on whose tenant's rate allows requests again: as many as it allows.
    pub(super) fn check_rates(&mut self) {
        if self.throttled.is_empty() || self.now < self.next_look_at_rates {
            return;
        }
        let mut soonest = LOOK_AGAIN_MS;
        for (slot, mut row) in std::mem::take(&mut self.throttled.0) {
            let tenant = self.pools.tenants.get(slot);
            let room = tenant.map_or(RELEASED_MAX, |it| it.room(self.now).min(RELEASED_MAX));
            let mut released = 0;
            while let Some(&(key, since)) = row.front() {
                let client = self.clients.get_mut(key);
                let late = self.now.since(since) >= THROTTLED_MS && released < RELEASED_MAX;
                if client.is_some() && released >= room && !late {
                    break;
                }
                row.pop_front();
                if let Some(client) = client {
                    client.hold.clear(Hold::LIMIT);
                    released += 1;
                    self.wake(key);
                }
            }
            if !row.is_empty() {
                let wait = tenant_wait(self, slot);
                soonest = soonest.min(wait);
                self.throttled.0.push_back((slot, row));
            }
        }
        self.next_look_at_rates = self.now.after(soonest);
    }

    /// When [`check_rates`](Self::check_rates) has to look again.
    pub(super) fn next_look_at_rates(&self) -> Option<Millis> {
        (!self.throttled.is_empty()).then_some(self.next_look_at_rates)
    }
}

/// How long until the tenant's rate may allow a request, at least 1 ms.
fn tenant_wait(machine: &Machine, slot: TenantSlot) -> u64 {
    let tenant = machine.pools.tenants.get(slot);
    tenant.map_or(1, |tenant| tenant.wait_ms(machine.now).max(1))
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::*;

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
