//! Elika as a library, and a client library in front of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;

use elika::config::{self, Parsed};
use elika::{Proxy, Running};
use redis::{
    Client, Commands, Connection, ConnectionLike, ErrorKind, RedisResult, ServerErrorKind,
};
use support::{Http, Redis, TENANT, Wire, wait_until};

fn start(redis: &Redis) -> Running {
    start_with(redis, &[])
}

fn start_with(redis: &Redis, more: &[&str]) -> Running {
    let args = [
        "--bind=127.0.0.1".to_owned(),
        "--port=0".into(),
        "--service-port=0".into(),
        format!("--router.static-be={}", redis.address()),
    ];
    let args = args.into_iter().chain(more.iter().map(ToString::to_string));
    let Ok(Parsed::Run(config)) = config::parse(args, &|_| None) else {
        panic!("the options are not understood");
    };
    Proxy::new(*config).start().unwrap()
}

fn connect(address: SocketAddr, login: &str, options: &str) -> Connection {
    let client = Client::open(format!("redis://{login}@{address}/{options}")).unwrap();
    client.get_connection().unwrap()
}

#[test]
fn proxy_starts_and_stops_within_a_process() {
    let redis = Redis::open();
    let (first, second) = (start(&redis), start(&redis));
    assert_ne!(first.address(), second.address());
    let mut client = Wire::connect(first.address());
    assert_eq!(client.ask("SET k v"), "+OK");
    let address = first.address();
    first.stop();
    client.expect_end();
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(Wire::connect(second.address()).ask("GET k"), "$1 v");
    second.stop();
}

#[test]
fn service_port_can_be_disabled() {
    let redis = Redis::open();
    let (with, without) = (
        start(&redis),
        start_with(&redis, &["--service.enable=false"]),
    );
    let service = Http::at(with.service_address().unwrap()).with_admin(with.admin_address());
    assert_eq!(service.get("/healthz").status, 200);
    assert_eq!(without.service_address(), None);
    assert_eq!(without.admin_address(), None);
    assert_eq!(Wire::connect(without.address()).ask("PING"), "+PONG");
    let mut client = Wire::connect(with.address());
    assert_eq!(client.ask("PING"), "+PONG");
    // The embedding program decides how long it waits.
    assert_eq!(service.post("/drain", "").status, 202);
    client.expect_end();
    assert_eq!(service.get("/readyz").status, 503);
    with.stop();
    assert!(service.try_ask("GET", "/healthz", None).is_err());
    without.stop();
}

/// Its threads end with it.
#[test]
fn stopped_proxy_leaves_no_threads_and_sockets() {
    let redis = Redis::open();
    let dir = tempfile::TempDir::new().unwrap();
    let tenants = format!("--tenants.file={}/t.json", dir.path().display());
    let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm"));
    let ours = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| name(task.ok()?.path()).ok());
        let ours = [
            "worker-",
            "directory",
            "registry",
            "tenants.file",
            "service",
        ];
        names
            .filter(|name| ours.iter().any(|own| name.starts_with(own)))
            .count()
    };
    let running = start_with(&redis, &[&tenants]);
    assert!(ours() >= 5);
    running.stop();
    // The threads of other tests end too.
    wait_until("its threads have ended", || ours() == 0);
}

#[test]
fn client_library_works_through_the_proxy() {
    let server = Redis::open();
    let proxy = start(&server);
    for (login, options, db) in [
        ("ann:annpw".to_owned(), "", 0),
        (format!("{TENANT}.ann:annpw"), "3", 3),
        (format!("{TENANT}.ann:annpw"), "?protocol=resp3", 0),
        ("ann:annpw".to_owned(), "5?protocol=resp3", 5),
    ] {
        let mut connection = connect(proxy.address(), &login, options);
        assert_eq!(connection.get_db(), db);
        assert!(connection.check_connection());
        let () = connection.set("k", db).unwrap();
        assert_eq!(connection.get::<_, i64>("k").unwrap(), db);
        let () = connection
            .hset_multiple("h", &[("a", 1), ("b", 2)])
            .unwrap();
        let map: HashMap<String, i64> = connection.hgetall("h").unwrap();
        assert_eq!(map, HashMap::from([("a".into(), 1), ("b".into(), 2)]));
        let () = connection
            .zadd_multiple("z", &[(1.5, "x"), (2.0, "y")])
            .unwrap();
        let scores: Vec<(String, f64)> = connection.zrange_withscores("z", 0, -1).unwrap();
        assert_eq!(scores, [("x".into(), 1.5), ("y".into(), 2.0)]);
        let nothing: Option<String> = connection.get("none").unwrap();
        assert_eq!(nothing, None);
        let mut keys: Vec<String> = connection.scan().unwrap().map(Result::unwrap).collect();
        keys.sort();
        assert_eq!(keys, ["h", "k", "z"]);
        let (n, doubled): (i64, i64) = redis::pipe()
            .set("n", 21)
            .ignore()
            .get("n")
            .cmd("EVAL")
            .arg("return redis.call('GET', KEYS[1]) * 2")
            .arg(1)
            .arg("n")
            .query(&mut connection)
            .unwrap();
        assert_eq!((n, doubled), (21, 42));
        let () = redis::cmd("FLUSHDB").query(&mut connection).unwrap();
    }
    proxy.stop();
}

#[test]
fn client_library_sees_the_kind_of_errors() {
    let server = Redis::guarded();
    let proxy = start(&server);
    let wrong = Client::open(format!("redis://ann:wrong@{}/", proxy.address())).unwrap();
    let error = wrong.get_connection().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AuthenticationFailed, "{error}");
    let mut reader = connect(proxy.address(), "reader:readerpw", "");
    let refused: RedisResult<()> = reader.set("k", "v");
    let error = refused.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::NoPerm),
        "{error}"
    );
    let mut admin = connect(proxy.address(), "admin:admin", "");
    let () = admin.lpush("l", 1).unwrap();
    let wrong_type: RedisResult<String> = admin.get("l");
    assert_eq!(wrong_type.unwrap_err().code(), Some("WRONGTYPE"));
    proxy.stop();
}
