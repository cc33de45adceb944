//! Phase changes of a client, and what follows: its place in a wait queue, among those that wait
//! for replicas, or in the counts of an account.

use crate::proxy::machine::Machine;
use crate::proxy::work::Work;
use crate::session::phase::Phase;
use crate::store::key::ClientKey;

impl Machine {
    /// Makes a client wait, or close. A change that the table of transitions does not contain says
    /// that the client's state cannot be trusted: the client is closed.
    pub(super) fn enter(&mut self, key: ClientKey, phase: Phase) {
        let entered = self.clients.get_mut(key).map(|it| it.enter(phase));
        if let Some(Err(illegal)) = entered {
            debug_assert!(false, "{key:?}: {illegal}");
            self.work.push(Work::CloseClient(key));
        }
    }

    /// Ends a client's wait, whatever it waited for.
    pub(super) fn leave_phase(&mut self, key: ClientKey) {
        match self.clients.get(key).map(|it| it.phase()) {
            Some(Phase::Queued) => self.leave_queue(key),
            Some(Phase::Replicas) => self.leave_waits(key),
            Some(Phase::Changing) => drop(self.end_change(key)),
            Some(Phase::Anonymous | Phase::Shared | Phase::Dedicated | Phase::Closing) | None => {}
        }
    }

    /// Closes a client after its buffered replies are sent. No further bytes of it are decoded.
    pub(super) fn finish_client(&mut self, key: ClientKey) {
        self.leave_phase(key);
        self.enter(key, Phase::Closing);
        if let Some(client) = self.clients.get_mut(key)
            && let Some(mut inbound) = client.inbound.take()
        {
            inbound.clear(self.links.chunks_mut());
        }
    }
}
