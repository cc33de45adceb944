//! The request in progress on a connection.

use std::mem;

use crate::proxy::Millis;

use super::http::{After, Head, Method, Request};
use super::routes::Thread;

/// Form of the response, whatever its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResponseForm {
    /// The body is left out.
    pub(super) head_only: bool,
    pub(super) after: After,
}

/// A request that waits for a change of the clusters.
#[derive(Debug)]
pub(super) struct Parked {
    /// The ETag that the client has.
    pub(super) etag: String,
    pub(super) until: Millis,
    pub(super) form: ResponseForm,
}

impl ResponseForm {
    /// For the last response of a connection.
    pub(super) const LAST: Self = Self {
        head_only: false,
        after: After::Close,
    };

    /// The form that the request asks for.
    pub(super) fn of(head: &Head) -> Self {
        Self {
            head_only: head.method == Method::Head,
            after: match (head.keep_alive, head.is_old) {
                (false, _) => After::Close,
                (true, false) => After::Keep,
                (true, true) => After::SayKeep,
            },
        }
    }
}

/// A call that another thread handles.
#[derive(Debug)]
pub(super) enum Call {
    /// Not handed over yet.
    New(Thread, Box<Request>),
    /// Handed over under this number. The answer to an earlier call that timed out may come first.
    HandedOver(u64),
}

impl Call {
    /// Hands the call over under this number, if that has not been done.
    pub(super) fn hand_over(&mut self, number: u64) -> Option<(Thread, Box<Request>)> {
        if let Self::HandedOver(_) = self {
            return None;
        }
        match mem::replace(self, Self::HandedOver(number)) {
            Self::New(thread, request) => Some((thread, request)),
            Self::HandedOver(_) => None,
        }
    }
}
