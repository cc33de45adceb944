//! The types of option values and their parsers.
//!
//! A parser returns the reason why it rejects a text; the reason is part of an error line.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// A type with a fixed list of names.
pub(super) trait Choice: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// The name that users write.
    fn name(self) -> &'static str;
}

/// Declares an enum whose values have names: the type, the list of names, and `Display`.
macro_rules! choices {
    (
        $(#[$doc:meta])*
        $type:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$value_doc])* $value,)+
        }

        impl $type {
            /// The names of all values.
            pub(super) const NAMES: &'static [&'static str] = &[$($name),+];
        }

        impl Choice for $type {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

choices! {
    /// Where clusters come from.
    RouterType {
        /// One backend, which is set by an option.
        Static = "static",
        /// The service port, a file or a control plane; clusters change while the proxy runs.
        Sync = "sync",
    }
}

choices! {
    /// How an instance of a cluster is chosen for a client.
    Balancer {
        /// A random instance.
        Random = "random",
        /// The instances in turn.
        RoundRobin = "round-robin",
        /// The instance with the fewest clients of the worker.
        LeastConn = "least-conn",
    }
}

choices! {
    /// What the clients of an instance see, unless its label `front` says.
    Front {
        /// A server without cluster support.
        Single = "single",
        /// A Redis Cluster of one node.
        Cluster = "cluster",
        /// A server without cluster support, until the client sends a command of a Redis Cluster.
        Auto = "auto",
    }
}

choices! {
    /// Whether administrative commands (CONFIG SET, ACL, DEBUG, SHUTDOWN…) are forwarded.
    AdminCommands {
        /// The proxy forwards them, and the backend's ACL decides.
        Allow = "allow",
        /// The proxy rejects them.
        Deny = "deny",
    }
}

choices! {
    /// What happens to clients whose backend is lost or unreachable.
    OnLoss {
        /// The proxy answers each request with an error and keeps the client connected.
        Error = "error",
        /// The proxy closes the client, as a failing server does.
        Close = "close",
    }
}

choices! {
    /// The least severe level that is logged.
    LogLevel {
        /// Nothing is logged.
        Off = "off",
        /// Failures.
        Error = "error",
        /// Conditions that may lead to a failure, and settings that are ignored.
        Warn = "warn",
        /// Events that concern an operator.
        Info = "info",
        /// Events that concern a developer.
        Debug = "debug",
        /// All events.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The level with this name; `None` when no level has it.
    pub fn named(name: &str) -> Option<Self> {
        choose(name)
    }
}

impl From<LogLevel> for log::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::Off,
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// The value with this name.
pub(super) fn choose<T: Choice>(name: &str) -> Option<T> {
    T::ALL.iter().copied().find(|value| value.name() == name)
}

/// The address of a server: a host, which is not resolved, and a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The TCP port, 1 to 65535.
    pub port: u16,
}

/// Writes `host:port`, with an IPv6 address in brackets.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HostPort {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(bracketed) = text.strip_prefix('[') {
            let (host, rest) = bracketed
                .split_once(']')
                .ok_or("no ] after the IPv6 address")?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| "not an IPv6 address in [ ]")?;
            let port = rest.strip_prefix(':').ok_or("the port is missing")?;
            return Ok(Self {
                host: host.to_owned(),
                port: parse_port(port)?,
            });
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err("an IPv6 address needs [ ] and a port after them");
        }
        let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
        check_host(host)?;
        Ok(Self {
            host: host.to_owned(),
            port: parse_port(port)?,
        })
    }
}

/// Parses a whole number that consists of digits only.
pub(super) fn parse_digits(text: &str) -> Option<u64> {
    // `parse` alone accepts a plus sign.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number above `u64::MAX` is too large for any option.
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let port = parse_digits(text).and_then(|port| u16::try_from(port).ok());
    port.filter(|&port| port > 0)
        .ok_or("the port is not a number from 1 to 65535")
}

