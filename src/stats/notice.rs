//! Limits that closed a client or refused it something, and logins that were refused, for the log:
//! who, which limit, which value.
//!
//! At most one line a second for each limit; the next one says how many were left out, or one of
//! its own when there is no next one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use crate::stats::survey::Limit;
use crate::store::time::Millis;

/// Between two lines about the same limit, ms.
const SILENCE_MS: u64 = 1_000;

/// A limit at which a client is closed, or refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// Replies that one client has not read.
    ClientOutbound,
    /// Messages that one subscriber has not read.
    SubscriberOutbound,
    /// Replies that all clients of a worker have not read.
    WorkerOutbound,
    /// All that a worker keeps.
    WorkerBuffer,
    /// Connections of clients' own of one tenant, per worker.
    Dedicated,
    /// Connections to one instance.
    InstanceConnections,
    /// All that a worker keeps for one tenant.
    TenantBuffer,
    /// The size of one request.
    Request,
    /// Time without a byte taken by a client that has some to read.
    Send,
    /// Time without a login.
    LoginTime,
    /// Time without a request.
    Idle,
    /// Time without a request of a client that keeps a connection for a transaction.
    PinnedIdle,
    /// Commands refused before a login.
    RefusedCommands,
    /// A limit of the client's tenant.
    Tenant(Limit),
    /// None: a login was refused.
    Login,
    /// The memory that the process can have.
    Memory,
}

impl Bound {
    /// The option that sets it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientOutbound => "limit.client-outbound-bytes",
            Self::SubscriberOutbound => "limit.subscriber-outbound-bytes",
            Self::WorkerOutbound => "limit.worker-outbound-bytes",
            Self::WorkerBuffer => "limit.worker-buffer-bytes",
            Self::Dedicated => "backend-pool.dedicated-max",
            Self::InstanceConnections => "backend-pool.tenant-max",
            Self::TenantBuffer => "limit.tenant-buffer-bytes",
            Self::Request => "limit.request-bytes",
            Self::Send => "limit.send-seconds",
            Self::LoginTime => "limit.login-seconds",
            Self::Idle => "limit.idle-seconds",
            Self::PinnedIdle => "backend-pool.pinned-idle-seconds",
            Self::RefusedCommands => "refused-before-login",
            Self::Tenant(Limit::Paused) => "limit.paused-clients",
            Self::Tenant(limit) => limit.name(),
            Self::Login => "login",
            Self::Memory => "memory",
        }
    }

    /// What its values are.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::RefusedCommands | Self::Tenant(Limit::Denied) => "commands",
            Self::Send | Self::LoginTime | Self::Idle | Self::PinnedIdle => "ms",
            Self::Dedicated | Self::InstanceConnections | Self::Tenant(Limit::Pinned) => {
                "connections"
            }
            Self::Tenant(Limit::Clients | Limit::Paused) => "clients",
            Self::Tenant(Limit::Requests) => "per_second",
            Self::Tenant(Limit::Bytes) => "bytes_per_second",
            Self::Login => "logins",
            _ => "bytes",
        }
    }

    /// What happens to a client that reaches it.
    #[must_use]
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Login => "login refused",
            Self::Dedicated | Self::InstanceConnections | Self::Tenant(_) => "refused",
            _ => "closed",
        }
    }
}

/// A client was closed, or refused something, because of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which client; `None`: this is about those left out since the last line, and about no other.
    pub who: Option<Who>,
    /// Which limit.
    pub bound: Bound,
    /// What it had of what is limited; of a tenant's limit, what that is.
    pub value: u64,
    /// How often that happened since the last line about this limit, without a line.
    pub suppressed: u64,
}

/// A client, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// What CLIENT ID answers to it.
    pub client: u64,
    /// Its end of the connection.
    pub peer: SocketAddr,
    /// Its tenant; `None` before a login, or if it named none that is known.
    pub tenant: Option<String>,
    /// The user that it is, or wanted to be, escaped.
    pub user: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bound, value, suppressed) = (self.bound, self.value, self.suppressed);
        let (what, name, unit) = (bound.consequence(), bound.name(), bound.unit());
        let Some(who) = &self.who else {
            return write!(f, "client: {what} limit={name} suppressed={suppressed}");
        };
        let (client, peer, user) = (who.client, who.peer, &who.user);
        let tenant = who.tenant.as_deref().unwrap_or("-");
        write!(
            f,
            "client: {what} client={client} peer={peer} tenant={tenant} user={user} "
        )?;
        if bound != Bound::Login {
            write!(f, "limit={name} {unit}={value} ")?;
        }
        write!(f, "suppressed={suppressed}")
    }
}

/// When the last line about each limit was written, and how many were left out since.
#[derive(Debug, Default)]
pub(crate) struct Notices(BTreeMap<Bound, (Millis, u64)>);

impl Notices {
    /// Is there to be a line now? Returns how many were left out before it.
    pub(crate) fn due(&mut self, bound: Bound, now: Millis) -> Option<u64> {
        let Some((last, suppressed)) = self.0.get_mut(&bound) else {
            self.0.insert(bound, (now, 0));
            return Some(0);
        };
        if now.since(*last) < SILENCE_MS {
            *suppressed += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(suppressed))
    }

    /// Those of which no more came for a second, with how many were left out; they are told.
    pub(crate) fn take_over(&mut self, now: Millis) -> impl Iterator<Item = (Bound, u64)> {
        let over = self.0.iter_mut();
        let over = over.filter(move |(_, (last, _))| now.since(*last) >= SILENCE_MS);
        let over = over.filter(|(_, (_, suppressed))| *suppressed > 0);
        over.map(move |(bound, (last, suppressed))| {
            *last = now;
            (*bound, std::mem::take(suppressed))
        })
    }

    /// Is there anything left out that is to be told?
    pub(crate) fn any_suppressed(&self) -> bool {
        self.0.values().any(|(_, suppressed)| *suppressed > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_for_each_limit() {
        let mut notices = Notices::default();
        let mut due = |bound, ms| notices.due(bound, Millis(ms));
        assert_eq!(due(Bound::ClientOutbound, 5), Some(0));
        assert_eq!(due(Bound::WorkerOutbound, 6), Some(0));
        assert_eq!(due(Bound::ClientOutbound, 7), None);
        assert_eq!(due(Bound::ClientOutbound, 1_004), None);
        assert_eq!(due(Bound::ClientOutbound, 1_005), Some(2));
        assert_eq!(due(Bound::ClientOutbound, 2_005), Some(0));
    }
    #[test]
    fn the_end_of_a_burst_is_told() {
        let mut notices = Notices::default();
        for ms in 0..5 {
            notices.due(Bound::Send, Millis(ms));
        }
        let over = |notices: &mut Notices, ms| notices.take_over(Millis(ms)).collect::<Vec<_>>();
        assert!(notices.any_suppressed());
        assert_eq!(over(&mut notices, 999), []);
        assert_eq!(over(&mut notices, 1_000), [(Bound::Send, 4)]);
        assert_eq!(over(&mut notices, 9_000), []);
        assert!(!notices.any_suppressed());
    }
}
