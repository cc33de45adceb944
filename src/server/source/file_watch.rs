//! Watches the content of a file by checking it again and again.
//!
//! Each check follows symbolic links, because Kubernetes updates a ConfigMap by replacing a link to
//! its directory.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes of a file at most.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Checks after a change that read the file even if its metadata is unchanged: a file system's
/// clock may be too coarse to show a second write.
const READS_AFTER_CHANGE: u8 = 4;

#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    mark: Option<Mark>,
    /// Length and hash.
    content: Option<(usize, u64)>,
    /// Remaining checks that read the file in any case.
    reads: u8,
}

/// Metadata that changes when a file is written or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    len: u64,
    changed: [i64; 4],
}

/// The result of a check.
#[derive(Debug)]
pub(super) enum FileState {
    /// The content is that of the last successful check.
    Unchanged,
    /// New content.
    Changed(Vec<u8>),
    /// The file does not exist.
    Missing,
    /// The file exists and cannot be read.
    Unreadable(io::Error),
}

impl FileWatch {
    /// Watches a file, which need not exist yet.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            mark: None,
            content: None,
            reads: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks the file; reads it if it may have changed.
    pub(super) fn check(&mut self) -> FileState {
        self.try_check().unwrap_or_else(|error| {
            self.mark = None;
            match error.kind() {
                // `NotADirectory`: a directory of the path is a file at the moment.
                ErrorKind::NotFound | ErrorKind::NotADirectory => FileState::Missing,
                _ => FileState::Unreadable(error),
            }
        })
    }

    /// Makes the next check read the file in any case.
    pub(super) fn force_read(&mut self) {
        self.mark = None;
    }

    fn try_check(&mut self) -> io::Result<FileState> {
        // Checked before it is opened: opening a pipe would wait for a writer.
        let seen = fs::metadata(&self.path)?;
        if !seen.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if self.mark.as_ref() == Some(&Mark::of(&seen)) {
            if self.reads == 0 {
                return Ok(FileState::Unchanged);
            }
            self.reads -= 1;
        } else {
            self.reads = READS_AFTER_CHANGE;
        }
        let file = File::open(&self.path)?;
        // Taken before the content is read: a write during the read gives another mark in the next
        // check.
        let mark = Mark::of(&file.metadata()?);
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        if content.len() as u64 > FILE_BYTES_MAX {
            let why = format!("larger than {FILE_BYTES_MAX} bytes");
            return Err(io::Error::other(why));
        }
        self.mark = Some(mark);
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let print = (content.len(), hasher.finish());
        if self.content.replace(print) == Some(print) {
            return Ok(FileState::Unchanged);
        }
        Ok(FileState::Changed(content))
    }
}

impl Mark {
    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            len: file.len(),
            changed: [
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[track_caller]
    fn changed(watch: &mut FileWatch) -> String {
        match watch.check() {
            FileState::Changed(content) => String::from_utf8(content).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn unchanged(watch: &mut FileWatch) {
        let state = watch.check();
        assert!(matches!(state, FileState::Unchanged), "{state:?}");
    }

    #[track_caller]
    fn missing(watch: &mut FileWatch) {
        let state = watch.check();
        assert!(matches!(state, FileState::Missing), "{state:?}");
    }

    #[test]
    fn every_kind_of_edit_is_detected() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        let mut watch = FileWatch::new(&path);
        missing(&mut watch);
        fs::write(&path, "one").unwrap();
        assert_eq!(changed(&mut watch), "one");
        unchanged(&mut watch);
        // Within one tick of the clock, with the same length.
        for text in ["two", "six", "ten"] {
            fs::write(&path, text).unwrap();
            assert_eq!(changed(&mut watch), text);
        }
        fs::write(dir.path().join("next"), "new").unwrap();
        fs::rename(dir.path().join("next"), &path).unwrap();
        assert_eq!(changed(&mut watch), "new");
        for _ in 0..2 * READS_AFTER_CHANGE {
            unchanged(&mut watch);
        }
        fs::write(&path, "new").unwrap();
        unchanged(&mut watch);
        watch.force_read();
        unchanged(&mut watch);
        fs::remove_file(&path).unwrap();
        missing(&mut watch);
        fs::write(&path, "new").unwrap();
        unchanged(&mut watch);
    }

    #[test]
    fn replaced_link_is_a_change() {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("v1", "first"), ("v2", "second")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), text).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/file", at("file")).unwrap();
        let mut watch = FileWatch::new(&at("file"));
        assert_eq!(changed(&mut watch), "first");
        symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at("v1")).unwrap();
        assert_eq!(changed(&mut watch), "second");
        unchanged(&mut watch);
        fs::remove_file(at("..data")).unwrap();
        missing(&mut watch);
    }

    #[test]
    fn directories_and_large_files_are_unreadable() {
        let dir = TempDir::new().unwrap();
        let state = FileWatch::new(dir.path()).check();
        assert!(matches!(state, FileState::Unreadable(_)), "{state:?}");
        fs::write(dir.path().join("file"), "x").unwrap();
        missing(&mut FileWatch::new(&dir.path().join("file/below")));
        let big = dir.path().join("big");
        File::create(&big)
            .unwrap()
            .set_len(FILE_BYTES_MAX + 1)
            .unwrap();
        let state = FileWatch::new(&big).check();
        assert!(matches!(state, FileState::Unreadable(_)), "{state:?}");
    }
}
