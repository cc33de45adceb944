//! Snapshots: building, changes, and the resolution of login names.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cluster::{ClusterKey, Known, SnapshotBuilder};

fn cluster(name: &str) -> ClusterKey {
    ClusterKey::named(name)
}

fn instance(
    cluster_name: &str,
    id: &str,
    port: u16,
    status: Status,
) -> (ClusterInstance, Vec<SocketAddr>) {
    let endpoint = Endpoint::new("127.0.0.1", port);
    let instance = ClusterInstance::new(cluster(cluster_name), id, endpoint);
    (
        ClusterInstance { status, ..instance },
        vec![SocketAddr::from(([127, 0, 0, 1], port))],
    )
}

/// The snapshot of the static router: one tenant, which is the default tenant.
fn static_snapshot() -> Snapshot {
    let tenant = ClusterKey::local().tenant();
    Snapshot::new(
        1,
        Some(tenant),
        [instance("default", "a", 6379, Status::Ready)],
    )
}

/// The snapshot of a sync router: two tenants and no default tenant.
fn sync_snapshot() -> Snapshot {
    let of = |name| instance(name, "a", 6379, Status::Online);
    Snapshot::new(7, None, [of("one"), of("two")])
}

#[track_caller]
fn assert_login(snapshot: &Snapshot, login: &[u8], tenant: &TenantKey, user: &[u8]) {
    match snapshot.resolve_login(login) {
        Login::User {
            tenant: found,
            user: name,
        } => {
            assert_eq!(&found.key, tenant);
            assert_eq!(name, user);
        }
        Login::UnknownTenant => panic!("unknown tenant"),
    }
}

#[test]
fn login_without_a_known_tenant_is_a_user_of_the_default_tenant() {
    let local = ClusterKey::local().tenant();
    let cases: [(&[u8], &[u8]); 12] = [
        (b"yigF5wkxq44.admin", b"admin"),
        (b"yigF5wkxq44.first.last", b"first.last"),
        (b"yigF5wkxq44.", b""),
        (b"yigF5wkxq44..", b"."),
        (b"yigF5wkxq44", b"yigF5wkxq44"),
        (b"YIGF5WKXQ44.admin", b"YIGF5WKXQ44.admin"),
        (b"first.last", b"first.last"),
        (b".admin", b".admin"),
        (b"admin", b"admin"),
        (b"", b""),
        (b".", b"."),
        (b"\xff\xfe.admin", b"\xff\xfe.admin"),
    ];
    for (login, user) in cases {
        assert_login(&static_snapshot(), login, &local, user);
    }
}

#[test]
fn login_without_a_tenant_is_unknown_when_there_is_no_default_tenant() {
    let snapshot = sync_snapshot();
    for name in ["one", "two"] {
        let tenant = cluster(name).tenant();
        assert_login(
            &snapshot,
            format!("{tenant}.a.b").as_bytes(),
            &tenant,
            b"a.b",
        );
        let bare = snapshot.resolve_login(tenant.as_str().as_bytes());
        assert!(matches!(bare, Login::UnknownTenant));
    }
    for login in [&b"admin"[..], b"yigF5wkxq44.admin", b".", b"", b"\xff.x"] {
        let login = snapshot.resolve_login(login);
        assert!(matches!(login, Login::UnknownTenant));
    }
}

#[test]
fn tenant_is_found_by_its_exact_name() {
    let snapshot = static_snapshot();
    assert_eq!(snapshot.version(), 1);
    assert!(snapshot.tenant(b"yigF5wkxq44").is_some());
    for name in [
        &b""[..],
        b"yigF5wkxq4",
        b"yigF5wkxq44 ",
        b"yigF5wkxq44.",
        b"\xff",
    ] {
        assert!(snapshot.tenant(name).is_none());
    }
    let tenant = snapshot.default_tenant().map(|tenant| tenant.key.as_str());
    assert_eq!(tenant, Some("yigF5wkxq44"));
    assert!(sync_snapshot().default_tenant().is_none());
    assert_eq!(sync_snapshot().tenants().count(), 2);
}

#[test]
fn instances_are_grouped_sorted_and_unique() {
    let snapshot = Snapshot::new(
        3,
        None,
        [
            instance("one", "b", 2, Status::Online),
            instance("two", "b", 9, Status::Ready),
            instance("one", "a", 1, Status::Offline),
            instance("one", "c", 4, Status::Deleted),
            instance("one", "b", 3, Status::Offline),
            instance("gone", "a", 5, Status::Deleted),
        ],
    );
    let one = snapshot
        .tenant(cluster("one").tenant().as_str().as_bytes())
        .unwrap();
    let seen: Vec<_> = one
        .instances
        .iter()
        .map(|i| {
            (
                i.id.as_str(),
                i.address_text.as_str(),
                i.addresses[0].port(),
                i.status,
            )
        })
        .collect();
    let expected = [
        ("a", "127.0.0.1:1", 1, Status::Offline),
        ("b", "127.0.0.1:3", 3, Status::Offline),
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        one.instance(&"b".into()).map(|i| i.addresses[0].port()),
        Some(3)
    );
    assert_eq!(one.instance(&"c".into()), None);
    assert_eq!(
        snapshot.tenants().count(),
        2,
        "a tenant whose instances are all deleted is unknown"
    );
}

