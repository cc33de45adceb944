//! Takes a dedicated link from the pool, and gives it back.
//!
//! A tenant has a limit on dedicated links, and an instance one on all links. A client that finds
//! no free link waits in the pool's wait queue.

use crate::dedicated::pin::Pin;
use crate::link::failure::Failure;
use crate::link::link::Link;
use crate::link::role::Role;
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::proxy::texts::TOO_MANY_CONNECTIONS;
use crate::proxy::work::Work;
use crate::session::phase::Phase;
use crate::store::key::{ClientKey, LinkKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::tenant::Use;
use crate::upstream::wait_queues::QueuedClient;

impl Machine {
    /// Gives a client a dedicated link of this pool, or a place in the wait queue. Nothing of the
    /// client may be in flight.
    pub(in crate::proxy) fn pin(
        &mut self,
        key: ClientKey,
        pool_key: PoolKey,
    ) -> Result<(), Refusal> {
        let Some(client) = self.clients.get_mut(key) else {
            return Err(Refusal::Later);
        };
        if let Some(error) = client.take_refusal() {
            client.forget_queued();
            return Err(Refusal::Error(*error));
        }
        // Before the wait queue: it would send the client back, and again here.
        let refused = self.upstreams.is_refused(pool_key, self.now);
        if refused && self.upstreams.idle_links(pool_key).is_empty() {
            return Err(Refusal::LoggedOut);
        }
        let slot = self.upstreams.tenant_of_pool(pool_key);
        if self.upstreams.comes_behind(pool_key, self.now) {
            // Free links go to the clients that wait already.
            self.work.push(Work::ServeQueues(slot));
        } else if !self.upstreams.fails_fast(pool_key, self.now)
            && self.upstreams.take_dedicated(slot, &self.links)
            && let Some(link) = self.free_connection(pool_key, slot)?
        {
            self.make_dedicated(link, key);
            return Ok(());
        }
        let known = self.upstreams.has_pool(pool_key);
        let Some(client) = self.clients.get_mut(key).filter(|_| known) else {
            return Err(Refusal::NotLoggedIn);
        };
        // A link that was given to the client may have failed: the wait then continues.
        if client.queued_since() == Millis::default() {
            client.details_mut().queued_since = self.now;
        }
        client.details_mut().queued_in = pool_key;
        let queued = QueuedClient {
            client: key,
            since: client.queued_since(),
        };
        self.upstreams.enqueue(pool_key, queued);
        self.enter(key, Phase::Queued);
        self.stats.counters.pins_delayed += 1;
        Err(Refusal::Later)
    }

    /// Gives a client a link with nothing in flight, of any of the user's pools, or a new one.
    pub(super) fn pin_for_one_request(&mut self, key: ClientKey) -> Result<(), Refusal> {
        let Some(client) = self.clients.get(key) else {
            return Err(Refusal::Later);
        };
        let protocol = client.protocol;
        let access = self.upstreams.access_key(client.pool);
        // The reply to FUNCTION STATS differs between the protocols.
        let mut all = self.upstreams.links_of(access, protocol);
        let is_free = |key| !self.links.get(key).is_some_and(Link::is_reserved);
        let free = all.find(|&key| self.upstreams.is_clean(key, &self.links) && is_free(key));
        drop(all);
        if let Some(on) = free {
            self.borrow_link(on, key);
            return Ok(());
        }
        // A new link uses database 0: while a script runs, servers do not execute SELECT.
        let pool = self.upstreams.pool(access, 0, protocol);
        if self.upstreams.is_refused(pool, self.now) {
            return Err(Refusal::LoggedOut);
        }
        let on = self.open(pool, Role::Dedicated(key));
        let on = on.ok_or(Refusal::Error(TOO_MANY_CONNECTIONS))?;
        self.borrow_link(on, key);
        Ok(())
    }

    /// Borrows a link for one request, whatever its role is.
    fn borrow_link(&mut self, link: LinkKey, key: ClientKey) {
        self.count_dedicated(link);
        self.make_dedicated(link, key);
        if let Some(pin) = self.clients.pin_mut(key) {
            pin.borrowed = true;
        }
    }

    /// Subtracts a dedicated link of a tenant, and serves the tenant's waiting clients.
    pub(in crate::proxy) fn release_dedicated(&mut self, slot: TenantSlot) {
        self.upstreams.release(slot, Use::Pinned);
        self.work.push(Work::ServeQueues(slot));
    }

    /// An idle link, or a new one, for which the caller has taken a place. `None`: the instance is
    /// full. The place is released if there is no link.
    pub(super) fn free_connection(
        &mut self,
        pool_key: PoolKey,
        slot: TenantSlot,
    ) -> Result<Option<LinkKey>, Refusal> {
        let found = self.find_free(pool_key);
        if !matches!(found, Ok(Some(_))) {
            self.upstreams.release(slot, Use::Pinned);
        }
        found
    }

    /// Counts a link as dedicated whatever the tenant's limit is.
    fn count_dedicated(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get(key) {
            let slot = self.upstreams.tenant_of_pool(link.pool);
            self.upstreams.take(slot, Use::Pinned, None);
        }
    }

    fn find_free(&mut self, pool_key: PoolKey) -> Result<Option<LinkKey>, Refusal> {
        while let Some(&key) = self.upstreams.idle_links(pool_key).last() {
            if self.upstreams.is_clean(key, &self.links) {
                return Ok(Some(key));
            }
            self.fail(key, &Failure::Removed);
        }
        if self.upstreams.is_refused(pool_key, self.now) {
            return Err(Refusal::LoggedOut);
        }
        let unowned = Role::Dedicated(ClientKey::NONE);
        Ok(self.open(pool_key, unowned))
    }

    /// Takes this link out of the idle ones, for clients that wait for replicas.
    pub(super) fn take_idle(&mut self, key: LinkKey) -> bool {
        let idle = { self.links.get(key) }.is_some_and(|it| it.role() == Role::Idle);
        if idle {
            self.assign(key, Role::Dedicated(ClientKey::NONE));
        }
        idle
    }

    /// Makes a link the client's dedicated link. The caller has counted the link for the tenant.
    pub(super) fn make_dedicated(&mut self, link_key: LinkKey, key: ClientKey) {
        let Some(link) = self.links.get(link_key) else {
            return;
        };
        let (pool, dedicated) = (link.pool, link.is_dedicated());
        self.assign(
            link_key,
            match dedicated {
                true => Role::Dedicated(key),
                false => Role::Borrowed(key),
            },
        );
        let tenant = self.upstreams.tenant_of_pool(pool);
        if let Some(client) = self.clients.get_mut(key) {
            let shared = client.link;
            client.set_link(link_key);
            client.set_pin(Some(Box::new(Pin {
                tenant,
                shared,
                ..Pin::default()
            })));
            self.stats.counters.pins += 1;
        }
    }

    /// Gives back a client's dedicated link if it holds nothing and nothing is in flight.
    pub(in crate::proxy) fn unpin_if_done(&mut self, key: ClientKey) {
        if self.is_in_a_message(key) {
            return;
        }
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let done = |pin: &Pin| pin.unsettled == 0 && !pin.holds();
        if client.fifo.is_empty() && client.pin().is_some_and(done) {
            self.unpin(key);
        }
    }

    /// Makes the client share a link again. Nothing of it is in flight.
    pub(in crate::proxy) fn unpin(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let Some(pin) = client.set_pin(None) else {
            return;
        };
        let (link_key, to) = (client.link, client.pool);
        // The client returns to its earlier shared link, if that is still in its pool.
        let shared = self.links.get(pin.shared);
        client.set_link(match shared.is_some_and(|it| it.pool == to) {
            true => pin.shared,
            false => LinkKey::NONE,
        });
        self.release_dedicated(pin.tenant);
        if self.upstreams.draining(to, self.now).is_some() {
            self.hold_for_move(key);
        }
        let Some(link) = self.links.get(link_key) else {
            return;
        };
        let dedicated = link.is_dedicated();
        self.assign(link_key, link.role().without_owner());
        if dedicated {
            return self.give_back(link_key, pin.not_reusable);
        }
        if pin.not_reusable {
            return self.retire(link_key);
        }
        self.take_back(link_key);
    }

    /// Makes a borrowed link shared again.
    pub(super) fn take_back(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        let pool = link.pool;
        if link.role() != Role::Borrowed(ClientKey::NONE) {
            return;
        }
        if !self.upstreams.is_clean(key, &self.links) {
            return self.retire(key);
        }
        self.assign(key, Role::Shared);
        // Clients that wait for a link that connects in its place can continue on this one.
        self.work.advance(self.upstreams.take_waiters(pool));
    }

    /// Handles a link that its client no longer needs.
    pub(super) fn give_back(&mut self, key: LinkKey, not_reusable: bool) {
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.since = self.now;
        let (pool_key, awaited) = (link.pool, !link.waits.is_empty());
        // Clients that wait for replicas on this link come first, but not twice in a row.
        let asks = awaited && link.asked_wait != self.now;
        if !not_reusable
            && self.upstreams.is_clean(key, &self.links)
            && (self.upstreams.idle_links(pool_key).len() < self.settings.pool_idle_max
                || self.upstreams.has_queue(pool_key)
                || awaited)
        {
            self.assign(key, Role::Idle);
            if asks {
                self.work.push(Work::ServeWaits);
            }
            let tenant = self.upstreams.tenant_of_pool(pool_key);
            self.work.push(Work::ServeQueues(tenant));
        } else {
            self.fail(key, &Failure::Removed);
        }
    }
}
