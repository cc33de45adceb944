//! What a worker tells about itself when somebody asks: numbers for the metrics page, its clients,
//! its pools. Made on demand; nothing here costs anything until then.

use std::net::SocketAddr;

use crate::cluster::{Health, InstanceId, TenantKey};
use crate::metrics::Traffic;

use crate::stats::counters::Counters;

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// [`Survey::instances`] and [`Survey::tenants`].
    Numbers,
    /// [`Survey::clients`], at most so many, of all tenants or of one.
    Clients(usize, Option<TenantKey>),
    /// [`Survey::pools`].
    Pools,
}

/// One worker at one moment; what was not wanted is empty.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Which worker.
    pub worker: u16,
    /// What it counted.
    pub counters: Counters,
    /// Clients, those not logged in included.
    pub client_count: usize,
    /// Backend connections.
    pub backend_count: usize,
    /// Bytes that wait to be sent, in both directions.
    pub outbound_bytes: usize,
    /// Turns of the loop, and how long they took, in microseconds: filled in by the reactor.
    pub turns: u64,
    /// See `turns`.
    pub busy_us: u64,
    /// The longest turn since the last survey, in microseconds.
    pub longest_turn_us: u64,
    /// One for each instance that this worker knows.
    pub instances: Vec<InstanceSurvey>,
    /// One for each tenant that this worker knows.
    pub tenants: Vec<TenantSurvey>,
    /// See [`Wanted::Clients`].
    pub clients: Vec<ClientSurvey>,
    /// See [`Wanted::Pools`].
    pub pools: Vec<PoolSurvey>,
}

/// One instance, as one worker sees it.
#[derive(Clone, Debug)]
pub struct InstanceSurvey {
    /// Whose it is.
    pub tenant: TenantKey,
    /// Which of that tenant's.
    pub id: InstanceId,
    /// `host:port`.
    pub address: String,
    /// Is it still in the registry?
    pub listed: bool,
    /// Does it answer this worker?
    pub health: Health,
    /// Why not.
    pub reason: String,
    /// Clients logged in there.
    pub clients: u32,
    /// Requests not yet answered.
    pub in_flight: u64,
    /// Clients with a connection of their own, in the order of [`PinReason::ALL`].
    pub pinned: [u32; PinReason::ALL.len()],
    /// Clients that wait for one.
    pub waiting: u32,
    /// How long the first of them has waited, in milliseconds.
    pub oldest_wait_ms: u64,
    /// Connections that clients share.
    pub shared: u32,
    /// Connections that are clients' own.
    pub own: u32,
    /// Connections kept for the next client that needs one of its own.
    pub idle: u32,
    /// Connections being opened.
    pub opening: u32,
    /// Connections that verify logins, and those kept for the next ones.
    pub verifying: u32,
    /// Clients closed at a limit: of bytes kept for them, or of time in which they took none.
    pub evictions: u64,
    /// All that went over its connections.
    pub traffic: Traffic,
}

/// One tenant, as one worker sees it.
#[derive(Clone, Debug)]
pub struct TenantSurvey {
    /// Who.
    pub key: TenantKey,
    /// Is it paused?
    pub paused: bool,
    /// Clients that wait for that to end.
    pub waiting: u32,
    /// Connections of its clients' own.
    pub dedicated: u32,
    /// Requests and logins refused, in the order of [`Limit::ALL`].
    pub refused: [u64; Limit::ALL.len()],
}

/// Why a client has a connection of its own.
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
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Transaction,
        Self::Blocked,
        Self::Subscribed,
        Self::Tracking,
        Self::Monitor,
        Self::Other,
    ];

    /// The name used in metrics.
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

/// A limit of a tenant that something ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Clients.
    Clients,
    /// Connections of clients' own.
    Pinned,
    /// Requests per second.
    Requests,
    /// Bytes per second.
    Bytes,
    /// The size of a request.
    RequestBytes,
    /// A denied command.
    Denied,
    /// Too many clients waited while the tenant was paused.
    Paused,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 7] = [
        Self::Clients,
        Self::Pinned,
        Self::Requests,
        Self::Bytes,
        Self::RequestBytes,
        Self::Denied,
        Self::Paused,
    ];

    /// The name used in metrics.
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

/// One client.
#[derive(Clone, Debug)]
pub struct ClientSurvey {
    /// What CLIENT ID says.
    pub id: u64,
    /// Where it is.
    pub peer: SocketAddr,
    /// Whose it is; `None` before its login.
    pub tenant: Option<TenantKey>,
    /// The instance it was given.
    pub instance: Option<InstanceId>,
    /// Its user, as the backend knows it.
    pub user: String,
    /// What it calls itself.
    pub name: String,
    /// Its database.
    pub db: u32,
    /// 2 or 3.
    pub protocol: u8,
    /// How long it has been connected, in seconds.
    pub age_seconds: u64,
    /// How long it has been silent, in seconds.
    pub idle_seconds: u64,
    /// Its requests not yet answered.
    pub in_flight: u32,
    /// Bytes that wait for it.
    pub outbound_bytes: usize,
    /// All bytes that are kept for it: those, what it sent of a request that is not complete, and
    /// its names.
    pub kept_bytes: usize,
    /// Why it has a connection of its own, if it has one.
    pub pinned: Option<PinReason>,
    /// The name of its last command.
    pub command: String,
}

/// One pool.
#[derive(Clone, Debug)]
pub struct PoolSurvey {
    /// Whose it is.
    pub tenant: TenantKey,
    /// Which of that tenant's instances.
    pub instance: InstanceId,
    /// The user, as the backend knows it.
    pub user: String,
    /// The database.
    pub db: u32,
    /// 2 or 3.
    pub protocol: u8,
    /// Clients that use it.
    pub clients: u32,
    /// Connections that clients share, being opened or ready.
    pub shared: usize,
    /// Connections that are clients' own.
    pub own: usize,
    /// Connections kept for the next client that needs one of its own.
    pub idle: usize,
    /// Requests not yet answered.
    pub in_flight: u64,
    /// Clients that wait for a connection of their own.
    pub waiting: usize,
    /// How long the first of them has waited, in milliseconds.
    pub oldest_wait_ms: u64,
}
