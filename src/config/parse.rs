//! Parses the command line and the environment into a [`Config`].
//!
//! Prints nothing and ends no process; the caller does.

use getopts::{Fail, Options};

use super::Config;
use super::error::ConfigError;
use super::settings::Settings;
use super::{check, help, table};

/// The action that the command line requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Run the proxy with this configuration.
    Run(Box<Config>),
    /// Print this text and exit. The text lists every option with its values and default.
    Help(String),
    /// Print this line and exit.
    Version(String),
}

/// Parses `args`, which do not contain the program's name, and the environment variables that
/// `env` returns by name.
///
/// The command line wins over the environment. An empty variable counts as not set.
///
/// # Errors
///
/// An unknown option, a value that is not allowed, or options that contradict each other. The
/// error is one line; `elika-proxy` prints the line on stderr and exits with code 2.
pub fn parse(
    args: impl IntoIterator<Item = String>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Parsed, ConfigError> {
    let args: Vec<String> = args.into_iter().collect();
    let matches = options().parse(&args).map_err(explain)?;
    if matches.opt_present("help") {
        return Ok(Parsed::Help(help::text()));
    }
    if matches.opt_present("version") {
        return Ok(Parsed::Version(help::version()));
    }
    if let Some(word) = matches.free.first() {
        let remedy = "options are written --name=value or --name value";
        return Err(ConfigError::new(word, "not an option", remedy));
    }
    let mut config = Config::default();
    let settings = Settings::read(&matches, env, &mut config.notes);
    settings.apply(&mut config)?;
    config.given = settings.iter().map(|setting| setting.row.name).collect();
    check::check(&settings, &mut config)?;
    Ok(Parsed::Run(Box::new(config)))
}

/// The table of options in the form that `getopts` takes.
pub(super) fn options() -> Options {
    let mut options = Options::new();
    options.optflag("h", "help", "").optflag("V", "version", "");
    for row in table::rows() {
        options.optopt("", row.name, row.help, row.hint);
    }
    options
}

/// Turns an error of `getopts` into a line of the same form as all other option errors.
fn explain(fail: Fail) -> ConfigError {
    let written = |name: &str| match name.chars().count() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    };
    match fail {
        Fail::UnrecognizedOption(name) => {
            // A misspelt name often differs only in dots, dashes and underscores.
            let env_name = table::env_name(&name);
            let similar = table::rows().find(|row| row.env_name() == env_name);
            let remedy = similar.map_or_else(
                || "--help lists all options".to_owned(),
                |row| format!("did you mean --{}?", row.name),
            );
            ConfigError::new(&written(&name), "unknown option", remedy)
        }
        Fail::ArgumentMissing(name) => {
            let allowed = table::row(&name).map(|row| row.value.allowed());
            let remedy = format!("allowed: {}", allowed.unwrap_or_default());
            ConfigError::new(&written(&name), "needs a value", remedy)
        }
        Fail::OptionDuplicated(name) => {
            ConfigError::new(&written(&name), "given more than once", "give it once only")
        }
        Fail::UnexpectedArgument(name) => {
            ConfigError::new(&written(&name), "takes no value", "remove the value")
        }
        Fail::OptionMissing(name) => ConfigError::new(&written(&name), "missing", "add it"),
    }
}
