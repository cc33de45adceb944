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
pub(crate) mod admission;
pub(crate) mod choice;
mod dedicated;
pub(crate) mod health;
mod instances;
pub(crate) mod invariants;
mod links;
pub(crate) mod logins;
pub(crate) mod moves;
mod nodes;
mod permits;
mod queries;
mod queue;
mod stats;
mod tenants;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::cluster::{Balancer, InstanceId, Snapshot, TenantKey};
use crate::link::links::Links;
use crate::store::key::{AccessKey, AccountKey, InstanceKey, PoolKey, TenantSlot};
use crate::store::random::Random;
use crate::store::table::Table;
use crate::store::time::Millis;
use crate::upstream::access::Access;
use crate::upstream::account::{Account, Identity};
use crate::upstream::instance::Instance;
use crate::upstream::logins::Tokens;
use crate::upstream::permits::PermissionProbe;
use crate::upstream::pool::Pool;
use crate::upstream::tenant::{DeniedLists, Tenant};
use crate::upstream::wait_queues::WaitQueues;

/// What of the machine's settings holds for the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The number of this worker in the process, from 0.
    pub worker: u16,
    /// How a client's instance is chosen among its tenant's.
    pub balancer: Balancer,
    /// Links opened for logins and SELECTs, per second.
    pub logins_per_second: u32,
    /// Dedicated links of one tenant on this worker.
    pub dedicated_max: u32,
    /// Links to one instance, shared and dedicated together.
    pub instance_connections_max: u32,
    /// The timeout of a connect, for all addresses of an instance.
    pub connect_ms: u64,
    /// The seed of the random numbers: jitter of reconnects, and the choice of an instance.
    pub seed: u64,
}

/// The tables and their indexes. The maps are ordered, so that the same calls give the same
/// results.
#[derive(Debug)]
pub(crate) struct Upstreams {
    rules: Rules,
    /// The view of the clusters that the tables follow.
    snapshot: Arc<Snapshot>,
    tenants: Table<TenantSlot, Tenant>,
    instances: Table<InstanceKey, Instance>,
    accounts: Table<AccountKey, Account>,
    access: Table<AccessKey, Access>,
    pools: Table<PoolKey, Pool>,
    /// The requests of some tenant must be checked one by one.
    any_checked: bool,
    by_tenant: BTreeMap<TenantKey, TenantSlot>,
    /// The ends of pauses of tenants that this worker does not know yet.
    early_pauses: BTreeMap<TenantKey, Millis>,
    denied_lists: DeniedLists,
    by_id: BTreeMap<(TenantKey, InstanceId), InstanceKey>,
    by_identity: BTreeMap<Identity, AccountKey>,
    by_place: BTreeMap<(InstanceKey, AccountKey), AccessKey>,
    /// The tokens for opening links for logins and SELECTs, and the instances that wait for one.
    tokens: Tokens,
    /// Permission probes that are in flight.
    permission_probes: Vec<PermissionProbe>,
    /// Clients that wait for dedicated links.
    queues: WaitQueues,
    /// Some instance has a health check due, because of a reply to a request.
    suspects: bool,
    /// Some instance may not be up: the rounds that probe instances run even without requests.
    probing: bool,
    /// Counts the changes of the slots of Redis Clusters; 0: there is no such cluster.
    topologies: u32,
    /// A label has said what the clients of an instance see.
    any_front: bool,
    /// Some server has blocking commands that the table does not have.
    learned_any: bool,
    /// Random numbers for jitter and for the choice of an instance.
    random: Random,
}

impl Upstreams {
    pub(crate) fn new(snapshot: Arc<Snapshot>, rules: Rules) -> Self {
        let mut upstreams = Self {
            rules,
            snapshot: Arc::default(),
            tenants: Table::default(),
            instances: Table::default(),
            accounts: Table::default(),
            access: Table::default(),
            pools: Table::default(),
            any_checked: false,
            by_tenant: BTreeMap::new(),
            early_pauses: BTreeMap::new(),
            denied_lists: DeniedLists::default(),
            by_id: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            by_place: BTreeMap::new(),
            tokens: Tokens::full(rules.logins_per_second),
            permission_probes: Vec::new(),
            queues: WaitQueues::default(),
            suspects: false,
            probing: true,
            topologies: 0,
            any_front: false,
            learned_any: false,
            random: Random::new(rules.seed),
        };
        upstreams.apply_snapshot(snapshot, Millis::default());
        upstreams
    }

    /// Removes unused pools, accesses and accounts, and the instances and tenants that the registry
    /// has removed.
    pub(crate) fn sweep(&mut self, links: &Links) {
        // A retired link with outstanding replies still belongs to its pool.
        let used = links.iter().map(|(_, link)| link.pool);
        // A client of a Redis Cluster may wait for a dedicated link of a node's pool.
        let queued = self.queues.keys().map(|(_, pool)| pool);
        let used: HashSet<PoolKey> = used.chain(queued).collect();
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

#[cfg(test)]
mod tests;
