//! Tenants and their instances: the registry's view, its changes, and the time at which each worker
//! gets them.

use std::sync::Arc;

use elika::cluster::{
    ALIAS_LABEL, ClusterInstance, ClusterKey, Endpoint, Health, Known, SENTINEL_LABEL, Snapshot,
    Status, TenantKey, TenantLimits,
};

use super::limits::{self, Count, Pause};
use super::plan::TenantPlan;
use super::redis::{Degraded, Redis, Replication};
use super::snapshot::{SnapshotRecord, address};
use super::world::World;

mod aliases;
use aliases::cluster;

/// A tenant, as the registry has it.
#[derive(Debug)]
pub(crate) struct Tenant {
    cluster: ClusterKey,
    pub(crate) key: TenantKey,
    pub(crate) home: TenantPlan,
    /// When its servers set a password for the default user.
    pub(crate) locked: bool,
    /// Sentinels know the addresses of its instances: a new address fences the former one.
    pub(crate) fenced: bool,
    /// The registry has the tenant.
    listed: bool,
    /// An alias of the tenant, which may belong to another tenant.
    pub(crate) alias: Option<String>,
    /// Another cluster with the same tenant key is listed too.
    has_impostor: bool,
    pub(crate) instances: Vec<Instance>,
    limits: TenantLimits,
    pub(crate) pauses: Vec<Pause>,
    pub(crate) count: Count,
}

#[derive(Debug)]
pub(crate) struct Instance {
    id: String,
    /// The server at its address.
    pub(crate) server: usize,
    listed: bool,
    status: Status,
    /// The health that other workers have reported.
    health: Health,
    /// Its name resolves.
    resolves: bool,
    /// The server to which the name resolved last.
    known: usize,
}

/// A snapshot on its way to a worker.
#[derive(Debug)]
pub(crate) struct PendingSnapshot {
    due: u64,
    node: usize,
    picture: usize,
}

impl Tenant {
    pub(crate) fn new(index: usize, home: TenantPlan) -> Self {
        let cluster = cluster(index);
        Self {
            key: cluster.tenant(),
            cluster,
            home,
            locked: false,
            fenced: index % 2 == 1,
            listed: true,
            alias: None,
            has_impostor: false,
            instances: Vec::new(),
            limits: TenantLimits::default(),
            pauses: Vec::new(),
            count: Count::default(),
        }
    }

    fn shown(&self) -> String {
        let Self {
            key, alias, listed, ..
        } = self;
        let instances: Vec<String> = (self.instances.iter())
            .map(|it| {
                let away = if it.listed { "" } else { " unlisted" };
                let lost = if it.resolves { "" } else { " unresolved" };
                let (id, server, status) = (&it.id, it.server, it.status);
                format!("{id} at {server} is {status}{away}{lost}, {}", it.health)
            })
            .collect();
        let limits = &self.limits;
        format!("{key} alias {alias:?} listed {listed}: {instances:?} {limits:?}")
    }

    fn known(&self) -> impl Iterator<Item = Known> + '_ {
        let listed = self.instances.iter().filter(|it| it.listed && self.listed);
        listed.map(|instance| {
            let address = address(instance.server);
            let endpoint = Endpoint::new(address.ip().to_string(), address.port());
            let alias = self.alias.iter().map(|it| (ALIAS_LABEL, it.as_str()));
            let labels = alias.chain(self.fenced.then_some((SENTINEL_LABEL, "m")));
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let described = ClusterInstance {
                status: instance.status,
                labels: labels.collect(),
                ..ClusterInstance::new(self.cluster.clone(), &instance.id, endpoint)
            };
            Known {
                instance: described,
                addresses: instance.resolves.then_some(address).into_iter().collect(),
                health: instance.health,
            }
        })
    }
}

impl World {
    /// Adds a server for an instance of this tenant.
    pub(crate) fn found(&mut self, tenant: usize, id: &str) -> usize {
        let index = self.servers.len();
        let Tenant { home, key, .. } = &self.tenants[tenant];
        let mut server = Redis::new(index, (tenant, key.clone(), id.to_owned()), *home);
        server.replication = Replication::draw(&mut self.rng);
        if self.plan.workers == 1 {
            let settings = &self.plan.settings;
            server.own_max = settings.dedicated_max as usize + settings.pool_idle_max;
        }
        if let Some(other) = self.servers.iter().find(|it| it.tenant == tenant) {
            server.users.clone_from(&other.users);
        }
        server.calm = self.calm;
        self.servers.push(server);
        index
    }

