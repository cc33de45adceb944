//! The verb of a request: what its reply changes on the link.

use crate::command::Topic;

/// The verb of a request: what its reply changes on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// The reply changes nothing.
    Plain,
    /// The reply changes nothing, but the script may run for a long time.
    Script,
    /// A transaction has begun.
    Multi,
    /// Keys are watched: the first of `Pin::changes` says which.
    Watch,
    /// The transaction has ended, successfully or not.
    Exec,
    /// The transaction was dropped.
    Discard,
    /// No key is watched any more.
    Unwatch,
    /// The reply comes when a blocking command gets its data.
    Block,
    /// The proxy's own WAIT: one reply for all clients that wait on the link.
    Wait,
    /// As many confirmations as the record counts, or one error.
    Confirm(Topic),
    /// Confirmations until no subscription of this topic is left.
    ConfirmAll(Topic),
    /// The reply accepts or refuses the first of `Pin::changes`.
    Change,
}

impl Verb {
    /// May the reply begin or end a transaction?
    pub(crate) fn is_transaction(self) -> bool {
        matches!(self, Self::Multi | Self::Exec | Self::Discard)
    }

    /// Do the client's next requests belong to a transaction?
    pub(crate) fn begins_transaction(self) -> bool {
        matches!(self, Self::Multi | Self::Watch)
    }

    /// Do the client's next requests mean something else if this one succeeds?
    pub(crate) fn governs_next(self) -> bool {
        self.begins_transaction() || self == Self::Change
    }

    /// Are the replies confirmations, one per channel?
    pub(crate) fn confirms(self) -> bool {
        matches!(self, Self::Confirm(_) | Self::ConfirmAll(_))
    }

    /// Is the state of the link unknown until the reply arrives?
    pub(crate) fn is_unsettled(self) -> bool {
        !matches!(self, Self::Plain | Self::Script | Self::Block | Self::Wait)
    }

    /// May the reply take any time?
    pub(crate) fn is_untimed(self) -> bool {
        matches!(self, Self::Block | Self::Wait)
    }

    /// Does the link have no reply deadline while the request is in flight? The proxy's own WAIT
    /// ends after a moment, so it has one.
    pub(crate) fn blocks(self) -> bool {
        self == Self::Block
    }
}
