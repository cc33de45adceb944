//! Accounts: users of a tenant, each with one credential.

use std::sync::Arc;

use crate::link::credential::Credential;
use crate::store::key::TenantSlot;

/// The identity of an account: a tenant and a credential; `None`: without a login.
pub(crate) type Identity = (TenantSlot, Option<Arc<Credential>>);

/// One user of a tenant with one credential. Two passwords of a user are two accounts, which never
/// share a link. An account refers to no instance: its clients stay logged in while the tenant has
/// no instance, and when they move to another one.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) tenant: TenantSlot,
    /// The credential with which its clients logged in and with which its links authenticate;
    /// `None`: without a login.
    pub(super) credential: Option<Arc<Credential>>,
    /// Clients that are logged in to this account.
    pub(super) clients: u32,
    /// Instances on which it has an [`Access`](super::access::Access).
    pub(super) accesses: u32,
}

impl Account {
    /// The user's name on the backend; without a login, `default`.
    pub(crate) fn name(&self) -> &[u8] {
        let credential = self.credential.as_deref();
        credential.map_or(b"default", Credential::name)
    }

    /// Is this the account of clients without a login?
    pub(crate) fn is_anonymous(&self) -> bool {
        self.credential.is_none()
    }
}
