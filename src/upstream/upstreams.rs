//! Who clients are, and how we are connected to backends.
//!
//! ```text
//!   Tenant 1 ─┬─ n Account (credential) 1 ─ n ┐
//!             │                               ├─ Access 1 ─ n Pool (db, protocol) 1 ─ n Link
//!             └─ n Instance             1 ─ n ┘
//! ```
//! A client names its account, which says who it is: a user of a tenant, with the credential that
//! it logged in with. It names its pool, too, which says where it is: the pool belongs to the
//! access of that account on one instance. Without a pool a client is still logged in, and has no
//! place: its next request gets it one, if its tenant has an instance. So a client that changes its
//! instance stays who it is, and the links of the new pool authenticate by themselves.
//!
//! A pool never mixes tenants, users, passwords, databases or protocol versions, so no session can
//! change what another one sees, and a password that the server no longer accepts serves nobody as
//! soon as its own connections have ended.

mod accounts;
mod instances;
mod queries;
mod tenants;

use crate::cluster::Snapshot;
use crate::cluster::{InstanceId, TenantKey};
use crate::link::links::Links;
use crate::link::role::{Listed, Role};
use crate::store::key::{AccessKey, AccountKey, InstanceKey, LinkKey, PoolKey, TenantSlot};
use crate::store::random::Random;
use crate::store::table::Table;
use crate::store::time::Millis;
use crate::upstream::access::Access;
use crate::upstream::account::{Account, Identity};
use crate::upstream::instance::Instance;
use crate::upstream::logins::Tokens;
use crate::upstream::permits::Inquiry;
use crate::upstream::pool::Pool;
use crate::upstream::tenant::{DeniedLists, Tenant};
use std::collections::{BTreeMap, HashSet};
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
    pub access: Table<AccessKey, Access>,
    pub pools: Table<PoolKey, Pool>,
    /// Some tenant's requests must be looked at one by one.
    pub any_gate: bool,
    pub by_tenant: BTreeMap<TenantKey, TenantSlot>,
    /// When the pauses of tenants end that the next snapshot lists.
    pub early_pauses: BTreeMap<TenantKey, Millis>,
    pub denied_lists: DeniedLists,
    pub by_id: BTreeMap<(TenantKey, InstanceId), InstanceKey>,
    by_identity: BTreeMap<Identity, AccountKey>,
    by_place: BTreeMap<(InstanceKey, AccountKey), AccessKey>,
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
            access: Table::default(),
            pools: Table::default(),
            any_gate: false,
            by_tenant: BTreeMap::new(),
            early_pauses: BTreeMap::new(),
            denied_lists: DeniedLists::default(),
            by_id: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            by_place: BTreeMap::new(),
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

    /// Forgets pools and accounts that nobody uses, and what the registry has dropped.
    pub(crate) fn sweep(&mut self, links: &Links) {
        // One that is out of its pool and still owes something is the pool's all the same.
        let used: HashSet<PoolKey> = links.iter().map(|(_, link)| link.pool).collect();
        let unused = |pool: &Pool| pool.clients == 0 && pool.waiters.is_empty();
        for key in self.pools.keys() {
            if !used.contains(&key)
                && self.pools.get(key).is_some_and(unused)
                && let Some(pool) = self.pools.remove(key)
                && let Some(access) = self.access.get_mut(pool.access)
            {
                access.pools.retain(|&other| other != key);
            }
        }
        for key in self.access.keys() {
            self.forget_unused(key);
        }
        for key in self.accounts.keys() {
            self.forget_unused_account(key);
        }
        self.sweep_instances();
        self.sweep_tenants();
    }
}
