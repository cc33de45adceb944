//! `--router.cp-addr`: clusters from a control plane, which is any HTTP server that answers
//! `GET /list_cluster` as this proxy does.
//!
//! ```text
//!   ask, with the version we have ──► 200: apply it, ask again
//!                                 ├─► 304: it is still so, ask again
//!                                 └─► anything else: what was there serves on; ask again soon
//! ```
//! One that knows `wait` and `ETag` answers when something changes; another one is asked twice a
//! second. After a restart it may have lost its memory, which shows in that it was away, or in
//! its header `Elika-Process`.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::cluster::Catalog;
use crate::config::{self, HostPort, Router, Secret};

use super::follow::{Applied, Follower, Missing};
use super::http::{self, Answer, Question};
use super::state::StateFile;
use super::{RETRY, now};

/// How long the control plane may keep a question until something changes.
const WAIT: Duration = Duration::from_secs(20);

/// Time for an answer beyond that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two questions, the second of which brings nothing new: it answers at once.
const PAUSE: Duration = Duration::from_millis(500);

/// The same if the last answer was new.
const PAUSE_AFTER_CHANGE: Duration = Duration::from_millis(20);

/// First and longest wait before one that is away is asked again; up to half of it less.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What a control plane is told once.
#[derive(Debug)]
pub(super) struct Settings {
    pub address: HostPort,
    pub token: Option<Secret>,
    /// How long that stays which one that was away does not list when it is back: it may have
    /// lost its memory, and is told everything again.
    pub keep: Duration,
}

impl Settings {
    /// `None`: there is no control plane.
    ///
    /// # Errors
    ///
    /// If its address makes no sense.
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

/// See the module.
pub(super) struct ControlPlane {
    settings: Settings,
    follower: Follower,
    state: Option<StateFile>,
    /// The last list, and its version.
    last: Option<Catalog>,
    etag: Option<String>,
    /// Which process said so, if it tells.
    process: Option<String>,
    /// Until when what is missing in the list stays.
    keep_until: Option<Instant>,
    /// How much of that there is.
    kept: usize,
    /// Failures in a row.
    failures: u32,
    /// What kinds of trouble there were since it last answered, as logged.
    troubles: Vec<Trouble>,
    /// Something is known of the clusters.
    settled: Arc<AtomicBool>,
}

/// Kinds of trouble; the log tells of each kind once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It does not answer.
    Away,
    /// It answers with an error.
    Refused(u16),
    /// Its list makes no sense.
    Nonsense,
}

impl ControlPlane {
    /// Takes what the state file has, if there is one. `settled` is set when anything is known.
    pub(super) fn new(
        settings: Settings,
        mut follower: Follower,
        state: Option<StateFile>,
        settled: Arc<AtomicBool>,
    ) -> Self {
        let known = state.as_ref().and_then(StateFile::catalog);
        if let Some(known) = &known {
            let done = follower.apply(known, Missing::Delete);
            let n = known.clusters.len();
            log::info!("router.state-file: {n} clusters, {} changes", done.changes);
            settled.store(true, Ordering::Release);
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
            troubles: Vec::new(),
            settled,
        }
    }

    /// Follows it until nobody holds the other end of `stop`.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        loop {
            let rest = self.turn();
            if stop.recv_timeout(rest) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Asks once; returns how long to rest then.
    fn turn(&mut self) -> Duration {
        let asked_at = now();
        let wait = self.wait(asked_at);
        let outcome = self.ask(wait).and_then(|answer| self.take(answer));
        match outcome {
            Ok(new) => {
                let pause = match new {
                    true => PAUSE_AFTER_CHANGE,
                    false => PAUSE,
                };
                pause.saturating_sub(now().saturating_duration_since(asked_at))
            }
            Err((trouble, why)) => self.fail(trouble, &why),
        }
    }

