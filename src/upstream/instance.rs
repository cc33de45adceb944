//! Instances on this worker: their addresses, their health, and their draining.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::cluster::{self, Health, InstanceId, RedisCluster, TenantKey};
use crate::command::ErrorReply;
use crate::command::blocking::BlockingCommands;
use crate::command::client::Dialect;
use crate::metrics::{ErrorKind, Traffic};

use crate::link::failure::Failure;
use crate::store::key::{InstanceKey, LinkKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::logins::Logins;
use crate::upstream::nodes::Nodes;

/// The first and the longest wait before the next attempt to connect to an instance that is down,
/// ms.
pub(crate) const BACKOFF_MS: (u64, u64) = (50, 2_000);

/// One server of a cluster.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(super) tenant: TenantKey,
    pub(super) slot: TenantSlot,
    pub(super) id: InstanceId,
    pub(super) address_text: String,
    /// The addresses of the last successful resolution of its name.
    pub(super) addresses: Vec<SocketAddr>,
    /// The name resolves in the present snapshot.
    resolves: bool,
    /// The health on this worker.
    pub(super) health: Health,
    /// Why the health is not up.
    pub(super) reason: String,
    /// The health from the checks of all workers, see `Snapshot`.
    pub(super) health_of_all: Health,
    /// A request got READONLY, and the server's role is not primary. The instance is up again when
    /// its role is primary.
    pub(super) read_only: bool,
    /// The kind of an error that made a check due. A script may have returned the error, so only
    /// the check decides.
    pub(super) suspected: Option<ErrorKind>,
    /// The error for clients while the instance is down.
    pub(super) down_error: ErrorReply,
    /// Consecutive failures to connect.
    pub(super) failures: u32,
    /// The index in `addresses` at which the next attempt to connect starts: that of the last one
    /// that worked.
    preferred: usize,
    /// While the instance is down, no attempt to connect is made before this time.
    pub(super) retry_at: Millis,
    /// The check in progress: its link, and its start.
    pub(super) check: Option<(LinkKey, Millis)>,
    /// The start of the last check.
    pub(super) checked_at: Millis,
    /// When bytes last arrived on any link to the instance.
    pub(super) read_at: Millis,
    /// When the instance was last probed, because a reply was late.
    pub(super) asked_alive: Millis,
    /// The shortest handshake so far, ms. A longer one includes time in which the server was busy.
    pub(super) handshake_ms: u64,
    /// The number of links that are connecting; those that are ready; all links except verifiers.
    pub(super) connecting: u32,
    pub(super) ready: u32,
    pub(super) connections: u32,
    /// When the last search for an unused link found none.
    pub(super) all_used_at: Option<Millis>,
    pub(super) logins: Logins,
    /// The registry removed the instance.
    pub(super) gone: bool,
    /// When it started draining: it is offline or removed, and its clients move to other instances.
    pub(super) draining_since: Option<Millis>,
    /// Clients do not try to move again before this time.
    pub(super) moves_after: Millis,
    /// When its addresses last changed.
    pub(super) moved_at: Option<Millis>,
    /// The format in which its version shows clients.
    pub(super) dialect: Dialect,
    /// Its blocking commands that are not in the proxy's table.
    pub(super) learned: BlockingCommands,
    /// When the server last listed its blocking commands.
    pub(super) asked_at: Option<Millis>,
    /// Clients on this instance.
    pub(super) clients: u32,
    /// Clients closed at a limit of bytes or time.
    pub(super) evictions: u64,
    /// What its labels say about Redis Cluster.
    pub(super) redis_cluster: RedisCluster,
    /// The instance is a Redis Cluster, and these are its nodes.
    pub(super) nodes: Option<Box<Nodes>>,
    /// The Redis Cluster of which it is a node, or `NONE`.
    pub(super) node_of: InstanceKey,
    /// The addresses of its nodes, which are tried after its own.
    pub(super) nodes_at: Vec<SocketAddr>,
    /// The traffic of links that have ended.
    pub(super) traffic: Traffic,
}

impl Instance {
    pub(crate) fn new(tenant: TenantKey, slot: TenantSlot, new: &cluster::Instance) -> Self {
        Self {
            tenant,
            slot,
            id: new.id.clone(),
            address_text: new.address_text.clone(),
            addresses: new.addresses.clone(),
            resolves: !new.addresses.is_empty(),
            health: Health::Unknown,
            reason: String::new(),
            health_of_all: Health::Unknown,
            read_only: false,
            suspected: None,
            down_error: Failure::Removed.error_if_unsent(),
            failures: 0,
            preferred: 0,
            retry_at: Millis::default(),
            check: None,
            checked_at: Millis::default(),
            read_at: Millis::default(),
            asked_alive: Millis::default(),
            handshake_ms: u64::MAX,
            connecting: 0,
            ready: 0,
            connections: 0,
            all_used_at: None,
            logins: Logins::default(),
            gone: false,
            draining_since: None,
            moves_after: Millis::default(),
            moved_at: None,
            dialect: Dialect::default(),
            learned: BlockingCommands::default(),
            asked_at: None,
            clients: 0,
            evictions: 0,
            redis_cluster: new.redis_cluster,
            nodes: None,
            node_of: InstanceKey::NONE,
            nodes_at: Vec::new(),
            traffic: Traffic::default(),
        }
    }

