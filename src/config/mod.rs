//! Parses the command line and the environment into a valid [`Config`].
//!
//! `getopts` and one table of options check each value alone; then `check.rs` checks the options
//! together. This module opens, resolves and logs nothing. An error is one line that the caller
//! prints.

mod check;
mod error;
mod help;
mod parse;
mod settings;
mod table;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

pub use error::ConfigError;
pub use parse::{Parsed, parse};
pub use values::{
    AdminCommands, Balancer, Front, HostPort, LogLevel, OnLoss, RouterType, Secret, control_plane,
};

/// The configuration of the proxy. Each field has the name of its option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The local address of the client port and the service port.
    pub bind: IpAddr,
    /// TCP port for Redis clients; 0 picks a free port.
    pub port: u16,
    /// TCP port of the HTTP service; 0 picks a free port.
    pub service_port: u16,
    /// Whether the proxy opens the service port.
    pub service_enable: bool,
    /// The address of the admin listener, on which callers of this machine need no token. `None` is
    /// the loopback address and a port 10,000 above the service port; with a token and `None`,
    /// there is no admin listener.
    pub service_admin_bind: Option<SocketAddr>,
    /// The bearer token of callers that change something or read the list of clients. Without a
    /// token, only callers on the admin listener may do that.
    pub service_token: Option<Secret>,
    /// Worker threads; 0 is one per core, see [`Config::workers`].
    pub core_num: u16,
    /// Whether a worker under load sleeps for about 50 microseconds before it polls, so that one
    /// wake-up serves many requests.
    pub worker_batching: bool,
    /// How long the proxy waits after SIGTERM for requests in flight, in seconds.
    pub grace_seconds: u64,
    /// The least severe level that is logged.
    pub log_level: LogLevel,
    /// A file that contains the log level. It overrides `log_level` while it exists, and is read at
    /// the start and at SIGHUP.
    pub log_level_file: Option<PathBuf>,
    /// The identity of this proxy.
    pub node: Node,
    /// The sources of clusters, and how an instance is chosen.
    pub router: Router,
    /// Whether administrative commands reach the backend.
    pub admin_commands: AdminCommands,
    /// Redis Clusters.
    pub cluster: Clusters,
    /// The limits of tenants.
    pub tenants: Tenants,
    /// The health checks of instances.
    pub health: HealthChecks,
    /// The connections to backends.
    pub backend_pool: BackendPool,
    /// TCP settings of all connections.
    pub tcp: Tcp,
    /// The metrics page.
    pub metrics: Metrics,
    /// The limits of clients and workers.
    pub limits: Limits,
    /// The names of the options that are set, without the dashes. A limit in this list keeps its
    /// value; any other limit may be lowered to fit the memory of the machine.
    pub given: Vec<&'static str>,
    /// Lines to log as warnings, one for each group of settings that is ignored. They contain no
    /// secrets.
    pub notes: Vec<String>,
}

/// The identity of this proxy, as the control plane and the metrics page see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The name of this proxy.
    pub id: String,
    /// The namespace of this proxy.
    pub namespace: String,
}

/// How a tenant is routed to its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// Where clusters come from.
    pub kind: RouterType,
    /// The backend of the static router, unless sentinels know its address.
    pub static_be: HostPort,
    /// The sentinels that know the primaries of clusters.
    pub sentinels: Vec<HostPort>,
    /// The name of the static router's primary at the sentinels.
    pub sentinel_master: Option<String>,
    /// The user that the proxy logs in to the sentinels as; `None` is the default user.
    pub sentinel_user: Option<String>,
    /// The password of that user.
    pub sentinel_password: Option<Secret>,
    /// The control plane that the sync router follows, as `HOST:PORT` or `http://HOST:PORT`.
    pub cp_addr: Option<String>,
    /// The bearer token that is sent to the control plane.
    pub cp_token: Option<Secret>,
    /// A file that contains clusters. It is watched for changes.
    pub file: Option<PathBuf>,
    /// A file that keeps the last known clusters of the control plane, and the owners of tenant
    /// names, for the next start.
    pub state_file: Option<PathBuf>,
    /// How an instance of a cluster is chosen for a client.
    pub balancer: Balancer,
    /// How long clients may stay on an instance that is offline or removed, in seconds.
    pub offline_grace_seconds: u64,
}

/// The instances that are Redis Clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    /// How long a request waits for a node that executes it, in milliseconds.
    pub hold_ms: u64,
    /// What clients see, unless a label says.
    pub front: Front,
}

/// The limits of tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    /// A file that contains the limits of tenants. It is watched for changes.
    pub file: Option<PathBuf>,
}

/// The health checks of instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChecks {
    /// Time between two checks of an instance, in milliseconds; 0 turns the checks off.
    pub check_ms: u64,
    /// Time in which an instance must answer a check, in milliseconds.
    pub timeout_ms: u64,
}

