//! Transactions: all queued commands are executed together, or none.

use super::super::client::{Op, Sent};
use super::super::redis::{Outcome, Redis, Tag, is_degraded_error, null_array};
use super::super::wire;
use super::dedicated::{MISCOUNTED, UNKNOWN};
use super::unavailable::FULL;
use super::{After, Model, Verdict, View};

/// The replies to a client inside MULTI so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    queued: Vec<Sent>,
    pub(super) failed: bool,
}

const NOT_INSIDE: &str = "ERR Command not allowed inside a transaction";
const BECAUSE: &str = "EXECABORT Transaction discarded because of: ";
const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

impl Model {
    pub(super) fn begin(&mut self) {
        self.transaction = Some(Transaction::default());
    }

    /// A client whose MULTI, WATCH, SELECT or login the proxy refuses is closed: no command behind
    /// it is executed.
    pub(super) fn ends_with_a_refusal(&self, sent: &Sent, reply: &[u8], after: After) -> After {
        let governs = sent.op.is_login() || matches!(sent.op, Op::Hello { .. } | Op::Select(_));
        let governs = governs || matches!(sent.op, Op::Multi | Op::Watch { .. });
        // Sent on a dedicated connection, which may be lost.
        let changes = matches!(sent.op, Op::Tracking(_) | Op::NoTouch(_));
        let Some(text) = wire::error_text(reply).filter(|_| governs || changes) else {
            return after;
        };
        match text.starts_with("ERR elika: ") || text == FULL {
            // A client that may be inside MULTI already may stay.
            true if governs && !self.unheard => After {
                closes: Some("what its next requests mean is not known"),
                ..after
            },
            // The error may be the server's reply, or that of another connection.
            _ => After {
                may_close: true,
                ..after
            },
        }
    }

    /// Checks a reply to a client inside MULTI.
    pub(super) fn inside(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let text = wire::error_text(reply);
        let never = || After {
            never: sent.op.tag().into_iter().collect(),
            ..After::default()
        };
        let denied = match &sent.op {
            Op::Denied(name) => Some(*name),
            Op::Admin { .. } if !view.plan.settings.admin_commands => Some("config|set"),
            _ => None,
        };
        if let Some(text) = text.filter(|text| is_degraded_error(text)) {
            self.transaction.get_or_insert_default().failed = true;
            return match sent.op.tag() {
                Some(tag) => self.in_degraded_state(tag, text, sent, view),
                None if self.was_degraded(text, sent, view) => Ok(After::default()),
                None => Err("its server is not in trouble".into()),
            };
        }
        // Whether the command is refused, which aborts the transaction.
        let (right, fatal) = match &sent.op {
            Op::Exec => return self.exec(sent, reply, view),
            Op::Discard if reply == b"+OK\r\n" => {
                let never = self.dropped();
                return Ok(After {
                    never,
                    ..After::default()
                });
            }
            Op::Multi => (text == Some("ERR MULTI calls can not be nested"), false),
            Op::Watch { .. } => (text == Some("ERR WATCH inside MULTI is not allowed"), false),
            Op::Unknown { .. } => (text == Some(UNKNOWN), true),
            Op::Miscounted => (text == Some(MISCOUNTED), true),
            Op::Auth(_)
            | Op::Hello { .. }
            | Op::ReplyOn
            | Op::List
            | Op::Kill { .. }
            | Op::Unblock
            | Op::Subscribe { .. }
            | Op::Unsubscribe { .. }
            | Op::Tracking(_) => (text == Some(NOT_INSIDE), true),
            _ if denied.is_some() => {
                let right = denied.is_some_and(|name| self.denied(name, reply));
                (right, true)
            }
            _ if reply == b"+QUEUED\r\n" => {
                let transaction = self.transaction.get_or_insert_default();
                transaction.queued.push(sent.clone());
                return Ok(After::default());
            }
            _ => (false, false),
        };
        if !right {
            return Err("not what one hears inside MULTI".into());
        }
        self.transaction.get_or_insert_default().failed |= fatal;
        Ok(never())
    }

    /// The transaction and all watches have ended; queued commands must not have been executed.
    pub(super) fn dropped(&mut self) -> Vec<Tag> {
        self.watches.clear();
        let queued = self.transaction.take().unwrap_or_default().queued;
        queued.iter().filter_map(|sent| sent.op.tag()).collect()
    }

