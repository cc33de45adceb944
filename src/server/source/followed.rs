//! A watched file with JSON in it: what it says when that changes, and in the log, once each, why
//! it says nothing new.

use std::path::Path;

use crate::cluster::json::JsonError;

use super::watch::{Look, Watch};

/// See the module.
pub(super) struct Followed<T> {
    /// The option that names the file, for logs.
    option: &'static str,
    watch: Watch,
    parse: fn(&str) -> Result<T, JsonError>,
    /// Why the content makes no sense; `None`: it does, or there was none yet.
    nonsense: Option<String>,
    /// What was wrong at the last look. A file is half written or away for a moment while it is
    /// changed, so that only what is wrong twice is worth a line.
    last: Option<String>,
    /// What is wrong with it, as logged.
    logged: Option<String>,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// It says this now.
    New(T),
    /// Nothing new.
    Same,
    /// There is no such file. What it said before stays.
    Missing,
    /// It makes no sense, or cannot be read. What it said before stays.
    Bad,
}

impl<T> Found<T> {
    /// In a word, for the log.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Same => "unchanged",
            Self::Missing => "missing",
            Self::Bad => "bad, see above",
        }
    }
}

impl<T> Followed<T> {
    /// It need not exist.
    pub(super) fn new(
        option: &'static str,
        path: &Path,
        parse: fn(&str) -> Result<T, JsonError>,
    ) -> Self {
        Self {
            option,
            watch: Watch::new(path),
            parse,
            nonsense: None,
            last: None,
            logged: None,
        }
    }

    /// Looks at it. If somebody `asked`, or for the first time, what is wrong is logged at once and
    /// though it was before.
    pub(super) fn look(&mut self, asked: bool) -> Found<T> {
        if asked {
            self.watch.forget_mark();
        }
        let (found, wrong) = match self.watch.look() {
            Look::New(content) => match self.read(&content) {
                Ok(value) => (Found::New(value), None),
                Err(why) => (Found::Bad, Some(why)),
            },
            Look::Same => match &self.nonsense {
                None => (Found::Same, None),
                Some(why) => (Found::Bad, Some(why.clone())),
            },
            Look::Missing => (Found::Missing, Some("there is no such file".to_owned())),
            Look::Unreadable(error) => (Found::Bad, Some(error.to_string())),
        };
        self.log(wrong, asked);
        found
    }

    fn read(&mut self, content: &[u8]) -> Result<T, String> {
        let text = str::from_utf8(content).map_err(|error| {
            let before = content.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            format!("line {line}: not UTF-8")
        });
        let read = text.and_then(|text| (self.parse)(text).map_err(|error| error.to_string()));
        self.nonsense = read.as_ref().err().cloned();
        read
    }

    fn log(&mut self, wrong: Option<String>, asked: bool) {
        let (option, path) = (self.option, self.watch.path().display());
        match &wrong {
            None => {
                if self.logged.take().is_some() {
                    log::info!("{option} {path}: is well again");
                }
            }
            Some(_) if !asked && (wrong != self.last || wrong == self.logged) => {}
            Some(why) => {
                log::error!("{option} {path}: {why}; it changes nothing");
                self.logged.clone_from(&wrong);
            }
        }
        self.last = wrong;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::cluster::TenantRules;

    #[test]
    fn what_makes_no_sense_is_told_once_with_its_line() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("tenants.json");
        let mut file = Followed::new("tenants.file", &path, TenantRules::from_json);
        let good = "{\"tenants\":{\"*\":{\"clients\":5}}}";
        assert_eq!(file.look(true), Found::Missing);
        assert_eq!(file.logged.as_deref(), Some("there is no such file"));
        fs::write(&path, good).unwrap();
        let rules = TenantRules::from_json(good).unwrap();
        assert_eq!(file.look(false), Found::New(rules.clone()));
        assert_eq!((file.look(false), file.logged.take()), (Found::Same, None));
        // Half of it is there, then the rest: nobody needs to know.
        fs::write(&path, "{\"tenants\":\n{\"a\"").unwrap();
        assert_eq!((file.look(false), file.logged.take()), (Found::Bad, None));
        fs::write(&path, good).unwrap();
        assert_eq!(file.look(false), Found::New(rules));
        // It stays like that.
        fs::write(&path, "{\"tenants\":\n\n7}").unwrap();
        assert_eq!((file.look(false), file.logged.clone()), (Found::Bad, None));
        assert_eq!(file.look(false), Found::Bad);
        let logged = file.logged.take().unwrap();
        assert!(logged.starts_with("line 3: "), "{logged}");
        file.logged = Some(logged);
        fs::write(&path, b"{\n\xff").unwrap();
        assert_eq!(file.look(true), Found::Bad);
        assert_eq!(file.logged.as_deref(), Some("line 2: not UTF-8"));
        fs::remove_file(&path).unwrap();
        assert_eq!(
            (file.look(false), file.look(false)),
            (Found::Missing, Found::Missing)
        );
        assert_eq!(file.logged.as_deref(), Some("there is no such file"));
        fs::write(&path, good).unwrap();
        assert!(matches!(file.look(false), Found::New(_)));
        assert_eq!(file.logged, None);
    }
}
