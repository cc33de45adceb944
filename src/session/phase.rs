//! The phase of a client: what it is doing. [`Phase::to`] is the table of transitions;
//! `Client::enter` is the only function that changes a phase. Flow control, which stops reading or
//! decoding for a moment, is separate: see [`Hold`](super::client::Hold).

use std::fmt;

/// The phase of a client. From `Changing` on, its bytes are not decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The client has no account: it has neither logged in nor been admitted as the default user.
    #[default]
    Anonymous,
    /// Its requests go to shared links.
    Shared,
    /// Its requests go to its dedicated link: it has a [`Pin`](crate::dedicated::pin::Pin).
    Dedicated,
    /// A session change is in progress: see [`Waiting`](super::change::Waiting).
    Changing,
    /// The client is in its pool's wait queue for a dedicated link.
    Queued,
    /// The client waits for replicas: it is among the `waits` of a link.
    Replicas,
    /// The client gets the replies that are buffered, and is closed.
    Closing,
}

/// A transition that [`Phase::to`] does not contain. The client keeps its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IllegalPhase {
    pub from: Phase,
    pub to: Phase,
}

impl Phase {
    /// The phase after a change to `to`.
    pub(crate) fn to(self, to: Self) -> Result<Self, IllegalPhase> {
        use Phase::{Anonymous, Changing, Closing, Dedicated, Queued, Replicas, Shared};
        let legal = matches!(
            (self, to),
            (Anonymous, Shared | Changing | Closing)
                | (
                    Shared,
                    Anonymous | Dedicated | Changing | Queued | Replicas | Closing
                )
                | (
                    Dedicated,
                    Anonymous | Shared | Changing | Replicas | Closing
                )
                | (Changing, Anonymous | Shared | Dedicated | Closing)
                | (Queued | Replicas, Shared | Dedicated | Closing)
        );
        match legal || self == to {
            true => Ok(to),
            false => Err(IllegalPhase { from: self, to }),
        }
    }

    /// Does the phase allow the client's bytes to be decoded?
    #[inline]
    pub(crate) fn decodes(self) -> bool {
        self < Self::Changing
    }

    fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Shared => "shared",
            Self::Dedicated => "dedicated",
            Self::Changing => "changing",
            Self::Queued => "queued",
            Self::Replicas => "replicas",
            Self::Closing => "closing",
        }
    }
}

impl fmt::Display for IllegalPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.name(), self.to.name());
        write!(f, "a client that is {from} cannot be {to}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 7] = [
        Phase::Anonymous,
        Phase::Shared,
        Phase::Dedicated,
        Phase::Changing,
        Phase::Queued,
        Phase::Replicas,
        Phase::Closing,
    ];

    /// The transitions, a line for each phase.
    fn table() -> String {
        let line = |from: &Phase| {
            let to = PHASES.iter().filter(|&to| to != from);
            let to = to.filter(|&to| from.to(*to).is_ok());
            let to: Vec<_> = to.map(|to| to.name()).collect();
            let to = match to.is_empty() {
                true => "(closed)".to_owned(),
                false => to.join(", "),
            };
            format!("{:<10} ──► {to}\n", from.name())
        };
        PHASES.iter().map(line).collect()
    }

    #[test]
    fn the_page_on_architecture_shows_the_transitions() {
        let page = include_str!("../../docs/architecture.md");
        assert!(
            page.contains(&table()),
            "docs/architecture.md lacks\n{}",
            table()
        );
    }

    #[test]
    fn a_closing_client_does_nothing_else() {
        for phase in PHASES {
            let to = Phase::Closing.to(phase);
            assert_eq!(to.is_ok(), phase == Phase::Closing, "{phase:?}");
        }
    }
}
