//! A control plane that follows a script, turn by turn.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::cluster::{Cluster, ClusterKey, ClusterName, ClusterRegistry, MemoryRegistry};

/// One control plane, and the proxy's side of it.
struct Desk {
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

/// The answer that lists these clusters.
fn list(etag: &str, names: &[&str]) -> String {
    let body = catalog(names).to_json();
    let n = body.len();
    format!("HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {n}\r\n\r\n{body}")
}

const UNCHANGED: &str = "HTTP/1.1 304 Not Modified\r\n\r\n";

impl Desk {
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

    /// One turn, in which the control plane gives this answer. Returns what it was asked, in the
    /// order of the lines.
    fn turn(&mut self, answer: &str) -> (String, Duration) {
        let listener = self.listener.try_clone().unwrap();
        let answer = answer.to_owned();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while !question.ends_with("\r\n\r\n") {
                lines.read_line(&mut question).unwrap();
            }
            stream.write_all(answer.as_bytes()).unwrap();
            question
        });
        let rest = self.plane.turn();
        (server.join().unwrap(), rest)
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

    fn settled(&self) -> bool {
        self.plane.settled.load(Ordering::Acquire)
    }
}

#[test]
fn versions_are_remembered_and_changes_applied() {
    let mut desk = Desk::new();
    assert!(!desk.settled());
    let (question, rest) = desk.turn(&list("\"1\"", &["a", "b"]));
    assert!(
        question.starts_with("GET /list_cluster?wait=20 HTTP/1.1\r\n"),
        "{question}"
    );
    assert!(
        question.contains("Authorization: Bearer t0ken\r\n"),
        "{question}"
    );
    assert!(!question.contains("If-None-Match"), "{question}");
    assert!(rest <= PAUSE_AFTER_CHANGE, "{rest:?}");
    desk.expect(&["a", "b"]);
    assert!(desk.settled());
    let (question, rest) = desk.turn(UNCHANGED);
    assert!(question.contains("If-None-Match: \"1\"\r\n"), "{question}");
    assert!(
        rest > PAUSE_AFTER_CHANGE && rest <= PAUSE,
        "it did not wait: {rest:?}"
    );
    let (_, rest) = desk.turn(&list("\"2\"", &["a", "b"]));
    assert!(rest > PAUSE_AFTER_CHANGE, "nothing new: {rest:?}");
    desk.turn(&list("\"3\"", &["b", "c"]));
    desk.expect(&["b", "c"]);
    let (question, _) = desk.turn(&list("\"4\"", &[]));
    assert!(question.contains("If-None-Match: \"3\"\r\n"), "{question}");
    desk.expect(&[]);
}

#[test]
fn trouble_changes_nothing() {
    let mut desk = Desk::new();
    desk.turn(&list("\"1\"", &["a"]));
    let nonsense = "HTTP/1.1 200 OK\r\nETag: \"2\"\r\nContent-Length: 2\r\n\r\n[{";
    for (answer, trouble) in [
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            Trouble::Refused(401),
        ),
        (
            "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
            Trouble::Refused(302),
        ),
        (nonsense, Trouble::Nonsense),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]",
            Trouble::Away,
        ),
        ("+PONG\r\n", Trouble::Away),
    ] {
        let (question, rest) = desk.turn(answer);
        assert!(question.contains("If-None-Match: \"1\"\r\n"), "{question}");
        assert!(desk.plane.troubles.contains(&trouble), "{answer}");
        assert!(rest >= BACKOFF.0 / 2 && rest <= BACKOFF.1, "{rest:?}");
        desk.expect(&["a"]);
    }
    assert_eq!(desk.plane.troubles.len(), 4, "each is told once");
    for _ in 0..100 {
        let rest = desk.plane.fail(Trouble::Away, "again");
        assert!(rest >= BACKOFF.0 / 2 && rest <= BACKOFF.1, "{rest:?}");
    }
    desk.turn(UNCHANGED);
    assert!(desk.plane.troubles.is_empty());
    assert_eq!(desk.plane.failures, 0);
    let mut fresh = Desk::new();
    fresh.turn(UNCHANGED);
    assert_eq!(
        fresh.plane.troubles,
        [Trouble::Refused(304)],
        "nobody had a version"
    );
    assert!(!fresh.settled());
}

#[test]
fn one_that_lost_its_memory_takes_nothing_away_at_once() {
    let mut desk = Desk::new();
    desk.turn(&list("\"1\"", &["a", "b"]));
    desk.turn("");
    let (question, _) = desk.turn(&list("\"0\"", &[]));
    assert!(question.contains("wait=20"), "{question}");
    desk.expect(&["a", "b"]);
    // It is told everything again.
    desk.turn(&list("\"5\"", &["a", "c"]));
    desk.expect(&["a", "b", "c"]);
    desk.turn(&list("\"6\"", &["a", "b", "c"]));
    // Now it knows all, and what it says counts.
    desk.turn(&list("\"7\"", &["a"]));
    desk.expect(&["a"]);
}

/// It was away too short to be missed.
#[test]
fn one_that_is_another_process_may_have_lost_its_memory() {
    let mut desk = Desk::new();
    let from = |process: &str, list: String| {
        list.replacen("\r\n", &format!("\r\nElika-Process: {process}\r\n"), 1)
    };
    desk.turn(&from("a1", list("\"1\"", &["a", "b"])));
    desk.turn(&from("a1", list("\"2\"", &["a"])));
    desk.expect(&["a"]);
    desk.turn(&from("b2", list("\"3\"", &["c"])));
    desk.expect(&["a", "c"]);
    desk.turn(&from("b2", list("\"4\"", &["a", "c"])));
    desk.turn(&from("b2", list("\"5\"", &["c"])));
    desk.expect(&["c"]);
}

#[test]
fn what_it_does_not_list_in_the_end_goes() {
    let mut desk = Desk::with(Duration::from_millis(1500), None);
    desk.turn(&list("\"1\"", &["a", "b"]));
    desk.turn("");
    let (_, _) = desk.turn(&list("\"2\"", &["a"]));
    desk.expect(&["a", "b"]);
    // It is asked in time, and still says the same.
    let (question, _) = desk.turn(UNCHANGED);
    assert!(
        question.contains("wait=2 ") || question.contains("wait=1 "),
        "{question}"
    );
    while desk.plane.keep_until.is_some() {
        desk.turn(UNCHANGED);
    }
    desk.expect(&["a"]);
}

#[test]
fn the_state_of_the_last_run_serves_until_it_answers() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state.json");
    let state = || Some(StateFile::open(&path));
    let hour = Duration::from_secs(3600);
    let mut desk = Desk::with(hour, state());
    desk.turn(&list("\"1\"", &["a", "b"]));
    let mut next = Desk::with(hour, state());
    next.expect(&["a", "b"]);
    assert!(next.settled());
    let (question, _) = next.turn(&list("\"2\"", &["b"]));
    assert!(!question.contains("If-None-Match"), "{question}");
    next.expect(&["a", "b"]);
    assert_eq!(StateFile::open(&path).catalog(), Some(catalog(&["a", "b"])));
    next.turn(&list("\"3\"", &["a", "b", "c"]));
    next.turn(&list("\"4\"", &["c"]));
    next.expect(&["c"]);
    assert_eq!(StateFile::open(&path).catalog(), Some(catalog(&["c"])));
}

#[test]
fn it_ends_with_the_proxy() {
    let desk = Desk::new();
    drop(desk.listener);
    let (keep, stop) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || desk.plane.run(&stop));
    drop(keep);
    thread.join().unwrap();
}
