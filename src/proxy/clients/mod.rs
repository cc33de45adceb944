//! CLIENT INFO, and questions about other clients, which all workers answer: CLIENT LIST, KILL,
//! UNBLOCK, and CLIENT TRACKING with REDIRECT.

mod by_number;
mod line;
mod questions;
mod search;
