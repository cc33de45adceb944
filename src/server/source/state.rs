//! `--router.state-file`: the last known clusters of a control plane, and whom names belong to, for
//! the next start.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tinyjson::JsonValue;

use crate::cluster::json::{self, JsonError};
use crate::cluster::{Catalog, Owners};

/// See the module. Two threads write to it, each its part.
#[derive(Debug, Clone)]
pub(super) struct StateFile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    kept: Kept,
    /// The file has all of it.
    is_written: bool,
    /// Why it could not be written, as logged.
    trouble: Option<String>,
}

/// What is kept.
#[derive(Debug, Default)]
struct Kept {
    /// `None`: no control plane has told anything yet.
    catalog: Option<Catalog>,
    owners: Owners,
}

impl StateFile {
    /// Reads what the last run left. What makes no sense is left out, and the file that has it kept
    /// as `PATH.bad`.
    pub(super) fn open(path: &Path) -> Self {
        let (kept, is_good) = read(path);
        if !is_good && let Err(error) = keep_bad(path) {
            let path = path.display();
            log::error!("router.state-file {path}: not kept as {path}.bad: {error}");
        }
        Self(Arc::new(Mutex::new(State {
            path: path.to_owned(),
            is_written: is_good,
            kept,
            trouble: None,
        })))
    }

    /// The last known clusters.
    pub(super) fn catalog(&self) -> Option<Catalog> {
        self.state().kept.catalog.clone()
    }

    /// Whom names belong to.
    pub(super) fn owners(&self) -> Owners {
        self.state().kept.owners.clone()
    }

    /// Keeps these clusters for the next start. Whoever reads the file sees the old state or the
    /// new one, also after a crash.
    pub(super) fn keep_catalog(&self, catalog: &Catalog) {
        let mut state = self.state();
        if state.kept.catalog.as_ref() != Some(catalog) {
            state.kept.catalog = Some(catalog.clone());
            state.is_written = false;
        }
        state.write();
    }

    /// The same for whom names belong to.
    pub(super) fn keep_owners(&self, owners: Owners) {
        let mut state = self.state();
        state.kept.owners = owners;
        state.is_written = false;
        state.write();
    }

    /// Writes what is not written yet.
    pub(super) fn write(&self) {
        self.state().write();
    }

    /// It is changed in whole, so a thread that panicked spoils nothing.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self) {
        if self.is_written {
            return;
        }
        let path = self.path.display();
        match replace(&self.path, self.kept.to_json().as_bytes()) {
            Ok(()) => {
                self.is_written = true;
                if self.trouble.take().is_some() {
                    log::info!("router.state-file {path}: written again");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.trouble.as_ref() != Some(&why) {
                    log::error!("router.state-file {path} cannot be written: {why}");
                    self.trouble = Some(why);
                }
            }
        }
    }
}

impl Kept {
    /// Reads what [`to_json`](Self::to_json) writes, or a list of clusters alone, as it was before
    /// there was more to keep. What makes no sense is left out, and returned beside the rest.
    fn from_json(text: &str) -> Result<(Self, Vec<JsonError>), JsonError> {
        let ((owners, mut wrong), is_null) = json::read(text, |node| {
            if node.items().is_ok() {
                return Ok((Default::default(), false));
            }
            let owners = node.field("owners")?;
            let owners = owners.map(|it| Owners::from_node(&it)).transpose();
            let owners = owners.unwrap_or_else(|why| Some((Owners::default(), vec![why])));
            let data = node.field("data")?;
            let is_null = data.is_some_and(|data| data.value().is_null());
            Ok((owners.unwrap_or_default(), is_null))
        })?;
        let mut kept = Self {
            catalog: None,
            owners,
        };
        if !is_null {
            match Catalog::from_json(text) {
                Ok(catalog) => kept.catalog = Some(catalog),
                Err(why) => wrong.push(why),
            }
        }
        Ok((kept, wrong))
    }

    /// The answer of a control plane, with whom names belong to beside it.
    fn to_json(&self) -> String {
        let catalog = self.catalog.as_ref();
        let none = |_: &_| Vec::new();
        let data = catalog.map(|catalog| json::catalog_value(catalog, &none));
        json::text(&json::object([
            ("code", 0.0.into()),
            ("message", "state".to_owned().into()),
            ("data", data.unwrap_or(JsonValue::Null)),
            ("owners", json::owners_value(&self.owners)),
        ]))
    }
}