    pub(crate) fn add_instance(&mut self, tenant: usize) {
        let id = format!("i{}", self.tenants[tenant].instances.len());
        let server = self.found(tenant, &id);
        self.note(|| format!("server {server} is instance {id} of tenant {tenant}"));
        self.tenants[tenant].instances.push(Instance {
            id,
            server,
            listed: true,
            status: Status::Ready,
            health: Health::Unknown,
            resolves: true,
            known: server,
        });
    }

    /// Builds a new snapshot of the registry.
    pub(crate) fn build_snapshot(&mut self) -> Arc<Snapshot> {
        let clusters: Vec<ClusterKey> = (self.tenants.iter())
            .filter(|tenant| tenant.listed)
            .map(|tenant| tenant.cluster.clone())
            .collect();
        let known = self.tenants.iter().flat_map(Tenant::known);
        let known: Vec<Known> = known.chain(self.impostors()).collect();
        let limits = |key: &TenantKey, _: &[&str], _: &[ClusterInstance]| {
            let tenant = self.tenants.iter().find(|tenant| tenant.key == *key);
            tenant.map_or_else(TenantLimits::default, |it| it.limits.clone())
        };
        let snapshot = Arc::new(self.builder.build(&clusters, known, limits));
        let meanings = self.meanings();
        let mut instances = self.tenants.iter_mut().flat_map(|it| &mut it.instances);
        let known = instances.by_ref().map(|instance| {
            if instance.resolves {
                instance.known = instance.server;
            }
            instance.known
        });
        self.snapshots.push(SnapshotRecord {
            known: known.collect(),
            at: self.now,
            told: None,
            meanings,
            snapshot: Arc::clone(&snapshot),
        });
        for server in 0..self.servers.len() {
            let picture = &self.snapshots[self.snapshots.len() - 1];
            let listed = picture.lists(&self.servers[server]);
            let server = &mut self.servers[server];
            if std::mem::replace(&mut server.unlisted, !listed) == listed {
                server.failed(self.now);
            }
        }
        snapshot
    }

    /// The registry has changed: the workers will get a snapshot.
    pub(crate) fn send_snapshot(&mut self) {
        self.build_snapshot();
        let picture = self.snapshots.len() - 1;
        for node in 0..self.nodes.len() {
            let before = self.mail.iter().filter(|mail| mail.node == node);
            let before = before.map(|mail| mail.due).max().unwrap_or(0);
            let soon = *self.rng.pick(&[0, 0, 5, 30]);
            let due = before.max(self.now.ms + soon);
            self.mail.push(PendingSnapshot { due, node, picture });
        }
    }

    /// A worker gets the snapshots that have arrived.
    pub(crate) fn check_news(&mut self, node: usize) {
        let now = self.now;
        let mut heard = Vec::new();
        self.mail.retain(|mail| {
            let due = mail.node == node && mail.due <= now.ms;
            if due {
                heard.push(mail.picture);
            }
            !due
        });
        for picture in heard {
            self.note(|| format!("worker {node} gets picture {picture}"));
            let snapshot = Arc::clone(&self.snapshots[picture].snapshot);
            self.nodes[node].machine.registry_changed(snapshot);
            if self.mail.iter().all(|mail| mail.picture != picture) {
                self.snapshots[picture].told = Some(self.now);
            }
            // From now on clients may notice the change.
            let changed = &self.snapshots[picture.saturating_sub(1)..=picture];
            let [before, .., after] = changed else {
                continue;
            };
            for server in &mut self.servers {
                let change = before.reaches(server) != after.reaches(server);
                if change || before.lists(server) != after.lists(server) {
                    server.failed(self.now);
                }
            }
        }
    }

    /// An event of a tenant or one of its instances.
    pub(crate) fn change(&mut self) {
        let stir = self.plan.stir;
        let tenant = self.rng.below(self.tenants.len());
        let version = self.snapshots.len();
        let mut news = false;
        if self.rng.permille(stir.add) && self.tenants[tenant].instances.len() < 4 {
            self.add_instance(tenant);
            news = true;
        }
        if self.rng.permille(stir.tenant) {
            self.tenants[tenant].listed ^= true;
            news = true;
        }
        if self.rng.permille(stir.alias) {
            let alias = self.draw_alias();
            let tenant = &mut self.tenants[tenant];
            tenant.alias = match tenant.alias.is_some() && self.rng.one_in(2) {
                true => None,
                false => Some(alias),
            };
            news = true;
        }
        if self.rng.permille(stir.alias) {
            self.tenants[tenant].has_impostor ^= true;
            news = true;
        }
        if self.plan.limited && self.rng.permille(stir.limits) {
            self.tenants[tenant].limits = limits::draw(&mut self.rng, &self.plan);
            news = true;
        }
        if self.plan.limited {
            self.change_pause(tenant);
        }
        news |= self.change_instance(tenant);
        // An instance that was removed is added again some time.
        if !self.tenants[tenant].listed && self.rng.one_in(9) {
            self.tenants[tenant].listed = true;
            news = true;
        }
        if news {
            self.note(|| format!("picture {version}: {}", self.tenants[tenant].shown()));
            self.send_snapshot();
        }
    }