    /// Do requests for the instance fail at once, because it is removed, or down and not due for an
    /// attempt to connect?
    pub(crate) fn fails_fast(&self, now: Millis) -> bool {
        self.gone || (self.health == Health::Down && now < self.retry_at)
    }

    /// Is the instance removed, or did an attempt to connect fail a moment ago? Links that are not
    /// necessary are then not opened.
    pub(crate) fn is_in_backoff(&self, now: Millis) -> bool {
        self.gone || now < self.retry_at
    }

    /// The address for the next attempt to connect, after `tried` others.
    pub(crate) fn address(&self, tried: usize) -> Option<SocketAddr> {
        let n = self.addresses.len() + self.nodes_at.len();
        if !self.resolves && self.nodes_at.is_empty() || tried >= n {
            return None;
        }
        let mut all = self.addresses.iter().chain(&self.nodes_at);
        all.nth((self.preferred + tried) % n).copied()
    }

    /// Notes whether this address works: the next attempt to connect starts at it, or at the one
    /// after it.
    pub(crate) fn prefer(&mut self, address: Option<SocketAddr>, works: bool) {
        let mut all = self.addresses.iter().chain(&self.nodes_at);
        let at = all.position(|it| Some(*it) == address);
        if let Some(at) = at {
            self.preferred = at + usize::from(!works);
        }
    }

    /// Is this one of the instance's addresses? `true` if no address is known.
    pub(crate) fn is_at(&self, address: Option<SocketAddr>) -> bool {
        let known = |address| {
            [&self.addresses, &self.nodes_at]
                .iter()
                .any(|it| it.contains(&address))
        };
        self.addresses.is_empty() || address.is_none_or(known)
    }

    /// How unfit the instance is for new clients; 0 is best.
    pub(crate) fn unfitness(&self) -> u8 {
        let of = |health| match health {
            Health::Unknown | Health::Up => 0,
            Health::Degraded => 1,
            Health::Down => 2,
        };
        of(self.health).max(of(self.health_of_all))
    }

    /// Follows a new snapshot. Returns what happens to links to other addresses than the present
    /// ones, if the addresses have changed.
    pub(crate) fn apply(&mut self, new: &cluster::Instance, now: Millis) -> Option<Moved> {
        self.health_of_all = new.health;
        self.redis_cluster = new.redis_cluster;
        if std::mem::take(&mut self.gone) {
            // The instance was removed and is listed again: its health is unknown, because the
            // table of all workers' checks has forgotten it.
            (self.health, self.read_only) = (Health::Unknown, false);
            self.reason.clear();
        }
        if new.status.is_usable() {
            self.draining_since = None;
        } else {
            self.draining_since = self.draining_since.or(Some(now));
        }
        self.address_text.clone_from(&new.address_text);
        let resolves = !new.addresses.is_empty();
        let stays = !resolves || self.addresses == new.addresses;
        if stays && resolves == self.resolves {
            return None;
        }
        self.resolves = resolves;
        // These values belong to the previous addresses.
        (self.failures, self.retry_at, self.asked_at) = (0, now, None);
        (self.preferred, self.handshake_ms) = (0, u64::MAX);
        if stays {
            return None;
        }
        let moved = match (self.addresses.is_empty(), new.fenced) {
            (true, _) => None,
            (false, true) => Some(Moved::Fenced),
            (false, false) => Some(Moved::Retired),
        };
        self.addresses.clone_from(&new.addresses);
        self.moved_at = (moved == Some(Moved::Retired)).then_some(now);
        moved
    }
}

/// What happens to the links to an instance's former addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// They finish their requests. Dedicated links stay for the grace period.
    Retired,
    /// They are closed at once: another server is the primary.
    Fenced,
}

/// What a new snapshot of the registry changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Instances that were removed.
    pub gone: HashSet<InstanceKey>,
    /// Instances that started draining, including the removed ones.
    pub draining: HashSet<InstanceKey>,
    /// Instances whose addresses changed, and whose former addresses are still good.
    pub moved: HashSet<InstanceKey>,
    /// Instances whose label changed that says whether they are Redis Clusters.
    pub modes: HashSet<InstanceKey>,
    /// Instances whose addresses changed because another server is the primary.
    pub fenced: HashSet<InstanceKey>,
}
