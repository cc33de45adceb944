//! The end of a client's connection: checks that it had a reason.

use super::super::client::{Op, REFUSED_COMMANDS_MAX, Sent};
use super::super::link::GARBAGE;
use super::super::oracle::GRACE_MS;
use super::super::redis::Moment;
use super::super::wire;
use super::super::world::World;

/// The reply of a server to an anonymous client.
const ANONYMOUS: &[u8] = b"-NOAUTH Authentication required.\r\n";

impl World {
    /// The proxy closed the connection, and all replies were read: checks that it had to.
    pub(super) fn ended(&mut self, index: usize) -> Result<(), String> {
        self.clients[index].done = true;
        let client = &self.clients[index];
        let counted = self.nodes[client.worker].machine.counters();
        let cut = !client.read.is_empty();
        let slow = counted.slow_readers + counted.evictions + counted.slow_subscribers;
        let slow = slow + counted.send_timeouts + counted.tenant_buffers_full;
        let slow = slow + counted.buffers_full > 0;
        let refused = client.possibly_refused >= REFUSED_COMMANDS_MAX || client.silent;
        if counted.refused_anonymous > 0 && refused {
            return Ok(());
        }
        let changes_refused = counted.session_changes_refused > 0 && client.silent;
        if changes_refused || counted.transactions_refused > 0 && client.script.unheard {
            return Ok(());
        }
        let late = counted.idle_timeouts + counted.login_timeouts > 0;
        let http = (client.pending.iter()).any(|sent| matches!(sent.op, Op::Http));
        if http || slow || client.closing.is_some() || client.may_close {
            return Ok(());
        }
        let draining = self.nodes[client.worker].draining;
        let inside = client.model.is_in_transaction() || client.script.unheard;
        let sleepy = counted.pinned_idle_timeouts > 0 && inside;
        // After its last reply, a client that sends no more may be closed inside a message.
        let idle = client.pending.is_empty();
        if idle && (client.eof || !cut && (draining || late || sleepy)) {
            return Ok(());
        }
        let settings = &self.plan.settings;
        // The client had to log in in time; or the server no longer accepts its password.
        let left = client
            .pending
            .iter()
            .any(|sent| matches!(sent.op, Op::Reset));
        let nobody = (client.model.login.is_none() || left) && settings.client_login_ms > 0;
        let view = self.view();
        let tenant = client.model.tenant(&view);
        let revoked = tenant.is_some_and(|tenant| view.has_new_passwords(tenant));
        if nobody && counted.login_timeouts > 0 || revoked && counted.logged_out > 0 {
            return Ok(());
        }
        let since = client.pending.front().map_or(client.asked, |sent| sent.at);
        let mut servers = self.servers.iter();
        let failed = servers.any(|it| it.is_out(self.now) || it.failed_since(since, GRACE_MS));
        let nowhere = || (0..self.tenants.len()).any(|it| view.lacks_instances(it, since));
        if settings.close_on_loss && (failed || nowhere()) {
            return Ok(());
        }
        // Its tenant has too many clients, or its request was too large, and its replies are off.
        let told = |tenant| {
            let limits = view.limits(tenant, since);
            view.was_crowded(tenant, since) || limits.iter().any(|it| it.request_bytes.is_some())
        };
        if client.silent && (0..self.tenants.len()).any(told) {
            return Ok(());
        }
        // A client that leaves gets no further replies.
        let blocked = matches!(
            client.pending.front().map(|sent| &sent.op),
            Some(Op::Pop { .. } | Op::Wait { .. })
        );
        let waiting = |sent: &Sent| matches!(sent.op, Op::Wait { .. });
        let waits = !cut && blocked || client.was_blocked || client.pending.iter().any(waiting);
        if waits && (client.eof || draining)
            || self.may_have_lost_dedicated(index)
            || self.was_left(index)
        {
            return Ok(());
        }
        // Requests that the proxy had not started may be dropped.
        let begun = (client.pending.iter().filter_map(|sent| sent.op.tag()))
            .any(|tag| self.servers.iter().any(|s| s.executed.contains_key(&tag)));
        let dropped = !cut && !begun && (draining || late || sleepy);
        if dropped || cut && self.was_torn(index) || self.was_killed(index)? {
            return Ok(());
        }
        Err(format!(
            "client {} was hung up on without a reason, {} replies missing, first {:?}, {:?} half \
             read",
            client.id,
            client.pending.len(),
            client.pending.front(),
            String::from_utf8_lossy(&client.read[..client.read.len().min(100)])
        ))
    }

