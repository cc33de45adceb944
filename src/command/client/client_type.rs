//! What a client is, to the `TYPE` option of CLIENT LIST and CLIENT KILL.

use crate::command::Refusal;
use crate::command::refusal::shown;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Neither of the others.
    Normal,
    /// Has subscriptions.
    PubSub,
    /// A replica, which never is a client of the proxy.
    Replica,
    /// A master, which never is a client of the proxy.
    Master,
}

pub(super) fn parse_kind(value: &[u8]) -> Result<Kind, Refusal> {
    const NAMES: [(&str, Kind); 6] = [
        ("normal", Kind::Normal),
        ("pubsub", Kind::PubSub),
        ("replica", Kind::Replica),
        ("slave", Kind::Replica),
        ("master", Kind::Master),
        ("primary", Kind::Master),
    ];
    NAMES
        .iter()
        .find(|(name, _)| value.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, kind)| *kind)
        .ok_or_else(|| Refusal::new(format!("ERR Unknown client type '{}'", shown(value))))
}
