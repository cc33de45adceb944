//! How we are connected to backends: the accounts (users) on instances, and the pools of
//! connections.
//!
//! ```text
//!   Tenant 1 -- n Instance 1 -- n Account (user) 1 -- n Pool (db, protocol) 1 -- n Backend
//! ```
//! A pool never mixes tenants, users, databases or protocol versions, so no session can change
//! what another one sees.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::cluster::{InstanceId, TenantKey};
use crate::resp::Protocol;

use super::backend::Backend;
use super::handshake::{Credential, HelloReply};
use super::instance::Instance;
use super::key::{AccountKey, BackendKey, ClientKey, InstanceKey, PoolKey, TenantSlot};
use super::settings::Millis;
use super::table::Table;
use super::tenant::{DeniedLists, Tenant};

/// How long a backend that refused the default user is not asked again, ms.
const REFUSAL_MS: u64 = 1_000;

/// One user of an instance. The user `None` is who one is without logging in.
#[derive(Debug)]
pub(super) struct Account {
    pub instance: InstanceKey,
    pub user: Option<Box<[u8]>>,
    /// The last password that the backend accepted, for new connections.
    pub credential: Option<Arc<Credential>>,
    /// A handshake as this user went well, and none was refused since.
    pub open: bool,
    /// Counts the passwords that were accepted one after the other: clients and connections have
    /// the number of the one they came in with.
    pub epoch: u32,
    /// Who came in with an earlier password than this is logged out: it was refused since.
    pub valid_from: u32,
    /// Until when, and in which words, the backend's last refusal is repeated: that a login is
    /// needed, or, of a server that is full, that it is.
    pub refused: Option<(Millis, String)>,
    pub pools: Vec<PoolKey>,
    /// Clients that are this user.
    pub clients: u32,
    /// Clients that want to become, or to go on as, this user.
    pub waiting: u32,
    /// Its connections being opened.
    pub connecting: u32,
    /// Clients whose login waits for a connection being opened.
    pub logins: VecDeque<ClientKey>,
}

impl Account {
    /// The name the backend knows: without login one is the default user.
    pub(super) fn name(&self) -> &[u8] {
        self.user.as_deref().unwrap_or(b"default")
    }

    /// The backend refused what a connection of this epoch came in with: that login is over, and
    /// those before it; or nobody may be the default user for a while.
    pub(super) fn refuse(&mut self, epoch: u32, text: String, now: Millis) {
        self.valid_from = self.valid_from.max(epoch.saturating_add(1));
        if epoch == self.epoch {
            self.open = false;
            self.refused = Some((now.after(REFUSAL_MS), text));
            self.credential = None;
            self.epoch = self.valid_from;
        }
    }

    /// The backend accepted this credential.
    pub(super) fn accept(&mut self, credential: Option<Arc<Credential>>) {
        self.open = true;
        self.refused = None;
        if self.credential != credential {
            // After a refusal nobody has the number yet.
            self.epoch = self
                .epoch
                .saturating_add(u32::from(self.credential.is_some()));
            self.credential = credential;
        }
    }
}

/// The connections of this worker for one (account, db, protocol).
#[derive(Debug)]
pub(super) struct Pool {
    pub account: AccountKey,
    pub db: u32,
    pub protocol: Protocol,
    /// Shared connections, being opened or ready.
    pub backends: Vec<BackendKey>,
    /// Connections that were a client's own and hold nothing; the last is taken first.
    pub idle: Vec<BackendKey>,
    /// Connections that are or were a client's own.
    pub dedicated: usize,
    /// Clients that wait for a connection of their own, in order.
    pub line: VecDeque<Turn>,
    /// Clients whose session change waits for a connection of this pool.
    pub waiters: Vec<ClientKey>,
    /// Clients that use this pool.
    pub clients: u32,
    /// When somebody last had to be sent round a big reply.
    pub led_round_at: Millis,
    /// What the last handshake said to HELLO.
    pub hello: Option<HelloReply>,
}

/// A client's place in the line for a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub client: ClientKey,
    pub since: Millis,
}

impl Pool {
    /// All connections: shared ones, and clients' own.
    pub(super) fn connections(&self) -> usize {
        self.backends.len() + self.dedicated
    }
}

/// A user of an instance; `None` is who one is without logging in.
pub(super) type UserId = (InstanceKey, Option<Box<[u8]>>);

