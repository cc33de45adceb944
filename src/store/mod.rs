//! The containers of a worker: keys with generations, tables, lists of chunks, the read buffer, and
//! time. Knows nothing of clients, links or the protocol.
//!
//! Clients and links hold keys, never references. A look-up that finds nothing is normal: the key's
//! value was removed.

pub(crate) mod allocator;
pub(crate) mod buffer;
pub(crate) mod chunk;
pub(crate) mod key;
pub(crate) mod random;
pub(crate) mod table;
pub(crate) mod time;