    /// How long the next question may take: something may be due before.
    fn wait(&self, now: Instant) -> Duration {
        let keep = self
            .keep_until
            .map_or(WAIT, |until| until.saturating_duration_since(now));
        let retry = match self.follower.any_refused() {
            true => RETRY,
            false => WAIT,
        };
        // Whole seconds are asked for, and not none of them.
        let seconds = keep.min(retry).min(WAIT).as_millis().div_ceil(1000).max(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
    }

    fn ask(&self, wait: Duration) -> Result<Answer, (Trouble, String)> {
        let target = format!("/list_cluster?wait={}", wait.as_secs());
        let token = self.settings.token.as_ref();
        let bearer = token.map(|token| format!("Bearer {}", token.reveal()));
        let mut headers = Vec::new();
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        headers.extend(self.etag.as_deref().map(|etag| ("If-None-Match", etag)));
        let question = Question {
            to: &self.settings.address,
            target: &target,
            headers: &headers,
            patience: wait + PATIENCE,
        };
        http::ask(&question).map_err(|why| (Trouble::Away, why))
    }

    /// Takes an answer over. `true`: it says something new.
    fn take(&mut self, answer: Answer) -> Result<bool, (Trouble, String)> {
        let new = match answer.status {
            200 => {
                let (before, after) = (&self.process, &answer.process);
                let another = before.is_some() && after.is_some() && before != after;
                let catalog = parse(&answer.body).map_err(|why| (Trouble::Nonsense, why))?;
                self.etag = answer.etag;
                self.process = answer.process;
                if (self.failures > 0 || another) && !self.follower.is_empty() {
                    self.keep_until = Some(now() + self.settings.keep);
                }
                let before = self.last.replace(catalog);
                before != self.last
            }
            304 if self.last.is_some() => false,
            status => {
                let why = format!("it answers with status {status}");
                return Err((Trouble::Refused(status), why));
            }
        };
        if !self.troubles.is_empty() {
            log::info!("control plane {}: it is back", self.settings.address);
        }
        self.failures = 0;
        self.troubles.clear();
        self.settled.store(true, Ordering::Release);
        if new || self.keep_until.is_some() || self.follower.any_refused() {
            self.apply();
        }
        if let Some(state) = &self.state {
            state.keep_catalog(&self.follower.catalog());
        }
        Ok(new)
    }

    /// Follows the last list.
    fn apply(&mut self) {
        let Some(last) = &self.last else { return };
        let keep = self.keep_until.is_some_and(|until| now() < until);
        let missing = match keep {
            true => Missing::Keep,
            false => Missing::Delete,
        };
        let Applied { changes, kept, .. } = self.follower.apply(last, missing);
        let (address, n) = (&self.settings.address, last.clusters.len());
        if changes > 0 {
            log::info!("control plane {address}: {n} clusters, {changes} changes");
        }
        if kept == 0 {
            self.keep_until = None;
        }
        if std::mem::replace(&mut self.kept, kept) != kept && kept > 0 {
            log::warn!(
                "control plane {address}: {kept} clusters and instances that it lists no longer \
                 since it was away stay for {} s",
                self.settings.keep.as_secs()
            );
        }
    }

    /// Tells of the trouble; returns how long to rest.
    fn fail(&mut self, trouble: Trouble, why: &str) -> Duration {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
            let address = &self.settings.address;
            log::warn!("control plane {address}: {why}; what is known serves on");
        }
        let (first, longest) = BACKOFF;
        let rest = first
            .saturating_mul(1 << self.failures.min(10))
            .min(longest);
        self.failures = self.failures.saturating_add(1);
        // Many that follow one control plane come back out of step.
        let random = RandomState::new().hash_one(self.failures) % 1024;
        rest - rest.mul_f64(random as f64 / 2048.0)
    }
}

fn parse(body: &[u8]) -> Result<Catalog, String> {
    let text = str::from_utf8(body).map_err(|_| "its list is not UTF-8".to_owned())?;
    Catalog::from_json(text).map_err(|error| format!("its list makes no sense: {error}"))
}

#[cfg(test)]
#[path = "control_plane_tests.rs"]
mod tests;
