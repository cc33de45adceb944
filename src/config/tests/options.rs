//! Single options: defaults, the command line, the environment.

use std::collections::BTreeSet;

use super::*;

/// A value that is not the option's default and is valid with the defaults of all other options.
fn other_value(row: &Row) -> &'static str {
    match row.name {
        "bind" => "::1",
        "port" => "7000",
        "service-port" => "7001",
        "service-admin-bind" => "127.0.0.1:7002",
        "core-num" => "2",
        "grace-seconds" => "11",
        "log.level" => "warn",
        "node.id" | "node.namespace" => "east-1",
        "router.type" => "sync",
        "router.static-be" => "redis.shop:6380",
        "router.cp-addr" => "http://control:8080",
        "router.sentinels" => "s1:26379,[::1]:26379",
        "router.sentinel-master" => "cache",
        "router.sentinel-user" => "proxy",
        "router.balancer" => "least-conn",
        "router.cp-token" | "router.sentinel-password" | "service-token" => "s3cret",
        "router.file" | "router.state-file" | "tenants.file" | "log.level-file" => "/etc/elika/x",
        "service.enable" | "worker.batching" => "false",
        "health.check-ms"
        | "health.timeout-ms"
        | "router.offline-grace-seconds"
        | "cluster.hold-ms" => "99",
        "metrics.tenants" | "limit.paused-clients" => "9",
        "tcp.keepalive-seconds" => "30",
        "cluster.front" => "auto",
        "admin-commands" => "deny",
        "backend-pool.max-size" => "31",
        "backend-pool.dedicated-max" | "backend-pool.tenant-max" => "99",
        "backend-pool.max-idle" => "9",
        "backend-pool.on-loss" => "close",
        "backend-pool.connect-ms" | "backend-pool.reply-ms" | "backend-pool.wait-ms" => "1234",
        "metrics.enable" => "false",
        "metrics.path" => "/m",
        "limit.clients" | "limit.accepts-per-second" | "limit.in-flight" => "123",
        "limit.request-bytes" => "65536",
        "limit.client-outbound-bytes"
        | "limit.subscriber-outbound-bytes"
        | "limit.worker-outbound-bytes"
        | "limit.worker-buffer-bytes"
        | "limit.tenant-buffer-bytes" => "1048576",
        "backend-pool.pinned-idle-seconds" => "78",
        "limit.login-seconds"
        | "limit.idle-seconds"
        | "limit.send-seconds"
        | "limit.logins-per-second" => "77",
        name => panic!("give {name} a value here"),
    }
}

/// The options that an option depends on.
fn required(row: &Row) -> &'static [&'static str] {
    match row.name {
        "router.cp-addr" | "router.file" => &["--router.type=sync"],
        "router.cp-token" | "router.state-file" => &["--router.type=sync", "--router.cp-addr=c:1"],
        "router.sentinels" => &["--router.type=sync"],
        "router.sentinel-master" | "router.sentinel-password" => &["--router.sentinels=s:1"],
        "router.sentinel-user" => &["--router.sentinels=s:1", "--router.sentinel-password=x"],
        _ => &[],
    }
}

/// The options that change the default of no other option.
fn independent() -> impl Iterator<Item = &'static Row> {
    rows().filter(|row| row.name != "router.type")
}

/// Parses `args` together with the options that this option depends on.
fn with_required(row: &Row, args: &[&str], env: &[(&str, &str)]) -> Config {
    let args: Vec<&str> = required(row).iter().chain(args).copied().collect();
    config_with(&args, env)
}

#[test]
fn empty_command_line_and_environment_give_the_defaults() {
    assert_eq!(config(&[]), Config::default());
}

#[test]
fn defaults_of_the_table_are_those_of_config() {
    for row in rows().filter(|row| !row.default.is_empty()) {
        assert_eq!(set(row, row.default), Config::default(), "{}", row.name);
    }
    let without: Vec<_> = rows()
        .filter(|row| row.default.is_empty())
        .map(|row| row.name)
        .collect();
    let optional = [
        "service-token",
        "service-admin-bind",
        "log.level-file",
        "router.sentinels",
        "router.sentinel-master",
        "router.sentinel-user",
        "router.sentinel-password",
        "router.cp-addr",
        "router.cp-token",
        "router.state-file",
        "router.file",
        "tenants.file",
        "admin-commands",
        "backend-pool.tenant-max",
    ];
    assert_eq!(without, optional);
}

