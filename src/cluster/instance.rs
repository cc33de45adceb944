//! One running instance of a cluster, as a control plane describes it.
//!
//! Owns the names that travel in JSON and logs; resolves nothing and connects to nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::key::ClusterKey;

/// The label that gives a cluster's tenant another name, besides its key.
pub const ALIAS_LABEL: &str = "tenant";

/// A Redis or Valkey server (or a group that acts as one) that serves a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterInstance {
    /// The cluster it belongs to.
    pub key: ClusterKey,
    /// Its name, unique within the cluster.
    pub id: String,
    /// Free text of the control plane's. The proxy reads [`ALIAS_LABEL`] and the limits of
    /// [`TenantLimits`](super::TenantLimits).
    pub labels: BTreeMap<String, String>,
    /// Where it listens; the proxy connects to the first, and to all of its addresses in turn.
    pub endpoints: Vec<Endpoint>,
    /// Where it is in its life, as the control plane says.
    pub status: Status,
    /// Who is in charge of it, as the control plane says; the proxy does not read it.
    pub owner: String,
}

impl ClusterInstance {
    /// A ready instance with one endpoint, no labels and no owner.
    pub fn new(key: ClusterKey, id: impl Into<String>, endpoint: Endpoint) -> Self {
        Self {
            key,
            id: id.into(),
            labels: BTreeMap::new(),
            endpoints: vec![endpoint],
            status: Status::Ready,
            owner: String::new(),
        }
    }

    /// Another name of its tenant: 1 to 64 letters, digits, `-` and `_`. A dot would end it, and
    /// what is longer or has other characters is none.
    pub fn alias(&self) -> Option<&str> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let alias = self.labels.get(ALIAS_LABEL)?;
        ((1..=64).contains(&alias.len()) && alias.bytes().all(known)).then_some(alias)
    }

    /// The endpoint the proxy connects to.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoints.first()
    }
}

/// An address at which an instance listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name or an IP address, an IPv6 address without its brackets.
    pub addr: String,
    /// The TCP port.
    pub port: u16,
    /// What the endpoint is for, in the control plane's words.
    pub name: String,
}

/// Writes `addr:port`, an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addr.contains(':') {
            write!(f, "[{}]:{}", self.addr, self.port)
        } else {
            write!(f, "{}:{}", self.addr, self.port)
        }
    }
}

/// Where an instance is in its life. What the proxy itself found out is its
/// [`Health`](super::Health).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Announced. It may be used.
    Ready,
    /// In use.
    Online,
    /// On its way out: it gets no new clients, and those it has move to another instance as soon
    /// as they may, or are closed after a grace period.
    Offline,
    /// It is gone and will be forgotten.
    Deleted,
}

impl Status {
    /// Every status, in the order of an instance's life.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Online, Self::Offline, Self::Deleted];

    /// The name used in JSON, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Deleted => "deleted",
        }
    }

    /// Whether new clients may be sent to the instance.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Ready | Self::Online)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(name: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or(UnknownStatus)
    }
}

/// The text names no [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownStatus;

impl fmt::Display for UnknownStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown status; allowed: ready, online, offline, deleted")
    }
}

impl std::error::Error for UnknownStatus {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_and_read_in_lower_case() {
        for status in Status::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        assert_eq!(Status::Ready.to_string(), "ready");
        for text in ["", "Ready", "ready ", "up"] {
            assert_eq!(text.parse::<Status>(), Err(UnknownStatus), "{text:?}");
        }
        let message = UnknownStatus.to_string();
        assert!(
            Status::ALL
                .iter()
                .all(|status| message.contains(status.name()))
        );
    }

    #[test]
    fn only_ready_and_online_instances_are_usable() {
        assert_eq!(
            Status::ALL.map(Status::is_usable),
            [true, true, false, false]
        );
    }

    #[test]
    fn endpoints_read_like_addresses() {
        let endpoint = |addr: &str| Endpoint {
            addr: addr.into(),
            port: 6379,
            name: "redis".into(),
        };
        assert_eq!(endpoint("127.0.0.1").to_string(), "127.0.0.1:6379");
        assert_eq!(endpoint("cache.shop").to_string(), "cache.shop:6379");
        assert_eq!(endpoint("::1").to_string(), "[::1]:6379");
    }

    #[test]
    fn a_new_instance_is_ready_at_its_endpoint() {
        let endpoint = Endpoint {
            addr: "::1".into(),
            port: 1,
            name: "redis".into(),
        };
        let instance = ClusterInstance::new(ClusterKey::local(), "a", endpoint.clone());
        assert_eq!(instance.status, Status::Ready);
        assert_eq!(instance.endpoint(), Some(&endpoint));
    }
}
