//! Admission: decides what happens to a request, from what its command needs and from its tenant's
//! limits and pauses.
//!
//! Most tenants have no limits; their requests skip the second check.

use crate::command::{self, Dedicated, ErrorReply, Plan, Session};
use crate::resp::{Args, RequestLimits};

use crate::proxy::forward::answer::Handled;
use crate::proxy::machine::Machine;
use crate::proxy::texts::OUT_OF_MEMORY;
use crate::session::client::Client;
use crate::stats::worker_stats::Limit;
use crate::store::allocator::{LARGE_BYTES, has_memory};
use crate::store::key::{ClientKey, TenantSlot};
use crate::upstream::upstreams::admission::Allowance;

/// The error for requests above a tenant's rate limits.
const TOO_MANY_REQUESTS: ErrorReply =
    ErrorReply::Proxy("ERR elika: rate limit exceeded: requests per second");
const TOO_MANY_BYTES: ErrorReply =
    ErrorReply::Proxy("ERR elika: rate limit exceeded: bytes per second");

/// The error when too many clients already wait for the end of a pause.
const TOO_MANY_WAIT: ErrorReply =
    ErrorReply::Proxy("ERR elika: paused, and too many clients wait already");

/// The admission decision for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Decision {
    /// Follow the plan.
    Do(Plan),
    /// Refuse it: a limit of the tenant does not allow it.
    Refuse(Limit),
    /// Keep it: the tenant is paused.
    Wait(TenantSlot),
}

impl Machine {
    /// What the command in a frame needs, on this client's server.
    pub(in crate::proxy) fn plan(&self, key: ClientKey, frame: &[u8]) -> Plan {
        let plan = command::plan(Args::new(frame));
        if plan != Plan::Forward || !self.upstreams.any_learned() {
            return plan;
        }
        let name = Args::new(frame).next().unwrap_or_default();
        let blocks = self.clients.get(key).is_some_and(|client| {
            let (pool, account) = (client.pool, client.account());
            self.upstreams.blocks(pool, account, name)
        });
        match blocks {
            true => Plan::Dedicated(Dedicated::Block),
            false => plan,
        }
    }

    /// The admission decision for a frame.
    #[inline]
    pub(in crate::proxy) fn decision(
        &mut self,
        key: ClientKey,
        limited: Option<TenantSlot>,
        frame: &[u8],
    ) -> Decision {
        let plan = self.plan(key, frame);
        match limited {
            None => Decision::Do(plan),
            Some(limited) => self.decide(limited, plan, frame),
        }
    }

    /// The limits of a client's requests: their sizes, and the tenant if it has limits.
    #[inline]
    pub(in crate::proxy) fn rules_of(&self, key: ClientKey) -> (RequestLimits, Option<TenantSlot>) {
        (self.limits_of(key), self.limited_tenant(key))
    }

    /// Is the client logged in, or admitted as the default user?
    #[inline]
    pub(in crate::proxy) fn is_admitted(&self, key: ClientKey) -> bool {
        self.clients.get(key).is_some_and(|it| self.admits(it))
    }

    /// See [`is_admitted`](Self::is_admitted). A login stays valid when the client has no instance
    /// or moves to another one.
    #[inline]
    pub(in crate::proxy) fn admits(&self, client: &Client) -> bool {
        self.upstreams.admits(client.account(), client.pool)
    }

    /// Is the client anonymous and not admitted? A client whose login was revoked is not anonymous:
    /// its earlier requests are still answered.
    pub(in crate::proxy) fn must_log_in(&self, key: ClientKey) -> bool {
        !self.is_admitted(key)
    }

    #[inline]
    pub(in crate::proxy) fn limits_of(&self, key: ClientKey) -> RequestLimits {
        let limits = match self.is_admitted(key) {
            true => self.settings.after_login,
            false => self.settings.before_login,
        };
        match self.request_bytes_max(key) {
            Some(max) => limits.at_most(max),
            None => limits,
        }
    }

    /// Was a frame decoded with the limits of anonymous clients although this client need not log
    /// in? This is known only after the client's first request was admitted.
    pub(in crate::proxy) fn has_smaller_limits(
        &mut self,
        key: ClientKey,
        limits: &RequestLimits,
    ) -> bool {
        self.admit(key).is_ok() && self.limits_of(key) != *limits
    }

    /// The largest request of the client's tenant, if it has a limit of its own.
    #[inline]
    pub(in crate::proxy) fn request_bytes_max(&self, key: ClientKey) -> Option<u64> {
        if !self.upstreams.any_limits() {
            return None;
        }
        self.upstreams.request_bytes_max(self.tenant_of(key)?)
    }

    /// The tenant whose limits hold for a client. For a client without an account this is the
    /// default tenant.
    #[inline]
    pub(in crate::proxy) fn tenant_of(&self, key: ClientKey) -> Option<TenantSlot> {
        let account = self.clients.get(key)?.account();
        self.upstreams.tenant_for_limits(account)
    }

    /// The tenant whose limits a client's requests are checked against, if it has any.
    #[inline]
    pub(in crate::proxy) fn limited_tenant(&self, key: ClientKey) -> Option<TenantSlot> {
        if !self.upstreams.any_limits() {
            return None;
        }
        let slot = self.tenant_of(key)?;
        self.upstreams.is_limited(slot).then_some(slot)
    }

