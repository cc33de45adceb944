//! The log level: `--log.level`, or the content of `--log.level-file` while that file exists.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use log::LevelFilter;

use crate::config::{Config, LogLevel};

/// Bytes that are read from the file; a level and a line break need fewer.
const FILE_BYTES_MAX: u64 = 64;

pub(super) struct LevelSource {
    given: LogLevel,
    file: Option<PathBuf>,
}

impl LevelSource {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            given: config.log_level,
            file: config.log_level_file.clone(),
        }
    }

    /// Whether `--log.level-file` is set.
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// The level to use. `None`: keep the present level, because there is no `--log.level-file` or
    /// it is invalid.
    pub(super) fn read(&self) -> Option<LevelFilter> {
        let file = self.file.as_deref()?;
        match level_in(file) {
            Ok(level) => Some(level.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(self.given.into()),
            Err(error) => {
                log::error!(
                    "log.level-file: not loaded, the level stays file={} reason=\"{error}\"",
                    file.display()
                );
                None
            }
        }
    }

    /// Logs `text` at level info and sets the level. The line appears if the old or the new level
    /// includes info.
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
        io::Error::other(format!("line 1: unknown level; allowed: {all}"))
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn level_file_overrides_the_option_while_it_exists() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("level");
        let mut config = Config {
            log_level: LogLevel::Warn,
            ..Config::default()
        };
        assert_eq!(LevelSource::new(&config).read(), None);
        config.log_level_file = Some(path.clone());
        let level = LevelSource::new(&config);
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
