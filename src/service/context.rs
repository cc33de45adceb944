//! What calls work on: the settings, control of the process, the registry.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tinyjson::JsonValue;

use crate::cluster::ClusterRegistry;

use super::Control;
use super::access::Token;
use super::added_clusters::AddedClusters;
use super::counters::{Counters, Limit};
use super::envelope::{failure, success};
use super::http::{Refusal, Response};

/// Settings of the service port.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceSettings {
    /// The token that callers need. Without a token, callers must be on this machine.
    pub(crate) token: Option<Token>,
    /// The address of the admin listener. Without a token, its local callers are trusted.
    pub(crate) admin: Option<SocketAddr>,
    /// The path of the metrics page, with its leading slash; `None`: there is none.
    pub(crate) metrics_path: Option<String>,
    /// The clusters cannot be changed: the static router has a single one.
    pub(crate) fixed: bool,
    /// A random text by which followers of the list notice a restart.
    pub(crate) process: String,
}

pub(super) struct Context {
    pub(super) settings: ServiceSettings,
    pub(super) control: Arc<dyn Control>,
    pub(super) registry: Arc<dyn ClusterRegistry>,
    pub(super) counters: Counters,
    pub(super) added: AddedClusters,
    /// The clusters may have changed since [`take_changed`](Self::take_changed).
    changed: Arc<AtomicBool>,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Now(Response),
    /// The response is sent when the clusters have another ETag, or after `ms` milliseconds.
    Wait {
        etag: String,
        ms: u64,
    },
}

impl Answer {
    /// Success without data.
    pub(super) fn done(status: u16) -> Self {
        Self::Now(success(status, JsonValue::Null))
    }
}

impl Context {
    pub(super) fn new(
        settings: ServiceSettings,
        control: Arc<dyn Control>,
        registry: Arc<dyn ClusterRegistry>,
        changed: Arc<AtomicBool>,
    ) -> Self {
        Self {
            settings,
            control,
            registry,
            counters: Counters::default(),
            added: AddedClusters::default(),
            changed,
        }
    }

    /// Notes that the clusters may have changed.
    pub(super) fn set_changed(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Whether [`take_changed`](Self::take_changed) would return true.
    pub(super) fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Whether the clusters may have changed since the last call.
    pub(super) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// The response to bytes that are no valid request.
    pub(super) fn refusal(&self, refusal: &Refusal) -> Response {
        match refusal.status {
            413 => self.counters.reached(Limit::Body),
            414 | 431 => self.counters.reached(Limit::Head),
            _ => {}
        }
        failure(refusal.status, refusal.reason)
    }

    /// The response to a request that exceeds a limit.
    pub(super) fn exhausted(&self, limit: Limit) -> Response {
        self.counters.reached(limit);
        match limit {
            Limit::RequestMs => failure(408, "the request took too long to arrive"),
            Limit::Parked => failure(503, "too many requests wait for changes"),
            Limit::Clusters => failure(
                503,
                "too many clusters were added by local callers; use the admin listener or a token",
            ),
            Limit::Calls => failure(503, "the service port is busy with other calls"),
            _ => failure(503, "too many connections"),
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        f.debug_struct("Context")
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}
