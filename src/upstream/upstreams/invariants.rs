//! What always holds between the tables and the links and clients that they count. For
//! `check_invariants`.

use crate::link::link::{State, Verifying};
use crate::link::links::Links;
use crate::link::role::{Listed, Role};
use crate::store::key::{AccessKey, AccountKey, ClientKey, PoolKey, TenantSlot};
use crate::upstream::tenant::Use;
use crate::upstream::upstreams::Upstreams;

/// What the tables count of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedClient {
    pub account: AccountKey,
    pub pool: PoolKey,
    /// Where its session change leads.
    pub changes_to: Option<AccessKey>,
    /// The tenant whose dedicated link it has.
    pub dedicated: Option<TenantSlot>,
    /// The pool in whose wait queue it is; `NONE`: it waits for no link.
    pub queued: PoolKey,
}

impl Upstreams {
    /// Panics if the tables contradict the clients; `paused` has those that wait for the end of
    /// their tenant's pause.
    pub(crate) fn check_clients(
        &self,
        clients: impl Iterator<Item = CountedClient> + Clone,
        paused: &[(ClientKey, TenantSlot)],
    ) {
        for (key, pool) in self.pools.iter() {
            let its = clients.clone().filter(|it| it.pool == key);
            assert_eq!(its.count(), pool.clients as usize, "{key:?}");
        }
        for (tenant, pool) in self.queues.keys() {
            let queued = clients.clone().filter(|it| it.queued == pool);
            assert_eq!(
                queued.count(),
                self.queues.of(tenant, pool).len(),
                "{pool:?}"
            );
            assert_eq!(tenant, self.tenant_of_pool(pool), "{pool:?}");
        }
        let mut queued = clients.clone().filter(|it| it.queued != PoolKey::NONE);
        assert!(queued.all(|it| self.has_queue(it.queued)));
        for (key, account) in self.accounts.iter() {
            let its = clients.clone().filter(|it| it.account == key);
            assert_eq!(its.count(), account.clients as usize, "{key:?}");
            let accesses = self.access.iter().filter(|(_, it)| it.account == key);
            assert_eq!(accesses.count(), account.accesses as usize, "{key:?}");
        }
        for (key, instance) in self.instances.iter() {
            let its = clients
                .clone()
                .filter(|it| self.instance_of(it.pool) == Some(key));
            assert_eq!(its.count(), instance.clients as usize, "{key:?}");
        }
        for (key, tenant) in self.tenants.iter() {
            let its = clients
                .clone()
                .filter(|it| self.tenant_of_account(it.account) == key);
            assert_eq!(its.count(), tenant.used(Use::Client) as usize, "{key:?}");
            let its = clients.clone().filter(|it| it.dedicated == Some(key));
            assert_eq!(its.count(), tenant.used(Use::Pinned) as usize, "{key:?}");
            let paused = paused.iter().filter(|(_, of)| *of == key);
            assert_eq!(
                paused.count(),
                tenant.used(Use::Waiting) as usize,
                "{key:?}"
            );
        }
        for (key, access) in self.access.iter() {
            let instance = self.instances.get(access.instance);
            let tenant = self.tenant_of_account(access.account);
            assert_eq!(Some(tenant), instance.map(|it| it.slot), "{key:?}");
            let its = clients.clone().filter(|it| it.changes_to == Some(key));
            assert_eq!(its.count(), access.waiting as usize, "{key:?}");
        }
        for client in clients {
            let account = self.account_of(client.pool);
            assert!(account.is_none_or(|account| account == client.account));
        }
    }

    /// Panics if the tables contradict these links.
    pub(crate) fn check_links(&self, links: &Links) {
        for (key, pool) in self.pools.iter() {
            for &link in &pool.links {
                let shared = links.get(link).map(|it| (it.pool, it.role().listed()));
                assert_eq!(shared, Some((key, Listed::Shared)));
            }
            for &link in &pool.idle {
                let link = links.get(link);
                let idle = link.map(|it| (it.pool, it.role(), it.fifo.is_empty()));
                assert_eq!(idle, Some((key, Role::Idle, true)));
            }
            let its = links.iter().filter(|(_, it)| it.pool == key);
            let dedicated = its.filter(|(_, it)| it.role().counts_as_dedicated());
            assert_eq!(dedicated.count(), pool.dedicated, "{key:?}");
            let its = links.iter().filter(|(_, it)| it.pool == key);
            let lent = its.filter(|(_, it)| matches!(it.role(), Role::Borrowed(_)));
            assert_eq!(lent.count(), pool.borrowed, "{key:?}");
        }
        for (key, instance) in self.instances.iter() {
            let ready = links.iter().filter(|(_, it)| it.is_ready());
            let ready = ready.filter(|(_, it)| self.instance_of(it.pool) == Some(key));
            assert_eq!(ready.count(), instance.ready as usize, "{key:?}");
            let (mut verifiers, mut opening) = (0, 0);
            let all = links.iter();
            for (on, link) in all.filter(|(_, it)| it.instance == key && it.is_verifier()) {
                verifiers += 1;
                opening += usize::from(link.is_opening());
                let idle = matches!(link.state, State::Verifying(Verifying::Idle { .. }));
                let listed = instance.logins.idle.contains(&on);
                assert_eq!(idle, listed, "{on:?}");
                assert!(link.fifo.is_empty() && link.outbound.is_empty(), "{on:?}");
            }
            let counted = (instance.logins.verifiers, instance.logins.opening);
            assert_eq!((verifiers, opening), counted, "{key:?}");
        }
    }
}
