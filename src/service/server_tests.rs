//! The service port over real sockets: well-behaved and slow peers at the same time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::*;
use crate::cluster::{ClusterInstance, ClusterKey, RegistryError, TenantKey};
use crate::service::fake_control::{FakeControl, instance};
use crate::service::limits::{BODY_BYTES_MAX, PARKED_MAX, PEER_MAX};

/// Longer than any step takes on a busy machine: a test that waits this long has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A service port on a thread of its own; closed when dropped.
struct Port {
    address: SocketAddr,
    admin: SocketAddr,
    handle: ServiceHandle,
    control: Arc<FakeControl>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Port {
    fn new() -> Self {
        let control = Arc::new(FakeControl::new());
        let registry = Arc::clone(&control.registry) as _;
        Self::with(control, registry)
    }

    fn with(control: Arc<FakeControl>, registry: Arc<dyn ClusterRegistry>) -> Self {
        let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let settings = ServiceSettings {
            metrics_path: Some("/metrics".into()),
            ..ServiceSettings::default()
        };
        let (port, handle) = ServicePort::new(
            (listener(), Some(listener())),
            settings,
            Arc::clone(&control) as _,
            registry,
        )
        .unwrap();
        Self {
            address: port.local_addr(),
            admin: port.admin_addr().unwrap(),
            handle,
            control,
            thread: Some(thread::spawn(|| port.run())),
        }
    }

    fn peer(&self) -> Peer {
        Self::connect(self.address)
    }

    /// A trusted caller.
    fn admin(&self) -> Peer {
        Self::connect(self.admin)
    }

    fn connect(to: SocketAddr) -> Peer {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let input = Vec::new();
        Peer { stream, input }
    }

    /// Checks that another caller gets a response.
    fn serves_others(&self) {
        self.peer().is_healthy();
    }

    /// A peer that has the list, and waits up to `seconds` for a change.
    fn waiting(&self, seconds: u64) -> Peer {
        Self::wait(self.peer(), seconds)
    }

    fn wait(mut peer: Peer, seconds: u64) -> Peer {
        peer.send("GET /list_cluster HTTP/1.1\r\nHost: x\r\n\r\n");
        let etag = peer.response().header("ETag");
        peer.send(&format!(
            "GET /list_cluster?wait={seconds} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}\r\n\r\n"
        ));
        peer
    }

    /// Closes the port, and waits for its thread.
    fn end(&mut self) {
        self.handle.close();
        let thread = self.thread.take().unwrap();
        thread.join().unwrap().unwrap();
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if self.thread.is_some() && !thread::panicking() {
            self.end();
        }
    }
}

/// A connected client.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
}

#[derive(Debug)]
struct Received {
    status: u16,
    head: String,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> String {
        let prefix = format!("{name}: ");
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name}: {self:?}")).into()
    }
}

impl Peer {
    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Sends as much as the server accepts.
    fn try_send(&mut self, bytes: &[u8]) {
        // The server may have closed the connection.
        let _ = self.stream.write_all(bytes);
    }

    /// The next response, if there is one.
    fn try_response(&mut self) -> Option<Received> {
        loop {
            let text = String::from_utf8_lossy(&self.input).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let status = head.split(' ').nth(1)?.parse().ok()?;
                let length = head
                    .lines()
                    .find_map(|it| it.strip_prefix("Content-Length: "));
                let length = length.map_or(0, |it| it.parse().unwrap());
                if rest.len() >= length {
                    self.input.drain(..head.len() + 4 + length);
                    let (head, body) = (head.to_owned(), rest[..length].to_owned());
                    return Some(Received { status, head, body });
                }
            }
            if !self.receive() {
                return None;
            }
        }
    }

    fn response(&mut self) -> Received {
        let got = self.try_response();
        got.unwrap_or_else(|| panic!("the end after {}", self.input.escape_ascii()))
    }

    /// Receives bytes; `false` at the end of the stream or after a reset.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(n) => {
                self.input.extend_from_slice(&buffer[..n]);
                n > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error} after {}", self.input.escape_ascii()),
        }
    }

    fn expect_end(&mut self) {
        while self.receive() {}
        assert!(self.input.is_empty(), "{}", self.input.escape_ascii());
    }

    fn is_healthy(&mut self) {
        self.send(HEALTH);
        let got = self.response();
        assert_eq!((got.status, &*got.body), (200, r#"{"status":"ok"}"#));
    }

    /// Makes one request, so that the connection is known to be accepted.
    fn served(mut self) -> Self {
        self.is_healthy();
        self
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let port = Port::new();
    let mut peer = port.peer();
    for _ in 0..10 {
        peer.is_healthy();
    }
    peer.send(&HEALTH.repeat(100));
    for _ in 0..100 {
        assert_eq!(peer.response().status, 200);
    }
    peer.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    while peer.receive() {}
    let text = String::from_utf8(peer.input).unwrap();
    assert!(
        text.contains("Content-Length: 15\r\n") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn requests_before_the_end_of_stream_get_responses() {
    let port = Port::new();
    let mut peer = port.peer();
    peer.send(&HEALTH.repeat(3));
    peer.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..3 {
        assert_eq!(peer.response().status, 200);
    }
    peer.expect_end();
}

#[test]
fn request_can_arrive_byte_by_byte() {
    let port = Port::new();
    let mut peer = port.peer();
    for byte in HEALTH.chars() {
        peer.send(&byte.to_string());
    }
    assert_eq!(peer.response().status, 200);
}

#[test]
fn invalid_bytes_close_only_their_connection() {
    let port = Port::new();
    let mut beside = port.peer().served();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(100);
    let garbage: [&[u8]; 4] = [
        &tls,
        b"*1\r\n$4\r\nPING\r\n",
        b"\r\n\r\nx\r\n",
        &[0; 100_000],
    ];
    for bytes in garbage {
        let mut peer = port.peer();
        peer.try_send(bytes);
        let got = peer.response();
        assert_eq!(got.status, 400);
        assert_eq!(got.header("Connection"), "close");
        peer.expect_end();
        beside.is_healthy();
    }
}

/// The response arrives although most of what was sent is never decoded.
#[test]
fn oversized_requests_are_refused() {
    let port = Port::new();
    let post = "POST /pause HTTP/1.1\r\nHost: localhost\r\n";
    let body = vec![b'x'; 4 * BODY_BYTES_MAX];
    for (head, status) in [
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000)), 414),
        (
            format!("GET / HTTP/1.1\r\nA: {}\r\n", "x".repeat(100_000)),
            431,
        ),
        (format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(65)), 431),
        (format!("{post}Content-Length: {}\r\n\r\n", body.len()), 413),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\n400000\r\n"),
            413,
        ),
    ] {
        let mut peer = port.admin();
        peer.try_send(head.as_bytes());
        peer.try_send(&body);
        assert_eq!(peer.response().status, status);
        peer.expect_end();
    }
    port.serves_others();
}

