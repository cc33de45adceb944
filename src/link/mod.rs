//! One connection to one server: its handshake, its queue of requests, where its replies end, and
//! why it ends. Knows no client but by its key, and no pool.
//!
//! | file | what is there |
//! |---|---|
//! | `links` | all of them, and the bytes on their way to servers |
//! | `link` | the record of a connection |
//! | `role` | what it is for |
//! | `credential`, `handshake` | what a connection says first |
//! | `request`, `verb` | the queue of requests, and what the reply to each says |
//! | `latency` | how long a request took |
//! | `frame` | what a frame is on a connection that belongs to one client |
//! | `replies` | where replies end |
//! | `sent` | the bytes of unanswered requests, for a retry |
//! | `stall` | how long others have waited behind one client |
//! | `waits`, `counts` | clients in WAIT, and what they wait for |
//! | `failure` | why a connection is lost |

pub(crate) mod counts;
pub(crate) mod credential;
pub(crate) mod failure;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod latency;
#[allow(
    clippy::module_inception,
    reason = "the room is named after its main record"
)]
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod replies;
pub(crate) mod request;
pub(crate) mod role;
pub(crate) mod sent;
pub(crate) mod stall;
pub(crate) mod verb;
pub(crate) mod waits;
