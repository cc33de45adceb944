//! Accounts on an instance: what the instance has said of the credential, and the pools.

use crate::store::key::{AccountKey, InstanceKey, PoolKey};
use crate::store::time::Millis;

/// How long a backend that refused the default user is not asked again, ms.
const REFUSAL_MS: u64 = 1_000;

/// An account on one instance. A client is there through one of its pools.
#[derive(Debug)]
pub(crate) struct Access {
    pub account: AccountKey,
    pub instance: InstanceKey,
    /// The instance has accepted the account's credential. Without one: a handshake without a
    /// login went well, and none was refused since.
    pub open: bool,
    /// Until when the instance, which refused a handshake, is not asked again.
    refused_until: Option<Millis>,
    pub pools: Vec<PoolKey>,
    /// Clients whose session change leads here.
    pub waiting: u32,
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

    /// The instance refused a handshake, of an `anonymous` account or another. Access with a
    /// credential stays open: connections that came in before it was changed are served on, as on
    /// a server.
    pub(crate) fn refuse(&mut self, anonymous: bool, now: Millis) {
        self.refused_until = Some(now.after(REFUSAL_MS));
        self.open &= !anonymous;
    }

    /// The instance accepted a handshake.
    pub(crate) fn accept(&mut self) {
        (self.open, self.refused_until) = (true, None);
    }

    /// Would a new connection be refused?
    pub(crate) fn is_refused(&self, now: Millis) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }

    /// Does nobody use it, or wait for it?
    pub(crate) fn is_unused(&self) -> bool {
        self.waiting == 0 && self.pools.is_empty()
    }
}