#[test]
fn default_tenant_is_known_without_instances() {
    let snapshot = Snapshot::new(1, Some(ClusterKey::local().tenant()), []);
    assert_eq!(
        snapshot
            .default_tenant()
            .map(|tenant| tenant.instances.len()),
        Some(0)
    );
    assert_login(
        &snapshot,
        b"yigF5wkxq44.u",
        &ClusterKey::local().tenant(),
        b"u",
    );
    let empty = Snapshot::default();
    assert!(matches!(empty.resolve_login(b"a.b"), Login::UnknownTenant));
}

#[test]
fn instance_without_endpoint_or_address_is_listed() {
    let (mut bare, _) = instance("one", "a", 1, Status::Ready);
    bare.endpoints.clear();
    let snapshot = Snapshot::new(1, None, [(bare, Vec::new())]);
    let tenant = snapshot.tenants().next().unwrap();
    assert_eq!(tenant.instances[0].address_text, "");
    assert!(tenant.instances[0].addresses.is_empty());
}

#[test]
fn limits_get_the_aliases_and_the_latest_instances_of_a_tenant() {
    let labelled = |name: &str, id: &str, port: u16, alias: &str| {
        let (mut instance, addresses) = instance(name, id, port, Status::Ready);
        instance.labels.insert("tenant".into(), alias.into());
        Known {
            instance,
            addresses,
            health: Health::Unknown,
        }
    };
    let mut builder = SnapshotBuilder::new(None);
    let mut calls = BTreeMap::new();
    let known = [
        labelled("one", "a", 1, "old"),
        labelled("one", "a", 2, "shop"),
        labelled("one", "b", 3, "cart"),
        labelled("two", "a", 4, "shop"),
    ];
    let snapshot = builder.build(&[cluster("three")], known, |key, aliases, instances| {
        let ports: Vec<u16> = instances.iter().map(|it| it.endpoints[0].port).collect();
        calls.insert(key.clone(), (aliases.join(" "), ports));
        TenantLimits {
            clients: Some(instances.len() as u32),
            ..TenantLimits::default()
        }
    });
    let tenants = ["one", "two", "three"].map(|name| cluster(name).tenant());
    let [one, two, three] = tenants.each_ref().map(|key| calls[key].clone());
    let owner = snapshot.tenant(b"shop").unwrap().key.clone();
    let first = tenants[0] < tenants[1];
    assert_eq!(owner, tenants[usize::from(!first)]);
    let names = if first {
        ["cart shop", ""]
    } else {
        ["cart", "shop"]
    };
    assert_eq!(one, (names[0].to_owned(), vec![2, 3]));
    assert_eq!(two, (names[1].to_owned(), vec![4]));
    assert_eq!(three, (String::new(), Vec::new()));
    assert!(
        snapshot.tenant(b"old").is_none(),
        "a later instance replaces it"
    );
    let limits = snapshot.tenant(tenants[0].as_str().as_bytes()).unwrap();
    assert_eq!(limits.limits.clients, Some(2));
}

#[test]
fn changes_since_lists_only_changed_tenants() {
    let known = |name: &str, id: &str, health| {
        let (instance, addresses) = instance(name, id, 1, Status::Ready);
        Known {
            instance,
            addresses,
            health,
        }
    };
    let mut builder = SnapshotBuilder::new(None);
    let mut build =
        |known: Vec<Known>| builder.build(&[], known, |_, _, _| TenantLimits::default());
    let changes = |new: &Snapshot, old: &Snapshot| {
        let changes = new.changes_since(old);
        let words = changes.map(|(old, new)| {
            let name = |it: Option<&Tenant>| it.map(|it| it.instances.len().to_string());
            let key = old.or(new).unwrap().key.clone();
            let names = [old, new].map(|it| name(it).unwrap_or_default());
            (key, names.join(">"))
        });
        words.collect::<BTreeMap<_, _>>()
    };
    let [one, two, three] = ["one", "two", "three"].map(|name| cluster(name).tenant());
    let up = Health::Up;
    let a = build(vec![known("one", "a", up), known("two", "a", up)]);
    let first = changes(&a, &Snapshot::default());
    let wanted = [(one.clone(), ">1"), (two.clone(), ">1")];
    assert_eq!(
        first,
        wanted.map(|(key, word)| (key, word.to_owned())).into()
    );
    let b = build(vec![known("two", "a", up), known("one", "a", up)]);
    assert_eq!(changes(&b, &a), BTreeMap::new());
    let c = build(vec![
        known("one", "a", Health::Down),
        known("two", "a", up),
        known("three", "a", up),
        known("three", "b", up),
    ]);
    let wanted = [(one.clone(), "1>1"), (three.clone(), ">2")];
    assert_eq!(
        changes(&c, &b),
        wanted.map(|(key, word)| (key, word.to_owned())).into()
    );
    let d = build(vec![known("three", "b", up)]);
    let wanted = [(one, "1>"), (two, "1>"), (three, "2>1")];
    assert_eq!(
        changes(&d, &c),
        wanted.map(|(key, word)| (key, word.to_owned())).into()
    );
    // The usage of a tenant carries over.
    let quota = |snapshot: &Snapshot| Arc::clone(&snapshot.tenants().next().unwrap().quota);
    let before = quota(&d);
    let e = build(vec![known("three", "c", up)]);
    assert!(Arc::ptr_eq(&before, &quota(&e)));
}

