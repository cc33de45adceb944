//! A watched JSON file: its parsed content when that changes, and log lines when it is invalid.

use std::path::Path;

use crate::cluster::json::JsonError;

use super::file_watch::{FileState, FileWatch};

pub(super) struct JsonFile<T> {
    /// The option that names the file, for logs.
    option: &'static str,
    watch: FileWatch,
    parse: fn(&str) -> Result<T, JsonError>,
    /// Why the present content is invalid.
    invalid: Option<String>,
    /// The problem that the last check found. While a file is being replaced it may be incomplete
    /// or missing for a moment, so only a problem that two checks find is logged.
    last_error: Option<String>,
    /// The problem that was logged last.
    logged: Option<String>,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded<T> {
    /// New content.
    New(T),
    Unchanged,
    /// The file does not exist. Its last content stays in use.
    Missing,
    /// The file is invalid or cannot be read. Its last content stays in use.
    Invalid,
}

impl<T> Loaded<T> {
    /// The result as a word for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Unchanged => "unchanged",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
        }
    }
}

impl<T> JsonFile<T> {
    /// Watches a file, which need not exist yet.
    pub(super) fn new(
        option: &'static str,
        path: &Path,
        parse: fn(&str) -> Result<T, JsonError>,
    ) -> Self {
        Self {
            option,
            watch: FileWatch::new(path),
            parse,
            invalid: None,
            last_error: None,
            logged: None,
        }
    }

    /// Checks the file. A `forced` check, such as the first one, logs a problem at once. Any other
    /// check logs a problem only if the previous check found it too.
    pub(super) fn check(&mut self, forced: bool) -> Loaded<T> {
        if forced {
            self.watch.force_read();
        }
        let (found, error) = match self.watch.check() {
            FileState::Changed(content) => match self.read(&content) {
                Ok(value) => (Loaded::New(value), None),
                Err(why) => (Loaded::Invalid, Some(why)),
            },
            FileState::Unchanged => match &self.invalid {
                None => (Loaded::Unchanged, None),
                Some(why) => (Loaded::Invalid, Some(why.clone())),
            },
            FileState::Missing => (Loaded::Missing, Some("no such file".to_owned())),
            FileState::Unreadable(error) => (Loaded::Invalid, Some(error.to_string())),
        };
        self.log(error, forced);
        found
    }

    fn read(&mut self, content: &[u8]) -> Result<T, String> {
        let text = str::from_utf8(content).map_err(|error| {
            let before = content.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            format!("line {line}: not UTF-8")
        });
        let read = text.and_then(|text| (self.parse)(text).map_err(|error| error.to_string()));
        self.invalid = read.as_ref().err().cloned();
        read
    }

    fn log(&mut self, error: Option<String>, forced: bool) {
        let (option, path) = (self.option, self.watch.path().display());
        match &error {
            None => {
                if self.logged.take().is_some() {
                    log::info!("{option}: valid again file={path}");
                }
            }
            Some(_) if !forced && (error != self.last_error || error == self.logged) => {}
            Some(why) => {
                log::error!(
                    "{option}: not loaded, the previous configuration stays active file={path} \
                     reason=\"{why}\""
                );
                self.logged.clone_from(&error);
            }
        }
        self.last_error = error;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::cluster::TenantRules;

    #[test]
    fn invalid_file_is_logged_once_with_its_line() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("tenants.json");
        let mut file = JsonFile::new("tenants.file", &path, TenantRules::from_json);
        let good = "{\"tenants\":{\"*\":{\"clients\":5}}}";
        assert_eq!(file.check(true), Loaded::Missing);
        assert_eq!(file.logged.as_deref(), Some("no such file"));
        fs::write(&path, good).unwrap();
        let rules = TenantRules::from_json(good).unwrap();
        assert_eq!(file.check(false), Loaded::New(rules.clone()));
        assert_eq!(
            (file.check(false), file.logged.take()),
            (Loaded::Unchanged, None)
        );
        // An incomplete file that is completed before the next check is not logged.
        fs::write(&path, "{\"tenants\":\n{\"a\"").unwrap();
        assert_eq!(
            (file.check(false), file.logged.take()),
            (Loaded::Invalid, None)
        );
        fs::write(&path, good).unwrap();
        assert_eq!(file.check(false), Loaded::New(rules));
        // Two checks find it.
        fs::write(&path, "{\"tenants\":\n\n7}").unwrap();
        assert_eq!(
            (file.check(false), file.logged.clone()),
            (Loaded::Invalid, None)
        );
        assert_eq!(file.check(false), Loaded::Invalid);
        let logged = file.logged.take().unwrap();
        assert!(logged.starts_with("line 3: "), "{logged}");
        file.logged = Some(logged);
        fs::write(&path, b"{\n\xff").unwrap();
        assert_eq!(file.check(true), Loaded::Invalid);
        assert_eq!(file.logged.as_deref(), Some("line 2: not UTF-8"));
        fs::remove_file(&path).unwrap();
        assert_eq!(
            (file.check(false), file.check(false)),
            (Loaded::Missing, Loaded::Missing)
        );
        assert_eq!(file.logged.as_deref(), Some("no such file"));
        fs::write(&path, good).unwrap();
        assert!(matches!(file.check(false), Loaded::New(_)));
        assert_eq!(file.logged, None);
    }
}
