//! Handles of the machine's tables: an index and a generation.
//!
//! A key outlives what it names. Whoever looks it up gets `None` when the connection has gone
//! meanwhile, even if its slot has a new tenant: the generation differs.

use std::fmt;

/// What every key is made of; [`Table`](super::table::Table) works with any of them.
pub trait Key: Copy {
    /// Puts a key together.
    fn new(index: u32, generation: u32) -> Self;
    /// The slot.
    fn index(self) -> u32;
    /// Which of the slot's tenants, over time, is meant.
    fn generation(self) -> u32;
}

macro_rules! keys {
    ($($(#[$doc:meta])* $vis:vis $name:ident $short:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis struct $name {
            index: u32,
            generation: u32,
        }

        impl $name {
            /// Names nothing: no table ever hands it out.
            $vis const NONE: Self = Self { index: u32::MAX, generation: 0 };
        }

        impl Default for $name {
            fn default() -> Self {
                Self::NONE
            }
        }

        impl Key for $name {
            fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }

            fn index(self) -> u32 {
                self.index
            }

            fn generation(self) -> u32 {
                self.generation
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if *self == Self::NONE {
                    return write!(f, concat!($short, "-"));
                }
                write!(f, concat!($short, "{}.{}"), self.index, self.generation)
            }
        }
    )*};
}

keys! {
    /// A client connection.
    pub ClientKey "c",
    /// A backend connection.
    pub LinkKey "b",
    /// A pool: the connections for one user, database and protocol of one instance.
    pub(crate) PoolKey "p",
    /// An account: one user of one tenant, with one credential.
    pub(crate) AccountKey "a",
    /// An account on one instance.
    pub(crate) AccessKey "x",
    /// A tenant.
    pub(crate) TenantSlot "t",
    /// An instance of a cluster.
    pub(crate) InstanceKey "i",
}

impl AccountKey {
    /// No key is less.
    pub(crate) const FIRST: Self = Self {
        index: 0,
        generation: 0,
    };
}

/// Either kind of connection: what the reactor has a socket for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConnKey {
    /// A client's connection.
    Client(ClientKey),
    /// A connection to a backend.
    Link(LinkKey),
}
