//! Every call, with and without access.

use std::sync::Arc;

use super::*;
use crate::cluster::{
    ALIAS_LABEL, ClusterInstance, ClusterKey, ClusterRegistry, Endpoint, RegistryError, TenantKey,
};
use crate::service::access::Token;
use crate::service::check::request_of;
use crate::service::context::ServiceSettings;
use crate::service::fake_control::FakeControl;

const HERE: Caller = Caller {
    peer: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    admin: true,
};
const LOCAL: &str = "yigF5wkxq44";

struct Fixture {
    control: Arc<FakeControl>,
    context: Context,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut ServiceSettings)) -> Self {
        let control = Arc::new(FakeControl::new());
        let mut settings = ServiceSettings {
            metrics_path: Some("/metrics".into()),
            ..ServiceSettings::default()
        };
        set(&mut settings);
        let context = control.context(settings);
        Self { control, context }
    }

    /// The response to `METHOD TARGET`, with additional headers and a body.
    fn ask_with(&self, line: &str, headers: &str, body: Option<&str>) -> Response {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len()));
        let length = length.unwrap_or_default();
        let request = request_of(&format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{}",
            body.unwrap_or_default()
        ));
        match self.context.answer(&request, HERE) {
            Answer::Now(response) => response,
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
    let endpoint = Endpoint::new("127.0.0.1", 6380);
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
fn probes_report_health_and_readiness() {
    let fixture = Fixture::new();
    let ok = (200, r#"{"status":"ok"}"#.to_owned());
    assert_eq!(fixture.ask("GET /healthz", None), ok);
    assert_eq!(fixture.ask("GET /readyz", None), ok);
    // Probes may have parameters.
    assert_eq!(fixture.ask("GET /healthz?x=1", None), ok);
    fixture.control.set_unready("draining");
    let not = r#"{"status":"unavailable","reason":"draining"}"#;
    assert_eq!(fixture.ask("GET /readyz", None), (503, not.to_owned()));
    assert_eq!(fixture.ask("GET /healthz", None), ok);
}

#[test]
fn metrics_page_has_the_configured_path() {
    let fixture = Fixture::with(|it| it.metrics_path = Some("/a/b".into()));
    fixture.context.counters.answered(404);
    let response = fixture.ask_with("GET /a/b", "", None);
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
    assert_eq!(fixture.ask("GET /metrics", None).0, 404);
    let fixture = Fixture::with(|it| it.metrics_path = None);
    assert_eq!(fixture.ask("GET /metrics", None).0, 404);
    assert_eq!(fixture.ask("GET /", None).0, 404);
}

#[test]
fn unknown_paths_and_methods_list_the_valid_ones() {
    let fixture = Fixture::new();
    fixture.fails(
        "GET /x",
        None,
        404,
        "no such path; available: GET /healthz, GET /readyz, GET /metrics, GET /list_cluster, \
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
        let response = fixture.ask_with(line, "", None);
        assert_eq!(
            (response.status(), response.header("Allow")),
            (405, Some(allowed))
        );
    }
    fixture.fails(
        "DELETE /pause",
        None,
        405,
        "DELETE is not allowed for /pause; allowed: POST",
    );
    // HEAD is answered like GET; its body is removed when the response is encoded.
    assert_eq!(
        fixture.ask("HEAD /list_cluster", None),
        fixture.ask("GET /list_cluster", None)
    );
}

#[test]
fn bodies_are_required_or_refused_by_call() {
    let fixture = Fixture::new();
    fixture.fails(
        "POST /add_cluster",
        None,
        411,
        "POST /add_cluster needs a body",
    );
    fixture.fails("POST /drain", Some("x"), 400, "POST /drain takes no body");
    fixture.fails("GET /pools", Some("x"), 400, "GET /pools takes no body");
    assert_eq!(fixture.ask("POST /drain", Some("")).0, 202);
}

#[test]
fn clients_and_pools_are_those_of_all_workers() {
    let fixture = Fixture::new();
    let client = |worker: u16, id: u64| {
        format!(
            concat!(
                r#"{{"id":{},"name":"job \"7\"","tenant":"{}","age_seconds":60,"#,
                r#""command":"blpop","db":1,"idle_seconds":2,"in_flight":1,"instance":"a","#,
                r#""kept_bytes":0,"outbound_bytes":0,"peer":"127.0.0.1:50000","#,
                r#""pinned":"blocked","#,
                r#""protocol":3,"user":"ann","worker":{}}}"#
            ),
            id, LOCAL, worker
        )
    };
    let all = [client(0, 1), client(1, 2), client(0, 3), client(1, 4)];
    let list = |n: usize| format!("[{}]", all[..n].join(","));
    fixture.succeeds("GET /clients", None, &list(4));
    fixture.succeeds("GET /clients?limit=3", None, &list(3));
    fixture.succeeds(
        &format!("GET /clients?tenant={LOCAL}&limit=10000"),
        None,
        &list(4),
    );
    let asked = |limit: usize, tenant: &str| format!("collect Clients({limit}, {tenant})");
    let calls = [
        asked(1_000, "None"),
        asked(3, "None"),
        asked(10_000, &format!("Some(TenantKey({LOCAL}))")),
    ];
    assert_eq!(fixture.control.take_calls(), calls);
    fixture.fails("GET /clients?tenant=x", None, 404, "unknown tenant x");
    for limit in ["0", "10001", "all"] {
        let range = "limit must be a whole number from 1 to 10000";
        fixture.fails(&format!("GET /clients?limit={limit}"), None, 400, range);
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
    fixture.succeeds("GET /pools", None, &format!("[{},{}]", pool(0), pool(1)));
}

#[test]
fn tenants_are_paused_and_resumed() {
    let fixture = Fixture::new();
    let registry = &fixture.control.registry;
    registry.add_cluster(other()).unwrap();
    registry
        .status_change(instance(other(), "x", "carts"))
        .unwrap();
    let tenant = other().tenant();
    let cluster = format!(r#"{{"cluster":{},"seconds":3600}}"#, other().to_json());
    let data = |seconds: u64| format!(r#"{{"tenant":"{tenant}","seconds":{seconds}}}"#);
    fixture.succeeds("POST /pause", Some(r#"{"tenant":"carts"}"#), &data(30));
    fixture.succeeds(
        "POST /pause",
        Some(r#"{"tenant":"carts","seconds":1}"#),
        &data(1),
    );
    fixture.succeeds("POST /pause", Some(&cluster), &data(3600));
    let resumed = format!(r#"{{"tenant":"{tenant}"}}"#);
    fixture.succeeds("POST /resume", Some(&resumed), &resumed);
    fixture.succeeds("POST /resume", Some(&cluster), &resumed);
    // All workers have taken the message before the response is sent.
    let calls = [
        format!("pause {tenant} 30000"),
        format!("pause {tenant} 1000"),
        format!("pause {tenant} 3600000"),
        format!("resume {tenant}"),
        format!("resume {tenant}"),
    ];
    let calls = calls.map(|call| [call, "collect Clients(0, None)".to_owned()]);
    assert_eq!(fixture.control.take_calls(), calls.as_flattened());

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
        fixture.fails("POST /pause", Some(body), status, &message);
        fixture.fails("POST /resume", Some(body), status, &message);
    }
    assert_eq!(fixture.control.take_calls(), [""; 0]);
}

#[test]
fn drain_is_accepted() {
    let fixture = Fixture::new();
    let text = r#"{"code":0,"message":"success","data":null}"#.to_owned();
    assert_eq!(fixture.ask("POST /drain", None), (202, text));
    assert_eq!(fixture.control.take_calls(), ["drain"]);
}

#[path = "routes_access_tests.rs"]
mod access;
#[path = "routes_clusters_tests.rs"]
mod clusters;
