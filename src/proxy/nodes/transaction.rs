//! Transactions of clients of a Redis Cluster. The first command with a key says which node
//! executes the transaction, so MULTI and the commands before that one are answered here. They are
//! sent in front of that command, on a dedicated link to that node.

use crate::command::keys::{self, Slots, slot_of};
use crate::command::{Answer, Dedicated, ErrorReply, Plan, Session};
use crate::dedicated::repeat::Transaction;
use crate::link::redirection::Redirection;
use crate::link::request::Kind;
use crate::link::verb::Verb;
use crate::proxy::forward::answer::{Handled, kind_of};
use crate::proxy::forward::route::Refusal;
use crate::proxy::machine::Machine;
use crate::proxy::nodes::scan::{NO_SCAN, is_scan};
use crate::proxy::work::Work;
use crate::resp::{Args, write};
use crate::session::client::Hold;
use crate::store::key::{ClientKey, InstanceKey};

/// The error of a server for EXEC after a refused command.
const ABORTED: ErrorReply =
    ErrorReply::fixed("EXECABORT Transaction discarded because of previous errors.");

/// The error for a transaction whose slot moves to another node.
const MOVED: ErrorReply = ErrorReply::fixed("TRYAGAIN The slot has moved to another node");

/// The error for a client whose dedicated link is to another node.
const OTHER_NODE: ErrorReply = ErrorReply::Proxy(
    "ERR elika: a client that watches, subscribes or tracks cannot use keys of another node here",
);

/// The error for a transaction that is too large to wait for its node.
const TOO_LARGE: ErrorReply =
    ErrorReply::Proxy("ERR elika: too many commands in MULTI while its node is not known");

impl Machine {
    /// Does MULTI of this client wait for a command with a key?
    #[inline]
    pub(in crate::proxy) fn has_opened_multi(&self, key: ClientKey) -> bool {
        self.upstreams.any_clustered()
            && self.clients.get(key).is_some_and(|client| {
                let details = client.details.as_deref();
                details.is_some_and(|details| details.opened.is_some())
            })
    }

    /// Answers MULTI, if it needs no link yet.
    pub(in crate::proxy) fn open_multi(&mut self, key: ClientKey, frame: &[u8]) -> Option<Handled> {
        let one_word = Args::new(frame).len() == 1;
        if !one_word || !self.is_clustered(key) {
            return None;
        }
        let client = self.clients.get_mut(key)?;
        client.details_mut().opened = Some(Box::default());
        self.reply(key, b"+OK\r\n");
        Some(Handled::Yes)
    }

    /// Handles a command behind a MULTI that was answered here.
    pub(in crate::proxy) fn dispatch_opened(
        &mut self,
        key: ClientKey,
        plan: Plan,
        frame: &[u8],
    ) -> Handled {
        let opened = self.opened_multi(key);
        let failed = opened.as_ref().is_none_or(|opened| opened.failed);
        let moved = opened.as_ref().is_some_and(|opened| opened.moved.is_some());
        let empty = opened.is_none_or(|opened| opened.is_empty());
        match plan {
            Plan::Session(Session::Quit | Session::Reset) | Plan::CrossProtocol => {
                self.close_multi(key);
                return self.dispatch(key, plan, frame);
            }
            Plan::Answer(Answer::Discard) => {
                self.close_multi(key);
                self.reply(key, b"+OK\r\n");
            }
            Plan::Answer(Answer::Exec) if failed => {
                self.close_multi(key);
                self.reply_error(key, &ABORTED);
            }
            Plan::Answer(Answer::Exec) if empty => {
                self.close_multi(key);
                self.reply(key, b"*0\r\n");
            }
            Plan::Answer(Answer::Exec) if moved => self.execute_opened(key),
            _ if failed => self.reply(key, b"+QUEUED\r\n"),
            _ if is_scan(frame) => self.fail_opened(key, &NO_SCAN),
            _ if moved => self.queue_moved(key, plan, frame),
            Plan::Forward | Plan::Script if keys::slots(frame) == Slots::None => {
                self.queue_opened(key, frame);
            }
            _ if keys::slots(frame) == Slots::Several => {
                self.fail_opened(key, &ErrorReply::CROSS_SLOT)
            }
            _ => return self.start_multi(key, plan, frame),
        }
        Handled::Yes
    }

    fn opened_multi(&mut self, key: ClientKey) -> Option<&mut Transaction> {
        let details = self.clients.get_mut(key)?.details.as_deref_mut()?;
        details.opened.as_deref_mut()
    }

    /// Refuses a command: the transaction fails.
    pub(in crate::proxy) fn fail_opened(&mut self, key: ClientKey, error: &ErrorReply) {
        if let Some(opened) = self.opened_multi(key) {
            opened.failed = true;
        }
        self.reply_error(key, error);
    }

    fn close_multi(&mut self, key: ClientKey) -> Option<Box<Transaction>> {
        let details = self.clients.get_mut(key)?.details.as_deref_mut()?;
        details.opened.take()
    }

    fn queue_opened(&mut self, key: ClientKey, frame: &[u8]) {
        let Some(opened) = self.opened_multi(key) else {
            return;
        };
        match opened.add(frame) {
            true => self.reply(key, b"+QUEUED\r\n"),
            false => self.fail_opened(key, &TOO_LARGE),
        }
    }

