//! Starting threads.

use std::io;
use std::thread::{self, JoinHandle};

/// Starts a thread with this name.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // Boxed, so that the code that starts threads is compiled once and not for each closure.
    let run: Box<dyn FnOnce() + Send> = Box::new(run);
    thread::Builder::new().name(name.to_owned()).spawn(run)
}
