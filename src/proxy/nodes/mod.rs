//! Clients of a Redis Cluster: which node gets a request, and what happens when it sends the
//! request away.
//!
//! ```text
//!   request ─► slot of its keys ─► node ─► the client's link to it ─► reply
//!                                   ▲                             ├─► MOVED, ASK: to that node
//!                                   │ new slots                   └─► TRYAGAIN, CLUSTERDOWN, …:
//!                                   └── CLUSTER SLOTS                 held, and sent again
//! ```
//! Requests of one client to several nodes are executed at the same time; its replies are in the
//! order of its requests. Its requests for one slot are executed in their order: while anything of
//! it is in flight, it uses one link for each node, and when the slots change, it sends nothing
//! until it has all replies.
//!
//! | file | contents |
//! |---|---|
//! | `route` | the link for a request |
//! | `redirect` | requests that their node sends away |
//! | `held` | requests that no node executes at the moment |
//! | `scatter` | requests that several nodes execute in parts |
//! | `past_scripts` | commands for nodes that are busy with a script |
//! | `scan` | SCAN over all nodes |
//! | `transaction` | MULTI, until its node is known |
//! | `repeat` | dedicated links whose slot moves, or whose node fails |
//! | `piece` | transactions that another node executes |
//! | `slots` | the question about the slots, and the answer |
//! | `front` | what clients see: one server, or a Redis Cluster of one node |

mod front;
mod held;
mod past_scripts;
mod piece;
pub(in crate::proxy) mod redirect;
mod repeat;
mod route;
mod scan;
pub(in crate::proxy) mod scatter;
mod slots;
mod transaction;