/// The connections of one worker to backends. A pool belongs to one instance, user, database and
/// protocol version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendPool {
    /// Shared connections of one pool.
    pub max_size: usize,
    /// Dedicated connections of one tenant, per worker.
    pub dedicated_max: u32,
    /// Connections of one tenant to one instance, per worker. 0 means that the proxy derives the
    /// limit from the limit of open files.
    pub tenant_max: u32,
    /// Idle connections that a pool keeps for the next client that needs a dedicated connection;
    /// at most `dedicated_max`.
    pub max_idle: usize,
    /// How long a client waits for a dedicated connection, in milliseconds.
    pub wait_ms: u64,
    /// How long a client may be idle inside MULTI or after WATCH, in seconds; 0 is no limit.
    pub pinned_idle_seconds: u64,
    /// What happens to clients whose backend is lost or unreachable.
    pub on_loss: OnLoss,
    /// Timeout of a TCP connection attempt, in milliseconds.
    pub connect_ms: u64,
    /// How long a backend with outstanding requests may send nothing, in milliseconds; 0 is no
    /// limit.
    pub reply_ms: u64,
}

/// TCP settings of all connections, to clients and to backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Seconds of silence before the kernel probes the other end; 0 turns the probes off. A
    /// connection whose other end does not answer is closed after twice the time.
    pub keepalive_seconds: u32,
}

/// The metrics page of the service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Whether the service port serves the metrics page.
    pub enable: bool,
    /// The path of the page, with the leading slash.
    pub path: String,
    /// How many tenants have their own series. The tenants with the most clients are chosen.
    pub tenants: usize,
}

/// The limits of clients and workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent clients of the process.
    pub clients: usize,
    /// Clients accepted per second; 0 is no limit.
    pub accepts_per_second: u32,
    /// Bytes of one request.
    pub request_bytes: u64,
    /// Unanswered requests of one client. A client that reaches the limit is not read again until
    /// half of its requests are answered.
    pub in_flight: u32,
    /// Bytes of replies that one client has not read.
    pub client_outbound_bytes: usize,
    /// Bytes of messages that one subscriber has not read.
    pub subscriber_outbound_bytes: usize,
    /// Bytes of replies that all clients of one worker have not read.
    pub worker_outbound_bytes: usize,
    /// Bytes that one worker buffers: incomplete requests, requests that backends have not taken,
    /// and replies that clients have not read.
    pub worker_buffer_bytes: usize,
    /// Bytes that one worker buffers for the clients of one tenant; 0 is no limit.
    pub tenant_buffer_bytes: usize,
    /// How long a client may read nothing of its outstanding replies, in seconds; 0 is no limit.
    pub send_seconds: u64,
    /// How long a client may take to log in, in seconds, regardless of what it sends; 0 is no
    /// limit.
    pub login_seconds: u64,
    /// How long a client may be idle, in seconds; 0 is no limit.
    pub idle_seconds: u64,
    /// Logins per second and worker that need a new backend connection. Further logins wait.
    pub logins_per_second: u32,
    /// Clients of one tenant that wait while the tenant is paused. Further clients get an error.
    pub paused_clients: u32,
}

impl Config {
    /// The number of worker threads to start: `core_num`, or one per core that this process may
    /// use.
    pub fn workers(&self) -> u16 {
        if self.core_num > 0 {
            return self.core_num;
        }
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        u16::try_from(cores).map_or(table::WORKERS_MAX, |cores| cores.min(table::WORKERS_MAX))
    }
}

/// The configuration of an empty command line and environment. A test compares it with the table
/// of options.
impl Default for Config {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::UNSPECIFIED.into(),
            port: 6378,
            service_port: 7080,
            service_enable: true,
            service_admin_bind: None,
            service_token: None,
            core_num: 0,
            worker_batching: true,
            grace_seconds: 10,
            log_level: LogLevel::Info,
            log_level_file: None,
            node: Node {
                id: "local_proxy".to_owned(),
                namespace: "default".to_owned(),
            },
            router: Router {
                kind: RouterType::Static,
                static_be: HostPort {
                    host: "127.0.0.1".to_owned(),
                    port: 6379,
                },
                sentinels: Vec::new(),
                sentinel_master: None,
                sentinel_user: None,
                sentinel_password: None,
                cp_addr: None,
                cp_token: None,
                file: None,
                state_file: None,
                balancer: Balancer::Random,
                offline_grace_seconds: 30,
            },
            admin_commands: AdminCommands::Allow,
            cluster: Clusters {
                hold_ms: 5_000,
                front: Front::Single,
            },
            tenants: Tenants { file: None },
            health: HealthChecks {
                check_ms: 2_000,
                timeout_ms: 1_000,
            },
            backend_pool: BackendPool {
                max_size: 30,
                dedicated_max: 1_000,
                tenant_max: 0,
                max_idle: 10,
                wait_ms: 5_000,
                pinned_idle_seconds: 300,
                on_loss: OnLoss::Error,
                connect_ms: 3_000,
                reply_ms: 60_000,
            },
            tcp: Tcp {
                keepalive_seconds: 60,
            },
            metrics: Metrics {
                enable: true,
                path: "/metrics".to_owned(),
                tenants: 50,
            },
            limits: Limits {
                clients: 10_000,
                accepts_per_second: 0,
                request_bytes: 1 << 30,
                in_flight: 4_096,
                client_outbound_bytes: 256 << 20,
                subscriber_outbound_bytes: 32 << 20,
                worker_outbound_bytes: 512 << 20,
                worker_buffer_bytes: 2 << 30,
                tenant_buffer_bytes: 512 << 20,
                send_seconds: 60,
                login_seconds: 60,
                idle_seconds: 0,
                logins_per_second: 200,
                paused_clients: 10_000,
            },
            given: Vec::new(),
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
