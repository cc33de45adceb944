//! Log lines about limits that were reached and logins that were refused.

use crate::proxy::action::Action;
use crate::proxy::machine::Machine;
use crate::stats::notice::{LoggedClient, Notice, NoticeKind};
use crate::stats::worker_stats::Limit;
use crate::store::key::{AccountKey, ClientKey, PoolKey, TenantSlot};
use crate::upstream::tenant::Use;

/// Bytes of a user name in a log line: clients may send long ones.
const USER_BYTES_MAX: usize = 256;

impl Machine {
    /// Closes a client at a limit; counts and logs it.
    pub(in crate::proxy) fn evict(&mut self, key: ClientKey, kind: NoticeKind, value: u64) {
        self.note_eviction(key, kind, value);
        self.close_now(key);
    }

    /// Counts and logs that a client is about to be closed at a limit.
    pub(in crate::proxy) fn note_eviction(&mut self, key: ClientKey, kind: NoticeKind, value: u64) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        match kind {
            NoticeKind::ClientOutbound => self.stats.counters.slow_readers += 1,
            NoticeKind::SubscriberOutbound => self.stats.counters.slow_subscribers += 1,
            NoticeKind::WorkerOutbound => self.stats.counters.evictions += 1,
            NoticeKind::WorkerBuffer => self.stats.counters.buffers_full += 1,
            NoticeKind::Dedicated
            | NoticeKind::InstanceConnections
            | NoticeKind::Tenant(_)
            | NoticeKind::Login => {}
            // Counted with the other protocol errors.
            NoticeKind::Request => {}
            NoticeKind::TenantBuffer => self.stats.counters.tenant_buffers_full += 1,
            NoticeKind::Send => self.stats.counters.send_timeouts += 1,
            NoticeKind::LoginTime => self.stats.counters.login_timeouts += 1,
            NoticeKind::Idle => self.stats.counters.idle_timeouts += 1,
            NoticeKind::PinnedIdle => self.stats.counters.pinned_idle_timeouts += 1,
            NoticeKind::RefusedCommands => self.stats.counters.refused_anonymous += 1,
            NoticeKind::Memory => self.stats.counters.out_of_memory += 1,
        }
        self.upstreams.count_eviction(client.pool);
        self.notice(key, kind, value);
    }

    /// Logs that a client got no link because of a limit.
    pub(in crate::proxy) fn note_refusal(&mut self, key: ClientKey, kind: NoticeKind) {
        let pool = self.clients.get(key).map_or(PoolKey::NONE, |it| it.pool);
        let value = match kind {
            NoticeKind::Dedicated => {
                let tenant = self.upstreams.tenant_of_pool(pool);
                self.upstreams.used(tenant, Use::Pinned)
            }
            _ => {
                let instance = self.upstreams.instance_of(pool);
                instance.map_or(0, |of| self.upstreams.connections(of))
            }
        };
        self.notice(key, kind, value.into());
    }

    /// Counts and logs that a client reached a limit of its tenant.
    pub(in crate::proxy) fn note_limit(&mut self, key: ClientKey, slot: TenantSlot, limit: Limit) {
        let account = self.clients.get(key).map(|client| client.account());
        self.note_limit_of(key, account.unwrap_or_default(), slot, limit);
    }

    /// Counts and logs that a client that is logging in to this account reached a limit of its
    /// tenant.
    pub(in crate::proxy) fn note_limit_of(
        &mut self,
        key: ClientKey,
        account: AccountKey,
        slot: TenantSlot,
        limit: Limit,
    ) {
        let value = self.upstreams.refuse(slot, limit);
        let Some(suppressed) = self.stats.notices.due(NoticeKind::Tenant(limit), self.now) else {
            return;
        };
        let value = match limit {
            Limit::Paused => self.settings.paused_clients_max.into(),
            _ => value.unwrap_or_default(),
        };
        let client = self.logged_client(key, slot, self.upstreams.user(account));
        self.log_notice(client, NoticeKind::Tenant(limit), value, suppressed);
    }

    /// Logs that the login of this user of this tenant was refused.
    pub(in crate::proxy) fn note_refused_login(
        &mut self,
        key: ClientKey,
        slot: TenantSlot,
        user: &[u8],
    ) {
        if let Some(suppressed) = self.stats.notices.due(NoticeKind::Login, self.now) {
            let client = self.logged_client(key, slot, user);
            self.log_notice(client, NoticeKind::Login, 1, suppressed);
        }
    }

    /// Logs that the server refused the login of a client.
    pub(in crate::proxy) fn note_login_refused_by_backend(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.details_mut().login_refused = true;
        let access = client.waiting().map(|waiting| waiting.access);
        let user = access.and_then(|it| self.upstreams.user_of_access(it));
        if let Some((slot, user)) = user {
            let user = user.to_vec();
            self.note_refused_login(key, slot, &user);
        }
    }

    fn notice(&mut self, key: ClientKey, kind: NoticeKind, value: u64) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let slot = self.upstreams.tenant_of_account(client.account());
        if let Some(suppressed) = self.stats.notices.due(kind, self.now) {
            let client = self.logged_client(key, slot, self.user_of(key));
            self.log_notice(client, kind, value, suppressed);
        }
    }

    fn logged_client(&self, key: ClientKey, slot: TenantSlot, user: &[u8]) -> Option<LoggedClient> {
        let client = self.clients.get(key)?;
        let tenant = self.upstreams.tenant_key(slot);
        Some(LoggedClient {
            id: client.id,
            peer: client.addresses().0,
            tenant: tenant.map(ToString::to_string),
            user: user
                .get(..USER_BYTES_MAX)
                .unwrap_or(user)
                .escape_ascii()
                .to_string(),
        })
    }

    fn log_notice(
        &mut self,
        client: Option<LoggedClient>,
        kind: NoticeKind,
        value: u64,
        suppressed: u64,
    ) {
        let notice = Notice {
            client,
            kind,
            value,
            suppressed,
        };
        self.actions.push_back(Action::Notice(Box::new(notice)));
    }

    /// Logs the number of suppressed lines of each limit that has had no line for a second.
    pub(in crate::proxy) fn report_suppressed(&mut self) {
        let over: Vec<(NoticeKind, u64)> = self.stats.notices.take_suppressed(self.now).collect();
        for (kind, suppressed) in over {
            self.log_notice(None, kind, 0, suppressed);
        }
    }
}