/// The tables of this file, with what keeps them consistent. Ordered, so that the same calls find
/// the same things in the same order.
#[derive(Debug, Default)]
pub(super) struct Pools {
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
    by_user: BTreeMap<UserId, AccountKey>,
}

impl Pools {
    pub(super) fn account(&mut self, instance: InstanceKey, user: Option<&[u8]>) -> AccountKey {
        let id: UserId = (instance, user.map(Into::into));
        let user = id.1.clone();
        let accounts = &mut self.accounts;
        *self.by_user.entry(id).or_insert_with(|| {
            accounts.insert(Account {
                instance,
                user,
                credential: None,
                open: false,
                epoch: 0,
                valid_from: 0,
                refused: None,
                pools: Vec::new(),
                clients: 0,
                waiting: 0,
                connecting: 0,
                logins: VecDeque::new(),
            })
        })
    }

    /// The pool, made if need be. `NONE` if the account is gone.
    pub(super) fn pool(&mut self, account: AccountKey, db: u32, protocol: Protocol) -> PoolKey {
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
        let (backends, waiters) = (Vec::new(), Vec::new());
        let pool = Pool {
            account,
            db,
            protocol,
            backends,
            idle: Vec::new(),
            dedicated: 0,
            line: VecDeque::new(),
            waiters,
            clients: 0,
            led_round_at: Millis::default(),
            hello: None,
        };
        let key = pools.insert(pool);
        of_account.pools.push(key);
        key
    }

    pub(super) fn account_of(&self, pool: PoolKey) -> Option<&Account> {
        self.accounts.get(self.pools.get(pool)?.account)
    }

    pub(super) fn account_of_mut(&mut self, pool: PoolKey) -> Option<&mut Account> {
        self.accounts.get_mut(self.pools.get(pool)?.account)
    }

    pub(super) fn instance_of_pool(&self, pool: PoolKey) -> Option<&Instance> {
        self.instances.get(self.account_of(pool)?.instance)
    }

    /// A ready connection as this user, in whatever database and protocol. One that is stuck in
    /// a big reply is the last choice.
    pub(super) fn ready_of(
        &self,
        account: AccountKey,
        backends: &Table<BackendKey, Backend>,
        now: Millis,
    ) -> Option<BackendKey> {
        let account = self.accounts.get(account)?;
        let pools = account.pools.iter().filter_map(|&key| self.pools.get(key));
        let keys = pools.flat_map(|pool| &pool.backends).copied();
        let ready = keys.filter_map(|key| Some((key, backends.get(key)?)));
        let best = ready.filter(|(_, backend)| backend.is_ready() && backend.is_open());
        best.min_by_key(|(_, backend)| backend.drawbacks(now))
            .map(|(key, _)| key)
    }

    /// Forgets pools and accounts that nobody uses, and what the registry has dropped.
    pub(super) fn sweep(&mut self, backends: &Table<BackendKey, Backend>) {
        // One that is out of its pool and still owes something is the pool's all the same.
        let used: HashSet<PoolKey> = backends.iter().map(|(_, backend)| backend.pool).collect();
        let unused = |pool: &Pool| pool.clients == 0 && pool.waiters.is_empty();
        for key in self.pools.keys() {
            if !used.contains(&key)
                && self.pools.get(key).is_some_and(unused)
                && self
                    .account_of(key)
                    .is_none_or(|account| account.connecting == 0)
                && let Some(pool) = self.pools.remove(key)
                && let Some(account) = self.accounts.get_mut(pool.account)
            {
                account.pools.retain(|&other| other != key);
            }
        }
        let accounts = &mut self.accounts;
        self.by_user.retain(|_, &mut key| {
            let used = accounts.get(key).is_some_and(|account| {
                account.clients + account.waiting + account.connecting > 0
                    || !account.pools.is_empty()
            });
            if !used {
                accounts.remove(key);
            }
            used
        });
        self.sweep_instances();
        self.sweep_tenants();
    }
}

/// A ready connection of a pool.
pub(super) fn ready(pool: &Pool, backends: &Table<BackendKey, Backend>) -> Option<BackendKey> {
    let is_ready = |key: &BackendKey| backends.get(*key).is_some_and(Backend::is_ready);
    pool.backends.iter().copied().find(is_ready)
}
