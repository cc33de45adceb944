//! Errors in the proxy's own words, or the server's, that more than one place says.

/// The error while a tenant has no instance that may be used.
pub(super) const NO_INSTANCE: &str = "ERR elika: backend unavailable: no instance";

/// The error where there are as many connections to an instance as there may be.
pub(super) const TOO_MANY_CONNECTIONS: &str = "ERR elika: too many backend connections";

/// What Redis says, and so do we, to one client more than there may be.
pub(super) const TOO_MANY_CLIENTS: &str = "ERR max number of clients reached";
