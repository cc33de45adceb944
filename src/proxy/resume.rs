//! The end of a call, which runs the queued consequences, and the end of a turn, which resumes
//! clients.

use crate::link::failure::Failure;
use crate::proxy::action::Action;
use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::client::Client;
use crate::session::client::{Flag, Hold};
use crate::store::key::{ClientKey, ConnKey, LinkKey};

impl Machine {
    /// Resumes the clients that may continue. Call once per turn, after its events.
    pub fn resume(&mut self) {
        self.put_question();
        for key in self.links.take_unresolved() {
            let why = self.why_unresolved(key).into();
            self.fail(key, &Failure::Unreachable(why));
        }
        self.run_work();
        // Clients that become ready meanwhile are resumed in the next turn.
        for _ in 0..self.clients.ready() {
            if let Some(key) = self.clients.next_ready() {
                self.resume_client(key);
                self.run_work();
            }
        }
        self.resume_backlog();
        self.finish_call();
    }

    /// Why the instance of a link has no address.
    fn why_unresolved(&self, key: LinkKey) -> &'static str {
        let instance = self.links.get(key).map(|link| link.instance);
        match instance.and_then(|it| self.upstreams.describe(it)) {
            Some((_, _, "")) => "its primary is not known",
            _ => "its name does not resolve",
        }
    }

    pub(super) fn resume_client(&mut self, key: ClientKey) {
        self.clients.begin_share();
        let outbound_max = self.settings.client_outbound_bytes_max;
        let in_flight_max = self.settings.client_in_flight_max;
        // The dedicated link is not given back while a message is partly delivered.
        let in_a_message = self.is_in_a_message(key);
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.clear(Flag::Ready);
        if client.unread_bytes() > outbound_max {
            return self.close_overfull(key);
        }
        if client.fifo.is_empty() && !in_a_message {
            client.hold.clear(Hold::BARRIER);
        }
        if client.in_flight <= in_flight_max / 2 {
            client.hold.clear(Hold::IN_FLIGHT);
        }
        self.move_if_draining(key);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let was_refused = client.has_refusal();
        if client.decodes() && client.inbound.is_some() {
            self.decode_inbound(key);
            self.end_share(key);
        }
        if let Some(client) = self.clients.get_mut(key) {
            // A refusal is for the command that caused the session change; that command was decoded
            // above, or no longer exists. A refusal from above is for a command that is kept.
            if was_refused {
                client.take_refusal();
            }
            if !client.is_held() && client.take(Flag::Paused) {
                self.actions.push_back(Action::Resume(ConnKey::Client(key)));
            }
        }
        self.close_if_done(key);
    }

    /// Ends a call: runs the work queue. Checks the invariants in debug builds.
    #[inline]
    pub(super) fn finish_call(&mut self) {
        self.run_work();
        self.check_invariants();
    }

    /// Runs the work queue, and what that adds to it.
    #[inline]
    pub(super) fn run_work(&mut self) {
        if !self.work.is_empty() {
            self.run_queued_work();
        }
    }

    // Not inlined: its stack frame is large, and few calls queue work.
    #[inline(never)]
    fn run_queued_work(&mut self) {
        while let Some(work) = self.work.pop() {
            match work {
                Work::Advance(client) => self.advance(client),
                Work::Conclude(client, outcome) => self.conclude(client, outcome),
                Work::LogIn(client) => self.log_in(client),
                Work::LogInElsewhere(client) => self.log_in_elsewhere(client),
                Work::ReplyArrived(client) => {
                    self.unpin_if_done(client);
                    // The client may be blocked now, and may have hung up.
                    self.close_if_done(client);
                }
                Work::Evict(client, kind) => {
                    let unread = self.clients.get(client).map_or(0, Client::unread_bytes);
                    self.evict(client, kind, unread as u64);
                }
                Work::CloseClient(client) => self.close_now(client),
                Work::ServeQueues(tenant) => self.serve_queues(tenant),
                Work::ServeLogins(of) => self.serve_logins(of),
                Work::FailLogins(of, error) => self.fail_logins(of, &error),
                Work::CheckCredential(pool, of) => {
                    self.upstreams.check_credential(pool, of, self.now);
                }
                Work::ServeWaits => self.serve_waits(),
                Work::FailWaits(waiters) => self.fail_waits(waiters),
                Work::EndWaits(waiters) => self.end_waits(waiters),
                Work::Answered(on, kind, reply) => self.answered(on, kind, &reply),
                Work::Suspect(on, kind) => self.suspect(on, kind),
                Work::PartEnded(part, end) => self.part_ended(part, &end),
                Work::Execute(client, record, transaction) => {
                    self.execute(client, record, &transaction);
                }
                Work::Redirect(redirected) => self.send_to_other_node(&redirected),
                Work::CloseRetired(link) => self.close_retired(link),
                Work::CloseLink(link, why) => self.fail(link, &why),
            }
        }
    }
}
