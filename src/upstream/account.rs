//! Who clients are: users of a tenant, with a credential.

use crate::link::credential::Credential;
use crate::store::key::TenantSlot;
use std::sync::Arc;

/// An account by what it is: a tenant and a credential; `None` is no login.
pub(crate) type Identity = (TenantSlot, Option<Arc<Credential>>);

/// One user of a tenant that logged in with one credential: two passwords of one user are two
/// accounts, and never share a connection. An account names no instance: its clients stay logged
/// in while the tenant has none, and when they move to another one.
#[derive(Debug)]
pub(crate) struct Account {
    pub tenant: TenantSlot,
    /// What its clients logged in with, and what its connections authenticate with; `None`:
    /// without a login.
    pub credential: Option<Arc<Credential>>,
    /// Clients that are logged in to this account.
    pub clients: u32,
    /// Instances on which it has an [`Access`](super::access::Access).
    pub accesses: u32,
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
}
