//! Compares the replies of the proxy with those of a real `redis-server`, byte for byte.
//!
//! The tests are skipped, with a message, on a machine without `redis-server`.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{line, request};
use crate::command::client::{self, Dialect, Filter};
use crate::command::{Plan, Session, View, answer, auth, hello, plan, select};
use crate::resp::{Args, Protocol, ReplyScanner, Scan};

/// A server on a unix socket in a temporary directory. It is stopped when dropped.
struct Server {
    process: Child,
    dir: TempDir,
}

impl Server {
    /// Starts a server; `None` when the machine has no `redis-server`.
    fn start() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let process = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(dir.path().join("redis.sock"))
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn();
        match process {
            Ok(process) => Some(Self { process, dir }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("no redis-server here: nothing compared");
                None
            }
            Err(error) => panic!("redis-server does not start: {error}"),
        }
    }

    fn connect(&mut self) -> Peer {
        let path = self.dir.path().join("redis.sock");
        loop {
            if let Ok(stream) = UnixStream::connect(Path::new(&path)) {
                return Peer { stream };
            }
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "redis-server ended early"
            );
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// One connection to the server.
struct Peer {
    stream: UnixStream,
}

impl Peer {
    fn ask(&mut self, words: &str) -> String {
        self.stream.write_all(&request(words)).unwrap();
        let mut reply = Vec::new();
        let mut scanner = ReplyScanner::default();
        let mut bytes = [0; 4096];
        loop {
            let len = self.stream.read(&mut bytes).unwrap();
            assert!(len > 0, "{words}: the server hung up");
            reply.extend_from_slice(&bytes[..len]);
            if let Scan::Complete { .. } = scanner.scan(&bytes[..len]).unwrap() {
                return String::from_utf8(reply).unwrap();
            }
        }
    }
}

/// The reply of the proxy: that of [`answer`], or the error of a parser.
fn ours(words: &str, view: &View<'_>) -> String {
    let frame = request(words);
    let args = || Args::new(&frame);
    let mut out = Vec::new();
    let refusal = match plan(args()) {
        Plan::Answer(which) => {
            answer(which, args(), view, &mut out);
            return String::from_utf8(out).unwrap();
        }
        Plan::Session(Session::Auth) => auth::parse(args()).err(),
        Plan::Session(Session::Hello) => hello::parse(args()).err(),
        Plan::Session(Session::Select) => select::parse(args()).err(),
        Plan::Session(Session::ClientSetName) => client::parse_set_name(args()).err(),
        Plan::Session(Session::ClientSetInfo) => client::parse_set_info(args()).err(),
        Plan::Session(Session::ClientReply) => client::parse_reply(args()).err(),
        Plan::Session(Session::ClientList) => Filter::parse_list(args(), Dialect::Redis70).err(),
        Plan::Session(Session::ClientKill) => Filter::parse_kill(args(), Dialect::Redis70).err(),
        Plan::Session(Session::ClientUnblock) => client::parse_unblock(args()).err(),
        plan => panic!("{words}: nothing to compare, {plan:?}"),
    };
    let refusal = refusal.unwrap_or_else(|| panic!("{words} is not refused"));
    refusal.write(&mut out);
    String::from_utf8(out).unwrap()
}

/// Requests whose replies are compared in both protocols, on a connection without state.
const SAME: &[&str] = &[
    "RESET x",
    "AUTH",
    "AUTH a b c",
    "SELECT",
    "SELECT abc",
    "SELECT -1",
    "SELECT 01",
    "SELECT ",
    "SELECT 4294967296",
    "SELECT -4294967296",
    "SELECT 99999999999999999999",
    "HELLO 9",
    "HELLO 1",
    "HELLO x",
    "HELLO 2x",
    "HELLO AUTH a b",
    "HELLO 3 AUTH a",
    "HELLO 3 AUTH",
    "HELLO 2 nonsense",
    "HELLO 3 SETNAME",
    "HELLO 3 SETNAME a\nb",
    "HELLO 3 SETNAME a\nb nonsense",
    "CLIENT",
    "CLIENT ID x",
    "CLIENT GETNAME",
    "CLIENT GETNAME x",
    "CLIENT GETREDIR",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKING",
    "CLIENT TRACKING OFF",
    "CLIENT TRACKING OFF BCAST",
    "CLIENT TRACKING OFF PREFIX",
    "CLIENT TRACKING OFF what",
    "CLIENT TRACKING maybe",
    "CLIENT CACHING",
    "CLIENT CACHING YES",
    "CLIENT CACHING maybe",
    "CLIENT NO-EVICT",
    "CLIENT NO-EVICT maybe",
    "CLIENT NO-EVICT off",
    "CLIENT UNBLOCK",
    "CLIENT UNBLOCK abc",
    "CLIENT UNBLOCK abc maybe",
    "CLIENT UNBLOCK 1 ERROR x",
    "CLIENT NONSENSE",
    "CLIENT Nonsense with arguments",
    "CLIENT MAINT_NOTIFICATIONS ON",
    "CLIENT SETNAME",
    "CLIENT SETNAME a\nb",
    "CLIENT SETNAME \u{e9}",
    "CLIENT REPLY",
    "CLIENT REPLY maybe",
    "CLIENT REPLY ON x",
    "CLIENT LIST TYPE",
    "CLIENT LIST TYPE nonsense",
    "CLIENT LIST TYPE normal x",
    "CLIENT LIST ID",
    "CLIENT LIST ID abc",
    "CLIENT LIST ID 1 abc",
    "CLIENT LIST nonsense",
    "CLIENT LIST nonsense x y",
    "CLIENT KILL",
    "CLIENT KILL ID abc",
    "CLIENT KILL ID 0",
    "CLIENT KILL ID -1",
    "CLIENT KILL ID 1 ADDR",
    "CLIENT KILL TYPE nonsense",
    "CLIENT KILL SKIPME maybe",
    "CLIENT KILL nonsense x",
    "CLIENT KILL ADDR 1.2.3.4:5 nonsense",
    "EXEC",
    "EXEC x",
    "DISCARD",
    "DISCARD x",
    "UNWATCH",
    "UNWATCH x",
    "UNSUBSCRIBE",
    "UNSUBSCRIBE a",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "SUNSUBSCRIBE a",
    "CLUSTER",
    "CLUSTER INFO",
    "CLUSTER SLOTS",
    "CLUSTER SHARDS",
    "CLUSTER NODES",
    "CLUSTER MYID",
    "CLUSTER KEYSLOT a",
    "CLUSTER REPLICAS x",
    "READONLY",
    "READWRITE",
    "READWRITE x",
    "ASKING",
];

#[test]
fn replies_equal_those_of_the_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut peer = server.connect();
        peer.ask(&format!("HELLO {}", protocol.number()));
        let view = View {
            protocol,
            id: 1,
            name: b"",
            dialect: Dialect::Redis70,
            node: None,
        };
        for words in SAME {
            assert_eq!(
                ours(words, &view),
                peer.ask(words),
                "{words} in {protocol:?}"
            );
        }
    }
}

