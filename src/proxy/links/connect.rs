//! Opening a link: connect, handshake, and the start of its use.

use crate::link::failure::Failure;
use crate::link::handshake::{HandshakeDone, HelloReply};
use crate::link::link::{Link, State, late_after};
use crate::link::role::Role;
use crate::proxy::action::{Action, HealthChange};
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey};

impl Machine {
    /// Opens a link that the pool's clients share.
    pub(in crate::proxy) fn open_shared(&mut self, pool: PoolKey) -> Option<LinkKey> {
        self.open(pool, Role::Shared)
    }

    /// Opens a link of the pool, with its account's credential. `None`: the instance has as many
    /// links as it may have, and all are in use.
    pub(in crate::proxy) fn open(&mut self, pool: PoolKey, role: Role) -> Option<LinkKey> {
        let of = self.upstreams.instance_of(pool)?;
        // Closes unused links until there is room.
        while self.upstreams.is_full(of) {
            let Some(key) = (self.upstreams).dispensable_link(of, &self.links, self.now) else {
                self.stats.counters.connections_refused += 1;
                return None;
            };
            self.close_unused(key);
        }
        self.connect(of, pool, role)
    }

    /// Starts a link to an instance: one of a pool, or, with `NONE`, a verifier.
    pub(in crate::proxy) fn connect(
        &mut self,
        of: InstanceKey,
        pool: PoolKey,
        role: Role,
    ) -> Option<LinkKey> {
        let address = self.upstreams.begin_link(of, role)?;
        let mut link = Link::new(of, pool, role, self.now);
        link.address = address;
        link.clustered = self.upstreams.is_clustered(of);
        link.is_single = self.upstreams.is_single(of);
        let key = self.links.open(link);
        self.upstreams.enlist(pool, key, role);
        if let Some(address) = address {
            self.actions.push_back(Action::Connect(key, address));
        }
        self.stats.counters.backends_opened += 1;
        Some(key)
    }

    /// Tries another address of the same instance after a connect failed. Returns whether there is
    /// one.
    pub(in crate::proxy) fn try_next_address(&mut self, key: LinkKey, failure: &Failure) -> bool {
        let Some(link) = self.links.get_mut(key) else {
            return false;
        };
        // `Starved` as well: this machine may lack IPv6, for example.
        let elsewhere = !failure.is_own();
        if !elsewhere || !matches!(link.state, State::Connecting) || link.address.is_none() {
            return false;
        }
        let next = self.upstreams.next_address(link.instance, link.tried + 1);
        let Some(next) = next else { return false };
        (link.tried, link.address, link.since) = (link.tried + 1, Some(next), self.now);
        self.stats.counters.addresses_skipped += 1;
        self.actions.push_back(Action::Connect(key, next));
        true
    }

    /// A link is connected: it starts its handshake, or verifies logins.
    pub fn link_connected(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(key) else {
            return;
        };
        self.upstreams.prefer(link.instance, link.address, true);
        if link.is_verifier() {
            self.verifier_connected(key);
            return self.finish_call();
        }
        if let Some(handshake) = self.upstreams.handshake(link, self.now) {
            self.links.begin_handshake(key, handshake, self.now);
        }
    }

    /// The handshake succeeded: the link is ready.
    pub(in crate::proxy) fn handshake_done(&mut self, key: LinkKey, done: HandshakeDone) {
        self.opened(key);
        let Some(link) = self.links.get_mut(key) else {
            return;
        };
        link.state = State::Ready;
        let took = self.now.since(link.since);
        link.late_ms = late_after(self.upstreams.handshake_took(link.instance, took));
        (link.since, link.ready_at, link.id) = (self.now, self.now, done.id);
        link.without_hello = matches!(done.hello, HelloReply::Unknown(_));
        let (pool, instance, owner) = (link.pool, link.instance, link.owner());
        self.links.mark_dirty(key);
        if self
            .clients
            .get(owner)
            .is_some_and(|it| it.phase().decodes())
        {
            // Unless the owner waits for something, it may not need the link any more.
            self.work.push(Work::ReplyArrived(owner));
        }
        let mut done = done;
        if done.hello.hide_cluster() {
            self.note_clustered(instance);
        }
        let waiters = (self.upstreams).link_ready((instance, pool), done, self.now);
        self.leave_if_moved(key);
        if self.upstreams.came_up(instance) {
            self.log_health(instance, HealthChange::Up);
        }
        self.work.advance(waiters);
        self.work.push(Work::ServeWaits);
    }

    /// Retires a link whose instance moved while it was connecting. A dedicated link stays until
    /// the end of the grace period.
    fn leave_if_moved(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get(key)
            && !self.upstreams.is_at(link.instance, link.address)
        {
            match link.owner() == ClientKey::NONE {
                true => self.retire(key),
                false if self.upstreams.has_moved(link.instance) => {}
                false => self.retire_dedicated(key),
            }
        }
    }

    /// Counts that a link is no longer connecting; the caller changes its state next.
    pub(in crate::proxy) fn opened(&mut self, key: LinkKey) {
        if let Some(link) = self.links.get(key).filter(|it| it.is_opening()) {
            self.upstreams.link_opened(link.instance);
            self.links.opened();
        }
    }
}
