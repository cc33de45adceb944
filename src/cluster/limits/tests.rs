//! Limits of tenants: labels, the tenants file, and the precedence of the two.

use std::collections::BTreeMap;

use super::*;
use crate::cluster::{ClusterInstance, ClusterKey, Endpoint};
use crate::command::scatter::CrossSlot;

fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    labels.iter().map(owned).collect()
}

fn instance(id: &str, with: &[(&str, &str)]) -> ClusterInstance {
    let endpoint = Endpoint::new("127.0.0.1", 6379);
    let instance = ClusterInstance::new(ClusterKey::local(), id, endpoint);
    ClusterInstance {
        labels: labels(with),
        ..instance
    }
}

fn rules(tenants: &str) -> TenantRules {
    TenantRules::from_json(&format!("{{\"tenants\":{tenants}}}")).unwrap()
}

/// The limits of the static tenant under these rules.
fn limits(rules: &TenantRules, aliases: &[&str], instances: &[ClusterInstance]) -> TenantLimits {
    let tenant = ClusterKey::local().tenant();
    let (limits, errors) = rules.limits_of(&tenant, aliases, instances);
    assert_eq!(errors, [""; 0]);
    limits
}

#[test]
fn every_limit_can_be_set_by_a_label() {
    let labels = labels(&[
        ("limit.clients", "0"),
        ("limit.pinned", "4294967295"),
        ("limit.requests-per-second", "1"),
        ("limit.bytes-per-second", "9007199254740992"),
        ("limit.request-bytes", "1024"),
        ("limit.tenant-buffer-bytes", "65536"),
        (
            "deny",
            "FLUSHALL, config|SET  @Dangerous,flushall ft.search",
        ),
        ("cross-slot", "all"),
        ("other", "limit.clients"),
    ]);
    let (limits, errors) = TenantLimits::from_labels(&labels);
    assert_eq!(errors, [""; 0]);
    let deny = ["@dangerous", "config|set", "flushall", "ft.search"];
    let expected = TenantLimits {
        clients: Some(0),
        pinned: Some(u32::MAX),
        requests_per_second: Some(1),
        bytes_per_second: Some(1 << 53),
        request_bytes: Some(1024),
        tenant_buffer_bytes: Some(65_536),
        deny: deny.map(str::to_owned).to_vec(),
        cross_slot: CrossSlot::All,
    };
    assert_eq!(limits, expected);
    let none = TenantLimits::from_labels(&BTreeMap::new());
    assert_eq!(none, (TenantLimits::default(), Vec::new()));
}

