//! The `TYPE` option of CLIENT LIST and CLIENT KILL.

use crate::command::ErrorReply;
use crate::command::error_reply::shown;

/// The type of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientType {
    /// A client without subscriptions.
    Normal,
    /// A client with subscriptions.
    PubSub,
    /// A replica. Clients of the proxy never have this type.
    Replica,
    /// A primary. Clients of the proxy never have this type.
    Master,
}

pub(super) fn parse_type(value: &[u8]) -> Result<ClientType, ErrorReply> {
    const NAMES: [(&str, ClientType); 6] = [
        ("normal", ClientType::Normal),
        ("pubsub", ClientType::PubSub),
        ("replica", ClientType::Replica),
        ("slave", ClientType::Replica),
        ("master", ClientType::Master),
        ("primary", ClientType::Master),
    ];
    NAMES
        .iter()
        .find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, kind)| *kind)
        .ok_or_else(|| ErrorReply::new(format!("ERR Unknown client type '{}'", shown(value))))
}
