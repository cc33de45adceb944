//! How much is logged: as the options say, or as a file says while it is there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use log::LevelFilter;

use crate::config::{Config, LogLevel};

/// Bytes of the file that are looked at; a level and a line break need fewer.
const FILE_BYTES_MAX: u64 = 64;

/// See the module.
pub(super) struct Level {
    given: LogLevel,
    file: Option<PathBuf>,
}

impl Level {
    /// As configured.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            given: config.log_level,
            file: config.log_level_file.clone(),
        }
    }

    /// Is there a file that may say otherwise?
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// The level that counts now; `None`: the one there is, since there is no file to say
    /// otherwise, or it makes no sense.
    pub(super) fn read(&self) -> Option<LevelFilter> {
        let file = self.file.as_deref()?;
        match level_in(file) {
            Ok(level) => Some(level.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(self.given.into()),
            Err(error) => {
                log::error!(
                    "log.level-file {}: {error}; it changes nothing",
                    file.display()
                );
                None
            }
        }
    }

    /// Logs `text` as information in any case that is new or old, and sets the level.
    pub(super) fn set(new: Option<LevelFilter>, text: &str) {
        let old = log::max_level();
        let new = new.unwrap_or(old);
        log::set_max_level(old.max(new));
        log::info!("{text}");
        log::set_max_level(new);
    }
}

fn level_in(path: &Path) -> io::Result<LogLevel> {
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    let level = LogLevel::named(text.trim());
    level.ok_or_else(|| {
        let all = "off, error, warn, info, debug, trace";
        io::Error::other(format!("line 1: no level; allowed: {all}"))
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_file_wins_while_it_is_there() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("level");
        let mut config = Config {
            log_level: LogLevel::Warn,
            ..Config::default()
        };
        assert_eq!(Level::new(&config).read(), None);
        config.log_level_file = Some(path.clone());
        let level = Level::new(&config);
        assert_eq!(level.read(), Some(LevelFilter::Warn));
        for (text, wanted) in [
            ("debug\n", Some(LevelFilter::Debug)),
            (" off ", Some(LevelFilter::Off)),
            ("loud", None),
            ("", None),
            ("debug\nwarn", None),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(level.read(), wanted, "{text:?}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(level.read(), Some(LevelFilter::Warn));
        fs::create_dir(&path).unwrap();
        assert_eq!(level.read(), None);
    }
}
