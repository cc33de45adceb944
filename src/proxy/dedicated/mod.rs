//! A backend connection of a client's own: for transactions, blocking commands, subscriptions,
//! tracking and MONITOR.
//!
//! ```text
//!            a command that needs it,                  nothing in flight,
//!            nothing in flight                         and nothing held
//!   shared ───────────────────────────► pinned ───────────────────────────► shared
//!              │      ▲                    │
//!              │      │ its turn           │ the connection is lost while it holds anything
//!              ▼      │                    ▼
//!            in the pool's line          closed: the client must not go on as if nothing was lost
//! ```
//!
//! While a client is pinned, all of its requests go to its own connection: what is held there (a
//! [`Pin`]) is decided by requests only in so far as nothing goes elsewhere, and by replies in all
//! else. So `MULTI` that was refused holds nothing, and `EXEC` ends what its `MULTI` began.
//!
//! | file | what is there |
//! |---|---|
//! | `take` | a connection is taken from the pool, and given back |
//! | `wait_queue` | the queue of those who wait for one |
//! | `release` | a client goes, or its connection |
//! | `send` | client to its connection: which reply will say what |
//! | `transaction` | commands inside MULTI, and the reply to EXEC |
//! | `session` | SELECT, AUTH, HELLO and tracking on a connection of one's own |
//! | `wait` | WAIT, on the connections that carried the writes: who waits, and what is asked when |
//! | `frame_fate` | where a frame goes |
//! | `receive` | its connection to the client: what the replies said |

mod frame_fate;
mod receive;
mod release;
mod send;
mod session;
mod take;
mod transaction;
mod wait;
mod wait_queue;
