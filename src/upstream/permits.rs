//! What a user may do of that which is answered here, as far as the server has said.

use crate::command::{Permission, Permissions};

use crate::store::key::{LinkKey, PoolKey};
use crate::store::time::Millis;

/// How long a server's yes is good, ms.
const PERMITTED_MS: u64 = 1_000;

/// What the user of a pool may do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Permits {
    known: Permissions,
    /// When the first of them was asked for.
    since: Millis,
}

impl Permits {
    pub(crate) fn have(&self, what: Permission, now: Millis) -> bool {
        self.known.has(what) && now.since(self.since) < PERMITTED_MS
    }

    pub(crate) fn add(&mut self, what: Permission, now: Millis) {
        if now.since(self.since) >= PERMITTED_MS {
            (self.known, self.since) = (Permissions::default(), now);
        }
        self.known.add(what);
    }
}

/// A question to a server whether the user of a pool may do something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inquiry {
    pub(crate) pool: PoolKey,
    pub(crate) what: Permission,
    pub(crate) on: LinkKey,
}
