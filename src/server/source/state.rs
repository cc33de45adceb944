//! `--router.state-file`: the last known clusters of a control plane, for the next start.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::cluster::Catalog;

/// See the module.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    /// What is in it.
    written: Option<Catalog>,
    /// Why it could not be written, as logged.
    trouble: Option<String>,
}

impl StateFile {
    /// It need not exist.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            written: None,
            trouble: None,
        }
    }

    /// What the last run left; a file that is missing or makes no sense is as good as none.
    pub(super) fn read(&mut self) -> Option<Catalog> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                log::info!("router.state-file {path}: not there yet");
                return None;
            }
            Err(error) => {
                log::error!("router.state-file {path}: {error}; it is ignored");
                return None;
            }
        };
        match Catalog::from_json(&text) {
            Ok(catalog) => {
                self.written = Some(catalog.clone());
                Some(catalog)
            }
            Err(error) => {
                log::error!("router.state-file {path}: {error}; it is ignored");
                None
            }
        }
    }

    /// Keeps this for the next start. Whoever reads the file sees the old state or the new one,
    /// also after a crash.
    pub(super) fn write(&mut self, catalog: &Catalog) {
        if self.written.as_ref() == Some(catalog) {
            return;
        }
        let path = self.path.display();
        match replace(&self.path, catalog.to_json().as_bytes()) {
            Ok(()) => {
                self.written = Some(catalog.clone());
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

/// Puts a new file in the place of the old one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = OsString::from(path);
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::cluster::{Cluster, ClusterKey};

    #[test]
    fn what_one_run_writes_the_next_one_reads() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        let catalog = Catalog {
            clusters: vec![Cluster {
                key: ClusterKey::local(),
                instances: Vec::new(),
            }],
        };
        let mut file = StateFile::new(&path);
        assert_eq!(file.read(), None);
        file.write(&catalog);
        assert_eq!(StateFile::new(&path).read(), Some(catalog.clone()));
        file.write(&Catalog::default());
        assert_eq!(StateFile::new(&path).read(), Some(Catalog::default()));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing else is left: {names:?}");
        fs::write(&path, "[{").unwrap();
        assert_eq!(StateFile::new(&path).read(), None);
    }

    #[test]
    fn what_cannot_be_written_is_tried_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("below/state.json");
        let mut file = StateFile::new(&path);
        file.write(&Catalog::default());
        assert!(file.trouble.is_some());
        fs::create_dir(dir.path().join("below")).unwrap();
        file.write(&Catalog::default());
        assert!(file.trouble.is_none());
        assert_eq!(StateFile::new(&path).read(), Some(Catalog::default()));
    }
}
