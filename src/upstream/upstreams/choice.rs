//! Which link of an instance or a pool fits for what.

use crate::link::link::{Link, State, Verifying};
use crate::link::links::Links;
use crate::link::role::Role;
use crate::link::stall::Stall;
use crate::store::key::{InstanceKey, LinkKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::account::Account;
use crate::upstream::upstreams::Upstreams;

/// An unused link is closed after this, ms.
const IDLE_MS: u64 = 30_000;

/// An anonymous link is retired after this, ms. A new link then shows whether the server still
/// admits the default user: this is the longest time that a client can act as the default user
/// after the server began to require a password.
const ANONYMOUS_MS: u64 = 60_000;

/// A link for a client that changes its link.
#[derive(Debug)]
pub(crate) enum Choice {
    /// A link that serves the next request.
    Serves(LinkKey),
    /// All links are held up by other requests; this is the one with the least to do, if any.
    HeldUp(Option<LinkKey>),
}

impl Upstreams {
    /// Chooses a link of this pool for a client: a ready one, preferably without a late reply, else
    /// one that is connecting. Links in the middle of a large reply, behind a script or late with a
    /// write hold up other requests.
    pub(crate) fn choose(&self, pool: PoolKey, links: &Links, now: Millis) -> Choice {
        let (mut late, mut opening) = (None, None);
        let mut least: Option<((u32, bool, u64), LinkKey)> = None;
        for &key in self.shared_links(pool) {
            let Some(link) = links.get(key) else {
                continue;
            };
            if link.role() != Role::Shared {
                continue;
            }
            match link.is_ready() {
                true if link.is_busy() || matches!(link.stall, Stall::Held(_)) => {}
                true if link.is_late(now) => late = late.or(Some(key)),
                true => return Choice::Serves(key),
                // A request behind a script waits for the end of the script.
                false if link.runs_script() => {}
                false => opening = opening.or(Some(key)),
            }
            let load = (link.abandoned(), link.paused, link.scanner.bulk_left());
            if least.is_none_or(|(other, _)| load < other) {
                least = Some((load, key));
            }
        }
        match late.or(opening) {
            Some(key) => Choice::Serves(key),
            None => Choice::HeldUp(least.map(|(_, key)| key)),
        }
    }

    /// The best of a pool's shared links, whatever holds it up.
    pub(crate) fn best_link(&self, pool: PoolKey, links: &Links, now: Millis) -> Option<LinkKey> {
        let worst = |it: &Link| (!it.is_ready(), !it.is_open(), it.drawbacks(now));
        let all = self.shared_links(pool).iter();
        let all = all.filter_map(|&key| Some((key, worst(links.get(key)?))));
        all.min_by_key(|(_, worst)| *worst).map(|(key, _)| key)
    }

    /// Does a pool have a ready link?
    pub(crate) fn has_ready_link(&self, pool: PoolKey, links: &Links) -> bool {
        let ready = |&key: &LinkKey| links.get(key).is_some_and(Link::is_ready);
        self.shared_links(pool).iter().any(ready)
    }

    /// The shared links of a link's pool, without this one, that are like that.
    fn others(&self, key: LinkKey, links: &Links, like: impl Fn(&Link) -> bool) -> Vec<LinkKey> {
        let pool = links.get(key).map(|link| link.pool);
        let all = self.shared_links(pool.unwrap_or_default()).iter().copied();
        all.filter(|&it| it != key && links.get(it).is_some_and(&like))
            .collect()
    }

    /// Ready links of the same pool with nothing in flight.
    pub(crate) fn unused_links(&self, key: LinkKey, links: &Links) -> Vec<LinkKey> {
        self.others(key, links, |it| {
            it.is_ready() && it.is_open() && it.fifo.is_empty() && it.outbound.is_empty()
        })
    }

    /// Ready links of the same pool that take requests and have no late reply.
    pub(crate) fn serving_links(&self, key: LinkKey, links: &Links, now: Millis) -> Vec<LinkKey> {
        self.others(key, links, |it| {
            it.is_ready() && it.is_open() && it.drawbacks(now) == (false, false)
        })
    }

    /// The number of a pool's shared links that are not ready.
    pub(crate) fn opening_links(&self, pool: PoolKey, links: &Links) -> usize {
        let opening = |&&key: &&LinkKey| links.get(key).is_some_and(|it| !it.is_ready());
        self.shared_links(pool).iter().filter(opening).count()
    }

    /// A link to an instance with nothing in flight, preferably one of this pool.
    pub(crate) fn idle_link(
        &self,
        of: InstanceKey,
        pool: PoolKey,
        links: &Links,
    ) -> Option<LinkKey> {
        let first = self.pools.get(pool);
        let pools = first.into_iter().chain(self.pools_of(of));
        let mut keys = pools.flat_map(|pool| pool.links.iter().copied());
        keys.find(|&key| {
            let link = links.get(key);
            link.is_some_and(|it| it.is_ready() && it.is_open() && it.fifo.is_empty())
        })
    }

    /// A link of an instance that is closed to make room for another: a pool with clients keeps
    /// one. At most one search per millisecond is made, because there may be many pools.
    pub(crate) fn dispensable_link(
        &mut self,
        of: InstanceKey,
        links: &Links,
        now: Millis,
    ) -> Option<LinkKey> {
        if self.instances.get(of)?.all_used_at == Some(now) {
            return None;
        }
        let unused = |key: &LinkKey| {
            let link = links.get(*key);
            link.is_some_and(|it| it.is_ready() && it.fifo.is_empty() && it.waits.is_empty())
        };
        let mut keys = self.pools_of(of).flat_map(|pool| {
            let spared = usize::from(pool.clients > 0);
            pool.idle.iter().chain(pool.links.iter().skip(spared))
        });
        let found = keys.find(|key| unused(key)).copied();
        drop(keys);
        if found.is_none() {
            self.instances.get_mut(of)?.all_used_at = Some(now);
        }
        found
    }

    /// May a link to this instance be opened, if necessary in place of another?
    pub(crate) fn has_room_for_link(
        &mut self,
        of: InstanceKey,
        links: &Links,
        now: Millis,
    ) -> bool {
        !self.is_full(of) || self.dispensable_link(of, links, now).is_some()
    }

    /// The unused links to close, and those to retire. A pool with clients keeps one shared link
    /// and one that was dedicated, so that the next blocking client does not wait for a new one. An
    /// anonymous link is closed in any case after a while: only a new one shows whether the server
    /// still admits the default user.
    pub(crate) fn idle_and_old(&self, links: &Links, now: Millis) -> (Vec<LinkKey>, Vec<LinkKey>) {
        let (mut idle, mut old) = (Vec::new(), Vec::new());
        for (key, pool) in self.pools.iter() {
            let spared = usize::from(pool.clients > 0);
            let account = self.account_at(key);
            let anonymous = account.is_some_and(Account::is_anonymous);
            for (i, &key) in pool.links.iter().enumerate() {
                let Some(link) = links.get(key).filter(|it| it.is_ready()) else {
                    continue;
                };
                let unused = link.fifo.is_empty() && now.since(link.since) >= IDLE_MS;
                if i >= spared && unused {
                    idle.push(key);
                } else if anonymous
                    && link.waits.is_empty()
                    && now.since(link.ready_at) >= ANONYMOUS_MS
                {
                    old.push(key);
                }
            }
            for (i, &key) in pool.idle.iter().enumerate() {
                let Some(link) = links.get(key) else {
                    continue;
                };
                let old = anonymous && now.since(link.ready_at) >= ANONYMOUS_MS;
                if old || i >= spared && now.since(link.since) >= IDLE_MS {
                    idle.push(key);
                }
            }
        }
        let verifiers = links.iter().filter(|(_, it)| {
            let unused = matches!(it.state, State::Verifying(Verifying::Idle { .. }));
            unused && now.since(it.since) >= IDLE_MS
        });
        idle.extend(verifiers.map(|(key, _)| key));
        (idle, old)
    }
}
