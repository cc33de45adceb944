//! `--router.cp-addr`: clusters from a control plane, which is any HTTP server that answers `GET
//! /list_cluster` as this proxy does.
//!
//! ```text
//!   request, with the last ETag ──► 200: apply the list, request again
//!                               ├─► 304: unchanged, request again
//!                               └─► anything else: keep the last list; retry with backoff
//! ```
//! A control plane that supports `wait` and `ETag` responds when something changes; others are
//! polled twice a second. A control plane may lose its clusters in a restart. Signs of a restart
//! are failed requests, and another value of the header `Elika-Process`.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::cluster::Catalog;
use crate::config::{self, HostPort, Router, Secret};

use super::follower::{Applied, Follower, OnMissing};
use super::http_client::{self, Request, Response};
use super::state_file::StateFile;
use super::{RETRY, now};

/// How long the control plane may hold a request until something changes.
const WAIT: Duration = Duration::from_secs(20);

/// Time for the response beyond that.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Shortest time between two requests, for a control plane that responds at once.
const PAUSE: Duration = Duration::from_millis(500);

/// The same after a response with changes.
const PAUSE_AFTER_CHANGE: Duration = Duration::from_millis(20);

/// First and longest wait before a retry, of which up to half is left out at random.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Settings of the connection to a control plane.
#[derive(Debug)]
pub(super) struct Settings {
    pub address: HostPort,
    pub token: Option<Secret>,
    /// How long clusters are kept that the control plane no longer lists after a restart: it may
    /// have lost them, and learn of them again.
    pub keep: Duration,
}

impl Settings {
    /// Reads the settings; `None`: no control plane is configured.
    ///
    /// # Errors
    ///
    /// If its address is invalid.
    pub(super) fn of(router: &Router) -> io::Result<Option<Self>> {
        let Some(text) = &router.cp_addr else {
            return Ok(None);
        };
        let address = config::control_plane(text).map_err(|why| {
            let text = format!("router.cp-addr {text}: {why}");
            io::Error::new(ErrorKind::InvalidInput, text)
        })?;
        Ok(Some(Self {
            address,
            token: router.cp_token.clone(),
            keep: Duration::from_secs(router.offline_grace_seconds),
        }))
    }
}

/// Follows the clusters of a control plane.
pub(super) struct ControlPlane {
    settings: Settings,
    follower: Follower,
    state: Option<StateFile>,
    /// The last list, and its ETag.
    last: Option<Catalog>,
    etag: Option<String>,
    /// The process that sent the last list, if it says so.
    process: Option<String>,
    /// Until this time, clusters that the list lacks are kept.
    keep_until: Option<Instant>,
    /// How many clusters and instances are kept.
    kept: usize,
    /// Failures in a row.
    failures: u32,
    /// The kinds of failure since the last success; each is logged once.
    logged: Vec<Failure>,
    /// Set once the clusters are known.
    loaded: Arc<AtomicBool>,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No response.
    Unreachable,
    /// A response with this error status.
    Status(u16),
    /// An invalid list.
    Invalid,
}

impl ControlPlane {
    /// Adds the clusters of the state file, if there is one. `loaded` is set once clusters are
    /// known.
    pub(super) fn new(
        settings: Settings,
        mut follower: Follower,
        state: Option<StateFile>,
        loaded: Arc<AtomicBool>,
    ) -> Self {
        let known = state.as_ref().and_then(StateFile::catalog);
        if let Some(known) = &known {
            let done = follower.apply(known, OnMissing::Delete);
            let n = known.clusters.len();
            log::info!(
                "router.state-file: applied clusters={n} changes={}",
                done.changes
            );
            loaded.store(true, Ordering::Release);
        }
        let keep_until = known.map(|_| now() + settings.keep);
        Self {
            settings,
            follower,
            state,
            last: None,
            etag: None,
            process: None,
            keep_until,
            kept: 0,
            failures: 0,
            logged: Vec::new(),
            loaded,
        }
    }

    /// Sends requests until the sending end of `stop` is dropped.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        loop {
            let pause = self.turn();
            if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Sends one request and takes its response. Returns the pause before the next.
    fn turn(&mut self) -> Duration {
        let sent_at = now();
        let wait = self.wait(sent_at);
        let outcome = self.request(wait).and_then(|response| self.take(response));
        match outcome {
            Ok(new) => {
                let pause = match new {
                    true => PAUSE_AFTER_CHANGE,
                    false => PAUSE,
                };
                pause.saturating_sub(now().saturating_duration_since(sent_at))
            }
            Err((failure, why)) => self.fail(failure, &why),
        }
    }

