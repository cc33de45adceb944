//! Limits of the service port. A caller that reaches one loses its request or its connection, and
//! no other caller is affected; [`Counters`](super::counters::Counters) counts it.

/// Bytes of a request line and its headers.
pub(super) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Headers of one request.
pub(super) const HEADERS_MAX: usize = 64;

/// Bytes of a request's body, without its chunk headers.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the line before a chunk, extensions included.
pub(super) const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Bytes of the trailer after the last chunk.
pub(super) const TRAILER_BYTES_MAX: usize = 1024;

/// Connections in general slots, which may make any call.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// General slots that one address may have.
pub(super) const PEER_MAX: usize = 48;

/// Connections in probe slots, which get responses to probes only.
pub(super) const PROBES_MAX: usize = 32;

/// Milliseconds during which a new connection, or any connection in a probe slot, is not closed for
/// another one: its request should arrive within that time.
pub(super) const PROBE_MS: u64 = 5;

/// Connections of the admin listener.
pub(super) const ADMIN_MAX: usize = 16;

/// Calls queued for one thread.
pub(super) const CALLS_MAX: usize = 64;

/// Milliseconds between two metrics pages; requests during that time share the next page.
pub(super) const PAGE_MS: u64 = 100;

/// Requests that wait for a change of the clusters. The remaining connections are for other calls.
pub(super) const PARKED_MAX: usize = 48;

/// Milliseconds to send a complete request, from its first byte on.
pub(super) const REQUEST_MS: u64 = 10_000;

/// Milliseconds that a connection may be open without a request.
pub(super) const IDLE_MS: u64 = 60_000;

/// Milliseconds to receive a complete response.
pub(super) const RESPONSE_MS: u64 = 30_000;

/// Milliseconds that a peer has to close its end after the last response.
pub(super) const LINGER_MS: u64 = 2_000;

/// Milliseconds after which a connection that still sends a request or receives a response may be
/// closed for a new one, if all slots are taken.
pub(super) const SLOW_MS: u64 = 1_000;

/// Milliseconds that responses have to finish when the port closes.
pub(super) const CLOSE_MS: u64 = 1_000;

/// Seconds that a request may wait for a change of the clusters.
pub(super) const WAIT_SECONDS_MAX: u64 = 60;

/// Clusters that local callers may have added. Each stays until a trusted caller deletes it.
pub(super) const CLUSTERS_MAX: usize = 1_000;

/// Seconds of a pause.
pub(super) const PAUSE_SECONDS_MAX: u64 = 3_600;

/// Clients in one list.
pub(super) const CLIENTS_MAX: usize = 10_000;

/// The class of a connection's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// General: any call.
    General,
    /// Probes: one call, then the slot is for the next connection.
    Probes,
    /// The admin listener.
    Admin,
}
