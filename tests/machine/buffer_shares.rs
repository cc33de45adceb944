//! At the buffer limit of a worker, a client of the tenant that uses most of its share is closed.

use std::collections::BTreeMap;

use elika::cluster::{
    ClusterInstance, ClusterKey, Endpoint, Health, Known, SnapshotBuilder, TenantRules,
};
use elika::proxy::{ClientKey, NoticeKind};

use super::harness::{Worker, set};

/// A worker with a limit of 1 MiB and tenants `one` and `two`, whose instances have these labels.
fn worker(shares: [Option<&str>; 2]) -> Worker {
    let known = ["one", "two"].into_iter().zip(shares).map(|(name, share)| {
        let endpoint = Endpoint::new("127.0.0.1", 6379);
        let label = share.map(|bytes| ("limit.tenant-buffer-bytes".to_owned(), bytes.to_owned()));
        Known {
            instance: ClusterInstance {
                labels: BTreeMap::from_iter(label),
                ..ClusterInstance::new(cluster(name), name, endpoint)
            },
            addresses: vec![([127, 0, 0, 1], 6379).into()],
            health: Health::Unknown,
        }
    });
    let rules = TenantRules::default();
    let limits = |key: &_, aliases: &[&str], its: &[ClusterInstance]| {
        let (limits, complaints) = rules.limits_of(key, aliases, its);
        assert_eq!(complaints, [""; 0]);
        limits
    };
    let snapshot = SnapshotBuilder::new(None).build(&[], known, limits);
    Worker::with_snapshot(snapshot.into(), |settings| {
        (settings.worker, settings.worker_buffer_bytes_max) = (0, 1 << 20);
    })
}

fn cluster(name: &str) -> ClusterKey {
    let mut cluster = ClusterKey::local();
    cluster.name.name = name.into();
    cluster
}

/// A client of a tenant that has sent this many bytes of an incomplete request.
fn upload(worker: &mut Worker, name: &str, bytes: usize) -> ClientKey {
    let (client, _) = worker.user(&format!("{}.u{bytes}", cluster(name).tenant()));
    worker.send_large(client, &set(2_000_000)[..bytes]);
    client
}

#[test]
fn client_of_the_tenant_with_the_largest_share_is_closed() {
    let mut worker = worker([None, Some("300000")]);
    let alone = upload(&mut worker, "one", 700_000);
    let few = upload(&mut worker, "two", 130_000);
    assert_eq!(worker.machine.counters().buffers_full, 0);
    let most = upload(&mut worker, "two", 150_000);
    let more = upload(&mut worker, "one", 100_000);
    assert!(worker.closed(most));
    assert_eq!(worker.machine.counters().buffers_full, 1);
    assert_eq!(worker.notices()[0].kind, NoticeKind::WorkerBuffer);
    for client in [alone, few, more] {
        assert!(!worker.closed(client));
    }
}

#[test]
fn many_medium_clients_do_not_close_the_client_of_another_tenant() {
    let mut worker = worker([None, None]);
    let alone = upload(&mut worker, "one", 400_000);
    let middling: Vec<ClientKey> = (0..5)
        .map(|nth| upload(&mut worker, "two", 140_000 + nth))
        .collect();
    assert_eq!(worker.machine.counters().buffers_full, 1);
    assert!(worker.closed(middling[3]));
    assert!(!worker.closed(alone));
}

#[test]
fn tenant_may_have_its_own_share() {
    let mut worker = worker([Some("100000"), None]);
    let over = upload(&mut worker, "one", 110_000);
    let other = upload(&mut worker, "two", 500_000);
    worker.advance(200);
    assert!(worker.closed(over));
    assert!(!worker.closed(other));
    assert_eq!(worker.notices()[0].kind, NoticeKind::TenantBuffer);
    assert_eq!(worker.machine.counters().tenant_buffers_full, 1);
}
