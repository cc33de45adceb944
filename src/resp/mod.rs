//! The Redis protocol (RESP2 and RESP3): finds the ends of requests and replies, and writes both.
//!
//! This module does no I/O, keeps no payloads and builds no trees of values. Decoders return
//! lengths, so that the caller forwards the received bytes unchanged.
//!
//! There are two decoders, because requests and replies differ. A request is one flat array of bulk
//! strings, or an inline line. It is checked byte for byte: the proxy forwards it unchanged on a
//! connection that other clients share, so the server must never read two requests where the
//! decoder reads one. A reply may have any type and any size; the decoder only finds its end.
//!
//! | bytes                        | meaning                      | parsed by                     |
//! |------------------------------|------------------------------|-------------------------------|
//! | `*2 $3 GET $1 k`             | request                      | [`RequestDecoder`], [`Args`]  |
//! | `GET k`                      | inline request               | [`inline_to_array`]           |
//! | `+OK` `-ERR …` `:1`          | reply of one line            | [`ReplyScanner`]              |
//! | `_` `#t` `,1.5` `(123`       | reply of one line, RESP3     | [`ReplyScanner`]              |
//! | `$5 hello` `!…` `=…`         | reply with a length in bytes | [`ReplyScanner`]              |
//! | `*2 …` `%…` `~…` `>…` (push) | reply with a count           | [`ReplyScanner`]              |
//! | `\|1 …`                      | attribute before a value     | [`ReplyScanner`]              |

mod args;
#[doc(hidden)]
pub mod check;
mod error;
mod inline;
mod length;
pub mod limits;
pub mod number;
mod printable;
pub mod read;
pub mod reply;
mod request;
pub mod write;

pub use args::Args;
pub use error::{ProtocolError, ReplyError};
pub use inline::inline_to_array;
pub use limits::RequestLimits;
pub use printable::Printable;
pub use reply::{ReplyScanner, Scan};
pub use request::{RequestDecoder, Rest, RestDecoder, Step};

/// The protocol version of a connection. HELLO changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Version 2, with which every connection starts.
    #[default]
    Resp2,
    /// Version 3, since Redis 6: it adds types for maps, sets, nulls, pushes and attributes.
    Resp3,
}

impl Protocol {
    /// The number of the version in HELLO: 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }

    /// The version with this number in HELLO; `None` for other numbers than 2 and 3.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }
}
