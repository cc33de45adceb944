//! WAIT: regardless of the connections that the proxy used, the reply is at most the number of
//! replicas that have the client's last write.

use super::super::client::{Op, Sent};
use super::super::redis::{Execution, Redis, Tag};
use super::super::wire;
use super::dedicated::UNBLOCKED;
use super::unavailable::is_lost;
use super::{After, Model, Verdict, View};

/// The error when no connection can tell whether writes were replicated.
const UNKNOWN: &str = "ERR elika: the connection that carried the writes is in use or closed";

/// The writes of a client, as far as its replies tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    last: Option<Write>,
    /// The connection that last executed a request of the client, with its server.
    here: Option<(usize, u64)>,
    pub(crate) waits: Waits,
    /// The last write that it sent without a reply, if none of its later writes was answered.
    pub(crate) silently: Option<Tag>,
    /// A CLIENT UNBLOCK with TIMEOUT may have ended its WAIT.
    pub(crate) may_end_early: bool,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    on: (usize, u64),
    offset: u64,
}

/// The replies to WAIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// As many replicas as requested have the write.
    pub(crate) met: u64,
    /// The same, where the write was sent on a connection that the client has left.
    pub(crate) met_elsewhere: u64,
    pub(crate) missed: u64,
    /// The error that it is unknown.
    pub(crate) unknown: u64,
}

impl Waits {
    pub(crate) fn add(&mut self, other: Self) {
        self.met += other.met;
        self.met_elsewhere += other.met_elsewhere;
        self.missed += other.missed;
        self.unknown += other.unknown;
    }
}

impl Model {
    /// The client gets the reply of this execution.
    pub(super) fn note_execution(&mut self, tag: Tag, server: &Redis, done: &Execution) {
        let on = (server.index, done.session);
        self.written.here = Some(on);
        if let Some(offset) = done.offset {
            self.written.last = Some(Write { on, offset });
            self.written.silently.take_if(|silent| *silent < tag);
        }
    }

    /// Checks the reply to WAIT outside of MULTI.
    pub(super) fn has_waited(&mut self, sent: &Sent, reply: &[u8], view: &View<'_>) -> Verdict {
        let Op::Wait { replicas, ms } = sent.op else {
            return Err("this is no WAIT".into());
        };
        let Written {
            last,
            here,
            waits,
            silently,
            may_end_early,
        } = &mut self.written;
        match wire::error_text(reply) {
            Some(UNKNOWN) => {
                waits.unknown += u64::from(last.is_some());
                // The client has got the error; its later writes are new.
                *last = None;
                return Ok(After::default());
            }
            // Whether the client wanted a reply is checked elsewhere.
            Some(UNBLOCKED) => return Ok(After::default()),
            Some(text) if is_lost(text) => {
                return match self.has_lost(sent, view) {
                    true => Ok(After::default()),
                    false => Err("nothing was lost".into()),
                };
            }
            _ => {}
        }
        if let (Some(told), Some(write)) = (wire::integer(reply), *last) {
            let told = told as u64;
            let server = &view.servers[write.on.0];
            let most = server.replication.acknowledged(write.offset);
            if told > most && silently.is_none() {
                return Err(format!("{most} replicas have {write:?}"));
            }
            if told < replicas && ms == 0 && !server.is_in_step() && !*may_end_early {
                return Err("it was to wait for ever".into());
            }
            let met = told >= replicas && replicas > 0;
            waits.met += u64::from(met);
            waits.met_elsewhere += u64::from(met && *here != Some(write.on));
            waits.missed += u64::from(!met);
        }
        self.local(sent, reply, view, |_, reply| wire::integer(reply).is_some())
    }
}
