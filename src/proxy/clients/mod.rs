//! Questions about other clients, answered by all workers: CLIENT LIST, KILL, INFO, UNBLOCK.

mod by_number;
mod line;
mod questions;
mod search;
