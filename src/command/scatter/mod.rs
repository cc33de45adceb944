//! How a request is split over the shards of a Redis Cluster, and how their replies become one.
//!
//! A client sees one server. [`rule`] says which shards execute a request. A request for several
//! shards has parts: one for each slot of its keys, or one for each primary. The caller sends the
//! parts and passes each complete reply to a [`Merge`], in any order; at the end [`Merge::finish`]
//! writes the reply to the client.
//!
//! ```text
//!          ┌─ Slot, AnyPrimary ──► one node executes the request
//!  rule ───┼─ Slots(Split) ──────► a part for each slot ─────┐
//!          ├─ EveryPrimary ──────► the request for each ─────┴─► Merge ──► the reply
//!          └─ Refused ───────────► the error
//! ```
//!
//! **A failed part fails the whole request with the error of the part**: a failed shard must not
//! look like missing keys or like a smaller number. [`Merge`] says what an error of a write means.
//!
//! A part has keys of one slot only, although a node may serve many slots: servers refuse a request
//! with keys of several slots, even when all slots are theirs.
//!
//! The parts are not one transaction. Other clients may see or change keys between them.

mod combine;
mod info;
mod merge;
mod policy;
mod split;
mod table;
#[cfg(test)]
mod tests;

pub use merge::Merge;
pub use policy::{MergeRule, ResponsePolicy};
pub use split::Split;

use super::error_reply::ErrorReply;
use super::keys::{Slots, slots};
use super::slot::Slot;
use crate::resp::Args;

/// Which requests with keys in several slots are split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrossSlot {
    /// None.
    Error,
    /// Those that only read: MGET, EXISTS, TOUCH.
    #[default]
    Read,
    /// Also DEL, UNLINK and MSET, which are then no longer atomic.
    All,
}

impl CrossSlot {
    /// The names of all settings, for an error.
    pub const NAMES: &'static str = "error, read, all";

    /// The setting with this name in a label; `None` for other names than `error`, `read` and
    /// `all`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "error" => Some(Self::Error),
            "read" => Some(Self::Read),
            "all" => Some(Self::All),
            _ => None,
        }
    }

    /// Whether a request with this rule is split.
    fn splits(self, rule: MergeRule) -> bool {
        match self {
            Self::Error => false,
            Self::Read => !rule.writes,
            Self::All => true,
        }
    }
}

/// The shards that execute a request.
#[derive(Debug)]
pub enum Rule {
    /// The node of this slot, which all keys have.
    Slot(Slot),
    /// Any one primary: the request has no key, and one node can answer for the cluster.
    AnyPrimary,
    /// Every primary executes the request. The merge needs their number: [`Merge::new`].
    EveryPrimary(MergeRule),
    /// The node of each part's slot executes the part.
    Slots(Split),
    /// None: the client gets the error.
    Refused(ErrorReply),
    /// It depends on the keys, and the command is not known.
    Unknown,
}

/// The shards that execute `frame`, which is one complete request.
pub fn rule(frame: &[u8], cross_slot: CrossSlot) -> Rule {
    match slots(frame) {
        Slots::One(slot) => Rule::Slot(slot),
        Slots::None => {
            let rule = table::of_every_primary(Args::new(frame));
            rule.map_or(Rule::AnyPrimary, Rule::EveryPrimary)
        }
        Slots::Several => split(frame, cross_slot).unwrap_or_else(Rule::Refused),
        Slots::Unknown => Rule::Unknown,
    }
}

/// Whether every primary executes a request, which has no keys.
pub fn is_for_all(frame: &[u8]) -> bool {
    table::of_every_primary(Args::new(frame)).is_some()
}

/// Whether the request is INFO. Its reply says whether the server is in a Redis Cluster.
pub fn is_info(frame: &[u8]) -> bool {
    let name = Args::new(frame).next();
    name.is_some_and(|name| name.eq_ignore_ascii_case(b"info"))
}

/// The parts of a request with keys in several slots.
fn split(frame: &[u8], cross_slot: CrossSlot) -> Result<Rule, ErrorReply> {
    let row = table::of_keys(Args::new(frame));
    let (name, step, rule) = row
        .filter(|(.., rule)| cross_slot.splits(*rule))
        .ok_or(ErrorReply::CROSS_SLOT)?;
    // For a value that is missing, a server without cluster support has another error.
    let split = Split::new(frame, step, rule).ok_or_else(|| ErrorReply::arity(name))?;
    Ok(Rule::Slots(split))
}
