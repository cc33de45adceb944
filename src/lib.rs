//! Elika: a Redis proxy. One entry point, many tenants, many Redis and Valkey clusters.
#![warn(clippy::all)]

#[doc(hidden)]
pub mod cluster;
#[doc(hidden)]
pub mod command;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod proxy;
mod reactor;
#[doc(hidden)]
pub mod resp;
mod server;

pub use cluster::{
    ClusterInstance, ClusterKey, ClusterName, ClusterRegistry, Endpoint, Location, MemoryRegistry,
    RegistryError, Status, TenantKey,
};
pub use config::Config;
pub use server::{Proxy, Running};
