//! The options one by one and together, as `main` calls for them.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{GROUPS, Row, Value, WORKERS_MAX, rows};
use super::*;

/// Parses command-line words and environment variables.
fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Parsed, ConfigError> {
    let args = args.iter().map(|arg| (*arg).to_owned());
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    parse(args, &|name| env.get(name).map(|value| (*value).to_owned()))
}

#[track_caller]
fn config_with(args: &[&str], env: &[(&str, &str)]) -> Config {
    match run(args, env) {
        Ok(Parsed::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn config(args: &[&str]) -> Config {
    config_with(args, &[])
}

/// The error line; it is one line, always.
#[track_caller]
fn refusal_with(args: &[&str], env: &[(&str, &str)]) -> String {
    let line = run(args, env).unwrap_err().to_string();
    assert!(!line.chars().any(char::is_control), "{line:?}");
    line
}

#[track_caller]
fn refusal(args: &[&str]) -> String {
    refusal_with(args, &[])
}

fn help() -> String {
    match run(&["--help"], &[]) {
        Ok(Parsed::Help(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// What is set by one row alone, without regard to other options.
fn set(row: &Row, text: &str) -> Config {
    let mut config = Config::default();
    match &row.value {
        Value::Number(_, _, set) => assert!(set(&mut config, text.parse().unwrap())),
        Value::OneOf(names, set) => {
            assert!(names.contains(&text));
            set(&mut config, text);
        }
        Value::Text(_, set) => set(&mut config, text).unwrap(),
    }
    config
}

/// A value of the row's that is not its default, and goes with the other defaults.
fn another(row: &Row) -> &'static str {
    match row.name {
        "bind" => "::1",
        "port" => "7000",
        "service-port" => "7001",
        "core-num" => "2",
        "grace-seconds" => "11",
        "log.level" => "warn",
        "node.id" | "node.namespace" => "east-1",
        "router.type" => "sync",
        "router.static-be" => "redis.shop:6380",
        "router.cp-addr" => "http://control:8080",
        "router.balancer" => "least-conn",
        "admin-commands" => "deny",
        "backend-pool.max-size" => "31",
        "backend-pool.max-idle" => "9",
        "backend-pool.connect-ms" | "backend-pool.reply-ms" => "1234",
        "metrics.enable" => "false",
        "metrics.path" => "/m",
        "limit.clients" | "limit.accepts-per-second" | "limit.in-flight" => "123",
        "limit.request-bytes" => "65536",
        "limit.client-outbound-bytes" | "limit.worker-outbound-bytes" => "1048576",
        "limit.login-seconds" | "limit.idle-seconds" | "limit.logins-per-second" => "77",
        name => panic!("give {name} a value here"),
    }
}

/// Options that stand alone in the static router: those of the sync router are refused for now.
fn usable() -> impl Iterator<Item = &'static Row> {
    rows().filter(|row| !matches!(row.name, "router.type" | "router.cp-addr"))
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(config(&[]), Config::default());
}

#[test]
fn the_defaults_of_the_table_are_those_of_the_type() {
    for row in rows().filter(|row| !row.default.is_empty()) {
        assert_eq!(set(row, row.default), Config::default(), "{}", row.name);
    }
    let without: Vec<_> = rows()
        .filter(|row| row.default.is_empty())
        .map(|row| row.name)
        .collect();
    assert_eq!(without, ["router.cp-addr", "admin-commands"]);
}

#[test]
fn defaults_are_the_published_ones() {
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
    assert_eq!(config.limits.client_outbound_bytes, 67_108_864);
    assert_eq!(config.limits.worker_outbound_bytes, 536_870_912);
}

#[test]
fn every_option_is_set_both_ways_and_from_the_environment() {
    for row in usable() {
        let value = another(row);
        let expected = Config {
            notes: Vec::new(),
            ..set(row, value)
        };
        assert_ne!(expected, Config::default(), "{} sets nothing", row.name);
        let long = format!("--{}", row.name);
        let ways = [
            config(&[&format!("{long}={value}")]),
            config(&[&long, value]),
            config_with(&[], &[(&row.env_name(), value)]),
        ];
        for way in ways {
            assert_eq!(way.notes.is_empty(), row.has_effect, "{}", row.name);
            assert_eq!(
                Config {
                    notes: Vec::new(),
                    ..way
                },
                expected,
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn the_command_line_wins_over_the_environment() {
    for row in usable() {
        let env = (&*row.env_name(), another(row));
        if !row.default.is_empty() {
            let args = format!("--{}={}", row.name, row.default);
            let config = config_with(&[&args], &[env]);
            assert_eq!(
                Config {
                    notes: Vec::new(),
                    ..config
                },
                Config::default(),
                "{}",
                row.name
            );
        }
    }
    // Not even a wrong value in the environment matters then.
    assert_eq!(config_with(&["--port=1"], &[("ELIKA_PORT", "x")]).port, 1);
}

#[test]
fn environment_names_are_derived() {
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
fn an_empty_variable_counts_as_not_set() {
    let empty: Vec<_> = rows().map(|row| (row.env_name(), "")).collect();
    let empty: Vec<_> = empty
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    assert_eq!(config_with(&[], &empty), Config::default());
}

#[test]
fn a_kubernetes_service_called_elika_is_not_mistaken_for_settings() {
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
    assert_eq!(
        config.notes,
        ["--service-port has no effect in this version"]
    );
}

#[test]
fn a_wrong_value_is_named_with_its_reason_and_what_is_allowed() {
    for row in rows() {
        let wrong = match row.value {
            Value::Number(..) => "many",
            Value::OneOf(..) => "maybe",
            Value::Text(..) => "a b",
        };
        let allowed = row.value.allowed();
        let written = [
            format!("--{}={wrong}", row.name),
            format!("{}={wrong}", row.env_name()),
        ];
        let lines = [
            refusal(&[&written[0]]),
            refusal_with(&[], &[(&row.env_name(), wrong)]),
        ];
        for (line, written) in lines.iter().zip(written) {
            assert!(line.starts_with(&format!("{written}: ")), "{line}");
            assert!(line.ends_with(&format!("; allowed: {allowed}")), "{line}");
        }
    }
}

#[test]
fn error_lines_read_well() {
    let cases: [(&[&str], &str); 17] = [
        (
            &["--port=abc"],
            "--port=abc: not a whole number; allowed: 0 to 65535",
        ),
        (
            &["--port", "65536"],
            "--port=65536: too large; allowed: 0 to 65535",
        ),
        (
            &["--port=-1"],
            "--port=-1: not a whole number; allowed: 0 to 65535",
        ),
        (
            &["--port=+1"],
            "--port=+1: not a whole number; allowed: 0 to 65535",
        ),
        (
            &["--port= 1"],
            "--port= 1: not a whole number; allowed: 0 to 65535",
        ),
        (
            &["--port="],
            "--port=: not a whole number; allowed: 0 to 65535",
        ),
        (
            &["--limit.clients=99999999999999999999"],
            "--limit.clients=99999999999999999999: too large; allowed: 1 to 10000000",
        ),
        (
            &["--limit.in-flight=0"],
            "--limit.in-flight=0: too small; allowed: 1 to 10000000",
        ),
        (
            &["--metrics.enable=TRUE"],
            "--metrics.enable=TRUE: unknown value; allowed: true, false",
        ),
        (
            &["--router.type=x"],
            "--router.type=x: unknown value; allowed: static, sync",
        ),
        (&["--port"], "--port: needs a value; allowed: 0 to 65535"),
        (
            &["--port=1", "--port=2"],
            "--port: given more than once; give it once",
        ),
        (
            &["--colour=red"],
            "--colour: unknown option; --help lists all options",
        ),
        (&["-x"], "-x: unknown option; --help lists all options"),
        (
            &["--help=yes"],
            "--help: takes no value; leave the value out",
        ),
        (
            &["--router-static_be=h:1"],
            "--router-static_be: unknown option; did you mean --router.static-be?",
        ),
        (
            &["run"],
            "run: not an option; options are written --name=value or --name value",
        ),
    ];
    for (args, line) in cases {
        assert_eq!(refusal(args), line);
    }
}

#[test]
fn what_was_given_is_shown_on_one_line_of_sane_length() {
    let line = refusal(&["--port=1\n2\u{1b}[31m"]);
    assert!(
        line.starts_with("--port=1\\n2\\u{1b}[31m: not a whole number"),
        "{line}"
    );
    assert!(refusal(&[&format!("--port={}", "9".repeat(10_000))]).len() < 250);
    assert!(refusal(&["free\nword"]).starts_with("free\\nword: "));
}

#[test]
fn numbers_are_taken_up_to_their_ends() {
    for row in rows() {
        if let Value::Number(min, max, _) = row.value {
            for number in [min, max] {
                set(row, &number.to_string());
            }
            let too_large = refusal(&[&format!("--{}={}", row.name, max + 1)]);
            assert!(too_large.contains(": too large; "), "{too_large}");
        }
    }
}

#[test]
fn every_name_is_taken_and_written_back() {
    for (name, level) in LogLevel::NAMES.iter().zip(values::Choice::ALL) {
        let level: &LogLevel = level;
        assert_eq!(config(&[&format!("--log.level={name}")]).log_level, *level);
        assert_eq!(level.to_string(), *name);
    }
    for name in Balancer::NAMES {
        let config = config(&["--router.balancer", name]);
        assert_eq!(config.router.balancer.to_string(), *name);
    }
    for name in AdminCommands::NAMES {
        let config = config(&["--admin-commands", name]);
        assert_eq!(config.admin_commands.to_string(), *name);
    }
}

#[test]
fn backends_are_host_and_port() {
    let longest = format!(
        "{}.{}:1",
        "a".repeat(63),
        ["b".repeat(62).as_str(); 3].join(".")
    );
    let good = [
        "127.0.0.1:6379",
        "redis:1",
        "cache_1.shop.svc.cluster.local.:65535",
        "3com.example:80",
        "[::1]:6379",
        "[2001:db8::7]:6379",
        &longest,
    ];
    for text in good {
        let backend = config(&["--router.static-be", text]).router.static_be;
        assert_eq!(backend.to_string(), text);
        assert!(!backend.host.contains(['[', ']']), "{backend:?}");
    }
    let bad = [
        ("redis", "the port is missing"),
        ("127.0.0.1", "the port is missing"),
        ("[::1]", "the port is missing"),
        ("[::1]6379", "the port is missing"),
        ("", "the port is missing"),
        (":6379", "the host is missing"),
        (".:6379", "the host is missing"),
        ("redis:", "the port is not a number from 1 to 65535"),
        ("redis:0", "the port is not a number from 1 to 65535"),
        ("redis:+1", "the port is not a number from 1 to 65535"),
        ("redis:65536", "the port is not a number from 1 to 65535"),
        ("[::1]:0", "the port is not a number from 1 to 65535"),
        ("::1", "an IPv6 address needs [ ] and a port after them"),
        ("[::1:6379", "no ] after the IPv6 address"),
        ("[127.0.0.1]:6379", "not an IPv6 address in [ ]"),
        ("[]:6379", "not an IPv6 address in [ ]"),
        ("256.0.0.1:6379", "not an IPv4 address"),
        ("127.1:6379", "not an IPv4 address"),
        ("a..b:6379", "not a host name"),
        ("redis://h:6379", "not a host name"),
        ("a,b:6379", "not a host name"),
        ("h:1:2", "not a host name"),
    ];
    for (text, reason) in bad {
        let line = refusal(&[&format!("--router.static-be={text}")]);
        let allowed = "HOST:PORT, the host a name, an IPv4 address or [IPv6]";
        let given = format!("--router.static-be={text}");
        assert_eq!(line, format!("{given}: {reason}; allowed: {allowed}"));
    }
    let long_label = format!("{}:1", "a".repeat(64));
    assert!(refusal(&["--router.static-be", &long_label]).contains("not a host name"));
}

#[test]
fn control_planes_may_be_written_as_urls() {
    for text in ["control:8080", "http://control:8080", "http://[::1]:8080/"] {
        let config = set(table::row("router.cp-addr").unwrap(), text);
        assert_eq!(config.router.cp_addr.as_deref(), Some(text));
    }
    for (text, reason) in [
        ("https://control:443", "no scheme but http:// is understood"),
        ("http://control", "the port is missing"),
        (
            "http://control:1/path",
            "the port is not a number from 1 to 65535",
        ),
    ] {
        assert!(
            refusal(&["--router.cp-addr", text]).contains(reason),
            "{text}"
        );
    }
}

#[test]
fn names_and_paths_are_fit_for_logs_and_urls() {
    for (name, reason) in [
        ("", "is empty"),
        ("a b", "has spaces"),
        ("a\tb", "has spaces"),
    ] {
        assert!(
            refusal(&[&format!("--node.id={name}")]).contains(reason),
            "{name:?}"
        );
    }
    assert_eq!(
        config(&["--node.id", &"é".repeat(128)])
            .node
            .id
            .chars()
            .count(),
        128
    );
    assert!(refusal(&["--node.id", &"x".repeat(129)]).contains("is too long"));
    for (path, reason) in [
        ("metrics", "does not begin with a slash"),
        ("", "does not begin with a slash"),
        ("/a?b", "has characters that no path has"),
        ("/a b", "has characters that no path has"),
        ("/é", "has characters that no path has"),
    ] {
        assert!(
            refusal(&[&format!("--metrics.path={path}")]).contains(reason),
            "{path:?}"
        );
    }
}

#[test]
fn options_of_the_two_routers_do_not_mix() {
    let only_one = "give one or the other";
    assert_eq!(
        refusal(&["--router.cp-addr=control:8080"]),
        format!(
            "--router.cp-addr=control:8080: makes no sense with --router.type=static; {only_one}"
        )
    );
    assert_eq!(
        refusal_with(
            &["--router.type=static"],
            &[("ELIKA_ROUTER_CP_ADDR", "control:8080")]
        ),
        format!(
            "ELIKA_ROUTER_CP_ADDR=control:8080: makes no sense with --router.type=static; {only_one}"
        )
    );
    assert_eq!(
        refusal(&[
            "--router.type=sync",
            "--router.cp-addr=c:1",
            "--router.static-be=h:1"
        ]),
        format!("--router.static-be=h:1: makes no sense with --router.type=sync; {only_one}")
    );
    assert_eq!(
        refusal(&["--router.type=sync"]),
        "--router.type=sync: has nothing to follow; give --router.cp-addr=HOST:PORT too"
    );
}

#[test]
fn the_sync_router_is_refused_until_it_exists() {
    let line = "the sync router is not part of this version; allowed for now: static";
    let sync = ["--router.type=sync", "--router.cp-addr=control:8080"];
    assert_eq!(refusal(&sync), format!("--router.type=sync: {line}"));
    assert_eq!(
        refusal_with(&sync[1..], &[("ELIKA_ROUTER_TYPE", "sync")]),
        format!("ELIKA_ROUTER_TYPE=sync: {line}")
    );
}

#[test]
fn administrative_commands_follow_the_router_unless_given() {
    let admin = |args: &[&str]| {
        let mut config = Config::default();
        let matches = parse::options().parse(args).unwrap();
        let given = given::Given::read(&matches, &|_| None, &mut config.notes);
        given.apply(&mut config).unwrap();
        check::relations(&given, &mut config).unwrap();
        config.admin_commands
    };
    let sync = ["--router.type=sync", "--router.cp-addr=control:8080"];
    assert_eq!(admin(&[]), AdminCommands::Allow);
    assert_eq!(admin(&sync), AdminCommands::Deny);
    assert_eq!(admin(&["--admin-commands=deny"]), AdminCommands::Deny);
    assert_eq!(
        admin(&[sync[0], sync[1], "--admin-commands=allow"]),
        AdminCommands::Allow
    );
}

#[test]
fn two_ports_are_two_ports() {
    let remedy = "--port and --service-port need different ports";
    assert_eq!(
        refusal(&["--port=7080"]),
        format!("--port=7080: taken twice; {remedy}")
    );
    let line = format!("--service-port=6378: taken twice; {remedy}");
    assert_eq!(refusal(&["--service-port=6378"]), line);
    let config = config(&["--port=0", "--service-port=0"]);
    assert_eq!((config.port, config.service_port), (0, 0));
}

#[test]
fn a_pool_keeps_no_more_idle_connections_than_it_may_have() {
    assert_eq!(
        refusal(&["--backend-pool.max-idle=31"]),
        "--backend-pool.max-idle=31: more than --backend-pool.max-size, which is 30; \
         allowed: 0 to 30"
    );
    let pool = config(&["--backend-pool.max-size=4"]).backend_pool;
    assert_eq!((pool.max_size, pool.max_idle), (4, 4));
    let both = ["--backend-pool.max-size=4", "--backend-pool.max-idle=4"];
    assert_eq!(config(&both).backend_pool, pool);
}

#[test]
fn options_without_effect_are_noted_one_line_each() {
    let args = [
        "--router.balancer=random",
        "--backend-pool.max-idle=1",
        "--metrics.path",
        "/m",
    ];
    let config = config_with(
        &args,
        &[("ELIKA_METRICS_ENABLE", "false"), ("ELIKA_PORT", "1")],
    );
    let noted = [
        "--router.balancer has no effect in this version",
        "--backend-pool.max-idle has no effect in this version",
        "ELIKA_METRICS_ENABLE has no effect in this version",
        "--metrics.path has no effect in this version",
    ];
    assert_eq!(config.notes, noted);
}

#[test]
fn core_num_zero_is_every_core() {
    assert_eq!(config(&["--core-num=3"]).workers(), 3);
    assert!((1..=WORKERS_MAX).contains(&config(&["--core-num=0"]).workers()));
}

#[test]
fn help_and_version_come_before_all_other_checks() {
    for args in [
        &["-h"][..],
        &["--help"],
        &["--port=x", "-h"],
        &["word", "--help"],
    ] {
        assert_eq!(run(args, &[("ELIKA_PORT", "x")]), Ok(Parsed::Help(help())));
    }
    let version = format!("elika-proxy {}", env!("CARGO_PKG_VERSION"));
    for arg in ["-V", "--version"] {
        assert_eq!(run(&[arg], &[]), Ok(Parsed::Version(version.clone())));
    }
}

#[test]
fn help_lists_every_option_with_its_values_and_default() {
    let help = help();
    // As one stretch of words, however the lines were broken.
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for row in rows() {
        let mut entry = format!("--{}={} {}", row.name, row.hint, row.help);
        if let Value::OneOf(names, _) = row.value {
            entry += &format!(": {}", names.join(", "));
        }
        if !row.default.is_empty() {
            entry += &format!(" [{}]", row.default);
        }
        assert!(words.contains(&entry), "{entry}");
    }
    for group in GROUPS {
        assert!(help.contains(&format!("\n\n{}:\n", group.title)));
    }
    assert!(words.contains("--router.static-be as ELIKA_ROUTER_STATIC_BE; the command line wins."));
    assert!(words.contains("-h, --help") && words.contains("-V, --version"));
}

#[test]
fn help_fits_the_screen_and_is_aligned() {
    let help = help();
    let column = help
        .lines()
        .find_map(|line| line.find("print the version"))
        .unwrap();
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line.trim_end(), line, "no blanks at the end");
        if line.starts_with("  ") {
            assert_eq!(line.as_bytes()[column - 1], b' ', "{line}");
            assert_ne!(line.as_bytes()[column], b' ', "{line}");
        }
    }
    assert!(help.ends_with('\n') && !help.ends_with("\n\n"));
}
