//! How we are connected to backends: the accounts (users with a credential) on instances, and the
//! pools of connections.
//!
//! ```text
//!   Tenant 1 -- n Instance 1 -- n Account (credential) 1 -- n Pool (db, protocol) 1 -- n Backend
//! ```
//! A pool never mixes tenants, users, passwords, databases or protocol versions, so no session can
//! change what another one sees, and a password that the server no longer accepts serves nobody as
//! soon as its own connections have ended.

mod instances;
mod tenants;

use crate::cluster::Snapshot;
use crate::cluster::{InstanceId, TenantKey};
use crate::link::credential::Identity;
use crate::link::link::Link;
use crate::link::links::Links;
use crate::link::role::{Listed, Role};
use crate::resp::Protocol;
use crate::store::key::{AccountKey, InstanceKey, LinkKey, PoolKey, TenantSlot};
use crate::store::random::Random;
use crate::store::table::Table;
use crate::store::time::Millis;
use crate::upstream::account::Account;
use crate::upstream::instance::Instance;
use crate::upstream::logins::Tokens;
use crate::upstream::permits::Inquiry;
use crate::upstream::permits::Permits;
use crate::upstream::pool::Pool;
use crate::upstream::tenant::{DeniedLists, Tenant};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

/// The tables, with what keeps them consistent. Ordered, so that the same calls find the same
/// things in the same order.
#[derive(Debug)]
pub(crate) struct Upstreams {
    /// The view of the clusters that the tables follow.
    pub snapshot: Arc<Snapshot>,
    pub tenants: Table<TenantSlot, Tenant>,
    pub instances: Table<InstanceKey, Instance>,
    pub accounts: Table<AccountKey, Account>,
    pub pools: Table<PoolKey, Pool>,
    /// Some tenant's requests must be looked at one by one.
    pub any_gate: bool,
    pub by_tenant: BTreeMap<TenantKey, TenantSlot>,
    /// Pauses of tenants that the next picture will have: until when.
    pub early_pauses: BTreeMap<TenantKey, Millis>,
    pub denied_lists: DeniedLists,
    pub by_id: BTreeMap<(TenantKey, InstanceId), InstanceKey>,
    by_identity: BTreeMap<Identity, AccountKey>,
    /// What may be opened for logins and SELECTs, and the instances that wait to do so.
    pub tokens: Tokens,
    /// What servers are asked about the permissions of users.
    pub inquiries: Vec<Inquiry>,
    /// Clients in the wait queues of all pools.
    queued: usize,
    /// Some instance is suspected not to do as it should.
    pub suspects: bool,
    /// This worker asks after an instance that is not known to be there.
    pub probing: bool,
    /// Some server has blocking commands that the table does not have.
    pub learned_any: bool,
    /// Jitter, and the choice of an instance.
    pub random: Random,
}

impl Upstreams {
    pub(crate) fn new(snapshot: Arc<Snapshot>, logins_per_second: u32, seed: u64) -> Self {
        let mut upstreams = Self {
            snapshot: Arc::default(),
            tenants: Table::default(),
            instances: Table::default(),
            accounts: Table::default(),
            pools: Table::default(),
            any_gate: false,
            by_tenant: BTreeMap::new(),
            early_pauses: BTreeMap::new(),
            denied_lists: DeniedLists::default(),
            by_id: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            tokens: Tokens::full(logins_per_second),
            inquiries: Vec::new(),
            queued: 0,
            suspects: false,
            probing: true,
            learned_any: false,
            random: Random::new(seed),
        };
        upstreams.follow(snapshot, Millis::default());
        upstreams
    }

    /// A client waits for a link of its own.
    pub(crate) fn enqueued(&mut self) {
        self.queued += 1;
    }

    /// It waits no more.
    pub(crate) fn dequeued(&mut self) {
        self.queued -= 1;
    }

