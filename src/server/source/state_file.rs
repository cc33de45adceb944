//! `--router.state-file`: the last clusters of a control plane and the owners of names, for the
//! next start.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tinyjson::JsonValue;

use crate::cluster::json::{self, JsonError};
use crate::cluster::{Catalog, Owners};

/// The state file. Two threads share it: one saves clusters, the other the owners of names.
#[derive(Debug, Clone)]
pub(super) struct StateFile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    contents: Contents,
    /// Whether the file has the present contents.
    is_written: bool,
    /// Why the last write failed, as logged.
    error: Option<String>,
}

/// The contents of the file.
#[derive(Debug, Default)]
struct Contents {
    /// `None`: no control plane has sent clusters yet.
    catalog: Option<Catalog>,
    owners: Owners,
}

impl StateFile {
    /// Reads the file. Invalid parts are ignored, and the file is kept as `PATH.bad`.
    pub(super) fn open(path: &Path) -> Self {
        let (contents, is_valid) = read(path);
        if !is_valid && let Err(error) = keep_invalid(path) {
            let path = path.display();
            log::error!("router.state-file: copy failed file={path}.bad reason=\"{error}\"");
        }
        Self(Arc::new(Mutex::new(State {
            path: path.to_owned(),
            is_written: is_valid,
            contents,
            error: None,
        })))
    }

    /// The clusters that were saved last.
    pub(super) fn catalog(&self) -> Option<Catalog> {
        self.state().contents.catalog.clone()
    }

    /// The owners that were saved last.
    pub(super) fn owners(&self) -> Owners {
        self.state().contents.owners.clone()
    }

    /// Saves clusters for the next start. The file is replaced atomically, so a crash leaves the
    /// old or the new one.
    pub(super) fn save_catalog(&self, catalog: &Catalog) {
        let mut state = self.state();
        if state.contents.catalog.as_ref() != Some(catalog) {
            state.contents.catalog = Some(catalog.clone());
            state.is_written = false;
        }
        state.write();
    }

    /// The same for the owners of names.
    pub(super) fn save_owners(&self, owners: Owners) {
        let mut state = self.state();
        state.contents.owners = owners;
        state.is_written = false;
        state.write();
    }

    /// Writes the file if its contents have changed.
    pub(super) fn write(&self) {
        self.state().write();
    }

    /// Changes are complete before the lock is released, so the state is valid even after a panic.
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
        match replace(&self.path, self.contents.to_json().as_bytes()) {
            Ok(()) => {
                self.is_written = true;
                if self.error.take().is_some() {
                    log::info!("router.state-file: write succeeded file={path}");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.error.as_ref() != Some(&why) {
                    log::error!("router.state-file: write failed file={path} reason=\"{why}\"");
                    self.error = Some(why);
                }
            }
        }
    }
}

impl Contents {
    /// Parses the output of [`to_json`](Self::to_json), or a list of clusters alone, which earlier
    /// versions wrote. Invalid parts are left out, and their errors returned.
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
        let mut contents = Self {
            catalog: None,
            owners,
        };
        if !is_null {
            match Catalog::from_json(text) {
                Ok(catalog) => contents.catalog = Some(catalog),
                Err(why) => wrong.push(why),
            }
        }
        Ok((contents, wrong))
    }

    /// The response of a control plane, with the owners of names added.
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