    /// The tenant's decision on a request with this plan.
    pub(in crate::proxy) fn decide(
        &mut self,
        limited: TenantSlot,
        plan: Plan,
        frame: &[u8],
    ) -> Decision {
        if is_free(plan) {
            return Decision::Do(plan);
        }
        match self.upstreams.allow(limited, frame, self.now) {
            Allowance::Allowed => Decision::Do(plan),
            Allowance::Paused => Decision::Wait(limited),
            Allowance::Refused(limit) => Decision::Refuse(limit),
        }
    }

    /// Carries out an admission decision. A request that is kept is decided on again later, and is
    /// not counted until then.
    pub(in crate::proxy) fn carry_out(
        &mut self,
        key: ClientKey,
        limited: Option<TenantSlot>,
        decision: Decision,
        frame: &[u8],
    ) -> Handled {
        // The frame may be copied: into a reply that repeats it, a transaction's queue, or a
        // question to other workers.
        if frame.len() > LARGE_BYTES && !has_memory(4 * frame.len()) {
            self.stats.counters.out_of_memory += 1;
            self.reply_error_and_close(key, &OUT_OF_MEMORY);
            return Handled::Yes;
        }
        if let Some(client) = self.clients.get_mut(key) {
            client.count_commands(1);
        }
        let taken = match decision {
            Decision::Do(plan) => self.dispatch(key, plan, frame),
            // A refusal may close the client: the replies before it come first.
            _ if self.plan(key, frame).governs_next() && !self.at_barrier(key) => Handled::Later,
            Decision::Refuse(limit) => self.refuse_request(key, limit, limited, frame),
            Decision::Wait(tenant) => {
                let max = self.settings.paused_clients_max;
                self.wait_for_end_of_pause(key, tenant, max, frame)
            }
        };
        if taken == Handled::Later
            && let Decision::Do(plan) = decision
            && !is_free(plan)
            && let Some(tenant) = limited
        {
            self.upstreams.refund(tenant, frame.len());
        }
        if let Some(client) = self.clients.get_mut(key) {
            match taken {
                // The frame is done with; the next one has not been in a wait queue yet.
                Handled::Yes | Handled::Refused => client.forget_queued(),
                Handled::Later => client.uncount_command(),
            }
        }
        if taken == Handled::Refused {
            self.close_refused(key, self.plan(key, frame));
        }
        taken
    }

    /// A request is refused that would succeed on a server. If it governs the client's next ones,
    /// the client is closed: it may have sent them without waiting for this reply, and they must
    /// not run outside of their transaction, in another database or for another user.
    pub(in crate::proxy) fn close_refused(&mut self, key: ClientKey, plan: Plan) {
        let stays = self.clients.get(key).is_some_and(|it| !it.is_closing());
        if !stays || !plan.governs_next() {
            return;
        }
        let counters = &mut self.stats.counters;
        match plan.begins_transaction() {
            true => counters.transactions_refused += 1,
            false => counters.session_changes_refused += 1,
        }
        self.finish_client(key);
        self.mark_ready(key);
    }

    /// Refuses a request. Inside MULTI, the server must fail EXEC as well.
    pub(super) fn refuse_request(
        &mut self,
        key: ClientKey,
        limit: Limit,
        limited: Option<TenantSlot>,
        frame: &[u8],
    ) -> Handled {
        if !self.is_settled(key) {
            return Handled::Later;
        }
        let error = match limit {
            Limit::Requests => TOO_MANY_REQUESTS,
            Limit::Bytes => TOO_MANY_BYTES,
            Limit::Paused => TOO_MANY_WAIT,
            _ => {
                let name = limited.and_then(|it| self.upstreams.denied_name(it, frame));
                command::denied(self.user_of(key), &name.unwrap_or_default())
            }
        };
        let taken = if self.has_opened_multi(key) {
            self.fail_opened(key, &error);
            Handled::Yes
        } else if self.clients.is_inside(key) {
            match error {
                ErrorReply::Proxy(_) if self.plan(key, frame).ends_transaction() => {
                    self.discard(key, &error)
                }
                _ => self.fail_transaction(key, &error),
            }
        } else {
            self.reply_error(key, &error);
            // The client may have got a dedicated link for this request, which it does not need
            // now.
            self.unpin_if_done(key);
            match error {
                ErrorReply::Proxy(_) => Handled::Refused,
                _ => Handled::Yes,
            }
        };
        if taken == Handled::Later {
            return taken;
        }
        if let Some(limited) = limited {
            self.note_limit(key, limited, limit);
        }
        if matches!(limit, Limit::Requests | Limit::Bytes) {
            self.note_over_rate(key);
        }
        taken
    }
}

/// Commands that cost a tenant nothing and are never paused: session commands and QUIT.
fn is_free(plan: Plan) -> bool {
    matches!(
        plan,
        Plan::Session(
            Session::Auth | Session::Hello | Session::Quit | Session::Reset | Session::ClientReply
        ) | Plan::CrossProtocol
    )
}
