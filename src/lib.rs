//! Elika: a Redis proxy. One entry point, many tenants, many Redis and Valkey clusters.
//!
//! Thousands of clients share a few connections to each backend. A client logs in as
//! `TENANT.USER`; the tenant decides the cluster, and the backend checks the password. What runs
//! in production is the program `elika-proxy`; as a library, Elika follows a control plane of
//! yours: implement [`ClusterRegistry`], or keep a [`MemoryRegistry`] up to date.
//! `examples/custom_registry.rs` is a whole service discovery in a hundred lines; [`config::parse`]
//! gives a program of yours the options of `elika-proxy`.
//!
//! ```no_run
//! use elika::{Config, MemoryRegistry, Proxy};
//!
//! # fn main() -> std::io::Result<()> {
//! // Serves until SIGTERM or SIGINT, then finishes what is in flight.
//! Proxy::new(Config::default()).registry(MemoryRegistry::new()).run()
//! # }
//! ```
//!
//! Inside another program or a test, which has signals of its own:
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
//! # Rooms
//!
//! In the order in which they are best read. A room may name those it stands on and no others;
//! `tests/tidy.rs` holds them to it.
//!
//! | room | what it is for | stands on |
//! |---|---|---|
//! | `resp` | where a request or a reply ends; how to say something ourselves | |
//! | `command` | what a command means to a proxy: one table, and the replies made here | `resp` |
//! | `cluster` | tenants, clusters, instances, and the registry that knows them | |
//! | `metrics` | what is counted per instance, and how Prometheus reads it | |
//! | `store` | keys with generations, tables, lists of chunks, time | |
//! | `stats` | what a worker counts and tells | `store`, `cluster`, `metrics` |
//! | `link` | one connection to one server | `store`, `command`, `metrics`, `resp` |
//! | `upstream` | tenants, instances, accounts, pools | `link`, `stats`, and theirs |
//! | `dedicated` | what a client's own connection holds | `link`, `store`, `command`, `resp` |
//! | `session` | one client: what it sent, who it is | `dedicated`, `link`, `stats`, … |
//! | `proxy` | a worker without socket and clock: what crosses these | all above |
//! | `reactor` | one worker's loop: sockets and a clock around `proxy` | `proxy`, `cluster` |
//! | `service` | the service port: HTTP on a thread of its own | `proxy`, `cluster`, `metrics` |
//! | `server` | the process: threads, listener, signals, drain | all of these, `config` |
//! | `config` | command line and environment, made into a [`Config`] that is valid | |
//!
//! # Threads
//!
//! Every worker is a `reactor` around a `proxy` of its own. The first one accepts, and hands each
//! client to the worker with the fewest. Workers share a picture of the registry that nobody
//! changes, load counters and inboxes, and nothing per request. Whatever can block, such as
//! resolving names, has a thread of its own.
//!
//! # The life of a request
//!
//! 1. `reactor` reads a ready socket into the worker's one buffer and gives the bytes to
//!    `proxy::Machine::client_bytes`.
//! 2. `resp::RequestDecoder` finds where the request ends, `command::plan` what it means.
//! 3. Almost always it is to be forwarded: its bytes are appended to a shared connection of the
//!    client's pool (tenant, user, database, protocol), and a record of it goes to the end of two
//!    queues, the connection's and the client's. Nothing else knows both sides.
//! 4. At the end of the turn, each connection that has something to send is written once.
//! 5. The reply comes: `proxy::Machine::link_bytes`. The head of the connection's queue says
//!    whose it is, `resp::ReplyScanner` where it ends, and what has arrived of it is appended to
//!    that client's outbound bytes. They go out at the end of that turn.
//!
//! A client in a transaction, a subscriber, one that is blocked: each has a backend connection of
//! its own (`proxy::pin`), taken from the pool and given back when it holds nothing any more. Its
//! requests and replies go the same way.
//!
//! Connections hold keys and never references: a key that finds nothing belongs to somebody who has
//! gone meanwhile, and that is normal.
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

/// The examples of the documentation, which are tested like those in here.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct Embedding;