/// What the file has, and whether all of it makes sense.
fn read(path: &Path) -> (Kept, bool) {
    let name = path.display();
    let read = read_text(path).map_err(|error| (error.kind(), error.to_string()));
    let kept = read.and_then(|text| {
        let kept = Kept::from_json(&text);
        kept.map_err(|error| (ErrorKind::InvalidData, error.to_string()))
    });
    match kept {
        Ok((kept, wrong)) => {
            for why in &wrong {
                log::error!("router.state-file {name}: {why}; left out");
            }
            (kept, wrong.is_empty())
        }
        Err((ErrorKind::NotFound, _)) => {
            log::info!("router.state-file {name}: not there yet");
            (Kept::default(), true)
        }
        Err((_, why)) => {
            log::error!("router.state-file {name}: {why}; it is ignored");
            (Kept::default(), false)
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    // Not opened before it is known to be a file: opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Gives a file that makes no sense a second name, under which it stays when it is replaced.
fn keep_bad(path: &Path) -> io::Result<()> {
    // A link or a pipe is replaced, and what is behind it stays as it is.
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(());
    }
    let bad = with_suffix(path, ".bad");
    match fs::remove_file(&bad) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(path, bad)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Puts a new file in the place of the old one, whatever that is: a link is not followed, and a
/// pipe is not opened.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    let mut file = match create(&new) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // What a crash left, or something that is not ours.
            fs::remove_file(&new)?;
            create(&new)?
        }
        created => created?,
    };
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// A file that was not there, not even as a link.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;
    use crate::cluster::{Cluster, ClusterKey};

    fn catalog() -> Catalog {
        Catalog {
            clusters: vec![Cluster {
                key: ClusterKey::local(),
                instances: Vec::new(),
            }],
        }
    }

    #[test]
    fn what_one_run_writes_the_next_one_reads() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        let file = StateFile::open(&path);
        assert_eq!(file.catalog(), None);
        file.keep_catalog(&catalog());
        assert_eq!(StateFile::open(&path).catalog(), Some(catalog()));
        file.keep_catalog(&Catalog::default());
        assert_eq!(StateFile::open(&path).catalog(), Some(Catalog::default()));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
        fs::write(&path, "[{").unwrap();
        assert_eq!(StateFile::open(&path).catalog(), None);
        // What a version before this one wrote.
        fs::write(&path, catalog().to_json()).unwrap();
        assert_eq!(StateFile::open(&path).catalog(), Some(catalog()));
    }

    #[test]
    fn owners_of_names_are_kept_with_or_without_clusters() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        let mut owners = Owners::default();
        let tenant = owners.claim_key(&ClusterKey::local()).unwrap();
        owners.claim_alias(&tenant, "shop").unwrap();
        let list = |file: &StateFile| format!("{:?}", file.owners().list());
        let expected = format!("{:?}", owners.list());
        let file = StateFile::open(&path);
        file.keep_owners(owners);
        let again = StateFile::open(&path);
        assert_eq!((list(&again), again.catalog()), (expected.clone(), None));
        again.keep_catalog(&catalog());
        let again = StateFile::open(&path);
        assert_eq!((list(&again), again.catalog()), (expected, Some(catalog())));
    }

    #[test]
    fn what_makes_no_sense_costs_nothing_else_and_is_kept_beside() {
        let dir = TempDir::new().unwrap();
        let (path, bad) = (dir.path().join("s.json"), dir.path().join("s.json.bad"));
        let named = |name: &str| {
            let mut key = ClusterKey::local();
            key.name.name = name.into();
            key
        };
        let mut owners = Owners::default();
        for name in ["one", "two"] {
            let tenant = owners.claim_key(&named(name)).unwrap();
            owners
                .claim_alias(&tenant, &format!("alias-{name}"))
                .unwrap();
        }
        let file = StateFile::open(&path);
        file.keep_catalog(&catalog());
        file.keep_owners(owners.clone());
        let good = fs::read_to_string(&path).unwrap();
        let names = |owners: &Owners| -> Vec<String> {
            let list = owners.list().into_iter();
            list.flat_map(|(_, aliases)| aliases)
                .map(str::to_owned)
                .collect()
        };
        let all = names(&owners);
        // A cluster, an alias, the list of clusters: the rest stays.
        for (from, to, aliases, has_catalog) in [
            ("\"name\":\"one\"", "\"name\":7", &all[1..], true),
            ("\"alias-two\"", "7", &all[..1], true),
            ("\"data\":[", "\"data\":[7,", &all[..], false),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            fs::write(&path, &text).unwrap();
            let file = StateFile::open(&path);
            assert_eq!(file.catalog().is_some(), has_catalog, "{from}");
            let left = names(&file.owners());
            assert_eq!(left, aliases, "{from}");
            file.write();
            assert_eq!(fs::read_to_string(&bad).unwrap(), text);
            assert_ne!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "[{").unwrap();
        StateFile::open(&path).keep_owners(owners);
        assert_eq!(fs::read_to_string(&bad).unwrap(), "[{");
        assert_eq!(names(&StateFile::open(&path).owners()).len(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("below/state.json");
        let file = StateFile::open(&path);
        file.keep_catalog(&Catalog::default());
        assert!(file.state().trouble.is_some());
        fs::create_dir(dir.path().join("below")).unwrap();
        file.keep_catalog(&Catalog::default());
        assert!(file.state().trouble.is_none());
        assert_eq!(StateFile::open(&path).catalog(), Some(Catalog::default()));
    }

    #[test]
    fn neither_links_nor_pipes_are_written_to() {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        for name in ["state.json", "state.json.new"] {
            symlink(at("victim"), at(name)).unwrap();
        }
        let file = StateFile::open(&at("state.json"));
        file.keep_catalog(&catalog());
        assert_eq!(fs::read_to_string(at("victim")).unwrap(), "precious");
        assert!(fs::symlink_metadata(at("state.json")).unwrap().is_file());
        assert_eq!(
            StateFile::open(&at("state.json")).catalog(),
            Some(catalog())
        );
        // Opening a pipe would wait for somebody at its other end.
        for name in ["pipe", "pipe.new"] {
            let made = Command::new("mkfifo").arg(at(name)).status().unwrap();
            assert!(made.success());
        }
        let file = StateFile::open(&at("pipe"));
        file.keep_catalog(&catalog());
        assert_eq!(StateFile::open(&at("pipe")).catalog(), Some(catalog()));
    }
}
