//! Everything that requests are answered from: the settings, the office, the registry.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tinyjson::JsonValue;

use crate::cluster::ClusterRegistry;

use super::Office;
use super::added::Added;
use super::counters::{Counters, Limit};
use super::envelope::{failure, success};
use super::guard::Token;
use super::http::{Refusal, Response};

/// What the service port is told once.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceSettings {
    /// What callers that change something, or look at clients, must bring; without one they must
    /// be on this machine.
    pub(crate) token: Option<Token>,
    /// Where calls are made that need more trust than a caller on this machine has at the service
    /// port.
    pub(crate) admin: Option<SocketAddr>,
    /// Where the metrics page is, with the leading slash; `None`: nowhere.
    pub(crate) metrics_path: Option<String>,
    /// The clusters cannot be changed here: the static router has the one it was started with.
    pub(crate) fixed: bool,
    /// Other processes have others: a restart shows to those who follow the list.
    pub(crate) process: String,
}

/// See the module.
pub(super) struct Desk {
    pub(super) settings: ServiceSettings,
    pub(super) office: Arc<dyn Office>,
    pub(super) registry: Arc<dyn ClusterRegistry>,
    pub(super) counters: Counters,
    pub(super) added: Added,
    /// The clusters may have changed since [`take_changed`](Self::take_changed).
    changed: Arc<AtomicBool>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Now(Response),
    /// It waits until the clusters are no longer those that `etag` names, so many milliseconds at
    /// most.
    Wait {
        etag: String,
        ms: u64,
    },
}

impl Answer {
    /// Success without anything to tell.
    pub(super) fn done(status: u16) -> Self {
        Self::Now(success(status, JsonValue::Null))
    }
}

impl Desk {
    pub(super) fn new(
        settings: ServiceSettings,
        office: Arc<dyn Office>,
        registry: Arc<dyn ClusterRegistry>,
        changed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            settings,
            office,
            registry,
            counters: Counters::default(),
            added: Added::default(),
            changed,
        }
    }

    /// Whoever waits for the clusters to change has to be looked at.
    pub(super) fn set_changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Is there something for [`take_changed`](Self::take_changed)?
    pub(super) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// May they have changed since the last call?
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// The answer to bytes that are no request.
    pub(super) fn refusal(&self, refusal: &Refusal) -> Response {
        match refusal.status {
            413 => self.counters.reached(Limit::Body),
            414 | 431 => self.counters.reached(Limit::Head),
            _ => {}
        }
        failure(refusal.status, refusal.reason)
    }

    /// The answer to somebody who ran into a limit.
    pub(super) fn exhausted(&self, limit: Limit) -> Response {
        self.counters.reached(limit);
        match limit {
            Limit::RequestMs => failure(408, "the request took too long to arrive"),
            Limit::Parked => failure(503, "too many requests wait for changes"),
            Limit::Clusters => failure(
                503,
                "too many clusters were added without a --service-token or the admin listener",
            ),
            Limit::Calls => failure(503, "the service port is busy with other calls"),
            _ => failure(503, "too many connections"),
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        f.debug_struct("Desk")
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}
