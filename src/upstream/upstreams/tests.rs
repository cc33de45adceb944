//! Each change of the registry is reported once.

use std::net::SocketAddr;

use super::*;
use crate::cluster::{
    ClusterInstance, ClusterKey, Endpoint, Health, Known, SnapshotBuilder, Status, TenantLimits,
};

fn known(id: &str, port: u16, status: Status) -> Known {
    let endpoint = Endpoint {
        addr: "10.0.0.1".into(),
        port,
        name: String::new(),
    };
    let instance = ClusterInstance {
        status,
        ..ClusterInstance::new(ClusterKey::local(), id, endpoint)
    };
    Known {
        instance,
        addresses: vec![SocketAddr::from(([10, 0, 0, 1], port))],
        health: Health::Unknown,
    }
}

fn names(pools: &Upstreams, keys: &HashSet<InstanceKey>) -> Vec<String> {
    let names = keys.iter().filter_map(|&key| pools.instances.get(key));
    names.map(|instance| instance.id.to_string()).collect()
}

#[test]
fn each_change_of_a_snapshot_is_returned_once() {
    let rules = Rules {
        worker: 0,
        balancer: Balancer::Random,
        logins_per_second: 1,
        dedicated_max: 1,
        instance_connections_max: 1,
        connect_ms: 1_000,
        seed: 0,
    };
    let mut builder = SnapshotBuilder::new(None);
    let mut pools = Upstreams::new(Arc::new(Snapshot::default()), rules);
    let mut follow = |instances: Vec<Known>, now: u64| {
        let snapshot = builder.build(&[], instances, |_, _, _| TenantLimits::default());
        let changes = pools.apply_snapshot(Arc::new(snapshot), Millis(now));
        let sets = [&changes.gone, &changes.draining, &changes.moved];
        sets.map(|keys| names(&pools, keys))
    };
    let (ready, offline) = (Status::Ready, Status::Offline);
    let none: [Vec<String>; 3] = Default::default();
    assert_eq!(
        follow(vec![known("a", 1, ready), known("b", 2, ready)], 1),
        none
    );
    let [gone, draining, moved] = follow(vec![known("a", 1, offline), known("b", 3, ready)], 2);
    assert_eq!(
        (gone, draining, moved),
        (vec![], vec!["a".into()], vec!["b".into()])
    );
    assert_eq!(
        follow(vec![known("a", 1, offline), known("b", 3, ready)], 3),
        none
    );
    let [gone, draining, moved] = follow(vec![known("a", 1, ready)], 4);
    assert_eq!(
        (gone, draining, moved),
        (vec!["b".into()], vec!["b".into()], vec![])
    );
    let since = |id: &str| {
        let found = pools.instances.iter().find(|(_, it)| it.id.as_str() == id);
        found.map(|(_, it)| it.draining_since)
    };
    assert_eq!(
        (since("a"), since("b")),
        (Some(None), Some(Some(Millis(4))))
    );
    pools.sweep_instances();
    assert_eq!(pools.instances.len(), 1);
}
