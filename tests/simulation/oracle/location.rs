//! Where a client may be: at the instance that it was given, and after that has become unusable or
//! got another address, elsewhere in its tenant.

use super::super::redis::{Moment, Redis};
use super::{Model, View};

/// Where a client was last known to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// `None`: somewhere in its tenant.
    pub(crate) server: Option<usize>,
    /// That was at this moment; or since then it may be anywhere.
    pub(crate) seen: Moment,
}

impl Model {
    /// The servers at which it may have been between then and now.
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

    /// For how long at most its instance was on its way out, at some moment until this one, ms.
    pub(crate) fn left_for(&self, until: Moment, view: &View<'_>) -> Option<u64> {
        let seen = self.place.seen;
        let servers = self.servers(seen, view).into_iter();
        servers
            .filter_map(|server| view.left_for(server, seen, until))
            .max()
    }

    /// A request of it that was sent then was executed there at this moment: may it be there?
    pub(super) fn comes_to(
        &mut self,
        server: &Redis,
        (sent, at): (Moment, Moment),
        view: &View<'_>,
    ) -> Result<(), String> {
        if Some(server.tenant) != self.tenant(view) {
            return Err(format!("executed by server {}, a stranger's", server.index));
        }
        let Place { server: last, seen } = self.place;
        let mut snapshots = view.snapshots(seen, at);
        let last = last.map(|last| &view.servers[last]);
        let right = match last {
            Some(last) if last.index == server.index => true,
            // Connections to earlier addresses bring what they owe, and what was asked again there.
            // Who stays with an instance that is not listed any more is at its last address.
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
