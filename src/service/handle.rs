//! Access to the service port from other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;

#[derive(Debug, Clone)]
pub(crate) struct ServiceHandle {
    pub(super) changed: Arc<AtomicBool>,
    pub(super) closed: Arc<AtomicBool>,
    pub(super) waker: Arc<Waker>,
}

impl ServiceHandle {
    /// Notifies requests that wait for a change of the clusters.
    pub(crate) fn changed(&self) {
        self.changed.store(true, Ordering::Release);
        self.wake();
    }

    /// Closes the port. Responses that are being sent have a second to finish.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("service port: wake-up failed reason=\"{error}\"");
        }
    }
}
