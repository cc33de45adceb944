//! The statistics of a worker: figures for the metrics page, its clients, its pools. They are
//! collected on request, and cost nothing until then.

use std::net::SocketAddr;

use crate::cluster::{Health, InstanceId, TenantKey};
use crate::metrics::Traffic;

use crate::stats::counters::Counters;

/// A request for statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsRequest {
    /// [`WorkerStats::instances`] and [`WorkerStats::tenants`].
    Metrics,
    /// [`WorkerStats::clients`]: up to this number, of all tenants or of one.
    Clients(usize, Option<TenantKey>),
    /// [`WorkerStats::pools`].
    Pools,
}

/// The statistics of one worker at one moment. Lists that were not requested are empty.
#[derive(Clone, Debug, Default)]
pub struct WorkerStats {
    /// The number of the worker.
    pub worker: u16,
    /// Its counters.
    pub counters: Counters,
    /// Clients, including those that are not logged in.
    pub client_count: usize,
    /// Connections to backends.
    pub backend_count: usize,
    /// Bytes to be sent to clients and backends.
    pub outbound_bytes: usize,
    /// Turns of the loop. The reactor fills in this field and the next two.
    pub turns: u64,
    /// Time in these turns, in microseconds.
    pub busy_us: u64,
    /// The longest turn since the last collection, in microseconds.
    pub longest_turn_us: u64,
    /// All instances that this worker knows.
    pub instances: Vec<InstanceStats>,
    /// All tenants that this worker knows.
    pub tenants: Vec<TenantStats>,
    /// See [`StatsRequest::Clients`].
    pub clients: Vec<ClientStats>,
    /// See [`StatsRequest::Pools`].
    pub pools: Vec<PoolStats>,
}

/// An instance on one worker.
#[derive(Clone, Debug)]
pub struct InstanceStats {
    /// Its tenant.
    pub tenant: TenantKey,
    /// Its id within the tenant.
    pub id: InstanceId,
    /// `host:port`.
    pub address: String,
    /// Whether the registry still lists it.
    pub listed: bool,
    /// Its health for this worker.
    pub health: Health,
    /// Why the health is not up.
    pub reason: String,
    /// Clients logged in.
    pub clients: u32,
    /// Requests in flight.
    pub in_flight: u64,
    /// Clients with a dedicated connection, in the order of [`PinReason::ALL`].
    pub pinned: [u32; PinReason::ALL.len()],
    /// Clients that wait for a dedicated connection.
    pub waiting: u32,
    /// How long the first of these clients has waited, in milliseconds.
    pub oldest_wait_ms: u64,
    /// Shared connections.
    pub shared: u32,
    /// Dedicated connections.
    pub dedicated: u32,
    /// Idle connections, kept for the next client that needs a dedicated one.
    pub idle: u32,
    /// Connections being opened.
    pub opening: u32,
    /// Connections that verify logins, including those kept for the next login.
    pub verifying: u32,
    /// Clients closed at a limit of bytes or time.
    pub evictions: u64,
    /// Traffic of all its connections.
    pub traffic: Traffic,
}

/// A tenant on one worker.
#[derive(Clone, Debug)]
pub struct TenantStats {
    /// Its key.
    pub key: TenantKey,
    /// Whether it is paused.
    pub paused: bool,
    /// Clients that wait because it is paused.
    pub waiting: u32,
    /// Dedicated connections of its clients.
    pub dedicated: u32,
    /// Refused requests and logins, in the order of [`Limit::ALL`].
    pub refused: [u64; Limit::ALL.len()],
}

/// Why a client has a dedicated connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinReason {
    /// MULTI or WATCH.
    Transaction,
    /// A blocking command.
    Blocked,
    /// A subscription.
    Subscribed,
    /// Client-side caching.
    Tracking,
    /// MONITOR.
    Monitor,
    /// Anything else.
    Other,
}

impl PinReason {
    /// Every reason, in the order of the metrics.
    pub const ALL: [Self; 6] = [
        Self::Transaction,
        Self::Blocked,
        Self::Subscribed,
        Self::Tracking,
        Self::Monitor,
        Self::Other,
    ];

    /// The value of the label `reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Blocked => "blocked",
            Self::Subscribed => "subscribed",
            Self::Tracking => "tracking",
            Self::Monitor => "monitor",
            Self::Other => "other",
        }
    }
}

/// A limit of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Clients.
    Clients,
    /// Dedicated connections.
    Pinned,
    /// Requests per second.
    Requests,
    /// Bytes per second.
    Bytes,
    /// The size of a request.
    RequestBytes,
    /// A denied command.
    Denied,
    /// Clients that wait while the tenant is paused.
    Paused,
}

impl Limit {
    /// Every limit, in the order of the metrics.
    pub const ALL: [Self; 7] = [
        Self::Clients,
        Self::Pinned,
        Self::Requests,
        Self::Bytes,
        Self::RequestBytes,
        Self::Denied,
        Self::Paused,
    ];

    /// The value of the label `limit`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Pinned => "pinned",
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::RequestBytes => "request_bytes",
            Self::Denied => "denied",
            Self::Paused => "paused",
        }
    }
}

/// A client.
#[derive(Clone, Debug)]
pub struct ClientStats {
    /// The number that CLIENT ID returns.
    pub id: u64,
    /// Its address.
    pub peer: SocketAddr,
    /// Its tenant; `None` before its login.
    pub tenant: Option<TenantKey>,
    /// Its instance.
    pub instance: Option<InstanceId>,
    /// Its user, by its name on the backend.
    pub user: String,
    /// The name that CLIENT SETNAME set.
    pub name: String,
    /// Its database.
    pub db: u32,
    /// Its RESP version, 2 or 3.
    pub protocol: u8,
    /// Seconds since it connected.
    pub age_seconds: u64,
    /// Seconds since its last request.
    pub idle_seconds: u64,
    /// Its requests in flight.
    pub in_flight: u32,
    /// Bytes to be sent to it.
    pub outbound_bytes: usize,
    /// All bytes held for it: outbound bytes, an incomplete request, and its names.
    pub kept_bytes: usize,
    /// Why it has a dedicated connection, if it has one.
    pub pinned: Option<PinReason>,
    /// The name of its last command.
    pub command: String,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct PoolStats {
    /// Its tenant.
    pub tenant: TenantKey,
    /// Its instance.
    pub instance: InstanceId,
    /// Its user, by its name on the backend.
    pub user: String,
    /// Its database.
    pub db: u32,
    /// Its RESP version, 2 or 3.
    pub protocol: u8,
    /// Clients that use it.
    pub clients: u32,
    /// Shared connections, including those being opened.
    pub shared: usize,
    /// Dedicated connections.
    pub dedicated: usize,
    /// Idle connections, kept for the next client that needs a dedicated one.
    pub idle: usize,
    /// Requests in flight.
    pub in_flight: u64,
    /// Clients that wait for a dedicated connection.
    pub waiting: usize,
    /// How long the first of these clients has waited, in milliseconds.
    pub oldest_wait_ms: u64,
}
