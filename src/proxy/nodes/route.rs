//! The link for a request of a client whose instance is a Redis Cluster.

use crate::command::ErrorReply;
use crate::command::keys::{self, Slots};
use crate::command::slot::Slot;
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::proxy::nodes::scatter::is_dispatched;
use crate::resp::Args;
use crate::session::client::{Client, Hold};
use crate::store::key::{ClientKey, InstanceKey, LinkKey, PoolKey};

/// A client that has sent nothing for this long forgets its links to nodes, ms.
const LANES_MS: u64 = 1_000;

impl Machine {
    /// Frees what clients remember of nodes when they send nothing.
    pub(in crate::proxy) fn drop_idle_lanes(&mut self) {
        if !self.upstreams.any_clustered() {
            return;
        }
        for key in self.clients.keys() {
            let client = self.clients.get_mut(key);
            let idle = |it: &&mut Client| self.now.since_tenths(it.active) >= LANES_MS;
            if let Some(client) = client.filter(idle) {
                client.drop_lanes();
            }
        }
    }

    /// Is the client's instance a Redis Cluster?
    #[inline]
    pub(in crate::proxy) fn is_clustered(&self, key: ClientKey) -> bool {
        self.upstreams.any_clustered()
            && self.clients.get(key).is_some_and(|client| {
                let pool = client.pool;
                self.upstreams.nodes_at(pool).is_some()
            })
    }

    /// Chooses the link for a request: to the node that serves the slot of its keys. A request
    /// without keys, and one whose keys are not known, goes to any node, which sends it to the
    /// right one.
    pub(in crate::proxy) fn route_to_node(
        &mut self,
        key: ClientKey,
        frame: &[u8],
    ) -> Result<LinkKey, Refusal> {
        if self.has_opened_multi(key) {
            // Only `dispatch` handles it.
            return Err(Refusal::Later);
        }
        let slot = match keys::slots(frame) {
            Slots::One(slot) => Some(slot),
            Slots::None if is_dispatched(frame) => return Err(Refusal::Later),
            Slots::None | Slots::Unknown => channel_slot(frame),
            // Only `dispatch` splits a request.
            Slots::Several => return Err(Refusal::Later),
        };
        let Some(node) = self.node_of(key, slot) else {
            return Err(Refusal::Later);
        };
        let link = self.link_to_node(key, node)?;
        if keys::has_several(frame)
            && let Some(client) = self.clients.get_mut(key)
        {
            // While the slot migrates, its node may refuse this request, and not those behind it.
            client.hold.set(Hold::BARRIER);
        }
        Ok(link)
    }

    /// Gives a client a dedicated link on which this command can be executed.
    pub(in crate::proxy) fn pin_for(
        &mut self,
        key: ClientKey,
        frame: &[u8],
    ) -> Result<(), Refusal> {
        let pool = match self.is_clustered(key) {
            true => {
                let pool = self.pool_for(key, frame)?;
                if let Some(error) = self.upstreams.down_error(pool, self.now) {
                    return Err(Refusal::Error(error));
                }
                pool
            }
            false => self
                .clients
                .get(key)
                .map(|client| client.pool)
                .unwrap_or_default(),
        };
        self.pin(key, pool)?;
        let clustered = self.is_clustered(key);
        if let Some(client) = self.clients.get_mut(key).filter(|_| clustered) {
            client.note_many_nodes();
        }
        if let Some(pin) = self.clients.pin_mut(key) {
            pin.slot = keys::slot_of(frame);
        }
        Ok(())
    }

    /// The pool of the node that executes a command.
    fn pool_for(&mut self, key: ClientKey, frame: &[u8]) -> Result<PoolKey, Refusal> {
        if keys::slots(frame) == Slots::Several {
            return Err(Refusal::Error(ErrorReply::CROSS_SLOT));
        }
        let slot = keys::slot_of(frame);
        let Some((node, client)) = self.node_of(key, slot).zip(self.clients.get(key)) else {
            return Err(Refusal::Later);
        };
        Ok(self.upstreams.pool_on(node, client.pool))
    }

