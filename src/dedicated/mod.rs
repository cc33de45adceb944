//! What a dedicated link holds for its client: a transaction, watched keys, subscriptions,
//! tracking. Replies change it. Contains data only, no decisions.

pub(crate) mod effect;
pub(crate) mod exec_scanner;
pub(crate) mod pin;
pub(crate) mod repeat;
pub(crate) mod watches;
