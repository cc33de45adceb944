//! `--router.file`: clusters from a file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cluster::Catalog;

use super::follower::{Follower, OnMissing};
use super::json_file::{JsonFile, Loaded};
use super::{RETRY, now};

pub(super) struct ClusterFile {
    file: JsonFile<Catalog>,
    follower: Follower,
    /// Clusters that the registry refused in part, and when to add them again.
    retry: Option<(Catalog, Instant)>,
    /// Set once the file has been read.
    loaded: Arc<AtomicBool>,
}

impl ClusterFile {
    /// Follows a file, which need not exist yet.
    pub(super) fn new(path: &Path, follower: Follower, loaded: Arc<AtomicBool>) -> Self {
        Self {
            file: JsonFile::new("router.file", path, Catalog::from_json),
            follower,
            retry: None,
            loaded,
        }
    }

    /// Checks the file and applies its clusters. Returns the outcome as a word for the log.
    pub(super) fn check(&mut self, forced: bool) -> &'static str {
        let found = self.file.check(forced);
        let outcome = found.name();
        match found {
            Loaded::New(catalog) => self.apply(catalog),
            _ => {
                let due = self.retry.take_if(|(_, at)| forced || now() >= *at);
                if let Some((catalog, _)) = due {
                    self.apply(catalog);
                }
            }
        }
        outcome
    }

    fn apply(&mut self, catalog: Catalog) {
        let done = self.follower.apply(&catalog, OnMissing::Delete);
        if done.changes > 0 {
            let n = catalog.clusters.len();
            log::info!("router.file: applied clusters={n} changes={}", done.changes);
        }
        self.loaded.store(true, Ordering::Release);
        self.retry = (done.refused > 0).then(|| (catalog, now() + RETRY));
    }
}
