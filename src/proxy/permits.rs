//! What a user may do of that which is answered here, as far as the server has said.

use crate::command::{Permission, Permissions};

use super::key::{BackendKey, PoolKey};
use super::settings::Millis;

/// How long a server's yes is good, ms.
const PERMITTED_MS: u64 = 1_000;

/// What the user of a pool may do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Permits {
    known: Permissions,
    /// When the first of them was asked for.
    since: Millis,
}

impl Permits {
    pub(super) fn have(&self, what: Permission, now: Millis) -> bool {
        self.known.has(what) && now.since(self.since) < PERMITTED_MS
    }

    pub(super) fn add(&mut self, what: Permission, now: Millis) {
        if now.since(self.since) >= PERMITTED_MS {
            (self.known, self.since) = (Permissions::default(), now);
        }
        self.known.add(what);
    }
}

/// A question to a server whether the user of a pool may do something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inquiry {
    pub(super) pool: PoolKey,
    pub(super) what: Permission,
    pub(super) on: BackendKey,
}