    /// Queues a command of a transaction whose node does not execute it.
    fn queue_moved(&mut self, key: ClientKey, plan: Plan, frame: &[u8]) {
        let slot = self.opened_multi(key).and_then(|opened| opened.slot);
        let queues = matches!(
            plan,
            Plan::Forward | Plan::Script | Plan::Dedicated(Dedicated::Block | Dedicated::Wait)
        );
        match keys::slots(frame) {
            _ if !queues => self.fail_opened(key, &MOVED),
            Slots::Several => self.fail_opened(key, &ErrorReply::CROSS_SLOT),
            Slots::One(other) if slot.is_some_and(|slot| slot != other) => {
                self.fail_opened(key, &ErrorReply::CROSS_SLOT);
            }
            Slots::One(other) => {
                if let Some(opened) = self.opened_multi(key) {
                    opened.slot = Some(other);
                }
                self.queue_opened(key, frame);
            }
            Slots::None | Slots::Unknown => self.queue_opened(key, frame),
        }
    }

    /// Executes a transaction that has no link.
    fn execute_opened(&mut self, key: ClientKey) {
        if let Some(transaction) = self.close_multi(key)
            && let Some(client) = self.clients.get_mut(key)
        {
            let kind = kind_of(client);
            client.in_flight += 1;
            client.hold.set(Hold::BARRIER);
            let record = self.requests.push_held(&mut client.fifo, key, kind);
            self.work.push(Work::Execute(key, record, transaction));
        }
    }

    /// A client of a Redis Cluster needs its dedicated link no longer when the replies so far have
    /// arrived: its next commands may be for other nodes.
    pub(in crate::proxy) fn end_stay(&mut self, key: ClientKey) {
        if self.is_clustered(key)
            && let Some(client) = self.clients.get_mut(key)
            && !client.fifo.is_empty()
        {
            client.hold.set(Hold::BARRIER);
        }
    }

    /// The node that has the keys of a command, if the client's dedicated link is to another one.
    pub(in crate::proxy) fn other_node(&self, key: ClientKey, frame: &[u8]) -> Option<InstanceKey> {
        if !self.is_clustered(key) {
            return None;
        }
        let slot = slot_of(frame)?;
        let client = self.clients.get(key)?;
        let pin = client.pin()?;
        if pin.repeat.transaction().is_some() && pin.slot == Some(slot) {
            // If the slot has moved, all of it goes to the other node.
            return None;
        }
        let node = self.node_of(key, Some(slot))?;
        let own = self.links.get(client.link)?.instance;
        (node != own).then_some(node)
    }

    /// Handles a command of a client with a dedicated link whose keys another node has. A client
    /// that only watches may use them; in a transaction they are refused.
    pub(in crate::proxy) fn dispatch_to_other_node(
        &mut self,
        key: ClientKey,
        plan: Plan,
        frame: &[u8],
    ) -> Option<Handled> {
        if self.scans_nodes(key, frame) {
            return Some(self.scan_with_pin(key, frame));
        }
        let node = self.other_node(key, frame)?;
        if !self.is_settled(key) {
            return Some(Handled::Later);
        }
        if self.clients.is_inside(key) {
            let slot = slot_of(frame);
            let pin = self.clients.get(key)?.pin();
            let same = pin.is_some_and(|pin| pin.slot.is_none_or(|it| Some(it) == slot));
            let error = if same {
                &MOVED
            } else {
                &ErrorReply::CROSS_SLOT
            };
            return Some(self.fail_transaction(key, error));
        }
        // After a blocking command the link may hold nothing, and is still the client's.
        self.unpin_if_done(key);
        let Some(pin) = self.clients.get(key)?.pin() else {
            return Some(self.dispatch(key, plan, frame));
        };
        let bound = pin.holds() && !pin.holds_transaction_only();
        if bound || !matches!(plan, Plan::Forward | Plan::Script) {
            self.reply_error(key, &OTHER_NODE);
            return Some(Handled::Yes);
        }
        Some(match self.link_to_node(key, node) {
            Ok(on) => {
                let kind = self.clients.get_mut(key).map_or(Kind::Deliver, kind_of);
                self.put(key, on, (kind, Verb::Plain), 1, frame);
                Handled::Yes
            }
            Err(refusal) => self.refuse(key, refusal),
        })
    }

    /// Gives the client a link to the node of this command, and sends what it has queued.
    fn start_multi(&mut self, key: ClientKey, plan: Plan, frame: &[u8]) -> Handled {
        if !self.at_barrier(key) {
            return Handled::Later;
        }
        if let Err(refusal) = self.pin_for(key, frame) {
            if let Refusal::Error(ErrorReply::Unavailable(_)) = refusal {
                // Another node may serve the slot when EXEC arrives.
                if let Some(opened) = self.opened_multi(key) {
                    opened.moved = Some(Redirection::Later);
                }
                self.queue_moved(key, plan, frame);
                return Handled::Yes;
            }
            let taken = self.refuse(key, refusal);
            if taken != Handled::Later {
                // What follows would be executed outside of the transaction.
                self.close_multi(key);
                self.close_refused(key, Plan::Dedicated(Dedicated::Multi));
            }
            return taken;
        }
        let opened = self.close_multi(key).unwrap_or_default();
        let mut multi = Vec::new();
        write::command(&mut multi, &[b"MULTI"]);
        self.send_as(key, (Kind::Swallow, Verb::Multi), 1, None, &multi);
        for queued in opened.queued() {
            self.send_as(key, (Kind::Swallow, Verb::Plain), 1, None, queued);
        }
        self.dispatch_with_pin(key, plan, frame)
    }
}
