//! Accounts, their access to instances, and their pools: look-up, creation and removal.

use std::collections::HashSet;

use crate::cluster::{InstanceId, TenantKey};
use crate::link::link::Link;
use crate::link::links::Links;
use crate::resp::Protocol;
use crate::store::key::{AccessKey, AccountKey, InstanceKey, PoolKey, TenantSlot};
use crate::store::time::Millis;
use crate::upstream::access::Access;
use crate::upstream::account::{Account, Identity};
use crate::upstream::instance::Instance;
use crate::upstream::permits::Permits;
use crate::upstream::pool::Pool;
use crate::upstream::tenant::Use;
use crate::upstream::upstreams::Upstreams;

impl Upstreams {
    /// The account with this identity, created if necessary.
    pub(crate) fn account(&mut self, identity: Identity) -> AccountKey {
        let (tenant, credential) = identity.clone();
        let accounts = &mut self.accounts;
        *self.by_identity.entry(identity).or_insert_with(|| {
            accounts.insert(Account {
                tenant,
                credential,
                clients: 0,
                accesses: 0,
            })
        })
    }

    /// The access of an account to an instance of its tenant, created if necessary.
    pub(crate) fn access_to(&mut self, instance: InstanceKey, account: AccountKey) -> AccessKey {
        let (accounts, all) = (&mut self.accounts, &mut self.access);
        *(self.by_place)
            .entry((instance, account))
            .or_insert_with(|| {
                if let Some(account) = accounts.get_mut(account) {
                    account.accesses += 1;
                }
                all.insert(Access::new(account, instance))
            })
    }

    /// The access of clients without a login.
    pub(crate) fn anonymous(&mut self, instance: InstanceKey) -> AccessKey {
        let tenant = self.instances.get(instance).map(|it| it.slot);
        let account = self.account((tenant.unwrap_or_default(), None));
        self.access_to(instance, account)
    }

    /// A pool of this access, created if necessary. `NONE` if the access is removed.
    pub(crate) fn pool(&mut self, access: AccessKey, db: u32, protocol: Protocol) -> PoolKey {
        let pools = &mut self.pools;
        let Some(of_access) = self.access.get_mut(access) else {
            return PoolKey::NONE;
        };
        let same = |key: &&PoolKey| {
            pools
                .get(**key)
                .is_some_and(|pool| pool.db == db && pool.protocol == protocol)
        };
        if let Some(&key) = of_access.pools.iter().find(same) {
            return key;
        }
        let (links, waiters) = (Vec::new(), Vec::new());
        let pool = Pool {
            access,
            db,
            protocol,
            links,
            idle: Vec::new(),
            dedicated: 0,
            borrowed: 0,
            waiters,
            clients: 0,
            credential_checked_at: None,
            retried_at: Millis::default(),
            hello: None,
            permits: Permits::default(),
        };
        let key = pools.insert(pool);
        of_access.pools.push(key);
        key
    }

    /// The anonymous pool whose links probe an instance; it is created if necessary.
    pub(crate) fn anonymous_pool(&mut self, instance: InstanceKey) -> PoolKey {
        let access = self.anonymous(instance);
        self.pool(access, 0, Protocol::Resp2)
    }

    /// The pools of an access.
    pub(crate) fn pools_of_access(&self, access: AccessKey) -> Vec<PoolKey> {
        let access = self.access.get(access);
        access.map_or_else(Vec::new, |access| access.pools.clone())
    }

    /// A handshake of a pool was refused. Returns its instance, and its user if it has a
    /// credential.
    pub(crate) fn refuse_access(
        &mut self,
        pool: PoolKey,
        now: Millis,
    ) -> Option<(InstanceKey, Option<Vec<u8>>)> {
        let access = self.access.get_mut(self.pools.get(pool)?.access)?;
        let account = self.accounts.get(access.account);
        let account = account.filter(|account| !account.is_anonymous());
        access.refuse(account.is_none(), now);
        Some((access.instance, account.map(|it| it.name().to_vec())))
    }

    /// Notes that an instance requires a login. Returns the access of its anonymous clients.
    pub(crate) fn refuse_anonymous(
        &mut self,
        tenant: TenantKey,
        id: InstanceId,
        now: Millis,
    ) -> Option<AccessKey> {
        let instance = *self.by_id.get(&(tenant, id))?;
        let key = self.anonymous(instance);
        self.access.get_mut(key)?.refuse(true, now);
        Some(key)
    }

    /// The instance accepted the credential of this access.
    pub(crate) fn accept(&mut self, access: AccessKey) {
        if let Some(access) = self.access.get_mut(access) {
            access.accept();
        }
    }

    /// The pools of an instance.
    pub(super) fn pools_of(&self, of: InstanceKey) -> impl Iterator<Item = &Pool> {
        let places = self.by_place.range((of, AccountKey::FIRST)..);
        let places = places.take_while(move |((instance, _), _)| *instance == of);
        let places = places.filter_map(|(_, &key)| self.access.get(key));
        let keys = places.flat_map(|access| &access.pools);
        keys.filter_map(|&key| self.pools.get(key))
    }

    /// Calls `work` for each pool of an instance.
    pub(crate) fn with_pools_of(&mut self, of: InstanceKey, mut work: impl FnMut(&mut Pool)) {
        let places = self.by_place.range((of, AccountKey::FIRST)..);
        for (_, &key) in places.take_while(|((instance, _), _)| *instance == of) {
            let pools = self.access.get(key).map(|access| &access.pools);
            for &key in pools.into_iter().flatten() {
                if let Some(pool) = self.pools.get_mut(key) {
                    work(pool);
                }
            }
        }
    }

