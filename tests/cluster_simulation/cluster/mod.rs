//! The fake cluster: its nodes, its data, what is true of it, and the journal of all executions.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::plan::{ClusterPlan, Endpoints};
use super::rng::Rng;
use super::slot::{SLOTS, slot_of, tag_of};
use super::tag::Tag;

mod blocking;
mod data;
mod execute;
mod failover;
mod lies;
mod migration;
mod node;
mod pubsub;
mod reports;
mod route;
mod session;
mod transactions;
mod troubles;

use data::Data;
use failover::Event;
use migration::Migration;
use node::Node;
use session::Session;
use troubles::{Trouble, Troubles};

/// A slot whose keys clients use.
#[derive(Clone, Debug)]
pub(crate) struct Hot {
    pub(crate) number: u16,
    /// Its keys begin with this.
    pub(crate) tag: String,
}

/// Who serves what, as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) epoch: u64,
    /// The shard of each hot slot.
    pub(crate) home: Vec<usize>,
    /// The primary of each shard.
    pub(crate) primary: Vec<usize>,
}

impl View {
    pub(crate) fn owner(&self, slot: usize) -> usize {
        self.primary[self.home[slot]]
    }
}

/// An executed request, or a part of one.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    /// The place among all executions of the cluster.
    pub(crate) at: u64,
    /// The node's number of the connection.
    pub(crate) session: u64,
    pub(crate) shard: usize,
    pub(crate) slot: Option<usize>,
    /// Its keys without tags.
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) protocol: u8,
    pub(crate) write: bool,
    pub(crate) reply: Vec<u8>,
}

/// A request that a node did not execute.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The place among all executions of the cluster.
    pub(crate) at: u64,
    pub(crate) session: u64,
    pub(crate) text: String,
}

/// What happened, for the summary.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Happened {
    pub(crate) migrations: u64,
    pub(crate) atomic_migrations: u64,
    pub(crate) failovers: u64,
    pub(crate) restarts: u64,
    pub(crate) lies: u64,
    pub(crate) asked: u64,
    pub(crate) tried_again: u64,
    pub(crate) down_replies: u64,
    pub(crate) loading_replies: u64,
    pub(crate) moved_blocked: u64,
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) index: usize,
    pub(crate) plan: ClusterPlan,
    pub(crate) nodes: Vec<Node>,
    pub(crate) slots: Vec<Hot>,
    /// The slots that each shard had at first; `None`: none.
    ranges: Vec<Option<(u16, u16)>>,
    truth: View,
    /// The data of each shard. Replication is synchronous.
    data: Vec<Data>,
    migrations: Vec<Migration>,
    events: Vec<(u64, Event)>,
    pub(crate) troubles: Troubles,
    pub(crate) log: BTreeMap<Tag, Vec<Execution>>,
    pub(crate) refusals: BTreeMap<Tag, Vec<Refusal>>,
    executions: u64,
    /// The messages of each channel, in order.
    pub(crate) published: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
    pub(crate) happened: Happened,
    rng: Rng,
    pub(crate) now: u64,
    next_session: u64,
}

