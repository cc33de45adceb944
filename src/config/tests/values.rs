//! The values that single options allow, and the error lines for others.

use super::*;
use crate::config::values::Choice;

#[test]
fn error_line_has_the_option_the_reason_and_the_allowed_values() {
    for row in rows() {
        let wrong = match row.value {
            _ if row.name.ends_with("file") => "a/",
            Value::Number(..) => "many",
            Value::OneOf(..) => "maybe",
            Value::Text(..) => "a b",
        };
        let allowed = row.value.allowed();
        // A wrong secret is not shown either.
        let written = [
            format!("--{}={wrong}", row.name),
            format!("{}={wrong}", row.env_name()),
        ];
        let lines = [
            refusal(&[&written[0]]),
            refusal_with(&[], &[(&row.env_name(), wrong)]),
        ];
        for (line, mut written) in lines.iter().zip(written) {
            if ["-token", "-password"]
                .iter()
                .any(|it| row.name.ends_with(it))
            {
                written = written.replace(wrong, "…");
            }
            assert!(line.starts_with(&format!("{written}: ")), "{line}");
            assert!(line.ends_with(&format!("; allowed: {allowed}")), "{line}");
        }
    }
}

#[test]
fn error_lines_are_exactly_these() {
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
            "--port: given more than once; give it once only",
        ),
        (
            &["--colour=red"],
            "--colour: unknown option; --help lists all options",
        ),
        (&["-x"], "-x: unknown option; --help lists all options"),
        (&["--help=yes"], "--help: takes no value; remove the value"),
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
fn error_line_escapes_control_characters_and_is_cut() {
    let line = refusal(&["--port=1\n2\u{1b}[31m"]);
    assert!(
        line.starts_with("--port=1\\n2\\u{1b}[31m: not a whole number"),
        "{line}"
    );
    assert!(refusal(&[&format!("--port={}", "9".repeat(10_000))]).len() < 250);
    assert!(refusal(&["free\nword"]).starts_with("free\\nword: "));
}

#[test]
fn numbers_are_accepted_from_minimum_to_maximum() {
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
fn every_name_is_accepted_and_displayed_again() {
    for (name, level) in LogLevel::NAMES.iter().zip(LogLevel::ALL) {
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
fn backend_is_a_host_and_a_port() {
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
        let allowed = "HOST:PORT, where HOST is a name, an IPv4 address or [IPv6]";
        let given = format!("--router.static-be={text}");
        assert_eq!(line, format!("{given}: {reason}; allowed: {allowed}"));
    }
    let long_label = format!("{}:1", "a".repeat(64));
    assert!(refusal(&["--router.static-be", &long_label]).contains("not a host name"));
}

#[test]
fn control_plane_may_be_a_url() {
    for text in ["control:8080", "http://control:8080", "http://[::1]:8080/"] {
        let config = set(table::row("router.cp-addr").unwrap(), text);
        assert_eq!(config.router.cp_addr.as_deref(), Some(text));
    }
    for (text, reason) in [
        (
            "https://control:443",
            "http:// is the only scheme that is supported",
        ),
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
fn file_need_not_exist_and_is_not_a_directory() {
    let file = "/nowhere/my clusters.json";
    let config = config(&["--tenants.file", file]);
    assert_eq!(config.tenants.file.unwrap().to_str(), Some(file));
    for (path, reason) in [
        ("", "is empty"),
        ("a/", "is a directory"),
        ("a\0b", "has a zero byte"),
    ] {
        let line = refusal(&[&format!("--tenants.file={path}")]);
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn names_without_spaces_and_url_paths_are_accepted() {
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
        ("/a?b", "has characters that are not allowed in a path"),
        ("/a b", "has characters that are not allowed in a path"),
        ("/é", "has characters that are not allowed in a path"),
        (
            "/healthz",
            "is the path of another page of the service port",
        ),
        (
            "/clients",
            "is the path of another page of the service port",
        ),
    ] {
        assert!(
            refusal(&[&format!("--metrics.path={path}")]).contains(reason),
            "{path:?}"
        );
    }
}
