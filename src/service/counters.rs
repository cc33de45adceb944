//! Counters of the service port itself, and their part of the metrics page.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::metrics::{Family, Kind, Text};

/// A limit in [`limits`](super::limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// The request line and headers.
    Head,
    /// The body.
    Body,
    /// Connections.
    Connections,
    /// Connections of one address.
    Peer,
    /// Requests that wait for a change.
    Parked,
    /// Queued calls, or the time for a call.
    Calls,
    /// Clusters that were added without a token or the admin listener.
    Clusters,
    /// The time to send a request.
    RequestMs,
    /// The time between requests.
    IdleMs,
    /// The time to receive a response.
    ResponseMs,
}

impl Limit {
    const ALL: [Self; 10] = [
        Self::Head,
        Self::Body,
        Self::Connections,
        Self::Peer,
        Self::Parked,
        Self::Calls,
        Self::Clusters,
        Self::RequestMs,
        Self::IdleMs,
        Self::ResponseMs,
    ];

    /// The value of the label `limit`.
    fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
            Self::Connections => "connections",
            Self::Peer => "peer",
            Self::Parked => "parked",
            Self::Calls => "calls",
            Self::Clusters => "clusters",
            Self::RequestMs => "request_ms",
            Self::IdleMs => "idle_ms",
            Self::ResponseMs => "response_ms",
        }
    }
}

const RESPONSES: Family = Family {
    name: "elika_service_responses_total",
    kind: Kind::Counter,
    labels: &["code"],
    help: "Responses of the service port, by HTTP status.",
};

const LIMITED: Family = Family {
    name: "elika_service_limited_total",
    kind: Kind::Counter,
    labels: &["limit"],
    help: "How often a limit of the service port was reached.",
};

const CONNECTIONS: Family = Family {
    name: "elika_service_connections",
    kind: Kind::Gauge,
    labels: &[],
    help: "Connections to the service port.",
};

#[derive(Debug, Default)]
pub(super) struct Counters {
    responses: Mutex<BTreeMap<u16, u64>>,
    limited: [AtomicU64; Limit::ALL.len()],
    connections: AtomicU64,
}

impl Counters {
    /// Counts a response.
    pub(super) fn answered(&self, status: u16) {
        let mut responses = self
            .responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *responses.entry(status).or_default() += 1;
    }

    /// Counts that a limit was reached.
    pub(super) fn reached(&self, limit: Limit) {
        if let Some(count) = self.limited.get(limit as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets the number of open connections.
    pub(super) fn set_connections(&self, n: usize) {
        self.connections.store(n as u64, Ordering::Relaxed);
    }
}

/// All families, for the page and its documentation.
pub(super) const FAMILIES: [Family; 3] = [RESPONSES, LIMITED, CONNECTIONS];

/// The values of the label `limit`.
pub(super) fn limits() -> impl Iterator<Item = &'static str> {
    Limit::ALL.into_iter().map(Limit::name)
}

impl Counters {
    /// This part of the metrics page.
    pub(super) fn page(&self) -> String {
        let mut text = Text::default();
        let responses = self
            .responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut samples = text.family(&RESPONSES);
        for (status, n) in &*responses {
            samples.number(&[&status.to_string()], *n);
        }
        let mut samples = text.family(&LIMITED);
        for (limit, n) in Limit::ALL.iter().zip(&self.limited) {
            samples.number(&[limit.name()], n.load(Ordering::Relaxed));
        }
        let connections = self.connections.load(Ordering::Relaxed);
        text.family(&CONNECTIONS).number(&[], connections);
        text.finish()
    }
}