/// Reads the file; `false`: a part of it is invalid.
fn read(path: &Path) -> (Contents, bool) {
    let name = path.display();
    let read = read_text(path).map_err(|error| (error.kind(), error.to_string()));
    let contents = read.and_then(|text| {
        let contents = Contents::from_json(&text);
        contents.map_err(|error| (ErrorKind::InvalidData, error.to_string()))
    });
    match contents {
        Ok((contents, wrong)) => {
            for why in &wrong {
                log::error!("router.state-file: invalid part ignored file={name} reason=\"{why}\"");
            }
            (contents, wrong.is_empty())
        }
        Err((ErrorKind::NotFound, _)) => {
            log::info!("router.state-file: not found file={name}");
            (Contents::default(), true)
        }
        Err((_, why)) => {
            log::error!("router.state-file: ignored file={name} reason=\"{why}\"");
            (Contents::default(), false)
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    // Checked before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Gives an invalid file the second name `PATH.bad`, under which it stays when it is replaced.
fn keep_invalid(path: &Path) -> io::Result<()> {
    // Links and pipes are replaced; their targets stay as they are.
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

/// Replaces a file atomically. A link is replaced and not followed, a pipe is not opened.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = with_suffix(path, ".new");
    let mut file = match create(&new) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Left by a crash, or by another program.
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

/// Creates a file; fails if there is one, even a link.
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
    fn state_is_restored_after_a_restart() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        let file = StateFile::open(&path);
        assert_eq!(file.catalog(), None);
        file.save_catalog(&catalog());
        assert_eq!(StateFile::open(&path).catalog(), Some(catalog()));
        file.save_catalog(&Catalog::default());
        assert_eq!(StateFile::open(&path).catalog(), Some(Catalog::default()));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
        fs::write(&path, "[{").unwrap();
        assert_eq!(StateFile::open(&path).catalog(), None);
        // The format of earlier versions.
        fs::write(&path, catalog().to_json()).unwrap();
        assert_eq!(StateFile::open(&path).catalog(), Some(catalog()));
    }

    #[test]
    fn owners_are_saved_with_or_without_clusters() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        let mut owners = Owners::default();
        let tenant = owners.claim_key(&ClusterKey::local()).unwrap();
        owners.claim_alias(&tenant, "shop").unwrap();
        let list = |file: &StateFile| format!("{:?}", file.owners().list());
        let expected = format!("{:?}", owners.list());
        let file = StateFile::open(&path);
        file.save_owners(owners);
        let again = StateFile::open(&path);
        assert_eq!((list(&again), again.catalog()), (expected.clone(), None));
        again.save_catalog(&catalog());
        let again = StateFile::open(&path);
        assert_eq!((list(&again), again.catalog()), (expected, Some(catalog())));
    }

    #[test]
    fn invalid_parts_are_left_out_and_the_file_is_kept() {
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
        file.save_catalog(&catalog());
        file.save_owners(owners.clone());
        let good = fs::read_to_string(&path).unwrap();
        let names = |owners: &Owners| -> Vec<String> {
            let list = owners.list().into_iter();
            list.flat_map(|(_, aliases)| aliases)
                .map(str::to_owned)
                .collect()
        };
        let all = names(&owners);
        // An invalid cluster, an alias or the list of clusters: everything else is kept.
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
        StateFile::open(&path).save_owners(owners);
        assert_eq!(fs::read_to_string(&bad).unwrap(), "[{");
        assert_eq!(names(&StateFile::open(&path).owners()).len(), 2);
    }

    #[test]
    fn failed_write_is_retried() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("below/state.json");
        let file = StateFile::open(&path);
        file.save_catalog(&Catalog::default());
        assert!(file.state().error.is_some());
        fs::create_dir(dir.path().join("below")).unwrap();
        file.save_catalog(&Catalog::default());
        assert!(file.state().error.is_none());
        assert_eq!(StateFile::open(&path).catalog(), Some(Catalog::default()));
    }

    #[test]
    fn links_and_pipes_are_replaced_not_written() {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        for name in ["state.json", "state.json.new"] {
            symlink(at("victim"), at(name)).unwrap();
        }
        let file = StateFile::open(&at("state.json"));
        file.save_catalog(&catalog());
        assert_eq!(fs::read_to_string(at("victim")).unwrap(), "precious");
        assert!(fs::symlink_metadata(at("state.json")).unwrap().is_file());
        assert_eq!(
            StateFile::open(&at("state.json")).catalog(),
            Some(catalog())
        );
        // Opening a pipe would wait for a reader.
        for name in ["pipe", "pipe.new"] {
            let made = Command::new("mkfifo").arg(at(name)).status().unwrap();
            assert!(made.success());
        }
        let file = StateFile::open(&at("pipe"));
        file.save_catalog(&catalog());
        assert_eq!(StateFile::open(&at("pipe")).catalog(), Some(catalog()));
    }
}
