//! [`elika::proxy::Machine`] in rare situations, step by step: one machine, virtual time, exact
//! bytes.
//!
//! The simulation searches for unexpected sequences of events; each of these tests is a
//! sequence that was once handled wrongly.
#![allow(missing_docs, reason = "a test has no users")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; helpers are not marked as tests"
)]

mod addresses;
mod buffer_shares;
mod busy;
mod client_list;
mod client_list_totals;
mod cluster_front;
mod connection_limits;
mod credentials;
mod dedicated;
mod failure;
mod fencing;
mod harness;
mod health;
mod instances;
mod large_requests;
mod late_replies;
mod limits;
mod login;
mod login_queue;
mod memory;
mod moves;
mod paused_writes;
mod permissions;
mod redis_cluster;
mod redis_cluster_commands;
mod session_changes;
mod slow_readers;
mod tenant_limits;
mod tenant_pause;
mod transactions;
mod turns;
mod valkey;
mod wait;
mod wait_shared;
