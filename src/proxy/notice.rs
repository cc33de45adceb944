//! Limits that closed a client or refused it something, for the log: who, which limit, which value.
//!
//! At most one line a second for each limit; the next one says how many were left out.

use std::fmt;
use std::net::SocketAddr;

use super::action::Action;
use super::key::ClientKey;
use super::machine::Machine;
use super::settings::Millis;
use super::tenant::Use;

/// Between two lines about the same limit, ms.
const SILENCE_MS: u64 = 1_000;

/// A limit at which a client is closed, or refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The same, of all workers together.
    Pinned,
    /// Connections to one instance.
    InstanceConnections,
    /// All that a worker keeps for one tenant.
    TenantBuffer,
    /// Time without a byte taken by a client that has some to read.
    Send,
    /// Commands refused before a login.
    RefusedCommands,
}

impl Bound {
    /// How many there are.
    const COUNT: usize = 10;

    /// The option that sets it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientOutbound => "limit.client-outbound-bytes",
            Self::SubscriberOutbound => "limit.subscriber-outbound-bytes",
            Self::WorkerOutbound => "limit.worker-outbound-bytes",
            Self::WorkerBuffer => "limit.worker-buffer-bytes",
            Self::Dedicated => "backend-pool.dedicated-max",
            Self::Pinned => "pinned",
            Self::InstanceConnections => "backend-pool.tenant-max",
            Self::TenantBuffer => "limit.tenant-buffer-bytes",
            Self::Send => "limit.send-seconds",
            Self::RefusedCommands => "refused-before-login",
        }
    }

    /// What its values are.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::RefusedCommands => "commands",
            Self::Send => "ms",
            Self::Dedicated | Self::Pinned | Self::InstanceConnections => "connections",
            _ => "bytes",
        }
    }

    /// What happens to a client that reaches it.
    #[must_use]
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Dedicated | Self::Pinned | Self::InstanceConnections => "refused",
            _ => "closed",
        }
    }
}

/// A client was closed, or refused something, because of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What CLIENT ID answers to it.
    pub client: u64,
    /// Its end of the connection.
    pub peer: SocketAddr,
    /// Its tenant; `None` before a login.
    pub tenant: Option<String>,
    /// The user it logged in as, escaped.
    pub user: String,
    /// Which limit.
    pub bound: Bound,
    /// What it had of what is limited.
    pub value: u64,
    /// How often that happened since the last line about this limit, without a line.
    pub left_out: u64,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            peer,
            tenant,
            user,
            bound,
            value,
            left_out,
        } = self;
        let tenant = tenant.as_deref().unwrap_or("-");
        let (what, name, unit) = (bound.consequence(), bound.name(), bound.unit());
        write!(
            f,
            "client {client}: {what} peer={peer} tenant={tenant} user={user} limit={name} \
             {unit}={value} left_out={left_out}"
        )
    }
}

/// When the last line about each limit was written, and how many were left out since.
#[derive(Debug, Default)]
pub(super) struct Notices([(Option<Millis>, u64); Bound::COUNT]);

impl Notices {
    /// Is there to be a line now? Returns how many were left out before it.
    fn due(&mut self, bound: Bound, now: Millis) -> Option<u64> {
        let (last, left_out) = self.0.get_mut(bound as usize)?;
        if last.is_some_and(|last| now.since(last) < SILENCE_MS) {
            *left_out += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(left_out))
    }
}

impl Machine {
    /// Closes a client that reached a limit with this value. It is counted, and the log is told.
    pub(super) fn evict(&mut self, key: ClientKey, bound: Bound, value: u64) {
        self.note_eviction(key, bound, value);
        self.close_now(key);
    }

    /// Counts and tells that a client is about to be closed because of a limit.
    pub(super) fn note_eviction(&mut self, key: ClientKey, bound: Bound, value: u64) {
        if !self.clients.contains(key) {
            return;
        }
        match bound {
            Bound::ClientOutbound => self.counters.slow_readers += 1,
            Bound::SubscriberOutbound => self.counters.slow_subscribers += 1,
            Bound::WorkerOutbound => self.counters.evictions += 1,
            Bound::WorkerBuffer => self.counters.buffers_full += 1,
            Bound::Dedicated | Bound::Pinned | Bound::InstanceConnections => {}
            Bound::TenantBuffer => self.counters.tenant_buffers_full += 1,
            Bound::Send => self.counters.send_timeouts += 1,
            Bound::RefusedCommands => self.counters.refused_anonymous += 1,
        }
        let instance = self.instance_of_client(key);
        if let Some(instance) = instance.and_then(|key| self.pools.instances.get_mut(key)) {
            instance.evictions += 1;
        }
        self.notice(key, bound, value);
    }

    /// Tells that a client did not get a connection because of a limit.
    pub(super) fn note_refusal(&mut self, key: ClientKey, bound: Bound) {
        let of = self.instance_of_client(key);
        let instance = of.and_then(|of| self.pools.instances.get(of));
        let value = instance.map_or(0, |instance| match bound {
            Bound::Dedicated | Bound::Pinned => {
                let tenant = self.pools.tenants.get(instance.slot);
                tenant.map_or(0, |tenant| tenant.used(Use::Pinned))
            }
            _ => instance.connections,
        });
        self.notice(key, bound, value.into());
    }

    fn notice(&mut self, key: ClientKey, bound: Bound, value: u64) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(left_out) = self.notices.due(bound, self.now) else {
            return;
        };
        let tenant = self.pools.tenants.get(client.tenant);
        let notice = Notice {
            client: client.id,
            peer: client.ends().0,
            tenant: tenant.map(|tenant| tenant.key.to_string()),
            user: self.user_of(key).escape_ascii().to_string(),
            bound,
            value,
            left_out,
        };
        self.actions.push_back(Action::Notice(Box::new(notice)));
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
}
