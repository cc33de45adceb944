//! Calls that list and change clusters.

use super::*;

#[test]
fn list_shows_clusters_with_health() {
    let fixture = Fixture::new();
    let response = fixture.ask_with("GET /list_cluster", "", None);
    let etag = fixture.context.etag();
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
    fixture.succeeds(
        "GET /list_cluster",
        None,
        &format!(r#"[{{{key},"tenant":"{LOCAL}","instances":[{a},{bad}]}}]"#),
    );
    // Another proxy can parse the list.
    let read = crate::cluster::Catalog::from_json(response.body()).unwrap();
    assert_eq!(
        read,
        crate::cluster::Catalog::of(&*fixture.control.registry)
    );
}

#[test]
fn client_with_the_current_etag_gets_not_modified() {
    let fixture = Fixture::new();
    let etag = fixture.context.etag();
    let known = format!("If-None-Match: W/\"x\", \"{etag}\"\r\n");
    let response = fixture.ask_with("GET /list_cluster", &known, None);
    assert_eq!((response.status(), response.body()), (304, ""));
    assert_eq!(response.header("ETag"), Some(&*format!("\"{etag}\"")));
    let request = |line: &str, headers: &str| {
        request_of(&format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
    };
    let waits = request("GET /list_cluster?wait=60", &known);
    let wait = Answer::Wait { etag, ms: 60_000 };
    assert_eq!(fixture.context.answer(&waits, HERE), wait);
    for headers in ["", "If-None-Match: \"x\"\r\n"] {
        let response = fixture.ask_with("GET /list_cluster?wait=60", headers, None);
        assert_eq!(response.status(), 200, "{headers}");
    }
    let range = "wait must be a whole number from 1 to 60";
    for wait in ["0", "61", "x", ""] {
        fixture.fails(&format!("GET /list_cluster?wait={wait}"), None, 400, range);
    }
    let unknown = "unknown parameter weight; known: wait";
    fixture.fails("GET /list_cluster?weight=1", None, 400, unknown);
    fixture.control.registry.add_cluster(other()).unwrap();
    assert_eq!(
        fixture.ask_with("GET /list_cluster", &known, None).status(),
        200
    );
}

/// A proxy that follows an incomplete list would delete the clusters that are missing.
#[test]
fn list_is_unavailable_until_clusters_are_known() {
    let fixture = Fixture::new();
    fixture.control.set_clusters_unknown();
    let why = "the control plane has not answered yet";
    fixture.fails("GET /list_cluster", None, 503, why);
    let known = format!("If-None-Match: \"{}\"\r\n", fixture.context.etag());
    let response = fixture.ask_with("GET /list_cluster?wait=1", &known, None);
    assert_eq!(response.status(), 503);
}

#[test]
fn clusters_are_added_and_deleted() {
    let fixture = Fixture::new();
    let (key, tenant) = (other(), other().tenant());
    let unknown = format!("unknown cluster {key}: add it first");
    let instance = instance(key.clone(), "carts-0", "carts").to_json();
    fixture.fails("POST /status_change", Some(&instance), 404, &unknown);
    assert!(!fixture.context.take_changed());
    for _ in 0..2 {
        let data = format!(r#"{{"tenant":"{tenant}"}}"#);
        fixture.succeeds("POST /add_cluster", Some(&key.to_json()), &data);
        assert!(fixture.context.take_changed());
    }
    fixture.succeeds("POST /status_change", Some(&instance), "null");
    assert!(fixture.context.take_changed());
    assert_eq!(
        fixture.control.registry.get_cluster_instance(&tenant).len(),
        1
    );

    let both = "give the cluster either as the body or with ?tenant=KEY_OR_ALIAS";
    fixture.fails("DELETE /cluster", None, 400, both);
    let line = format!("DELETE /cluster?tenant={tenant}");
    fixture.fails(&line, Some(&key.to_json()), 400, both);
    fixture.fails("DELETE /cluster?tenant=x", None, 404, "unknown tenant x");
    fixture.succeeds("DELETE /cluster?tenant=carts", None, "null");
    assert!(fixture.context.take_changed());
    assert!(!fixture.control.registry.all_clusters().contains(&key));
    fixture.fails("DELETE /cluster", Some(&key.to_json()), 404, &unknown);
    fixture.succeeds(
        "DELETE /cluster",
        Some(&ClusterKey::local().to_json()),
        "null",
    );
    assert_eq!(fixture.control.registry.all_clusters(), []);
}

#[test]
fn invalid_json_is_refused_with_its_line() {
    let fixture = Fixture::new();
    for line in [
        "POST /add_cluster",
        "POST /status_change",
        "DELETE /cluster",
        "POST /pause",
    ] {
        let eof = "line 2: bad JSON: Unexpected EOF";
        fixture.fails(line, Some("{\n"), 400, eof);
        let deep = "[".repeat(100_000);
        let too_deep = "line 1: nests deeper than 32 levels";
        fixture.fails(line, Some(&deep), 400, too_deep);
    }
    let missing = r#"line 1: has no field \"name\""#;
    fixture.fails("POST /add_cluster", Some("{}"), 400, missing);
    let request = request_of("POST /resume HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\n\r\n?");
    let request = Request {
        body: vec![0xff],
        ..request
    };
    let Answer::Now(response) = fixture.context.answer(&request, HERE) else {
        panic!("it waits");
    };
    assert!(response.body().contains("the body is not UTF-8"));
}

/// A registry whose control plane is unavailable, or which refuses a tenant key that is taken.
struct UnavailableRegistry(bool);

impl ClusterRegistry for UnavailableRegistry {
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
fn registry_errors_have_their_status() {
    let ask = |taken| {
        let control = Arc::new(FakeControl::new());
        let registry = Arc::new(UnavailableRegistry(taken));
        let context = Context::new(
            ServiceSettings::default(),
            control.clone(),
            registry,
            Arc::default(),
        );
        let fixture = Fixture { control, context };
        let answer = fixture.ask("POST /add_cluster", Some(&ClusterKey::local().to_json()));
        assert!(!fixture.context.take_changed());
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
fn static_router_refuses_changes_of_clusters() {
    let fixture = Fixture::with(|it| it.fixed = true);
    let key = ClusterKey::local().to_json();
    let message = "the static router has a fixed cluster; to change clusters, start with \
        --router.type=sync";
    for line in [
        "POST /add_cluster",
        "POST /status_change",
        "DELETE /cluster",
    ] {
        fixture.fails(line, Some(&key), 409, message);
    }
    assert_eq!(fixture.ask("GET /list_cluster", None).0, 200);
    assert_eq!(fixture.ask("POST /drain", None).0, 202);
}

#[test]
fn names_of_an_unlisted_cluster_can_be_freed() {
    let fixture = Fixture::new();
    let mut owners = fixture.control.owners.lock().unwrap();
    let tenant = owners.claim_key(&other()).unwrap();
    owners.claim_alias(&tenant, "carts").unwrap();
    drop(owners);
    let released = [format!("release {}", other())];
    fixture.succeeds("DELETE /cluster?tenant=carts", None, "null");
    assert_eq!(fixture.control.take_calls(), released);
    assert_eq!(fixture.ask("DELETE /cluster?tenant=carts", None).0, 404);
    fixture
        .control
        .owners
        .lock()
        .unwrap()
        .claim_key(&other())
        .unwrap();
    fixture.succeeds("DELETE /cluster", Some(&other().to_json()), "null");
    assert_eq!(fixture.control.take_calls(), released);
    let again = fixture.ask("DELETE /cluster", Some(&other().to_json()));
    assert_eq!(again.0, 404);
}