    /// The node that is known to serve a slot.
    pub(super) fn server_of(&self, key: ClientKey, slot: Slot) -> Option<InstanceKey> {
        let pool = self.clients.get(key)?.pool;
        self.upstreams.nodes_at(pool)?.of_slot(slot)
    }

    /// The node for a slot: any, if none is known to serve it.
    pub(super) fn node_of(&self, key: ClientKey, slot: Option<Slot>) -> Option<InstanceKey> {
        let pool = self.clients.get(key)?.pool;
        let nodes = self.upstreams.nodes_at(pool);
        let serves = slot.and_then(|slot| nodes?.of_slot(slot));
        serves.or_else(|| self.upstreams.instance_of(pool))
    }

    /// Were the client's links chosen for the present slots? If not, it chooses new ones when
    /// nothing of it is in flight.
    pub(super) fn renew_lanes(&mut self, key: ClientKey) -> Result<(), Refusal> {
        let Some(client) = self.clients.get(key) else {
            return Err(Refusal::Later);
        };
        let version = self.upstreams.nodes_at(client.pool).map(|it| it.version());
        let version = version.unwrap_or_default();
        if client.has_lanes_for(version) {
            return Ok(());
        }
        // A request in flight may be for a slot that has moved.
        if !self.at_barrier(key) {
            return Err(Refusal::Later);
        }
        self.admit_or_ask(key)?;
        if let Some(client) = self.clients.get_mut(key) {
            client.renew_lanes(version);
        }
        Ok(())
    }

    /// Chooses the client's link to a node.
    pub(super) fn link_to_node(
        &mut self,
        key: ClientKey,
        node: InstanceKey,
    ) -> Result<LinkKey, Refusal> {
        let Some(client) = self.clients.get(key) else {
            return Err(Refusal::Later);
        };
        let sticky = client.in_flight > 0;
        self.renew_lanes(key)?;
        let lane = self.clients.get(key).and_then(|client| client.lane(node));
        if let Some(link) = lane
            && let Some(connection) = self.links.get(link)
        {
            if sticky {
                if !connection.is_open() {
                    self.at_barrier(key);
                    return Err(Refusal::Later);
                }
                return self.with_room(key, link);
            }
            if connection.is_fit(self.now) {
                return self.with_room(key, link);
            }
        }
        self.admit_or_ask(key)?;
        let link = self.choose_lane(key, node)?;
        self.with_room(key, link)
    }

    /// A client whose instance is no Redis Cluster (any more) uses no links to nodes when it has
    /// all replies.
    pub(in crate::proxy) fn leave_lanes(&mut self, key: ClientKey) -> Result<(), Refusal> {
        if !self.at_barrier(key) {
            return Err(Refusal::Later);
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.drop_lanes();
        }
        Ok(())
    }

    pub(super) fn admit_or_ask(&mut self, key: ClientKey) -> Result<(), Refusal> {
        match self.admit(key) {
            // A request may be queued before the auth result.
            Ok(()) | Err(Refusal::Unknown) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Chooses a link to a node, and makes it the client's.
    pub(super) fn choose_lane(
        &mut self,
        key: ClientKey,
        node: InstanceKey,
    ) -> Result<LinkKey, Refusal> {
        let pool = self.clients.get(key).map(|client| client.pool);
        let pool = self.upstreams.pool_on(node, pool.unwrap_or_default());
        let link = self.choose(pool)?;
        if let Some(client) = self.clients.get_mut(key) {
            client.set_lane(node, link);
        }
        Ok(link)
    }
}

/// Any node executes PUBLISH. The messages of a channel go to one, so that they stay in order.
fn channel_slot(frame: &[u8]) -> Option<Slot> {
    let mut args = Args::new(frame);
    let publishes = args.next()?.eq_ignore_ascii_case(b"publish");
    args.next().filter(|_| publishes).map(Slot::of)
}
