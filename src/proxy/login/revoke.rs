//! A credential that was good is not accepted any more, or nobody is let in without one: which
//! connections end for that, and which clients.
//!
//! | at the server | a client connected directly | here |
//! |---|---|---|
//! | password removed, user off | is served until its connection ends | or until it needs another |
//! | user deleted | is closed | the same |
//! | user's connections killed | is closed | goes on if its credential is still good |
//! | default user gets a password | is served until its connection ends | hears NOAUTH soon |
//!
//! A client that cannot be served any more is closed, not told NOAUTH: libraries log in again on a
//! new connection, and not on an error.

use crate::cluster::{InstanceId, TenantKey};

use crate::proxy::action::{Action, News};
use crate::proxy::machine::Machine;
use crate::session::question::{Answer, Question};
use crate::store::key::{AccessKey, ClientKey, PoolKey};
use crate::upstream::account::Account;

impl Machine {
    /// A handshake of a pool was refused. Without a login: connections that came in so serve
    /// nobody any more, here and on the other workers. With a credential: those that it was good
    /// for serve on, as on a server; without any its clients are closed.
    pub(in crate::proxy) fn refuse_access(&mut self, pool: PoolKey) {
        let now = self.now;
        let key = self.upstreams.access_key(pool);
        let Some(access) = self.upstreams.access.get_mut(key) else {
            return;
        };
        let of = access.instance;
        let account = self.upstreams.accounts.get(access.account);
        let anonymous = account.is_none_or(Account::is_anonymous);
        access.refuse(anonymous, now);
        if let Some(account) = account.filter(|_| !anonymous) {
            let user = String::from_utf8_lossy(account.name()).into_owned();
            self.report(of, News::Revoked(user));
            if !self.upstreams.has_connections(pool) {
                self.log_all_out(key);
            }
            return;
        }
        self.retire_access(key);
        if let Some(instance) = self.upstreams.instances.get(of) {
            let question = Question::LoginNeeded(instance.tenant.clone(), instance.id.clone());
            self.actions
                .push_back(Action::Ask(ClientKey::NONE, question));
        }
    }

    /// Another worker was told that this instance wants a login.
    pub(in crate::proxy) fn login_needed(&mut self, tenant: TenantKey, id: InstanceId) -> Answer {
        let now = self.now;
        if let Some(&instance) = self.upstreams.by_id.get(&(tenant, id)) {
            let key = self.upstreams.anonymous(instance);
            if let Some(access) = self.upstreams.access.get_mut(key) {
                access.refuse(true, now);
            }
            self.retire_access(key);
        }
        Answer::Gone
    }

    fn retire_access(&mut self, access: AccessKey) {
        let access = self.upstreams.access.get(access);
        let pools = access.map(|it| it.pools.clone());
        for pool in pools.unwrap_or_default() {
            self.retire_pool(pool);
        }
    }

    /// The backend does not accept any more what a client came in with, and no connection that did
    /// is left for it: it is closed, as the server has closed that. Nothing of it is in flight.
    pub(in crate::proxy) fn log_out(&mut self, key: ClientKey) {
        self.stats.counters.logged_out += 1;
        self.finish_client(key);
        self.wake(key);
    }

    /// An account has no connection left on an instance and may open none: its clients there are
    /// closed, but for those that still have one to themselves.
    pub(in crate::proxy) fn log_all_out(&mut self, access: AccessKey) {
        let upstreams = &self.upstreams;
        let clients = self.clients.iter();
        let clients =
            clients.filter(|(_, it)| upstreams.access_key(it.pool) == access && it.pin().is_none());
        let clients: Vec<ClientKey> = clients.map(|(key, _)| key).collect();
        for key in clients {
            if self.clients.get(key).is_some_and(|it| it.fifo.is_empty()) {
                self.log_out(key);
            }
        }
    }
}
