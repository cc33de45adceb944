//! Every call, as somebody who may make it and as somebody who may not.

use std::sync::Arc;

use super::*;
use crate::cluster::{
    ALIAS_LABEL, ClusterInstance, ClusterKey, ClusterRegistry, Endpoint, RegistryError, TenantKey,
};
use crate::service::check::request_of;
use crate::service::desk::ServiceSettings;
use crate::service::fake::FakeOffice;
use crate::service::guard::Token;

const HERE: Caller = Caller {
    peer: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    admin: true,
};
const LOCAL: &str = "yigF5wkxq44";

struct Scene {
    office: Arc<FakeOffice>,
    desk: Desk,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut ServiceSettings)) -> Self {
        let office = Arc::new(FakeOffice::new());
        let mut settings = ServiceSettings {
            metrics_path: Some("/metrics".into()),
            ..ServiceSettings::default()
        };
        set(&mut settings);
        let desk = office.desk(settings);
        Self { office, desk }
    }

    /// The answer to `METHOD TARGET`, with more headers and a body.
    fn ask_with(&self, line: &str, headers: &str, body: Option<&str>) -> Response {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len()));
        let length = length.unwrap_or_default();
        let request = request_of(&format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{}",
            body.unwrap_or_default()
        ));
        match self.desk.answer(&request, HERE) {
            Answer::Now(response) => response,
            waits => panic!("{line}: {waits:?}"),
        }
    }

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

    fn ask(&self, line: &str, body: Option<&str>) -> (u16, String) {
        let response = self.ask_with(line, "", body);
        (response.status(), response.body().to_owned())
    }

    #[track_caller]
    fn succeeds(&self, line: &str, body: Option<&str>, data: &str) {
        let expected = format!(r#"{{"code":0,"message":"success","data":{data}}}"#);
        assert_eq!(self.ask(line, body), (200, expected), "{line}");
    }

    #[track_caller]
    fn fails(&self, line: &str, body: Option<&str>, status: u16, message: &str) {
        let expected = format!(r#"{{"code":{status},"message":"{message}","data":null}}"#);
        assert_eq!(self.ask(line, body), (status, expected), "{line}");
    }
}

fn instance(key: ClusterKey, id: &str, alias: &str) -> ClusterInstance {
    let endpoint = Endpoint {
        addr: "127.0.0.1".into(),
        port: 6380,
        name: "redis".into(),
    };
    let mut instance = ClusterInstance::new(key, id, endpoint);
    instance.labels.insert(ALIAS_LABEL.into(), alias.into());
    instance
}

fn other() -> ClusterKey {
    let mut key = ClusterKey::local();
    key.name.name = "carts".into();
    key
}

#[test]
fn it_lives_and_is_ready() {
    let scene = Scene::new();
    let ok = (200, r#"{"status":"ok"}"#.to_owned());
    assert_eq!(scene.ask("GET /healthz", None), ok);
    assert_eq!(scene.ask("GET /readyz", None), ok);
    // Probes may have parameters.
    assert_eq!(scene.ask("GET /healthz?x=1", None), ok);
    scene.office.set_unready("draining");
    let not = r#"{"status":"unavailable","reason":"draining"}"#;
    assert_eq!(scene.ask("GET /readyz", None), (503, not.to_owned()));
    assert_eq!(scene.ask("GET /healthz", None), ok);
}

#[test]
fn the_metrics_are_where_they_are_said_to_be() {
    let scene = Scene::with(|it| it.metrics_path = Some("/a/b".into()));
    scene.desk.counters.answered(404);
    let response = scene.ask_with("GET /a/b", "", None);
    assert_eq!(response.status(), 200);
    let text = String::from_utf8(response.into_bytes(false, super::super::http::After::Keep));
    let text = text.unwrap();
    assert!(text.contains("\r\nContent-Type: text/plain; version=0.0.4"));
    assert!(text.contains("\nelika_fake 1\n"));
    for line in [
        "# TYPE elika_service_responses_total counter",
        "elika_service_responses_total{code=\"404\"} 1",
        "elika_service_limited_total{limit=\"body\"} 0",
        "elika_service_connections 0",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line}");
    }
    assert_eq!(scene.ask("GET /metrics", None).0, 404);
    let scene = Scene::with(|it| it.metrics_path = None);
    assert_eq!(scene.ask("GET /metrics", None).0, 404);
    assert_eq!(scene.ask("GET /", None).0, 404);
}

#[test]
fn who_is_lost_is_told_the_way() {
    let scene = Scene::new();
    scene.fails(
        "GET /x",
        None,
        404,
        "no such path; there are: GET /healthz, GET /readyz, GET /metrics, GET /list_cluster, \
         POST /add_cluster, POST /status_change, DELETE /cluster, GET /clients, GET /pools, \
         POST /pause, POST /resume, POST /drain",
    );
    for (line, allowed) in [
        ("POST /healthz", "GET, HEAD"),
        ("OPTIONS /metrics", "GET, HEAD"),
        ("GET /add_cluster", "POST"),
        ("HEAD /drain", "POST"),
        ("POST /cluster", "DELETE"),
    ] {
        let response = scene.ask_with(line, "", None);
        assert_eq!(
            (response.status(), response.header("Allow")),
            (405, Some(allowed))
        );
    }
    scene.fails(
        "DELETE /pause",
        None,
        405,
        "DELETE is not for /pause; allowed: POST",
    );
    // HEAD is GET without the body, which is cut off when it is sent.
    assert_eq!(
        scene.ask("HEAD /list_cluster", None),
        scene.ask("GET /list_cluster", None)
    );
}

#[test]
fn bodies_are_where_they_belong() {
    let scene = Scene::new();
    scene.fails(
        "POST /add_cluster",
        None,
        411,
        "POST /add_cluster needs a body",
    );
    scene.fails("POST /drain", Some("x"), 400, "POST /drain takes no body");
    scene.fails("GET /pools", Some("x"), 400, "GET /pools takes no body");
    assert_eq!(scene.ask("POST /drain", Some("")).0, 202);
}

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
    let message = format!("tenant key {LOCAL} already belongs to cluster {local}");
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
fn clients_and_pools_are_those_of_all_workers() {
    let scene = Scene::new();
    let client = |worker: u16, id: u64| {
        format!(
            concat!(
                r#"{{"id":{},"name":"job \"7\"","tenant":"{}","age_seconds":60,"#,
                r#""command":"blpop","db":1,"idle_seconds":2,"in_flight":1,"instance":"a","#,
                r#""outbound_bytes":0,"peer":"127.0.0.1:50000","pinned":"blocked","#,
                r#""protocol":3,"user":"ann","worker":{}}}"#
            ),
            id, LOCAL, worker
        )
    };
    let all = [client(0, 1), client(1, 2), client(0, 3), client(1, 4)];
    let list = |n: usize| format!("[{}]", all[..n].join(","));
    scene.succeeds("GET /clients", None, &list(4));
    scene.succeeds("GET /clients?limit=3", None, &list(3));
    scene.succeeds(
        &format!("GET /clients?tenant={LOCAL}&limit=10000"),
        None,
        &list(4),
    );
    let asked = |limit: usize, tenant: &str| format!("survey Clients({limit}, {tenant})");
    let calls = [
        asked(1_000, "None"),
        asked(3, "None"),
        asked(10_000, &format!("Some(TenantKey({LOCAL}))")),
    ];
    assert_eq!(scene.office.take_calls(), calls);
    scene.fails("GET /clients?tenant=x", None, 404, "unknown tenant x");
    for limit in ["0", "10001", "all"] {
        let range = "limit must be a whole number from 1 to 10000";
        scene.fails(&format!("GET /clients?limit={limit}"), None, 400, range);
    }
    let pool = |worker: u16| {
        format!(
            concat!(
                r#"{{"tenant":"{}","clients":2,"db":1,"idle":0,"in_flight":1,"instance":"a","#,
                r#""oldest_wait_ms":0,"own":1,"protocol":3,"shared":1,"user":"ann","#,
                r#""waiting":0,"worker":{}}}"#
            ),
            LOCAL, worker
        )
    };
    scene.succeeds("GET /pools", None, &format!("[{},{}]", pool(0), pool(1)));
}

#[test]
fn tenants_are_paused_and_go_on() {
    let scene = Scene::new();
    let registry = &scene.office.registry;
    registry.add_cluster(other()).unwrap();
    registry
        .status_change(instance(other(), "x", "carts"))
        .unwrap();
    let tenant = other().tenant();
    let cluster = format!(r#"{{"cluster":{},"seconds":3600}}"#, other().to_json());
    let data = |seconds: u64| format!(r#"{{"tenant":"{tenant}","seconds":{seconds}}}"#);
    scene.succeeds("POST /pause", Some(r#"{"tenant":"carts"}"#), &data(30));
    scene.succeeds(
        "POST /pause",
        Some(r#"{"tenant":"carts","seconds":1}"#),
        &data(1),
    );
    scene.succeeds("POST /pause", Some(&cluster), &data(3600));
    let gone_on = format!(r#"{{"tenant":"{tenant}"}}"#);
    scene.succeeds("POST /resume", Some(&gone_on), &gone_on);
    scene.succeeds("POST /resume", Some(&cluster), &gone_on);
    // The workers have heard of it when the answer is given.
    let calls = [
        format!("pause {tenant} 30000"),
        format!("pause {tenant} 1000"),
        format!("pause {tenant} 3600000"),
        format!("resume {tenant}"),
        format!("resume {tenant}"),
    ];
    let calls = calls.map(|call| [call, "survey Clients(0, None)".to_owned()]);
    assert_eq!(scene.office.take_calls(), calls.as_flattened());

    registry.remove_cluster(&other()).unwrap();
    let range = "line 1: seconds: must be a whole number from 1 to 3600";
    for (body, status, message) in [
        (r#"{"tenant":"x"}"#, 404, "unknown tenant x".to_owned()),
        (&*cluster, 404, format!("unknown cluster {}", other())),
        (r#"{"tenant":"x","seconds":0}"#, 400, range.to_owned()),
        (r#"{"tenant":"x","seconds":3601}"#, 400, range.to_owned()),
        (r#"{"tenant":"x","seconds":1.5}"#, 400, range.to_owned()),
        (
            r#"{"tenant":7}"#,
            400,
            "line 1: tenant: must be a string".to_owned(),
        ),
        (
            "\n{}",
            400,
            r#"line 2: has neither \"tenant\" nor \"cluster\""#.to_owned(),
        ),
        (
            r#"{"tenant":"x","cluster":{}}"#,
            400,
            r#"line 1: has both \"tenant\" and \"cluster\""#.to_owned(),
        ),
        (
            r#"{"cluster":{}}"#,
            400,
            r#"line 1: cluster: has no field \"name\""#.to_owned(),
        ),
    ] {
        scene.fails("POST /pause", Some(body), status, &message);
        scene.fails("POST /resume", Some(body), status, &message);
    }
    assert_eq!(scene.office.take_calls(), [""; 0]);
}

#[test]
fn a_drain_is_accepted() {
    let scene = Scene::new();
    let text = r#"{"code":0,"message":"success","data":null}"#.to_owned();
    assert_eq!(scene.ask("POST /drain", None), (202, text));
    assert_eq!(scene.office.take_calls(), ["drain"]);
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
