//! The kinds of values that options have, from text to type.
//!
//! Knows no option by name; reasons are short texts for the end of an error line.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// A type with a fixed list of names.
pub(super) trait Choice: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// The value as users write it.
    fn name(self) -> &'static str;
}

/// An enum whose values are written as names: its type, the list for the help, and `Display`.
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
            /// The names that users write.
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
        /// One backend, given at the start.
        Static = "static",
        /// A control plane is followed.
        Sync = "sync",
    }
}

choices! {
    /// Which instance of a cluster a client gets.
    Balancer {
        /// Any of them.
        Random = "random",
        /// One after the other.
        RoundRobin = "round-robin",
        /// The one with the fewest connections.
        LeastConn = "least-conn",
    }
}

choices! {
    /// Whether administrative commands (CONFIG SET, ACL, DEBUG, SHUTDOWN…) are forwarded.
    AdminCommands {
        /// Yes: the backend's own ACL decides.
        Allow = "allow",
        /// No: the proxy refuses them.
        Deny = "deny",
    }
}

choices! {
    /// What clients get whose backend is lost or cannot be reached.
    OnLoss {
        /// An error for each request, and their connection stays.
        Error = "error",
        /// The end of their connection, as from the server itself.
        Close = "close",
    }
}

choices! {
    /// The least urgent messages that are still logged.
    LogLevel {
        /// Nothing is logged.
        Off = "off",
        /// What broke.
        Error = "error",
        /// What may break.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The level called `name`.
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

/// The value called `name`.
pub(super) fn choose<T: Choice>(name: &str) -> Option<T> {
    T::ALL.iter().copied().find(|value| value.name() == name)
}

/// Where something listens: a host, not yet resolved, and a TCP port above 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A host name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Writes `host:port`, an IPv6 address in brackets.
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

/// A whole number in plain digits: no sign, no space.
pub(super) fn parse_digits(text: &str) -> Option<u64> {
    // `parse` takes a plus sign, which nobody means to write.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Digits that do not fit are a number all the same: too large for any option.
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    let port = parse_digits(text).and_then(|port| u16::try_from(port).ok());
    port.filter(|&port| port > 0)
        .ok_or("the port is not a number from 1 to 65535")
}

/// Lengths are those of DNS; underscores are no host names but in use.
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
    // No top-level domain is a number: this was meant to be an address.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err("not an IPv4 address");
    }
    Ok(())
}

/// What [`HostPort::parse`] takes.
pub(super) const HOST_PORT: &str = "HOST:PORT, the host a name, an IPv4 address or [IPv6]";

/// The address of a control plane: `HOST:PORT`, `http://` before it or not.
///
/// # Errors
///
/// What is wrong with it.
pub fn control_plane(text: &str) -> Result<HostPort, &'static str> {
    let address = text.strip_prefix("http://").unwrap_or(text);
    if address.contains("://") {
        return Err("no scheme but http:// is understood");
    }
    HostPort::parse(address.strip_suffix('/').unwrap_or(address))
}

/// The same, kept as written.
pub(super) fn parse_control_plane(text: &str) -> Result<String, &'static str> {
    control_plane(text).map(|_| text.to_owned())
}

/// A text that no log, error or debug output may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
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

/// What [`parse_secret`] takes.
pub(super) const SECRET: &str = "1 to 512 printable ASCII characters, no spaces";

/// What fits into an HTTP header as a bearer token.
pub(super) fn parse_secret(text: &str) -> Result<Option<Secret>, &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has characters that no token has");
    }
    match text.len() {
        0 => Err("is empty"),
        1..=512 => Ok(Some(Secret(text.to_owned()))),
        _ => Err("is too long"),
    }
}

/// What [`parse_file`] takes.
pub(super) const FILE: &str = "a path, which need not exist yet";

/// The path of a file.
pub(super) fn parse_file(text: &str) -> Result<Option<PathBuf>, &'static str> {
    match text {
        "" => Err("is empty"),
        _ if text.contains('\0') => Err("has a zero byte"),
        _ if text.ends_with('/') => Err("is a directory"),
        _ => Ok(Some(PathBuf::from(text))),
    }
}

/// What [`parse_name`] takes.
pub(super) const NAME: &str = "1 to 128 characters, no spaces";

/// A name that fits into a log line and a metric's label.
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

/// Where the service port has something else.
const TAKEN_PATHS: &[&str] = &[
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

/// What [`parse_path`] takes.
pub(super) const PATH: &str = "a path such as /metrics, in printable ASCII without ? and #";

/// The path of an HTTP request.
pub(super) fn parse_path(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("does not begin with a slash");
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#')
    {
        return Err("has characters that no path has");
    }
    if TAKEN_PATHS.contains(&text) {
        return Err("is where the service port has something else");
    }
    Ok(text.to_owned())
}
