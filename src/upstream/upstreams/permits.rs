//! The known permissions of the users of pools, and the permission probes in flight.

use std::mem;

use crate::command::Permission;
use crate::link::links::Links;
use crate::store::key::{ClientKey, LinkKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::permits::PermissionProbe;
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// Is it known that the user of a pool may do this?
    pub(crate) fn permits(&self, pool: PoolKey, what: Permission, now: Millis) -> bool {
        let pool = self.pools.get(pool);
        pool.is_some_and(|pool| pool.permits.have(what, now))
    }

    /// A client waits for the server to say whether the user of its pool may do this. Returns the
    /// link on which to ask: the client's `own`, else the best of the pool's. `None`: the server is
    /// asked already, or there is no link.
    pub(crate) fn probe_permission(
        &mut self,
        client: ClientKey,
        (pool, what): (PoolKey, Permission),
        own: Option<LinkKey>,
        links: &Links,
        now: Millis,
    ) -> Option<LinkKey> {
        self.wait_for_link(pool, client);
        let mut asked = self.permission_probes.iter();
        if own.is_none() && asked.any(|it| it.pool == pool && it.what == what) {
            return None;
        }
        let on = own.or_else(|| self.best_link(pool, links, now))?;
        self.permission_probes
            .push(PermissionProbe { pool, what, on });
        Some(on)
    }

    /// The database of a pool.
    pub(crate) fn db_of(&self, pool: PoolKey) -> u32 {
        self.pools.get(pool).map_or(0, |pool| pool.db)
    }

    /// The server answered whether a user is `permitted` this. Returns the clients that waited for
    /// it. The reply to a probe that was repeated on another link is ignored.
    pub(crate) fn permission_answered(
        &mut self,
        on: LinkKey,
        what: Permission,
        permitted: bool,
        now: Millis,
    ) -> Option<Vec<ClientKey>> {
        let mut permission_probes = self.permission_probes.iter();
        let at = permission_probes.position(|it| it.on == on && it.what == what)?;
        let pool = self
            .pools
            .get_mut(self.permission_probes.swap_remove(at).pool)?;
        if permitted {
            pool.permits.add(what, now);
        }
        Some(mem::take(&mut pool.waiters))
    }

    /// Forgets the permission probes that were in flight on a link that ended. Returns the clients
    /// that wait for them: they ask again.
    pub(crate) fn lose_probes(&mut self, lost: LinkKey) -> Vec<ClientKey> {
        let (over, left) = mem::take(&mut self.permission_probes)
            .into_iter()
            .partition::<Vec<PermissionProbe>, _>(|it| it.on == lost);
        self.permission_probes = left;
        let waiters = over.into_iter().map(|it| self.take_waiters(it.pool));
        waiters.flatten().collect()
    }

    /// Questions that stand behind a reply that is late, or that its client reads slowly: each
    /// moves to another link of its pool, if one serves. A question for which there is none is
    /// returned with its present link and `false`.
    pub(crate) fn move_probes(
        &mut self,
        links: &Links,
        now: Millis,
    ) -> Vec<(PermissionProbe, bool)> {
        let mut blocked = Vec::new();
        let mut all = mem::take(&mut self.permission_probes);
        for probe in &mut all {
            let link = links.get(probe.on);
            // A dedicated link may have changed to another pool: the other links of that pool have
            // another user and cannot answer.
            let held =
                link.is_some_and(|it| it.pool == probe.pool && it.drawbacks(now) != (false, false));
            if !held {
                continue;
            }
            let to = self.serving_links(probe.on, links, now).first().copied();
            probe.on = to.unwrap_or(probe.on);
            blocked.push((*probe, to.is_some()));
        }
        self.permission_probes = all;
        blocked
    }
}