impl Cluster {
    pub(crate) fn new(index: usize, plan: ClusterPlan, rng: &mut Rng) -> Self {
        let mut rng = Rng::new(rng.next());
        let shards = plan.shards + plan.empty_shards;
        let width = SLOTS / plan.shards as u16;
        let ranges: Vec<Option<(u16, u16)>> = (0..shards)
            .map(|shard| {
                let first = shard as u16 * width;
                let last = if shard + 1 == plan.shards {
                    SLOTS - 1
                } else {
                    first + width - 1
                };
                (shard < plan.shards).then_some((first, last))
            })
            .collect();
        let mut numbers: Vec<u16> = Vec::new();
        while numbers.len() < plan.slots {
            // Some are the first or the last of their range.
            let shard = rng.below(plan.shards);
            let (first, last) = ranges[shard].unwrap();
            let any = first + rng.below(usize::from(last - first)) as u16;
            let number = *rng.pick(&[first, last, any, any, any]);
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        let within = |number: u16, range: &Option<(u16, u16)>| {
            range.is_some_and(|(first, last)| (first..=last).contains(&number))
        };
        let home = numbers.iter().map(|number| {
            let range = ranges.iter().position(|range| within(*number, range));
            range.unwrap()
        });
        let truth = View {
            epoch: 1,
            home: home.collect(),
            primary: (0..shards)
                .map(|shard| shard * (1 + plan.replicas))
                .collect(),
        };
        let slots: Vec<Hot> = numbers
            .into_iter()
            .map(|number| Hot {
                number,
                tag: tag_of(number),
            })
            .collect();
        let nodes = (0..shards * (1 + plan.replicas))
            .map(|id| Node::new(id, id / (1 + plan.replicas), truth.clone()))
            .collect();
        let mut cluster = Self {
            index,
            nodes,
            slots,
            ranges,
            data: vec![Data::default(); shards],
            truth,
            migrations: Vec::new(),
            events: Vec::new(),
            troubles: Troubles::default(),
            log: BTreeMap::new(),
            refusals: BTreeMap::new(),
            executions: 0,
            published: BTreeMap::new(),
            happened: Happened::default(),
            rng,
            now: 0,
            next_session: 1,
            plan,
        };
        cluster.plant_anchors();
        cluster
    }

    /// Keys that exist all the time, in each slot.
    fn plant_anchors(&mut self) {
        for slot in 0..self.slots.len() {
            let shard = self.truth.home[slot];
            for key in self.anchors(slot) {
                self.data[shard].set(key.as_bytes(), b"anchor".to_vec());
            }
        }
    }

    /// The keys of a slot that always exist.
    pub(crate) fn anchors(&self, slot: usize) -> [String; 2] {
        let tag = &self.slots[slot].tag;
        [format!("{tag}a0"), format!("{tag}a1")]
    }

    /// The hot slot of a key.
    pub(crate) fn slot_of(&self, key: &[u8]) -> Option<usize> {
        let number = slot_of(str::from_utf8(key).ok()?);
        self.slots.iter().position(|slot| slot.number == number)
    }

    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        let cluster = 1 + self.index as u8;
        match self.plan.endpoints {
            // Without names, ports tell the nodes apart.
            Endpoints::Unknown => {
                SocketAddr::from((Ipv4Addr::new(10, cluster, 0, 1), 7_000 + node as u16))
            }
            _ => SocketAddr::from((Ipv4Addr::new(10, cluster, 0, 1 + node as u8), 6_379)),
        }
    }

    pub(crate) fn host_name(&self, node: usize) -> String {
        format!("node-{node}.cluster-{}.example", self.index)
    }

    /// The node at an address.
    pub(crate) fn node_at(&self, address: SocketAddr) -> Option<usize> {
        (0..self.nodes.len()).find(|node| self.address(*node) == address)
    }

    /// The nodes of the shard that serves a slot.
    pub(crate) fn members(&self, slot: usize) -> impl Iterator<Item = usize> {
        let first = self.truth.home[slot] * (1 + self.plan.replicas);
        first..first + 1 + self.plan.replicas
    }

    /// A new connection to a node. `None`: the node is down.
    pub(crate) fn accept(&mut self, node: usize) -> Option<u64> {
        if self.nodes[node].is_down {
            return None;
        }
        let id = self.next_session;
        self.next_session += 1;
        self.nodes[node].sessions.insert(id, Session::new());
        Some(id)
    }

    /// A connection has ended.
    pub(crate) fn close(&mut self, node: usize, session: u64) {
        self.nodes[node].sessions.remove(&session);
    }

    /// Whether a node reads and executes nothing at the moment.
    pub(crate) fn is_silent(&self, node: usize) -> bool {
        self.nodes[node].silent_until > self.now
    }

    /// Everything that is due happens.
    pub(crate) fn pass(&mut self, now: u64) {
        self.now = now;
        self.happen();
        self.migrate();
        self.hear_news();
        self.expire_blocked();
    }

    /// When anything is due next.
    pub(crate) fn due(&self) -> Option<u64> {
        let events = self.events.iter().map(|(due, _)| *due);
        let migrations = self.migrations.iter().map(|it| it.due);
        let nodes = self.nodes.iter().filter_map(Node::due);
        let all = events.chain(migrations).chain(nodes);
        all.filter(|due| *due > self.now).min()
    }
}
