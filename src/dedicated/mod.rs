//! What a connection that belongs to one client holds for it: a transaction, watched keys,
//! subscriptions, tracking. Decided by what the replies say. Pure data.

pub(crate) mod effect;
pub(crate) mod pin;
pub(crate) mod walker;
pub(crate) mod watches;