    fn exec(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let Transaction { queued, failed } = self.transaction.clone().unwrap_or_default();
        let tags: Vec<Tag> = queued.iter().filter_map(|sent| sent.op.tag()).collect();
        let mut watches = std::mem::take(&mut self.watches);
        if self.unheard {
            // They may have ended.
            watches.clear();
        }
        let mut parts = tags.iter().chain(&watches);
        let found = parts.find_map(|tag| view.outcome(*tag));
        let outcome = found.map(|(_, outcome)| outcome);
        let touched = |at: usize| match found {
            Some((server, _)) => touched(server, &watches, at),
            None => Ok(false),
        };
        let never = self.dropped();
        if reply == null_array(self.protocol) {
            return match outcome {
                Some(Outcome::Null(at)) if !failed && (self.unheard || touched(*at)?) => {
                    Ok(After {
                        never,
                        ..After::default()
                    })
                }
                None if self.unheard && !failed => Ok(After::default()),
                _ => Err(format!("no watched key was written: {outcome:?}")),
            };
        }
        if wire::error_text(reply) == Some(ABORTED) {
            return match outcome {
                Some(Outcome::Abort) | None if failed => Ok(After {
                    never,
                    ..After::default()
                }),
                _ => Err(format!("aborted without a reason: {outcome:?}")),
            };
        }
        let because = wire::error_text(reply).and_then(|text| text.strip_prefix(BECAUSE));
        if let Some(text) = because {
            return match outcome {
                Some(Outcome::Abort) | None if self.was_degraded(text, sent, view) => Ok(After {
                    never,
                    ..After::default()
                }),
                _ => Err(format!("why was it aborted? {outcome:?}")),
            };
        }
        let exec = match outcome {
            Some(Outcome::Done(exec, done, at)) => {
                if done != &tags {
                    return Err(format!("executed {done:?} instead of {tags:?}"));
                }
                if touched(*at)? {
                    return Err("executed, though a watched key had been written".into());
                }
                Some(*exec)
            }
            None => None,
            other => return Err(format!("executed? {other:?}")),
        };
        let elements = wire::elements(reply)?;
        if failed || elements.len() != queued.len() || exec.is_none() && !tags.is_empty() {
            return Err(format!("not the elements of {queued:?}"));
        }
        let mut listed = Vec::new();
        for (sent, element) in queued.iter().zip(elements) {
            let after = self.element(sent, element, exec, view)?;
            listed.extend(after.listed);
        }
        Ok(After {
            listed,
            ..After::default()
        })
    }

    /// An element of EXEC's reply is the reply of its command.
    fn element(
        &mut self,
        sent: &Sent,
        element: &[u8],
        exec: Option<u64>,
        view: &View<'_>,
    ) -> Verdict {
        let tag = match sent.op {
            Op::Data { tag, .. } | Op::Pop { tag } | Op::Admin { tag } => tag,
            // Inside a transaction WAIT does not wait, and is about the connection of the
            // transaction.
            Op::Wait { .. } if wire::integer(element).is_some() => return Ok(After::default()),
            Op::Unwatch if element == b"+OK\r\n" => return Ok(After::default()),
            _ => return self.evaluate_op(sent, element, view),
        };
        let executed = view.execution(tag, element);
        let Some((server, done)) =
            executed.filter(|(_, it)| it.exec == exec && it.reply == element)
        else {
            return Err(format!("{tag}: {executed:?} in {exec:?}"));
        };
        self.is_mine(done)?;
        self.comes_to(server, (sent.at, done.at), view)?;
        self.note_execution(tag, server, done);
        Ok(After::default())
    }
}

/// Whether a watched key was written between these WATCHes and the EXEC.
fn touched(server: &Redis, watches: &[Tag], at: usize) -> Result<bool, String> {
    let mut touched = false;
    for tag in watches {
        let Some(watch) = server.watches.get(tag) else {
            return Err(format!("{tag} was not executed"));
        };
        let mut writes = server.writes[watch.at..at].iter();
        touched |= writes.any(|key| watch.keys.contains(key));
    }
    Ok(touched)
}
