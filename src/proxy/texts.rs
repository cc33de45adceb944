//! Errors that are used in several places.

use crate::command::ErrorReply;

/// The error while a tenant has no usable instance.
pub(super) const NO_INSTANCE: ErrorReply = ErrorReply::unavailable("no instance");

/// The error while an instance has as many links as it may have.
pub(super) const TOO_MANY_CONNECTIONS: ErrorReply =
    ErrorReply::Proxy("ERR elika: too many backend connections");

/// The error for a client above the limit on clients, as Redis words it.
pub(super) const TOO_MANY_CLIENTS: ErrorReply =
    ErrorReply::fixed("ERR max number of clients reached");

/// The error for a request that is too large for the available memory.
pub(super) const OUT_OF_MEMORY: ErrorReply =
    ErrorReply::Proxy("ERR elika: out of memory for this request");

/// The error of a server that does not know which node serves a slot.
pub(super) const NOT_SERVED: ErrorReply = ErrorReply::fixed("CLUSTERDOWN Hash slot not served");
