//! Link to client: whose reply it is, what is done about late ones, and what becomes of the
//! requests of a link that is lost.

mod handover;
mod late;
pub(in crate::proxy) mod replies;
pub(in crate::proxy) mod retry;
pub(in crate::proxy) mod slow_reader;
pub(in crate::proxy) mod unanswered;
