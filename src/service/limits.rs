//! How much the service port gives to anybody who connects, before it says no.
//!
//! Owns the numbers. Whoever runs into one loses that request, or that connection, and nobody else
//! feels it; [`Counters`](super::counters::Counters) tells how often it happened.

/// Bytes of a request line and its headers.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Headers of one request.
pub(super) const HEADERS_MAX: usize = 64;

/// Bytes of a request's body, without what chunks it.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the line before a chunk, extensions included.
pub(super) const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Bytes of the headers behind the last chunk.
pub(super) const TRAILER_BYTES_MAX: usize = 1024;

/// Connections at a time that may make any call.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// Those of them that one address may have.
pub(super) const PEER_MAX: usize = 48;

/// Connections beside them, for whoever finds no place: they are answered if they ask for a probe.
pub(super) const PROBES_MAX: usize = 32;

/// Milliseconds that a place is its own for a connection without a request, and a place for a probe
/// in any case: the request is there by then.
pub(super) const PROBE_MS: u64 = 5;

/// Connections of the admin listener at a time.
pub(super) const ADMIN_MAX: usize = 16;

/// Calls that wait for the thread that answers them.
pub(super) const CALLS_MAX: usize = 64;

/// Milliseconds between two metrics pages; who asks meanwhile shares the next one.
pub(super) const PAGE_MS: u64 = 100;

/// Requests at a time that wait for the clusters to change; the other connections are for probes
/// and people.
pub(super) const PARKED_MAX: usize = 48;

/// Milliseconds to send a whole request, from its first byte on.
pub(super) const REQUEST_MS: u64 = 10_000;

/// Milliseconds that a connection may be open without a request.
pub(super) const IDLE_MS: u64 = 60_000;

/// Milliseconds to take a whole response.
pub(super) const RESPONSE_MS: u64 = 30_000;

/// Milliseconds that a peer has to see the last response and close, before we do.
pub(super) const LINGER_MS: u64 = 2_000;

/// Milliseconds after which whoever still sends a request, or still takes a response, may be
/// closed for a newcomer that finds all connections taken.
pub(super) const SLOW_MS: u64 = 1_000;

/// Milliseconds that responses on their way have when the port closes.
pub(super) const CLOSE_MS: u64 = 1_000;

/// Seconds that a request may wait for the clusters to change.
pub(super) const WAIT_SECONDS_MAX: u64 = 60;

/// Clusters that callers may have added who are trusted to add and nothing more: each is kept until
/// somebody deletes it who is trusted with that.
pub(super) const CLUSTERS_MAX: usize = 1_000;

/// Seconds of a pause.
pub(super) const PAUSE_SECONDS_MAX: u64 = 3_600;

/// Clients in one list.
pub(super) const CLIENTS_MAX: usize = 10_000;

/// Which places a connection takes one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Those for any call.
    General,
    /// Those for probes: it makes one call, and its place goes to the next connection.
    Probes,
    /// Those of the admin listener.
    Admin,
}
