//! How a request is to be answered, whatever the answer is.

use std::mem;

use crate::proxy::Millis;

use super::http::{After, Head, Method, Request};
use super::routes::Place;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// The body is left out.
    pub(super) head_only: bool,
    pub(super) after: After,
}

/// A request that waits for the clusters to change.
#[derive(Debug)]
pub(super) struct Parked {
    /// What the client knows.
    pub(super) etag: String,
    pub(super) until: Millis,
    pub(super) form: Form,
}

impl Form {
    /// The connection ends with it.
    pub(super) const LAST: Self = Self {
        head_only: false,
        after: After::Close,
    };

    /// As the request says.
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

/// What another thread has to answer.
#[derive(Debug)]
pub(super) enum Question {
    /// It has still to be handed over.
    New(Place, Box<Request>),
    /// It was handed over under this number: an answer to an earlier question, whose time was over,
    /// may come before its own.
    Asked(u64),
}

impl Question {
    /// Hands it over under this number, if that was not done before.
    pub(super) fn ask(&mut self, number: u64) -> Option<(Place, Box<Request>)> {
        if let Self::Asked(_) = self {
            return None;
        }
        match mem::replace(self, Self::Asked(number)) {
            Self::New(place, request) => Some((place, request)),
            Self::Asked(_) => None,
        }
    }
}
