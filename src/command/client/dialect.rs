//! The version of CLIENT LIST, CLIENT KILL and error texts that a backend has.

use crate::command::hello;

/// The server versions whose CLIENT LIST and CLIENT KILL differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Redis 6, which has another error text for an unknown sub-command and for a wrong number of
    /// arguments.
    Redis6,
    /// Redis since 7.0, and a server whose version is unknown.
    #[default]
    Redis70,
    /// Redis since 7.4: `watch=`.
    Redis74,
    /// Redis since 8.2: `io-thread=`, and the totals that Valkey has too.
    Redis82,
    /// Valkey 8: CLIENT LIST has the filters of CLIENT KILL, and `ID` takes several ids.
    Valkey8,
    /// Valkey since 9: more filters, each also with `NOT-`.
    Valkey9,
}

impl Dialect {
    /// The dialect of a server, from its reply to HELLO. The reply may be incomplete.
    pub fn of(reply: &[u8]) -> Self {
        let version = hello::field(reply, b"version").unwrap_or_default();
        let version = std::str::from_utf8(version).unwrap_or_default();
        let mut numbers = version.split('.').map(|it| it.parse().unwrap_or_default());
        let mut next = || -> u32 { numbers.next().unwrap_or_default() };
        let (major, minor) = (next(), next());
        match hello::field(reply, b"server") {
            Some(b"valkey") if major >= 9 => Self::Valkey9,
            Some(b"valkey") if major == 8 => Self::Valkey8,
            Some(b"redis") if (major, minor) >= (8, 2) => Self::Redis82,
            Some(b"redis") if (major, minor) >= (7, 4) => Self::Redis74,
            Some(b"redis") if major == 6 => Self::Redis6,
            _ => Self::Redis70,
        }
    }

    /// Whether the server is a Valkey.
    pub fn is_valkey(self) -> bool {
        self >= Self::Valkey8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialect_is_read_from_an_incomplete_hello_reply() {
        for (server, version, dialect) in [
            ("redis", "6.2.5", Dialect::Redis6),
            ("redis", "7.0.15", Dialect::Redis70),
            ("redis", "7.4.1", Dialect::Redis74),
            ("redis", "8.0.1", Dialect::Redis74),
            ("redis", "8.2.3", Dialect::Redis82),
            ("valkey", "7.2.4", Dialect::Redis70),
            ("valkey", "8.1.8", Dialect::Valkey8),
            ("valkey", "9.1.2", Dialect::Valkey9),
            ("other", "x", Dialect::Redis70),
        ] {
            let reply = format!(
                "*14\r\n$6\r\nserver\r\n${}\r\n{server}\r\n$7\r\nversion\r\n${}\r\n{version}\r\n\
                 $5\r\nproto\r\n:2\r\n$2\r\nid\r\n:",
                server.len(),
                version.len()
            );
            assert_eq!(Dialect::of(reply.as_bytes()), dialect, "{server} {version}");
        }
        assert_eq!(Dialect::of(b"-ERR unknown command"), Dialect::Redis70);
    }
}
