//! The tenants, instances, accounts and pools of a worker, and how they belong together.
//!
//! ```text
//!   Tenant 1 ─┬─ n Account (credential) 1 ─ n ┐
//!             │                               ├─ Access 1 ─ n Pool (db, protocol) 1 ─ n Link
//!             └─ n Instance             1 ─ n ┘
//! ```
//! A client refers to its account: a user of a tenant, with the credential that the client logged
//! in with. It also refers to its pool, which belongs to that account's access on one instance. A
//! client without a pool is still logged in; its next request gets it an instance, if its tenant
//! has one. So a client that changes its instance keeps its account, and the links of the new pool
//! authenticate with the account's credential.
//!
//! A pool never mixes tenants, users, passwords, databases or protocol versions, so no session can
//! change the state of another one. A password that the server no longer accepts is out of use as
//! soon as the links that authenticated with it have ended.

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

/// The tables and their indexes. The maps are ordered, so that the same calls give the same
/// results.
#[derive(Debug)]
pub(crate) struct Upstreams {
    /// The view of the clusters that the tables follow.
    pub snapshot: Arc<Snapshot>,
    pub tenants: Table<TenantSlot, Tenant>,
    pub instances: Table<InstanceKey, Instance>,
    pub accounts: Table<AccountKey, Account>,
    pub access: Table<AccessKey, Access>,
    pub pools: Table<PoolKey, Pool>,
    /// The requests of some tenant must be checked one by one.
    pub any_gate: bool,
    pub by_tenant: BTreeMap<TenantKey, TenantSlot>,
    /// The ends of pauses of tenants that this worker does not know yet.
    pub early_pauses: BTreeMap<TenantKey, Millis>,
    pub denied_lists: DeniedLists,
    pub by_id: BTreeMap<(TenantKey, InstanceId), InstanceKey>,
    by_identity: BTreeMap<Identity, AccountKey>,
    by_place: BTreeMap<(InstanceKey, AccountKey), AccessKey>,
    /// The tokens for opening links for logins and SELECTs, and the instances that wait for one.
    pub tokens: Tokens,
    /// Permission probes that are in flight.
    pub inquiries: Vec<Inquiry>,
    /// Clients in the wait queues of all pools.
    queued: usize,
    /// Some instance has a health check due, because of a reply to a request.
    pub suspects: bool,
    /// Some instance may not be up: the rounds that probe instances run even without requests.
    pub probing: bool,
    /// Some server has blocking commands that the table does not have.
    pub learned_any: bool,
    /// Random numbers for jitter and for the choice of an instance.
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

    /// Counts a client that joins a wait queue.
    pub(crate) fn enqueued(&mut self) {
        self.queued += 1;
    }

    /// Counts a client that leaves a wait queue.
    pub(crate) fn dequeued(&mut self) {
        self.queued -= 1;
    }

    /// The number of clients in the wait queues of all pools.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    pub(crate) fn any_queued(&self) -> bool {
        self.queued > 0
    }

    /// Updates a pool's lists after a link changed its role.
    pub(crate) fn list(&mut self, pool: PoolKey, key: LinkKey, before: Role, role: Role) {
        // A link that stays in the same list keeps its position.
        if before.listed() != role.listed() || before.listed() == Listed::Nowhere {
            self.unlist(pool, key, before);
            self.enlist(pool, key, role);
        }
    }

    /// Adds a link to its pool's lists and counts.
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

    /// Removes a link from its pool's lists and counts.
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

    /// Removes unused pools, accesses and accounts, and the instances and tenants that the registry
    /// has removed.
    pub(crate) fn sweep(&mut self, links: &Links) {
        // A retired link with outstanding replies still belongs to its pool.
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
