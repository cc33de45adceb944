//! Elika: a Redis proxy. One entry point, many tenants, many Redis and Valkey clusters.
//!
//! Thousands of clients share a few connections to each backend. A client logs in as
//! `TENANT.USER`; the tenant decides the cluster, and the backend checks the password.
//!
//! The program `elika-proxy` is what runs in production. As a library, Elika follows your own
//! control plane: implement [`ClusterRegistry`], or keep a [`MemoryRegistry`] up to date.
//! `examples/custom_registry.rs` is a complete service discovery in a hundred lines.
//! [`config::parse`] gives your program the options of `elika-proxy`.
//!
//! ```no_run
//! use elika::{Config, MemoryRegistry, Proxy};
//!
//! # fn main() -> std::io::Result<()> {
//! // Serves until SIGTERM or SIGINT, then finishes the requests in flight.
//! Proxy::new(Config::default()).registry(MemoryRegistry::new()).run()
//! # }
//! ```
//!
//! Inside a program or a test that handles signals itself:
//!
//! ```
//! use std::net::{Ipv4Addr, TcpStream};
//!
//! use elika::{Config, Proxy};
//!
//! # fn main() -> std::io::Result<()> {
//! let config = Config {
//!     bind: Ipv4Addr::LOCALHOST.into(),
//!     port: 0,
//!     service_port: 0,
//!     ..Config::default()
//! };
//! let running = Proxy::new(config).start()?;
//! let _client = TcpStream::connect(running.address())?;
//! running.stop();
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! In the order in which they are best read. A layer uses only the layers named in its row, which
//! `tests/tidy.rs` checks.
//!
//! | layer | what it is | uses |
//! |---|---|---|
//! | `resp` | RESP: where requests and replies end, writing replies | |
//! | `command` | what a command means to a proxy, and the replies of the proxy | `resp` |
//! | `cluster` | tenants, clusters, instances, and the registry of them | `command` |
//! | `metrics` | counters of an instance, and the Prometheus text format | |
//! | `store` | keys with generations, tables, lists of chunks, time | |
//! | `stats` | the statistics of a worker | `store`, `cluster`, `metrics` |
//! | `link` | one connection to one server | `store`, `command`, `metrics`, `resp` |
//! | `upstream` | tenants, instances, accounts, pools | `link`, `stats`, and what they use |
//! | `dedicated` | the state of a dedicated connection | `link`, `store`, `command`, `resp` |
//! | `session` | one client: its requests, its identity | `dedicated`, `link`, `stats`, … |
//! | `proxy` | a worker as a deterministic machine, without sockets and clock | all above |
//! | `reactor` | the loop of a worker: sockets and a clock around `proxy` | `proxy`, `cluster` |
//! | `service` | the service port: HTTP on its own threads | `proxy`, `cluster`, `metrics` |
//! | `server` | the process: threads, listener, signals, drain | all of these, `config` |
//! | `config` | command line and environment as a valid [`Config`] | |
//!
//! # Threads
//!
//! Each worker thread runs a `reactor` with a machine. Worker 0 accepts connections and gives each
//! client to the worker with the fewest clients. Workers share an immutable snapshot of the
//! clusters, load counters and inboxes, and nothing per request. Everything that can block, such as
//! resolving names, has a thread of its own.
//!
//! # A request
//!
//! 1. `reactor` reads a socket into the worker's buffer and calls `proxy::Machine::client_read`.
//! 2. `resp::RequestDecoder` finds the end of the request, and `command::plan` what it means.
//! 3. Most requests are forwarded: their bytes are appended to a shared connection of the client's
//!    pool (tenant, user, database, protocol), and a record of the request to two queues: that of
//!    the connection and that of the client. Only the record refers to both.
//! 4. At the end of the turn, each connection with data is written once.
//! 5. The reply arrives: `proxy::Machine::link_read`. The head of the connection's queue names the
//!    client, and `resp::ReplyScanner` finds the end of the reply. The bytes that have arrived are
//!    appended to the client's outbound bytes, and written at the end of that turn.
//!
//! A client in a transaction, a subscriber and a client with a blocking command each have a
//! dedicated connection, which is taken from the pool and returned when it holds no state. The
//! requests and replies on it take the same path.
//!
//! Clients and links hold keys, never references. A key that finds nothing is normal: its
//! connection has closed.
#![warn(clippy::all)]

#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod command;
pub mod config;
mod dedicated;
mod link;
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod proxy;
mod reactor;
#[doc(hidden)]
pub mod resp;
mod server;
#[doc(hidden)]
pub mod service;
mod session;
mod stats;
mod store;
mod upstream;

pub use cluster::{
    ALIAS_LABEL, Catalog, Cluster, ClusterInstance, ClusterKey, ClusterName, ClusterRegistry,
    Endpoint, Health, JsonError, Location, MemoryRegistry, RegistryError, Status, TenantKey,
    TenantLimits, UnknownStatus,
};
pub use config::Config;
pub use server::{Proxy, Running};
#[doc(hidden)]
pub use service::metrics_table;

/// The examples of the documentation, which are tested with those above.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct Embedding;
