//! The links of one account on one instance, with one database and protocol.

use crate::link::handshake::HelloReply;
use crate::resp::Protocol;
use crate::store::key::{AccessKey, ClientKey, LinkKey};
use crate::store::time::Millis;
use crate::upstream::permits::Permits;

/// The links of this worker for one (account, instance, db, protocol).
#[derive(Debug)]
pub(crate) struct Pool {
    pub(super) access: AccessKey,
    pub(super) db: u32,
    pub(super) protocol: Protocol,
    /// Shared links, connecting or ready.
    pub(super) links: Vec<LinkKey>,
    /// Links that were dedicated and hold nothing; the last one is taken first.
    pub(super) idle: Vec<LinkKey>,
    /// The number of dedicated links, including idle ones.
    pub(super) dedicated: usize,
    /// The number of borrowed links, see [`Role`](crate::link::role::Role).
    pub(super) borrowed: usize,
    /// Clients whose session change waits for a link of this pool.
    pub(super) waiters: Vec<ClientKey>,
    /// Clients that use this pool.
    pub(super) clients: u32,
    /// When the validity of its credential was last checked because the pool had lost its last
    /// link.
    pub(super) credential_checked_at: Option<Millis>,
    /// When a client's requests were last retried on another link because of a slow or late reply.
    pub(super) retried_at: Millis,
    /// The reply to HELLO in the last handshake.
    pub(super) hello: Option<HelloReply>,
    /// The known permissions of its user for commands that the proxy answers itself.
    pub(super) permits: Permits,
}

impl Pool {
    /// The number of shared links, including borrowed ones.
    pub(crate) fn shared(&self) -> usize {
        self.links.len() + self.borrowed
    }
}
