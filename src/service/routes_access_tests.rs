//! Access to each call.

use super::*;

impl Fixture {
    /// The status for a caller on this machine that uses the service port.
    fn status_at_the_service_port(&self, line: &str, body: Option<&str>) -> u16 {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len()));
        let request = request_of(&format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\n{}\r\n{}",
            length.unwrap_or_default(),
            body.unwrap_or_default()
        ));
        let caller = Caller {
            admin: false,
            ..HERE
        };
        match self.context.answer(&request, caller) {
            Answer::Now(response) => response.status(),
            waits => panic!("{line}: {waits:?}"),
        }
    }
}

/// Which level each call needs. The levels themselves are tested in `access`.
#[test]
fn calls_that_change_or_list_clients_need_a_trusted_caller() {
    let fixture = Fixture::with(|it| it.token = Some(Token::new("s3cret")));
    let shown = "Authorization: Bearer s3cret\r\n";
    let guarded = [
        "POST /add_cluster",
        "POST /status_change",
        "DELETE /cluster",
        "GET /clients",
        "HEAD /clients",
        "GET /pools",
        "POST /pause",
        "POST /resume",
        "POST /drain",
    ];
    for line in guarded {
        assert_eq!(fixture.ask(line, None).0, 401, "{line}");
        assert_ne!(fixture.ask_with(line, shown, None).status(), 401, "{line}");
    }
    assert_eq!(fixture.control.take_calls().len(), 4);
    for path in ["/healthz", "/readyz", "/metrics", "/list_cluster"] {
        assert_eq!(fixture.ask(&format!("GET {path}"), None).0, 200, "{path}");
    }
    let fixture = Fixture::new();
    for line in guarded {
        let response = fixture.ask_with(line, "Origin: http://localhost\r\n", None);
        assert_eq!(response.status(), 403, "{line}");
    }
    assert_eq!(fixture.control.take_calls(), [""; 0]);
}

/// A reverse proxy on this machine may look like a local caller.
#[test]
fn local_callers_of_the_service_port_can_only_add() {
    let fixture = Fixture::new();
    let status = |line: &str, body: Option<&str>| fixture.status_at_the_service_port(line, body);
    for (line, body) in [
        ("POST /drain", None),
        ("GET /clients", None),
        ("GET /pools", None),
        ("POST /pause", Some("{}")),
        ("POST /resume", Some("{}")),
        ("DELETE /cluster", Some("{}")),
    ] {
        assert_eq!(status(line, body), 403, "{line}");
    }
    assert_eq!(fixture.control.take_calls(), [""; 0]);
    let mut own = instance(other(), "a", "carts");
    assert_eq!(status("POST /add_cluster", Some(&other().to_json())), 200);
    let add = |it: &ClusterInstance| status("POST /status_change", Some(&it.to_json()));
    assert_eq!(add(&own), 200);
    assert_eq!(add(&own), 200, "the same instance again");
    // Another instance, or another address, would receive clients and their passwords.
    assert_eq!(add(&instance(other(), "b", "carts")), 403);
    own.endpoints[0].port += 1;
    assert_eq!(add(&own), 403);
    assert_eq!(
        fixture
            .control
            .registry
            .get_cluster_instance(&other().tenant())
            .len(),
        1
    );
}

#[test]
fn name_of_another_cluster_is_refused() {
    let fixture = Fixture::new();
    let registry = &fixture.control.registry;
    registry.add_cluster(other()).unwrap();
    let taken = instance(other(), "a", "taken");
    let why = "alias taken already belongs to cluster local:local:local:default:default";
    fixture.fails("POST /status_change", Some(&taken.to_json()), 409, why);
    assert!(registry.get_cluster_instance(&other().tenant()).is_empty());
    fixture.succeeds("DELETE /cluster", Some(&other().to_json()), "null");
    assert_eq!(
        fixture.control.take_calls(),
        [format!("release {}", other())]
    );
}

/// The names of the cluster may be in use, and its clients may return.
#[test]
fn existing_clusters_get_no_instance_through_the_service_port() {
    let fixture = Fixture::new();
    let port = |line: &str, body: String| fixture.status_at_the_service_port(line, Some(&body));
    let registry = &fixture.control.registry;
    let foreign = instance(other(), "evil", "orders");
    assert_eq!(port("POST /status_change", foreign.to_json()), 404);
    // A cluster of a trusted caller, whose only instance is deleted for a moment.
    fixture.ask("POST /add_cluster", Some(&other().to_json()));
    assert_eq!(port("POST /add_cluster", other().to_json()), 200);
    assert_eq!(port("POST /status_change", foreign.to_json()), 403);
    let mut own = instance(other(), "a", "orders");
    registry.status_change(own.clone()).unwrap();
    own.status = crate::cluster::Status::Deleted;
    registry.status_change(own).unwrap();
    assert_eq!(port("POST /status_change", foreign.to_json()), 403);
    // A cluster that was added here and got its instance from another source.
    let mut mine = other();
    mine.name.name = "mine".into();
    assert_eq!(port("POST /add_cluster", mine.to_json()), 200);
    let mut owners = fixture.control.owners.lock().unwrap();
    let tenant = owners.claim_key(&mine).unwrap();
    owners.serve(&tenant);
    drop(owners);
    let foreign = instance(mine, "evil", "mine").to_json();
    assert_eq!(port("POST /status_change", foreign), 403);
    // A cluster of an earlier run.
    let mut old = other();
    old.name.name = "old".into();
    let mut owners = fixture.control.owners.lock().unwrap();
    owners.claim_key(&old).unwrap();
    drop(owners);
    assert_eq!(port("POST /add_cluster", old.to_json()), 200);
    let foreign = instance(old, "evil", "old").to_json();
    assert_eq!(port("POST /status_change", foreign), 403);
}

#[test]
fn clusters_added_through_the_service_port_are_limited() {
    use crate::service::limits::CLUSTERS_MAX;
    let fixture = Fixture::new();
    let cluster = |n: usize| {
        let mut key = ClusterKey::local();
        key.name.name = format!("c{n}");
        key
    };
    let add = |n| {
        let key = cluster(n).to_json();
        fixture.status_at_the_service_port("POST /add_cluster", Some(&key))
    };
    assert!((0..CLUSTERS_MAX).all(|n| add(n) == 200));
    assert_eq!(add(CLUSTERS_MAX), 503);
    assert_eq!(add(7), 200, "the cluster is listed already");
    let page = fixture.context.counters.page();
    assert!(page.contains("elika_service_limited_total{limit=\"clusters\"} 1\n"));
    // Trusted callers have no such limit, and a deleted cluster does not count.
    let one_more = cluster(CLUSTERS_MAX + 1).to_json();
    assert_eq!(fixture.ask("POST /add_cluster", Some(&one_more)).0, 200);
    let first = cluster(0).to_json();
    fixture.succeeds("DELETE /cluster", Some(&first), "null");
    assert_eq!(add(CLUSTERS_MAX), 200);
    assert_eq!(add(0), 503);
    fixture
        .control
        .registry
        .remove_cluster(&cluster(1))
        .unwrap();
    assert_eq!(add(0), 200);
}
