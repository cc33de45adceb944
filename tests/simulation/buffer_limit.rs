//! Who goes when a worker keeps too much: of the clients that have not logged in, one that keeps
//! more than a login needs; without them, the largest client of the tenant that uses most of its
//! share.

use elika::proxy::{Bound, ClientSurvey, Notice, Wanted};

use super::redis::Moment;
use super::world::World;

/// What a client may keep before its login without being the first to go, bytes.
pub(crate) const LOGIN_BYTES_MAX: usize = 4 * 1024;

/// What comes in a call is not all that changes in it: the proxy says something, too, bytes.
const MARGIN_BYTES: usize = 4 * 1024;

/// What a worker kept for its clients before a call that may have brought it to its ceiling.
#[derive(Debug)]
pub(crate) struct Before {
    clients: Vec<ClientSurvey>,
    evicted: u64,
    /// Bytes that came in the call, and of which client, if that was it.
    came: usize,
    from: Option<u64>,
}

impl Before {
    /// What is kept at most for the tenant of a client when the ceiling is looked at.
    fn most_for(&self, client: &ClientSurvey, of: fn(&ClientSurvey) -> usize) -> usize {
        let its = self.clients.iter().filter(|it| it.tenant == client.tenant);
        its.map(of).sum::<usize>() + self.came + MARGIN_BYTES
    }

    /// What is kept at least. Only what a client itself sends changes what is kept of its requests.
    fn least_for(&self, client: &ClientSurvey, of: fn(&ClientSurvey) -> usize) -> usize {
        let its = self.clients.iter().filter(|it| it.tenant == client.tenant);
        let its: usize = its.filter(|it| Some(it.id) != self.from).map(of).sum();
        let gone = self.from.map_or(self.came, |_| 0);
        its.saturating_sub(gone + MARGIN_BYTES)
    }
}

impl World {
    /// Notes what a worker keeps, if that and what comes now may be too much.
    pub(crate) fn before(&mut self, node: usize, came: usize, from: Option<u64>) {
        let settings = &self.plan.settings;
        let least = settings.worker_buffer_bytes_max;
        let least = least.min(settings.worker_outbound_bytes_max) / 2;
        let worker = &mut self.nodes[node];
        worker.kept += came;
        worker.before = None;
        if worker.kept > least {
            let clients = worker.machine.survey(&Wanted::Clients(usize::MAX, None));
            let clients = clients.clients;
            worker.kept = clients.iter().map(|it| it.kept_bytes).sum::<usize>() + came;
            let evicted = worker.evicted();
            worker.before = (worker.kept > least).then_some(Before {
                clients,
                evicted,
                came,
                from,
            });
        }
    }

    /// The call is over: hears at once who had to go.
    pub(crate) fn after(&mut self, node: usize) -> Result<(), String> {
        let evicted = self.nodes[node].evicted();
        let before = self.nodes[node].before.as_ref();
        // Which of several went first is not known.
        if before.is_some_and(|before| evicted == before.evicted + 1) {
            self.actions(node)?;
        }
        self.nodes[node].before = None;
        Ok(())
    }

    /// A client had to go at a ceiling of its worker: was it its turn?
    pub(crate) fn check_ceiling(&mut self, node: usize, notice: &Notice) -> Result<(), String> {
        let of: fn(&ClientSurvey) -> usize = match notice.bound {
            Bound::WorkerOutbound => |it| it.outbound_bytes,
            Bound::WorkerBuffer => |it| it.kept_bytes,
            _ => return Ok(()),
        };
        // A line without a client only counts suppressed lines.
        let Some(client) = &notice.client else {
            return Ok(());
        };
        let Some(before) = self.nodes[node].before.take() else {
            return Ok(());
        };
        let victim = before.clients.iter().find(|it| it.id == client.id);
        let Some(victim) = victim.filter(|it| has_login(it) == Some(true)) else {
            return Ok(());
        };
        let margin = before.came + MARGIN_BYTES;
        let others = (before.clients.iter())
            .filter(|it| it.id != victim.id && Some(it.id) != before.from && of(it) > 0);
        let mut had_choice = false;
        for other in others {
            if has_login(other) == Some(false) {
                had_choice = true;
                if of(other) > LOGIN_BYTES_MAX {
                    return Err(format!("{victim:?} had to go before {other:?}"));
                }
            } else if other.tenant == victim.tenant {
                if of(other) > of(victim) + margin {
                    return Err(format!("{victim:?} had to go though {other:?} is larger"));
                }
            } else if has_login(other) == Some(true) {
                had_choice = true;
                let (its, others) = (before.most_for(victim, of), before.least_for(other, of));
                let most = self.shares_of(victim).min().unwrap_or(usize::MAX);
                let least = self.shares_of(other).max().unwrap_or(usize::MAX);
                if (its as u128) * (least as u128) < (others as u128) * (most as u128) {
                    return Err(format!(
                        "{victim:?} had to go, though its tenant keeps {its} of {most}, and that \
                         of {other:?} {others} of {least}"
                    ));
                }
            }
        }
        self.choices += u64::from(had_choice);
        Ok(())
    }

    /// The shares that the tenant of a client may have on its worker.
    fn shares_of(&self, it: &ClientSurvey) -> impl Iterator<Item = usize> {
        let settings = &self.plan.settings;
        let (all, ceiling) = (
            settings.tenant_buffer_bytes_max,
            settings.worker_buffer_bytes_max,
        );
        let tenant = self
            .tenants
            .iter()
            .position(|tenant| Some(&tenant.key) == it.tenant.as_ref());
        let since = Moment {
            ms: self.now.ms.saturating_sub(1_000),
            ..Moment::default()
        };
        let limits = tenant.map(|tenant| self.view().limits(tenant, since));
        let own = limits.into_iter().flatten().map(move |limits| {
            let own = limits.tenant_buffer_bytes.map(|own| own as usize);
            own.unwrap_or(all).min(ceiling)
        });
        Vec::from_iter(own).into_iter()
    }
}

/// Has it logged in? `None`: its server may let anybody in as that user, or not.
fn has_login(it: &ClientSurvey) -> Option<bool> {
    match &*it.user {
        _ if it.tenant.is_none() => Some(false),
        "default" => None,
        _ => Some(true),
    }
}
