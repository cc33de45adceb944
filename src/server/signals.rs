//! The thread that signals come to: it asks for the end, and reads files again.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::{Handle, Signals};

use super::level::Level;
use super::source::Sources;
use super::{Event, spawn};

/// They begin a drain.
const END: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// They mean nothing here, and would end the process without a drain. A write that is refused
/// because of a limit on the size of files is an error then, as on a full disk.
const IGNORED: [i32; 8] = [
    SIGALRM, SIGIO, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
];

/// What signals are about; they are caught from now on, and wait.
pub(super) fn catch() -> io::Result<Signals> {
    Signals::new(END.into_iter().chain([SIGHUP]).chain(IGNORED))
}

/// Acts on signals until the handle is closed, or nobody waits for the end any more.
pub(super) fn act(
    mut signals: Signals,
    level: Level,
    sources: Arc<Sources>,
    end: Sender<Event>,
) -> io::Result<Handle> {
    let handle = signals.handle();
    spawn("signals", move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                read_again(&level, &sources);
            } else if END.contains(&signal) && end.send(Event::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(handle)
}

fn read_again(level: &Level, sources: &Sources) {
    let mut words = sources.read_again();
    let new = level.read();
    if level.has_file() {
        let name = new.unwrap_or_else(log::max_level).as_str();
        let name = name.to_ascii_lowercase();
        words.push(match new {
            Some(_) => format!("log level {name}"),
            None => format!("log.level-file makes no sense, log level stays {name}"),
        });
    }
    let text = match words.is_empty() {
        true => "SIGHUP: there is nothing to read again".to_owned(),
        false => format!("SIGHUP: read again: {}", words.join(", ")),
    };
    Level::set(new, &text);
}
