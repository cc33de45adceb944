//! Instances as this worker knows them: where they are, whether they answer, and how far they are
//! on their way out.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::cluster::{self, Health, InstanceId, TenantKey};
use crate::command::ErrorReply;
use crate::command::blocking::BlockingCommands;
use crate::command::client::Dialect;
use crate::metrics::{ErrorKind, Traffic};

use crate::link::failure::Failure;
use crate::store::key::{InstanceKey, LinkKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::logins::Logins;

/// First and longest wait before an instance that cannot be reached is tried again, ms.
pub(crate) const BACKOFF_MS: (u64, u64) = (50, 2_000);

/// One server of a cluster.
#[derive(Debug)]
pub(crate) struct Instance {
    pub tenant: TenantKey,
    pub slot: TenantSlot,
    pub id: InstanceId,
    pub address_text: String,
    /// What its name led to the last time that it led anywhere.
    pub addresses: Vec<SocketAddr>,
    /// It leads there now.
    resolves: bool,
    /// As far as this worker has found out.
    pub health: Health,
    /// Why it is not up.
    pub reason: String,
    /// What all workers together found out.
    pub told: Health,
    /// It is no primary, though it was asked to write: it is up again only when it is one.
    pub read_only: bool,
    /// What a reply said of it, which may be a client's invention, until a check has found out.
    pub suspected: Option<ErrorKind>,
    /// What to tell clients while it is down.
    pub down_error: ErrorReply,
    /// Failures in a row.
    pub failures: u32,
    /// Where in `addresses` the next attempt to connect begins: where the last one went well.
    preferred: usize,
    /// Not before this, while it is down.
    pub retry_at: Millis,
    /// The check under way: on which connection, and since when.
    pub check: Option<(LinkKey, Millis)>,
    /// When the last one was begun.
    pub checked_at: Millis,
    /// When any connection to it last brought bytes.
    pub heard: Millis,
    /// When it was last asked for a sign that it answers.
    pub asked_alive: Millis,
    /// The shortest handshake so far, ms: a longer one tells that the server was busy, too.
    pub handshake_ms: u64,
    /// Connections being opened; those that are ready; and all but those that verify logins.
    pub connecting: u32,
    pub ready: u32,
    pub connections: u32,
    /// When no connection was found that nobody uses.
    pub all_used_at: Option<Millis>,
    pub logins: Logins,
    /// The registry dropped it.
    pub gone: bool,
    /// Since when it has been offline or gone: its clients shall go elsewhere.
    pub leaving: Option<Millis>,
    /// Not before this may its clients try to move again.
    pub moves_after: Millis,
    /// When its addresses last changed.
    pub moved_at: Option<Millis>,
    /// How its version shows clients.
    pub dialect: Dialect,
    /// Its commands that may block, beside those of the table.
    pub learned: BlockingCommands,
    /// When it told.
    pub asked_at: Option<Millis>,
    /// Clients logged in there.
    pub clients: u32,
    /// Clients closed at a limit: of bytes kept for them, or of time in which they took none.
    pub evictions: u64,
    /// What went over connections that have ended.
    pub traffic: Traffic,
}

impl Instance {
    pub(crate) fn new(tenant: TenantKey, slot: TenantSlot, new: &cluster::Instance) -> Self {
        Self {
            tenant,
            slot,
            id: new.id.clone(),
            address_text: new.address_text.clone(),
            addresses: new.addresses.clone(),
            resolves: !new.addresses.is_empty(),
            health: Health::Unknown,
            reason: String::new(),
            told: Health::Unknown,
            read_only: false,
            suspected: None,
            down_error: Failure::Removed.error_if_unsent(),
            failures: 0,
            preferred: 0,
            retry_at: Millis::default(),
            check: None,
            checked_at: Millis::default(),
            heard: Millis::default(),
            asked_alive: Millis::default(),
            handshake_ms: u64::MAX,
            connecting: 0,
            ready: 0,
            connections: 0,
            all_used_at: None,
            logins: Logins::default(),
            gone: false,
            leaving: None,
            moves_after: Millis::default(),
            moved_at: None,
            dialect: Dialect::default(),
            learned: BlockingCommands::default(),
            asked_at: None,
            clients: 0,
            evictions: 0,
            traffic: Traffic::default(),
        }
    }

    /// Must a request for it fail at once?
    pub(crate) fn is_out(&self, now: Millis) -> bool {
        self.gone || (self.health == Health::Down && now < self.retry_at)
    }

    /// Could no connection to it be made a moment ago? Then one that is not needed waits.
    pub(crate) fn rests(&self, now: Millis) -> bool {
        self.gone || now < self.retry_at
    }

    /// The address that an attempt to connect tries after so many others.
    pub(crate) fn address(&self, tried: usize) -> Option<SocketAddr> {
        let n = self.addresses.len();
        if !self.resolves || tried >= n {
            return None;
        }
        self.addresses.get((self.preferred + tried) % n).copied()
    }

    /// A connection to this address works, or not: the next attempt begins there, or behind it.
    pub(crate) fn prefer(&mut self, address: Option<SocketAddr>, works: bool) {
        let at = self.addresses.iter().position(|it| Some(*it) == address);
        if let Some(at) = at {
            self.preferred = at + usize::from(!works);
        }
    }

    /// Is this where it still is? Names that do not resolve any more are no news.
    pub(crate) fn is_at(&self, address: Option<SocketAddr>) -> bool {
        let known = |address| self.addresses.contains(&address);
        self.addresses.is_empty() || address.is_none_or(known)
    }

    /// How little it is fit for a new client; 0 is the best.
    pub(crate) fn unfitness(&self) -> u8 {
        let of = |health| match health {
            Health::Unknown | Health::Up => 0,
            Health::Degraded => 1,
            Health::Down => 2,
        };
        of(self.health).max(of(self.told))
    }

    /// Follows a new snapshot. Returns whether the addresses have changed.
    pub(crate) fn follow(&mut self, new: &cluster::Instance, now: Millis) -> bool {
        self.told = new.health;
        if std::mem::take(&mut self.gone) {
            // It is back, and nobody knows it: who keeps what workers tell has forgotten it.
            (self.health, self.read_only) = (Health::Unknown, false);
            self.reason.clear();
        }
        if new.status.is_usable() {
            self.leaving = None;
        } else {
            self.leaving = self.leaving.or(Some(now));
        }
        self.address_text.clone_from(&new.address_text);
        let resolves = !new.addresses.is_empty();
        let stays = !resolves || self.addresses == new.addresses;
        if stays && resolves == self.resolves {
            return false;
        }
        self.resolves = resolves;
        // What was found out was found out elsewhere.
        (self.failures, self.retry_at, self.asked_at) = (0, now, None);
        (self.preferred, self.handshake_ms) = (0, u64::MAX);
        if stays {
            return false;
        }
        let moved = !self.addresses.is_empty();
        self.addresses.clone_from(&new.addresses);
        self.moved_at = moved.then_some(now);
        moved
    }
}

/// What a new snapshot of the registry changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Instances that are not in it any more.
    pub gone: HashSet<InstanceKey>,
    /// Instances that are to be left by their clients, those that are gone included.
    pub leaving: HashSet<InstanceKey>,
    /// Instances that have other addresses now.
    pub moved: HashSet<InstanceKey>,
}

#[cfg(test)]
mod tests;
