//! Log lines about limits that were reached and logins that were refused: the client, the limit,
//! the value.
//!
//! Each limit has at most one line a second. The next line has the number of suppressed ones; if
//! there is none, a line of its own has it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use crate::stats::worker_stats::Limit;
use crate::store::time::Millis;

/// Shortest time between two lines about the same limit, ms.
const INTERVAL_MS: u64 = 1_000;

/// A limit at which a client is closed, or a request or login is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// Unread replies of one client.
    ClientOutbound,
    /// Unread messages of one subscriber.
    SubscriberOutbound,
    /// Unread replies of all clients of a worker.
    WorkerOutbound,
    /// Requests and replies that a worker holds.
    WorkerBuffer,
    /// Dedicated connections of one tenant, per worker.
    Dedicated,
    /// Connections to one instance.
    InstanceConnections,
    /// Requests and replies that a worker holds for one tenant.
    TenantBuffer,
    /// The size of one request.
    Request,
    /// Time in which a client reads none of its replies.
    Send,
    /// Time without a login.
    LoginTime,
    /// Time without a request.
    Idle,
    /// Time without a request inside a transaction or after WATCH.
    PinnedIdle,
    /// Refused commands before a login.
    RefusedCommands,
    /// A limit of the client's tenant.
    Tenant(Limit),
    /// A refused login; there is no limit.
    Login,
    /// The memory of the process.
    Memory,
}

impl NoticeKind {
    /// The option that sets the limit.
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

    /// The unit of the value, which is its key in the log line.
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

    /// What happens to a client at this limit.
    #[must_use]
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Login => "login refused",
            Self::Dedicated | Self::InstanceConnections | Self::Tenant(_) => "refused",
            _ => "closed",
        }
    }
}

/// A line about a client that was closed or refused at a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The client; `None`: the line only has the number of suppressed ones.
    pub client: Option<LoggedClient>,
    /// The limit.
    pub kind: NoticeKind,
    /// The client's value; for a limit of a tenant, the limit.
    pub value: u64,
    /// Lines about this limit that were suppressed since the last.
    pub suppressed: u64,
}

/// A client in a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedClient {
    /// The number that CLIENT ID returns.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The tenant; `None` before a login, or if the login named an unknown one.
    pub tenant: Option<String>,
    /// The user, or the user of the refused login, escaped.
    pub user: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, value, suppressed) = (self.kind, self.value, self.suppressed);
        let (what, name, unit) = (kind.consequence(), kind.name(), kind.unit());
        let Some(client) = &self.client else {
            return write!(f, "client: {what} limit={name} suppressed={suppressed}");
        };
        let LoggedClient { id, peer, user, .. } = client;
        let tenant = client.tenant.as_deref().unwrap_or("-");
        write!(
            f,
            "client: {what} client={id} peer={peer} tenant={tenant} user={user} "
        )?;
        if kind != NoticeKind::Login {
            write!(f, "limit={name} {unit}={value} ")?;
        }
        write!(f, "suppressed={suppressed}")
    }
}

/// When each limit was logged last, and how many lines were suppressed since.
#[derive(Debug, Default)]
pub(crate) struct Notices(BTreeMap<NoticeKind, (Millis, u64)>);

impl Notices {
    /// Is a line due now? Returns the number of lines that were suppressed before it, or counts
    /// this one as suppressed.
    pub(crate) fn due(&mut self, kind: NoticeKind, now: Millis) -> Option<u64> {
        let Some((last, suppressed)) = self.0.get_mut(&kind) else {
            self.0.insert(kind, (now, 0));
            return Some(0);
        };
        if now.since(*last) < INTERVAL_MS {
            *suppressed += 1;
            return None;
        }
        *last = now;
        Some(std::mem::take(suppressed))
    }

    /// Takes the limits whose last line is a second old and that have suppressed lines, with their
    /// number.
    pub(crate) fn take_suppressed(
        &mut self,
        now: Millis,
    ) -> impl Iterator<Item = (NoticeKind, u64)> {
        let over = self.0.iter_mut();
        let over = over.filter(move |(_, (last, _))| now.since(*last) >= INTERVAL_MS);
        let over = over.filter(|(_, (_, suppressed))| *suppressed > 0);
        over.map(move |(kind, (last, suppressed))| {
            *last = now;
            (*kind, std::mem::take(suppressed))
        })
    }

    /// Whether any line was suppressed since the last one about its limit.
    pub(crate) fn any_suppressed(&self) -> bool {
        self.0.values().any(|(_, suppressed)| *suppressed > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_logged_once_a_second() {
        let mut notices = Notices::default();
        let mut due = |kind, ms| notices.due(kind, Millis(ms));
        assert_eq!(due(NoticeKind::ClientOutbound, 5), Some(0));
        assert_eq!(due(NoticeKind::WorkerOutbound, 6), Some(0));
        assert_eq!(due(NoticeKind::ClientOutbound, 7), None);
        assert_eq!(due(NoticeKind::ClientOutbound, 1_004), None);
        assert_eq!(due(NoticeKind::ClientOutbound, 1_005), Some(2));
        assert_eq!(due(NoticeKind::ClientOutbound, 2_005), Some(0));
    }
    #[test]
    fn suppressed_lines_are_reported_after_a_burst() {
        let mut notices = Notices::default();
        for ms in 0..5 {
            notices.due(NoticeKind::Send, Millis(ms));
        }
        let over =
            |notices: &mut Notices, ms| notices.take_suppressed(Millis(ms)).collect::<Vec<_>>();
        assert!(notices.any_suppressed());
        assert_eq!(over(&mut notices, 999), []);
        assert_eq!(over(&mut notices, 1_000), [(NoticeKind::Send, 4)]);
        assert_eq!(over(&mut notices, 9_000), []);
        assert!(!notices.any_suppressed());
    }
}
