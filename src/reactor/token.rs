//! Encodes a connection's key as a mio token: `generation:32 | kind:2 | index:30`.
//!
//! The generation makes events of a closed socket harmless: its key is stale, even if its slot has
//! been given to a new connection within the same batch of events.

use mio::Token;

use crate::proxy::{ClientKey, ConnKey, Key, LinkKey};

const _: () = assert!(usize::BITS == 64, "tokens are 64 bits wide");

/// Tokens of the inbox's waker and of the listener, of kinds that no connection has.
pub(super) const WAKER: Token = Token(0b11 << INDEX_BITS);
pub(super) const LISTENER: Token = Token(0b10 << INDEX_BITS);

const INDEX_BITS: u32 = 30;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;

fn pack(kind: usize, key: impl Key) -> Token {
    let (index, generation) = (key.index() as usize, key.generation() as usize);
    Token(generation << 32 | kind << INDEX_BITS | (index & INDEX_MASK))
}

/// The token of a connection.
pub(super) fn encode(key: ConnKey) -> Token {
    match key {
        ConnKey::Client(key) => pack(0, key),
        ConnKey::Link(key) => pack(1, key),
    }
}

/// The connection of a token; `None` for the waker and the listener.
pub(super) fn decode(Token(token): Token) -> Option<ConnKey> {
    let (index, generation) = ((token & INDEX_MASK) as u32, (token >> 32) as u32);
    match token >> INDEX_BITS & 0b11 {
        0 => Some(ConnKey::Client(ClientKey::new(index, generation))),
        1 => Some(ConnKey::Link(LinkKey::new(index, generation))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_encoding_and_decoding() {
        for (index, generation) in [(0, 0), (1, u32::MAX), ((1 << 30) - 1, 7)] {
            for key in [
                ConnKey::Client(ClientKey::new(index, generation)),
                ConnKey::Link(LinkKey::new(index, generation)),
            ] {
                assert_eq!(decode(encode(key)), Some(key));
            }
        }
        assert_eq!((decode(WAKER), decode(LISTENER)), (None, None));
    }
}
