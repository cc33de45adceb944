//! The program as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::{Http, MASTER, Redis, Sentinels, Wire, signal, wait_for, wait_until};

/// The tenant key of the static cluster.
pub(crate) const TENANT: &str = "yigF5wkxq44";

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of this server, with the usual settings.
    pub(crate) fn of(redis: &Redis) -> Self {
        Self::with(redis, &[])
    }

    pub(crate) fn with(redis: &Redis, options: &[&str]) -> Self {
        Self::at(&redis.address(), options)
    }

    /// A proxy in front of this address, where a server may be missing.
    pub(crate) fn at(backend: &str, options: &[&str]) -> Self {
        let backend = format!("--router.static-be={backend}");
        Self::start(Command::new(BINARY), &[&[&*backend], options].concat())
    }

    /// A proxy that asks these sentinels for its backend.
    pub(crate) fn behind(sentinels: &Sentinels, options: &[&str]) -> Self {
        let list = format!("--router.sentinels={}", sentinels.addresses());
        let master = format!("--router.sentinel-master={MASTER}");
        Self::with_options(&[&[&*list, &*master], options].concat())
    }

    /// A proxy with these options alone.
    pub(crate) fn with_options(options: &[&str]) -> Self {
        Self::start(Command::new(BINARY), options)
    }

    /// A proxy with the sync router, which has no cluster yet.
    pub(crate) fn sync(options: &[&str]) -> Self {
        let sync = ["--router.type=sync"];
        Self::start(Command::new(BINARY), &[&sync, options].concat())
    }

    /// A proxy that is started by a shell script with the program in `$0` and its options in `$@`.
    pub(crate) fn by_shell(script: &str, redis: &Redis, options: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, BINARY]);
        let backend = format!("--router.static-be={}", redis.address());
        Self::start(shell, &[&[&*backend], options].concat())
    }

    fn start(mut command: Command, options: &[&str]) -> Self {
        let given = |name: &str| options.iter().any(|option| option.starts_with(name));
        let any = ["--bind=127.0.0.1", "--port=0", "--service-port=0"];
        let missing = any
            .iter()
            .filter(|it| !given(it.split('=').next().unwrap()));
        command
            .args(missing)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = shared.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut address = None;
        wait_until("the proxy says where it listens", || {
            let log = log.lock().unwrap();
            assert!(
                child.try_wait().unwrap().is_none(),
                "the proxy ended: {log}"
            );
            address = listening_at(&log, "proxy address ");
            address.is_some()
        });
        Self {
            child,
            address: address.unwrap(),
            log,
            reader: Some(reader),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Its service port, called from this machine.
    pub(crate) fn service(&self) -> Http {
        let mut address = None;
        wait_until("the proxy says where its service port is", || {
            address = listening_at(&self.log(), "service address ");
            address.is_some()
        });
        // The admin listener's line comes before the proxy's own address, if there is one.
        let admin = listening_at(&self.log(), "admin address ");
        Http::at(address.unwrap()).with_admin(admin)
    }

    /// A new client.
    pub(crate) fn client(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// A new client that is logged in.
    pub(crate) fn client_as(&self, user: &str, password: &str) -> Wire {
        let mut client = self.client();
        assert_eq!(client.ask(&format!("AUTH {user} {password}")), "+OK");
        client
    }

    /// A new client that is logged in, as soon as its tenant can be used. A login that is refused
    /// meanwhile closes its client.
    pub(crate) fn client_when_known(&self, user: &str, password: &str) -> Wire {
        let login = format!("AUTH {user} {password}");
        let mut client = self.client();
        wait_until("the login is accepted", || {
            client = self.client();
            client.ask(&login) == "+OK"
        });
        client
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The number of log lines that contain this text.
    pub(crate) fn logged(&self, what: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(what))
            .count()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Kills the process.
    pub(crate) fn kill(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        self.wait();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait_for(&mut self.child);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Its CPU time in ticks of the kernel.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).unwrap();
        // User and system time are the 14th and 15th field; the second, a name, ends with `)`.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let times = fields.split_whitespace().skip(11).take(2);
        times.map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// Its resident memory in bytes, and the maximum so far.
    pub(crate) fn resident(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let number = line.split_whitespace().nth(1).unwrap();
            number.parse::<u64>().unwrap() * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let ended = self.has_ended();
        // The process may have ended just now.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if thread::panicking() {
            eprintln!("the proxy's log (ended before: {ended}):\n{log}");
        } else {
            assert!(!log.contains("panicked"), "the proxy panicked:\n{log}");
        }
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_elika-proxy");

fn listening_at(log: &str, what: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once(what)?;
    let (address, _) = rest.split_once('\n')?;
    address.trim().parse().ok()
}
