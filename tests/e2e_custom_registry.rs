//! The example `custom_registry` as a process, in front of real servers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use elika::{Catalog, Cluster, ClusterInstance, ClusterKey, ClusterName, Endpoint};
use support::{Redis, Wire, unused_port, wait_for, wait_until};
use tempfile::TempDir;

/// The example process; killed when dropped.
struct Example {
    child: Child,
    port: u16,
    complaints: Arc<Mutex<String>>,
}

impl Example {
    fn start(folder: &Path) -> Self {
        let program = build();
        loop {
            if let Some(example) = Self::try_start(&program, folder, unused_port()) {
                return example;
            }
        }
    }

    /// `None` if another process took the port.
    fn try_start(program: &Path, folder: &Path, port: u16) -> Option<Self> {
        let mut child = Command::new(program)
            .arg(folder)
            .args(["--bind=127.0.0.1", "--service-port=0"])
            .arg(format!("--port={port}"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let complaints = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&complaints);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *shared.lock().unwrap() += &(line + "\n");
            }
        });
        let mut example = Self {
            child,
            port,
            complaints,
        };
        let mut ended = false;
        wait_until("the example listens", || {
            ended = example.child.try_wait().unwrap().is_some();
            ended || TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        (!ended).then_some(example)
    }

    /// A new client of the cluster, if its login succeeds.
    fn login(&self, cluster: &ClusterKey) -> Option<Wire> {
        let mut client = Wire::connect(("127.0.0.1", self.port));
        let answer = client.ask(&format!("AUTH {}.admin admin", cluster.tenant()));
        (answer == "+OK").then_some(client)
    }

    /// The value that new clients of the cluster find under a key.
    fn finds(&self, cluster: &ClusterKey, value: &str) {
        wait_until(&format!("a new client finds {value}"), || {
            let client = self.login(cluster);
            client.is_some_and(|mut client| {
                client.ask("GET who") == format!("${} {value}", value.len())
            })
        });
    }

    fn complains(&self, what: &str) {
        wait_until(&format!("it complains: {what}"), || {
            self.complaints.lock().unwrap().contains(what)
        });
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the examples, which a single test run does not.
fn build() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_elika-proxy"))
        .parent()
        .unwrap();
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = match programs.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let status = Command::new(cargo)
            .args([
                "build",
                "--quiet",
                "--offline",
                "--example",
                "custom_registry",
            ])
            .args(["--profile", profile])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            status.is_ok_and(|it| it.success()),
            "the example does not build"
        );
    }
    programs.join("examples/custom_registry")
}

fn cluster(name: &str) -> ClusterKey {
    let local = ClusterKey::local();
    ClusterKey {
        name: ClusterName {
            name: name.into(),
            ..local.name
        },
        ..local
    }
}

fn instance(key: &ClusterKey, redis: &Redis) -> ClusterInstance {
    let endpoint = Endpoint::new("127.0.0.1", redis.port());
    ClusterInstance::new(key.clone(), "a", endpoint)
}

/// Replaces the file in one step, as the example requires.
fn write(folder: &TempDir, name: &str, text: &str) {
    let draft = folder.path().join("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.path().join(name)).unwrap();
}

#[test]
fn clusters_follow_the_files_of_the_folder() {
    let servers = [Redis::open(), Redis::open(), Redis::open()];
    for (name, server) in ["first", "second", "third"].iter().zip(&servers) {
        assert_eq!(server.ask(&format!("SET who {name}")), "+OK");
    }
    let [first, second, third] = &servers;
    let (shop, cart) = (cluster("shop"), cluster("cart"));
    let folder = TempDir::new().unwrap();
    let mut example = Example::start(folder.path());
    assert!(example.login(&shop).is_none(), "nobody knows it yet");

    write(&folder, "shop.json", &instance(&shop, first).to_json());
    example.finds(&shop, "first");
    assert!(example.login(&cart).is_none());
    let clusters = vec![Cluster {
        instances: vec![instance(&cart, third)],
        key: cart.clone(),
    }];
    write(&folder, "more.json", &Catalog { clusters }.to_json());
    example.finds(&cart, "third");

    write(&folder, "shop.json", &instance(&shop, second).to_json());
    example.finds(&shop, "second");

    write(&folder, "shop.json", "{\n\"key\": 7}");
    example.complains("shop.json: line 2: key: must be an object");
    example.finds(&shop, "second");
    example.finds(&cart, "third");

    fs::remove_file(folder.path().join("shop.json")).unwrap();
    wait_until("nobody can log in any more", || {
        example.login(&shop).is_none()
    });
    example.finds(&cart, "third");
    support::signal(example.child.id(), "TERM");
    assert!(wait_for(&mut example.child).success());
}
