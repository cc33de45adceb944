//! The actions that the machine asks the reactor for.

use std::collections::VecDeque;

use std::net::SocketAddr;

use crate::session::question::Question;
use crate::stats::notice::Notice;
use crate::store::key::{ClientKey, ConnKey, LinkKey};

/// An action for the reactor, which carries them out in order, once per turn.
#[derive(Debug)]
pub enum Action {
    /// Open a connection; the result is `link_connected` or `link_failed`.
    Connect(LinkKey, SocketAddr),
    /// Close the socket. The key is stale; no event follows.
    Close(ConnKey),
    /// Read again: a `Flow::Pause` is over. The reactor must read at once, since no event may
    /// follow.
    Resume(ConnKey),
    /// Send a question to every other worker; each sends an answer for this client back.
    Ask(ClientKey, Question),
    /// A change of an instance's health, as this worker sees it.
    HealthEvent(HealthEvent),
    /// A client was closed because of a limit: a line for the log.
    Notice(Box<Notice>),
}

/// A change of an instance's health, for the log. Several workers may report the same change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthEvent {
    /// The instance, as the registry names it.
    pub instance: String,
    /// The tenant it serves.
    pub tenant: String,
    /// `host:port` as configured.
    pub address: String,
    /// What changed.
    pub change: HealthChange,
}

/// What changed in the health of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthChange {
    /// The server answers.
    Up,
    /// The server answers, but cannot serve requests, and why.
    Degraded(String),
    /// The server does not answer, and why.
    Down(String),
    /// The server violated the protocol; the link was closed.
    ProtocolError(String),
    /// The server no longer accepts this user's credential.
    Revoked(String),
}

/// Does the reactor continue to read?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// Not until an [`Action::Resume`] names this connection.
    Pause,
}

/// The actions for the reactor, in order.
pub(super) type Actions = VecDeque<Action>;
