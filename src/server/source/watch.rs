//! A file that is looked at again and again: has its content changed?
//!
//! Links are followed at every look, so that what a name stands for may be swapped as a whole, as
//! Kubernetes does with the directory of a ConfigMap.

use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Bytes of a file that is read. More cannot be meant.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Looks after a change at which the file is read even if its mark is the same: it may be written
/// to twice between two ticks of the file system's clock.
const READS_AFTER_CHANGE: u8 = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    mark: Option<Mark>,
    /// Length and hash.
    content: Option<(usize, u64)>,
    /// So many more looks read it in any case.
    reads: u8,
}

/// What changes when a file is written to, or another one takes its place.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    len: u64,
    changed: [i64; 4],
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    /// What the last look found that could read it.
    Same,
    /// Something else.
    New(Vec<u8>),
    /// There is no such file.
    Missing,
    /// There is one that cannot be read.
    Unreadable(io::Error),
}

impl Watch {
    /// It need not exist.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            mark: None,
            content: None,
            reads: 0,
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at it; reads it if it may have changed.
    pub(super) fn look(&mut self) -> Look {
        self.try_look().unwrap_or_else(|error| {
            self.mark = None;
            match error.kind() {
                // The second: a part of the path is a file for the moment.
                ErrorKind::NotFound | ErrorKind::NotADirectory => Look::Missing,
                _ => Look::Unreadable(error),
            }
        })
    }

    /// The next look reads the file in any case.
    pub(super) fn forget_mark(&mut self) {
        self.mark = None;
    }

    fn try_look(&mut self) -> io::Result<Look> {
        // Not opened before it is known to be a file: opening a pipe would wait for a writer.
        let seen = fs::metadata(&self.path)?;
        if !seen.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if self.mark.as_ref() == Some(&Mark::of(&seen)) {
            if self.reads == 0 {
                return Ok(Look::Same);
            }
            self.reads -= 1;
        } else {
            self.reads = READS_AFTER_CHANGE;
        }
        let file = File::open(&self.path)?;
        // Before the content: what is written meanwhile gives another mark the next time.
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
            return Ok(Look::Same);
        }
        Ok(Look::New(content))
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
    fn new(watch: &mut Watch) -> String {
        match watch.look() {
            Look::New(content) => String::from_utf8(content).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn same(watch: &mut Watch) {
        let look = watch.look();
        assert!(matches!(look, Look::Same), "{look:?}");
    }

    #[track_caller]
    fn missing(watch: &mut Watch) {
        let look = watch.look();
        assert!(matches!(look, Look::Missing), "{look:?}");
    }

    #[test]
    fn edits_are_seen_whichever_way_they_are_made() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        let mut watch = Watch::new(&path);
        missing(&mut watch);
        fs::write(&path, "one").unwrap();
        assert_eq!(new(&mut watch), "one");
        same(&mut watch);
        // Within one tick of the clock, with the same length.
        for text in ["two", "six", "ten"] {
            fs::write(&path, text).unwrap();
            assert_eq!(new(&mut watch), text);
        }
        fs::write(dir.path().join("next"), "new").unwrap();
        fs::rename(dir.path().join("next"), &path).unwrap();
        assert_eq!(new(&mut watch), "new");
        for _ in 0..2 * READS_AFTER_CHANGE {
            same(&mut watch);
        }
        fs::write(&path, "new").unwrap();
        same(&mut watch);
        watch.forget_mark();
        same(&mut watch);
        fs::remove_file(&path).unwrap();
        missing(&mut watch);
        fs::write(&path, "new").unwrap();
        same(&mut watch);
    }

    #[test]
    fn a_swapped_link_is_a_change() {
        let dir = TempDir::new().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("v1", "first"), ("v2", "second")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), text).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/file", at("file")).unwrap();
        let mut watch = Watch::new(&at("file"));
        assert_eq!(new(&mut watch), "first");
        symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at("v1")).unwrap();
        assert_eq!(new(&mut watch), "second");
        same(&mut watch);
        fs::remove_file(at("..data")).unwrap();
        missing(&mut watch);
    }

    #[test]
    fn what_is_no_file_cannot_be_read() {
        let dir = TempDir::new().unwrap();
        let look = Watch::new(dir.path()).look();
        assert!(matches!(look, Look::Unreadable(_)), "{look:?}");
        fs::write(dir.path().join("file"), "x").unwrap();
        missing(&mut Watch::new(&dir.path().join("file/below")));
        let big = dir.path().join("big");
        File::create(&big)
            .unwrap()
            .set_len(FILE_BYTES_MAX + 1)
            .unwrap();
        let look = Watch::new(&big).look();
        assert!(matches!(look, Look::Unreadable(_)), "{look:?}");
    }
}
