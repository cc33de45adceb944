//! Keys of the machine's tables: an index and a generation.
//!
//! A key may outlive its value. The key of a closed connection finds nothing, even if its slot is
//! used again, because the generation differs.

use std::fmt;

/// The parts of every key; [`Table`](super::table::Table) works with any of them.
pub trait Key: Copy {
    /// Builds a key.
    fn new(index: u32, generation: u32) -> Self;
    /// The slot.
    fn index(self) -> u32;
    /// Distinguishes the values that use the slot one after another.
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
            /// Names nothing: no table returns it.
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
    /// A client.
    pub ClientKey "c",
    /// A link.
    pub LinkKey "b",
    /// A pool: the links for one user, database and protocol of one instance.
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

/// A client or a link: what the reactor has a socket for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConnKey {
    /// A client.
    Client(ClientKey),
    /// A link.
    Link(LinkKey),
}
