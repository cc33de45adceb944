//! A link: one connection to one server. Its handshake, its queue of requests, the ends of its
//! replies, and the reason for its end. Refers to its client and its pool by key only.
//!
//! | file | contents |
//! |---|---|
//! | `links` | all links of a worker, and the bytes to send to servers |
//! | `link` | the record of a link |
//! | `role` | what a link is for |
//! | `credential`, `handshake` | the first commands on a link |
//! | `request`, `verb` | the queue of requests, and what the reply to each means for the link |
//! | `latency` | how long requests took |
//! | `frame` | what a frame is on a dedicated link |
//! | `replies` | where replies end |
//! | `server_error` | what a server's error reply says |
//! | `redirection` | which errors send a request to another node of a Redis Cluster |
//! | `queue` | what changes with a request that joins or leaves a link's queue |
//! | `sent` | the bytes of unanswered requests, for a retry |
//! | `stall` | how long clients have waited behind another client's reply |
//! | `waits`, `counts` | clients in WAIT, and what they wait for |
//! | `failure` | why a link ended |

pub(crate) mod counts;
pub(crate) mod credential;
pub(crate) mod failure;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod latency;
#[allow(
    clippy::module_inception,
    reason = "the layer is named after its main record"
)]
pub(crate) mod link;
pub(crate) mod links;
mod queue;
pub(crate) mod redirection;
pub(crate) mod replies;
pub(crate) mod request;
pub(crate) mod role;
pub(crate) mod sent;
pub(crate) mod server_error;
pub(crate) mod stall;
pub(crate) mod verb;
pub(crate) mod waits;
