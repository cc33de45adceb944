//! How a request is to be answered, whatever the answer is.

use crate::proxy::Millis;

use super::http::{After, Head, Method};

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
