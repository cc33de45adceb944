//! How a thread is started.

use std::io;
use std::thread::{self, JoinHandle};

/// Starts a thread of this name.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // In a box, so that starting threads is compiled once and not for each kind of them.
    let run: Box<dyn FnOnce() + Send> = Box::new(run);
    thread::Builder::new().name(name.to_owned()).spawn(run)
}
