//! Transactions that a node of a Redis Cluster gets in one piece, because another one did not
//! execute them: MULTI, the commands and EXEC are next to each other on a shared link, so no other
//! client's request comes between them.

use crate::command::ErrorReply;
use crate::command::slot::Slot;
use crate::dedicated::repeat::{Outcome, Transaction};
use crate::link::redirection::Redirection;
use crate::link::request::{Gather, Held, Part, PartEnd, Piece, Scattered};
use crate::link::verb::Verb;
use crate::proxy::machine::Machine;
use crate::proxy::nodes::redirect::{MOVED_AWAY, REDIRECTIONS_MAX};
use crate::store::key::{ClientKey, InstanceKey};

/// The reply of the node is not RESP.
const UNEXPECTED: ErrorReply =
    ErrorReply::Proxy("ERR elika: unexpected reply to a transaction, outcome unknown");

impl Machine {
    /// Executes a transaction, all of whose commands have arrived. `record`: its client's, for
    /// EXEC.
    pub(in crate::proxy) fn execute(
        &mut self,
        key: ClientKey,
        record: u32,
        transaction: &Transaction,
    ) {
        self.leave_dedicated(key);
        let Some(slot) = transaction.slot else {
            return self.answer_held((key, record), MOVED_AWAY);
        };
        let (bytes, replies) = transaction.request();
        let piece = Piece {
            slot,
            bytes: bytes.into(),
            replies,
            redirections: 0,
            held: None,
        };
        let request = self.requests.scatter(Scattered {
            record,
            client: key,
            gather: Gather::Transaction(Box::new(piece)),
            nodes: Vec::new(),
        });
        let part = Part::new(request, 0, slot);
        let to = transaction.moved.unwrap_or(Redirection::Later);
        self.send_piece(part, to, MOVED_AWAY);
    }

    /// Sends a transaction to the node that executes it, or holds it. `error`: the client gets it
    /// if no node does.
    fn send_piece(&mut self, part: Part, to: Redirection, error: &[u8]) {
        let clock = self.requests.clock();
        let Some((piece, key)) = self.requests.piece(part) else {
            return;
        };
        let (slot, bytes, often) = (
            piece.slot,
            piece.bytes.clone(),
            piece.redirections >= REDIRECTIONS_MAX,
        );
        piece.redirections = piece.redirections.saturating_add(1);
        let node = self.node_for(key, slot, to).filter(|_| !often);
        if node.is_none()
            && let Some((piece, _)) = self.requests.piece(part)
        {
            piece.held = piece.held.or(Some(clock));
        }
        let Some(record) = self.requests.push_piece(part) else {
            return;
        };
        let asking = matches!(to, Redirection::Ask(..));
        let of = (record, key, Verb::Plain);
        if !node.is_some_and(|to| self.resend(of, to, &bytes, asking)) {
            self.hold(Held::new(record, key, &bytes, error));
        }
    }

    /// The node that a redirection of this slot names.
    fn node_for(&mut self, key: ClientKey, slot: Slot, to: Redirection) -> Option<InstanceKey> {
        let pool = self.clients.get(key)?.pool;
        let of = self.upstreams.instance_of(pool)?;
        self.upstreams.doubt_slots(of);
        match to {
            Redirection::Moved(moved, Some(address)) if moved == slot => {
                self.stats.counters.redirected_moved += 1;
                self.upstreams.slot_moved(of, slot, address)
            }
            Redirection::Ask(_, Some(address)) => {
                self.stats.counters.redirected_ask += 1;
                self.upstreams.node_at(of, address)
            }
            _ => None,
        }
    }

    /// Handles the replies to a transaction, or the loss of its link.
    pub(super) fn piece_ended(&mut self, part: Part, end: &PartEnd) {
        let mut unexpected = Vec::new();
        let reply = match end {
            PartEnd::Lost(error) => error,
            PartEnd::Reply(replies) => match Outcome::read(replies) {
                Some(Outcome::SentAway(to, line)) => {
                    let error = match to {
                        Redirection::Later => line,
                        Redirection::Moved(..) | Redirection::Ask(..) => MOVED_AWAY,
                    };
                    return self.send_piece(part, to, error);
                }
                Some(Outcome::Replied(reply)) => reply,
                None => {
                    UNEXPECTED.write(&mut unexpected);
                    &unexpected
                }
            },
        };
        if let Some(whole) = self.requests.end_scattered(part) {
            self.answer_held((whole.client, whole.record), reply);
        }
    }
}