/// Checks a host name or an IPv4 address. The lengths are those of DNS. Underscores are accepted
/// because names with underscores are in use.
fn check_host(host: &str) -> Result<(), &'static str> {
    const HOST_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let name = host.strip_suffix('.').unwrap_or(host);
    let label_is_good = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(known)
    };
    if name.is_empty() {
        return Err("the host is missing");
    }
    if name.len() > HOST_BYTES_MAX || !name.split('.').all(label_is_good) {
        return Err("not a host name");
    }
    // No top-level domain is a number, so this is an address.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err("not an IPv4 address");
    }
    Ok(())
}

/// The form that [`HostPort::parse`] accepts.
pub(super) const HOST_PORT: &str = "HOST:PORT, where HOST is a name, an IPv4 address or [IPv6]";

/// The form that [`parse_sentinels`] accepts.
pub(super) const SENTINELS: &str = "HOST:PORT,HOST:PORT,…, each sentinel once";

/// Parses a list of sentinels. Each of them has one vote, so none may occur twice.
pub(super) fn parse_sentinels(text: &str) -> Result<Vec<HostPort>, &'static str> {
    let mut sentinels: Vec<HostPort> = Vec::new();
    for sentinel in text.split(',') {
        let sentinel = HostPort::parse(sentinel.trim())?;
        if sentinels.contains(&sentinel) {
            return Err("has a sentinel twice");
        }
        sentinels.push(sentinel);
    }
    Ok(sentinels)
}

/// Parses the address of a control plane: `HOST:PORT` or `http://HOST:PORT`.
///
/// # Errors
///
/// The reason why `text` is rejected, as a short text without a full stop.
pub fn control_plane(text: &str) -> Result<HostPort, &'static str> {
    let address = text.strip_prefix("http://").unwrap_or(text);
    if address.contains("://") {
        return Err("http:// is the only scheme that is supported");
    }
    HostPort::parse(address.strip_suffix('/').unwrap_or(address))
}

/// Checks the address of a control plane and keeps it as written.
pub(super) fn parse_control_plane(text: &str) -> Result<String, &'static str> {
    control_plane(text).map(|_| text.to_owned())
}

/// A secret text. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The form that [`parse_secret`] accepts.
pub(super) const SECRET: &str = "1 to 512 printable ASCII characters, no spaces";

/// Parses a bearer token of an HTTP header, or a password.
pub(super) fn parse_secret(text: &str) -> Result<Option<Secret>, &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has characters that are not allowed");
    }
    match text.len() {
        0 => Err("is empty"),
        1..=512 => Ok(Some(Secret(text.to_owned()))),
        _ => Err("is too long"),
    }
}

/// The form that [`parse_file`] accepts.
pub(super) const FILE: &str = "a path of a file, which need not exist";

/// Parses the path of a file.
pub(super) fn parse_file(text: &str) -> Result<Option<PathBuf>, &'static str> {
    match text {
        "" => Err("is empty"),
        _ if text.contains('\0') => Err("has a zero byte"),
        _ if text.ends_with('/') => Err("is a directory"),
        _ => Ok(Some(PathBuf::from(text))),
    }
}

/// The form that [`parse_name`] accepts.
pub(super) const NAME: &str = "1 to 128 characters, no spaces";

/// Parses a name that fits into a log line and a metric's label.
pub(super) fn parse_name(text: &str) -> Result<String, &'static str> {
    if text
        .chars()
        .any(|char| char.is_whitespace() || char.is_control())
    {
        return Err("has spaces or control characters");
    }
    match text.chars().count() {
        0 => Err("is empty"),
        1..=128 => Ok(text.to_owned()),
        _ => Err("is too long"),
    }
}

/// The paths that the service port uses for other pages.
const RESERVED_PATHS: &[&str] = &[
    "/healthz",
    "/readyz",
    "/list_cluster",
    "/add_cluster",
    "/status_change",
    "/cluster",
    "/clients",
    "/pools",
    "/pause",
    "/resume",
    "/drain",
];

/// The form that [`parse_path`] accepts.
pub(super) const PATH: &str = "a path such as /metrics, in printable ASCII without ? and #";

/// Parses the path of an HTTP request.
pub(super) fn parse_path(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("does not begin with a slash");
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#')
    {
        return Err("has characters that are not allowed in a path");
    }
    if RESERVED_PATHS.contains(&text) {
        return Err("is the path of another page of the service port");
    }
    Ok(text.to_owned())
}