    /// The access of a pool.
    pub(crate) fn access_at(&self, pool: PoolKey) -> Option<&Access> {
        self.access.get(self.pools.get(pool)?.access)
    }

    pub(crate) fn account_at(&self, pool: PoolKey) -> Option<&Account> {
        self.accounts.get(self.access_at(pool)?.account)
    }

    pub(crate) fn instance_at(&self, pool: PoolKey) -> Option<&Instance> {
        self.instances.get(self.access_at(pool)?.instance)
    }

    /// The key of a pool's access; `NONE`: the pool is gone.
    pub(crate) fn access_key(&self, pool: PoolKey) -> AccessKey {
        let pool = self.pools.get(pool);
        pool.map_or(AccessKey::NONE, |pool| pool.access)
    }

    /// The account of a pool.
    pub(crate) fn account_of(&self, pool: PoolKey) -> Option<AccountKey> {
        Some(self.access_at(pool)?.account)
    }

    /// The instance of a pool.
    pub(crate) fn instance_of(&self, pool: PoolKey) -> Option<InstanceKey> {
        Some(self.access_at(pool)?.instance)
    }

    /// The pools of these instances.
    pub(crate) fn pools_at(&self, which: &HashSet<InstanceKey>) -> Vec<PoolKey> {
        let mut keys = self.pools.keys();
        keys.retain(|&key| self.instance_of(key).is_some_and(|it| which.contains(&it)));
        keys
    }

    /// Does this access have a ready link that takes requests, for any database and protocol?
    pub(crate) fn has_ready(&self, access: AccessKey, links: &Links) -> bool {
        let pools = self.access.get(access).map(|it| &it.pools);
        let pools = pools.into_iter().flatten();
        let pools = pools.filter_map(|&key| self.pools.get(key));
        let mut keys = pools.flat_map(|pool| &pool.links);
        let open = |it: &Link| it.is_ready() && it.is_open();
        keys.any(|&key| links.get(key).is_some_and(open))
    }

    pub(crate) fn has_account(&self, account: AccountKey) -> bool {
        self.accounts.contains(account)
    }

    pub(crate) fn has_pool(&self, pool: PoolKey) -> bool {
        self.pools.contains(pool)
    }

    /// The user's name as the server knows it: without an account it is the default user.
    pub(crate) fn user(&self, account: AccountKey) -> &[u8] {
        self.accounts.get(account).map_or(b"default", Account::name)
    }

    /// Is a client of this account logged in with a credential?
    pub(crate) fn is_logged_in(&self, account: AccountKey) -> bool {
        let account = self.accounts.get(account);
        account.is_some_and(|account| !account.is_anonymous())
    }

    /// The tenant of an account; `NONE` if the account does not exist.
    #[inline]
    pub(crate) fn tenant_of_account(&self, account: AccountKey) -> TenantSlot {
        let account = self.accounts.get(account);
        account.map_or(TenantSlot::NONE, |account| account.tenant)
    }

    /// Counts that a client changes its account; `NONE`: it has none. Returns `false`, and counts
    /// nothing, if the new tenant has reached its limit on clients.
    pub(crate) fn change_account(&mut self, from: AccountKey, to: AccountKey) -> bool {
        let (old, new) = (self.tenant_of_account(from), self.tenant_of_account(to));
        if old != new {
            let tenant = self.tenants.get_mut(new);
            if tenant.is_some_and(|it| !it.take(Use::Client, it.limits.clients)) {
                return false;
            }
            self.release(old, Use::Client);
        }
        if let Some(account) = self.accounts.get_mut(from) {
            account.clients -= 1;
        }
        if let Some(account) = self.accounts.get_mut(to) {
            account.clients += 1;
        }
        true
    }

    /// Counts that a client changes its pool; `NONE`: it has none.
    pub(crate) fn change_pool(&mut self, from: PoolKey, to: PoolKey) {
        for (key, more) in [(from, false), (to, true)] {
            let Some(pool) = self.pools.get_mut(key) else {
                continue;
            };
            let access = self.access.get(pool.access);
            let instance = access.and_then(|it| self.instances.get_mut(it.instance));
            let counts = [Some(&mut pool.clients), instance.map(|it| &mut it.clients)];
            for count in counts.into_iter().flatten() {
                *count = if more { *count + 1 } else { *count - 1 };
            }
        }
    }

    /// Removes an unused access, and its account if that has no other use: a refused login may have
    /// created both.
    pub(crate) fn forget_unused(&mut self, key: AccessKey) {
        if self.access.get(key).is_some_and(Access::is_unused)
            && let Some(access) = self.access.remove(key)
        {
            self.by_place.remove(&(access.instance, access.account));
            if let Some(account) = self.accounts.get_mut(access.account) {
                account.accesses -= 1;
            }
            self.forget_unused_account(access.account);
        }
    }

    pub(super) fn forget_unused_account(&mut self, key: AccountKey) {
        let unused = |it: &&Account| it.clients == 0 && it.accesses == 0;
        if let Some(account) = self.accounts.get(key).filter(unused) {
            let identity = (account.tenant, account.credential.clone());
            self.by_identity.remove(&identity);
            self.accounts.remove(key);
        }
    }
}
