//! The key of a cluster, and the short tenant key that clients log in with.
//!
//! Control planes and scripts compute the same tenant keys, so the hash and the alphabet of
//! [`TenantKey`] must never change.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a cluster within its location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName {
    /// The namespace in which the control plane groups clusters.
    pub namespace: String,
    /// The name of the cluster within its namespace.
    pub name: String,
}

/// The location of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// A region of the provider.
    pub region: String,
    /// A zone of the region.
    pub availability_zone: String,
    /// A node of the zone.
    pub node_name: String,
}

/// The key that identifies a cluster: its name and its location.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterKey {
    /// The name of the cluster.
    pub name: ClusterName,
    /// The location of the cluster.
    pub location: Location,
}

impl ClusterKey {
    /// Two clusters with the same tenant key: their names have colons, which also separate names.
    #[cfg(test)]
    pub(crate) fn colliding() -> (Self, Self) {
        let named = |namespace: &str, name: &str| {
            let mut key = Self::local();
            (key.name.namespace, key.name.name) = (namespace.into(), name.into());
            key
        };
        (named("a:b", "c"), named("a", "b:c"))
    }

    /// The cluster of the static router with another name.
    #[cfg(test)]
    pub(crate) fn named(name: &str) -> Self {
        let mut key = Self::local();
        key.name.name = name.into();
        key
    }

    /// The cluster of the static router: `local:local:local:default:default`.
    pub fn local() -> Self {
        let local = || "local".to_owned();
        let default = || "default".to_owned();
        Self {
            name: ClusterName {
                namespace: default(),
                name: default(),
            },
            location: Location {
                region: local(),
                availability_zone: local(),
                node_name: local(),
            },
        }
    }

    /// The tenant key of this cluster: FNV-1a 64 of the text form, in base 62.
    ///
    /// FNV is not a cryptographic hash, so two clusters can have the same tenant key, by chance or
    /// by intent. A [`ClusterRegistry`](super::ClusterRegistry) must reject the second cluster, as
    /// [`MemoryRegistry`](super::MemoryRegistry) does.
    pub fn tenant(&self) -> TenantKey {
        let (name, location) = (&self.name, &self.location);
        let parts = [
            &location.region,
            &location.availability_zone,
            &location.node_name,
            &name.namespace,
            &name.name,
        ];
        let parts = parts.iter().enumerate();
        // Hashes the text form without allocating it.
        let bytes = parts.flat_map(|(n, part)| {
            let colon = (n > 0).then_some(&b':');
            colon.into_iter().chain(part.as_bytes())
        });
        TenantKey(base62(fnv1a(bytes)).into())
    }
}

/// Writes `region:availability_zone:node_name:namespace:name`.
impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location {
            region,
            availability_zone,
            node_name,
        } = &self.location;
        let ClusterName { namespace, name } = &self.name;
        write!(
            f,
            "{region}:{availability_zone}:{node_name}:{namespace}:{name}"
        )
    }
}

/// The short name of a tenant, such as `yigF5wkxq44`: the part of a login name before the dot.
///
/// It has at most 11 characters of `0-9A-Za-z`, and is the hash that [`ClusterKey::tenant`]
/// returns. A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantKey(Arc<str>);

impl TenantKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is 11 digits of base 62 that make a number of 64 bits, as 19 of 20 tenant
    /// keys are. Shorter texts return false, although one key in 20 is shorter: short names are
    /// wanted as aliases.
    pub fn is_form(text: &str) -> bool {
        let number = text.bytes().rev().try_fold(0_u64, |number, byte| {
            let digit = (0..62).find(|&value| digit(value) == char::from(byte))?;
            number.checked_mul(62)?.checked_add(digit.into())
        });
        text.len() == 11 && number.is_some()
    }
}

// Lets maps with tenant keys be searched by the text that a client sends. The derived Eq, Ord and
// Hash are those of the text, as `Borrow` requires.
impl Borrow<str> for TenantKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantKey({})", self.0)
    }
}

/// FNV-1a with 64 bits and the constants of its specification.
pub(super) fn fnv1a<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.into_iter().fold(OFFSET_BASIS, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// `number` in base 62, least significant digit first; zero is `0`.
fn base62(mut number: u64) -> String {
    let mut text = String::new();
    loop {
        text.push(digit((number % 62) as u8));
        number /= 62;
        if number == 0 {
            return text;
        }
    }
}

/// A value below 62 as one of `0-9A-Za-z`.
fn digit(value: u8) -> char {
    let byte = match value {
        0..=9 => b'0' + value,
        10..=35 => b'A' + (value - 10),
        _ => b'a' + (value - 36),
    };
    char::from(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn key(parts: [&str; 5]) -> ClusterKey {
        let [region, availability_zone, node_name, namespace, name] = parts.map(str::to_owned);
        ClusterKey {
            name: ClusterName { namespace, name },
            location: Location {
                region,
                availability_zone,
                node_name,
            },
        }
    }

    #[test]
    fn fnv1a_has_the_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn base62_writes_the_least_significant_digit_first() {
        let cases = [
            (0, "0"),
            (9, "9"),
            (10, "A"),
            (35, "Z"),
            (36, "a"),
            (61, "z"),
            (62, "01"),
            (u64::MAX, "FYHA61aHgyL"),
        ];
        for (number, text) in cases {
            assert_eq!(base62(number), text);
        }
    }

    #[test]
    fn static_cluster_has_its_documented_tenant_key() {
        let local = ClusterKey::local();
        assert_eq!(local.to_string(), "local:local:local:default:default");
        assert_eq!(
            fnv1a(local.to_string().as_bytes()),
            3_422_909_936_434_757_924
        );
        assert_eq!(local.tenant().as_str(), "yigF5wkxq44");
    }

    #[test]
    fn tenant_keys_match_an_independent_computation() {
        let cases = [
            (["eu-1", "a", "node-7", "shop", "cart"], "27dgQi7NFc9"),
            (
                ["us-east-1", "us-east-1a", "n1", "prod", "sessions"],
                "NpWXBzzoyc8",
            ),
            (["", "", "", "", ""], "JpuDc2mA8mH"),
            (["", "", "", "日本", "λ"], "4FdBLnJDA78"),
        ];
        for (parts, tenant) in cases {
            assert_eq!(key(parts).tenant().as_str(), tenant, "{parts:?}");
        }
    }

    #[test]
    fn map_of_tenant_keys_is_searched_by_text() {
        let tenant = ClusterKey::local().tenant();
        let table = HashMap::from([(tenant.clone(), 1)]);
        assert_eq!(table.get("yigF5wkxq44"), Some(&1));
        assert_eq!(table.get("yigf5wkxq44"), None, "case matters");
        assert_eq!(
            format!("{tenant} {tenant:?}"),
            "yigF5wkxq44 TenantKey(yigF5wkxq44)"
        );
    }
}
