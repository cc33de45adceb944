//! One worker's whole proxy as a deterministic machine: no socket, no clock, no thread, no random.
//!
//! [`Machine`] is told what happened (bytes came, a connection opened or failed, time passed) and
//! asked what is to be done (bytes to send, actions). The same calls give the same results, so all
//! of it can be simulated and fuzzed; the reactor gives it sockets and a clock.
//!
//! | folder, file | what is there |
//! |---|---|
//! | `machine` | the entry points |
//! | `outbound`, `action` | the way out: bytes to send, and what else is to be done |
//! | `forward` | client to link: decoding, limits, choice of a link, answers made here |
//! | `deliver` | link to client: whose reply it is; late replies, retries, handover |
//! | `login` | who a client is: AUTH, HELLO, SELECT, RESET, permissions |
//! | `links` | the life of a link: opened, checked, left, ended |
//! | `dedicated` | a link of a client's own: MULTI, blocking, subscriptions, tracking, WAIT |
//! | `clients` | CLIENT LIST, KILL, INFO, UNBLOCK over all workers |
//! | `report` | statistics when somebody asks, lines for the log |
//! | `phase` | a client enters a phase or leaves it |
//! | `work` | what an event means for others, done in one place |
//! | `resume`, `tick` | clients go on that waited for something; what time brings |
//! | `memory` | what is kept for others, its limits, and how it is given back |
//! | `settings`, `texts` | what a machine is told once; error texts |
//! | `invariants`, `check` | what must always hold; any bytes as operations, for the fuzzer |
//!
//! The records are in the rooms below: `store`, `stats`, `link`, `upstream`, `dedicated`,
//! `session`.
//!
//! The rules of ownership: connections hold keys and never references; a request record is the
//! only thing that knows both sides; a handler changes its own connection, appends to the other
//! side, marks it dirty, pushes an action, and never flushes or runs another connection: what an
//! event means for others is `work`.
//! A key that finds nothing is normal: its owner has gone meanwhile.

mod action;
#[doc(hidden)]
pub mod check;
mod clients;
mod dedicated;
mod deliver;
mod forward;
mod invariants;
mod links;
mod login;
mod machine;
mod memory;
mod outbound;
mod phase;
mod report;
mod resume;
mod settings;
mod texts;
mod tick;
mod work;

pub use crate::link::failure::Failure;
pub use crate::session::client::Origin;
pub use crate::session::question::{Answer, Found, Matches, Question, Scope, Search};
pub use crate::stats::counters::{Counter, Counters};
pub use crate::stats::notice::{Bound, LoggedClient, Notice};
pub use crate::stats::worker_stats::{
    ClientStats, InstanceStats, Limit, PinReason, PoolStats, StatsRequest, TenantStats, WorkerStats,
};
pub use crate::store::chunk::SLICES_MAX;
pub use crate::store::key::{ClientKey, ConnKey, Key, LinkKey};
pub use crate::store::time::Millis;
pub use action::{Action, Flow, News, Report};
pub use machine::Machine;
pub use settings::Settings;