/// `a:b` and `c` have the same text form as `a` and `b:c`. A registry rejects the second cluster.
#[test]
fn clusters_with_the_same_tenant_key_do_not_share_clients() {
    let named = |namespace: &str, name: &str, id: &str| {
        let mut key = ClusterKey::local();
        (key.name.namespace, key.name.name) = (namespace.into(), name.into());
        let (instance, addresses) = instance("x", id, 1, Status::Ready);
        Known {
            instance: ClusterInstance { key, ..instance },
            addresses,
            health: Health::Unknown,
        }
    };
    let (first, second) = (named("a:b", "c", "1"), named("a", "b:c", "2"));
    assert_eq!(first.instance.key.tenant(), second.instance.key.tenant());
    let mut builder = SnapshotBuilder::new(None);
    let mut ids = |known: Vec<Known>| {
        let snapshot = builder.build(&[], known, |_, _, _| TenantLimits::default());
        let instances = snapshot.tenants().flat_map(|tenant| &tenant.instances);
        let ids: Vec<String> = instances.map(|it| it.id.to_string()).collect();
        (ids, builder.refused().count())
    };
    let one = |id: &str, left_out| (vec![id.to_owned()], left_out);
    assert_eq!(ids(vec![second.clone()]), one("2", 0));
    assert_eq!(ids(vec![first.clone(), second.clone()]), one("2", 1));
    // The first cluster is not listed for a while.
    assert_eq!(ids(vec![first.clone()]), (Vec::new(), 1));
    assert_eq!(ids(vec![second.clone()]), one("2", 0));
    builder.release(&second.instance.key);
    let snapshot = builder.build(&[], [first], |_, _, _| TenantLimits::default());
    assert_eq!(
        snapshot
            .tenants()
            .map(|it| it.instances.len())
            .sum::<usize>(),
        1
    );
}

#[test]
fn update_computes_only_its_tenants_and_moves_released_aliases() {
    let known = |name: &str, alias: &str| {
        let (mut instance, addresses) = instance(name, "a", 1, Status::Ready);
        instance.labels.insert("tenant".into(), alias.into());
        Known {
            instance,
            addresses,
            health: Health::Up,
        }
    };
    let [one, two, three] = ["one", "two", "three"].map(|name| cluster(name).tenant());
    let mut builder = SnapshotBuilder::new(None);
    let mut computed = Vec::new();
    let mut update = |tenants: &[&TenantKey], known: Vec<Known>| {
        computed.clear();
        let tenants = tenants.iter().map(|it| (*it).clone());
        let limits = |key: &TenantKey, _: &[&str], _: &[ClusterInstance]| {
            computed.push(key.clone());
            TenantLimits::default()
        };
        let snapshot = builder.update(&tenants.collect(), [], known, limits);
        computed.sort();
        let refused: BTreeSet<TenantKey> = builder.refused().map(|(it, _)| it.clone()).collect();
        (snapshot, computed.clone(), refused)
    };
    update(&[&one], vec![known("one", "shop")]);
    update(&[&three], vec![known("three", "cart")]);
    let (before, _, refused) = update(&[&two], vec![known("two", "shop")]);
    assert_eq!(before.tenants().count(), 3);
    assert_eq!(refused, [two.clone()].into());
    assert_eq!(before.tenant(b"shop").unwrap().key, one);
    let both = vec![known("one", "store"), known("two", "shop")];
    let (after, computed, refused) = update(&[&one, &two], both);
    let mut wanted = vec![one.clone(), two.clone()];
    wanted.sort();
    assert_eq!((computed, refused), (wanted, BTreeSet::new()));
    assert_eq!(after.tenant(b"shop").unwrap().key, two);
    assert_eq!(after.tenant(b"store").unwrap().key, one);
    assert_eq!(
        after.changes_since(&before).count(),
        0,
        "a change of aliases is not a change of a tenant"
    );
    let (removed, ..) = update(&[&one], Vec::new());
    let changes = removed.changes_since(&after);
    let changes: Vec<_> = changes.map(|(old, new)| (&old.unwrap().key, new)).collect();
    assert!(matches!(changes[..], [(key, None)] if *key == one));
    assert!(removed.tenant(b"cart").is_some() && removed.tenant(b"store").is_none());
}
