//! The permissions of a user for commands that the proxy answers itself, as the server has
//! confirmed them.

use crate::command::{Permission, Permissions};

use crate::store::key::{LinkKey, PoolKey};
use crate::store::time::Millis;

/// How long a confirmed permission is used, ms.
const PERMITTED_MS: u64 = 1_000;

/// The confirmed permissions of the user of a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Permits {
    known: Permissions,
    /// When the first of them was confirmed.
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
pub(crate) struct PermissionProbe {
    pub pool: PoolKey,
    pub what: Permission,
    pub on: LinkKey,
}
