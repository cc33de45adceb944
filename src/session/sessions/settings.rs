//! The settings of a client's session, and notes about its commands.

use crate::command::Answer;
use crate::command::client::{self as client_command};
use crate::dedicated::pin::{Change, Pin};
use crate::resp::Args;
use crate::session::client::{Client, Flag};
use crate::session::last_command::LastCommand;
use crate::session::sessions::Sessions;
use crate::store::key::ClientKey;

impl Sessions {
    pub(crate) fn note(&mut self, key: ClientKey, name: &[u8]) {
        if let Some(client) = self.get_mut(key) {
            client.command = LastCommand::named(name);
        }
    }

    /// Notes what a command that the proxy answered changes in the client's line.
    pub(crate) fn note_answer(&mut self, key: ClientKey, answer: Answer, args: Args<'_>) {
        let Some(client) = self.get_mut(key) else {
            return;
        };
        match answer {
            Answer::ReadOnly(on) if on || client.details.is_some() => {
                client.details_mut().read_only = on;
            }
            Answer::ClientCapa => {
                let mut capabilities = args.skip(2);
                if capabilities.any(|it| it.eq_ignore_ascii_case(b"redirect")) {
                    client.details_mut().takes_redirects = true;
                }
            }
            _ => {}
        }
    }

    #[inline]
    pub(crate) fn pin_mut(&mut self, key: ClientKey) -> Option<&mut Pin> {
        self.get_mut(key)?.pin_mut()
    }

    /// Changes what a client's dedicated link holds.
    pub(crate) fn change_pin(&mut self, key: ClientKey, change: &Change) {
        if let Some(pin) = self.pin_mut(key) {
            pin.change(change);
        }
    }

    /// Must links other than the client's dedicated link be asked in a WAIT? Not inside MULTI or in
    /// subscriber mode, where WAIT does not wait.
    pub(crate) fn waits_elsewhere(&self, key: ClientKey) -> bool {
        let elsewhere = |it: &&Client| it.is(Flag::Moved) || it.is(Flag::ManyNodes);
        let client = self.get(key).filter(elsewhere);
        let pin = client.and_then(|it| Some((it.protocol, it.pin()?)));
        pin.is_some_and(|(protocol, pin)| !pin.multi && !pin.is_modal(protocol))
    }

    /// Would a server accept WAIT on this client's dedicated link, with the usual reply?
    pub(crate) fn lets_ask(&self, key: ClientKey) -> bool {
        let pin = { self.get(key) }.and_then(|it| Some((it.protocol, it.pin()?)));
        pin.is_some_and(|(protocol, pin)| {
            // The next command may be one that CLIENT CACHING is about.
            let by_choice = pin.tracking.is_some_and(|it| it.by_choice);
            let usual = !pin.multi && !pin.monitor && !pin.is_modal(protocol);
            pin.unsettled == 0 && usual && !by_choice
        })
    }

    #[inline]
    pub(crate) fn is_inside(&self, key: ClientKey) -> bool {
        let pin = self.get(key).and_then(|c| c.pin());
        pin.is_some_and(|pin| pin.multi)
    }

    pub(crate) fn named(&mut self, key: ClientKey, name: &[u8]) {
        if let Some(client) = self.get_mut(key)
            && (client.details.is_some() || !name.is_empty())
        {
            client.details_mut().name = name.into();
        }
    }

    pub(crate) fn note_library(&mut self, key: ClientKey, info: client_command::SetInfo<'_>) {
        if let Some(details) = self.get_mut(key).map(Client::details_mut) {
            match info {
                client_command::SetInfo::LibName(name) => details.lib_name = name.into(),
                client_command::SetInfo::LibVer(version) => details.lib_ver = version.into(),
            }
        }
    }

    pub(crate) fn is_tracking(&self, key: ClientKey) -> bool {
        let pin = self.get(key).and_then(|c| c.pin());
        pin.is_some_and(|pin| pin.tracking.is_some())
    }

    #[inline]
    pub(crate) fn note_command_of(&mut self, key: ClientKey, frame: &[u8]) {
        if let Some(client) = self.get_mut(key)
            && let Some(command) = LastCommand::of(frame)
        {
            client.command = command;
        }
    }
}
