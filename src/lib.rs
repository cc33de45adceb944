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
#[doc(hidden)]
pub mod reactor;
#[doc(hidden)]
pub mod resp;
#[doc(hidden)]
pub mod server;
