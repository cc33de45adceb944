//! Where clusters come from, besides the service port and whoever embeds the proxy: a file, a
//! control plane. And the file that says what tenants may use.
//!
//! Each has a thread of its own, which ends when [`Sources`] is dropped. All of them have been read
//! once before the proxy takes clients.

mod control_plane;
mod file;
mod follow;
mod followed;
mod http;
mod state;
mod tenants;
mod watch;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::{ClusterRegistry, Owners};
use crate::config::{Config, RouterType};

use super::board::Board;
use super::directory::Fact;
use super::spawn;

use control_plane::ControlPlane;
use file::ClusterFile;
use follow::{Claims, Follower};
use state::StateFile;
use tenants::TenantsFile;

/// Between two looks at a file.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a registry refused is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// How long somebody who asks for a look waits for it.
const ASK_PATIENCE: Duration = Duration::from_secs(5);

/// The sources that run.
#[derive(Debug, Default)]
pub(super) struct Sources {
    files: Vec<WatchedFile>,
    /// Keeps the thread of the control plane.
    _plane: Option<Sender<()>>,
    state: Option<StateFile>,
    /// One for each source of clusters: it has told something.
    settled: Vec<Arc<AtomicBool>>,
}

/// Whom names belonged to, and where to tell when that changes.
type KeptOwners = (Owners, Option<Sender<Owners>>);

/// A file that is watched.
#[derive(Debug)]
struct WatchedFile {
    option: &'static str,
    /// Asks its thread for a look; what was found comes back in a word.
    ask: Sender<Sender<&'static str>>,
}

impl Sources {
    /// Reads all sources once, and follows them from now on. The board is told first whom names
    /// belonged to in the last run.
    ///
    /// # Errors
    ///
    /// If the address of the control plane makes no sense, or a thread cannot be had.
    pub(super) fn start(
        config: &Config,
        registry: &Arc<dyn ClusterRegistry>,
        board: &Board,
        facts: &Sender<Fact>,
    ) -> io::Result<Self> {
        let mut sources = Self::default();
        if let Some(path) = &config.tenants.file {
            let mut file = TenantsFile::new(path, facts.clone());
            sources.watch("tenants.file", move |asked| file.look(asked))?;
        }
        if config.router.kind == RouterType::Static {
            return Ok(sources);
        }
        sources.state = config.router.state_file.as_deref().map(StateFile::open);
        if let Some(state) = &sources.state {
            board.set_owners(state.owners());
        }
        let claims = Arc::new(Claims::default());
        let follower = |name: &str| Follower::new(name, Arc::clone(registry), Arc::clone(&claims));
        if let Some(path) = &config.router.file {
            let settled = sources.settle();
            let mut file = ClusterFile::new(path, follower("router.file"), settled);
            sources.watch("router.file", move |asked| file.look(asked))?;
        }
        if let Some(settings) = control_plane::Settings::of(&config.router)? {
            let state = sources.state.clone();
            let follower = follower("router.cp-addr");
            let plane = ControlPlane::new(settings, follower, state, sources.settle());
            let (keep, stop) = channel();
            spawn("control-plane", move || plane.run(&stop))?;
            sources._plane = Some(keep);
        }
        Ok(sources)
    }

    /// Reads every file now; what was found in each, for the log.
    pub(super) fn read_again(&self) -> Vec<String> {
        let files = self.files.iter();
        let words = files.map(|file| {
            let (answer, word) = channel();
            let asked = file.ask.send(answer);
            let word = asked
                .ok()
                .and_then(|()| word.recv_timeout(ASK_PATIENCE).ok());
            format!("{} {}", file.option, word.unwrap_or("takes long"))
        });
        words.collect()
    }

    /// Is it known which clusters there are? `false`: the control plane, or a file that is missing
    /// or makes no sense, has to tell first.
    pub(super) fn are_settled(&self) -> bool {
        let mut settled = self.settled.iter();
        settled.all(|settled| settled.load(Ordering::Acquire))
    }

    /// For a source to set when it has told something.
    fn settle(&mut self) -> Arc<AtomicBool> {
        let settled = Arc::new(AtomicBool::new(false));
        self.settled.push(Arc::clone(&settled));
        settled
    }

    /// Whom names belonged to in the last run, and where to tell when that changes: a thread of its
    /// own writes it down, until nobody can tell it any more.
    ///
    /// # Errors
    ///
    /// If a thread cannot be had.
    pub(super) fn owners(&self) -> io::Result<(KeptOwners, Option<JoinHandle<()>>)> {
        let Some(state) = self.state.clone() else {
            return Ok((KeptOwners::default(), None));
        };
        let (sender, changes) = channel();
        let owners = state.owners();
        let keeper = spawn("router.state-file", move || {
            keep_owners(&state, &changes, RETRY);
        })?;
        Ok(((owners, Some(sender)), Some(keeper)))
    }

    /// Looks at a file for the first time here, then on a thread of its own.
    fn watch(
        &mut self,
        option: &'static str,
        mut look: impl FnMut(bool) -> &'static str + Send + 'static,
    ) -> io::Result<()> {
        look(true);
        let (ask, asked) = channel();
        spawn(option, move || keep_looking(look, &asked))?;
        self.files.push(WatchedFile { option, ask });
        Ok(())
    }
}

/// Writes down the last of what it is told. What could not be written is tried again after `retry`.
fn keep_owners(state: &StateFile, changes: &Receiver<Owners>, retry: Duration) {
    loop {
        match changes.recv_timeout(retry) {
            Ok(owners) => state.keep_owners(changes.try_iter().last().unwrap_or(owners)),
            Err(RecvTimeoutError::Timeout) => state.write(),
            Err(RecvTimeoutError::Disconnected) => return state.write(),
        }
    }
}

fn keep_looking(
    mut look: impl FnMut(bool) -> &'static str,
    asked: &Receiver<Sender<&'static str>>,
) {
    loop {
        match asked.recv_timeout(LOOK_EVERY) {
            Ok(answer) => {
                // Who asked may have lost patience.
                let _ = answer.send(look(true));
            }
            Err(RecvTimeoutError::Timeout) => {
                look(false);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "sources have threads and a clock of their own"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cluster::ClusterKey;

    #[test]
    fn owners_that_could_not_be_written_are_tried_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("below/state.json");
        let (sender, changes) = channel();
        let state = StateFile::open(&path);
        let retry = Duration::from_millis(10);
        let keeper = std::thread::spawn(move || keep_owners(&state, &changes, retry));
        let mut owners = Owners::default();
        owners.claim_key(&ClusterKey::local()).unwrap();
        sender.send(owners).unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let until = now() + Duration::from_secs(20);
        while !path.exists() && now() < until {
            std::thread::yield_now();
        }
        assert_eq!(StateFile::open(&path).owners().list().len(), 1);
        // What was told last is written before it ends.
        sender.send(Owners::default()).unwrap();
        drop(sender);
        keeper.join().unwrap();
        assert_eq!(StateFile::open(&path).owners().list().len(), 0);
    }
}
