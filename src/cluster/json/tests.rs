//! JSON of clusters: parsing, errors with their lines, writing.

use super::*;
use crate::cluster::{ClusterRegistry, MemoryRegistry};
use tinyjson::JsonValue;

const KEY: &str = "{\"name\":{\"namespace\":\"shop\",\"name\":\"cart\"},\
    \"location\":{\"region\":\"eu-1\",\"availability_zone\":\"a\",\"node_name\":\"node-7\"}}";

/// A list of clusters with every kind of field.
const LIST: &str = r#"[
  {
    "name": {"namespace": "shop", "name": "cart"},
    "location": {"region": "eu-1", "availability_zone": "a", "node_name": "node-7"},
    "tenant": "27dgQi7NFc9",
    "instances": [
      {
        "id": "127.0.0.1:6379",
        "labels": {"tenant": "shop", "a \"b\"": "\u00e9\n"},
        "endpoints": [
          {"addr": "127.0.0.1", "port": 6379, "name": "redis"},
          {"addr": "::1", "port": 65535}
        ],
        "status": "offline",
        "owner": "me",
        "health": "down", "reason": "refused", "invented": [{}]
      },
      {"id": "b", "endpoints": [{"addr": "cache.shop", "port": 1}]},
      {"id": "c", "status": "deleted"}
    ],
    "invented": {"tomorrow": [1e999, -0.5, null]}
  },
  {
    "name": {"namespace": "default", "name": "default"},
    "location": {"region": "local", "availability_zone": "local", "node_name": "local"}
  }
]
"#;

fn cart() -> ClusterKey {
    ClusterKey::from_json(KEY).unwrap()
}

fn list() -> Catalog {
    Catalog::from_json(LIST).unwrap()
}

#[test]
fn cluster_key_round_trips() {
    assert_eq!(cart().to_json(), KEY);
    assert_eq!(cart().to_string(), "eu-1:a:node-7:shop:cart");
    assert_eq!(ClusterKey::from_json(&format!(" {KEY}\n")), Ok(cart()));
}

#[test]
fn instance_round_trips() {
    let text = format!(
        "{{\"key\":{KEY},\"id\":\"a\",\"labels\":{{\"tenant\":\"t\",\"k\":\"v\"}},\"endpoints\":\
         [{{\"addr\":\"::1\",\"port\":6379,\"name\":\"redis\"}}],\"status\":\"online\",\
         \"owner\":\"me\"}}"
    );
    let instance = ClusterInstance::from_json(&text).unwrap();
    assert_eq!(instance.alias(), Some("t"));
    assert_eq!(instance.endpoint().unwrap().to_string(), "[::1]:6379");
    assert_eq!(instance.status, Status::Online);
    assert_eq!(instance.to_json(), text);
}

