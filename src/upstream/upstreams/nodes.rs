//! Instances that are a Redis Cluster: their nodes, which are instances of the same tenant, and
//! which node serves which slot.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::cluster::{self, Front, Health, InstanceId, Mode, Status};
use crate::command::slot::Slot;
use crate::link::links::Links;
use crate::store::key::{InstanceKey, LinkKey, PoolKey};
use crate::store::time::Millis;
use crate::upstream::instance::Instance;
use crate::upstream::nodes::{Node, Nodes};
use crate::upstream::topology::{ClusterInfo, Topology};
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// Is any instance a Redis Cluster?
    #[inline]
    pub(crate) fn any_clustered(&self) -> bool {
        self.topologies > 0
    }

    /// The nodes of a pool's instance, if it is a Redis Cluster.
    #[inline]
    pub(crate) fn nodes_at(&self, pool: PoolKey) -> Option<&Nodes> {
        self.instance_at(pool)?.nodes.as_deref()
    }

    /// The Redis Cluster that an instance is, or is a node of.
    fn cluster_around(&self, key: InstanceKey) -> InstanceKey {
        let instance = self.instances.get(key);
        let whole = instance.map_or(InstanceKey::NONE, |it| it.node_of);
        match whole {
            InstanceKey::NONE => key,
            whole => whole,
        }
    }

    /// The nodes of the Redis Cluster that an instance is, or is a node of.
    pub(crate) fn nodes_around(&self, key: InstanceKey) -> Option<&Nodes> {
        let whole = self.cluster_around(key);
        self.instances.get(whole)?.nodes.as_deref()
    }

    fn nodes_around_mut(&mut self, key: InstanceKey) -> Option<&mut Nodes> {
        let whole = self.cluster_around(key);
        self.instances.get_mut(whole)?.nodes.as_deref_mut()
    }

    /// Are two pools of the same account and instance, or of nodes of the same Redis Cluster?
    pub(crate) fn same_login(&self, one: PoolKey, other: PoolKey) -> bool {
        let login = |pool: PoolKey| {
            let access = self.access_at(pool)?;
            Some((access.account, self.cluster_around(access.instance)))
        };
        login(one).is_some_and(|it| login(other) == Some(it))
    }

    /// Is an instance a Redis Cluster, or a node of one?
    pub(crate) fn is_clustered(&self, key: InstanceKey) -> bool {
        self.nodes_around(key).is_some()
    }

    /// Does a label say that an instance is no Redis Cluster, whatever its server says?
    pub(crate) fn is_single(&self, key: InstanceKey) -> bool {
        let instance = self.instances.get(self.cluster_around(key));
        instance.is_some_and(|it| it.redis_cluster.mode == Some(Mode::Single))
    }

    /// Has a label said what the clients of any instance see?
    #[inline]
    pub(crate) fn any_front(&self) -> bool {
        self.any_front
    }

    /// What the label of a pool's instance says of what clients see.
    pub(crate) fn front_at(&self, pool: PoolKey) -> Option<Front> {
        self.instance_at(pool)?.redis_cluster.front
    }

    /// Follows the label that says whether an instance is a Redis Cluster. Returns the nodes of
    /// an instance that is none any more.
    pub(super) fn follow_mode(&mut self, key: InstanceKey, now: Millis) -> HashSet<InstanceKey> {
        let mode = { self.instances.get(key) }.and_then(|it| it.redis_cluster.mode);
        match mode {
            Some(Mode::Cluster) => self.note_clustered(key),
            Some(Mode::Single) => {
                let nodes = self.lose_cluster(key, now);
                if let Some(instance) = self.instances.get_mut(key) {
                    (instance.nodes, instance.nodes_at) = (None, Vec::new());
                }
                return nodes;
            }
            None => {}
        }
        HashSet::new()
    }

    /// The server says that an instance is a Redis Cluster.
    pub(crate) fn note_clustered(&mut self, key: InstanceKey) {
        if self.is_clustered(key) || self.is_single(key) {
            return;
        }
        self.topologies += 1;
        let version = self.topologies;
        if let Some(instance) = self.instances.get_mut(key) {
            instance.nodes = Some(Box::new(Nodes::new(version)));
        }
    }

    /// The pool of the same account, database and protocol on another instance.
    pub(crate) fn pool_on(&mut self, instance: InstanceKey, like: PoolKey) -> PoolKey {
        let Some(pool) = self.pools.get(like) else {
            return PoolKey::NONE;
        };
        let (access, db, protocol) = (pool.access, pool.db, pool.protocol);
        let Some(access) = self.access.get(access) else {
            return PoolKey::NONE;
        };
        if access.instance == instance {
            return like;
        }
        let account = access.account;
        let access = self.access_to(instance, account);
        self.pool(access, db, protocol)
    }

    /// The node at this address, if it is known.
    pub(crate) fn known_node(&self, of: InstanceKey, address: SocketAddr) -> Option<InstanceKey> {
        let mut all = self.nodes_around(of)?.all();
        let node = all.find(|node| node.address == address)?;
        Some(node.instance)
    }

    /// The node at this address, which is added if it is not known.
    pub(crate) fn node_at(&mut self, of: InstanceKey, address: SocketAddr) -> Option<InstanceKey> {
        if let Some(known) = self.known_node(of, address) {
            return Some(known);
        }
        let whole = self.cluster_around(of);
        self.nodes_around(whole)?;
        let instance = self.new_node(whole, address)?;
        let added = self
            .nodes_around_mut(whole)?
            .add(Node { address, instance });
        added.map(|_| instance)
    }

    fn new_node(&mut self, whole: InstanceKey, address: SocketAddr) -> Option<InstanceKey> {
        let of = self.instances.get(whole)?;
        let (tenant, slot) = (of.tenant.clone(), of.slot);
        let id = InstanceId::from(format!("{}/{address}", of.id).as_str());
        let described = cluster::Instance {
            id: id.clone(),
            address_text: address.to_string(),
            addresses: vec![address],
            status: Status::Ready,
            health: Health::Unknown,
            redis_cluster: of.redis_cluster,
            fenced: false,
        };
        let by_id = (tenant.clone(), id);
        if let Some(&known) = self.by_id.get(&by_id)
            && let Some(instance) = self.instances.get_mut(known)
        {
            // It left the cluster, and is back.
            (instance.gone, instance.draining_since) = (false, None);
            return Some(known);
        }
        let mut instance = Instance::new(tenant, slot, &described);
        instance.node_of = whole;
        let key = self.instances.insert(instance);
        self.by_id.insert(by_id, key);
        Some(key)
    }

    /// A node says that another one serves a slot. Returns that one.
    pub(crate) fn slot_moved(
        &mut self,
        of: InstanceKey,
        slot: Slot,
        address: SocketAddr,
    ) -> Option<InstanceKey> {
        let to = self.node_at(of, address)?;
        let version = self.topologies + 1;
        let nodes = self.nodes_around_mut(of)?;
        let changed = nodes
            .at(address)
            .is_some_and(|at| nodes.set(slot, at, version));
        self.topologies += u32::from(changed);
        Some(to)
    }

    /// How often a node of a cluster said who serves which slot.
    pub(crate) fn slots_learned(&self, of: InstanceKey) -> u32 {
        self.nodes_around(of).map_or(0, Nodes::learned)
    }

    /// The slots of a cluster are not as this worker knows them.
    pub(crate) fn doubt_slots(&mut self, of: InstanceKey) {
        if let Some(nodes) = self.nodes_around_mut(of) {
            nodes.doubt();
        }
    }

    /// A node's reply to the question about the slots. Returns the instances that are nodes no
    /// longer.
    pub(crate) fn slots_answered(
        &mut self,
        on: LinkKey,
        (of, address): (InstanceKey, Option<SocketAddr>),
        (info, slots): (&[u8], &[u8]),
        now: Millis,
    ) -> HashSet<InstanceKey> {
        let whole = self.cluster_around(of);
        let asked = self
            .nodes_around_mut(whole)
            .is_some_and(|it| it.end_question(on));
        let info = ClusterInfo::read(info).filter(|info| info.is_ok);
        let topology = address.and_then(|asked| Topology::read(slots, asked));
        // A node that has just joined knows no slots.
        let topology = topology.filter(|it| !it.primaries.is_empty());
        let (Some(_), Some(topology), true) = (info, topology, asked) else {
            if let Some(nodes) = self.nodes_around_mut(whole) {
                nodes.fail_question(on);
            }
            return HashSet::new();
        };
        self.follow_topology(whole, &topology, now)
    }

    /// A link has ended. If the slots were asked for on it, they are asked for again soon.
    pub(super) fn lose_question(&mut self, of: InstanceKey, on: LinkKey) {
        if let Some(nodes) = self.nodes_around_mut(of)
            && nodes.end_question(on)
        {
            nodes.doubt();
        }
    }

    fn follow_topology(
        &mut self,
        whole: InstanceKey,
        topology: &Topology,
        now: Millis,
    ) -> HashSet<InstanceKey> {
        let mut all = Vec::with_capacity(topology.primaries.len());
        for &address in &topology.primaries {
            let instance = self.node_at(whole, address).unwrap_or(InstanceKey::NONE);
            all.push(Node { address, instance });
        }
        let version = self.topologies + 1;
        let Some(nodes) = self.nodes_around_mut(whole) else {
            return HashSet::new();
        };
        let left = nodes.replace(all, topology.map.clone(), version);
        self.topologies += 1;
        self.lose_nodes(&left, now);
        if let Some(instance) = self.instances.get_mut(whole) {
            instance.nodes_at.clone_from(&topology.primaries);
        }
        left
    }

    /// These nodes serve nobody any more.
    fn lose_nodes(&mut self, lost: &HashSet<InstanceKey>, now: Millis) {
        for &key in lost {
            if let Some(instance) = self.instances.get_mut(key) {
                instance.gone = true;
                instance.draining_since = instance.draining_since.or(Some(now));
            }
        }
    }

    /// A cluster is removed from the registry. Returns its nodes, which are removed, too.
    pub(super) fn lose_cluster(&mut self, key: InstanceKey, now: Millis) -> HashSet<InstanceKey> {
        let nodes = self.instances.get(key).and_then(|it| it.nodes.as_deref());
        let all = nodes.map(|nodes| nodes.all().map(|node| node.instance).collect());
        let all: HashSet<InstanceKey> = all.unwrap_or_default();
        self.lose_nodes(&all, now);
        all
    }

    /// The clusters whose slots are to be asked for now, and the links on which; without a link, a
    /// pool in which one may be opened.
    pub(crate) fn topologies_due(
        &mut self,
        links: &Links,
        now: Millis,
    ) -> Vec<Result<LinkKey, Option<PoolKey>>> {
        let due = self.instances.iter().filter_map(|(key, instance)| {
            let nodes = instance.nodes.as_deref().filter(|_| !instance.gone)?;
            (now >= nodes.ask_at()).then_some(key)
        });
        let due: Vec<InstanceKey> = due.collect();
        let mut on = Vec::with_capacity(due.len());
        for key in due {
            let link = self.link_to_ask(key, links, now);
            if let Some(nodes) = self.nodes_around_mut(key) {
                nodes.ask(link, now);
            }
            let pool = || {
                self.pools
                    .iter()
                    .find(|(pool, it)| it.clients > 0 && self.instance_of(*pool) == Some(key))
            };
            on.push(link.ok_or_else(|| pool().map(|(pool, _)| pool)));
        }
        on
    }

    /// The link of a cluster with the least in flight. After an answer without slots, all other
    /// links come first.
    fn link_to_ask(&self, whole: InstanceKey, links: &Links, now: Millis) -> Option<LinkKey> {
        let failed = self.nodes_around(whole).and_then(Nodes::failed);
        let mut best: Option<((bool, bool, bool), LinkKey)> = None;
        for (key, link) in links.iter() {
            if !link.is_ready() || link.is_dedicated() || !link.is_open() || link.paused {
                continue;
            }
            if self.cluster_around(link.instance) != whole {
                continue;
            }
            let asked = failed.is_some_and(|failed| key <= failed);
            let load = (link.is_late(now), asked, !link.fifo.is_empty());
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, key));
            }
        }
        best.map(|(_, key)| key)
    }

    /// When the slots of any cluster are to be asked for next.
    pub(crate) fn next_topology(&self) -> Option<Millis> {
        if !self.any_clustered() {
            return None;
        }
        let all = self.instances.iter().filter(|(_, it)| !it.gone);
        all.filter_map(|(_, it)| Some(it.nodes.as_deref()?.ask_at()))
            .min()
    }
}
