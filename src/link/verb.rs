//! The verb of a request: what its reply says about the link.

use crate::command::Topic;

/// The verb of a request: what its reply says about the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Nothing.
    Plain,
    /// Nothing, but it may take long.
    Script,
    /// A transaction has begun.
    Multi,
    /// The transaction has ended, successfully or not.
    Exec,
    /// The transaction was dropped.
    Discard,
    /// No key is watched any more.
    Unwatch,
    /// The reply comes when a blocking command gets its data.
    Block,
    /// The reply is for all clients in WAIT on the link; it comes after a moment.
    Wait,
    /// As many confirmations as the record counts, or one error.
    Confirm(Topic),
    /// Confirmations until no subscription of this topic is left.
    ConfirmAll(Topic),
    /// The first of `Pin::changes` says it.
    Change,
}

impl Verb {
    /// May the reply begin or end a transaction?
    pub(crate) fn is_transaction(self) -> bool {
        matches!(self, Self::Multi | Self::Exec | Self::Discard)
    }

    /// Are the replies confirmations, one per channel?
    pub(crate) fn confirms(self) -> bool {
        matches!(self, Self::Confirm(_) | Self::ConfirmAll(_))
    }

    /// Is it unknown what the link will hold afterwards?
    pub(crate) fn is_unsettled(self) -> bool {
        !matches!(self, Self::Plain | Self::Script | Self::Block | Self::Wait)
    }

    /// May the reply take any time?
    pub(crate) fn is_untimed(self) -> bool {
        matches!(self, Self::Block | Self::Wait)
    }

    /// Is the link's silence no failure? The proxy's own WAIT lasts for a moment only.
    pub(crate) fn blocks(self) -> bool {
        self == Self::Block
    }
}
