//! The links of one account on one instance, with one database and protocol.

use crate::link::handshake::HelloReply;
use crate::link::link::Link;
use crate::link::links::Links;
use crate::resp::Protocol;
use crate::store::key::{AccessKey, ClientKey, LinkKey};
use crate::store::time::Millis;
use crate::upstream::permits::Permits;
use std::collections::VecDeque;

/// The connections of this worker for one (account, instance, db, protocol).
#[derive(Debug)]
pub(crate) struct Pool {
    pub access: AccessKey,
    pub db: u32,
    pub protocol: Protocol,
    /// Shared connections, being opened or ready.
    pub links: Vec<LinkKey>,
    /// Connections that were a client's own and hold nothing; the last is taken first.
    pub idle: Vec<LinkKey>,
    /// Connections that are or were a client's own.
    pub dedicated: usize,
    /// Shared connections that are borrowed, see [`Role`](crate::link::role::Role).
    pub borrowed: usize,
    /// Clients that wait for a connection of their own, in order.
    pub queue: VecDeque<QueuedClient>,
    /// Clients whose session change waits for a connection of this pool.
    pub waiters: Vec<ClientKey>,
    /// Clients that use this pool.
    pub clients: u32,
    /// When its credential was last asked about because it had lost its last connection.
    pub asked_about: Option<Millis>,
    /// When somebody last had to be sent round a big reply.
    pub led_round_at: Millis,
    /// What the last handshake said to HELLO.
    pub hello: Option<HelloReply>,
    /// What its user may do of that which is answered here.
    pub permits: Permits,
}

/// A client's place in the line for a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueuedClient {
    pub client: ClientKey,
    pub since: Millis,
}

impl Pool {
    /// Connections that clients share, those that are lent to one of them included.
    pub(crate) fn shared(&self) -> usize {
        self.links.len() + self.borrowed
    }

    /// A ready link of the pool.
    pub(crate) fn ready(&self, links: &Links) -> Option<LinkKey> {
        let is_ready = |key: &LinkKey| links.get(*key).is_some_and(Link::is_ready);
        self.links.iter().copied().find(is_ready)
    }
}
