//! The thread that handles signals: it starts a drain, or reads files again.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::{Handle, Signals};

use super::log_level::LevelSource;
use super::source::Sources;
use super::{Event, spawn};

/// Signals that start a drain.
const END: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// Signals that are ignored, because by default they would end the process without a drain. With
/// SIGXFSZ ignored, a write beyond the file size limit is an error, like a full disk.
const IGNORED: [i32; 8] = [
    SIGALRM, SIGIO, SIGPROF, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
];

/// Catches the signals from now on; they are queued until [`act`] takes them.
pub(super) fn catch() -> io::Result<Signals> {
    Signals::new(END.into_iter().chain([SIGHUP]).chain(IGNORED))
}

/// Handles signals until the handle is closed or the receiver of `end` is dropped.
pub(super) fn act(
    mut signals: Signals,
    level: LevelSource,
    sources: Arc<Sources>,
    end: Sender<Event>,
) -> io::Result<Handle> {
    let handle = signals.handle();
    spawn("signals", move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                reload(&level, &sources);
            } else if END.contains(&signal) && end.send(Event::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(handle)
}

fn reload(level: &LevelSource, sources: &Sources) {
    let mut outcomes = sources.reload();
    let new = level.read();
    if level.has_file() {
        let name = new.unwrap_or_else(log::max_level).as_str();
        let name = name.to_ascii_lowercase();
        outcomes.push(match new {
            Some(_) => format!("log.level={name}"),
            None => format!("log.level-file=invalid log.level={name}"),
        });
    }
    let text = match outcomes.is_empty() {
        true => "SIGHUP: no files to read".to_owned(),
        false => format!("SIGHUP: files read {}", outcomes.join(" ")),
    };
    LevelSource::set(new, &text);
}
