//! Hash slots, computed as the specification of Redis Cluster says; simple on purpose, so that it
//! can check the proxy's.

/// The number of hash slots.
pub(crate) const SLOTS: u16 = 16_384;

/// The hash slot of a key.
pub(crate) fn slot_of(key: &str) -> u16 {
    crc16(hash_tag(key).as_bytes()) % SLOTS
}

/// A hash tag of this slot, with its braces: keys that begin with it are in the slot.
pub(crate) fn tag_of(slot: u16) -> String {
    let mut tags = (0..u32::MAX).map(|n| format!("{{{n}}}"));
    tags.find(|tag| slot_of(tag) == slot).unwrap()
}

/// The part of a key between the first `{` and the next `}`, unless it is empty; else the key.
fn hash_tag(key: &str) -> &str {
    let inside = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    match inside {
        Some((tag, _)) if !tag.is_empty() => tag,
        _ => key,
    }
}

/// CRC16 of XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0;
    for byte in bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc
}
