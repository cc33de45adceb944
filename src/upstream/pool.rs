//! The links of one account on one instance, with one database and protocol.

use crate::link::handshake::HelloReply;
use crate::link::link::Link;
use crate::link::links::Links;
use crate::resp::Protocol;
use crate::store::key::{AccessKey, ClientKey, LinkKey};
use crate::store::time::Millis;
use crate::upstream::permits::Permits;
use std::collections::VecDeque;

/// The links of this worker for one (account, instance, db, protocol).
#[derive(Debug)]
pub(crate) struct Pool {
    pub access: AccessKey,
    pub db: u32,
    pub protocol: Protocol,
    /// Shared links, connecting or ready.
    pub links: Vec<LinkKey>,
    /// Links that were dedicated and hold nothing; the last one is taken first.
    pub idle: Vec<LinkKey>,
    /// The number of dedicated links, including idle ones.
    pub dedicated: usize,
    /// The number of borrowed links, see [`Role`](crate::link::role::Role).
    pub borrowed: usize,
    /// The wait queue for dedicated links.
    pub queue: VecDeque<QueuedClient>,
    /// Clients whose session change waits for a link of this pool.
    pub waiters: Vec<ClientKey>,
    /// Clients that use this pool.
    pub clients: u32,
    /// When the validity of its credential was last checked because the pool had lost its last
    /// link.
    pub asked_about: Option<Millis>,
    /// When a client's requests were last retried on another link because of a slow or late reply.
    pub led_round_at: Millis,
    /// The reply to HELLO in the last handshake.
    pub hello: Option<HelloReply>,
    /// The known permissions of its user for commands that the proxy answers itself.
    pub permits: Permits,
}

/// A client in the wait queue for a dedicated link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueuedClient {
    pub client: ClientKey,
    pub since: Millis,
}

impl Pool {
    /// The number of shared links, including borrowed ones.
    pub(crate) fn shared(&self) -> usize {
        self.links.len() + self.borrowed
    }

    /// A ready link of the pool.
    pub(crate) fn ready(&self, links: &Links) -> Option<LinkKey> {
        let is_ready = |key: &LinkKey| links.get(*key).is_some_and(Link::is_ready);
        self.links.iter().copied().find(is_ready)
    }
}
