//! What a command inside MULTI does here when EXEC's reply has its element.

use crate::command::Answer;

/// What a remembered command counts as beside its bytes.
pub(crate) const EFFECT_BYTES: usize = 64;

/// What a queued command does here when EXEC's reply has its element.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The element is replaced by our own answer to this request.
    Answer(Answer, Box<[u8]>),
    /// The element is replaced by the client's line of CLIENT LIST.
    Info,
    /// The client's database, if the element is no error.
    Select(u32),
    /// The client's name, if the element is no error.
    Name(Box<[u8]>),
    /// What CLIENT SETINFO said, if the element is no error.
    Library(Box<[u8]>),
    /// CLIENT NO-TOUCH, if the element is no error.
    NoTouch(bool),
    /// Something stays on the connection until it ends, if the element is no error.
    Keep,
    /// CLIENT GETREDIR of a client that tracks: the element is replaced by a number of ours.
    Redirect,
    /// CLIENT TRACKINGINFO of a client that tracks: so is the number in the element.
    TrackingInfo,
    /// Something was written here, if the element is no error.
    Write,
}

impl Effect {
    /// What it counts as towards the limit on remembered commands.
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

    /// Does the backend's connection end up with something that only this client wanted?
    pub(crate) fn soils(&self) -> bool {
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
