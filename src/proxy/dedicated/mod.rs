//! Dedicated links: transactions, blocking commands, subscriptions, tracking and MONITOR.
//!
//! ```text
//!            a command that needs one,             nothing in flight,
//!            nothing in flight                     and nothing held
//!   shared ──────────────────────────► dedicated ───────────────────► shared
//!              │      ▲                    │
//!              │      │ a link is free     │ the link is lost while it holds anything
//!              ▼      │                    ▼
//!        the pool's wait queue         closed: the client must not continue as if nothing was lost
//! ```
//!
//! All requests of a client with a dedicated link go to that link. What the link holds (a `Pin`)
//! is decided by replies; requests only decide that nothing goes elsewhere until the reply arrives.
//! So a `MULTI` that was refused holds nothing, and `EXEC` ends what its `MULTI` began.
//!
//! | file | contents |
//! |---|---|
//! | `take` | taking a dedicated link from the pool, and giving it back |
//! | `wait_queue` | the queue of clients that wait for a dedicated link |
//! | `release` | the end of the client or of its dedicated link |
//! | `send` | client to link: which request changes what the link holds |
//! | `transaction` | commands inside MULTI, and the reply to EXEC |
//! | `session` | SELECT, AUTH, HELLO and tracking on a dedicated link |
//! | `wait` | WAIT, on the links that carried the writes: the waiters, and what is asked when |
//! | `destination` | where a frame goes |
//! | `receive` | link to client: what the replies say |

mod destination;
mod receive;
mod release;
mod send;
mod session;
mod take;
mod transaction;
mod wait;
mod wait_queue;
