//! Hash slots: how Redis Cluster maps keys to nodes.

use std::fmt;

/// A hash slot of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The number of slots.
    pub const COUNT: u16 = 16_384;

    /// A slot by its number. `None`: there is no such slot.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The slot of a key, or of a channel of SPUBLISH: the checksum of its hash tag, or of all of
    /// it.
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % Self::COUNT)
    }

    /// Its number, below [`COUNT`](Self::COUNT).
    pub fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

/// The part of a key between its first `{` and the next `}`, if that is not empty; else the key.
#[inline]
fn hash_tag(key: &[u8]) -> &[u8] {
    let position = |bytes: &[u8], of: u8| bytes.iter().position(|&byte| byte == of);
    let tag = position(key, b'{').and_then(|open| {
        let behind = key.get(open + 1..)?;
        behind.get(..position(behind, b'}')?)
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// CRC-16/XMODEM.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let at = usize::from((crc >> 8) as u8 ^ byte);
        (crc << 8) ^ TABLE[at]
    })
}

static TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    const POLYNOMIAL: u16 = 0x1021;
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc >> 15;
            crc = (crc << 1) ^ (POLYNOMIAL * carry);
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_crc16_xmodem() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    /// The examples of the specification of Redis Cluster.
    #[test]
    fn hash_tag_is_between_the_first_braces() {
        for (key, tag) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("{", "{"),
            ("a}b{", "a}b{"),
            ("}{x}", "x"),
            ("", ""),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    #[test]
    fn slots_are_below_their_number() {
        assert_eq!(Slot::of(b"foo").number(), 12_182);
        assert_eq!(Slot::new(16_383).map(Slot::number), Some(16_383));
        assert_eq!(Slot::new(16_384), None);
    }
}
