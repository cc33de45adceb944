//! The `TYPE` option of CLIENT LIST and CLIENT KILL.

use crate::command::Refusal;
use crate::command::refusal::shown;

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

pub(super) fn parse_type(value: &[u8]) -> Result<ClientType, Refusal> {
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
        .ok_or_else(|| Refusal::new(format!("ERR Unknown client type '{}'", shown(value))))
}
