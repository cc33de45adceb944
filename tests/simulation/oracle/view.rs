//! The data that the oracle reads: the records of the servers, and the history of the registry.

use elika::cluster::{Health, TenantLimits};

use super::super::client::{Login, Sent};
use super::super::clusters::Tenant;
use super::super::plan::Plan;
use super::super::redis::{Execution, Moment, Outcome, Redis, Tag};
use super::super::reports::HealthReport;
use super::super::snapshot::SnapshotRecord;

/// The data that the oracle reads.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) servers: &'a [Redis],
    pub(crate) tenants: &'a [Tenant],
    pub(crate) snapshots: &'a [SnapshotRecord],
    pub(crate) told: &'a [HealthReport],
    /// When requests were answered, ms; and the number of requests without a reply.
    pub(crate) answered: &'a [u64],
    pub(crate) unanswered: usize,
    /// Bytes of all requests.
    pub(crate) sent_bytes: u64,
    pub(crate) now: Moment,
}

impl<'a> View<'a> {
    /// The snapshots that some worker may have used between these moments.
    pub(crate) fn snapshots(
        &self,
        from: Moment,
        to: Moment,
    ) -> impl Iterator<Item = &'a SnapshotRecord> + Clone + use<'a> {
        let followed = self.snapshots.iter().skip(1).map(|next| next.told);
        let ends = followed.chain([None]);
        let all = self.snapshots.iter().zip(ends);
        all.filter(move |(picture, end)| picture.at <= to && end.is_none_or(|end| end >= from))
            .map(|(picture, _)| picture)
    }

    /// The snapshots since then.
    pub(crate) fn since(
        &self,
        from: Moment,
    ) -> impl Iterator<Item = &'a SnapshotRecord> + Clone + use<'a> {
        self.snapshots(from, self.now)
    }

