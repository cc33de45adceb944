//! A control plane that gives scripted responses, one a turn.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::cluster::{Cluster, ClusterKey, ClusterName, ClusterRegistry, MemoryRegistry};

/// A control plane and the client of it that is tested.
struct Fixture {
    listener: TcpListener,
    registry: Arc<MemoryRegistry>,
    plane: ControlPlane,
}

fn key(name: &str) -> ClusterKey {
    ClusterKey {
        name: ClusterName {
            namespace: "shop".into(),
            name: name.into(),
        },
        ..ClusterKey::local()
    }
}

fn catalog(names: &[&str]) -> Catalog {
    let clusters = names.iter().map(|name| Cluster {
        key: key(name),
        instances: Vec::new(),
    });
    Catalog {
        clusters: clusters.collect(),
    }
}

/// The response that lists these clusters.
fn list(etag: &str, names: &[&str]) -> String {
    let body = catalog(names).to_json();
    let n = body.len();
    format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {n}\r\n\r\n{body}")
}

const UNCHANGED: &str = "HTTP/1.1 304 Not Modified\r\n\r\n";

impl Fixture {
    fn with(keep: Duration, state: Option<StateFile>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = Settings {
            address: HostPort {
                host: "127.0.0.1".into(),
                port: listener.local_addr().unwrap().port(),
            },
            token: Some("t0ken".into()),
            keep,
        };
        let registry = Arc::new(MemoryRegistry::new());
        let shared = Arc::<MemoryRegistry>::clone(&registry);
        let follower = Follower::new("plane", shared, Arc::default());
        let plane = ControlPlane::new(settings, follower, state, Arc::default());
        Self {
            listener,
            registry,
            plane,
        }
    }

    fn new() -> Self {
        Self::with(Duration::from_secs(3600), None)
    }

    /// Runs one turn, in which the control plane gives this response. Returns the request, with its
    /// lines sorted, and the pause.
    fn turn(&mut self, response: &str) -> (String, Duration) {
        let listener = self.listener.try_clone().unwrap();
        let response = response.to_owned();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while !request.ends_with("\r\n\r\n") {
                lines.read_line(&mut request).unwrap();
            }
            stream.write_all(response.as_bytes()).unwrap();
            request
        });
        let pause = self.plane.turn();
        (server.join().unwrap(), pause)
    }

    #[track_caller]
    fn expect(&self, names: &[&str]) {
        let mut known: Vec<String> = self
            .registry
            .all_clusters()
            .into_iter()
            .map(|it| it.name.name)
            .collect();
        known.sort();
        assert_eq!(known, names);
    }

    fn loaded(&self) -> bool {
        self.plane.loaded.load(Ordering::Acquire)
    }
}

#[test]
fn etag_is_sent_back_and_changes_are_applied() {
    let mut fixture = Fixture::new();
    assert!(!fixture.loaded());
    let (request, pause) = fixture.turn(&list("\"1\"", &["a", "b"]));
    assert!(
        request.starts_with("GET /list_cluster?wait=20 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("Authorization: Bearer t0ken\r\n"),
        "{request}"
    );
    assert!(!request.contains("If-None-Match"), "{request}");
    assert!(pause <= PAUSE_AFTER_CHANGE, "{pause:?}");
    fixture.expect(&["a", "b"]);
    assert!(fixture.loaded());
    let (request, pause) = fixture.turn(UNCHANGED);
    assert!(request.contains("If-None-Match: \"1\"\r\n"), "{request}");
    assert!(
        pause > PAUSE_AFTER_CHANGE && pause <= PAUSE,
        "it did not wait: {pause:?}"
    );
    let (_, pause) = fixture.turn(&list("\"2\"", &["a", "b"]));
    assert!(pause > PAUSE_AFTER_CHANGE, "nothing new: {pause:?}");
    fixture.turn(&list("\"3\"", &["b", "c"]));
    fixture.expect(&["b", "c"]);
    let (request, _) = fixture.turn(&list("\"4\"", &[]));
    assert!(request.contains("If-None-Match: \"3\"\r\n"), "{request}");
    fixture.expect(&[]);
}

#[test]
fn failures_keep_the_last_clusters() {
    let mut fixture = Fixture::new();
    fixture.turn(&list("\"1\"", &["a"]));
    let invalid = "HTTP/1.1 200 OK\r\nETag: \"2\"\r\nContent-Length: 2\r\n\r\n[{";
    for (response, failure) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            Failure::Status(401),
        ),
        (
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
            Failure::Status(302),
        ),
        (invalid, Failure::Invalid),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]",
            Failure::Unreachable,
        ),
        ("+PONG\r\n", Failure::Unreachable),
    ] {
        let (request, pause) = fixture.turn(response);
        assert!(request.contains("If-None-Match: \"1\"\r\n"), "{request}");
        assert!(fixture.plane.logged.contains(&failure), "{response}");
        assert!(pause >= BACKOFF.0 / 2 && pause <= BACKOFF.1, "{pause:?}");
        fixture.expect(&["a"]);
    }
    assert_eq!(fixture.plane.logged.len(), 4, "each kind is logged once");
    for _ in 0..100 {
        let pause = fixture.plane.fail(Failure::Unreachable, "again");
        assert!(pause >= BACKOFF.0 / 2 && pause <= BACKOFF.1, "{pause:?}");
    }
    fixture.turn(UNCHANGED);
    assert!(fixture.plane.logged.is_empty());
    assert_eq!(fixture.plane.failures, 0);
    let mut fresh = Fixture::new();
    fresh.turn(UNCHANGED);
    assert_eq!(
        fresh.plane.logged,
        [Failure::Status(304)],
        "no list has been received"
    );
    assert!(!fresh.loaded());
}