#[test]
fn large_body_gets_100_continue() {
    let port = Port::new();
    let mut peer = port.admin();
    let body = format!(r#"{{"tenant":"yigF5wkxq44"{}}}"#, " ".repeat(1_000_000));
    peer.send(&format!(
        "POST /pause HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    assert_eq!(peer.response().status, 100);
    peer.send(&body);
    let got = peer.response();
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(port.control.take_calls()[0], "pause yigF5wkxq44 30000");
}

#[test]
fn incomplete_request_times_out() {
    let port = Port::new();
    let mut peer = port.peer();
    peer.send(&HEALTH[..20]);
    let got = peer.response();
    assert_eq!(got.status, 408);
    peer.expect_end();
}

#[test]
fn longest_idle_connection_is_closed_for_a_new_one() {
    let port = Port::new();
    let mut peers: Vec<Peer> = (0..PEER_MAX).map(|_| port.peer().served()).collect();
    let mut more = port.peer().served();
    peers[0].expect_end();
    for peer in &mut peers[2..] {
        peer.is_healthy();
    }
    more.is_healthy();
    // Now the second connection has been idle for longest.
    port.serves_others();
    peers[1].expect_end();
    peers[2].is_healthy();
}

#[test]
fn waiting_request_gets_a_change_at_once() {
    let port = Port::new();
    let mut waiting: Vec<Peer> = (0..PARKED_MAX).map(|_| port.waiting(60)).collect();
    // Nothing has changed, so all keep waiting. That they all wait shows in the refusal of one
    // more.
    port.handle.changed();
    let got = Port::wait(port.admin(), 60).response();
    assert_eq!(got.status, 503, "{got:?}");
    port.control.add("b");
    port.handle.changed();
    for peer in &mut waiting {
        let got = peer.response();
        assert_eq!(got.status, 200);
        assert!(got.body.contains(r#""id":"b""#), "{got:?}");
        peer.is_healthy();
    }
}

#[test]
fn waiting_request_gets_a_change_made_through_the_port() {
    let port = Port::new();
    let mut waiting = port.waiting(60);
    let mut peer = port.admin();
    let body = instance("c").to_json();
    peer.send(&format!(
        "POST /status_change HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(peer.response().status, 200);
    assert!(waiting.response().body.contains(r#""id":"c""#));
}

#[test]
fn waiting_request_times_out_with_not_modified() {
    let port = Port::new();
    let mut waiting = port.waiting(1);
    let got = waiting.response();
    assert_eq!((got.status, &*got.body), (304, ""));
    waiting.is_healthy();
    // A peer that shuts down its sending side gets its response at once.
    let mut waiting = port.waiting(60);
    waiting.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(waiting.response().status, 304);
    waiting.expect_end();
}

#[test]
fn port_closes_after_the_last_response() {
    let mut port = Port::new();
    let mut idle = port.peer().served();
    let mut half = port.peer();
    half.send(&HEALTH[..20]);
    let mut waiting = port.waiting(60);
    port.end();
    idle.expect_end();
    half.expect_end();
    // The request may not have been read yet.
    assert!(waiting.try_response().is_none_or(|got| got.status == 304));
    assert!(TcpStream::connect(port.address).is_err());
}

#[path = "server_load_tests.rs"]
mod load;
