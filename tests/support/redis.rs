//! A real server: the installed redis-server, or the one of another version that
//! `ELIKA_TEST_SERVER` names (see `make test-servers`).

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::{Proxy, Wire, signal, wait_for, wait_until};

/// Attempts to find a free port. Another process may take the port first; then the server rejects
/// its configuration.
const START_TRIES: usize = 10;

/// The distance from the port of a node to its port for the bus of the cluster.
const BUS: u16 = 10_000;

/// The begin of the kernel's range for connections: ports of the bus are below it.
const BUS_PORTS_END: u16 = 32_768;

/// The users of every server. `control` is for the tests, over the unix socket.
const USERS: &str = "\
user control on nopass ~* &* +@all
user admin on >admin ~* &* +@all
user ann on >annpw ~* &* +@all
user bob on >bobpw ~* &* +@all
user reader on >readerpw ~* &* +@read +@connection
user gone off >gonepw ~* &* +@all
";

/// The default user needs no password.
const OPEN: &str = "user default on nopass ~* &* +@all\n";

/// The default user has a password.
const GUARDED: &str = "user default on >secret ~* &* +@all\n";

/// A feature that only some versions of a server have. A test that needs it calls [`Redis::lacks`]
/// first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Feature {
    /// HELLO, and users beside the default one (Redis 6.0).
    Users,
    /// Functions, `COMMAND LIST` and shard channels (Redis 7.0).
    Functions,
    /// CLIENT NO-TOUCH (Redis 7.2).
    NoTouch,
    /// WAITAOF (Redis 7.2).
    WaitAof,
    /// CLUSTER MIGRATESLOTS, which migrates slots without ASK (Valkey 9.0).
    AtomicMigration,
}

impl Feature {
    /// A command that is refused where the feature is missing.
    fn probe(self) -> &'static str {
        match self {
            Self::Users => "HELLO",
            Self::Functions => "FUNCTION STATS",
            Self::NoTouch => "CLIENT NO-TOUCH OFF",
            Self::WaitAof => "WAITAOF 0 0 1",
            Self::AtomicMigration => "CLUSTER GETSLOTMIGRATIONS",
        }
    }
}

/// A redis-server; killed when dropped.
pub(crate) struct Redis {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Redis {
    /// A server whose default user needs no password.
    pub(crate) fn open() -> Self {
        Self::with(OPEN)
    }

    /// A server whose default user has the password `secret`.
    pub(crate) fn guarded() -> Self {
        Self::with(GUARDED)
    }

    /// A server with these lines of configuration.
    pub(crate) fn open_with(lines: &str) -> Self {
        Self::with(&format!("{OPEN}{lines}\n"))
    }

    /// A server with these lines of configuration.
    pub(crate) fn with(lines: &str) -> Self {
        Self::start(unused_port, lines)
    }

    /// A server that may be a node of a cluster, with these lines of configuration.
    pub(crate) fn node_with(lines: &str) -> Self {
        let port_of_node = || {
            let mut ports = std::iter::repeat_with(unused_port);
            let is_free = |port: &u16| *port < BUS_PORTS_END - BUS && is_unused(port + BUS);
            ports.find(is_free).unwrap()
        };
        Self::start(port_of_node, &format!("{OPEN}{lines}\n"))
    }

    fn start(port: impl Fn() -> u16, lines: &str) -> Self {
        (0..START_TRIES)
            .find_map(|_| Self::try_start(port(), lines))
            .unwrap_or_else(|| panic!("redis-server does not start with {lines:?}"))
    }

    /// A server at this port, which must be free.
    pub(crate) fn open_at(port: u16) -> Self {
        Self::try_start(port, OPEN).expect("the port is taken")
    }

    /// This server and a proxy in front of it with these options.
    pub(crate) fn proxied(self, options: &[&str]) -> (Self, Proxy) {
        let proxy = Proxy::with(&self, options);
        (self, proxy)
    }

    /// Returns `None` if another process took the port.
    fn try_start(port: u16, lines: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut config = format!(
            "port {port}\nbind 127.0.0.1\nunixsocket {0}/redis.sock\ndir {0}\n\
             save \"\"\nappendonly no\nloglevel warning\n",
            dir.path().display()
        );
        let users = has_users();
        for line in USERS.lines().chain(lines.lines()) {
            if users || !line.starts_with("user ") {
                config.push_str(line);
                config.push('\n');
            }
        }
        fs::write(dir.path().join("redis.conf"), config).unwrap();
        let child = spawn(&dir);
        let mut redis = Self { child, port, dir };
        redis.wait_ready().then_some(redis)
    }

