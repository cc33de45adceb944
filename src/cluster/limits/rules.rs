//! The tenants file: limits by tenant key, by alias, and for all tenants.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use tinyjson::JsonValue;

use super::{NUMBERS, PartialLimits, Setting, TenantLimits, labels, sorted};
use crate::cluster::json::{JsonError, Node, read};
use crate::cluster::{ClusterInstance, TenantKey};
use crate::command::denied_word;
use crate::command::scatter::CrossSlot;

/// The name of the entry for all tenants.
const ALL_TENANTS: &str = "*";

/// The content of the tenants file. The default is an empty file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantRules {
    entries: BTreeMap<String, PartialLimits>,
}

impl TenantRules {
    /// Parses
    /// `{"tenants":{NAME:{"clients","pinned","requests_per_second","bytes_per_second",
    /// "request_bytes","tenant_buffer_bytes","deny","cross_slot"}}}`. `NAME` is a tenant key, an
    /// alias, or `*` for all tenants. Every limit is optional; `null` means no limit.
    ///
    /// # Errors
    ///
    /// `text` is not JSON; a field is unknown, because a misspelt limit would otherwise have no
    /// effect; a number is negative, has a fraction, or is below its minimum (1 for rates, 1024 for
    /// `request_bytes`, 65536 for `tenant_buffer_bytes`); a denied word is neither a category nor
    /// has the form of a command name; `cross_slot` is none of its values.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        read(text, |node| {
            for (name, field) in node.fields()? {
                if name != "tenants" {
                    return Err(field.wrong("unknown field; allowed: tenants"));
                }
            }
            let mut entries = BTreeMap::new();
            for (name, entry) in node.needed("tenants")?.fields()? {
                if !is_name(name) {
                    let why = "must be a tenant key or an alias (1 to 64 letters, digits, '-' and \
                               '_'), or '*'";
                    return Err(entry.wrong(why));
                }
                entries.insert(name.to_owned(), partial(&entry)?);
            }
            Ok(Self { entries })
        })
    }

    /// The limits of a tenant, and the errors in the labels of its instances.
    ///
    /// Each limit comes from the first source that sets it: the entry with the tenant's key, the
    /// entries with its aliases in the given order, the labels of its instances, the entry `*`. A
    /// list of denied commands replaces the lists of later sources, as a number does.
    pub fn limits_of(
        &self,
        key: &TenantKey,
        aliases: &[&str],
        instances: &[impl Borrow<ClusterInstance>],
    ) -> (TenantLimits, Vec<String>) {
        let (labels, errors) = labels::of_all(instances);
        let names = [key.as_str()].into_iter().chain(aliases.iter().copied());
        let named = names.filter_map(|name| self.entries.get(name));
        let sources = named.chain([&labels]).chain(self.entries.get(ALL_TENANTS));
        let limits = sources.fold(PartialLimits::default(), PartialLimits::or);
        (limits.complete(), errors)
    }
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name == ALL_TENANTS || ((1..=64).contains(&name.len()) && name.bytes().all(known))
}

fn partial(node: &Node<'_>) -> Result<PartialLimits, JsonError> {
    let mut limits = PartialLimits::default();
    for (name, field) in node.fields()? {
        let mut known = NUMBERS.iter().zip(&mut limits.numbers);
        if name == "deny" {
            limits.deny = or_null(&field, denied)?;
        } else if name == "cross_slot" {
            limits.cross_slot = or_null(&field, cross_slot)?;
        } else if let Some((number, limit)) = known.find(|(number, _)| number.field == name) {
            *limit = or_null(&field, |field| field.whole(number.min, number.max))?;
        } else {
            let all = NUMBERS.each_ref().map(|number| number.field).join(", ");
            return Err(field.wrong(format_args!(
                "unknown field; allowed: {all}, deny, cross_slot"
            )));
        }
    }
    Ok(limits)
}

fn or_null<T>(
    node: &Node<'_>,
    take: impl FnOnce(&Node<'_>) -> Result<T, JsonError>,
) -> Result<Setting<T>, JsonError> {
    match node.value() {
        JsonValue::Null => Ok(Some(None)),
        _ => take(node).map(|value| Some(Some(value))),
    }
}

fn denied(node: &Node<'_>) -> Result<Vec<String>, JsonError> {
    let words = node.items()?.map(|word| {
        let text = word.string()?;
        denied_word(text).map_err(|why| word.wrong(why))
    });
    words.collect::<Result<_, _>>().map(sorted)
}

fn cross_slot(node: &Node<'_>) -> Result<CrossSlot, JsonError> {
    let setting = CrossSlot::from_name(node.string()?);
    setting.ok_or_else(|| node.wrong(format_args!("must be one of {}", CrossSlot::NAMES)))
}
