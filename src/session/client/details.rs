//! Data that few clients have, or have for a moment only: it is kept apart from the client's
//! record, and freed when a session change ends and nothing else is kept.

use crate::command::ErrorReply;
use crate::dedicated::repeat::Transaction;
use crate::session::change::Login;
use crate::session::change::Waiting;
use crate::session::client::Client;
use crate::session::client::totals::Halves;
use crate::session::lanes::Lanes;
use crate::store::key::{LinkKey, PoolKey};
use crate::store::time::{Millis, Tenths};

/// The links that a client has left, see `former`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Former {
    /// `NONE` stands for links that are not remembered one by one, or whose writes are lost.
    pub connections: Vec<LinkKey>,
    /// The client got the error that its earlier writes cannot be confirmed.
    pub error_sent: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub name: Box<[u8]>,
    pub lib_name: Box<[u8]>,
    pub lib_ver: Box<[u8]>,
    /// The session change in progress.
    pub waiting: Option<Box<Waiting>>,
    /// The error for the client's next command: why its session change, permission check or wait
    /// for a dedicated link failed.
    pub refusal: Option<Box<ErrorReply>>,
    /// The links that the client has left, if [`Flag::Moved`](super::Flag::Moved) is set, and a
    /// little longer.
    pub former: Option<Box<Former>>,
    /// The links of a client of a Redis Cluster.
    pub lanes: Lanes,
    /// When the client joined the wait queue for its present command; 0: that command was not
    /// queued.
    pub queued_since: Millis,
    /// The pool in whose wait queue the client was last.
    pub queued_in: PoolKey,
    /// A transaction of a client of a Redis Cluster that has no link: no command has said yet which
    /// node executes it, or the link is lost.
    pub opened: Option<Box<Transaction>>,
    /// When the client became anonymous again, by RESET or a move to another instance.
    pub anonymous_since: Tenths,
    /// Commands refused before a login, since the last login.
    pub refused_commands: u32,
    /// Bytes of replies that wait for earlier ones.
    pub parked_bytes: u32,
    /// The upper halves of the client's totals.
    pub totals: Halves,
    /// The client's last login was refused: its next one waits behind those of other clients.
    pub login_refused: bool,
    /// READONLY, shown in CLIENT LIST.
    pub read_only: bool,
    /// CLIENT CAPA REDIRECT, shown in CLIENT LIST.
    pub takes_redirects: bool,
}

impl Details {
    /// Is every field at its default?
    fn is_empty(&self) -> bool {
        let Self {
            name,
            lib_name,
            lib_ver,
            waiting,
            refusal,
            former,
            lanes,
            queued_since,
            // Counts only with the time.
            queued_in: _,
            opened,
            anonymous_since,
            refused_commands,
            parked_bytes,
            totals,
            login_refused,
            read_only,
            takes_redirects,
        } = self;
        let names = [name, lib_name, lib_ver].map(|name| name.len());
        let boxes = (waiting.is_some(), refusal.is_some(), former.is_some());
        let none = opened.is_none();
        let times = (*queued_since, *anonymous_since);
        let flags = [*login_refused, *read_only, *takes_redirects];
        names == [0; 3]
            && none
            && lanes.is_empty()
            && boxes == (false, false, false)
            && times == Default::default()
            && (*refused_commands, *parked_bytes) == (0, 0)
            && *totals == Halves::default()
            && flags == [false; 3]
    }
}

impl Client {
    /// The session change in progress.
    pub(crate) fn waiting(&self) -> Option<&Waiting> {
        self.details.as_ref()?.waiting.as_deref()
    }

    /// See [`waiting`](Self::waiting).
    pub(crate) fn waiting_mut(&mut self) -> Option<&mut Waiting> {
        self.details.as_mut()?.waiting.as_deref_mut()
    }

    /// Ends a session change. Frees the record unless it keeps anything else.
    pub(crate) fn end_waiting(&mut self) -> Option<Box<Waiting>> {
        let waiting = self.details.as_mut()?.waiting.take();
        self.details.take_if(|details| details.is_empty());
        waiting
    }

    /// Takes the error for the client's next command, if there is one.
    pub(crate) fn take_refusal(&mut self) -> Option<Box<ErrorReply>> {
        self.details.as_mut()?.refusal.take()
    }

    /// Whether the client's next command gets an error.
    pub(crate) fn has_refusal(&self) -> bool {
        self.details.as_ref().is_some_and(|it| it.refusal.is_some())
    }

    /// The client's next command gets this error.
    pub(crate) fn set_refusal(&mut self, error: ErrorReply) {
        self.details_mut().refusal = Some(Box::new(error));
    }

    /// See [`Details::login_refused`].
    pub(crate) fn login_refused(&self) -> bool {
        self.details.as_ref().is_some_and(|it| it.login_refused)
    }

    /// When the client joined the wait queue; 0: it did not.
    pub(crate) fn queued_since(&self) -> Millis {
        self.details
            .as_ref()
            .map_or_else(Millis::default, |it| it.queued_since)
    }

    /// The pool in whose wait queue the client is.
    pub(crate) fn queued_in(&self) -> PoolKey {
        let details = self.details.as_ref();
        details.map_or(PoolKey::NONE, |it| it.queued_in)
    }

    /// Forgets when the client joined the wait queue: its next command has not been queued.
    pub(crate) fn forget_queued(&mut self) {
        if let Some(details) = &mut self.details {
            details.queued_since = Millis::default();
        }
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.details.as_ref().map_or(&[], |details| &details.name)
    }

    pub(crate) fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// When the client last became anonymous: when it connected, by RESET, or by a move to another
    /// instance.
    pub(crate) fn anonymous_since(&self) -> Tenths {
        let since = self.details.as_ref().map(|it| it.anonymous_since);
        since.map_or(self.opened, |since| since.max(self.opened))
    }

    /// Counts a reply that waits for earlier ones. (32 bits are enough: the client is read paused
    /// long before.)
    pub(crate) fn count_parked(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let parked = &mut self.details_mut().parked_bytes;
        *parked = parked.saturating_add(bytes);
    }

    /// Counts that the reply was delivered.
    pub(crate) fn count_unparked(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Some(details) = &mut self.details {
            details.parked_bytes = details.parked_bytes.saturating_sub(bytes);
        }
    }

    /// Does the client's login still wait for a verifier?
    pub(crate) fn waits_for_login(&self) -> bool {
        let waiting = self.waiting();
        waiting.is_some_and(|it| it.login == Login::Waits)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::resp::Protocol;
    use crate::session::change::{Goal, Login};
    use crate::session::client::Origin;
    use crate::store::key::AccessKey;

    #[test]
    fn details_are_freed_after_a_session_change_unless_they_keep_a_name() {
        let end = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (id, peer, local) = (1, end, end);
        let mut client = Client::new(Origin { id, peer, local }, Millis::default());
        for name in [&b""[..], b"x"] {
            client.details_mut().name = name.into();
            client.details_mut().waiting = Some(Box::new(Waiting {
                goal: Goal::Admission,
                access: AccessKey::NONE,
                db: 0,
                protocol: Protocol::Resp2,
                login: Login::Done,
            }));
            assert!(client.waiting().is_some());
            assert!(client.end_waiting().is_some());
            assert!(client.end_waiting().is_none() && client.waiting().is_none());
            assert_eq!(client.details.is_some(), !name.is_empty());
        }
    }
}
