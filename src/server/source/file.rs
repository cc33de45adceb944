//! `--router.file`: clusters from a file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cluster::Catalog;

use super::follow::{Follower, Missing};
use super::followed::{Followed, Found};
use super::{RETRY, now};

/// See the module.
pub(super) struct ClusterFile {
    file: Followed<Catalog>,
    follower: Follower,
    /// What was refused in part, and when to try again.
    again: Option<(Catalog, Instant)>,
    /// Set when the file has told something.
    settled: Arc<AtomicBool>,
}

impl ClusterFile {
    /// It need not exist.
    pub(super) fn new(path: &Path, follower: Follower, settled: Arc<AtomicBool>) -> Self {
        Self {
            file: Followed::new("router.file", path, Catalog::from_json),
            follower,
            again: None,
            settled,
        }
    }

    /// Looks at the file and follows it; what was found, in a word.
    pub(super) fn look(&mut self, asked: bool) -> &'static str {
        let found = self.file.look(asked);
        let word = found.word();
        match found {
            Found::New(catalog) => self.apply(catalog),
            _ => {
                let due = self.again.take_if(|(_, at)| asked || now() >= *at);
                if let Some((catalog, _)) = due {
                    self.apply(catalog);
                }
            }
        }
        word
    }

    fn apply(&mut self, catalog: Catalog) {
        let done = self.follower.apply(&catalog, Missing::Delete);
        if done.changes > 0 {
            let n = catalog.clusters.len();
            log::info!("router.file: {n} clusters, {} changes", done.changes);
        }
        self.settled.store(true, Ordering::Release);
        self.again = (done.refused > 0).then(|| (catalog, now() + RETRY));
    }
}