    /// Where and how a request was executed: more than once, if it was retried.
    pub(crate) fn executions(
        &self,
        tag: Tag,
    ) -> impl Iterator<Item = (&'a Redis, &'a Execution)> + use<'a> {
        self.servers.iter().flat_map(move |server| {
            let all = server.executed.get(&tag).into_iter().flatten();
            all.map(move |it| (server, it))
        })
    }

    /// The execution whose reply this is, or else the first.
    pub(crate) fn execution(&self, tag: Tag, reply: &[u8]) -> Option<(&'a Redis, &'a Execution)> {
        let mut all = self.executions(tag);
        let this = { all.by_ref() }.find(|(_, it)| it.reply == reply);
        this.or_else(|| self.executions(tag).next())
    }

    /// The degraded server that refused a request, how and when.
    pub(crate) fn refusals(
        &self,
        tag: Tag,
    ) -> impl Iterator<Item = (&'a Redis, &'static str, Moment)> + use<'a> {
        self.servers.iter().flat_map(move |server| {
            let all = server.refusals.get(&tag).into_iter().flatten();
            all.map(move |(text, at)| (server, *text, *at))
        })
    }

    /// The outcome of the transaction that a request was a part of, and its server.
    pub(crate) fn outcome(&self, tag: Tag) -> Option<(&'a Redis, &'a Outcome)> {
        let servers = self.servers.iter();
        { servers }.find_map(|server| Some((server, server.outcomes.get(&tag)?)))
    }

    pub(crate) fn servers_of(
        &self,
        tenant: usize,
    ) -> impl Iterator<Item = &'a Redis> + Clone + use<'a> {
        let servers = self.servers.iter();
        servers.filter(move |server| server.tenant == tenant)
    }

    /// Whether a password was changed at any of its servers.
    pub(crate) fn has_new_passwords(&self, tenant: usize) -> bool {
        { self.servers_of(tenant) }.any(|server| !server.changes.is_empty())
    }

    /// How unfit the instance of this server was for new clients, as this worker knew; 0 is best.
    pub(crate) fn unfitness(&self, node: usize, server: &Redis, picture: &SnapshotRecord) -> u8 {
        let told = self.told.iter().rev().find(|told| {
            (told.node, &told.instance) == (node, &server.instance)
                && told.tenant == server.tenant_key.as_str()
        });
        let of = |health| match health {
            Health::Unknown | Health::Up => 0,
            Health::Degraded => 1,
            Health::Down => 2,
        };
        let own = told.map_or(Health::Unknown, |told| told.health);
        of(own).max(of(picture.health(server)))
    }

    /// Whether this worker has reported a change of this tenant since then.
    pub(crate) fn has_news(&self, node: usize, tenant: usize, since: Moment) -> bool {
        let key = self.tenants[tenant].key.as_str();
        let mut told = self.told.iter().rev().take_while(|told| told.at >= since);
        told.any(|told| told.node == node && told.tenant == key)
    }

    /// The tenants and users that a login name may have stood for since then. `None`: none.
    pub(crate) fn meanings(&self, login: &Login, since: Moment) -> Vec<Option<(usize, String)>> {
        let mut all: Vec<Option<(usize, String)>> = Vec::new();
        for picture in self.since(since) {
            let meaning = picture.meanings.of(login.name.as_deref());
            let meaning = meaning.map(|(tenant, user)| (tenant, user.to_owned()));
            if !all.contains(&meaning) {
                all.push(meaning);
            }
        }
        all
    }

    /// Whether the tenant had no instance for new clients at some time since then.
    pub(crate) fn lacks_instances(&self, tenant: usize, since: Moment) -> bool {
        let key = &self.tenants[tenant].key;
        { self.since(since) }.any(|picture| !picture.serves(key))
    }

    /// The longest time for which the instance of this server was unusable for new clients, as
    /// workers saw it, until some moment between these, ms.
    pub(crate) fn left_for(&self, server: &Redis, from: Moment, to: Moment) -> Option<u64> {
        let (mut longest, mut since) = (None, None);
        for picture in self.snapshots.iter().take_while(|it| it.at <= to) {
            if !(picture.is_usable(server) && picture.leads_to(server)) {
                since = since.or(Some(picture.at.ms));
                continue;
            }
            let told = picture.told.map_or(to, |told| told.min(to));
            if let Some(since) = since.take().filter(|_| told >= from) {
                longest = longest.max(Some(told.ms - since));
            }
        }
        longest.max(since.map(|since| to.ms - since))
    }

    /// The limits of a tenant that some worker may have used since then.
    pub(crate) fn limits(&self, tenant: usize, since: Moment) -> Vec<&'a TenantLimits> {
        let key = &self.tenants[tenant].key;
        let known = |it: &'a SnapshotRecord| Some(&*it.snapshot.tenant_by_key(key)?.limits);
        let mut all: Vec<&TenantLimits> = self.since(since).filter_map(known).collect();
        if !self.knows(tenant, since) {
            // They apply until all its clients are closed.
            let before = self.snapshots.iter().rev().skip_while(|it| it.at >= since);
            all.extend({ before }.find_map(known));
        }
        all
    }

    /// The first request within the second before: a rate that was exceeded takes a second to
    /// recover, also after a change of the rate.
    pub(crate) fn second_before(&self, at: Moment) -> Moment {
        let from = at.ms.saturating_sub(1_000);
        let news = self.snapshots.iter().map(|it| it.at);
        news.filter(|it| it.ms >= from).fold(at, Moment::min)
    }

    /// Whether it was always listed since then.
    pub(crate) fn knows(&self, tenant: usize, since: Moment) -> bool {
        let key = &self.tenants[tenant].key;
        { self.since(since) }.all(|it| it.snapshot.tenant_by_key(key).is_some())
    }

    /// Whether a tenant had its maximum of clients at any time since then.
    pub(crate) fn was_crowded(&self, tenant: usize, since: Moment) -> bool {
        let at = self.tenants[tenant].count.limit_reached_at;
        at.is_some_and(|at| at >= since)
    }

    /// Whether the tenant was paused since then with the maximum of waiting clients.
    pub(crate) fn made_too_many_wait(&self, tenant: usize, since: Moment) -> bool {
        let tenant = &self.tenants[tenant];
        let full = tenant.count.full_of_waiters.is_some_and(|at| at >= since);
        full && { tenant.pauses.iter() }.any(|pause| pause.since(since))
    }

    /// Whether the tenant's rate of requests was reached, in the second before this request and
    /// since then. Requests that workers hold in advance are not counted.
    pub(crate) fn was_busy(&self, rate: u32, sent: &Sent) -> bool {
        let from = sent.at.ms.saturating_sub(1_000);
        let answered = self.answered.iter().rev().take_while(|at| **at >= from);
        let portions = u32::from(self.plan.workers) * (rate / 100).max(1);
        answered.count() + self.unanswered + portions as usize >= rate as usize
    }

    /// Whether this many bytes went to and from the servers of these tenants.
    pub(crate) fn was_chatty(&self, tenants: &[usize], rate: u64) -> bool {
        let servers = tenants.iter().flat_map(|tenant| self.servers_of(*tenant));
        let bytes: u64 = servers.map(|server| server.bytes).sum();
        bytes + self.sent_bytes >= rate
    }
}
