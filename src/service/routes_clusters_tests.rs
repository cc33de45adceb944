//! The calls that list clusters and change them.

use super::*;

#[test]
fn the_list_shows_clusters_with_their_health() {
    let scene = Scene::new();
    let response = scene.ask_with("GET /list_cluster", "", None);
    let etag = scene.desk.etag();
    assert_eq!(response.header("ETag"), Some(&*format!("\"{etag}\"")));
    let key = concat!(
        r#""name":{"namespace":"default","name":"default"},"#,
        r#""location":{"region":"local","availability_zone":"local","node_name":"local"}"#
    );
    let instance = |id: &str, health: &str, reason: &str| {
        format!(
            concat!(
                r#"{{"key":{{{}}},"id":"{}","labels":{{}},"#,
                r#""endpoints":[{{"addr":"127.0.0.1","port":6379,"name":"redis"}}],"#,
                r#""status":"ready","owner":"","health":"{}","reason":"{}"}}"#
            ),
            key, id, health, reason
        )
    };
    let (a, bad) = (
        instance("a", "up", ""),
        instance("bad", "down", "connection refused"),
    );
    scene.succeeds(
        "GET /list_cluster",
        None,
        &format!(r#"[{{{key},"tenant":"{LOCAL}","instances":[{a},{bad}]}}]"#),
    );
    // What one proxy lists, another one reads.
    let read = crate::cluster::Catalog::from_json(response.body()).unwrap();
    assert_eq!(read, crate::cluster::Catalog::of(&*scene.office.registry));
}

#[test]
fn who_has_the_list_need_not_get_it_again() {
    let scene = Scene::new();
    let etag = scene.desk.etag();
    let known = format!("If-None-Match: W/\"x\", \"{etag}\"\r\n");
    let response = scene.ask_with("GET /list_cluster", &known, None);
    assert_eq!((response.status(), response.body()), (304, ""));
    assert_eq!(response.header("ETag"), Some(&*format!("\"{etag}\"")));
    let request = |line: &str, headers: &str| {
        request_of(&format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
    };
    let waits = request("GET /list_cluster?wait=60", &known);
    let wait = Answer::Wait { etag, ms: 60_000 };
    assert_eq!(scene.desk.answer(&waits, HERE), wait);
    for headers in ["", "If-None-Match: \"x\"\r\n"] {
        let response = scene.ask_with("GET /list_cluster?wait=60", headers, None);
        assert_eq!(response.status(), 200, "{headers}");
    }
    let range = "wait must be a whole number from 1 to 60";
    for wait in ["0", "61", "x", ""] {
        scene.fails(&format!("GET /list_cluster?wait={wait}"), None, 400, range);
    }
    let unknown = "unknown parameter weight; known: wait";
    scene.fails("GET /list_cluster?weight=1", None, 400, unknown);
    scene.office.registry.add_cluster(other()).unwrap();
    assert_eq!(
        scene.ask_with("GET /list_cluster", &known, None).status(),
        200
    );
}

/// Another proxy would take a list that is not complete for the truth.
#[test]
fn there_is_no_list_before_all_is_known() {
    let scene = Scene::new();
    scene.office.set_unsettled();
    let why = "the control plane has not answered yet";
    scene.fails("GET /list_cluster", None, 503, why);
    let known = format!("If-None-Match: \"{}\"\r\n", scene.desk.etag());
    let response = scene.ask_with("GET /list_cluster?wait=1", &known, None);
    assert_eq!(response.status(), 503);
}

#[test]
fn clusters_come_and_go() {
    let scene = Scene::new();
    let (key, tenant) = (other(), other().tenant());
    let unknown = format!("unknown cluster {key}: add it first");
    let instance = instance(key.clone(), "carts-0", "carts").to_json();
    scene.fails("POST /status_change", Some(&instance), 404, &unknown);
    assert!(!scene.desk.take_changed());
    for _ in 0..2 {
        let data = format!(r#"{{"tenant":"{tenant}"}}"#);
        scene.succeeds("POST /add_cluster", Some(&key.to_json()), &data);
        assert!(scene.desk.take_changed());
    }
    scene.succeeds("POST /status_change", Some(&instance), "null");
    assert!(scene.desk.take_changed());
    assert_eq!(scene.office.registry.get_cluster_instance(&tenant).len(), 1);

    let both = "give the cluster either as the body or with ?tenant=KEY_OR_ALIAS";
    scene.fails("DELETE /cluster", None, 400, both);
    let line = format!("DELETE /cluster?tenant={tenant}");
    scene.fails(&line, Some(&key.to_json()), 400, both);
    scene.fails("DELETE /cluster?tenant=x", None, 404, "unknown tenant x");
    scene.succeeds("DELETE /cluster?tenant=carts", None, "null");
    assert!(scene.desk.take_changed());
    assert!(!scene.office.registry.all_clusters().contains(&key));
    scene.fails("DELETE /cluster", Some(&key.to_json()), 404, &unknown);
    scene.succeeds(
        "DELETE /cluster",
        Some(&ClusterKey::local().to_json()),
        "null",
    );
    assert_eq!(scene.office.registry.all_clusters(), []);
}

#[test]
fn bad_json_is_refused_with_its_line() {
    let scene = Scene::new();
    for line in [
        "POST /add_cluster",
        "POST /status_change",
        "DELETE /cluster",
        "POST /pause",
    ] {
        let eof = "line 2: bad JSON: Unexpected EOF";
        scene.fails(line, Some("{\n"), 400, eof);
        let deep = "[".repeat(100_000);
        let too_deep = "line 1: nests deeper than 32 levels";
        scene.fails(line, Some(&deep), 400, too_deep);
    }
    let missing = r#"line 1: has no field \"name\""#;
    scene.fails("POST /add_cluster", Some("{}"), 400, missing);
    let request = request_of("POST /resume HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\n\r\n?");
    let request = Request {
        body: vec![0xff],
        ..request
    };
    let Answer::Now(response) = scene.desk.answer(&request, HERE) else {
        panic!("it waits");
    };
    assert!(response.body().contains("the body is not UTF-8"));
}

/// A registry whose control plane is away, or has given the key to somebody else.
struct Away(bool);

impl ClusterRegistry for Away {
    fn add_cluster(&self, key: ClusterKey) -> Result<TenantKey, RegistryError> {
        Err(if self.0 {
            RegistryError::TenantTaken(key)
        } else {
            RegistryError::Unavailable("no route to host".into())
        })
    }

    fn status_change(&self, _: ClusterInstance) -> Result<(), RegistryError> {
        Ok(())
    }

    fn notify(&self) -> std::sync::mpsc::Receiver<ClusterInstance> {
        std::sync::mpsc::channel().1
    }

    fn get_cluster_instance(&self, _: &TenantKey) -> Vec<ClusterInstance> {
        Vec::new()
    }

    fn all_cluster_instances(&self) -> Vec<ClusterInstance> {
        Vec::new()
    }
}

#[test]
fn what_the_registry_refuses_is_an_error() {
    let ask = |taken| {
        let office = Arc::new(FakeOffice::new());
        let registry = Arc::new(Away(taken));
        let desk = Desk::new(
            ServiceSettings::default(),
            office.clone(),
            registry,
            Arc::default(),
        );
        let scene = Scene { office, desk };
        let answer = scene.ask("POST /add_cluster", Some(&ClusterKey::local().to_json()));
        assert!(!scene.desk.take_changed());
        answer
    };
    let message = "control plane unavailable: no route to host";
    let expected = format!(r#"{{"code":503,"message":"{message}","data":null}}"#);
    assert_eq!(ask(false), (503, expected));
    let local = "local:local:local:default:default";
    let message = format!("its tenant key already belongs to cluster {local}");
    let expected = format!(r#"{{"code":409,"message":"{message}","data":null}}"#);
    assert_eq!(ask(true), (409, expected));
}

#[test]
fn the_static_router_keeps_its_cluster() {
    let scene = Scene::with(|it| it.fixed = true);
    let key = ClusterKey::local().to_json();
    let message = "the static router has one cluster; to change clusters here, start with \
        --router.type=sync";
    for line in [
        "POST /add_cluster",
        "POST /status_change",
        "DELETE /cluster",
    ] {
        scene.fails(line, Some(&key), 409, message);
    }
    assert_eq!(scene.ask("GET /list_cluster", None).0, 200);
    assert_eq!(scene.ask("POST /drain", None).0, 202);
}

#[test]
fn names_of_a_cluster_that_is_not_listed_can_be_freed() {
    let scene = Scene::new();
    let mut owners = scene.office.owners.lock().unwrap();
    let tenant = owners.claim_key(&other()).unwrap();
    owners.claim_alias(&tenant, "carts").unwrap();
    drop(owners);
    let released = [format!("release {}", other())];
    scene.succeeds("DELETE /cluster?tenant=carts", None, "null");
    assert_eq!(scene.office.take_calls(), released);
    assert_eq!(scene.ask("DELETE /cluster?tenant=carts", None).0, 404);
    scene
        .office
        .owners
        .lock()
        .unwrap()
        .claim_key(&other())
        .unwrap();
    scene.succeeds("DELETE /cluster", Some(&other().to_json()), "null");
    assert_eq!(scene.office.take_calls(), released);
    let again = scene.ask("DELETE /cluster", Some(&other().to_json()));
    assert_eq!(again.0, 404);
}
