//! Which client is closed at a buffer limit of a worker: of the anonymous clients, one that has
//! buffered more than a login needs; without them, the largest client of the tenant that uses most
//! of its share.

use elika::proxy::{ClientStats, Notice, NoticeKind, StatsRequest};

use super::redis::Moment;
use super::world::World;

/// Bytes that an anonymous client may have buffered without being closed first.
pub(crate) const LOGIN_BYTES_MAX: usize = 4 * 1024;

/// Bytes that the proxy may add in one call, besides the bytes that arrive.
const MARGIN_BYTES: usize = 4 * 1024;

/// The buffered bytes of a worker's clients before a call that may reach its limit.
#[derive(Debug)]
pub(crate) struct Before {
    clients: Vec<ClientStats>,
    evicted: u64,
    /// The bytes that arrive in the call, and their client, if it is a client.
    came: usize,
    from: Option<u64>,
}

impl Before {
    /// The most that may be buffered for a client's tenant when the limit is checked.
    fn most_for(&self, client: &ClientStats, of: fn(&ClientStats) -> usize) -> usize {
        let its = self.clients.iter().filter(|it| it.tenant == client.tenant);
        its.map(of).sum::<usize>() + self.came + MARGIN_BYTES
    }

    /// The least that is buffered. Only the client's own bytes change what is buffered of its
    /// requests.
    fn least_for(&self, client: &ClientStats, of: fn(&ClientStats) -> usize) -> usize {
        let its = self.clients.iter().filter(|it| it.tenant == client.tenant);
        let its: usize = its.filter(|it| Some(it.id) != self.from).map(of).sum();
        let gone = self.from.map_or(self.came, |_| 0);
        its.saturating_sub(gone + MARGIN_BYTES)
    }
}

impl World {
    /// Records the buffered bytes of a worker, if the bytes that arrive may reach the limit.
    pub(crate) fn before(&mut self, node: usize, came: usize, from: Option<u64>) {
        let settings = &self.plan.settings;
        let least = settings.worker_buffer_bytes_max;
        let least = least.min(settings.worker_outbound_bytes_max) / 2;
        let worker = &mut self.nodes[node];
        worker.kept += came;
        worker.before = None;
        if worker.kept > least {
            let clients = worker
                .machine
                .collect_stats(&StatsRequest::Clients(usize::MAX, None));
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

    /// After the call: checks the clients that were closed.
    pub(crate) fn after(&mut self, node: usize) -> Result<(), String> {
        let evicted = self.nodes[node].evicted();
        let before = self.nodes[node].before.as_ref();
        // The order in which several clients were closed is unknown.
        if before.is_some_and(|before| evicted == before.evicted + 1) {
            self.actions(node)?;
        }
        self.nodes[node].before = None;
        Ok(())
    }

    /// Checks that a client that was closed at a limit of its worker had to be closed.
    pub(crate) fn check_ceiling(&mut self, node: usize, notice: &Notice) -> Result<(), String> {
        let of: fn(&ClientStats) -> usize = match notice.kind {
            NoticeKind::WorkerOutbound => |it| it.outbound_bytes,
            NoticeKind::WorkerBuffer => |it| it.kept_bytes,
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

    /// The shares that the client's tenant may have on its worker.
    fn shares_of(&self, it: &ClientStats) -> impl Iterator<Item = usize> {
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

/// Whether the client has logged in. `None`: its server may accept any client as that user, or not.
fn has_login(it: &ClientStats) -> Option<bool> {
    match &*it.user {
        _ if it.tenant.is_none() => Some(false),
        "default" => None,
        _ => Some(true),
    }
}
