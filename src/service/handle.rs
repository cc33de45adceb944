//! How other threads reach the service port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;

/// See the module; any thread may have one.
#[derive(Debug, Clone)]
pub(crate) struct ServiceHandle {
    pub(super) changed: Arc<AtomicBool>,
    pub(super) closed: Arc<AtomicBool>,
    pub(super) waker: Arc<Waker>,
}

impl ServiceHandle {
    /// The clusters have changed: whoever waits for that is answered.
    pub(crate) fn changed(&self) {
        self.changed.store(true, Ordering::Release);
        self.wake();
    }

    /// No new connections and requests; responses on their way may arrive, for a second at most.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the service port cannot be woken: {error}");
        }
    }
}
