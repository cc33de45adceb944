//! The options that are set on the command line or in the environment.
//!
//! Each value is checked alone; `check.rs` checks the options together.

use std::fmt;

use getopts::Matches;

use super::Config;
use super::error::ConfigError;
use super::table::{self, Row, Value};
use super::values::parse_digits;

/// The options that are set, in the order of the table.
pub(super) struct Settings(Vec<Setting>);

/// One option that is set, with its text and where the text comes from.
pub(super) struct Setting {
    pub(super) row: &'static Row,
    text: String,
    from_env: bool,
}

/// Writes the setting as the user wrote it, `--port=1` or `ELIKA_PORT=1`. A token and a
/// password are written as `…`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = ["-token", "-password"];
        let secret = secret.iter().any(|end| self.row.name.ends_with(end));
        let text = if secret { "…" } else { &self.text };
        write!(f, "{}={text}", self.written_name())
    }
}

impl Setting {
    /// The name in the user's notation: `--port` or `ELIKA_PORT`.
    pub(super) fn written_name(&self) -> String {
        if self.from_env {
            self.row.env_name()
        } else {
            format!("--{}", self.row.name)
        }
    }

    pub(super) fn error(
        &self,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> ConfigError {
        ConfigError::new(&self.to_string(), reason, remedy)
    }

    fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        let result = match &self.row.value {
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
        result.map_err(|reason| self.error(reason, allowed()))
    }
}

impl Settings {
    /// Reads the command line and the environment. The command line wins; an empty variable counts
    /// as not set. `notes` receives a line for each group of variables that is ignored.
    pub(super) fn read(
        matches: &Matches,
        env: &dyn Fn(&str) -> Option<String>,
        notes: &mut Vec<String>,
    ) -> Self {
        let service_link = is_service_link(env);
        let mut settings = Vec::new();
        let mut ignored = Vec::new();
        for row in table::rows() {
            let mut set = |text, from_env| {
                settings.push(Setting {
                    row,
                    text,
                    from_env,
                });
            };
            if let Some(text) = matches.opt_str(row.name) {
                set(text, false);
            } else if let Some(text) = env(&row.env_name()).filter(|text| !text.is_empty()) {
                if service_link && matches!(row.name, "port" | "service-port") {
                    ignored.push(row.env_name());
                } else {
                    set(text, true);
                }
            }
        }
        if !ignored.is_empty() {
            let names = ignored.join(" and ");
            notes.push(format!(
                "{names} ignored: set by Kubernetes for a Service called elika"
            ));
        }
        Self(settings)
    }

    /// Writes every setting to its field of `config`.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), ConfigError> {
        self.iter().try_for_each(|setting| setting.apply(config))
    }

    /// The setting of option `name`; `None` when the option is not set.
    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.iter().find(|setting| setting.row.name == name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }
}

/// True when `ELIKA_PORT` and `ELIKA_SERVICE_PORT` come from Kubernetes instead of the user. For a
/// Service called `elika`, Kubernetes sets `ELIKA_PORT=tcp://10.0.0.7:6378` and
/// `ELIKA_SERVICE_PORT=6378` in every pod of the namespace; the URL identifies both.
fn is_service_link(env: &dyn Fn(&str) -> Option<String>) -> bool {
    env("ELIKA_PORT").is_some_and(|text| text.contains("://"))
}
