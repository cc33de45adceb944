//! One worker's proxy as a deterministic machine: no sockets, clock, threads or random numbers.
//!
//! The reactor calls [`Machine`] with events (bytes read, a connection opened or failed, time
//! passed) and takes its output: bytes to send, and actions. The same calls give the same results,
//! so the machine can be simulated and fuzzed. The reactor owns the sockets and the clock.
//!
//! | folder, file | contents |
//! |---|---|
//! | `machine` | the entry points |
//! | `outbound`, `action` | output: bytes to send, and actions for the reactor |
//! | `forward` | client to link: decoding, limits, choice of a link, replies of the proxy |
//! | `deliver` | link to client: matching replies to requests, late replies, retries, handover |
//! | `login` | AUTH, HELLO, SELECT, RESET, permissions |
//! | `links` | the life of a link: connect, health checks, migration, end |
//! | `dedicated` | dedicated links: MULTI, blocking commands, subscriptions, tracking, WAIT |
//! | `clients` | CLIENT LIST, KILL, INFO, UNBLOCK over all workers |
//! | `report` | stats of a worker, and log lines |
//! | `phase` | phase changes of a client |
//! | `work` | the queue of consequences for other clients and links |
//! | `resume`, `tick` | resuming clients that waited; timers and deadlines |
//! | `memory` | memory limits, and giving memory back |
//! | `settings`, `texts` | settings fixed at startup; error texts |
//! | `invariants`, `check` | rules that always hold; the fuzzer's operations |
//!
//! The records are in the layers below: `store`, `stats`, `link`, `upstream`, `dedicated`,
//! `session`.
//!
//! Rules of ownership: clients and links hold keys, never references. Only a request record knows
//! both its client and its link. A handler changes its own client or link, appends bytes to the
//! other side, marks it dirty and pushes actions; it never flushes, and never runs another client's
//! or link's state machine: consequences for others are queued in `work`.
//! A key that finds nothing is normal: the client or link it names is closed.

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
mod nodes;
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
pub use crate::stats::notice::{LoggedClient, Notice, NoticeKind};
pub use crate::stats::worker_stats::{
    ClientStats, InstanceStats, Limit, PinReason, PoolStats, StatsRequest, TenantStats, WorkerStats,
};
pub use crate::store::chunk::SLICES_MAX;
pub use crate::store::key::{ClientKey, ConnKey, Key, LinkKey};
pub use crate::store::time::Millis;
pub use action::{Action, Flow, HealthChange, HealthEvent};
pub use machine::Machine;
pub use settings::Settings;
