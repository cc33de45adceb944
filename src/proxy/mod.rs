//! One worker's whole proxy as a deterministic machine: no socket, no clock, no thread, no random.
//!
//! [`Machine`] is told what happened (bytes came, a connection opened or failed, time passed) and
//! asked what is to be done (bytes to send, actions). The same calls give the same results, so all
//! of it can be simulated and fuzzed; the reactor gives it sockets and a clock.
//!
//! | file | what is there |
//! |---|---|
//! | `machine` | the tables and the entry points |
//! | `outbound`, `action` | the way out: bytes to send, and what else is to be done |
//! | `decode`, `run`, `forward` | client to backend: frames, plans, the queue of a connection |
//! | `last_command` | its name, for CLIENT LIST |
//! | `inbound`, `partial` | requests that have not come whole; large ones, which are not copied |
//! | `gate` | what a tenant's limits and pauses say to a request |
//! | `answer`, `texts` | what a client hears from us, in its place |
//! | `deliver`, `owner` | backend to client: whose reply it is |
//! | `stall`, `stalled` | others wait on a connection behind one client: what is done about it |
//! | `late` | replies that are late, and what that says |
//! | `retry`, `recent` | requests that are asked again on another connection |
//! | `share`, `turns` | how much is done for one client before the others have their turn |
//! | `resume`, `tick` | clients go on that waited for something; what time brings |
//! | `login`, `session`, `change` | who a client is: AUTH, HELLO, SELECT, RESET |
//! | `verify`, `login_queue`, `login_turns` | connections that verify a login; who is next |
//! | `permit`, `permits` | what the server lets a user do of that which is answered here |
//! | `revoke` | a login is over: which connections and clients end |
//! | `pin` | a connection of a client's own: MULTI, blocking commands, subscriptions, tracking |
//! | `tenant`, `instance`, `pool` | who the backends are, and our connections to them |
//! | `credential`, `handshake` | what a connection says first |
//! | `connect` | a backend connection comes up |
//! | `health` | does an instance do as it should? |
//! | `relocate` | which instance a client gets, and how it leaves one |
//! | `failure`, `loss` | one is lost, or retired, and why |
//! | `handover` | the requests of a connection that has ended: what moves on |
//! | `unanswered` | what those hear for whom nothing can |
//! | `peers`, `question`, `search`, `line` | CLIENT LIST, KILL and INFO over all workers |
//! | `numbers` | another client's own connection by its number: UNBLOCK, TRACKING REDIRECT |
//! | `survey`, `tell` | what a worker tells when somebody asks |
//! | `client`, `backend`, `request` | the records |
//! | `former` | connections that a client has left, of which WAIT must ask |
//! | `measure` | how long a request took |
//! | `memory`, `allocator` | what is kept for others, its limits, and how it is given back |
//! | `notice`, `notify` | limits that were reached and logins that were refused, for the log |
//! | `table`, `key`, `chunk`, `buffer` | where records and bytes are kept |
//! | `invariants`, `check` | what must always hold; any bytes as operations, for the fuzzer |
//!
//! The rules of ownership: connections hold keys and never references; a request record is the
//! only thing that knows both sides; a handler changes its own connection, appends to the other
//! side, marks it dirty, pushes an action, and never flushes or runs another connection. Only
//! limits and CLIENT KILL close another.
//! A key that finds nothing is normal: its owner has gone meanwhile.

mod action;
mod allocator;
mod answer;
mod backend;
mod buffer;
mod change;
#[doc(hidden)]
pub mod check;
mod chunk;
mod client;
mod connect;
mod counters;
mod credential;
mod decode;
mod deliver;
mod failure;
mod former;
mod forward;
mod gate;
mod handover;
mod handshake;
mod health;
mod inbound;
mod instance;
mod invariants;
mod key;
mod last_command;
mod late;
mod line;
mod login;
mod login_queue;
mod login_turns;
mod loss;
mod machine;
mod measure;
mod memory;
mod notice;
mod notify;
mod numbers;
mod outbound;
mod owner;
mod partial;
mod peers;
mod permit;
mod permits;
mod pin;
mod pool;
mod question;
mod recent;
mod relocate;
mod request;
mod resume;
mod retry;
mod revoke;
mod run;
mod search;
mod session;
mod settings;
mod share;
mod stall;
mod stalled;
mod survey;
mod table;
mod tell;
mod tenant;
mod texts;
mod tick;
mod turns;
mod unanswered;
mod verify;

pub use action::{Action, Flow, News, Report};
pub use chunk::SLICES_MAX;
pub use client::Origin;
pub use counters::{Counter, Counters};
pub use key::{BackendKey, ClientKey, ConnKey, Key};
pub use loss::Failure;
pub use machine::Machine;
pub use notice::{Bound, Notice, Who};
pub use question::{Answer, Found, Matches, Question, Scope, Search};
pub use settings::{Millis, Settings};
pub use survey::{
    ClientSurvey, InstanceSurvey, Limit, PinReason, PoolSurvey, Survey, TenantSurvey, Wanted,
};
