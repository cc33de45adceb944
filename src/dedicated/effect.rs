//! The effects of commands inside MULTI, which apply when EXEC's reply has their elements.

use crate::command::Answer;

/// The size of a remembered command, beside its bytes.
pub(crate) const EFFECT_BYTES: usize = 64;

/// What the proxy does when EXEC's reply has the element of a queued command.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Replaces the element by the proxy's reply to this request.
    Answer(Answer, Box<[u8]>),
    /// Replaces the element by the client's line of CLIENT LIST.
    Info,
    /// Changes the client's database, if the element is no error.
    Select(u32),
    /// Changes the client's name, if the element is no error.
    Name(Box<[u8]>),
    /// Changes the library name or version of CLIENT SETINFO, if the element is no error.
    Library(Box<[u8]>),
    /// Changes CLIENT NO-TOUCH, if the element is no error.
    NoTouch(bool),
    /// Keeps the link dedicated until it ends, if the element is no error.
    Keep,
    /// Replaces the number in CLIENT GETREDIR's element by the proxy's number of that client.
    Redirect,
    /// Replaces the number in CLIENT TRACKINGINFO's element in the same way.
    TrackingInfo,
    /// Notes that the client wrote on this link, if the element is no error.
    Write,
}

impl Effect {
    /// The size towards the limit on remembered commands.
    pub(crate) fn size(&self) -> usize {
        let bytes = match self {
            Self::Answer(_, frame) | Self::Library(frame) => frame.len(),
            Self::Name(name) => name.len(),
            _ => 0,
        };
        EFFECT_BYTES + bytes
    }

    pub(crate) fn replaces(&self) -> bool {
        matches!(
            self,
            Self::Answer(..) | Self::Info | Self::Redirect | Self::TrackingInfo
        )
    }

    /// Does the effect leave a setting of this client on the server's side of the link?
    pub(crate) fn forbids_reuse(&self) -> bool {
        match self {
            Self::Answer(answer, _) => matches!(
                answer,
                Answer::ClientCapa | Answer::ClientSwitch | Answer::ReadOnly(_)
            ),
            Self::Name(_) | Self::Library(_) | Self::Keep => true,
            _ => false,
        }
    }
}
