//! An instance of a cluster, as a control plane describes it.
//!
//! Defines the names of statuses in JSON, logs and metrics. Resolves and connects nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::key::ClusterKey;

/// The label that gives a tenant an alias. Clients may log in with the alias instead of the tenant
/// key.
pub const ALIAS_LABEL: &str = "tenant";

/// The label that names the primary of an instance as sentinels know it. The address of the
/// instance is the address of that primary.
pub const SENTINEL_LABEL: &str = "sentinel";

/// A Redis or Valkey server (or a group of servers behind one address) that serves a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterInstance {
    /// The cluster that the instance belongs to.
    pub key: ClusterKey,
    /// The name of the instance, unique within the cluster.
    pub id: String,
    /// Labels that the control plane sets. The proxy reads [`ALIAS_LABEL`], [`SENTINEL_LABEL`] and
    /// the labels of [`TenantLimits::from_labels`](super::TenantLimits::from_labels) and of
    /// [`RedisCluster::from_labels`](super::RedisCluster::from_labels), and ignores all others.
    pub labels: BTreeMap<String, String>,
    /// The addresses at which the instance listens. The proxy uses the first endpoint; when its
    /// name has several addresses, the proxy tries them in turn.
    pub endpoints: Vec<Endpoint>,
    /// The status that the control plane reports.
    pub status: Status,
    /// The owner that the control plane reports. The proxy does not use it.
    pub owner: String,
}

impl ClusterInstance {
    /// An instance with one endpoint and the status [`Status::Ready`], without labels and owner.
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

    /// The alias of the tenant, from the label [`ALIAS_LABEL`]: 1 to 64 letters, digits, `-` and
    /// `_`. Returns `None` when the label is missing or has another form. A dot is not allowed,
    /// because the first dot of a login name separates the tenant from the user.
    pub fn alias(&self) -> Option<&str> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let alias = self.labels.get(ALIAS_LABEL)?;
        ((1..=64).contains(&alias.len()) && alias.bytes().all(known)).then_some(alias)
    }

    /// The name under which sentinels monitor the primary, from the label [`SENTINEL_LABEL`].
    pub fn sentinel(&self) -> Option<&str> {
        self.labels.get(SENTINEL_LABEL).map(String::as_str)
    }

    /// The endpoint that the proxy connects to.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoints.first()
    }
}

/// An address at which an instance listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    pub addr: String,
    /// The TCP port.
    pub port: u16,
    /// The purpose of the endpoint, as the control plane calls it. The proxy does not use it.
    pub name: String,
}

impl Endpoint {
    /// An endpoint without a name.
    pub fn new(addr: impl Into<String>, port: u16) -> Self {
        Self {
            addr: addr.into(),
            port,
            name: String::new(),
        }
    }
}

/// Writes `addr:port`, with an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addr.contains(':') {
            write!(f, "[{}]:{}", self.addr, self.port)
        } else {
            write!(f, "{}:{}", self.addr, self.port)
        }
    }
}

/// The status of an instance, which the control plane reports. The result of the proxy's own checks
/// is the [`Health`](super::Health).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The instance may get clients. The proxy treats `Ready` and [`Online`](Self::Online) alike.
    Ready,
    /// The instance may get clients.
    Online,
    /// The instance is draining. It gets no new clients. Its clients move to another instance when
    /// they hold no state on a connection, or are closed after `router.offline-grace-seconds`.
    Offline,
    /// The instance is removed.
    Deleted,
}

impl Status {
    /// Every status, in the order in which an instance passes through them.
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

    /// Whether the instance may get new clients.
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

/// The error of a text that is not the name of a [`Status`].
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
    fn status_is_written_and_read_in_lower_case() {
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
    fn endpoint_is_displayed_as_host_and_port() {
        let endpoint = |addr: &str| Endpoint::new(addr, 6379);
        assert_eq!(endpoint("127.0.0.1").to_string(), "127.0.0.1:6379");
        assert_eq!(endpoint("cache.shop").to_string(), "cache.shop:6379");
        assert_eq!(endpoint("::1").to_string(), "[::1]:6379");
    }

    #[test]
    fn new_instance_is_ready_and_has_its_endpoint() {
        let endpoint = Endpoint::new("::1", 1);
        let instance = ClusterInstance::new(ClusterKey::local(), "a", endpoint.clone());
        assert_eq!(instance.status, Status::Ready);
        assert_eq!(instance.endpoint(), Some(&endpoint));
    }
}