#[test]
fn help_and_ids_have_the_types_of_the_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut peer = server.connect();
    let view = View {
        protocol: Protocol::Resp2,
        id: 1,
        name: b"w",
        dialect: Dialect::Redis70,
        node: None,
    };
    peer.ask("CLIENT SETNAME w");
    assert_eq!(ours("CLIENT GETNAME", &view), peer.ask("CLIENT GETNAME"));

    for version in ["2", "3"] {
        let reply = peer.ask(&format!("HELLO {version}"));
        let id = peer.ask("CLIENT ID");
        let (before, after) = hello::split_at(reply.as_bytes(), b"id").unwrap();
        assert_eq!(format!(":{}\r\n", &reply[before.end..after.start]), id);
        assert_eq!(
            hello::field(reply.as_bytes(), b"proto"),
            Some(version.as_bytes())
        );
        let info = peer.ask("INFO server");
        let version = hello::field(reply.as_bytes(), b"version").unwrap();
        let version = std::str::from_utf8(version).unwrap();
        assert!(info.contains(&format!("redis_version:{version}\r\n")));
    }
}

#[test]
fn client_list_line_has_the_fields_of_the_server() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let theirs = server.connect().ask("CLIENT INFO");
    let mut out = Vec::new();
    line().write(&mut out);
    let ours = String::from_utf8(out).unwrap();
    let keys = |line: &str| -> Vec<String> {
        let fields = line.trim().rsplit("\r\n").next().unwrap().split(' ');
        fields
            .map(|field| field.split('=').next().unwrap().to_owned())
            .collect()
    };
    // An older server lacks newer fields; the others have the same order.
    let (ours, theirs) = (keys(&ours), keys(&theirs));
    let common: Vec<_> = ours
        .iter()
        .filter(|key| theirs.contains(key))
        .cloned()
        .collect();
    assert!(common.len() > 20);
    let known: Vec<_> = theirs
        .iter()
        .filter(|key| ours.contains(key))
        .cloned()
        .collect();
    assert_eq!(common, known);
    assert!(common.len() + 2 >= theirs.len(), "{theirs:?}");
}

/// The server's own categories list every command that can do harm on a shared connection.
#[test]
fn commands_of_dangerous_categories_are_not_forwarded() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut peer = server.connect();
    // Exceptions: they have one reply and leave no state on the connection.
    let harmless = [
        ("blocking", &["xread", "xreadgroup"][..]),
        ("transaction", &[]),
        ("pubsub", &["publish", "spublish", "pubsub"]),
        ("connection", &["command", "echo", "ping"]),
        ("admin", &["config|get", "module|list", "lastsave", "role"]),
    ];
    for (category, harmless) in harmless {
        let list = peer.ask(&format!("COMMAND LIST FILTERBY ACLCAT {category}"));
        let names: Vec<_> = list
            .split("\r\n")
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .collect();
        assert!(names.len() > 4, "{category}: {list}");
        for name in names {
            let container = name.split('|').next().unwrap();
            if harmless.contains(&name) || harmless.contains(&container) || name.ends_with("|help")
            {
                continue;
            }
            let words = format!("{} on", name.replace('|', " "));
            assert_ne!(plan(Args::new(&request(&words))), Plan::Forward, "{name}");
        }
    }
}
