//! The sources of clusters that are set by options, `--router.file`, `--router.cp-addr` and
//! `--router.sentinels`, and the tenants file.
//!
//! Each has a thread of its own, which ends when [`Sources`] is dropped. All files have been read
//! once before the proxy accepts clients.

mod cluster_file;
mod control_plane;
mod file_watch;
mod follower;
mod http_client;
mod json_file;
pub(super) mod sentinel;
mod state_file;
mod tenants_file;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{ClusterRegistry, Owners};
use crate::config::{Config, RouterType};

use super::process_state::ProcessState;
use super::update::Update;
use super::{now, spawn};

use cluster_file::ClusterFile;
use control_plane::ControlPlane;
use follower::{Claims, Follower};
use sentinel::Sentinels;
use state_file::StateFile;
use tenants_file::TenantsFile;

/// Interval between two checks of a file.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// Time after which clusters that the registry refused are added again.
const RETRY: Duration = Duration::from_secs(5);

/// Longest wait for a check of one file when all are read again.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The running sources.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<WatchedFile>,
    /// Keeps the thread of the control plane running.
    _plane: Option<Sender<()>>,
    sentinels: Option<Sentinels>,
    state: Option<StateFile>,
    /// One flag for each source of clusters: whether its clusters are known.
    loaded: Vec<Arc<AtomicBool>>,
}

/// The owners of names that the state file has, and where to send changes of them.
type SavedOwners = (Owners, Option<Sender<Owners>>);

/// A watched file, with a thread of its own.
#[derive(Debug)]
struct WatchedFile {
    option: &'static str,
    /// Requests a check from the thread; the outcome comes back as a word.
    ask: Sender<Sender<&'static str>>,
}

impl Sources {
    /// Reads all sources once, and starts threads that follow them. The owners of names that the
    /// state file has are set in `process` first.
    ///
    /// # Errors
    ///
    /// If the address of the control plane is invalid, or a thread cannot be created.
    pub(super) fn start(
        config: &Config,
        registry: &Arc<dyn ClusterRegistry>,
        process: &ProcessState,
        updates: &Sender<Update>,
    ) -> io::Result<Self> {
        let mut sources = Self::default();
        if let Some(path) = &config.tenants.file {
            let mut file = TenantsFile::new(path, updates.clone());
            sources.watch("tenants.file", move |forced| file.check(forced))?;
        }
        sources.sentinels = Sentinels::start(&config.router, updates)?;
        if config.router.kind == RouterType::Static {
            return Ok(sources);
        }
        sources.state = config.router.state_file.as_deref().map(StateFile::open);
        if let Some(state) = &sources.state {
            process.set_owners(state.owners());
        }
        let claims = Arc::new(Claims::default());
        let follower = |name: &str| Follower::new(name, Arc::clone(registry), Arc::clone(&claims));
        if let Some(path) = &config.router.file {
            let loaded = sources.add_loaded_flag();
            let mut file = ClusterFile::new(path, follower("router.file"), loaded);
            sources.watch("router.file", move |forced| file.check(forced))?;
        }
        if let Some(settings) = control_plane::Settings::of(&config.router)? {
            let state = sources.state.clone();
            let follower = follower("router.cp-addr");
            let plane = ControlPlane::new(settings, follower, state, sources.add_loaded_flag());
            let (keep, stop) = channel();
            spawn("control-plane", move || plane.run(&stop))?;
            sources._plane = Some(keep);
        }
        Ok(sources)
    }

    /// The sentinels, if any are configured.
    pub(super) fn sentinels(&self) -> Option<&Sentinels> {
        self.sentinels.as_ref()
    }

    /// Reads every file now. Returns the outcomes for the log.
    pub(super) fn reload(&self) -> Vec<String> {
        let files = self.files.iter();
        let outcomes = files.map(|file| {
            let (answer, outcome) = channel();
            let asked = file.ask.send(answer);
            let outcome = asked
                .ok()
                .and_then(|()| outcome.recv_timeout(ASK_TIMEOUT).ok());
            format!("{}={}", file.option, outcome.unwrap_or("timeout"))
        });
        outcomes.collect()
    }

    /// Whether the clusters of every source are known. `false`: a file is missing or invalid, or
    /// the control plane has not responded yet.
    pub(super) fn are_loaded(&self) -> bool {
        let mut loaded = self.loaded.iter();
        loaded.all(|loaded| loaded.load(Ordering::Acquire))
    }

    /// The flag that a new source sets once its clusters are known.
    fn add_loaded_flag(&mut self) -> Arc<AtomicBool> {
        let loaded = Arc::new(AtomicBool::new(false));
        self.loaded.push(Arc::clone(&loaded));
        loaded
    }

    /// Starts the thread that writes changed owners of names to the state file, until their sender
    /// is dropped. Returns the owners that the file has now.
    ///
    /// # Errors
    ///
    /// If a thread cannot be created.
    pub(super) fn owners(&self) -> io::Result<(SavedOwners, Option<JoinHandle<()>>)> {
        let Some(state) = self.state.clone() else {
            return Ok((SavedOwners::default(), None));
        };
        let (sender, changes) = channel();
        let owners = state.owners();
        let writer = spawn("router.state-file", move || {
            save_owners(&state, &changes, RETRY);
        })?;
        Ok(((owners, Some(sender)), Some(writer)))
    }

    /// Checks a file once on this thread, then repeatedly on a thread of its own.
    fn watch(
        &mut self,
        option: &'static str,
        mut check: impl FnMut(bool) -> &'static str + Send + 'static,
    ) -> io::Result<()> {
        check(true);
        let (ask, asked) = channel();
        spawn(option, move || watch_file(check, &asked))?;
        self.files.push(WatchedFile { option, ask });
        Ok(())
    }
}

/// Writes the last owners that were sent. A failed write is tried again after `retry`.
fn save_owners(state: &StateFile, changes: &Receiver<Owners>, retry: Duration) {
    loop {
        match changes.recv_timeout(retry) {
            Ok(owners) => state.save_owners(changes.try_iter().last().unwrap_or(owners)),
            Err(RecvTimeoutError::Timeout) => state.write(),
            Err(RecvTimeoutError::Disconnected) => return state.write(),
        }
    }
}

fn watch_file(mut check: impl FnMut(bool) -> &'static str, asked: &Receiver<Sender<&'static str>>) {
    loop {
        match asked.recv_timeout(CHECK_EVERY) {
            Ok(answer) => {
                // The caller may have stopped waiting.
                let _ = answer.send(check(true));
            }
            Err(RecvTimeoutError::Timeout) => {
                check(false);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cluster::ClusterKey;

    #[test]
    fn failed_write_of_owners_is_retried() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("below/state.json");
        let (sender, changes) = channel();
        let state = StateFile::open(&path);
        let retry = Duration::from_millis(10);
        let writer = std::thread::spawn(move || save_owners(&state, &changes, retry));
        let mut owners = Owners::default();
        owners.claim_key(&ClusterKey::local()).unwrap();
        sender.send(owners).unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let until = now() + Duration::from_secs(20);
        while !path.exists() && now() < until {
            std::thread::yield_now();
        }
        assert_eq!(StateFile::open(&path).owners().list().len(), 1);
        // The last change is written before the thread ends.
        sender.send(Owners::default()).unwrap();
        drop(sender);
        writer.join().unwrap();
        assert_eq!(StateFile::open(&path).owners().list().len(), 0);
    }
}
