//! The world of one seed: machines, clients, servers, the network between them and the clock.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use elika::cluster::SnapshotBuilder;
use elika::proxy::{Answer, ClientKey, LinkKey, Machine, Origin, Question, Settings};

use super::buffer_limit::Before;
use super::client::Client;
use super::clusters::{PendingSnapshot, Tenant};
use super::link::Link;
use super::oracle::{Model, View};
use super::plan::Plan;
use super::redis::{Moment, Redis, Tag};
use super::reports::HealthReport;
use super::rng::Rng;
use super::script::{Asks, Script};
use super::snapshot::SnapshotRecord;
use super::tenant_names::Names;

/// One worker: its machine, and the connections that the reactor would own.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) clients: BTreeMap<ClientKey, usize>,
    pub(crate) links: BTreeMap<LinkKey, Link>,
    pub(crate) draining: bool,
    pub(crate) turns: u64,
    /// The limit of buffered bytes for clients, and the state before a call that brings more.
    pub(crate) kept: usize,
    pub(crate) before: Option<Before>,
}

impl Node {
    /// Clients closed so far at a buffer limit of their worker.
    pub(crate) fn evicted(&self) -> u64 {
        let counted = self.machine.counters();
        counted.evictions + counted.buffers_full
    }
}

/// A message between workers, and its time of arrival.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) due: u64,
    pub(crate) to: usize,
    pub(crate) from: usize,
    pub(crate) asker: ClientKey,
    pub(crate) text: Text,
}

