//! Look-ups and small updates of pools, accesses and instances.

use std::mem;

use crate::command::ErrorReply;
use crate::command::blocking::BlockingCommands;
use crate::link::handshake::HelloReply;
use crate::link::links::Links;
use crate::resp::Protocol;
use crate::store::key::{AccessKey, AccountKey, ClientKey, InstanceKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::account::Account;
use crate::upstream::upstreams::Upstreams;

/// Without a retry for this long, clients that were moved to other links return, ms.
const RETRY_MEMORY_MS: u64 = 10_000;

/// The fields of HELLO's reply that a check updates for all later clients.
const UPDATED_FIELDS: &[&[u8]] = &[b"role", b"availability_zone"];

impl Upstreams {
    /// Do requests for the pool's instance fail at once? Clients in the wait queue then also wait
    /// for the instance.
    pub(crate) fn fails_fast(&self, pool_key: PoolKey, now: Millis) -> bool {
        let instance = self.instance_at(pool_key);
        instance.is_some_and(|instance| instance.fails_fast(now))
    }

    /// The error for requests while the instance of a pool is down.
    pub(crate) fn down_error(&self, pool: PoolKey, now: Millis) -> Option<ErrorReply> {
        let instance = self.instance_at(pool).filter(|it| it.fails_fast(now))?;
        Some(instance.down_error.clone())
    }

    /// The error for clients of an access while its instance is down, and has no ready link left.
    pub(crate) fn why_down(
        &self,
        access: AccessKey,
        links: &Links,
        now: Millis,
    ) -> Option<ErrorReply> {
        let instance = self.access.get(access)?.instance;
        let instance = self
            .instances
            .get(instance)
            .filter(|it| it.fails_fast(now))?;
        (!self.has_ready(access, links)).then(|| instance.down_error.clone())
    }

    pub(crate) fn tenant_of_pool(&self, pool_key: PoolKey) -> TenantSlot {
        let instance = self.instance_at(pool_key);
        instance.map_or(TenantSlot::NONE, |instance| instance.slot)
    }

    /// Has the registry dropped the instance of a pool?
    pub(crate) fn is_gone(&self, pool: PoolKey) -> bool {
        self.instance_at(pool).is_none_or(|it| it.gone)
    }

    /// Could no link to the instance of a pool be made a moment ago? Then one that is not needed
    /// waits.
    pub(crate) fn is_in_backoff(&self, pool: PoolKey, now: Millis) -> bool {
        self.instance_at(pool)
            .is_none_or(|it| it.is_in_backoff(now))
    }

    /// A client of this pool is moved to another link, because a reply in front of its own is late
    /// or read slowly.
    pub(crate) fn note_retry(&mut self, pool: PoolKey, now: Millis) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.retried_at = now;
        }
    }

    /// Was no request retried on another link of this pool for some time? Then the clients that
    /// were moved to other links return: the fewer links, the more requests share one write.
    pub(crate) fn has_no_recent_retry(&self, pool: PoolKey, now: Millis) -> bool {
        let pool = self.pools.get(pool);
        pool.is_none_or(|pool| now.since(pool.retried_at) >= RETRY_MEMORY_MS)
    }

    /// Remembers which commands of this server may block.
    pub(crate) fn learn(&mut self, key: InstanceKey, learned: BlockingCommands, now: Millis) {
        if let Some(instance) = self.instances.get_mut(key) {
            (instance.asked_at, instance.learned) = (Some(now), learned);
        }
        let mut all = self.instances.iter();
        self.learned_any = all.any(|(_, instance)| !instance.learned.is_empty());
    }

    /// Has any server blocking commands that the table of commands does not have?
    #[inline]
    pub(crate) fn any_learned(&self) -> bool {
        self.learned_any
    }

    /// Does this command block on the server of a pool? Clients of an account that have no pool
    /// will use an instance of its tenant.
    pub(crate) fn blocks(&self, pool: PoolKey, account: AccountKey, name: &[u8]) -> bool {
        if let Some(instance) = self.instance_at(pool) {
            return instance.learned.blocks(name);
        }
        let tenant = self.tenant_for_limits(account);
        let tenant = tenant.and_then(|slot| self.tenants.get(slot));
        let usable = tenant.into_iter().flat_map(|tenant| &tenant.instances);
        let mut usable = usable.filter_map(|&key| self.instances.get(key));
        usable.any(|instance| instance.learned.blocks(name))
    }

    /// Updates the role in the HELLO replies of all pools of the instance.
    pub(crate) fn update_hello_role(&mut self, key: InstanceKey, reply: &[u8]) {
        self.with_pools_of(key, |pool| {
            if let Some(hello) = pool
                .hello
                .as_ref()
                .and_then(|it| it.adopt(reply, UPDATED_FIELDS))
            {
                pool.hello = Some(hello);
            }
        });
    }

    /// Are the connections of a pool without a login?
    pub(crate) fn is_anonymous(&self, pool: PoolKey) -> bool {
        self.account_at(pool).is_some_and(Account::is_anonymous)
    }

    /// A client waits for a link of this pool to be ready.
    pub(crate) fn wait_for_link(&mut self, pool: PoolKey, client: ClientKey) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.waiters.push(client);
        }
    }

    /// Takes the clients that wait for a link of this pool.
    pub(crate) fn take_waiters(&mut self, pool: PoolKey) -> Vec<ClientKey> {
        let pool = self.pools.get_mut(pool);
        pool.map_or_else(Vec::new, |pool| mem::take(&mut pool.waiters))
    }

    /// Does the server know HELLO? If not, its error is the reply to HELLO AUTH.
    ///
    /// # Errors
    ///
    /// The error of the server.
    pub(crate) fn knows_hello(
        &mut self,
        access: AccessKey,
        db: u32,
        protocol: Protocol,
    ) -> Result<(), ErrorReply> {
        let pool = self.pool(access, db, protocol);
        match self.hello(pool) {
            Some(HelloReply::Unknown(text)) => Err(ErrorReply::new(text.clone())),
            _ => Ok(()),
        }
    }

    /// What the server of a pool last replied to HELLO.
    pub(crate) fn hello(&self, pool: PoolKey) -> Option<&HelloReply> {
        self.pools.get(pool)?.hello.as_ref()
    }

    /// Was the credential of this pool refused a moment ago? Then no connection is opened with it.
    pub(crate) fn is_refused(&self, pool: PoolKey, now: Millis) -> bool {
        let access = self.access_at(pool);
        access.is_some_and(|it| it.is_refused(now)) && { self.account_at(pool) }
            .is_some_and(|it| !it.is_anonymous())
    }

    /// Does the pool's account have a shared link on this instance, or need none, because it is
    /// anonymous or has no clients there?
    pub(crate) fn has_connections(&self, pool: PoolKey) -> bool {
        let anonymous = { self.account_at(pool) }.is_none_or(Account::is_anonymous);
        let access = self.access_at(pool);
        let pools = access.into_iter().flat_map(|access| &access.pools);
        let mut pools = pools.filter_map(|&key| self.pools.get(key));
        let unused = pools.clone().all(|pool| pool.clients == 0);
        anonymous || unused || pools.any(|pool| !pool.links.is_empty())
    }
}
