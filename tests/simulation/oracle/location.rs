//! The instance of a client: the one that it was given, and another one of its tenant when that has
//! become unusable or got another address.

use super::super::redis::{Moment, Redis};
use super::{Model, View};

/// The last known instance of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// `None`: any instance of its tenant.
    pub(crate) server: Option<usize>,
    /// The client was there at this moment; or since then it may be at any instance.
    pub(crate) seen: Moment,
}

impl Model {
    /// The servers at which the client may have been between then and now.
    pub(crate) fn servers<'a>(&self, since: Moment, view: &View<'a>) -> Vec<&'a Redis> {
        let Some(tenant) = self.tenant(view) else {
            return Vec::new();
        };
        let known = self.place.server.map(|server| &view.servers[server]);
        let since = since.min(self.place.seen);
        if let Some(server) = known
            && { view.since(since) }.all(|it| it.is_usable(server) && it.leads_to(server))
        {
            return vec![server];
        }
        view.servers_of(tenant).collect()
    }

    /// The longest time for which its instance was draining, at some moment until this one, ms.
    pub(crate) fn left_for(&self, until: Moment, view: &View<'_>) -> Option<u64> {
        let seen = self.place.seen;
        let servers = self.servers(seen, view).into_iter();
        servers
            .filter_map(|server| view.left_for(server, seen, until))
            .max()
    }

    /// Whether a request that was sent then may have been executed there at this moment.
    pub(super) fn comes_to(
        &mut self,
        server: &Redis,
        (sent, at): (Moment, Moment),
        view: &View<'_>,
    ) -> Result<(), String> {
        if Some(server.tenant) != self.tenant(view) {
            return Err(format!(
                "executed by server {}, of another tenant",
                server.index
            ));
        }
        let Place { server: last, seen } = self.place;
        let mut snapshots = view.snapshots(seen, at);
        let last = last.map(|last| &view.servers[last]);
        let right = match last {
            Some(last) if last.index == server.index => true,
            // Connections to earlier addresses deliver outstanding replies, and retries there. A
            // client that stays on an instance that is no longer listed is at its last address.
            Some(last) if last.instance == server.instance => {
                let mut snapshots = view.snapshots(seen.min(sent), at);
                snapshots.any(|it| it.known.contains(&server.index))
            }
            Some(last) => {
                let mut left = false;
                snapshots.any(|it| {
                    left |= !it.is_usable(last);
                    left && it.is_usable(server)
                })
            }
            None => snapshots.any(|it| it.is_usable(server)),
        };
        if !right {
            let last = last.map(|last| last.index);
            return Err(format!(
                "it was at {last:?}, and now is at {}",
                server.index
            ));
        }
        self.place = Place {
            server: Some(server.index),
            seen: at,
        };
        Ok(())
    }
}