    fn change_instance(&mut self, tenant: usize) -> bool {
        let stir = self.plan.stir;
        let nth = self.rng.below(self.tenants[tenant].instances.len());
        let mut news = false;
        if self.rng.permille(stir.address) {
            let id = self.tenants[tenant].instances[nth].id.clone();
            let server = self.found(tenant, &id);
            let before = &mut self.tenants[tenant].instances[nth].server;
            let before = std::mem::replace(before, server);
            if self.rng.permille(self.plan.faults.stop) {
                let left = self.now.ms + self.rng.between(0, 4_000);
                self.servers[before].stops_at = Some(left);
            }
            news = true;
        }
        let Some(instance) = self.tenants[tenant].instances.get_mut(nth) else {
            return news;
        };
        let back = self.rng.one_in(9);
        if self.rng.permille(stir.status) || instance.status == Status::Offline && back {
            instance.status = match instance.status {
                Status::Offline => *self.rng.pick(&[Status::Ready, Status::Online]),
                _ => Status::Offline,
            };
            news = true;
        }
        if self.rng.permille(stir.delete) || !instance.listed && back {
            instance.listed ^= true;
            news = true;
        }
        if self.rng.permille(stir.resolve) || !instance.resolves && back {
            instance.resolves ^= true;
            news = true;
        }
        if self.rng.permille(stir.health) {
            instance.health = *self.rng.pick(&Health::ALL);
            news = true;
        }
        let (id, nameless) = (instance.id.clone(), !instance.resolves);
        self.name(tenant, &id, nameless);
        news
    }

    /// The name of an instance stops resolving, or resolves again: also for its earlier servers.
    fn name(&mut self, tenant: usize, id: &str, nameless: bool) {
        let its = |server: &&mut Redis| server.tenant == tenant && server.instance == id;
        for server in self.servers.iter_mut().filter(its) {
            if std::mem::replace(&mut server.nameless, nameless) != nameless {
                server.failed(self.now);
            }
        }
    }

    /// An event of a server that the registry does not know of.
    pub(crate) fn degrade_or_stop_server(&mut self, server: usize) {
        let (stir, now) = (self.plan.stir, self.now.ms);
        if self.rng.permille(stir.trouble) {
            let trouble = *self.rng.pick(&Degraded::PASSING);
            let to = now + self.rng.between(50, 3_000);
            self.note(|| format!("server {server} suffers from {trouble:?} until {to} ms"));
            self.servers[server].degrade(trouble, now, to);
        }
        if self.rng.permille(stir.mute) {
            let until = now + self.rng.between(50, 6_000);
            let (writes, redis) = (self.rng.one_in(2), &mut self.servers[server]);
            match writes {
                true => redis.pauses_writes_until = until,
                false => redis.mute_until = until,
            }
            self.note(|| {
                format!(
                    "server {server} is busy until {until} ms, to reads: {}",
                    !writes
                )
            });
        }
    }

    /// The limits with which tenants start.
    pub(crate) fn limit(&mut self) {
        for tenant in self.tenants.iter_mut().filter(|_| self.plan.limited) {
            tenant.limits = limits::draw(&mut self.rng, &self.plan);
        }
    }

    /// In the calm everything is listed again, or nearly everything stays as it is.
    pub(crate) fn calm_clusters(&mut self) {
        for tenant in 0..self.tenants.len() {
            self.unpause(tenant);
        }
        let all = self.rng.one_in(2);
        for tenant in &mut self.tenants {
            tenant.listed |= all;
            for instance in &mut tenant.instances {
                instance.resolves = true;
                if all {
                    instance.listed = true;
                    instance.status = Status::Online;
                }
            }
        }
        for server in self.servers.iter_mut().filter(|server| server.nameless) {
            server.nameless = false;
            server.failed(self.now);
        }
        self.send_snapshot();
    }

    /// The registry removes everything.
    pub(crate) fn vanish(&mut self) {
        for tenant in &mut self.tenants {
            tenant.listed = false;
        }
        self.send_snapshot();
    }
}
