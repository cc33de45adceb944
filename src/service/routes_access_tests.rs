//! Who may make a call, and who may not.

use super::*;

impl Scene {
    /// The status of the answer to a caller on this machine that comes to the service port.
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
        match self.desk.answer(&request, caller) {
            Answer::Now(response) => response.status(),
            waits => panic!("{line}: {waits:?}"),
        }
    }
}

/// Which calls are for whom; the rules themselves are tested where they are.
#[test]
fn what_changes_or_shows_something_is_guarded() {
    let scene = Scene::with(|it| it.token = Some(Token::new("s3cret")));
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
        assert_eq!(scene.ask(line, None).0, 401, "{line}");
        assert_ne!(scene.ask_with(line, shown, None).status(), 401, "{line}");
    }
    assert_eq!(scene.office.take_calls().len(), 4);
    for path in ["/healthz", "/readyz", "/metrics", "/list_cluster"] {
        assert_eq!(scene.ask(&format!("GET {path}"), None).0, 200, "{path}");
    }
    let scene = Scene::new();
    for line in guarded {
        let response = scene.ask_with(line, "Origin: http://localhost\r\n", None);
        assert_eq!(response.status(), 403, "{line}");
    }
    assert_eq!(scene.office.take_calls(), [""; 0]);
}

/// A reverse proxy on this machine may look like a caller on this machine.
#[test]
fn the_service_port_lets_local_callers_add_and_nothing_else() {
    let scene = Scene::new();
    let status = |line: &str, body: Option<&str>| scene.status_at_the_service_port(line, body);
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
    assert_eq!(scene.office.take_calls(), [""; 0]);
    let mut own = instance(other(), "a", "carts");
    assert_eq!(status("POST /add_cluster", Some(&other().to_json())), 200);
    let add = |it: &ClusterInstance| status("POST /status_change", Some(&it.to_json()));
    assert_eq!(add(&own), 200);
    assert_eq!(add(&own), 200, "it changes nothing");
    // One more, or another address, would get clients and their passwords.
    assert_eq!(add(&instance(other(), "b", "carts")), 403);
    own.endpoints[0].port += 1;
    assert_eq!(add(&own), 403);
    assert_eq!(
        scene
            .office
            .registry
            .get_cluster_instance(&other().tenant())
            .len(),
        1
    );
}

#[test]
fn a_name_that_belongs_to_another_cluster_is_refused() {
    let scene = Scene::new();
    let registry = &scene.office.registry;
    registry.add_cluster(other()).unwrap();
    let taken = instance(other(), "a", "taken");
    let why = "alias taken already belongs to cluster local:local:local:default:default";
    scene.fails("POST /status_change", Some(&taken.to_json()), 409, why);
    assert!(registry.get_cluster_instance(&other().tenant()).is_empty());
    scene.succeeds("DELETE /cluster", Some(&other().to_json()), "null");
    assert_eq!(scene.office.take_calls(), [format!("release {}", other())]);
}

/// Its names may be in use, and its clients come back.
#[test]
fn the_service_port_gives_no_instance_to_a_cluster_that_was_there_before() {
    let scene = Scene::new();
    let port = |line: &str, body: String| scene.status_at_the_service_port(line, Some(&body));
    let registry = &scene.office.registry;
    let foreign = instance(other(), "evil", "orders");
    assert_eq!(port("POST /status_change", foreign.to_json()), 404);
    // Added with full trust, its only instance is deleted for a moment.
    scene.ask("POST /add_cluster", Some(&other().to_json()));
    assert_eq!(port("POST /add_cluster", other().to_json()), 200);
    assert_eq!(port("POST /status_change", foreign.to_json()), 403);
    let mut own = instance(other(), "a", "orders");
    registry.status_change(own.clone()).unwrap();
    own.status = crate::cluster::Status::Deleted;
    registry.status_change(own).unwrap();
    assert_eq!(port("POST /status_change", foreign.to_json()), 403);
    // The same of a cluster that was added here, and was given its instance by another source.
    let mut mine = other();
    mine.name.name = "mine".into();
    assert_eq!(port("POST /add_cluster", mine.to_json()), 200);
    let mut owners = scene.office.owners.lock().unwrap();
    let tenant = owners.claim_key(&mine).unwrap();
    owners.serve(&tenant);
    drop(owners);
    let foreign = instance(mine, "evil", "mine").to_json();
    assert_eq!(port("POST /status_change", foreign), 403);
    // And of one that another run has left.
    let mut old = other();
    old.name.name = "old".into();
    let mut owners = scene.office.owners.lock().unwrap();
    owners.claim_key(&old).unwrap();
    drop(owners);
    assert_eq!(port("POST /add_cluster", old.to_json()), 200);
    let foreign = instance(old, "evil", "old").to_json();
    assert_eq!(port("POST /status_change", foreign), 403);
}

#[test]
fn the_service_port_takes_so_many_clusters_of_local_callers() {
    use crate::service::limits::CLUSTERS_MAX;
    let scene = Scene::new();
    let cluster = |n: usize| {
        let mut key = ClusterKey::local();
        key.name.name = format!("c{n}");
        key
    };
    let add = |n| {
        let key = cluster(n).to_json();
        scene.status_at_the_service_port("POST /add_cluster", Some(&key))
    };
    assert!((0..CLUSTERS_MAX).all(|n| add(n) == 200));
    assert_eq!(add(CLUSTERS_MAX), 503);
    assert_eq!(add(7), 200, "it is there already");
    let page = scene.desk.counters.page();
    assert!(page.contains("elika_service_limited_total{limit=\"clusters\"} 1\n"));
    // With full trust there is no such limit; a cluster that is deleted makes room.
    let one_more = cluster(CLUSTERS_MAX + 1).to_json();
    assert_eq!(scene.ask("POST /add_cluster", Some(&one_more)).0, 200);
    let first = cluster(0).to_json();
    scene.succeeds("DELETE /cluster", Some(&first), "null");
    assert_eq!(add(CLUSTERS_MAX), 200);
    assert_eq!(add(0), 503);
    scene.office.registry.remove_cluster(&cluster(1)).unwrap();
    assert_eq!(add(0), 200);
}