#[test]
fn wrong_label_is_ignored_and_reported() {
    let cases = [
        ("limit.clients", "-1", "from 0 to 4294967295"),
        ("limit.clients", "+1", "from 0 to 4294967295"),
        ("limit.clients", "", "from 0 to 4294967295"),
        ("limit.clients", "4294967296", "from 0 to 4294967295"),
        ("limit.pinned", "1.5", "from 0 to 4294967295"),
        ("limit.requests-per-second", "0", "from 1 to 4294967295"),
        (
            "limit.bytes-per-second",
            "1 MB",
            "from 1 to 9007199254740992",
        ),
        (
            "limit.request-bytes",
            "1023",
            "from 1024 to 9007199254740992",
        ),
        (
            "limit.tenant-buffer-bytes",
            "65535",
            "from 65536 to 9007199254740992",
        ),
    ];
    for (name, value, range) in cases {
        let labels = labels(&[(name, value), ("deny", "get")]);
        let (limits, errors) = TenantLimits::from_labels(&labels);
        let why = format!("label {name}={value:?} must be a whole number {range}");
        assert_eq!(errors, [why]);
        let good = TenantLimits {
            deny: vec!["get".to_owned()],
            ..TenantLimits::default()
        };
        assert_eq!(limits, good);
    }
    let labels = labels(&[
        ("limit.client", "1"),
        ("limit.pinned", "1"),
        ("deny", "@dangerouss,get,a|b|c,é,|,PING"),
    ]);
    let (limits, errors) = TenantLimits::from_labels(&labels);
    assert_eq!((limits.pinned, limits.deny), (Some(1), vec!["get".into()]));
    let starts = [
        "label \"limit.client\" is not a limit; allowed: limit.clients, ",
        "label deny: \"@dangerouss\" is not a category; allowed: @admin, ",
        "label deny: \"a|b|c\" is not the name of a command, ",
        "label deny: \"é\" is not the name of a command, ",
        "label deny: \"|\" is not the name of a command, ",
        "label deny: \"ping\" cannot be denied: every client needs it",
    ];
    assert_eq!(errors.len(), starts.len(), "{errors:?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn labels_of_several_instances_give_the_smallest_number_and_all_denied_commands() {
    let instances = [
        instance("a", &[("limit.clients", "20"), ("deny", "get")]),
        instance("b", &[("limit.clients", "10"), ("cross-slot", "all")]),
        instance(
            "c",
            &[
                ("limit.pinned", "5"),
                ("deny", "@write get"),
                ("cross-slot", "error"),
            ],
        ),
        instance("d", &[("limit.pinned", "x")]),
    ];
    let tenant = ClusterKey::local().tenant();
    let (limits, errors) = TenantRules::default().limits_of(&tenant, &[], &instances);
    let expected = TenantLimits {
        clients: Some(10),
        pinned: Some(5),
        deny: vec!["@write".into(), "get".into()],
        cross_slot: CrossSlot::Error,
        ..TenantLimits::default()
    };
    assert_eq!(limits, expected);
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn wrong_cross_slot_is_reported() {
    let (limits, errors) = TenantLimits::from_labels(&labels(&[("cross-slot", "write")]));
    assert_eq!(limits, TenantLimits::default());
    assert_eq!(
        errors,
        ["label cross-slot=\"write\" must be one of error, read, all"]
    );
    let text = r#"{"tenants": {"*": {"cross_slot": "All"}}}"#;
    let error = TenantRules::from_json(text).unwrap_err().to_string();
    assert!(error.contains("must be one of error, read, all"), "{error}");
}

#[test]
fn each_limit_comes_from_the_first_source_that_sets_it() {
    let rules = rules(
        r#"{
            "yigF5wkxq44": {"clients": 1, "pinned": null},
            "shop": {"clients": 2, "requests_per_second": 2, "tenant_buffer_bytes": 700000,
                     "deny": [], "cross_slot": null},
            "cart": {"requests_per_second": 3, "bytes_per_second": 3},
            "*": {"clients": 5, "pinned": 5, "requests_per_second": 5, "bytes_per_second": 5,
                  "request_bytes": 5000, "deny": ["@all"], "cross_slot": "all"},
            "other": {"request_bytes": 9999}
        }"#,
    );
    let labelled = [instance(
        "a",
        &[
            ("limit.clients", "4"),
            ("limit.pinned", "4"),
            ("limit.bytes-per-second", "4"),
            ("limit.request-bytes", "4000"),
            ("limit.tenant-buffer-bytes", "800000"),
            ("deny", "get"),
            ("cross-slot", "error"),
        ],
    )];
    let expected = TenantLimits {
        clients: Some(1),
        pinned: None,
        requests_per_second: Some(2),
        bytes_per_second: Some(3),
        request_bytes: Some(4000),
        tenant_buffer_bytes: Some(700_000),
        deny: Vec::new(),
        cross_slot: CrossSlot::Read,
    };
    assert_eq!(limits(&rules, &["shop", "cart"], &labelled), expected);
    let without_alias = TenantLimits {
        requests_per_second: Some(5),
        bytes_per_second: Some(4),
        tenant_buffer_bytes: Some(800_000),
        deny: vec!["get".into()],
        cross_slot: CrossSlot::Error,
        ..expected
    };
    assert_eq!(limits(&rules, &[], &labelled), without_alias);
    let other = ClusterKey {
        name: crate::cluster::ClusterName {
            namespace: "x".into(),
            name: "y".into(),
        },
        ..ClusterKey::local()
    };
    let (limits, _) = rules.limits_of(&other.tenant(), &[], &[] as &[ClusterInstance]);
    assert_eq!(
        (limits.clients, limits.request_bytes),
        (Some(5), Some(5000))
    );
    assert_eq!(limits.deny, ["@all"]);
    assert_eq!(limits.cross_slot, CrossSlot::All);
    let wrong = [
        instance("a", &[("deny", "@al, ")]),
        instance("b", &[("deny", "")]),
    ];
    let (limits, errors) = rules.limits_of(&other.tenant(), &[], &wrong);
    assert_eq!((limits.deny, errors.len()), (vec!["@all".into()], 1));
}

#[test]
fn null_is_no_limit_and_an_empty_file_sets_nothing() {
    let none = r#"{"yigF5wkxq44": {"clients": null, "pinned": null, "requests_per_second": null,
        "bytes_per_second": null, "request_bytes": null, "deny": null},
        "*": {"clients": 1, "deny": ["get"]}}"#;
    let labelled = [instance("a", &[("limit.clients", "4"), ("deny", "set")])];
    assert_eq!(
        limits(&rules(none), &[], &labelled),
        TenantLimits::default()
    );
    assert_eq!(rules("{}"), TenantRules::default());
    assert_eq!(
        limits(&rules("{\"*\":{}}"), &[], &[]),
        TenantLimits::default()
    );
}

