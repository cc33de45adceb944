//! redis-cli and redis-benchmark against the proxy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use support::{Proxy, Redis, TENANT};

/// Runs a tool for at most this number of seconds against a proxy, logged in as `admin`.
fn run(proxy: &Proxy, seconds: u32, tool: &str, options: &[&str], input: &[u8]) -> Output {
    let user = format!("{TENANT}.admin");
    let mut child = Command::new("timeout")
        .args([&seconds.to_string(), tool, "-p", &proxy.port()])
        .args(["--user", &user, "-a", "admin"])
        .args(options)
        .env("REDISCLI_AUTH", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A tool that does not read its input may have ended.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// The output of redis-cli, without the warning about passwords on the command line.
fn cli(proxy: &Proxy, options: &[&str], input: &str) -> String {
    let options = [&["--no-auth-warning"], options].concat();
    let output = run(proxy, 60, "redis-cli", &options, input.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?}: {text} {errors}");
    assert_eq!(errors, "", "{options:?}");
    text
}

#[test]
fn interactive_session_works() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let lines =
        format!("auth {TENANT}.admin admin\nping\nset key1 value1\nget key1\nselect 1\nget key1\n");
    let output = Command::new("sh")
        .args([
            "-c",
            "printf '%s' \"$1\" | redis-cli -p \"$0\"",
            &proxy.port(),
            &lines,
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "OK\nPONG\nOK\nvalue1\nOK\n\n");
}

#[test]
fn redis_cli_runs_commands() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    assert_eq!(cli(&proxy, &["set", "k", "v"], ""), "OK\n");
    assert_eq!(cli(&proxy, &["-3", "hset", "h", "f", "v"], ""), "1\n");
    assert_eq!(cli(&proxy, &["-3", "hgetall", "h"], ""), "f v\n");
    assert_eq!(cli(&proxy, &["-n", "2", "set", "other", "v"], ""), "OK\n");
    assert_eq!(cli(&proxy, &["dbsize"], ""), "2\n");
    assert_eq!(cli(&proxy, &["-x", "set", "in"], "from stdin"), "OK\n");
    assert_eq!(
        cli(&proxy, &["-r", "5", "incr", "n"], ""),
        "1\n2\n3\n4\n5\n"
    );
    let docs = cli(&proxy, &["command", "docs"], "");
    assert!(
        docs.contains("Set the string value of a key"),
        "{} bytes",
        docs.len()
    );
    assert!(cli(&proxy, &["info", "server"], "").contains("redis_version:7.0.15"));
    let help = cli(&proxy, &["client", "help"], "");
    assert!(help.contains("SETNAME"), "{help}");
}

#[test]
fn redis_cli_scans() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let commands: String = (0..2_000).map(|i| format!("SET key:{i} {i}\r\n")).collect();
    let piped = cli(&proxy, &["--pipe"], &commands);
    assert!(piped.ends_with("errors: 0, replies: 2000\n"), "{piped}");
    let scanned = cli(&proxy, &["--scan", "--pattern", "key:*"], "");
    assert_eq!(scanned.lines().count(), 2_000);
    for option in ["--bigkeys", "--memkeys"] {
        let report = cli(&proxy, &[option], "");
        assert!(
            report.contains("Sampled 2000 keys in the keyspace"),
            "{option}: {report}"
        );
    }
}

#[test]
fn redis_cli_pipes_a_hundred_thousand_commands() {
    let (redis, proxy) = Redis::open().proxied(&[]);
    let commands: String = (0..100_000)
        .map(|i| format!("*3\r\n$3\r\nSET\r\n$10\r\nkey:{i:06}\r\n$6\r\n{i:06}\r\n"))
        .collect();
    let piped = cli(&proxy, &["--pipe"], &commands);
    assert!(piped.ends_with("errors: 0, replies: 100000\n"), "{piped}");
    assert_eq!(redis.ask("DBSIZE"), ":100000");
}

#[test]
fn redis_cli_measures_latency() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let latency = run(
        &proxy,
        2,
        "redis-cli",
        &["--latency", "--raw", "-i", "1"],
        b"",
    );
    let text = String::from_utf8_lossy(&latency.stdout);
    let errors = String::from_utf8_lossy(&latency.stderr);
    // min, max, average, samples
    let samples = text
        .split_whitespace()
        .nth(3)
        .map_or(0, |n| n.parse().unwrap_or(0));
    assert!(samples > 10, "{text} {errors}");
}

#[test]
fn redis_benchmark_runs() {
    let (_redis, proxy) = Redis::open().proxied(&[]);
    let tests = "set,get,incr,lpush,rpush,sadd,hset,zadd,lrange,mset";
    let options = ["-t", tests, "-n", "2000", "-P", "16", "-c", "50", "-q"];
    let output = run(&proxy, 60, "redis-benchmark", &options, b"");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text} {errors}");
    assert!(
        !text.contains("rror") && !errors.contains("rror"),
        "{text} {errors}"
    );
    let measured = text
        .lines()
        .filter(|line| line.contains("requests per second"));
    // LRANGE is four of them, after an LPUSH.
    assert_eq!(measured.count(), 14, "{text}");
}
