//! Replies when a server is missing: its connection was lost, it is unreachable, or there is none.

use super::super::client::Sent;
use super::super::redis::{Redis, Tag, is_busy, is_degraded_error};
use super::{After, GRACE_MS, Model, Verdict, View};

pub(super) const NO_INSTANCE: &str = "ERR elika: backend unavailable: no instance";
pub(super) const REMOVED: &str = "ERR elika: backend unavailable: removed";
pub(super) const FULL: &str = "ERR max number of clients reached";

impl Model {
    /// Whether a connection to its server may have been lost since then.
    pub(super) fn has_lost(&self, sent: &Sent, view: &View<'_>) -> bool {
        let servers = self.servers(sent.at, view);
        { servers.iter() }.any(|server| server.failed_since(sent.at, 0))
    }

    /// Whether its server was degraded.
    pub(super) fn was_degraded(&self, text: &str, sent: &Sent, view: &View<'_>) -> bool {
        let servers = self.servers(sent.at, view);
        is_degraded_error(text) && { servers.iter() }.any(|server| server.was_ill(text, sent.at))
    }

    /// A server rejected the request because of its state: nothing was executed.
    pub(super) fn in_degraded_state(
        &mut self,
        tag: Tag,
        text: &str,
        sent: &Sent,
        view: &View<'_>,
    ) -> Verdict {
        let refusal = view.refusals(tag).find(|(_, said, _)| *said == text);
        match refusal {
            Some((server, _, at)) => self.comes_to(server, (at, at), view)?,
            // A connection for the request could not select its database.
            None if is_busy(text) && self.was_degraded(text, sent, view) => {}
            None => return Err("no server in trouble said so".into()),
        }
        Ok(After {
            never: vec![tag],
            ..After::default()
        })
    }

    /// Whether its server may be treated as down.
    pub(super) fn has_failed(&self, sent: &Sent, view: &View<'_>) -> bool {
        let servers = self.servers(sent.at, view);
        { servers.iter() }.any(|server| failed(server, sent, view))
    }

    /// Whether it may get this error, because its server may be treated as down or is missing.
    pub(super) fn is_unavailable(&self, text: &str, sent: &Sent, view: &View<'_>) -> bool {
        let tenant = self.tenant(view);
        let nowhere = |tenant| text == NO_INSTANCE && view.lacks_instances(tenant, sent.at);
        let over = || {
            let left = self.left_for(view.now, view);
            text == REMOVED && left.is_some_and(|ms| ms >= view.plan.settings.offline_grace_ms)
        };
        is_unavailable(text)
            && (tenant.is_some_and(nowhere) || self.has_failed(sent, view) || over())
    }
}

pub(super) fn failed(server: &Redis, sent: &Sent, view: &View<'_>) -> bool {
    server.is_out(view.now) || server.failed_since(sent.at, GRACE_MS)
}

/// Whether the request was sent and its reply lost.
pub(super) fn is_lost(text: &str) -> bool {
    text.ends_with(", outcome unknown") && text.starts_with("ERR elika: backend ")
}

pub(crate) fn is_unavailable(text: &str) -> bool {
    let why = text.strip_prefix("ERR elika: backend unavailable: ");
    why.is_some_and(|why| !why.is_empty()) || text == FULL
}
