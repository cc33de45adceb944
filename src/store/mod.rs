//! The containers of a worker: keys with generations, tables, lists of chunks, the read buffer, and
//! time. Knows nothing of clients, links or the protocol.
//!
//! Connections hold keys and never references. A key that finds nothing is normal: what it names is
//! gone.

pub(crate) mod allocator;
pub(crate) mod buffer;
pub(crate) mod chunk;
pub(crate) mod key;
pub(crate) mod random;
pub(crate) mod table;
pub(crate) mod time;
