//! The `elika-proxy` program: parses the configuration, prints the banner, starts the log, runs the
//! proxy.

mod logger;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use elika::config::{self, Parsed, RouterType};
use elika::{Config, Proxy};

const BANNER: &str = r"
   ___ _ _ _
  | __| (_) |____ _
  | _|| | | / / _` |
  |___|_|_|_\_\__,_|";

fn main() -> ExitCode {
    // Options are ASCII. An argument that is not Unicode is reported as a wrong option.
    let args = std::env::args_os()
        .skip(1)
        .map(|arg| arg.to_string_lossy().into_owned());
    let parsed = config::parse(args, &|name| std::env::var(name).ok());
    match parsed {
        Ok(Parsed::Run(config)) if has_no_source(&config) => {
            eprintln!(
                "elika-proxy: --router.type=sync: no source of clusters is set; remove \
                 --service.enable=false, or add --router.file or --router.cp-addr"
            );
            ExitCode::from(2)
        }
        Ok(Parsed::Run(config)) => run(*config),
        Ok(Parsed::Help(text) | Parsed::Version(text)) => {
            // A closed pipe (`--help | head`) is not a failure.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("elika-proxy: {error}");
            ExitCode::from(2)
        }
    }
}

/// True when the sync router can never learn of a cluster. A program that embeds the library may
/// bring its own registry; `elika-proxy` has none.
fn has_no_source(config: &Config) -> bool {
    let router = &config.router;
    router.kind == RouterType::Sync
        && !config.service_enable
        && router.file.is_none()
        && router.cp_addr.is_none()
}

fn run(config: Config) -> ExitCode {
    if io::stdout().is_terminal() {
        println!("{BANNER}  {}\n", env!("CARGO_PKG_VERSION"));
    }
    logger::start(config.log_level.into());
    for note in &config.notes {
        log::warn!("configuration: {note}");
    }
    let outcome = Proxy::new(config).run();
    log::logger().flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elika-proxy: {error}");
            ExitCode::FAILURE
        }
    }
}