#[test]
fn error_in_the_file_names_its_line() {
    let whole = |name: &str, min: u64, max: u64| {
        format!("line 2: tenants.a.{name}: must be a whole number from {min} to {max}")
    };
    let small = u64::from(u32::MAX);
    let cases = [
        (
            "\"client\": 1",
            "line 2: tenants.a.client: unknown field; allowed: clients, pinned, \
          requests_per_second, bytes_per_second, request_bytes, tenant_buffer_bytes, \
         deny, cross_slot"
                .to_owned(),
        ),
        ("\"clients\": -1", whole("clients", 0, small)),
        ("\"clients\": 0.5", whole("clients", 0, small)),
        ("\"clients\": \"7\"", whole("clients", 0, small)),
        ("\"clients\": 4294967296", whole("clients", 0, small)),
        ("\"pinned\": [1]", whole("pinned", 0, small)),
        (
            "\"requests_per_second\": 0",
            whole("requests_per_second", 1, small),
        ),
        (
            "\"bytes_per_second\": 0",
            whole("bytes_per_second", 1, 1 << 53),
        ),
        (
            "\"bytes_per_second\": 1e999",
            whole("bytes_per_second", 1, 1 << 53),
        ),
        (
            "\"request_bytes\": 1023",
            whole("request_bytes", 1024, 1 << 53),
        ),
        (
            "\"deny\": \"get\"",
            "line 2: tenants.a.deny: must be an array".into(),
        ),
        (
            "\"deny\": [\n7]",
            "line 3: tenants.a.deny[0]: must be a string".into(),
        ),
        (
            "\"deny\": [\"get\", \"get set\"]",
            "line 2: tenants.a.deny[1]: \"get set\" is not the name \
          of a command, such as flushall or config|set"
                .into(),
        ),
        (
            "\"clients\": 1, \"clients\": 2",
            "line 2: field \"clients\" occurs twice".into(),
        ),
    ];
    for (entry, error) in cases {
        let text = format!("{{\"tenants\": {{\"a\":\n {{{entry}}}}}}}");
        let found = TenantRules::from_json(&text).unwrap_err();
        assert_eq!(found.to_string(), error, "{entry}");
    }
    let name = "must be a tenant key or an alias (1 to 64 letters, digits, '-' and '_'), or '*'";
    let cases = [
        ("[]", "line 1: must be an object".to_owned()),
        ("{}", "line 1: has no field \"tenants\"".into()),
        (
            "{\"tenants\":{},\n\"tenant\":{}}",
            "line 2: tenant: unknown field; allowed: tenants".into(),
        ),
        (
            "{\"tenants\":[]}",
            "line 1: tenants: must be an object".into(),
        ),
        (
            "{\"tenants\":{\"a.b\":{}}}",
            format!("line 1: tenants[\"a.b\"]: {name}"),
        ),
        (
            "{\"tenants\":{\"\":{}}}",
            format!("line 1: tenants[\"\"]: {name}"),
        ),
        (
            "{\"tenants\":{\"**\":{}}}",
            format!("line 1: tenants[\"**\"]: {name}"),
        ),
        (
            "{\"tenants\":{\"a\":null}}",
            "line 1: tenants.a: must be an object".into(),
        ),
    ];
    for (text, error) in cases {
        assert_eq!(
            TenantRules::from_json(text).unwrap_err().to_string(),
            error,
            "{text}"
        );
    }
    let text = "{\"tenants\":{\"a\":{\"deny\":[\"@write\",\"@x\"]}}}";
    let error = TenantRules::from_json(text).unwrap_err().to_string();
    let start = "line 1: tenants.a.deny[1]: \"@x\" is not a category; allowed: @admin, @all, ";
    assert!(error.starts_with(start), "{error}");
}
