//! Replies because of limits and pauses of the tenant, and of limits of the worker: exactly when
//! they are reached.

use elika::cluster::TenantLimits;

use super::super::buffer_limit::LOGIN_BYTES_MAX;
use super::super::client::{Op, Sent};
use super::super::limits::denies;
use super::super::wire;
use super::unavailable::{FULL, failed, is_unavailable};
use super::{After, Model, Verdict, View};

const TOO_MANY_REQUESTS: &str = "ERR elika: rate limit exceeded: requests per second";
const TOO_MANY_BYTES: &str = "ERR elika: rate limit exceeded: bytes per second";
const TOO_MANY_WAIT: &str = "ERR elika: paused, and too many clients wait already";
const TOO_BIG: &str = "ERR Protocol error: ";
const OUT_OF_MEMORY: &str = "ERR elika: out of memory for this request";

impl Model {
    /// The error that the tenant's limits and pauses give for a request. `None`: none.
    pub(super) fn limited(
        &mut self,
        sent: &Sent,
        reply: &[u8],
        view: &View<'_>,
    ) -> Option<Verdict> {
        let text = wire::error_text(reply).unwrap_or_default();
        // A login may find that its tenant has too many clients, or wait.
        let tenants = match &sent.op {
            Op::Auth(login)
            | Op::Hello {
                login: Some(login), ..
            } => {
                let meanings = view.meanings(login, sent.at).into_iter().flatten();
                meanings.map(|(tenant, _)| tenant).collect()
            }
            _ => Vec::from_iter(self.tenant(view)),
        };
        let limits_since = |at| -> Vec<&TenantLimits> {
            let limits = tenants.iter().map(|tenant| view.limits(*tenant, at));
            limits.flatten().collect()
        };
        let limits = limits_since(sent.at);
        if text == FULL && { tenants.iter() }.any(|it| view.was_crowded(*it, sent.at)) {
            // Or a server has said so, which concerns this one request.
            let mut servers = tenants.iter().flat_map(|it| view.servers_of(*it));
            let open = servers.any(|server| failed(server, sent, view));
            return Some(Ok(After {
                never: sent.op.tag().into_iter().collect(),
                closes: (!open).then_some("too many clients"),
                may_close: open,
                ..After::default()
            }));
        }
        if text == TOO_MANY_WAIT {
            let held = { tenants.iter() }.any(|it| view.made_too_many_wait(*it, sent.at));
            return Some(self.turned_down(sent, false, held));
        }
        let big = matches!(sent.op, Op::Data { big: true, .. });
        // A client is not closed where others of its tenant have buffered more. Clients without a
        // tenant are closed first.
        let anonymous = self.untouched && sent.asks.bytes > LOGIN_BYTES_MAX;
        let large = big || sent.asks.bytes > 64 * 1024 || view.plan.crowded || anonymous;
        let shares = limits.iter().filter_map(|it| it.tenant_buffer_bytes);
        let most = view.plan.settings.worker_buffer_bytes_max as u64 / 2;
        let most = shares.fold(most, u64::min);
        // Replies that clients have not read are buffered, too.
        let all = Vec::from_iter(0..view.tenants.len());
        if text == OUT_OF_MEMORY && large && view.was_chatty(&all, most) {
            return Some(Ok(After {
                never: sent.op.tag().into_iter().collect(),
                closes: Some("the ceiling of all buffers"),
                ..After::default()
            }));
        }
        if sent.asks.is_free() {
            return None;
        }
        if text == TOO_MANY_REQUESTS {
            let rates = limits_since(view.second_before(sent.at));
            let rates = rates.iter().filter_map(|it| it.requests_per_second);
            let right = rates.min().is_some_and(|rate| view.was_busy(rate, sent));
            return Some(self.turned_down(sent, false, right));
        }
        if text == TOO_MANY_BYTES {
            let rates = limits_since(view.second_before(sent.at));
            let rates = rates.iter().filter_map(|it| it.bytes_per_second);
            let right = rates
                .min()
                .is_some_and(|rate| view.was_chatty(&tenants, rate));
            return Some(self.turned_down(sent, false, right));
        }
        let too_big = |limits: &TenantLimits| {
            let most = limits.request_bytes;
            most.is_some_and(|most| sent.asks.bytes as u64 > most)
        };
        if text.starts_with(TOO_BIG) && limits.iter().any(|it| too_big(it)) {
            return Some(Ok(After {
                never: sent.op.tag().into_iter().collect(),
                closes: Some("a request too big for its tenant"),
                ..After::default()
            }));
        }
        let denied = |limits: &TenantLimits| denies(limits, &sent.asks.command);
        let name = &sent.asks.command;
        if self.denied(name, reply) && limits.iter().any(|it| denied(it)) {
            return Some(self.turned_down(sent, true, true));
        }
        // The rest of a request that is too large for an anonymous client is not read.
        let unread = text.starts_with(TOO_BIG) || is_unavailable(text);
        if unread && big {
            return None;
        }
        let surely = !limits.is_empty() && tenants.iter().all(|it| view.knows(*it, sent.at));
        if surely && limits.iter().all(|it| denied(it)) {
            return Some(Err("it is denied".into()));
        }
        if surely && self.login.is_some() && limits.iter().all(|it| too_big(it)) {
            return Some(Err("it is too big for its tenant".into()));
        }
        None
    }

    /// A request was refused: nothing was executed, and its transaction is aborted, or has ended.
    fn turned_down(&mut self, sent: &Sent, denied: bool, right: bool) -> Verdict {
        let mut never = Vec::from_iter(sent.op.tag());
        let ends = matches!(sent.op, Op::Exec | Op::Discard);
        match &mut self.transaction {
            // A server that denies it does not end the transaction.
            Some(_) if ends && !denied => never.extend(self.dropped()),
            Some(transaction) => transaction.failed = true,
            None => {}
        }
        match right {
            true => Ok(After {
                never,
                ..After::default()
            }),
            false => Err("no limit of its tenant says so".into()),
        }
    }
}