    /// Returns `false` if the process ended.
    fn wait_ready(&mut self) -> bool {
        let mut alive = true;
        wait_until("redis-server is ready", || {
            alive = self.child.try_wait().unwrap().is_none();
            !alive || self.try_control().is_some()
        });
        alive
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A direct connection, as the default user.
    pub(crate) fn direct(&self) -> Wire {
        Wire::connect(self.address())
    }

    /// A connection with all permissions, which does not appear at the port.
    pub(crate) fn control(&self) -> Wire<UnixStream> {
        self.try_control().expect("redis-server is gone")
    }

    fn try_control(&self) -> Option<Wire<UnixStream>> {
        let mut wire = Wire::connect_unix(&self.dir.path().join("redis.sock"))?;
        if !has_users() {
            return Some(wire);
        }
        if !wire.try_send(b"AUTH control x\r\n") {
            return None;
        }
        let reply = wire.try_frame().ok()?;
        (reply == b"+OK\r\n").then_some(wire)
    }

    /// Sends one command over its own control connection.
    pub(crate) fn ask(&self, line: &str) -> String {
        self.control().ask(line)
    }

    /// Whether the server lacks the feature. Prints it, because the test then ends without a check.
    pub(crate) fn lacks(&self, feature: Feature) -> bool {
        let lacks = self.ask(feature.probe()).starts_with("-ERR ");
        if lacks {
            println!("not checked: the server has no {feature:?}");
        }
        lacks
    }

    /// The lines of the proxy's connections in CLIENT LIST.
    pub(crate) fn connections(&self) -> Vec<String> {
        let list = self.ask("CLIENT LIST TYPE NORMAL");
        let lines = list.lines().filter(|line| line.contains(" name=elika "));
        lines.map(str::to_owned).collect()
    }

    /// A number of INFO.
    pub(crate) fn stat(&self, field: &str) -> u64 {
        let info = self.ask("INFO everything");
        let value = info.split(&format!(" {field}:")).nth(1).expect(&info);
        value.split(' ').next().unwrap().parse().expect(value)
    }

    /// Waits until this number of its clients is blocked.
    pub(crate) fn wait_blocked(&self, count: u64) {
        wait_until(&format!("{count} are blocked"), || {
            self.stat("blocked_clients") == count
        });
    }

    /// Stops the process, which keeps its connections.
    pub(crate) fn freeze(&self) {
        signal(self.child.id(), "STOP");
    }

    pub(crate) fn thaw(&self) {
        signal(self.child.id(), "CONT");
    }

    /// Kills the process, also when it is stopped.
    pub(crate) fn kill(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        wait_for(&mut self.child);
    }

    /// Starts a new server at the same port, without data.
    pub(crate) fn start_again(&mut self) {
        // An old pid file would end the wait below too early.
        let _ = fs::remove_file(self.dir.path().join("redis.sock"));
        self.child = spawn(&self.dir);
        assert!(self.wait_ready(), "redis-server does not start again");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The id in a line of CLIENT LIST.
pub(crate) fn id_of(line: &str) -> &str {
    let (_, rest) = line.split_once("id=").expect(line);
    rest.split(' ').next().unwrap()
}

pub(super) fn program() -> Command {
    let program = std::env::var_os("ELIKA_TEST_SERVER");
    Command::new(program.unwrap_or_else(|| "redis-server".into()))
}

/// Whether the server has users beside the default one, which its configuration depends on.
fn has_users() -> bool {
    static USERS: LazyLock<bool> = LazyLock::new(|| {
        let said = program().arg("--version").output();
        let said = String::from_utf8(said.expect("redis-server must be installed").stdout);
        let said = said.unwrap();
        let version = said.split("v=").nth(1).expect(&said);
        let major: u32 = version.split('.').next().unwrap().parse().expect(&said);
        major >= 6
    });
    *USERS
}

fn spawn(dir: &TempDir) -> Child {
    program()
        .arg(dir.path().join("redis.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server must be installed")
}

/// A free port. It is below the kernel's range for connections: a connection to a free port in that
/// range can even be connected to itself.
pub(crate) fn unused_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(101) % 20_000;
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from((start + next) % 20_000).unwrap();
        if is_unused(port) {
            return port;
        }
    }
}

fn is_unused(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