    /// Whether a dedicated connection of the client was or may have been lost.
    fn may_have_lost_dedicated(&self, index: usize) -> bool {
        let client = &self.clients[index];
        let own = client.model.holds()
            || client.script.unheard
            || client.followed
            || client.pending.iter().any(|sent| sent.op.is_dedicated());
        let since = match client.model.holds() {
            true => client.held,
            false => client.pending.front().map_or(client.asked, |sent| sent.at),
        };
        let servers = client.model.servers(since, &self.view());
        let failed = { servers.iter() }.any(|server| server.failed_since(since, 0));
        client.lost_dedicated.is_some() || client.maybe_lost_dedicated || own && failed
    }

    /// Whether its instance was draining for as long as dedicated connections and blocked clients
    /// may stay, or another instance refused it. That its tenant had no instance for a while is no
    /// reason, unless the registry had removed the whole tenant.
    fn was_left(&self, index: usize) -> bool {
        let client = &self.clients[index];
        let node = &self.nodes[client.worker];
        let counted = node.machine.counters();
        if counted.clients_left_behind + counted.pins_lost + counted.closed_on_loss == 0 {
            return false;
        }
        let view = self.view();
        let tenant = client.model.tenant(&view);
        let changed = tenant.is_some_and(|tenant| view.has_new_passwords(tenant));
        let seen = client.model.place.seen;
        let bound = client.model.holds()
            || client.script.unheard
            || client.followed
            || client.was_blocked
            || tenant.is_none_or(|tenant| !view.knows(tenant, seen))
            || client.pending.iter().any(|sent| sent.op.is_dedicated())
            || self.plan.settings.close_on_loss;
        let left = client.model.left_for(client.hung_up_at, &view);
        left.is_some_and(|ms| bound && ms >= self.plan.settings.offline_grace_ms || changed)
    }

    /// Whether a part of a reply was delivered before its backend connection was lost.
    fn was_torn(&self, index: usize) -> bool {
        let client = &self.clients[index];
        let Some(sent) = client.pending.front() else {
            return false;
        };
        let servers = client.model.servers(sent.at, &self.view());
        let tag = sent.op.tag().unwrap_or_default();
        let whole =
            { self.view().executions(tag) }.any(|(_, whole)| whole.reply.starts_with(&client.read));
        // An old server accepts anonymous clients, and then replies so itself.
        let old = servers.first().is_some_and(|server| server.old);
        let anonymous = old && ANONYMOUS.starts_with(&client.read);
        // It may be the start of invalid bytes.
        let refused = { self.view().refusals(tag) }
            .any(|(_, text, _)| wire::error(text).starts_with(&client.read));
        let begun = anonymous
            || refused
            || sent.is_passed_on()
            || whole
            || GARBAGE
                .iter()
                .any(|garbage| garbage.starts_with(&client.read));
        begun && servers.iter().any(|server| server.failed_since(sent.at, 0))
    }

    /// Whether it was killed, and by a client of the same user.
    fn was_killed(&self, index: usize) -> Result<bool, String> {
        let victim = &self.clients[index];
        let kills: u64 = (self.nodes.iter())
            .map(|node| node.machine.counters().kills)
            .sum();
        if kills == 0 || victim.killers.is_empty() {
            return Ok(false);
        }
        let view = self.view();
        // The killer may have had another user at that time; then nothing is known.
        let may_have = |&(killer, at): &(u64, Moment)| {
            let killer = &self.clients[killer as usize - 1];
            !killer.pending.is_empty()
                || killer.changed >= at
                || killer.model.tenant(&view) == victim.model.tenant(&view)
                    && killer.model.user() == victim.model.user()
        };
        // So may the killed client, if not all of its replies were read.
        if !victim.pending.is_empty() || victim.killers.iter().any(may_have) {
            return Ok(true);
        }
        Err(format!("client {} was killed by another user", victim.id))
    }
}