#[test]
fn restarted_control_plane_deletes_nothing_at_once() {
    let mut fixture = Fixture::new();
    fixture.turn(&list("\"1\"", &["a", "b"]));
    fixture.turn("");
    let (request, _) = fixture.turn(&list("\"0\"", &[]));
    assert!(request.contains("wait=20"), "{request}");
    fixture.expect(&["a", "b"]);
    // Its clusters have been added again.
    fixture.turn(&list("\"5\"", &["a", "c"]));
    fixture.expect(&["a", "b", "c"]);
    fixture.turn(&list("\"6\"", &["a", "b", "c"]));
    // Now it has all clusters, so a missing one is deleted.
    fixture.turn(&list("\"7\"", &["a"]));
    fixture.expect(&["a"]);
}

/// The restart was too short for a request to fail.
#[test]
fn another_process_id_counts_as_a_restart() {
    let mut fixture = Fixture::new();
    let from = |process: &str, list: String| {
        list.replacen("\r\n", &format!("\r\nElika-Process: {process}\r\n"), 1)
    };
    fixture.turn(&from("a1", list("\"1\"", &["a", "b"])));
    fixture.turn(&from("a1", list("\"2\"", &["a"])));
    fixture.expect(&["a"]);
    fixture.turn(&from("b2", list("\"3\"", &["c"])));
    fixture.expect(&["a", "c"]);
    fixture.turn(&from("b2", list("\"4\"", &["a", "c"])));
    fixture.turn(&from("b2", list("\"5\"", &["c"])));
    fixture.expect(&["c"]);
}

#[test]
fn clusters_still_missing_after_the_grace_time_are_deleted() {
    let mut fixture = Fixture::with(Duration::from_millis(1500), None);
    fixture.turn(&list("\"1\"", &["a", "b"]));
    fixture.turn("");
    let (_, _) = fixture.turn(&list("\"2\"", &["a"]));
    fixture.expect(&["a", "b"]);
    // The request comes when the time to keep ends, and the list is unchanged.
    let (request, _) = fixture.turn(UNCHANGED);
    assert!(
        request.contains("wait=2 ") || request.contains("wait=1 "),
        "{request}"
    );
    while fixture.plane.keep_until.is_some() {
        fixture.turn(UNCHANGED);
    }
    fixture.expect(&["a"]);
}

#[test]
fn state_file_is_used_until_the_control_plane_responds() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state.json");
    let state = || Some(StateFile::open(&path));
    let hour = Duration::from_secs(3600);
    let mut fixture = Fixture::with(hour, state());
    fixture.turn(&list("\"1\"", &["a", "b"]));
    let mut next = Fixture::with(hour, state());
    next.expect(&["a", "b"]);
    assert!(next.loaded());
    let (request, _) = next.turn(&list("\"2\"", &["b"]));
    assert!(!request.contains("If-None-Match"), "{request}");
    next.expect(&["a", "b"]);
    assert_eq!(StateFile::open(&path).catalog(), Some(catalog(&["a", "b"])));
    next.turn(&list("\"3\"", &["a", "b", "c"]));
    next.turn(&list("\"4\"", &["c"]));
    next.expect(&["c"]);
    assert_eq!(StateFile::open(&path).catalog(), Some(catalog(&["c"])));
}

#[test]
fn control_plane_thread_ends_with_the_proxy() {
    let fixture = Fixture::new();
    drop(fixture.listener);
    let (keep, stop) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || fixture.plane.run(&stop));
    drop(keep);
    thread.join().unwrap();
}
