//! Error texts that are used in several places.

/// The error while a tenant has no usable instance.
pub(super) const NO_INSTANCE: &str = "ERR elika: backend unavailable: no instance";

/// The error while an instance has as many links as it may have.
pub(super) const TOO_MANY_CONNECTIONS: &str = "ERR elika: too many backend connections";

/// The error for a client above the limit on clients, as Redis words it.
pub(super) const TOO_MANY_CLIENTS: &str = "ERR max number of clients reached";
