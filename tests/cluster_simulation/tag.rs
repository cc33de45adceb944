//! Tags: each request carries one, so that a node knows which request it executes.
//!
//! The fake nodes ignore a tag where a real server would refuse another argument, and a key that
//! contains one exists everywhere.

/// The client and its request: `client * REQUESTS + number`.
pub(crate) type Tag = u64;
pub(crate) const REQUESTS: u64 = 100_000;

/// The tag as an argument contains it.
pub(crate) fn text(tag: Tag) -> String {
    format!("@{tag}@")
}

/// The tag in an argument.
pub(crate) fn find(argument: &[u8]) -> Option<Tag> {
    let mut parts = argument.split(|byte| *byte == b'@').skip(1);
    let digits = parts.next()?;
    // The end of a tag must be there.
    parts.next()?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The client that sent a request.
pub(crate) fn client(tag: Tag) -> u64 {
    tag / REQUESTS
}
