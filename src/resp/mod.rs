//! RESP on the wire: where a request or a reply ends, and how to say something ourselves.
//!
//! This module owns the bytes of the Redis protocol, versions 2 and 3, and knows nothing of
//! proxies, tenants or connections. It must not do I/O, keep payloads, or build trees of values:
//! decoders hand out lengths, so that the caller forwards the very bytes that came in.
//!
//! Client and server speak different dialects, and so there are two decoders. A request is one flat
//! array of bulk strings (or an inline line typed by a person) and is checked byte for byte,
//! because it is forwarded verbatim on a connection which other clients share: what we take for one
//! request must never be two for the server. A reply may be of any type and any size and is only
//! followed to its end.
//!
//! | bytes                        | what                         | read by                       |
//! |------------------------------|------------------------------|-------------------------------|
//! | `*2 $3 GET $1 k`             | request                      | [`RequestDecoder`], [`Args`]  |
//! | `GET k`                      | inline request               | [`inline_to_array`]           |
//! | `+OK` `-ERR …` `:1`          | reply, a line                | [`ReplyScanner`]              |
//! | `_` `#t` `,1.5` `(123`       | the same, RESP3              | [`ReplyScanner`]              |
//! | `$5 hello` `!…` `=…`         | reply with a length in bytes | [`ReplyScanner`]              |
//! | `*2 …` `%…` `~…` `>…` (push) | reply with a count           | [`ReplyScanner`]              |
//! | `\|1 …`                      | attribute: precedes a value  | [`ReplyScanner`]              |

mod args;
#[doc(hidden)]
pub mod check;
mod error;
mod inline;
mod length;
pub mod limits;
pub mod number;
mod printable;
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

/// The version of the protocol a connection speaks; HELLO changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// What every connection starts with.
    #[default]
    Resp2,
    /// Since Redis 6: maps, sets, nulls, pushes and attributes of their own.
    Resp3,
}

impl Protocol {
    /// The number HELLO uses for this version: 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }

    /// The version HELLO means by `number`, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }
}
