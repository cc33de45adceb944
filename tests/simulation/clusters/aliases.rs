//! Names that several tenants want: aliases, and clusters whose key is another's.

use elika::cluster::{ClusterInstance, ClusterKey, Endpoint, Health, Known, Status};

use super::super::names::{Claim, Meanings};
use super::super::picture::address;
use super::super::world::World;
use super::Tenant;

/// The cluster of a tenant.
pub(super) fn cluster(index: usize) -> ClusterKey {
    let mut cluster = ClusterKey::local();
    if index > 0 {
        (cluster.name.namespace, cluster.name.name) = (format!("t:{index}"), "c".to_owned());
    }
    cluster
}

impl Tenant {
    /// A cluster with the key of this tenant: there may be colons in names.
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
    /// What the registry says of clusters whose names are others': they are at the first server.
    pub(super) fn impostors(&self) -> impl Iterator<Item = Known> {
        let keys = self.tenants.iter().filter_map(Tenant::impostor);
        keys.map(|key| {
            let endpoint = Endpoint {
                addr: address(0).ip().to_string(),
                port: address(0).port(),
                name: String::new(),
            };
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

    /// Whom names stand for from now on.
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

    /// An alias that may be another's, or a key, or like one.
    pub(super) fn draw_alias(&mut self) -> String {
        let all = self.tenants.len();
        match self.rng.below(8) {
            0 => self.tenants[self.rng.below(all)].key.to_string(),
            1 => cluster(all + 1).tenant().to_string(),
            _ => format!("shop-{}", self.rng.below(2)),
        }
    }
}