    /// How long the control plane may hold the next request: no longer than until the next deadline
    /// here.
    fn wait(&self, now: Instant) -> Duration {
        let keep = self
            .keep_until
            .map_or(WAIT, |until| until.saturating_duration_since(now));
        let retry = match self.follower.any_refused() {
            true => RETRY,
            false => WAIT,
        };
        // At least one whole second.
        let seconds = keep.min(retry).min(WAIT).as_millis().div_ceil(1000).max(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
    }

    fn request(&self, wait: Duration) -> Result<Response, (Failure, String)> {
        let target = format!("/list_cluster?wait={}", wait.as_secs());
        let token = self.settings.token.as_ref();
        let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
        let mut headers = Vec::new();
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        headers.extend(self.etag.as_deref().map(|etag| ("If-None-Match", etag)));
        let request = Request {
            to: &self.settings.address,
            target: &target,
            headers: &headers,
            timeout: wait + TIMEOUT,
        };
        http_client::get(&request).map_err(|why| (Failure::Unreachable, why))
    }

    /// Takes a response. `true`: the list has changed.
    fn take(&mut self, response: Response) -> Result<bool, (Failure, String)> {
        let new = match response.status {
            200 => {
                let (before, after) = (&self.process, &response.process);
                let another = before.is_some() && after.is_some() && before != after;
                let catalog = parse(&response.body).map_err(|why| (Failure::Invalid, why))?;
                self.etag = response.etag;
                self.process = response.process;
                if (self.failures > 0 || another) && !self.follower.is_empty() {
                    self.keep_until = Some(now() + self.settings.keep);
                }
                let before = self.last.replace(catalog);
                before != self.last
            }
            304 if self.last.is_some() => false,
            status => {
                let why = format!("status {status}");
                return Err((Failure::Status(status), why));
            }
        };
        if !self.logged.is_empty() {
            log::info!(
                "control plane: available again address={}",
                self.settings.address
            );
        }
        self.failures = 0;
        self.logged.clear();
        self.loaded.store(true, Ordering::Release);
        if new || self.keep_until.is_some() || self.follower.any_refused() {
            self.apply();
        }
        if let Some(state) = &self.state {
            state.save_catalog(&self.follower.catalog());
        }
        Ok(new)
    }

    /// Applies the last list to the registry.
    fn apply(&mut self) {
        let Some(last) = &self.last else { return };
        let keep = self.keep_until.is_some_and(|until| now() < until);
        let missing = match keep {
            true => OnMissing::Keep,
            false => OnMissing::Delete,
        };
        let Applied { changes, kept, .. } = self.follower.apply(last, missing);
        let (address, n) = (&self.settings.address, last.clusters.len());
        if changes > 0 {
            log::info!("control plane: applied address={address} clusters={n} changes={changes}");
        }
        if kept == 0 {
            self.keep_until = None;
        }
        if std::mem::replace(&mut self.kept, kept) != kept && kept > 0 {
            log::warn!(
                "control plane: keeping missing clusters and instances address={address} \
                 kept={kept} seconds={}",
                self.settings.keep.as_secs()
            );
        }
    }

    /// Logs a failure. Returns the pause before the retry.
    fn fail(&mut self, failure: Failure, why: &str) -> Duration {
        if !self.logged.contains(&failure) {
            self.logged.push(failure);
            let address = &self.settings.address;
            log::warn!(
                "control plane: failed, using the last known clusters address={address} reason=\"{why}\""
            );
        }
        let (first, longest) = BACKOFF;
        let pause = first
            .saturating_mul(1 << self.failures.min(10))
            .min(longest);
        self.failures = self.failures.saturating_add(1);
        // Random, so that proxies that follow one control plane do not return all at once.
        let random = RandomState::new().hash_one(self.failures) % 1024;
        pause - pause.mul_f64(random as f64 / 2048.0)
    }
}

fn parse(body: &[u8]) -> Result<Catalog, String> {
    let text = str::from_utf8(body).map_err(|_| "the list is not UTF-8".to_owned())?;
    Catalog::from_json(text).map_err(|error| format!("the list is invalid: {error}"))
}

#[cfg(test)]
#[path = "control_plane_tests.rs"]
mod tests;
