//! The cursor of a SCAN over all nodes.
//!
//! ```text
//!   63       62 … 49    48 … 29    28 … 0
//!   0        slot       node       position
//! ```
//! The slots below `slot` are done. `position` is where the server goes on in the slot. It is valid
//! only for the process that returned it, of which `node` is a hash: in another process, the scan
//! of the slot starts again.

use crate::command::slot::Slot;
use crate::resp::number::parse_i64;

const POSITION_BITS: u32 = 29;
const NODE_BITS: u32 = 20;

/// The bits of a server's cursor that are the slot; the position is above.
const SERVER_SLOT_BITS: u32 = 14;

/// A hash of the process that returned a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessTag(u32);

impl ProcessTag {
    /// Of what identifies the process. It is never 0, so that no cursor but the first one is.
    pub fn of(identity: &[&[u8]]) -> Self {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for byte in identity.iter().copied().flatten() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
        let folded = (hash >> 44) ^ (hash & low(NODE_BITS));
        Self(folded as u32 | 1)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanCursor {
    /// The slots below are done.
    pub slot: Slot,
    /// Where the slot goes on, and in which process. `None`: at its beginning.
    pub within: Option<(ProcessTag, u64)>,
}

impl ScanCursor {
    /// At the beginning of a slot.
    pub fn at(slot: Slot) -> Self {
        Self { slot, within: None }
    }

    /// Reads a client's cursor. `None`: it is none.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        let cursor = u64::try_from(parse_i64(digits)?).ok()?;
        let slot = (cursor >> (NODE_BITS + POSITION_BITS)) as u16;
        let tag = (cursor >> POSITION_BITS) & low(NODE_BITS);
        let position = cursor & low(POSITION_BITS);
        Some(Self {
            slot: Slot::new(slot)?,
            within: (position != 0).then_some((ProcessTag(tag as u32), position)),
        })
    }

    /// The cursor for the client. Below 2^63, and not 0.
    pub fn number(self) -> u64 {
        let (ProcessTag(tag), position) = self.within.unwrap_or((ProcessTag(1), 0));
        let slot = u64::from(self.slot.number()) << (NODE_BITS + POSITION_BITS);
        slot | u64::from(tag) << POSITION_BITS | position
    }

    /// The cursor for a server with a table for each slot.
    pub fn of_server(self) -> u64 {
        let position = self.within.map_or(0, |(_, position)| position);
        position << SERVER_SLOT_BITS | u64::from(self.slot.number())
    }

    /// Reads the cursor of such a server, which is not 0.
    ///
    /// The position is the number of a bucket with its bits reversed. Without its high bits, it is
    /// an earlier position.
    pub fn from_server(cursor: u64, process: ProcessTag) -> Option<Self> {
        let slot = (cursor & low(SERVER_SLOT_BITS)) as u16;
        let position = (cursor >> SERVER_SLOT_BITS) & low(POSITION_BITS);
        Some(Self {
            slot: Slot::new(slot)?,
            within: (position != 0).then_some((process, position)),
        })
    }

    /// The same cursor, for this process: at the beginning of the slot if its position is of
    /// another one.
    #[must_use]
    pub fn for_process(self, process: ProcessTag) -> Self {
        let within = self.within.filter(|(of, _)| *of == process);
        Self { within, ..self }
    }
}

const fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn cursor_is_read_as_it_was_written() {
        let process = ProcessTag::of(&[b"node", b"run"]);
        for number in [0, 1, 8_191, 16_383] {
            for within in [None, Some((process, 1)), Some((process, (1 << 29) - 1))] {
                let slot = slot(number);
                let cursor = ScanCursor { slot, within };
                let text = cursor.number().to_string();
                assert!(cursor.number() < 1 << 63 && text != "0", "{cursor:?}");
                assert_eq!(ScanCursor::parse(text.as_bytes()), Some(cursor));
            }
        }
        assert_eq!(ScanCursor::parse(b"0"), Some(ScanCursor::at(slot(0))));
    }

    #[test]
    fn cursor_of_a_server_has_the_slot_in_its_low_bits() {
        let process = ProcessTag::of(&[b"node"]);
        let cursor = ScanCursor::from_server(5 << 14 | 77, process).unwrap();
        assert_eq!(cursor.slot, slot(77));
        assert_eq!(cursor.of_server(), 5 << 14 | 77);
        assert_eq!(ScanCursor::at(slot(77)).of_server(), 77);
        let next_slot = ScanCursor::from_server(78, process);
        assert_eq!(next_slot, Some(ScanCursor::at(slot(78))));
    }

    #[test]
    fn position_of_another_process_is_not_used() {
        let [here, there] = [b"a", b"b"].map(|name| ProcessTag::of(&[name]));
        let cursor = ScanCursor::from_server(5 << 14 | 77, here).unwrap();
        assert_eq!(cursor.for_process(here), cursor);
        assert_eq!(cursor.for_process(there), ScanCursor::at(slot(77)));
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "-1", "+1", "1x", "01", "9223372036854775808", " 1"] {
            assert_eq!(ScanCursor::parse(text.as_bytes()), None, "{text}");
        }
    }
}
