//! The options that were set, and by whom: the command line, or else the environment.
//!
//! Knows values one at a time; what they mean together is in `check.rs`.

use std::fmt;

use getopts::Matches;

use super::Config;
use super::error::ConfigError;
use super::table::{self, Row, Value};
use super::values::parse_digits;

/// The options that were set, in the order of the table.
pub(super) struct Given(Vec<Setting>);

/// One option as it was set.
pub(super) struct Setting {
    pub(super) row: &'static Row,
    text: String,
    from_env: bool,
}

/// Writes what the user wrote: `--port=1` or `ELIKA_PORT=1`; of a token only that it was given.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.row.name.ends_with("-token");
        let text = if secret { "…" } else { &self.text };
        write!(f, "{}={text}", self.written_name())
    }
}

impl Setting {
    /// The name under which it was set.
    pub(super) fn written_name(&self) -> String {
        if self.from_env {
            self.row.env_name()
        } else {
            format!("--{}", self.row.name)
        }
    }

    /// An error about this setting.
    pub(super) fn error(
        &self,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ConfigError {
        ConfigError::new(&self.to_string(), reason, remedy)
    }

    fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        let done = match &self.row.value {
            Value::Number(min, max, set) => match parse_digits(&self.text) {
                None => Err("not a whole number"),
                Some(number) if number < *min => Err("too small"),
                Some(number) if number > *max || !set(config, number) => Err("too large"),
                Some(_) => Ok(()),
            },
            Value::OneOf(names, set) if names.contains(&self.text.as_str()) => {
                set(config, &self.text);
                Ok(())
            }
            Value::OneOf(..) => Err("unknown value"),
            Value::Text(_, set) => set(config, &self.text),
        };
        let allowed = || format!("allowed: {}", self.row.value.allowed());
        done.map_err(|reason| self.error(reason, allowed()))
    }
}

impl Given {
    /// The command line wins; an empty variable counts as not set.
    pub(super) fn read(
        matches: &Matches,
        env: &dyn Fn(&str) -> Option<String>,
        notes: &mut Vec<String>,
    ) -> Self {
        let service_link = is_service_link(env);
        let mut given = Vec::new();
        let mut skipped = Vec::new();
        for row in table::rows() {
            if let Some(text) = matches.opt_str(row.name) {
                given.push(Setting {
                    row,
                    text,
                    from_env: false,
                });
            } else if let Some(text) = env(&row.env_name()).filter(|text| !text.is_empty()) {
                if service_link && matches!(row.name, "port" | "service-port") {
                    skipped.push(row.env_name());
                } else {
                    given.push(Setting {
                        row,
                        text,
                        from_env: true,
                    });
                }
            }
        }
        if !skipped.is_empty() {
            let names = skipped.join(" and ");
            notes.push(format!(
                "{names} ignored: set by Kubernetes for a Service called elika"
            ));
        }
        Self(given)
    }

    /// Sets in `config` what was given, option by option.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        self.iter().try_for_each(|setting| setting.apply(config))
    }

    /// The option called `name`, if it was set.
    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.iter().find(|setting| setting.row.name == name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }
}

/// For a Service called `elika`, Kubernetes tells every pod of the namespace
/// `ELIKA_PORT=tcp://10.0.0.7:6378` and `ELIKA_SERVICE_PORT=6378`: names of our own, not meant
/// for us. The former gives both away.
fn is_service_link(env: &dyn Fn(&str) -> Option<String>) -> bool {
    env("ELIKA_PORT").is_some_and(|text| text.contains("://"))
}
