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
    /// Until when the instance's last refusal is repeated, and its words: that the credential is
    /// not good any more, that a login is needed, or, of a server that is full, that it is.
    refused: Option<(Millis, String)>,
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
            refused: None,
            pools: Vec::new(),
            waiting: 0,
        }
    }

    /// The instance refused a handshake, of an `anonymous` account or another. Access with a
    /// credential stays open: connections that came in before it was changed are served on, as on
    /// a server.
    pub(crate) fn refuse(&mut self, text: String, anonymous: bool, now: Millis) {
        self.refused = Some((now.after(REFUSAL_MS), text));
        self.open &= !anonymous;
    }

    /// The instance accepted a handshake.
    pub(crate) fn accept(&mut self) {
        (self.open, self.refused) = (true, None);
    }

    /// The instance's words, if a new connection would be refused.
    pub(crate) fn refusal(&self, now: Millis) -> Option<&str> {
        let (until, text) = self.refused.as_ref()?;
        (now < *until).then_some(text)
    }

    /// Does nobody use it, or wait for it?
    pub(crate) fn is_unused(&self) -> bool {
        self.waiting == 0 && self.pools.is_empty()
    }
}
