//! A connection step by step: its responses and its timeouts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::service::context::ServiceSettings;
use crate::service::fake_control::FakeControl;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n\
    {\"status\":\"ok\"}";

/// A trusted caller.
const CALLER: Caller = Caller {
    peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
    admin: true,
};

/// A connection with its peer and a clock.
struct Fixture {
    control: Arc<FakeControl>,
    context: Context,
    connection: Connection,
    now: u64,
    parked: usize,
}

impl Fixture {
    fn new() -> Self {
        let control = Arc::new(FakeControl::new());
        Self {
            context: control.context(ServiceSettings::default()),
            control,
            connection: Connection::new(CALLER, Class::General, Millis(0)),
            now: 0,
            parked: 0,
        }
    }

    /// Acts on the connection; returns the bytes that are to be sent.
    fn with(&mut self, act: impl FnOnce(&mut Connection, &Turn<'_>)) -> String {
        let turn = Turn {
            context: &self.context,
            now: Millis(self.now),
            parked: self.parked,
        };
        act(&mut self.connection, &turn);
        String::from_utf8(self.connection.outbound().to_vec()).unwrap()
    }

    /// The peer sends this text; returns the bytes that are to be sent.
    fn receive(&mut self, text: &str) -> String {
        assert!(self.connection.wants_input());
        self.with(|connection, turn| {
            connection.received(text.as_bytes());
            connection.proceed(turn);
            if let Some((_, request)) = connection.call(0) {
                let answer = turn.context.answer(&request, connection.caller());
                connection.answered(0, answer, turn);
            }
        })
    }

    /// All bytes to send are sent.
    fn send_all(&mut self) {
        let n = self.connection.outbound().len();
        self.connection.sent(n, Millis(self.now));
    }

    fn pass(&mut self, ms: u64) -> String {
        self.now += ms;
        self.with(|connection, turn| connection.tick(turn))
    }

    fn etag(&self) -> String {
        self.context.etag()
    }

    /// Sends a request that waits for a change.
    fn park(&mut self, wait: &str) {
        let etag = self.etag();
        let text = format!(
            "GET /list_cluster?wait={wait} HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"{etag}\"\r\n\r\n"
        );
        assert_eq!(self.receive(&text), "");
        assert!(self.connection.is_parked());
    }
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn requests_are_handled_one_at_a_time() {
    let mut fixture = Fixture::new();
    let unknown = "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(fixture.receive(&format!("{HEALTH}{unknown}{HEALTH}")), OK);
    assert!(!fixture.connection.wants_input() && !fixture.connection.is_fresh());
    // The next request waits until the first response is sent.
    fixture.connection.sent(1, Millis(0));
    assert_eq!(fixture.with(Connection::proceed), OK[1..]);
    fixture.send_all();
    assert!(!fixture.connection.wants_input() && fixture.connection.is_fresh());
    let answer = fixture.with(Connection::proceed);
    assert!(
        status(&answer) == "404" && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    fixture.send_all();
    assert_eq!(fixture.with(Connection::proceed), OK);
    fixture.send_all();
    assert!(fixture.connection.wants_input());
    assert_eq!(fixture.with(Connection::proceed), "");
}

#[test]
fn connection_closes_as_the_request_asks() {
    let mut fixture = Fixture::new();
    let answer = fixture.receive("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(
        answer.contains("\r\nConnection: keep-alive\r\n"),
        "{answer}"
    );
    fixture.send_all();
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = fixture.receive(&format!("{last}{HEALTH}"));
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    fixture.send_all();
    assert!(fixture.connection.is_lingering());
    assert_eq!(fixture.receive("more"), "");
    fixture.connection.input_ended();
    assert!(fixture.connection.has_ended());
}

#[test]
fn requests_before_the_end_of_stream_are_handled() {
    let mut fixture = Fixture::new();
    fixture.connection.received(HEALTH.as_bytes());
    fixture.connection.input_ended();
    assert_eq!(fixture.with(Connection::proceed), OK);
    fixture.send_all();
    assert_eq!(fixture.with(Connection::proceed), "");
    assert!(fixture.connection.has_ended());

    let mut fixture = Fixture::new();
    fixture.connection.received(&HEALTH.as_bytes()[..20]);
    fixture.connection.input_ended();
    assert_eq!(fixture.with(Connection::proceed), "");
    assert!(fixture.connection.has_ended());
}

#[test]
fn invalid_bytes_get_a_response_and_close_the_connection() {
    let mut fixture = Fixture::new();
    let answer = fixture.receive("*1\r\n$4\r\nPING\r\n");
    assert_eq!(status(&answer), "400");
    assert!(answer.contains("\r\nConnection: close\r\n"));
    assert!(answer.ends_with(r#"{"code":400,"message":"invalid HTTP request","data":null}"#));
    fixture.send_all();
    assert!(fixture.connection.is_lingering());
    fixture.pass(LINGER_MS - 1);
    assert!(!fixture.connection.has_ended());
    fixture.pass(1);
    assert!(fixture.connection.has_ended());
}

#[test]
fn refused_caller_need_not_send_the_body() {
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
        let mut fixture = Fixture::new();
        let answer = fixture.receive(&head(path, host, length));
        assert_eq!(status(&answer), code, "{path}");
        assert!(answer.contains("\r\nConnection: close\r\n"));
        fixture.send_all();
        assert!(fixture.connection.is_lingering());
    }
    let mut fixture = Fixture::new();
    let (go_on, body) = (
        "HTTP/1.1 100 Continue\r\n\r\n",
        r#"{"tenant":"yigF5wkxq44"}"#,
    );
    let head = head("/pause", "localhost", body.len());
    assert_eq!(fixture.receive(&head), go_on);
    fixture.send_all();
    let answer = fixture.receive(body);
    assert_eq!(status(&answer), "200", "{answer}");
    fixture.send_all();
    // A client that sends the body at once gets no `100 Continue`.
    let answer = fixture.receive(&format!("{head}{body}"));
    assert_eq!(status(&answer), "200", "{answer}");
    // The response may be ready before `100 Continue` is sent.
    let mut fixture = Fixture::new();
    assert_eq!(fixture.receive(&head), go_on);
    let answer = fixture.receive(body);
    let answer = answer.strip_prefix(go_on).unwrap();
    assert_eq!(status(answer), "200", "{answer}");
}

#[test]
fn request_timeout_starts_with_its_first_byte() {
    let mut fixture = Fixture::new();
    fixture.pass(30_000);
    for byte in HEALTH[..19].chars() {
        assert_eq!(fixture.pass(500), "");
        assert_eq!(fixture.receive(&byte.to_string()), "");
    }
    assert_eq!(fixture.pass(999), "");
    let answer = fixture.pass(1);
    assert_eq!(status(&answer), "408");
    assert!(answer.contains("\r\nConnection: close\r\n"));
    // An empty line alone begins no request.
    let mut fixture = Fixture::new();
    fixture.receive("\r\n");
    assert_eq!(fixture.pass(IDLE_MS - 1), "");
    assert!(!fixture.connection.has_ended());
}

#[test]
fn silent_connection_is_closed_after_a_minute() {
    let mut fixture = Fixture::new();
    fixture.pass(1_000);
    assert_eq!(fixture.receive(HEALTH), OK);
    fixture.pass(1_000);
    fixture.send_all();
    fixture.pass(59_999);
    assert!(!fixture.connection.has_ended());
    assert_eq!(fixture.connection.deadline(), Some(Millis(62_000)));
    fixture.pass(1);
    assert!(fixture.connection.has_ended());
}

#[test]
fn response_must_be_received_in_half_a_minute() {
    let mut fixture = Fixture::new();
    fixture.receive(HEALTH);
    for _ in 0..29 {
        fixture.pass(1_000);
        fixture.connection.sent(1, Millis(fixture.now));
    }
    assert!(!fixture.connection.has_ended());
    fixture.pass(1_000);
    assert!(fixture.connection.has_ended());
}

#[test]
fn idle_connections_are_closed_first_then_slow_ones() {
    let mut fixture = Fixture::new();
    let rank = |fixture: &Fixture| fixture.connection.closable(Millis(fixture.now));
    assert_eq!(rank(&fixture), None, "the request may have arrived");
    fixture.now = PROBE_MS;
    assert_eq!(rank(&fixture), Some((0, Millis(0))));
    fixture.receive(&HEALTH[..9]);
    assert_eq!(rank(&fixture), None);
    fixture.now += SLOW_MS;
    assert_eq!(rank(&fixture), Some((1, Millis(5))));
    fixture.receive(&HEALTH[9..]);
    assert_eq!(rank(&fixture), None);
    fixture.now += SLOW_MS;
    assert_eq!(rank(&fixture), Some((2, Millis(1_005))));
    fixture.send_all();
    assert_eq!(rank(&fixture), Some((0, Millis(2_005))));
    fixture.park("60");
    fixture.now += 50_000;
    assert_eq!(rank(&fixture), None);
}

#[test]
fn call_is_handed_over_once_and_times_out() {
    let mut fixture = Fixture::new();
    let ask = |fixture: &mut Fixture, number: u64| {
        fixture.with(|connection, turn| {
            connection.received(b"GET /clients HTTP/1.1\r\nHost: localhost\r\n\r\n");
            connection.proceed(turn);
            assert!(connection.call(number).is_some() && connection.call(9).is_none());
            assert!(!connection.wants_input());
        })
    };
    assert_eq!(ask(&mut fixture, 1), "");
    assert_eq!(fixture.pass(RESPONSE_MS - 1), "");
    let answer = fixture.pass(1);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("the service port is busy with other calls"));
    // Later answers belong to no call.
    let answered = |fixture: &mut Fixture, number, code| {
        let response = Response::json(code, String::new());
        fixture.with(|it, turn| it.answered(number, Answer::Now(response), turn))
    };
    assert_eq!(answered(&mut fixture, 1, 200), answer);
    fixture.send_all();
    assert!(fixture.connection.wants_input());
    assert_eq!(ask(&mut fixture, 2), "");
    assert_eq!(
        answered(&mut fixture, 1, 200),
        "",
        "the number is that of another call"
    );
    assert_eq!(status(&answered(&mut fixture, 2, 404)), "404");
}

#[test]
fn probe_slot_serves_one_probe() {
    for (path, code) in [
        ("/healthz", "200"),
        ("/readyz", "200"),
        ("/clients", "503"),
        ("/list_cluster", "503"),
    ] {
        let mut fixture = Fixture::new();
        fixture.connection = Connection::new(CALLER, Class::Probes, Millis(0));
        assert_eq!(fixture.connection.closable(Millis(PROBE_MS - 1)), None);
        let rank = fixture.connection.closable(Millis(PROBE_MS));
        assert_eq!(
            rank,
            Some((0, Millis(0))),
            "the request should have arrived"
        );
        let answer = fixture.receive(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(status(&answer), code, "{path}");
        fixture.send_all();
        assert!(fixture.connection.is_lingering());
    }
}

#[test]
fn responses_are_completed_when_the_port_closes() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.with(Connection::close), "");
    assert!(fixture.connection.has_ended());

    let mut fixture = Fixture::new();
    fixture.receive(&format!("{HEALTH}{HEALTH}"));
    assert_eq!(fixture.with(Connection::close), OK);
    fixture.send_all();
    assert!(
        fixture.connection.is_lingering(),
        "the second request is not handled"
    );

    let mut fixture = Fixture::new();
    fixture.park("60");
    assert_eq!(status(&fixture.with(Connection::close)), "304");
}

#[path = "connection_wait_tests.rs"]
mod wait;
