//! The health of an instance, which the proxy finds out by itself.
//!
//! The status that the control plane reports is [`Status`](super::Status).

use std::fmt;

/// The health of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    /// The instance has not been checked.
    #[default]
    Unknown,
    /// The instance answers.
    Up,
    /// The instance answers, but it loads its data, has lost its primary, rejects writes, or
    /// answers slowly. It keeps its clients and gets no new clients while another instance of the
    /// cluster is healthy.
    Degraded,
    /// The instance is unreachable.
    Down,
}

impl Health {
    /// Every value.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Up, Self::Degraded, Self::Down];

    /// The name used in JSON, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// Whether the instance gets new clients even while another instance is [`Up`](Self::Up).
    pub fn is_good(self) -> bool {
        matches!(self, Self::Unknown | Self::Up)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
