//! Revoked credentials: which links and which clients are closed when the server no longer accepts
//! a credential, or no longer admits the default user.
//!
//! | at the server | a client connected directly | here |
//! |---|---|---|
//! | password removed, user off | is served until its connection ends | or until it needs another |
//! | user deleted | is closed | the same |
//! | user's connections killed | is closed | stays, if its credential is still valid |
//! | default user gets a password | is served until its connection ends | gets NOAUTH in a minute |
//!
//! A client that cannot be served any more is closed and gets no NOAUTH error: client libraries log
//! in again on a new connection, but not after an error.

use crate::cluster::{InstanceId, TenantKey};

use crate::proxy::action::{Action, HealthChange};
use crate::proxy::machine::Machine;
use crate::session::question::{Answer, Question};
use crate::store::key::{AccessKey, ClientKey, PoolKey};

impl Machine {
    /// Handles a refused handshake of a pool. Without a credential, the anonymous links to this
    /// instance are retired, here and on the other workers. With a credential, links that
    /// authenticated earlier stay open, as on a server; if the account has none left on this
    /// instance, its clients there are closed.
    pub(in crate::proxy) fn refuse_access(&mut self, pool: PoolKey) {
        let Some((of, revoked)) = self.upstreams.refuse_access(pool, self.now) else {
            return;
        };
        let key = self.upstreams.access_key(pool);
        if let Some(user) = revoked {
            let user = String::from_utf8_lossy(&user).into_owned();
            self.log_health(of, HealthChange::Revoked(user));
            if !self.upstreams.has_connections(pool) {
                self.log_all_out(key);
            }
            return;
        }
        self.retire_access(key);
        if let Some((tenant, id, _)) = self.upstreams.describe(of) {
            let question = Question::LoginNeeded(tenant.clone(), id.clone());
            self.actions
                .push_back(Action::Ask(ClientKey::NONE, question));
        }
    }

    /// Handles [`Question::LoginNeeded`]: another worker found that this instance requires a login.
    pub(in crate::proxy) fn login_needed(&mut self, tenant: TenantKey, id: InstanceId) -> Answer {
        if let Some(access) = self.upstreams.refuse_anonymous(tenant, id, self.now) {
            self.retire_access(access);
        }
        Answer::Gone
    }

    fn retire_access(&mut self, access: AccessKey) {
        for pool in self.upstreams.pools_of_access(access) {
            self.retire_pool(pool);
        }
    }

    /// Closes a client whose credential the backend no longer accepts and that has no authenticated
    /// link left. Nothing of the client may be in flight.
    pub(in crate::proxy) fn log_out(&mut self, key: ClientKey) {
        self.stats.counters.logged_out += 1;
        self.finish_client(key);
        self.mark_ready(key);
    }

    /// Closes the clients of an account on an instance where the account has no link left and
    /// cannot open one. Clients that have a dedicated link or requests in flight, or that are about
    /// to leave the account or the instance, are not closed.
    pub(in crate::proxy) fn log_all_out(&mut self, access: AccessKey) {
        let upstreams = &self.upstreams;
        let clients = self.clients.iter();
        let clients = clients.filter(|(_, it)| {
            let stays = it.waiting().is_none_or(|waiting| waiting.access == access);
            upstreams.access_key(it.pool) == access && it.pin().is_none() && stays
        });
        let clients: Vec<ClientKey> = clients.map(|(key, _)| key).collect();
        for key in clients {
            if self.clients.get(key).is_some_and(|it| it.fifo.is_empty()) {
                self.log_out(key);
            }
        }
    }
}