#[test]
fn optional_fields_have_defaults() {
    let text = format!(r#"{{"key":{KEY},"id":"a","endpoints":[{{"addr":"h","port":1}}]}}"#);
    let instance = ClusterInstance::from_json(&text).unwrap();
    let endpoint = Endpoint::new("h", 1);
    assert_eq!(instance, ClusterInstance::new(cart(), "a", endpoint));
    // A deleted instance needs no endpoints, nor does one whose address sentinels know.
    for field in [
        r#""status":"deleted""#,
        r#""labels":{"sentinel":"m"}"#,
        r#""labels":{"sentinel":"m"},"endpoints":[]"#,
    ] {
        let text = format!(r#"{{"key":{KEY},"id":"a",{field}}}"#);
        assert_eq!(ClusterInstance::from_json(&text).unwrap().endpoints, []);
    }
}

#[test]
fn list_is_parsed_as_an_array_or_as_a_response() {
    let [cart, local] = &list().clusters[..] else {
        panic!("{:?}", list());
    };
    assert_eq!(cart.key, self::cart());
    assert_eq!(
        *local,
        Cluster {
            key: ClusterKey::local(),
            instances: Vec::new()
        }
    );
    let [a, b, c] = &cart.instances[..] else {
        panic!("{cart:?}");
    };
    assert_eq!(
        (&*a.id, a.status, &*a.owner),
        ("127.0.0.1:6379", Status::Offline, "me")
    );
    assert_eq!(a.labels["a \"b\""], "é\n");
    assert_eq!(a.endpoints[1].to_string(), "[::1]:65535");
    assert_eq!((&*b.id, b.status, b.labels.len()), ("b", Status::Ready, 0));
    assert_eq!((&*c.id, c.status), ("c", Status::Deleted));

    let value: JsonValue = LIST.parse().unwrap();
    for message in ["", "ok"] {
        let response = envelope(0, message, value.clone());
        assert_eq!(Catalog::from_json(&response), Ok(list()));
    }
    let response = format!("{{\"data\":{LIST},\"code\":0}}");
    assert_eq!(Catalog::from_json(&response), Ok(list()));
    assert_eq!(Catalog::from_json("[]"), Ok(Catalog::default()));
}

#[test]
fn equal_catalogs_have_equal_texts_and_etags() {
    let text = list().to_json();
    assert_eq!(Catalog::from_json(&text), Ok(list()));
    for _ in 0..5 {
        let again = Catalog::from_json(LIST).unwrap();
        assert_eq!(
            (again.to_json(), again.etag()),
            (text.clone(), list().etag())
        );
    }
    let mut other = list();
    other.clusters[0].instances[1].status = Status::Online;
    assert_ne!(other.etag(), list().etag());
    assert_eq!(list().etag().len(), 16);
    let start = r#"[{"name":{"namespace":"shop","name":"cart"},"location":{"region":"eu-1","#;
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("},\"tenant\":\"27dgQi7NFc9\",\"instances\":[{\"key\":{\"name\""));
    assert_eq!(Catalog::default().to_json(), "[]");
}

#[test]
fn catalog_of_a_registry_is_sorted() {
    let registries = [false, true].map(|backwards| {
        let registry = MemoryRegistry::new();
        let mut clusters = list().clusters;
        clusters.iter_mut().for_each(|it| it.instances.truncate(2));
        if backwards {
            clusters.reverse();
            clusters.iter_mut().for_each(|it| it.instances.reverse());
        }
        for cluster in clusters {
            registry.add_cluster(cluster.key).unwrap();
            for instance in cluster.instances {
                registry.status_change(instance).unwrap();
            }
        }
        registry
    });
    let [one, other] = registries.each_ref().map(|it| Catalog::of(it));
    assert_eq!(one, other);
    let mut expected = list();
    expected.clusters[0].instances.truncate(2);
    expected.clusters.reverse();
    assert_eq!(one, expected, "sorted by key");
    assert_eq!(one.etag(), other.etag());
}

#[test]
fn catalog_is_written_with_further_fields_for_each_instance() {
    let health = |instance: &ClusterInstance| {
        let health = if instance.id == "b" { "up" } else { "down" };
        vec![("health".to_owned(), health.to_owned().into())]
    };
    let value = catalog_value(&list(), &health);
    let instances = text(&value["".len()]["instances"]);
    assert_eq!(instances.matches("\"health\":\"down\"").count(), 2);
    assert_eq!(instances.matches("\"health\":\"up\"").count(), 1);
    assert_eq!(Catalog::from_json(&text(&value)), Ok(list()));
}

#[test]
fn response_has_code_message_and_data_in_this_order() {
    let text = envelope(3, "a \"b\"\u{1}", JsonValue::Null);
    assert_eq!(text, r#"{"code":3,"message":"a \"b\"\u0001","data":null}"#);
    assert_eq!(super::text(&f64::INFINITY.into()), "null");
    let odd = object([
        ("z", JsonValue::from(1.0)),
        ("a", 1.5.into()),
        ("id", true.into()),
    ]);
    assert_eq!(super::text(&odd), r#"{"id":true,"a":1.5,"z":1}"#);
}

/// Checks the error of [`LIST`] with the first `from` replaced by `to`.
#[track_caller]
fn assert_refused(from: &str, to: &str, error: &str) {
    assert!(LIST.contains(from), "{from}");
    let found = Catalog::from_json(&LIST.replacen(from, to, 1)).unwrap_err();
    assert_eq!(found.to_string(), error, "{from} -> {to}");
}

/// Checks cases of two lines: `from -> to`, and the error.
#[track_caller]
fn assert_all_refused(cases: &str) {
    let lines: Vec<&str> = cases.trim().lines().map(str::trim).collect();
    for case in lines.chunks(2) {
        let (from, to) = case[0].split_once("->").unwrap();
        assert_refused(from.trim(), to.trim(), case[1]);
    }
}

#[test]
fn syntax_error_names_its_line() {
    assert_all_refused(
        r#"
        "b", "endpoints" -> "b" "endpoints"
            line 18: bad JSON: ',' or '}' is expected for object but actually found '\"'
        1e999 -> NaN
            line 21: bad JSON: Invalid character: N
        "owner": "me" -> "owner": "me", "id": "b"
            line 15: field "id" occurs twice
        "#,
    );
    let end = "line 27: bad JSON: Unexpected EOF";
    assert_refused("\n]\n", "\n", end);
    let end = "line 27: bad JSON: Expected EOF but got character ']'";
    assert_refused("\n]\n", "\n]]", end);
    let error = |text: &str| Catalog::from_json(text).unwrap_err().to_string();
    let deep = "[".repeat(100_000);
    assert_eq!(error(&deep), "line 1: nests deeper than 32 levels");
    assert_eq!(error(""), "line 1: bad JSON: Unexpected EOF");
    let odd = error(&format!("{{\"a\n\u{1b}[{}\":", "x".repeat(10_000)));
    assert!(
        odd.chars().all(|c| !c.is_control()) && odd.len() < 500,
        "{odd}"
    );
}

#[test]
fn value_of_the_wrong_type_is_refused_with_its_path() {
    assert_all_refused(
        r#"
        {"namespace": "shop", "name": "cart"} -> "cart"
            line 3: [0].name: must be an object
        "namespace": "shop" -> "namespace": 7
            line 3: [0].name.namespace: must be a string
        "instances": [ -> "instances": {}, "x": [
            line 6: [0].instances: must be an array
        "27dgQi7NFc9" -> null
            line 5: [0].tenant: must be a string
        "labels": { -> "labels": [], "x": {
            line 9: [0].instances[0].labels: must be an object
        "shop", "a \" -> "shop", "b": 1, "a \"
            line 9: [0].instances[0].labels.b: must be a string
        "me" -> 0
            line 15: [0].instances[0].owner: must be a string
        "offline" -> true
            line 14: [0].instances[0].status: must be a string
        "#,
    );
    let third = "line 21: [0].instances[2]: must be an object";
    assert_refused(r#"{"id": "c", "status": "deleted"}"#, "\n\n7", third);
    let several = "line 9: [0].instances[0].labels[\"a \\\"b\\\"\"]: must be a string";
    assert_refused(r#""\u00e9\n""#, "[\n]", several);
    for (text, error) in [
        ("7", "line 1: must be an object"),
        ("{\"code\":0}", "line 1: has no field \"data\""),
        ("\n{\"data\":[]}", "line 2: has no field \"code\""),
        (
            "{\"code\":0,\n\"data\":null}",
            "line 2: data: must be an array",
        ),
        (
            "{\"code\":0.5,\"data\":[]}",
            "line 1: code: must be a whole number from 0 to 9007199254740992",
        ),
        (
            "{\"data\":[],\n\"code\":7,\"message\":\"not\\nyet\"}",
            "line 2: code: the response is an error: not yet",
        ),
        (
            "{\"data\":[],\"code\":7}",
            "line 1: code: the response is an error: no message",
        ),
    ] {
        let found = Catalog::from_json(text).unwrap_err();
        assert_eq!(found.to_string(), error, "{text}");
    }
}

#[test]
fn missing_field_is_named() {
    assert_all_refused(
        r#"
        "namespace": "shop", ->
            line 3: [0].name: has no field "namespace"
        "region": "eu-1", ->
            line 4: [0].location: has no field "region"
        "location": {"region": "eu -> "x": {"region": "eu
            line 2: [0]: has no field "location"
        "id": "127.0.0.1:6379", ->
            line 7: [0].instances[0]: has no field "id"
        "addr": "127.0.0.1", ->
            line 11: [0].instances[0].endpoints[0]: has no field "addr"
        , "port": 65535 ->
            line 12: [0].instances[0].endpoints[1]: has no field "port"
        , "endpoints": [{"addr": "cache.shop", "port": 1}] ->
            line 18: [0].instances[1]: has no field "endpoints"
        {"addr": "cache.shop", "port": 1} ->
            line 18: [0].instances[1].endpoints: must have at least one endpoint
        "#,
    );
    let error = ClusterInstance::from_json("{\"id\":\"a\"}").unwrap_err();
    assert_eq!(error.to_string(), "line 1: has no field \"key\"");
}

#[test]
fn invalid_value_is_refused() {
    for port in ["0", "65536", "-1", "1.5", "1e999", "\"6379\""] {
        let path = "line 11: [0].instances[0].endpoints[0].port";
        let error = format!("{path}: must be a whole number from 1 to 65535");
        assert_refused("6379, ", &format!("{port}, "), &error);
    }
    let long = format!("\"{}\"", "x".repeat(257));
    for (from, path) in [
        ("\"127.0.0.1:6379\"", "line 8: [0].instances[0].id"),
        ("\"shop\"", "line 3: [0].name.namespace"),
    ] {
        assert_refused(from, &long, &format!("{path}: is longer than 256 bytes"));
    }
    assert_all_refused(
        r#"
        "offline" -> "up"
        line 14: [0].instances[0].status: unknown status; allowed: ready, online, offline, deleted
        "127.0.0.1:6379" -> ""
            line 8: [0].instances[0].id: must not be empty
        "127.0.0.1:6379" -> "a\u0000"
            line 8: [0].instances[0].id: must not contain control characters
        "cart" -> "c\u007f"
            line 3: [0].name.name: must not contain control characters
        "eu-1" -> "eu:1"
            line 4: [0].location.region: must not contain ':'
        "cart" -> "cart:"
            line 3: [0].name.name: must not contain ':'
        "27dgQi7NFc9" -> "yigF5wkxq44"
            line 5: [0].tenant: the tenant key of eu-1:a:node-7:shop:cart is 27dgQi7NFc9
        "::1" -> ""
            line 12: [0].instances[0].endpoints[1].addr: must not be empty
        "#,
    );
    assert_refused(
        "\"::1\"",
        "\"[::1]\"",
        "line 12: [0].instances[0].endpoints[1].addr: \
         must be a host name or an IP address, without brackets and port",
    );
    assert_refused(
        "\"id\": \"c\"",
        "\"id\":\n\"b\"",
        "line 20: [0].instances[2].id: another instance of the cluster has id \"b\"",
    );
}

#[test]
fn duplicate_cluster_and_instance_of_another_cluster_are_refused() {
    let twice = format!("[{KEY},\n{KEY}]");
    let error = Catalog::from_json(&twice).unwrap_err();
    let why = "cluster eu-1:a:node-7:shop:cart is listed twice";
    assert_eq!(error.to_string(), format!("line 2: [1]: {why}"));

    let local = ClusterKey::local().to_json();
    let foreign = format!("{{\"key\":\n{local},\"id\":\"x\",\"status\":\"deleted\"}}");
    let own = foreign.replace(&local, KEY);
    let with =
        |added: &str| LIST.replacen("{\"id\": \"b\"", &format!("{added}, {{\"id\":\"b\""), 1);
    let error = Catalog::from_json(&with(&foreign)).unwrap_err();
    let why = "is not the key of its cluster, eu-1:a:node-7:shop:cart";
    assert_eq!(
        error.to_string(),
        format!("line 19: [0].instances[1].key: {why}")
    );
    let clusters = Catalog::from_json(&with(&own)).unwrap().clusters;
    assert_eq!(clusters[0].instances.len(), 4);
}
