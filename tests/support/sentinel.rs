//! A primary with two replicas, and three sentinels that monitor them.

use std::fs;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::redis::program;
use super::{Redis, Wire, unused_port, wait_for, wait_until};

/// The name under which the sentinels monitor the primary.
pub(crate) const MASTER: &str = "cache";

const SENTINELS: usize = 3;
const REPLICAS: usize = 2;

/// The servers and their sentinels; killed when dropped.
pub(crate) struct Sentinels {
    servers: Vec<Redis>,
    sentinels: Vec<Sentinel>,
}

/// A process of redis-server that is a sentinel; killed when dropped.
struct Sentinel {
    child: Child,
    port: u16,
    /// The sentinel rewrites its configuration in this directory.
    dir: TempDir,
}

impl Sentinels {
    /// Servers whose replicas have the data of the primary, and sentinels that know all of them.
    pub(crate) fn start() -> Self {
        let primary = Redis::open_with("repl-diskless-sync-delay 0");
        let lines = format!(
            "replicaof 127.0.0.1 {}\nrepl-diskless-sync-delay 0",
            primary.port()
        );
        let replicas = (0..REPLICAS).map(|_| Redis::open_with(&lines));
        let servers: Vec<Redis> = std::iter::once(primary).chain(replicas).collect();
        for replica in &servers[1..] {
            wait_until("a replica has its data", || {
                let info = replica.ask("INFO replication");
                info.contains("master_link_status:up")
            });
        }
        let sentinels = (0..SENTINELS).map(|_| Sentinel::start(servers[0].port()));
        let all = Self {
            sentinels: sentinels.collect(),
            servers,
        };
        all.wait_known();
        all
    }

    /// Waits until each sentinel knows all replicas and the other sentinels.
    fn wait_known(&self) {
        for sentinel in &self.sentinels {
            wait_until("a sentinel knows all others", || {
                let master = sentinel.ask(&format!("SENTINEL MASTER {MASTER}"));
                let has = |field: &str, n: usize| master.contains(&format!(" {field} $1 {n} "));
                has("num-slaves", REPLICAS) && has("num-other-sentinels", SENTINELS - 1)
            });
        }
    }

    /// The addresses of the sentinels, as an option has them.
    pub(crate) fn addresses(&self) -> String {
        let sentinels = self.sentinels.iter();
        let addresses: Vec<_> = sentinels
            .map(|it| format!("127.0.0.1:{}", it.port))
            .collect();
        addresses.join(",")
    }

    pub(crate) fn server(&self, number: usize) -> &Redis {
        &self.servers[number]
    }

    pub(crate) fn server_mut(&mut self, number: usize) -> &mut Redis {
        &mut self.servers[number]
    }

    /// Has the sentinels replace this primary, and returns the new one. A sentinel gives up a
    /// failover that takes too long.
    pub(crate) fn fail_over(&self, from: usize) -> usize {
        wait_until("a sentinel replaces the primary", || {
            let first = &self.sentinels[0];
            let is_done = self.named_by(first) != Some(from);
            if !is_done {
                // An error says that a failover is in progress, or that no replica is ready.
                first.ask(&format!("SENTINEL FAILOVER {MASTER}"));
            }
            is_done
        });
        self.wait_switched(from)
    }

    /// The server that all sentinels name.
    pub(crate) fn primary(&self) -> Option<usize> {
        let named: Vec<_> = self.sentinels.iter().map(|it| self.named_by(it)).collect();
        named[0].filter(|_| named.iter().all(|it| *it == named[0]))
    }

    /// The server that a sentinel names.
    fn named_by(&self, sentinel: &Sentinel) -> Option<usize> {
        let reply = sentinel.ask(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}"));
        let port: u16 = reply.rsplit(' ').next().unwrap().parse().unwrap();
        self.servers.iter().position(|it| it.port() == port)
    }

    /// Waits until all sentinels name another server, and returns it.
    pub(crate) fn wait_switched(&self, from: usize) -> usize {
        let mut to = None;
        wait_until("all sentinels name another server", || {
            to = self.primary().filter(|it| *it != from);
            to.is_some()
        });
        to.unwrap()
    }

    /// Stops the process of a sentinel, which keeps its connections.
    pub(crate) fn freeze_sentinel(&self, number: usize) {
        super::signal(self.sentinels[number].child.id(), "STOP");
    }

    /// Kills a sentinel.
    pub(crate) fn kill_sentinel(&mut self, number: usize) {
        self.sentinels[number].kill();
    }
}

impl Sentinel {
    fn start(primary: u16) -> Self {
        let (dir, port) = (TempDir::new().unwrap(), unused_port());
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nloglevel warning\n\
             sentinel monitor {MASTER} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {MASTER} 3000\n\
             sentinel failover-timeout {MASTER} 3000\n",
            dir.path().display()
        );
        let path = dir.path().join("sentinel.conf");
        fs::write(&path, config).unwrap();
        let child = program()
            .arg(path)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be installed");
        let sentinel = Self { child, port, dir };
        wait_until("a sentinel is ready", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        sentinel
    }

    fn ask(&self, line: &str) -> String {
        Wire::connect(("127.0.0.1", self.port)).ask(line)
    }

    fn kill(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        wait_for(&mut self.child);
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.kill();
    }
}
