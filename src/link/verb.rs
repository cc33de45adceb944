//! What the reply to a request says about the connection that it went to.

use crate::command::Topic;

/// What the reply to a request says about the connection that it went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Nothing.
    Plain,
    /// Nothing, but it may be long in coming.
    Script,
    /// A transaction has begun.
    Multi,
    /// It has ended, well or not.
    Exec,
    /// It was dropped.
    Discard,
    /// Nothing is watched any more.
    Unwatch,
    /// The client waits for something to come.
    Block,
    /// All who wait for replicas on the connection do so, for a moment.
    Wait,
    /// As many confirmations as the record counts, or one error.
    Confirm(Topic),
    /// Confirmations until nothing of this topic is subscribed to.
    ConfirmAll(Topic),
    /// What the first of [`Pin::changes`] says.
    Change,
}

impl Verb {
    /// May its reply begin or end a transaction?
    pub(crate) fn is_transaction(self) -> bool {
        matches!(self, Self::Multi | Self::Exec | Self::Discard)
    }

    /// Are its replies confirmations, one per channel?
    pub(crate) fn confirms(self) -> bool {
        matches!(self, Self::Confirm(_) | Self::ConfirmAll(_))
    }

    /// Is it open what the connection will hold afterwards?
    pub(crate) fn is_unsettled(self) -> bool {
        !matches!(self, Self::Plain | Self::Script | Self::Block | Self::Wait)
    }

    /// May its reply take as long as it likes?
    pub(crate) fn is_patient(self) -> bool {
        matches!(self, Self::Block | Self::Wait)
    }

    /// Does silence of its connection say nothing? The proxy's own WAIT lasts for a moment only.
    pub(crate) fn blocks(self) -> bool {
        self == Self::Block
    }
}
