//! Link to client: which request a reply belongs to, what happens to late replies, and to the
//! requests of a lost link.

mod handover;
mod late;
pub(in crate::proxy) mod replies;
pub(in crate::proxy) mod retry;
pub(in crate::proxy) mod slow_reader;
pub(in crate::proxy) mod unanswered;
