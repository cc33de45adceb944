//! The command line and the environment, made into a [`Config`] that is valid as a whole.
//!
//! Two steps: what was typed (`getopts`, one table of options), then what is valid. Nothing is
//! opened, resolved or logged here; an error is one line for the caller to print.

mod check;
mod error;
mod given;
mod help;
mod parse;
mod table;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

pub use error::ConfigError;
pub use parse::{Parsed, parse};
pub use values::{
    AdminCommands, Balancer, HostPort, LogLevel, OnLoss, RouterType, Secret, control_plane,
};

/// Everything the proxy is told when it starts. Fields are named like their options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The local address of both ports.
    pub bind: IpAddr,
    /// TCP port for Redis clients; 0 is any free one.
    pub port: u16,
    /// TCP port for HTTP; 0 is any free one.
    pub service_port: u16,
    /// Whether there is a service port at all.
    pub service_enable: bool,
    /// Where callers on this machine may do everything without a token; unless given, and if there
    /// is no token, 10,000 above the service port, on loopback.
    pub service_admin_bind: Option<SocketAddr>,
    /// What callers that change something, or look at clients, must bring; without one they must
    /// be on this machine, and come to the admin listener.
    pub service_token: Option<Secret>,
    /// Worker threads; 0 is one per core, see [`Config::workers`].
    pub core_num: u16,
    /// How long SIGTERM waits for work in flight, in seconds.
    pub grace_seconds: u64,
    /// What is logged.
    pub log_level: LogLevel,
    /// A file with the level in it, which wins while it is there; read again at SIGHUP.
    pub log_level_file: Option<PathBuf>,
    /// Who this proxy is.
    pub node: Node,
    /// How a tenant finds its cluster.
    pub router: Router,
    /// Whether administrative commands reach the backend.
    pub admin_commands: AdminCommands,
    /// What tenants may use.
    pub tenants: Tenants,
    /// How instances are checked.
    pub health: HealthChecks,
    /// The connections to one backend.
    pub backend_pool: BackendPool,
    /// Every TCP connection, clients' and backends'.
    pub tcp: Tcp,
    /// The metrics page.
    pub metrics: Metrics,
    /// What clients may ask for.
    pub limits: Limits,
    /// The options that were set, by name: a limit among them is not fitted to the memory there is,
    /// even if it was set to its default.
    pub given: Vec<&'static str>,
    /// Lines for the log about what was given in vain; not an error, and none of them a secret.
    pub notes: Vec<String>,
}

/// Who this proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
}

/// How a tenant finds its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Router {
    /// Where clusters come from.
    pub kind: RouterType,
    /// The one backend of the static router.
    pub static_be: HostPort,
    /// The control plane that the sync router follows, as `HOST:PORT`.
    pub cp_addr: Option<String>,
    /// What to show the control plane as a bearer token.
    pub cp_token: Option<Secret>,
    /// A file with clusters, watched.
    pub file: Option<PathBuf>,
    /// Where the last known clusters of the control plane, and whom names belong to, are kept for
    /// the next start.
    pub state_file: Option<PathBuf>,
    /// Which instance of a cluster a client gets.
    pub balancer: Balancer,
    /// How long clients may stay with an instance that is offline or gone, in seconds.
    pub offline_grace_seconds: u64,
}

/// What tenants may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants {
    /// A file with their limits, watched.
    pub file: Option<PathBuf>,
}

/// How instances are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChecks {
    /// Time between two checks, in milliseconds; 0: none.
    pub check_ms: u64,
    /// Time for the answer, in milliseconds.
    pub timeout_ms: u64,
}

/// The connections of one worker to one instance, for one user, database and protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendPool {
    /// Connections that clients share.
    pub max_size: usize,
    /// Connections of clients' own of one tenant, per worker.
    pub dedicated_max: u32,
    /// Connections of one tenant to one instance, per worker; 0 until it is derived from the limit
    /// of open files.
    pub tenant_max: u32,
    /// Connections that were a client's own and are kept for the next one; never above
    /// `dedicated_max`.
    pub max_idle: usize,
    /// How long a client waits for a connection of its own, in milliseconds.
    pub wait_ms: u64,
    /// How long a client may do nothing inside MULTI or after WATCH, in seconds; 0 is for ever.
    pub pinned_idle_seconds: u64,
    /// What clients get whose backend is lost or cannot be reached.
    pub on_loss: OnLoss,
    /// Time to make the TCP connection, in milliseconds.
    pub connect_ms: u64,
    /// How long a backend may owe a reply in silence, in milliseconds; 0 is for ever.
    pub reply_ms: u64,
}

/// What the kernel is asked to do for every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Silence after which the peer is probed, in seconds; 0: never. A peer that answers nothing
    /// is given up after twice the time.
    pub keepalive_seconds: u32,
}

/// The metrics page of the service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Whether there is one.
    pub enable: bool,
    /// Its path, with the leading slash.
    pub path: String,
    /// How many tenants are shown each on its own: those with the most clients.
    pub tenants: usize,
}

/// What clients may ask for before they are told no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Clients of the process at a time.
    pub clients: usize,
    /// Clients accepted in one second; 0 is any number.
    pub accepts_per_second: u32,
    /// Bytes of one request.
    pub request_bytes: u64,
    /// Requests of one client that are not yet answered; more are read later.
    pub in_flight: u32,
    /// Bytes waiting to be read by one client.
    pub client_outbound_bytes: usize,
    /// Bytes of messages waiting to be read by one subscriber.
    pub subscriber_outbound_bytes: usize,
    /// Bytes waiting to be read by all clients of a worker.
    pub worker_outbound_bytes: usize,
    /// Bytes of requests and replies that one worker keeps, whichever way they go: those that are
    /// not complete, those that backends have not taken, and those that clients have not read.
    pub worker_buffer_bytes: usize,
    /// The same for the clients of one tenant; 0 is any number.
    pub tenant_buffer_bytes: usize,
    /// How long a client may take nothing of what it has to read, in seconds; 0 is for ever.
    pub send_seconds: u64,
    /// How long a client may take to log in, whatever it sends, in seconds; 0 is for ever.
    pub login_seconds: u64,
    /// How long a client may be silent, in seconds; 0 is for ever.
    pub idle_seconds: u64,
    /// Logins per second and worker that need a new backend connection; more wait.
    pub logins_per_second: u32,
    /// Clients of one tenant that wait while it is paused; more hear an error.
    pub paused_clients: u32,
}

impl Config {
    /// Worker threads to start: `core_num`, or one for each core this process may use.
    pub fn workers(&self) -> u16 {
        if self.core_num > 0 {
            return self.core_num;
        }
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        u16::try_from(cores).map_or(table::WORKERS_MAX, |cores| cores.min(table::WORKERS_MAX))
    }
}

/// What an empty command line and environment give; a test holds it to the table of options.
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
                cp_addr: None,
                cp_token: None,
                file: None,
                state_file: None,
                balancer: Balancer::Random,
                offline_grace_seconds: 30,
            },
            admin_commands: AdminCommands::Allow,
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
