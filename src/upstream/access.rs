//! The access of an account to an instance: whether the instance accepts the credential, and the
//! pools.

use crate::store::key::{AccountKey, InstanceKey, PoolKey};
use crate::store::time::Millis;

/// After a refused handshake, no link is opened with the same credential for this long, ms.
const REFUSAL_MS: u64 = 1_000;

/// An account on one instance. Clients use it through one of its pools.
#[derive(Debug)]
pub(crate) struct Access {
    pub(super) account: AccountKey,
    pub(super) instance: InstanceKey,
    /// The instance has accepted the account's credential. Without a credential: the last anonymous
    /// handshake succeeded.
    pub(super) open: bool,
    /// The time until which the last refused handshake counts.
    refused_until: Option<Millis>,
    pub(super) pools: Vec<PoolKey>,
    /// Clients whose session change in progress leads to this access.
    pub(super) waiting: u32,
}

impl Access {
    pub(crate) fn new(account: AccountKey, instance: InstanceKey) -> Self {
        Self {
            account,
            instance,
            open: false,
            refused_until: None,
            pools: Vec::new(),
            waiting: 0,
        }
    }

    /// The instance refused a handshake; `anonymous`: of an account without a credential. An access
    /// with a credential stays open: links that authenticated before the credential was changed
    /// stay in use, as on a server.
    pub(crate) fn refuse(&mut self, anonymous: bool, now: Millis) {
        self.refused_until = Some(now.after(REFUSAL_MS));
        self.open &= !anonymous;
    }

    /// The instance accepted a handshake.
    pub(crate) fn accept(&mut self) {
        (self.open, self.refused_until) = (true, None);
    }

    /// Does the last refused handshake still count?
    pub(crate) fn is_refused(&self, now: Millis) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }

    /// Has the access neither pools nor waiting clients?
    pub(crate) fn is_unused(&self) -> bool {
        self.waiting == 0 && self.pools.is_empty()
    }
}
