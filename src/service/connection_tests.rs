//! A connection step by step: what it says when, and how long it is given.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::cluster::{ClusterInstance, ClusterKey, ClusterRegistry as _, Endpoint};
use crate::service::desk::ServiceSettings;
use crate::service::fake::FakeOffice;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n\
    {\"status\":\"ok\"}";

/// One that may do everything.
const CALLER: Caller = Caller {
    peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    admin: true,
};

/// A connection with its peer and the time.
struct Scene {
    office: Arc<FakeOffice>,
    desk: Desk,
    connection: Connection,
    now: u64,
    parked: usize,
}

impl Scene {
    fn new() -> Self {
        let office = Arc::new(FakeOffice::new());
        Self {
            desk: office.desk(ServiceSettings::default()),
            office,
            connection: Connection::new(CALLER, Class::General, Millis(0)),
            now: 0,
            parked: 0,
        }
    }

    /// Does something with the connection and says what it wants to be sent then.
    fn with(&mut self, act: impl FnOnce(&mut Connection, &Turn<'_>)) -> String {
        let turn = Turn {
            desk: &self.desk,
            now: Millis(self.now),
            parked: self.parked,
        };
        act(&mut self.connection, &turn);
        String::from_utf8(self.connection.outbound().to_vec()).unwrap()
    }

    /// The peer sends this, and nothing is sent to it.
    fn hear(&mut self, text: &str) -> String {
        assert!(self.connection.wants_input());
        self.with(|connection, turn| {
            connection.received(text.as_bytes());
            connection.proceed(turn);
            if let Some((_, request)) = connection.question(0) {
                let answer = turn.desk.answer(&request, connection.caller());
                connection.answered(0, answer, turn);
            }
        })
    }

    /// All that is to be sent has gone.
    fn take(&mut self) {
        let n = self.connection.outbound().len();
        self.connection.sent(n, Millis(self.now));
    }

    fn pass(&mut self, ms: u64) -> String {
        self.now += ms;
        self.with(|connection, turn| connection.tick(turn))
    }

    fn etag(&self) -> String {
        self.desk.etag()
    }

    /// Asks for a change; the answer is held back.
    fn park(&mut self, wait: &str) {
        let etag = self.etag();
        let text = format!(
            "GET /list_cluster?wait={wait} HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"{etag}\"\r\n\r\n"
        );
        assert_eq!(self.hear(&text), "");
        assert!(self.connection.is_parked());
    }

    fn change(&self) {
        let endpoint = Endpoint {
            addr: "127.0.0.1".into(),
            port: 1,
            name: "redis".into(),
        };
        let instance = ClusterInstance::new(ClusterKey::local(), "new", endpoint);
        self.office.registry.status_change(instance).unwrap();
    }
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let mut scene = Scene::new();
    let unknown = "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(scene.hear(&format!("{HEALTH}{unknown}{HEALTH}")), OK);
    assert!(!scene.connection.wants_input() && !scene.connection.is_fresh());
    // The rest waits until the first answer has gone.
    scene.connection.sent(1, Millis(0));
    assert_eq!(scene.with(Connection::proceed), OK[1..]);
    scene.take();
    assert!(!scene.connection.wants_input() && scene.connection.is_fresh());
    let answer = scene.with(Connection::proceed);
    assert!(
        status(&answer) == "404" && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    scene.take();
    assert_eq!(scene.with(Connection::proceed), OK);
    scene.take();
    assert!(scene.connection.wants_input());
    assert_eq!(scene.with(Connection::proceed), "");
}

#[test]
fn a_connection_ends_as_its_peer_says() {
    let mut scene = Scene::new();
    let answer = scene.hear("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(
        answer.contains("\r\nConnection: keep-alive\r\n"),
        "{answer}"
    );
    scene.take();
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = scene.hear(&format!("{last}{HEALTH}"));
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    scene.take();
    assert!(scene.connection.is_lingering());
    assert_eq!(scene.hear("more"), "");
    scene.connection.input_ended();
    assert!(scene.connection.has_ended());
}

#[test]
fn what_came_before_the_end_is_answered() {
    let mut scene = Scene::new();
    scene.connection.received(HEALTH.as_bytes());
    scene.connection.input_ended();
    assert_eq!(scene.with(Connection::proceed), OK);
    scene.take();
    assert_eq!(scene.with(Connection::proceed), "");
    assert!(scene.connection.has_ended());

    let mut scene = Scene::new();
    scene.connection.received(&HEALTH.as_bytes()[..20]);
    scene.connection.input_ended();
    assert_eq!(scene.with(Connection::proceed), "");
    assert!(scene.connection.has_ended());
}

#[test]
fn garbage_is_answered_and_ends_the_connection() {
    let mut scene = Scene::new();
    let answer = scene.hear("*1\r\n$4\r\nPING\r\n");
    assert_eq!(status(&answer), "400");
    assert!(answer.contains("\r\nConnection: close\r\n"));
    assert!(answer.ends_with(r#"{"code":400,"message":"not an HTTP request","data":null}"#));
    scene.take();
    assert!(scene.connection.is_lingering());
    scene.pass(LINGER_MS - 1);
    assert!(!scene.connection.has_ended());
    scene.pass(1);
    assert!(scene.connection.has_ended());
}

#[test]
fn who_may_not_ask_need_not_send_the_body() {
    let head = |path: &str, host: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    for (path, host, length, code) in [
        ("/pause", "localhost", 1_048_577, "413"),
        ("/pause", "x", 7, "403"),
        ("/drain", "localhost", 7, "400"),
        ("/healthz", "localhost", 7, "405"),
        ("/a", "localhost", 7, "404"),
    ] {
        let mut scene = Scene::new();
        let answer = scene.hear(&head(path, host, length));
        assert_eq!(status(&answer), code, "{path}");
        assert!(answer.contains("\r\nConnection: close\r\n"));
        scene.take();
        assert!(scene.connection.is_lingering());
    }
    let mut scene = Scene::new();
    let (go_on, body) = (
        "HTTP/1.1 100 Continue\r\n\r\n",
        r#"{"tenant":"yigF5wkxq44"}"#,
    );
    let head = head("/pause", "localhost", body.len());
    assert_eq!(scene.hear(&head), go_on);
    scene.take();
    let answer = scene.hear(body);
    assert_eq!(status(&answer), "200", "{answer}");
    scene.take();
    // Who sends the body at once is not asked for it.
    let answer = scene.hear(&format!("{head}{body}"));
    assert_eq!(status(&answer), "200", "{answer}");
    // The answer may be ready before the request for the body has gone.
    let mut scene = Scene::new();
    assert_eq!(scene.hear(&head), go_on);
    let answer = scene.hear(body);
    let answer = answer.strip_prefix(go_on).unwrap();
    assert_eq!(status(answer), "200", "{answer}");
}

#[test]
fn a_request_has_ten_seconds_from_its_first_byte_on() {
    let mut scene = Scene::new();
    scene.pass(30_000);
    for byte in HEALTH[..19].chars() {
        assert_eq!(scene.pass(500), "");
        assert_eq!(scene.hear(&byte.to_string()), "");
    }
    assert_eq!(scene.pass(999), "");
    let answer = scene.pass(1);
    assert_eq!(status(&answer), "408");
    assert!(answer.contains("\r\nConnection: close\r\n"));
    // An empty line alone is no beginning.
    let mut scene = Scene::new();
    scene.hear("\r\n");
    assert_eq!(scene.pass(IDLE_MS - 1), "");
    assert!(!scene.connection.has_ended());
}

#[test]
fn a_silent_connection_is_closed_after_a_minute() {
    let mut scene = Scene::new();
    scene.pass(1_000);
    assert_eq!(scene.hear(HEALTH), OK);
    scene.pass(1_000);
    scene.take();
    scene.pass(59_999);
    assert!(!scene.connection.has_ended());
    assert_eq!(scene.connection.deadline(), Some(Millis(62_000)));
    scene.pass(1);
    assert!(scene.connection.has_ended());
}

#[test]
fn a_response_must_be_taken_in_half_a_minute() {
    let mut scene = Scene::new();
    scene.hear(HEALTH);
    for _ in 0..29 {
        scene.pass(1_000);
        scene.connection.sent(1, Millis(scene.now));
    }
    assert!(!scene.connection.has_ended());
    scene.pass(1_000);
    assert!(scene.connection.has_ended());
}

#[test]
fn who_waits_for_a_change_hears_of_it_or_that_there_was_none() {
    let mut scene = Scene::new();
    scene.park("2");
    let etag = scene.etag();
    let changed = |it: &mut Connection, turn: &Turn<'_>| {
        let (etag, list) = turn.desk.list();
        it.changed(&etag, &list, turn);
    };
    assert_eq!(scene.with(changed), "");
    assert_eq!(scene.pass(1_999), "");
    let answer = scene.pass(1);
    let expected = format!("HTTP/1.1 304 Not Modified\r\nETag: \"{etag}\"\r\n\r\n");
    assert_eq!(answer, expected);
    scene.take();

    scene.park("60");
    scene.change();
    let new = scene.etag();
    assert_ne!(new, etag);
    let answer = scene.with(changed);
    assert_eq!(status(&answer), "200");
    assert!(answer.contains(&format!("\r\nETag: \"{new}\"\r\n")) && answer.contains("\"new\""));
    scene.take();
    assert!(scene.connection.wants_input());
}

#[test]
fn who_waits_and_hangs_up_is_answered_at_once() {
    let mut scene = Scene::new();
    scene.park("60");
    let answer = scene.with(Connection::hung_up);
    assert_eq!(status(&answer), "304");
    scene.take();
    assert!(scene.connection.is_lingering());
    let mut scene = Scene::new();
    assert_eq!(scene.hear(&HEALTH[..9]), "");
    assert_eq!(scene.with(Connection::hung_up), "");
    assert!(scene.connection.wants_input(), "the rest may be on its way");
}

#[test]
fn only_so_many_wait_for_a_change() {
    let mut scene = Scene::new();
    scene.parked = PARKED_MAX - 1;
    scene.park("60");
    let mut scene = Scene::new();
    scene.parked = PARKED_MAX;
    let etag = scene.etag();
    let answer = scene.hear(&format!(
        "GET /list_cluster?wait=1 HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"{etag}\"\r\n\r\n"
    ));
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("too many requests wait for changes"));
}

#[test]
fn the_idle_are_spared_first_then_the_slow() {
    let mut scene = Scene::new();
    let rank = |scene: &Scene| scene.connection.dispensable(Millis(scene.now));
    assert_eq!(rank(&scene), None, "its request may be there already");
    scene.now = PROBE_MS;
    assert_eq!(rank(&scene), Some((0, Millis(0))));
    scene.hear(&HEALTH[..9]);
    assert_eq!(rank(&scene), None);
    scene.now += SLOW_MS;
    assert_eq!(rank(&scene), Some((1, Millis(5))));
    scene.hear(&HEALTH[9..]);
    assert_eq!(rank(&scene), None);
    scene.now += SLOW_MS;
    assert_eq!(rank(&scene), Some((2, Millis(1_005))));
    scene.take();
    assert_eq!(rank(&scene), Some((0, Millis(2_005))));
    scene.park("60");
    scene.now += 50_000;
    assert_eq!(rank(&scene), None);
}

#[test]
fn a_question_is_asked_once_and_has_half_a_minute() {
    let mut scene = Scene::new();
    let ask = |scene: &mut Scene, number: u64| {
        scene.with(|connection, turn| {
            connection.received(b"GET /clients HTTP/1.1\r\nHost: localhost\r\n\r\n");
            connection.proceed(turn);
            assert!(connection.question(number).is_some() && connection.question(9).is_none());
            assert!(!connection.wants_input());
        })
    };
    assert_eq!(ask(&mut scene, 1), "");
    assert_eq!(scene.pass(RESPONSE_MS - 1), "");
    let answer = scene.pass(1);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("the service port is busy with other calls"));
    // What comes after that is nobody's.
    let answered = |scene: &mut Scene, number, code| {
        let response = Response::json(code, String::new());
        scene.with(|it, turn| it.answered(number, Answer::Now(response), turn))
    };
    assert_eq!(answered(&mut scene, 1, 200), answer);
    scene.take();
    assert!(scene.connection.wants_input());
    assert_eq!(ask(&mut scene, 2), "");
    assert_eq!(
        answered(&mut scene, 1, 200),
        "",
        "that was another question"
    );
    assert_eq!(status(&answered(&mut scene, 2, 404)), "404");
}

#[test]
fn a_place_for_probes_serves_one_probe() {
    for (path, code) in [
        ("/healthz", "200"),
        ("/readyz", "200"),
        ("/clients", "503"),
        ("/list_cluster", "503"),
    ] {
        let mut scene = Scene::new();
        scene.connection = Connection::new(CALLER, Class::Probes, Millis(0));
        assert_eq!(scene.connection.dispensable(Millis(PROBE_MS - 1)), None);
        let rank = scene.connection.dispensable(Millis(PROBE_MS));
        assert_eq!(rank, Some((0, Millis(0))), "its request should be there");
        let answer = scene.hear(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(status(&answer), code, "{path}");
        scene.take();
        assert!(scene.connection.is_lingering());
    }
}

#[test]
fn what_is_on_its_way_arrives_when_the_port_closes() {
    let mut scene = Scene::new();
    assert_eq!(scene.with(Connection::close), "");
    assert!(scene.connection.has_ended());

    let mut scene = Scene::new();
    scene.hear(&format!("{HEALTH}{HEALTH}"));
    assert_eq!(scene.with(Connection::close), OK);
    scene.take();
    assert!(scene.connection.is_lingering(), "the second is not begun");

    let mut scene = Scene::new();
    scene.park("60");
    assert_eq!(status(&scene.with(Connection::close)), "304");
}
