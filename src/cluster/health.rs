//! What the proxy itself found out about an instance, as opposed to what the control plane says.

use std::fmt;

/// Does an instance answer?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    /// Nobody has asked it yet.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It answers, but not as it should: it loads its data, lost its master, takes no writes, or is
    /// slow to answer. It is used, and gets no new clients while another one is healthy.
    Degraded,
    /// It cannot be reached.
    Down,
}

impl Health {
    /// Every value, from the least known to the worst.
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

    /// Whether new clients may be sent to it without a thought for others.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Unknown | Self::Up)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