    /// Clients that wait for a link of their own.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn any_queued(&self) -> bool {
        self.queued > 0
    }

    /// The account, made if need be.
    pub(crate) fn account(&mut self, identity: Identity) -> AccountKey {
        let (instance, credential) = identity.clone();
        let accounts = &mut self.accounts;
        *self.by_identity.entry(identity).or_insert_with(|| {
            accounts.insert(Account {
                instance,
                credential,
                open: false,
                refused: None,
                pools: Vec::new(),
                clients: 0,
                waiting: 0,
            })
        })
    }

    /// A link of a pool has another role.
    pub(crate) fn list(&mut self, pool: PoolKey, key: LinkKey, before: Role, role: Role) {
        // One that is listed where it was keeps its place there.
        if before.listed() != role.listed() || before.listed() == Listed::Nowhere {
            self.unlist(pool, key, before);
            self.enlist(pool, key, role);
        }
    }

    /// A pool has a link of this role.
    pub(crate) fn enlist(&mut self, pool: PoolKey, key: LinkKey, role: Role) {
        if let Some(pool) = self.pools.get_mut(pool) {
            match role.listed() {
                Listed::Shared => pool.links.push(key),
                Listed::Idle => pool.idle.push(key),
                Listed::Nowhere => {}
            }
            pool.dedicated += usize::from(role.counts_as_dedicated());
            pool.borrowed += usize::from(matches!(role, Role::Borrowed(_)));
        }
    }

    /// It has it no more.
    pub(crate) fn unlist(&mut self, pool: PoolKey, key: LinkKey, role: Role) {
        if let Some(pool) = self.pools.get_mut(pool) {
            match role.listed() {
                Listed::Shared => pool.links.retain(|&other| other != key),
                Listed::Idle => pool.idle.retain(|&other| other != key),
                Listed::Nowhere => {}
            }
            pool.dedicated -= usize::from(role.counts_as_dedicated());
            pool.borrowed -= usize::from(matches!(role, Role::Borrowed(_)));
        }
    }

    /// The pools of an instance.
    pub(crate) fn pools_of(&self, of: InstanceKey) -> impl Iterator<Item = &Pool> {
        let accounts = self.by_identity.range((of, None)..);
        let accounts = accounts.take_while(move |((instance, _), _)| *instance == of);
        let accounts = accounts.filter_map(|(_, &key)| self.accounts.get(key));
        let keys = accounts.flat_map(|account| &account.pools);
        keys.filter_map(|&key| self.pools.get(key))
    }

    /// Does something with each pool of an instance.
    pub(crate) fn with_pools_of(&mut self, of: InstanceKey, mut work: impl FnMut(&mut Pool)) {
        let accounts = self.by_identity.range((of, None)..);
        for (_, &key) in accounts.take_while(|((instance, _), _)| *instance == of) {
            let pools = self.accounts.get(key).map(|account| &account.pools);
            for &key in pools.into_iter().flatten() {
                if let Some(pool) = self.pools.get_mut(key) {
                    work(pool);
                }
            }
        }
    }

    /// The account of clients without a login, if there is one already.
    pub(crate) fn anonymous(&self, instance: InstanceKey) -> Option<AccountKey> {
        self.by_identity.get(&(instance, None)).copied()
    }

    /// Forgets an account that a refused login made, if nothing else is of it.
    pub(crate) fn forget_unused(&mut self, key: AccountKey) {
        let unused = |it: &&Account| it.clients + it.waiting == 0 && it.pools.is_empty();
        if let Some(account) = self.accounts.get(key).filter(unused) {
            let identity = (account.instance, account.credential.clone());
            self.by_identity.remove(&identity);
            self.accounts.remove(key);
        }
    }

    /// The pool, made if need be. `NONE` if the account is gone.
    pub(crate) fn pool(&mut self, account: AccountKey, db: u32, protocol: Protocol) -> PoolKey {
        let Self {
            accounts, pools, ..
        } = self;
        let Some(of_account) = accounts.get_mut(account) else {
            return PoolKey::NONE;
        };
        let same = |key: &&PoolKey| {
            pools
                .get(**key)
                .is_some_and(|pool| pool.db == db && pool.protocol == protocol)
        };
        if let Some(&key) = of_account.pools.iter().find(same) {
            return key;
        }
        let (links, waiters) = (Vec::new(), Vec::new());
        let pool = Pool {
            account,
            db,
            protocol,
            links,
            idle: Vec::new(),
            dedicated: 0,
            borrowed: 0,
            line: VecDeque::new(),
            waiters,
            clients: 0,
            asked_about: None,
            led_round_at: Millis::default(),
            hello: None,
            permits: Permits::default(),
        };
        let key = pools.insert(pool);
        of_account.pools.push(key);
        key
    }

    pub(crate) fn account_of(&self, pool: PoolKey) -> Option<&Account> {
        self.accounts.get(self.pools.get(pool)?.account)
    }

    pub(crate) fn instance_of_pool(&self, pool: PoolKey) -> Option<&Instance> {
        self.instances.get(self.account_of(pool)?.instance)
    }

    /// Does this account have a ready connection that takes requests, in whatever database and
    /// protocol?
    pub(crate) fn has_ready(&self, account: AccountKey, links: &Links) -> bool {
        let pools = self.accounts.get(account).map(|it| &it.pools);
        let pools = pools.into_iter().flatten();
        let pools = pools.filter_map(|&key| self.pools.get(key));
        let mut keys = pools.flat_map(|pool| &pool.links);
        let open = |it: &Link| it.is_ready() && it.is_open();
        keys.any(|&key| links.get(key).is_some_and(open))
    }

    /// Forgets pools and accounts that nobody uses, and what the registry has dropped.
    pub(crate) fn sweep(&mut self, links: &Links) {
        // One that is out of its pool and still owes something is the pool's all the same.
        let used: HashSet<PoolKey> = links.iter().map(|(_, link)| link.pool).collect();
        let unused = |pool: &Pool| pool.clients == 0 && pool.waiters.is_empty();
        for key in self.pools.keys() {
            if !used.contains(&key)
                && self.pools.get(key).is_some_and(unused)
                && let Some(pool) = self.pools.remove(key)
                && let Some(account) = self.accounts.get_mut(pool.account)
            {
                account.pools.retain(|&other| other != key);
            }
        }
        let accounts = &mut self.accounts;
        self.by_identity.retain(|_, &mut key| {
            let used = |it: &Account| it.clients + it.waiting > 0 || !it.pools.is_empty();
            let used = accounts.get(key).is_some_and(used);
            if !used {
                accounts.remove(key);
            }
            used
        });
        self.sweep_instances();
        self.sweep_tenants();
    }
}
