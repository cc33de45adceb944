//! Names that several tenants claim: aliases, and clusters whose key belongs to another one.

use elika::cluster::{ClusterInstance, ClusterKey, Endpoint, Health, Known, Status};

use super::super::snapshot::address;
use super::super::tenant_names::{Claim, Meanings};
use super::super::world::World;
use super::Tenant;

/// An alias that no tenant has before or afterwards.
const WANTED: &str = "market";

/// The cluster of a tenant.
pub(super) fn cluster(index: usize) -> ClusterKey {
    let mut cluster = ClusterKey::local();
    if index > 0 {
        (cluster.name.namespace, cluster.name.name) = (format!("t:{index}"), "c".to_owned());
    }
    cluster
}

impl Tenant {
    /// A cluster with the key of this tenant: names may contain colons.
    fn impostor(&self) -> Option<ClusterKey> {
        let mut cluster = self.cluster.clone();
        let (left, right) = cluster.name.namespace.split_once(':')?;
        let name = format!("{right}:{}", cluster.name.name);
        (cluster.name.namespace, cluster.name.name) = (left.to_owned(), name);
        self.has_impostor.then_some(cluster)
    }

    fn has_instances(&self) -> bool {
        self.listed && self.instances.iter().any(|it| it.listed)
    }
}

impl World {
    /// The clusters whose names belong to others; their instances are at the first server.
    pub(super) fn impostors(&self) -> impl Iterator<Item = Known> {
        let keys = self.tenants.iter().filter_map(Tenant::impostor);
        keys.map(|key| {
            let endpoint = Endpoint::new(address(0).ip().to_string(), address(0).port());
            Known {
                instance: ClusterInstance {
                    status: Status::Ready,
                    ..ClusterInstance::new(key, "impostor", endpoint)
                },
                addresses: vec![address(0)],
                health: Health::Up,
            }
        })
    }

    /// The owners of names from now on.
    pub(super) fn meanings(&mut self) -> Meanings {
        let tenants = self.tenants.iter().enumerate();
        let claims = tenants.clone().map(|(tenant, it)| Claim {
            tenant,
            key: &it.key,
            alias: it.alias.as_deref(),
            has_instances: it.has_instances(),
        });
        self.names.follow(&mut claims.collect::<Vec<_>>());
        let default = self.plan.default_tenant.then_some(0);
        let there = tenants.filter(|(tenant, it)| it.listed || Some(*tenant) == default);
        let there = there.map(|(tenant, it)| (tenant, it.key.clone())).collect();
        self.names.meanings(&there, default)
    }

    /// Draws an alias that may belong to another tenant, or be a key, or look like one.
    pub(super) fn draw_alias(&mut self) -> String {
        let all = self.tenants.len();
        match self.rng.below(8) {
            0 => self.tenants[self.rng.below(all)].key.to_string(),
            1 => cluster(all + 1).tenant().to_string(),
            _ => format!("shop-{}", self.rng.below(2)),
        }
    }

    /// A phase of the calm: a tenant has an alias, and another one claims it too. Logins by this
    /// alias are verified at the first tenant, or nowhere while it is not listed.
    pub(crate) fn run_alias_phase(&mut self) -> Result<(), String> {
        let all = 0..self.tenants.len();
        let mut all: Vec<usize> = all.filter(|&it| self.takes_logins(it)).collect();
        if all.len() < 2 {
            return Ok(());
        }
        self.note(|| "-- an alias that two want".into());
        let owner = all.swap_remove(self.rng.below(all.len()));
        let other = *self.rng.pick(&all);
        let before = [owner, other].map(|it| self.tenants[it].alias.clone());
        for tenant in [owner, other] {
            self.tenants[tenant].alias = Some(WANTED.to_owned());
            self.tell_all()?;
        }
        let away = self.rng.one_in(4);
        if away {
            self.tenants[owner].listed = false;
            self.tell_all()?;
        }
        let mut came = Vec::new();
        for tenant in [owner, other] {
            let client = self.new_client();
            let generation = self.generation(tenant, "ann");
            let (name, password) = (format!("{WANTED}.ann"), format!("g{generation}:{client}-0"));
            let line = self.clients[client].script.auth(&name, &password);
            self.send(client, line);
            came.push(client);
        }
        self.settle("the calm with an alias that two want")?;
        self.leave(&came)?;
        self.tenants[owner].listed |= away;
        for (tenant, alias) in [owner, other].into_iter().zip(before) {
            self.tenants[tenant].alias = alias;
        }
        self.tell_all()
    }

    /// The registry has changed, and all workers get the snapshot.
    fn tell_all(&mut self) -> Result<(), String> {
        self.send_snapshot();
        while !self.mail.is_empty() {
            self.sweep()?;
        }
        Ok(())
    }
}
