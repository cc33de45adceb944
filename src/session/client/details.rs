//! What few clients have, or any has for a moment: it is kept apart from a client's record. When a
//! session change ends and nothing else is there to keep, its memory is given back.

use crate::session::change::Login;
use crate::session::change::Waiting;
use crate::session::client::Client;
use crate::session::client::totals::Halves;
use crate::store::key::LinkKey;
use crate::store::time::{Millis, Tenths};

/// The connections that a client has left, see `former`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Former {
    /// `NONE` stands for one of which nothing is known any more.
    pub connections: Vec<LinkKey>,
    /// The client has heard that nobody can tell of what it wrote so far.
    pub told: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub name: Box<[u8]>,
    pub lib_name: Box<[u8]>,
    pub lib_ver: Box<[u8]>,
    /// The session change under way. `Some` exactly while the client's hold has `VERDICT`.
    pub waiting: Option<Box<Waiting>>,
    /// Why the backend's verdict could not be had: what its next command hears.
    pub refusal: Option<Box<str>>,
    /// The connections that it has left, if it is [`Flag::Moved`](super::Flag::Moved), and
    /// a little longer.
    pub former: Option<Box<Former>>,
    /// Since when it has stood in line for what it asks; 0: it does not.
    pub line_since: Millis,
    /// When a RESET, or a move to another instance, has made it nobody again.
    pub nobody_since: Tenths,
    /// Commands refused before a login, since the last login.
    pub refused_commands: u32,
    /// Bytes of replies made here that wait for those before them.
    pub parked_bytes: u32,
    /// The upper halves of its totals.
    pub totals: Halves,
    /// Its last login was refused: the next one waits behind those of others.
    pub login_refused: bool,
    /// READONLY: it shows in CLIENT LIST.
    pub read_only: bool,
    /// CLIENT CAPA REDIRECT: so does that.
    pub takes_redirects: bool,
}

impl Details {
    /// Is there nothing to keep?
    fn is_empty(&self) -> bool {
        let Self {
            name,
            lib_name,
            lib_ver,
            waiting,
            refusal,
            former,
            line_since,
            nobody_since,
            refused_commands,
            parked_bytes,
            totals,
            login_refused,
            read_only,
            takes_redirects,
        } = self;
        let names = [name, lib_name, lib_ver].map(|name| name.len());
        let boxes = (waiting.is_some(), refusal.is_some(), former.is_some());
        let times = (*line_since, *nobody_since);
        let flags = [*login_refused, *read_only, *takes_redirects];
        names == [0; 3]
            && boxes == (false, false, false)
            && times == Default::default()
            && (*refused_commands, *parked_bytes) == (0, 0)
            && *totals == Halves::default()
            && flags == [false; 3]
    }
}

impl Client {
    /// The session change under way.
    pub(crate) fn waiting(&self) -> Option<&Waiting> {
        self.details.as_ref()?.waiting.as_deref()
    }

    /// See [`waiting`](Self::waiting).
    pub(crate) fn waiting_mut(&mut self) -> Option<&mut Waiting> {
        self.details.as_mut()?.waiting.as_deref_mut()
    }

    /// Ends a session change. Most clients have nothing else of the kind, and keep nothing.
    pub(crate) fn end_waiting(&mut self) -> Option<Box<Waiting>> {
        let waiting = self.details.as_mut()?.waiting.take();
        self.details.take_if(|details| details.is_empty());
        waiting
    }

    /// What its next command is to hear, if anything.
    pub(crate) fn take_refusal(&mut self) -> Option<Box<str>> {
        self.details.as_mut()?.refusal.take()
    }

    /// See [`Details::login_refused`].
    pub(crate) fn login_refused(&self) -> bool {
        self.details.as_ref().is_some_and(|it| it.login_refused)
    }

    /// Since when it has stood in line; 0: it does not.
    pub(crate) fn line_since(&self) -> Millis {
        self.details
            .as_ref()
            .map_or_else(Millis::default, |it| it.line_since)
    }

    /// What it asks next has not stood in line yet.
    pub(crate) fn forget_line(&mut self) {
        if let Some(details) = &mut self.details {
            details.line_since = Millis::default();
        }
    }

    pub(crate) fn name(&self) -> &[u8] {
        self.details.as_ref().map_or(&[], |details| &details.name)
    }

    pub(crate) fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// Since when it has been nobody: since it was opened, or since RESET.
    pub(crate) fn nobody_since(&self) -> Tenths {
        let since = self.details.as_ref().map(|it| it.nobody_since);
        since.map_or(self.opened, |since| since.max(self.opened))
    }

    /// A reply made here waits for those before it. (They are counted in 32 bits: a client is not
    /// read long before it has so many.)
    pub(crate) fn count_parked(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let parked = &mut self.details_mut().parked_bytes;
        *parked = parked.saturating_add(bytes);
    }

    /// It waits no more.
    pub(crate) fn count_unparked(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Some(details) = &mut self.details {
            details.parked_bytes = details.parked_bytes.saturating_sub(bytes);
        }
    }

    /// Has nobody asked for the verdict on its login yet?
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
    fn a_session_change_leaves_nothing_behind_but_what_else_there_is() {
        let end = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (id, peer, local) = (1, end, end);
        let mut client = Client::new(Origin { id, peer, local }, Millis::default());
        for name in [&b""[..], b"x"] {
            client.details_mut().name = name.into();
            client.details_mut().waiting = Some(Box::new(Waiting {
                goal: Goal::Verdict,
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
