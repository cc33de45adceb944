//! What the watcher is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::config::HostPort;

use super::super::super::primaries::Wanted;

/// The answers of one sentinel: the address of each primary, or `None` if the sentinel does not
/// monitor the name.
pub(super) type Answers = BTreeMap<String, Option<HostPort>>;

#[derive(Debug)]
pub(super) enum Event {
    /// A request of the publisher.
    Wanted(Wanted),
    /// The answers of the sentinel with this number. Empty when it does not answer.
    Answers(usize, Answers),
    /// A sentinel has announced a switch.
    Announced,
    /// The role of an address was checked.
    Checked(Checked),
    /// The proxy has stopped.
    Stop,
}

/// The result of a check of the role.
#[derive(Debug)]
pub(super) struct Checked {
    /// The name of the primary.
    pub name: String,
    /// The address that the sentinels named.
    pub endpoint: HostPort,
    /// The address at which a primary answered, or why there is none.
    pub outcome: Result<Found, String>,
}

/// A server that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub address: SocketAddr,
    /// The server's error, if it did not tell its role.
    pub unchecked: Option<String>,
}
