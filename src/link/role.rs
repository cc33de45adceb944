//! The role of a link: what it is for. [`Role::to`] is the table of transitions;
//! `proxy::links::role` is the only place where a link changes its role, and keeps its pool's lists
//! in step.

use std::fmt;

use crate::store::key::ClientKey;

/// The role of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Verifies logins, one at a time. Belongs to no pool.
    Login,
    /// One of its pool's shared links: clients of the pool send on it.
    Shared,
    /// A shared link that takes no new requests: clients in WAIT need it once nothing is in flight.
    Reserved,
    /// Out of its pool's shared links for a moment: for one request of this client, or with `NONE`
    /// while its server is asked about replicas.
    Borrowed(ClientKey),
    /// Belongs to this client. With `NONE`: about to be given to a client, or its server is asked
    /// about replicas.
    Dedicated(ClientKey),
    /// Was dedicated and holds nothing; kept for the next client that needs a dedicated link.
    Idle,
    /// Takes no new requests, and is closed as soon as nothing is in flight.
    Retired {
        /// The client that it still belongs to, or `NONE`.
        owner: ClientKey,
        /// It was dedicated: its frames are read as a dedicated link's.
        dedicated: bool,
    },
}

/// A transition that [`Role::to`] does not contain. The link keeps its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IllegalRole {
    pub from: Role,
    pub to: Role,
}

/// The list of its pool that a link is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// The links that clients share.
    Shared,
    /// The links kept for the next client.
    Idle,
    Nowhere,
}

impl Role {
    /// The role after a change to `to`.
    pub(crate) fn to(self, to: Self) -> Result<Self, IllegalRole> {
        use Role::{Borrowed, Dedicated, Idle, Login, Reserved, Retired, Shared};
        let legal = matches!(
            (self, to),
            (Login, Shared)
                | (Shared, Reserved | Borrowed(_) | Retired { .. })
                | (Reserved, Shared | Borrowed(_) | Retired { .. })
                | (Borrowed(_), Shared | Borrowed(_) | Retired { .. })
                | (Dedicated(_), Dedicated(_) | Idle | Retired { .. })
                | (Idle, Dedicated(_) | Retired { .. })
                | (Retired { .. }, Retired { .. })
        );
        match legal || self == to {
            true => Ok(to),
            false => Err(IllegalRole { from: self, to }),
        }
    }

    /// The client that the link belongs to, or `NONE`.
    #[inline]
    pub(crate) fn owner(self) -> ClientKey {
        match self {
            Self::Borrowed(owner) | Self::Dedicated(owner) | Self::Retired { owner, .. } => owner,
            Self::Login | Self::Shared | Self::Reserved | Self::Idle => ClientKey::NONE,
        }
    }

    /// Is the link a dedicated one, which clients never share?
    #[inline]
    pub(crate) fn is_dedicated(self) -> bool {
        match self {
            Self::Dedicated(_) | Self::Idle => true,
            Self::Retired { dedicated, .. } => dedicated,
            Self::Login | Self::Shared | Self::Reserved | Self::Borrowed(_) => false,
        }
    }

    /// Does the link count as one of its pool's dedicated links?
    pub(crate) fn counts_as_dedicated(self) -> bool {
        self.is_dedicated() && !self.is_retired()
    }

    pub(crate) fn is_retired(self) -> bool {
        matches!(self, Self::Retired { .. })
    }

    /// The role of the link after its owner is gone.
    pub(crate) fn without_owner(self) -> Self {
        match self {
            Self::Borrowed(_) => Self::Borrowed(ClientKey::NONE),
            Self::Dedicated(_) => Self::Dedicated(ClientKey::NONE),
            Self::Retired { dedicated, .. } => Self::Retired {
                owner: ClientKey::NONE,
                dedicated,
            },
            role => role,
        }
    }

    /// The role of the link after it is retired.
    pub(crate) fn retired(self) -> Self {
        Self::Retired {
            owner: self.owner(),
            dedicated: self.is_dedicated(),
        }
    }

    /// The list of its pool that the link is in.
    pub(crate) fn listed(self) -> Listed {
        match self {
            Self::Shared | Self::Reserved => Listed::Shared,
            Self::Idle => Listed::Idle,
            Self::Login | Self::Borrowed(_) | Self::Dedicated(_) | Self::Retired { .. } => {
                Listed::Nowhere
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Shared => "shared",
            Self::Reserved => "reserved",
            Self::Borrowed(_) => "borrowed",
            Self::Dedicated(_) => "dedicated",
            Self::Idle => "idle",
            Self::Retired { .. } => "retired",
        }
    }
}

impl fmt::Display for IllegalRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a {} link cannot be {}",
            self.from.name(),
            self.to.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 7] = [
        Role::Login,
        Role::Shared,
        Role::Reserved,
        Role::Borrowed(ClientKey::NONE),
        Role::Dedicated(ClientKey::NONE),
        Role::Idle,
        Role::Retired {
            owner: ClientKey::NONE,
            dedicated: false,
        },
    ];

    /// The transitions, a line for each role.
    fn table() -> String {
        let line = |from: &Role| {
            let to = ROLES
                .iter()
                .filter(|&to| to != from && from.to(*to).is_ok());
            let to: Vec<_> = to.map(|to| to.name()).collect();
            let to = match to.is_empty() {
                true => "(closed)".to_owned(),
                false => to.join(", "),
            };
            format!("{:<10} ──► {to}\n", from.name())
        };
        ROLES.iter().map(line).collect()
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
    fn a_retired_link_never_serves_again() {
        let retired = Role::Idle.retired();
        for role in ROLES {
            assert_eq!(retired.to(role).is_ok(), role.is_retired(), "{role:?}");
        }
    }
}
