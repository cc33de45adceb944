//! Users with a credential on an instance.

use crate::link::credential::Credential;
use crate::store::key::{InstanceKey, PoolKey};
use crate::store::time::Millis;
use std::sync::Arc;

/// How long a backend that refused the default user is not asked again, ms.
const REFUSAL_MS: u64 = 1_000;

/// Clients of one user of an instance that came in with one credential: two passwords of one user
/// are two accounts, and never share a connection.
#[derive(Debug)]
pub(crate) struct Account {
    pub instance: InstanceKey,
    /// What its clients and connections came in with; `None`: without a login.
    pub credential: Option<Arc<Credential>>,
    /// The backend has accepted the credential. Without one: a handshake without a login went
    /// well, and none was refused since.
    pub open: bool,
    /// Until when the backend's last refusal is repeated, and its words: that the credential is
    /// not good any more, that a login is needed, or, of a server that is full, that it is.
    pub refused: Option<(Millis, String)>,
    pub pools: Vec<PoolKey>,
    /// Clients that are logged in to this account.
    pub clients: u32,
    /// Clients whose session change is about this account.
    pub waiting: u32,
}

impl Account {
    /// The user's name as the backend knows it: without a login it is the default user.
    pub(crate) fn name(&self) -> &[u8] {
        let credential = self.credential.as_deref();
        credential.map_or(b"default", Credential::name)
    }

    /// Is it that of clients without a login?
    pub(crate) fn is_anonymous(&self) -> bool {
        self.credential.is_none()
    }

    /// The backend refused a handshake as this account. An account with a credential stays open:
    /// connections that came in before it was changed are served on, as on a server.
    pub(crate) fn refuse(&mut self, text: String, now: Millis) {
        self.refused = Some((now.after(REFUSAL_MS), text));
        self.open &= !self.is_anonymous();
    }

    /// The backend accepted a handshake as this account.
    pub(crate) fn accept(&mut self) {
        (self.open, self.refused) = (true, None);
    }

    /// The backend's words, if a new connection would be refused.
    pub(crate) fn refusal(&self, now: Millis) -> Option<&str> {
        let (until, text) = self.refused.as_ref()?;
        (now < *until).then_some(text)
    }
}
