//! Writes clusters as JSON. Equal values have equal texts.

use tinyjson::JsonValue;

use crate::cluster::{Catalog, ClusterInstance, ClusterKey, Endpoint, Owners};

/// The order in which fields are written. All other fields follow in alphabetical order.
const ORDER: &[&str] = &[
    "code",
    "message",
    "data",
    "key",
    "id",
    "labels",
    "endpoints",
    "status",
    "owner",
    "health",
    "reason",
    "namespace",
    "addr",
    "port",
    "name",
    "location",
    "region",
    "availability_zone",
    "node_name",
    "tenant",
    "instances",
];

/// Writes a value without spaces. Equal values have equal texts. A number that JSON cannot express
/// (infinite or NaN) is written as `null`.
pub fn text(value: &JsonValue) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

fn write(out: &mut String, value: &JsonValue) {
    match value {
        JsonValue::Array(items) => {
            let mut before = '[';
            for item in items {
                out.push(before);
                write(out, item);
                before = ',';
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        JsonValue::Object(fields) => {
            let rank = |name: &str| ORDER.iter().position(|known| *known == name);
            let rank = |name| rank(name).unwrap_or(ORDER.len());
            let ranked = fields
                .iter()
                .map(|(name, value)| ((rank(name), name), value));
            let mut sorted: Vec<_> = ranked.collect();
            sorted.sort_unstable_by_key(|(order, _)| *order);
            let mut before = '{';
            for ((_, name), value) in sorted {
                out.push(before);
                quote(out, name);
                out.push(':');
                write(out, value);
                before = ',';
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        JsonValue::String(text) => quote(out, text),
        JsonValue::Number(_) | JsonValue::Boolean(_) | JsonValue::Null => {
            out.push_str(&value.stringify().unwrap_or_else(|_| "null".to_owned()));
        }
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An object with these fields.
pub fn object<N: Into<String>>(fields: impl IntoIterator<Item = (N, JsonValue)>) -> JsonValue {
    let fields = fields.into_iter().map(|(name, value)| (name.into(), value));
    JsonValue::Object(fields.collect())
}

/// A response of the service port. Code 0 is success; otherwise `message` is the error.
pub fn envelope(code: u32, message: &str, data: JsonValue) -> String {
    text(&object([
        ("code", f64::from(code).into()),
        ("message", message.to_owned().into()),
        ("data", data),
    ]))
}

/// The value that [`ClusterKey::to_json`] writes.
pub fn key_value(key: &ClusterKey) -> JsonValue {
    object(key_fields(key))
}

fn key_fields(key: &ClusterKey) -> [(&'static str, JsonValue); 2] {
    let text = |text: &String| JsonValue::from(text.clone());
    let name = [
        ("namespace", text(&key.name.namespace)),
        ("name", text(&key.name.name)),
    ];
    let location = [
        ("region", text(&key.location.region)),
        ("availability_zone", text(&key.location.availability_zone)),
        ("node_name", text(&key.location.node_name)),
    ];
    [("name", object(name)), ("location", object(location))]
}

/// The value that [`Owners::from_node`] parses.
pub fn owners_value(owners: &Owners) -> JsonValue {
    let list = owners.list().into_iter().map(|(key, aliases)| {
        let aliases = aliases.into_iter().map(|alias| alias.to_owned().into());
        let aliases: Vec<JsonValue> = aliases.collect();
        let aliases = [("aliases", aliases.into())];
        object(key_fields(key).into_iter().chain(aliases))
    });
    list.collect::<Vec<_>>().into()
}

/// The value that [`ClusterInstance::to_json`] writes.
pub fn instance_value(instance: &ClusterInstance) -> JsonValue {
    let labels = instance.labels.iter();
    let labels = labels.map(|(name, value)| (name.clone(), value.clone().into()));
    let endpoints = instance.endpoints.iter().map(endpoint_value).collect();
    object([
        ("key", key_value(&instance.key)),
        ("id", instance.id.clone().into()),
        ("labels", object(labels)),
        ("endpoints", JsonValue::Array(endpoints)),
        ("status", instance.status.name().to_owned().into()),
        ("owner", instance.owner.clone().into()),
    ])
}

fn endpoint_value(endpoint: &Endpoint) -> JsonValue {
    object([
        ("addr", endpoint.addr.clone().into()),
        ("port", f64::from(endpoint.port).into()),
        ("name", endpoint.name.clone().into()),
    ])
}

/// The value that [`Catalog::to_json`] writes. `more` returns further fields of an instance.
pub fn catalog_value(
    catalog: &Catalog,
    more: &dyn Fn(&ClusterInstance) -> Vec<(String, JsonValue)>,
) -> JsonValue {
    let instance = |instance: &ClusterInstance| {
        let mut value = instance_value(instance);
        if let JsonValue::Object(fields) = &mut value {
            fields.extend(more(instance));
        }
        value
    };
    let clusters = catalog.clusters.iter().map(|cluster| {
        let instances = cluster.instances.iter().map(instance).collect();
        let more = [
            ("tenant", cluster.key.tenant().to_string().into()),
            ("instances", JsonValue::Array(instances)),
        ];
        object(key_fields(&cluster.key).into_iter().chain(more))
    });
    JsonValue::Array(clusters.collect())
}
