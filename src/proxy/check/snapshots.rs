//! The registry's snapshots in a [`check`](super): one or two tenants, built from bytes of the
//! input.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::cluster::{
    ALIAS_LABEL, ClusterInstance, ClusterKey, Endpoint, Health, Known, Quota, SENTINEL_LABEL,
    Snapshot, SnapshotBuilder, Status, TenantKey, TenantLimits,
};
use crate::command::scatter::CrossSlot;

/// Makes the snapshots, and remembers the tenants whose use was counted.
pub(super) struct Snapshots {
    builder: SnapshotBuilder,
    limits: TenantLimits,
    quotas: Vec<Arc<Quota>>,
}

/// The two possible tenants; the first may be the default one.
pub(super) fn tenants() -> [TenantKey; 2] {
    clusters().map(|cluster| cluster.tenant())
}

fn clusters() -> [ClusterKey; 2] {
    let mut second = ClusterKey::local();
    second.name.name = "second".into();
    [ClusterKey::local(), second]
}

impl Snapshots {
    pub(super) fn new(has_default: bool) -> Self {
        let [first, _] = tenants();
        Self {
            builder: SnapshotBuilder::new(has_default.then_some(first)),
            limits: TenantLimits::default(),
            quotas: Vec::new(),
        }
    }

    /// Makes a snapshot from two bytes: for each instance whether it exists, its status, its
    /// address and its known health.
    pub(super) fn take(&mut self, one: usize, other: usize) -> Arc<Snapshot> {
        let [first, second] = clusters();
        let instances = [
            (one & 1 == 0).then(|| known(&first, "one", one >> 1)),
            (other & 1 == 1).then(|| known(&first, "two", other >> 1)),
            (one & 64 != 0).then(|| known(&second, "one", other >> 1)),
        ];
        let limits = &self.limits;
        let instances = instances.into_iter().flatten();
        let snapshot = self.builder.build(&[], instances, |_, _, _| limits.clone());
        for tenant in snapshot.tenants() {
            if !self.quotas.iter().any(|it| Arc::ptr_eq(it, &tenant.quota)) {
                self.quotas.push(Arc::clone(&tenant.quota));
            }
        }
        Arc::new(snapshot)
    }

    /// Sets the limits of tenants from the next snapshot on.
    pub(super) fn limit(&mut self, how: usize) {
        let few = |bit: usize| (how & bit != 0).then_some(1);
        let mut deny = Vec::new();
        if how & 32 != 0 {
            deny.push("@transaction".into());
        }
        if how & 64 != 0 {
            deny.push("get".into());
        }
        self.limits = TenantLimits {
            clients: few(1),
            pinned: few(2),
            requests_per_second: few(4).map(|few| few + 1),
            bytes_per_second: few(8).map(|few| u64::from(few) + 100),
            request_bytes: few(16).map(|few| u64::from(few) + 100),
            tenant_buffer_bytes: few(128).map(|few| u64::from(few) + 300),
            deny,
            cross_slot: CrossSlot::default(),
        };
    }

    /// All clients are closed: nothing may count as used.
    pub(super) fn end(&self) {
        for quota in &self.quotas {
            let used = [&quota.clients, &quota.pinned, &quota.waiting].map(|it| it.get());
            assert_eq!(used, [0; 3]);
        }
    }
}

fn known(cluster: &ClusterKey, id: &str, how: usize) -> Known {
    let statuses = [
        Status::Ready,
        Status::Offline,
        Status::Online,
        Status::Deleted,
    ];
    let status = statuses.get(how & 3).copied().unwrap_or(Status::Ready);
    let port = 6379 + u16::from(how & 4 != 0);
    let endpoint = Endpoint {
        addr: "10.0.0.1".into(),
        port,
        name: String::new(),
    };
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), port));
    let mut instance = ClusterInstance::new(cluster.clone(), id, endpoint);
    instance.status = status;
    instance.labels.insert(ALIAS_LABEL.into(), "shop".into());
    if id == "two" {
        // A new address fences the former one.
        instance.labels.insert(SENTINEL_LABEL.into(), "m".into());
    }
    let health = match how & 16 {
        0 => Health::Unknown,
        _ => Health::Degraded,
    };
    Known {
        instance,
        addresses: (how & 8 == 0).then_some(address).into_iter().collect(),
        health,
    }
}
