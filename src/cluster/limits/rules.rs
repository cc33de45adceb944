//! The tenants' file: limits by tenant key, by alias, and for everybody.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use tinyjson::JsonValue;

use super::{NUMBERS, Said, Saying, TenantLimits, denied_word, in_order, labels};
use crate::cluster::json::{JsonError, Node, read};
use crate::cluster::{ClusterInstance, TenantKey};

/// The entry for tenants of which the file says nothing.
const EVERYBODY: &str = "*";

/// What the tenants' file says. Without a file: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantRules {
    entries: BTreeMap<String, Saying>,
}

impl TenantRules {
    /// Reads
    /// `{"tenants":{NAME:{"clients","pinned","requests_per_second","bytes_per_second",
    /// "request_bytes","tenant_buffer_bytes","deny"}}}`. A name is a tenant key, an alias, or `*`
    /// for everybody; each limit may be left out. `null` says that there is none.
    ///
    /// # Errors
    ///
    /// It is no JSON; a field is unknown, since a misspelt limit would be none; a number is
    /// negative, has a fraction, is a rate of 0, a `request_bytes` below 1024 or a
    /// `tenant_buffer_bytes` below 65536; a denied word
    /// is neither a known category nor like the name of a command.
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
                entries.insert(name.to_owned(), saying(&entry)?);
            }
            Ok(Self { entries })
        })
    }

    /// What a tenant may use, and complaints about the labels of its instances, each of them once.
    ///
    /// Each limit comes from the first that says something about it: the entry by the tenant's
    /// key, those by its aliases in the order given, the labels of its instances, the entry `*`.
    /// Lists of what is denied are not joined but replaced, like the numbers.
    pub fn limits_of(
        &self,
        key: &TenantKey,
        aliases: &[&str],
        instances: &[impl Borrow<ClusterInstance>],
    ) -> (TenantLimits, Vec<String>) {
        let (labels, complaints) = labels::of_all(instances);
        let names = [key.as_str()].into_iter().chain(aliases.iter().copied());
        let named = names.filter_map(|name| self.entries.get(name));
        let everybody = self.entries.get(EVERYBODY);
        let sayings = named.chain([&labels]).chain(everybody);
        let said = sayings.fold(Saying::default(), Saying::or);
        (said.limits(), complaints)
    }
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name == EVERYBODY || ((1..=64).contains(&name.len()) && name.bytes().all(known))
}

fn saying(node: &Node<'_>) -> Result<Saying, JsonError> {
    let mut said = Saying::default();
    for (name, field) in node.fields()? {
        let known = NUMBERS.iter().zip(&mut said.numbers);
        if name == "deny" {
            said.deny = or_null(&field, denied)?;
        } else if let Some((number, place)) = { known }.find(|(number, _)| number.field == name) {
            *place = or_null(&field, |field| field.whole(number.min, number.max))?;
        } else {
            let all = NUMBERS.each_ref().map(|number| number.field).join(", ");
            return Err(field.wrong(format_args!("unknown field; allowed: {all}, deny")));
        }
    }
    Ok(said)
}

fn or_null<T>(
    node: &Node<'_>,
    take: impl FnOnce(&Node<'_>) -> Result<T, JsonError>,
) -> Result<Said<T>, JsonError> {
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
    words.collect::<Result<_, _>>().map(in_order)
}
