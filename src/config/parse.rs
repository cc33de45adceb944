//! From what was typed to a [`Config`].
//!
//! Reads the command line and the environment through the table of options. Prints nothing and
//! ends no process: that is the caller's.

use getopts::{Fail, Options};

use super::Config;
use super::error::ConfigError;
use super::given::Given;
use super::{check, help, table};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// To run with this.
    Run(Box<Config>),
    /// To print this text and exit: every option, its default, and the rules.
    Help(String),
    /// To print this line and exit.
    Version(String),
}

/// Reads `args` (without the program's own name) and the environment.
///
/// An empty environment variable counts as not set.
///
/// # Errors
///
/// One line, to be printed on stderr before exit code 2: an unknown option, a value that will not
/// do, or options that contradict each other.
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
    if let Some(stray) = matches.free.first() {
        let remedy = "options are written --name=value or --name value";
        return Err(ConfigError::new(stray, "not an option", remedy));
    }
    let mut config = Config::default();
    let given = Given::read(&matches, env, &mut config.notes);
    given.apply(&mut config)?;
    config.given = given.iter().map(|setting| setting.row.name).collect();
    check::relations(&given, &mut config)?;
    Ok(Parsed::Run(Box::new(config)))
}

/// What `getopts` has to know.
pub(super) fn options() -> Options {
    let mut options = Options::new();
    options.optflag("h", "help", "").optflag("V", "version", "");
    for row in table::rows() {
        options.optopt("", row.name, row.help, row.hint);
    }
    options
}

/// What `getopts` objects to, in our words.
fn explain(fail: Fail) -> ConfigError {
    let written = |name: &str| match name.chars().count() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    };
    match fail {
        Fail::UnrecognizedOption(name) => {
            // Dots, dashes and underscores are easily mixed up.
            let twin = table::env_name(&name);
            let meant = table::rows().find(|row| row.env_name() == twin);
            let remedy = meant.map_or_else(
                || "--help lists all options".to_owned(),
                |row| format!("did you mean --{}?", row.name),
            );
            ConfigError::new(&written(&name), "unknown option", remedy)
        }
        Fail::ArgumentMissing(name) => {
            let allowed = table::row(&name)
                .map(|row| row.value.allowed())
                .unwrap_or_default();
            ConfigError::new(
                &written(&name),
                "needs a value",
                format!("allowed: {allowed}"),
            )
        }
        Fail::OptionDuplicated(name) => {
            ConfigError::new(&written(&name), "given more than once", "give it once")
        }
        Fail::UnexpectedArgument(name) => {
            ConfigError::new(&written(&name), "takes no value", "leave the value out")
        }
        Fail::OptionMissing(name) => ConfigError::new(&written(&name), "missing", "give it"),
    }
}
