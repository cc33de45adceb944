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

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::cluster::{InstanceId, TenantKey};
use crate::resp::Protocol;

use crate::link::credential::{Credential, Identity};
use crate::link::handshake::HelloReply;
use crate::link::link::Link;
use crate::link::links::Links;
use crate::store::key::{AccountKey, ClientKey, InstanceKey, LinkKey, PoolKey, TenantSlot};
use crate::store::table::Table;
use crate::store::time::Millis;
use crate::upstream::instance::Instance;
use crate::upstream::permits::Permits;
use crate::upstream::tenant::{DeniedLists, Tenant};

/// How long a backend that refused the default user is not asked again, ms.
const REFUSAL_MS: u64 = 1_000;

/// Clients of one user of an instance that came in with one credential: two passwords of one user
/// are two accounts, and never share a connection.
#[derive(Debug)]
pub(crate) struct Account {
    pub instance: InstanceKey,
    /// What its clients and connections came in with; `None`: without a login.
    pub credential: Option<Arc<Credential>>,
    /// The backend has accepted the credential. Without one: a handshake without a login went
    /// well, and none was refused since.
    pub open: bool,
    /// Until when the backend's last refusal is repeated, and its words: that the credential is
    /// not good any more, that a login is needed, or, of a server that is full, that it is.
    pub refused: Option<(Millis, String)>,
    pub pools: Vec<PoolKey>,
    /// Clients that are logged in to this account.
    pub clients: u32,
    /// Clients whose session change is about this account.
    pub waiting: u32,
}

impl Account {
    /// The user's name as the backend knows it: without a login it is the default user.
    pub(crate) fn name(&self) -> &[u8] {
        let credential = self.credential.as_deref();
        credential.map_or(b"default", Credential::name)
    }

    /// Is it that of clients without a login?
    pub(crate) fn is_anonymous(&self) -> bool {
        self.credential.is_none()
    }

    /// The backend refused a handshake as this account. An account with a credential stays open:
    /// connections that came in before it was changed are served on, as on a server.
    pub(crate) fn refuse(&mut self, text: String, now: Millis) {
        self.refused = Some((now.after(REFUSAL_MS), text));
        self.open &= !self.is_anonymous();
    }

    /// The backend accepted a handshake as this account.
    pub(crate) fn accept(&mut self) {
        (self.open, self.refused) = (true, None);
    }

    /// The backend's words, if a new connection would be refused.
    pub(crate) fn refusal(&self, now: Millis) -> Option<&str> {
        let (until, text) = self.refused.as_ref()?;
        (now < *until).then_some(text)
    }
}

/// The connections of this worker for one (account, db, protocol).
#[derive(Debug)]
pub(crate) struct Pool {
    pub account: AccountKey,
    pub db: u32,
    pub protocol: Protocol,
    /// Shared connections, being opened or ready.
    pub links: Vec<LinkKey>,
    /// Connections that were a client's own and hold nothing; the last is taken first.
    pub idle: Vec<LinkKey>,
    /// Connections that are or were a client's own.
    pub dedicated: usize,
    /// Shared connections that are a client's for one request.
    pub lent: usize,
    /// Clients that wait for a connection of their own, in order.
    pub line: VecDeque<Turn>,
    /// Clients whose session change waits for a connection of this pool.
    pub waiters: Vec<ClientKey>,
    /// Clients that use this pool.
    pub clients: u32,
    /// When its credential was last asked about because it had lost its last connection.
    pub asked_about: Option<Millis>,
    /// When somebody last had to be sent round a big reply.
    pub led_round_at: Millis,
    /// What the last handshake said to HELLO.
    pub hello: Option<HelloReply>,
    /// What its user may do of that which is answered here.
    pub permits: Permits,
}

/// A client's place in the line for a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub client: ClientKey,
    pub since: Millis,
}

impl Pool {
    /// Connections that clients share, those that are lent to one of them included.
    pub(crate) fn shared(&self) -> usize {
        self.links.len() + self.lent
    }
}

/// The tables of this file, with what keeps them consistent. Ordered, so that the same calls find
/// the same things in the same order.
#[derive(Debug, Default)]
pub(crate) struct Pools {
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
}

impl Pools {
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
            lent: 0,
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

/// A ready connection of a pool.
pub(crate) fn ready(pool: &Pool, links: &Links) -> Option<LinkKey> {
    let is_ready = |key: &LinkKey| links.get(*key).is_some_and(Link::is_ready);
    pool.links.iter().copied().find(is_ready)
}
