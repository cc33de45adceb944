//! [`elika::proxy::Machine`] in situations that networks and servers bring about seldom: each test
//! names a rule that once did not hold.
//!
//! The simulation looks for what nobody thought of; here stands, step by step, what was found.
#![allow(missing_docs, reason = "a test has no users")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; helpers are not marked as tests"
)]

mod addresses;
mod busy;
mod connections;
mod distant;
mod failure;
mod guessing;
mod harness;
mod health;
mod held;
mod instances;
mod limits;
mod logins;
mod memory;
mod pauses;
mod peers;
mod permissions;
mod pins;
mod readers;
mod shares;
mod shares_of_tenants;
mod tenants;
mod totals;
mod waits;