#[derive(Debug)]
pub(crate) enum Text {
    Question(Question),
    Answer(Answer),
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    pub(crate) now: Moment,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) servers: Vec<Redis>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) builder: SnapshotBuilder,
    pub(crate) names: Names,
    /// All snapshots so far, the newest last.
    pub(crate) snapshots: Vec<SnapshotRecord>,
    pub(crate) mail: Vec<PendingSnapshot>,
    /// The reports of workers about instances.
    pub(crate) told: Vec<HealthReport>,
    pub(crate) letters: Vec<Message>,
    /// Every request with a tag: when it was sent, and what it was.
    pub(crate) asked: BTreeMap<Tag, (Moment, Asks)>,
    /// When every login with its own password was sent.
    pub(crate) logins: BTreeMap<String, Moment>,
    /// Requests so far that have no reply.
    pub(crate) silent: usize,
    /// Bytes of all requests.
    pub(crate) sent_bytes: u64,
    /// When the others were answered, ms.
    pub(crate) answered: Vec<u64>,
    /// Clients closed at a limit where there was a choice.
    pub(crate) choices: u64,
    /// Clients that were listed to others.
    pub(crate) shown: u64,
    /// Nothing fails any more, and no client sends by itself.
    pub(crate) calm: bool,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let homes = plan.homes.iter().enumerate();
        let tenants: Vec<Tenant> = homes
            .map(|(index, home)| Tenant::new(index, *home))
            .collect();
        let default = tenants.first().filter(|_| plan.default_tenant);
        let builder = SnapshotBuilder::new(default.map(|tenant| tenant.key.clone()));
        let mut world = Self {
            rng,
            now: Moment::default(),
            nodes: Vec::new(),
            clients: Vec::new(),
            servers: Vec::new(),
            tenants,
            builder,
            names: Names::default(),
            snapshots: Vec::new(),
            mail: Vec::new(),
            told: Vec::new(),
            letters: Vec::new(),
            asked: BTreeMap::new(),
            logins: BTreeMap::new(),
            silent: 0,
            sent_bytes: 0,
            answered: Vec::new(),
            choices: 0,
            shown: 0,
            calm: false,
            trace,
            plan,
        };
        for tenant in 0..world.tenants.len() {
            for _ in 0..world.plan.homes[tenant].instances {
                world.add_instance(tenant);
            }
        }
        world.limit();
        let snapshot = world.build_snapshot();
        for worker in 0..world.plan.workers {
            let settings = Settings {
                worker,
                ..world.plan.settings.clone()
            };
            world.nodes.push(Node {
                machine: Machine::new(settings, snapshot.clone()),
                clients: BTreeMap::new(),
                links: BTreeMap::new(),
                draining: false,
                turns: 0,
                kept: 0,
                before: None,
            });
        }
        let plan = format!("{:#?}", world.plan);
        world.note(|| plan);
        world
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            let Moment { step, ms } = self.now;
            println!("{step:>7} {ms:>6}ms  {}", what());
        }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            plan: &self.plan,
            servers: &self.servers,
            tenants: &self.tenants,
            snapshots: &self.snapshots,
            told: &self.told,
            answered: &self.answered,
            unanswered: self.silent
                + self
                    .clients
                    .iter()
                    .map(|it| it.pending.len())
                    .sum::<usize>(),
            sent_bytes: self.sent_bytes,
            now: self.now,
        }
    }

    pub(crate) fn open_client(&mut self) {
        self.open_client_from(Ipv4Addr::LOCALHOST);
    }

    pub(crate) fn open_client_from(&mut self, from: Ipv4Addr) {
        let id = self.clients.len() as u64 + 1;
        let worker = self.rng.below(self.nodes.len());
        let origin = Origin {
            id,
            peer: SocketAddr::from((from, 10_000 + id as u16)),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 6378)),
        };
        let key = self.nodes[worker].machine.client_opened(origin);
        self.nodes[worker].clients.insert(key, self.clients.len());
        let left = self.rng.between(1, self.plan.requests);
        let script = Script::new(id, left, &self.plan, &mut self.rng);
        let writes_first = script.writes_much() && self.rng.one_in(6);
        self.note(|| {
            let behaviour = script.behaviour;
            format!("client {id} on worker {worker}, {behaviour:?}, writes_first: {writes_first}")
        });
        self.clients.push(Client {
            id,
            worker,
            key,
            script,
            model: Model::new(id, worker, self.now),
            changed: self.now,
            pending: std::collections::VecDeque::new(),
            never: Vec::new(),
            wire: Vec::new(),
            kernel: Vec::new(),
            room: match self.plan.narrow {
                true => 4_000,
                false => *self.rng.pick(&[200, 4_000, 65_536, 65_536, 1 << 20]),
            },
            read: Vec::new(),
            asleep_until: 0,
            reads_nothing: false,
            writes_first,
            paused: false,
            wants_write: false,
            eof: false,
            eof_told: false,
            gone_told: false,
            asked: self.now,
            held: self.now,
            refused: 0,
            possibly_refused: 0,
            unavailable: 0,
            lost_dedicated: None,
            silent: false,
            followed: false,
            maybe_lost_dedicated: false,
            hung_up: false,
            hung_up_at: self.now,
            was_blocked: false,
            closing: None,
            may_close: false,
            done: false,
            killers: Vec::new(),
            unblocked: false,
        });
    }

    /// One event.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.now.step += 1;
        self.stop_servers()?;
        self.count()?;
        self.happen()?;
        self.count()
    }

    fn happen(&mut self) -> Result<(), String> {
        let node = self.rng.below(self.nodes.len());
        match self.rng.below(100) {
            0..=44 if self.plan.narrow && !self.calm && self.rng.one_in(15) => self.rush(),
            0..=44 if !self.clients.is_empty() => {
                let client = self.rng.below(self.clients.len());
                self.client_event(client)
            }
            45..=84 => {
                let links = self.nodes[node].links.len();
                let nth = self.rng.below(links);
                match self.nodes[node].links.keys().nth(nth).copied() {
                    Some(key) => self.link_event(node, key),
                    None => self.turn(node),
                }
            }
            85..=94 => self.turn(node),
            95..=98 => {
                // A client behind a slow reader waits for a tenth of a second at most.
                let ms = *self.rng.pick(match self.plan.narrow {
                    true => &[0, 1, 1, 2, 2, 5, 5, 10, 20, 40],
                    false => &[0, 0, 1, 1, 2, 5, 20, 20, 110, 300],
                });
                self.pass(ms);
                Ok(())
            }
            _ => self.world_event(),
        }
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now.ms += ms;
        for server in &mut self.servers {
            server.replicate(&mut self.rng);
        }
        for node in &mut self.nodes {
            node.machine.clock(self.now.ms * 1_000);
        }
    }

    /// Clients connect; servers and passwords change.
    fn world_event(&mut self) -> Result<(), String> {
        if self.clients.len() < self.plan.clients && self.rng.one_in(2) {
            self.open_client();
        }
        let faults = self.plan.faults;
        let server = self.rng.below(self.servers.len());
        if self.rng.permille(faults.restart) {
            self.restart(server)?;
        }
        if self.rng.permille(faults.password) {
            self.new_password(server);
        }
        self.change();
        self.degrade_or_stop_server(server);
        let node = self.rng.below(self.nodes.len());
        self.collect_stats(node)
    }

    /// A password changes: at all servers of a tenant, or at one of them.
    fn new_password(&mut self, server: usize) {
        let name = *self.rng.pick(&["ann", "bob", "default"]);
        let (now, alone) = (self.now, self.rng.one_in(4));
        let tenant = self.servers[server].tenant;
        self.note(|| format!("tenant {tenant} has a new password for {name}, alone: {alone}"));
        for other in &mut self.servers {
            if (other.index == server || !alone && other.tenant == tenant)
                && let Some(user) = other.users.get_mut(name)
                && !user.nopass
            {
                user.generation += 1;
                other.changes.push(now);
            }
        }
    }

    /// Removes the sessions that are no longer needed.
    pub(crate) fn stop_servers(&mut self) -> Result<(), String> {
        for server in 0..self.servers.len() {
            let due = self.servers[server]
                .stops_at
                .filter(|at| *at <= self.now.ms);
            if due.is_some() {
                self.servers[server].stops_at = None;
                self.shut(server, u64::MAX)?;
            }
        }
        Ok(())
    }

    /// A server loses all its connections, and accepts none for a while.
    fn restart(&mut self, server: usize) -> Result<(), String> {
        let down_ms = self.rng.between(1, 3_000);
        self.shut(server, self.now.ms + down_ms)
    }

    fn shut(&mut self, server: usize, until: u64) -> Result<(), String> {
        let until = self.servers[server].down_until.max(until);
        self.servers[server].down_until = until;
        self.note(|| format!("server {server} is down until {until} ms"));
        for node in 0..self.nodes.len() {
            let links = self.nodes[node].links.values();
            let its: Vec<LinkKey> = links
                .filter(|link| link.server == server && link.session.is_some())
                .map(|link| link.key)
                .collect();
            for key in its {
                self.lose(node, key)?;
            }
        }
        Ok(())
    }
}
