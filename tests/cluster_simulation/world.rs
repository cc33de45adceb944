//! The world of one seed: machines, clients, clusters, the network between them and the clock.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use elika::cluster::{ClusterInstance, ClusterKey, Endpoint, Snapshot, TenantKey};
use elika::proxy::{ClientKey, LinkKey, Machine, Origin, Settings};

use super::client::{Behaviour, Client};
use super::cluster::Cluster;
use super::link::Link;
use super::pipe::Pipe;
use super::plan::Plan;
use super::rng::Rng;
use super::summary::Summary;

/// One worker: its machine, and the connections that the reactor would own.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) machine: Machine,
    pub(crate) clients: BTreeMap<ClientKey, usize>,
    pub(crate) links: BTreeMap<LinkKey, Link>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    /// The time, ms.
    pub(crate) now: u64,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) tenants: Vec<TenantKey>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) clients: Vec<Client>,
    /// When connections to each cluster ended or were refused, ms, and to which node.
    pub(crate) losses: Vec<Vec<(u64, usize)>>,
    /// When each worker was first told the slots of each cluster.
    pub(crate) known: Vec<Vec<Option<u64>>>,
    /// Nothing fails any more.
    pub(crate) calm: bool,
    pub(crate) summary: Summary,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let clusters: Vec<Cluster> = { plan.clusters.iter().enumerate() }
            .map(|(index, plan)| Cluster::new(index, plan.clone(), &mut rng))
            .collect();
        let keys: Vec<ClusterKey> = (0..clusters.len()).map(cluster_key).collect();
        let tenants: Vec<TenantKey> = keys.iter().map(ClusterKey::tenant).collect();
        let instances = clusters.iter().zip(&keys).map(|(cluster, key)| {
            let first = cluster.address(0);
            let endpoint = Endpoint::new(first.ip().to_string(), first.port());
            let instance = ClusterInstance::new(key.clone(), "one", endpoint);
            let seeds = (0..cluster.plan.seeds).map(|node| cluster.address(node));
            (instance, seeds.collect::<Vec<SocketAddr>>())
        });
        let snapshot = Arc::new(Snapshot::new(1, None, instances));
        let workers = (0..plan.workers).map(|worker| {
            let settings = Settings {
                worker,
                ..plan.settings.clone()
            };
            Worker {
                machine: Machine::new(settings, Arc::clone(&snapshot)),
                clients: BTreeMap::new(),
                links: BTreeMap::new(),
            }
        });
        let mut world = Self {
            workers: workers.collect(),
            known: vec![vec![None; clusters.len()]; plan.workers.into()],
            losses: vec![Vec::new(); clusters.len()],
            rng,
            now: 1_000,
            clusters,
            tenants,
            clients: Vec::new(),
            calm: false,
            summary: Summary::default(),
            trace,
            plan,
        };
        let plan = format!("{:#?}", world.plan);
        world.note(|| plan);
        for _ in 0..world.plan.clients {
            world.open_client();
        }
        world
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>6} ms  {}", self.now, what());
        }
    }

    pub(crate) fn open_client(&mut self) {
        let id = self.clients.len() as u64 + 1;
        let rng = &mut self.rng;
        let worker = rng.below(self.workers.len());
        let cluster = rng.below(self.clusters.len());
        let origin = Origin {
            id,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000 + id as u16)),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 6378)),
        };
        let key = self.workers[worker].machine.client_opened(origin);
        self.workers[worker].clients.insert(key, self.clients.len());
        let behaviour = *rng.pick(&[
            Behaviour::Plain,
            Behaviour::Plain,
            Behaviour::Plain,
            Behaviour::Transactions,
            Behaviour::Blocking,
            Behaviour::Subscriber,
        ]);
        let left = rng.between(1, self.plan.requests);
        let plain = behaviour == Behaviour::Plain;
        let three = self.clusters[cluster].plan.hello && rng.one_in(2);
        let client = Client {
            id,
            cluster,
            worker,
            key,
            behaviour,
            protocol: if three { 3 } else { 2 },
            to_proxy: Pipe::new(rng.between(0, self.plan.delay_ms)),
            from_proxy: Pipe::new(rng.between(0, self.plan.delay_ms)),
            room: *rng.pick(&[50, 1_000, 65_536, 65_536]),
            read: Vec::new(),
            pending: std::collections::VecDeque::new(),
            sent: 0,
            left,
            pipeline: *rng.pick(&[1, 1, 3, 10, 50]),
            writes_first: plain && rng.one_in(8),
            asks_at: 0,
            asleep_until: 0,
            vanishes_at: rng.one_in(6).then(|| rng.between(1, left)),
            paused: false,
            wants_write: false,
            hung_up: false,
            done: false,
            never: Vec::new(),
            heard: Vec::new(),
            logged_in: false,
            bound: false,
            messages: Vec::new(),
            unclean_at: 0,
        };
        self.note(|| format!("client {id}: {behaviour:?}, cluster {cluster}, worker {worker}"));
        self.clients.push(client);
    }

    /// The name with which clients of a cluster log in.
    pub(crate) fn user(&self, cluster: usize) -> String {
        format!("{}.ann", self.tenants[cluster])
    }

    /// Time passes until something can happen.
    pub(crate) fn pass(&mut self) {
        let clients = self.clients.iter().filter(|it| !it.done);
        let clients = clients.flat_map(|client| {
            let read = client
                .from_proxy
                .due()
                .map(|due| due.max(client.asleep_until));
            let sent = client.to_proxy.due().filter(|_| !client.paused);
            [read, sent]
        });
        let workers = self.workers.iter().flat_map(|worker| {
            let deadline = worker.machine.next_deadline().map(|at| at.0);
            { worker.links.values() }.map(Link::due).chain([deadline])
        });
        let clusters = self.clusters.iter().map(Cluster::due);
        let due = clients.chain(workers).chain(clusters).flatten().min();
        let busy = due.is_some_and(|due| due <= self.now);
        self.now = match busy {
            true => self.now + *self.rng.pick(&[0, 0, 1, 2]),
            // Clients may send at any time.
            false => due.map_or(self.now + 40, |due| due.min(self.now + 40)),
        };
        for cluster in &mut self.clusters {
            cluster.pass(self.now);
        }
        for worker in &mut self.workers {
            worker.machine.clock(self.now * 1_000);
        }
    }
}

fn cluster_key(index: usize) -> ClusterKey {
    let mut key = ClusterKey::local();
    key.name.name = format!("cluster-{index}");
    key
}
