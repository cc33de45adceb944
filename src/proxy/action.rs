//! What the machine wants done outside: its words to the reactor.

use std::collections::VecDeque;

use std::net::SocketAddr;

use crate::session::question::Question;
use crate::stats::notice::Notice;
use crate::store::key::{ClientKey, ConnKey, LinkKey};

/// A wish of the machine. The reactor carries them out in order, once per turn.
#[derive(Debug)]
pub enum Action {
    /// Open a connection; report with `link_connected` or `link_failed`.
    Connect(LinkKey, SocketAddr),
    /// Close the socket. The key is stale already; nothing is reported back.
    Close(ConnKey),
    /// Go on reading: a `Flow::Pause` is over. Must read at once, there may be no further event.
    Resume(ConnKey),
    /// Put a question to every other worker; each sends an answer for this client back.
    Ask(ClientKey, Question),
    /// News of an instance, as this worker sees it.
    Report(Report),
    /// A client was closed because of a limit: a line for the log.
    Notice(Box<Notice>),
}

/// News of an instance, for the log. Several workers may tell the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which instance (as the registry names it).
    pub instance: String,
    /// The tenant it serves.
    pub tenant: String,
    /// `host:port` as configured.
    pub address: String,
    /// What is new.
    pub news: News,
}

/// What may be new of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It answers.
    Up,
    /// It answers, but not as it should, and why.
    Degraded(String),
    /// It does not answer, and why.
    Down(String),
    /// It sent what no server may send; that connection was given up.
    Distrusted(String),
    /// It does not accept any more what clients of this user logged in with.
    Revoked(String),
}

/// Shall the reactor read on?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// Not before an [`Action::Resume`] names this connection.
    Pause,
}

/// What the machine wants done, in order.
pub(super) type Actions = VecDeque<Action>;
