//! The thread that follows the registry: it resolves names and makes the snapshots workers see.
//!
//! Resolving blocks, so it happens here and never on a worker. Names are resolved again every few
//! seconds, because a name's address may change while nothing else does.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::cluster::{ClusterInstance, ClusterRegistry, Endpoint, Snapshot, TenantKey};
use crate::reactor::{Inbox, Message};

/// How often names are looked up again: no resolver keeps an answer for less than seconds.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Directory {
    registry: Arc<dyn ClusterRegistry>,
    changes: Receiver<ClusterInstance>,
    default_tenant: Option<TenantKey>,
    resolved: Vec<(ClusterInstance, Vec<SocketAddr>)>,
    version: u64,
}

impl Directory {
    /// Subscribes, and takes the first picture.
    pub(super) fn new(
        registry: Arc<dyn ClusterRegistry>,
        default_tenant: Option<TenantKey>,
    ) -> (Self, Arc<Snapshot>) {
        let changes = registry.notify();
        let mut directory = Self {
            registry,
            changes,
            default_tenant,
            resolved: Vec::new(),
            version: 0,
        };
        directory.look();
        let snapshot = directory.snapshot();
        (directory, snapshot)
    }

    /// Follows the registry until its channel ends or no worker is left.
    pub(super) fn run(mut self, inboxes: &[Inbox]) {
        loop {
            match self.changes.recv_timeout(RESOLVE_EVERY) {
                Ok(_) => while self.changes.try_recv().is_ok() {},
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.look() {
                continue;
            }
            let snapshot = self.snapshot();
            let mut anybody = false;
            for inbox in inboxes {
                anybody |= inbox.send(Message::Snapshot(Arc::clone(&snapshot)));
            }
            if !anybody {
                return;
            }
        }
    }

    /// Asks the registry and resolves; `true` if anything changed.
    fn look(&mut self) -> bool {
        let instances = self.registry.all_cluster_instances();
        let before = std::mem::take(&mut self.resolved);
        for instance in instances {
            let known = before.iter().find(|(other, _)| *other == instance);
            let known = known
                .map(|(_, addresses)| addresses.as_slice())
                .unwrap_or_default();
            let addresses = instance
                .endpoint()
                .map_or_else(Vec::new, |it| resolve(it, known));
            self.resolved.push((instance, addresses));
        }
        self.resolved != before
    }

    fn snapshot(&mut self) -> Arc<Snapshot> {
        self.version += 1;
        let (version, default) = (self.version, self.default_tenant.clone());
        Arc::new(Snapshot::new(
            version,
            default,
            self.resolved.iter().cloned(),
        ))
    }
}

/// All addresses of a name. While the resolver fails, the last known ones stay.
fn resolve(endpoint: &Endpoint, known: &[SocketAddr]) -> Vec<SocketAddr> {
    if let Ok(ip) = endpoint.addr.parse::<IpAddr>() {
        return vec![SocketAddr::new(ip, endpoint.port)];
    }
    match (endpoint.addr.as_str(), endpoint.port).to_socket_addrs() {
        Ok(found) => {
            let mut found: Vec<SocketAddr> = found.collect();
            // Resolvers rotate their answers; the order alone is no change.
            found.sort_unstable();
            found.dedup();
            found
        }
        Err(error) => {
            if known.is_empty() {
                log::warn!("backend name {} does not resolve: {error}", endpoint.addr);
            }
            known.to_vec()
        }
    }
}