#[test]
fn defaults_are_the_documented_values() {
    let config = config(&[]);
    assert_eq!(
        (config.port, config.service_port, config.core_num),
        (6378, 7080, 0)
    );
    assert_eq!(config.bind.to_string(), "0.0.0.0");
    assert_eq!(config.router.kind, RouterType::Static);
    assert_eq!(config.router.static_be.to_string(), "127.0.0.1:6379");
    assert_eq!(config.router.balancer, Balancer::Random);
    assert_eq!(
        (config.backend_pool.max_size, config.backend_pool.max_idle),
        (30, 10)
    );
    assert_eq!(
        (&*config.node.id, &*config.node.namespace),
        ("local_proxy", "default")
    );
    assert_eq!(
        (config.metrics.enable, &*config.metrics.path),
        (true, "/metrics")
    );
    assert_eq!(config.admin_commands, AdminCommands::Allow);
    assert_eq!(config.log_level, LogLevel::Info);
    assert_eq!(config.limits.request_bytes, 1_073_741_824);
    assert_eq!(config.limits.client_outbound_bytes, 268_435_456);
    assert_eq!(config.limits.worker_outbound_bytes, 536_870_912);
}

#[test]
fn every_option_is_set_in_both_notations_and_from_the_environment() {
    for row in independent() {
        let value = other_value(row);
        assert_ne!(
            set(row, value),
            Config::default(),
            "{} sets nothing",
            row.name
        );
        let mut expected = with_required(row, &[], &[]);
        assert!(apply(row, value, &mut expected));
        let long = format!("--{}", row.name);
        for way in [
            with_required(row, &[&format!("{long}={value}")], &[]),
            with_required(row, &[&long, value], &[]),
            with_required(row, &[], &[(&row.env_name(), value)]),
        ] {
            assert_eq!(way, expected, "{}", row.name);
        }
    }
}

#[test]
fn command_line_wins_over_the_environment() {
    for row in independent().filter(|row| !row.default.is_empty()) {
        let env = (&*row.env_name(), other_value(row));
        let args = format!("--{}={}", row.name, row.default);
        assert_eq!(
            config_with(&[&args], &[env]),
            Config::default(),
            "{}",
            row.name
        );
    }
    // A wrong value in the environment is ignored as well.
    assert_eq!(config_with(&["--port=1"], &[("ELIKA_PORT", "x")]).port, 1);
}

#[test]
fn environment_names_are_derived_from_option_names() {
    let names: BTreeSet<String> = rows().map(Row::env_name).collect();
    assert_eq!(names.len(), rows().count());
    for name in [
        "ELIKA_PORT",
        "ELIKA_ROUTER_STATIC_BE",
        "ELIKA_BACKEND_POOL_MAX_SIZE",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn empty_variable_counts_as_not_set() {
    let empty: Vec<_> = rows().map(|row| (row.env_name(), "")).collect();
    let empty: Vec<_> = empty
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(config_with(&[], &empty), Config::default());
}

#[test]
fn variables_of_a_kubernetes_service_called_elika_are_ignored() {
    let link = [
        ("ELIKA_SERVICE_HOST", "10.0.0.7"),
        ("ELIKA_SERVICE_PORT", "6378"),
        ("ELIKA_PORT", "tcp://10.0.0.7:6378"),
        ("ELIKA_CORE_NUM", "3"),
    ];
    let config = config_with(&[], &link);
    assert_eq!(
        (config.port, config.service_port, config.core_num),
        (6378, 7080, 3)
    );
    assert_eq!(
        config.notes,
        ["ELIKA_PORT and ELIKA_SERVICE_PORT ignored: set by Kubernetes for a Service called elika"]
    );
    let config = config_with(&["--port=1", "--service-port=2"], &link);
    assert_eq!((config.port, config.service_port), (1, 2));
    assert!(config.notes.is_empty());
}
