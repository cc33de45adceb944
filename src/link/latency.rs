//! How long clients and backends took for a request.

use crate::metrics::Traffic;

use crate::link::request::{Request, Requests};

/// What of a record is needed to measure it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    asked: u32,
    queued: u32,
    patient: bool,
    counted: bool,
}

impl Request {
    pub(crate) fn moments(&self) -> Moments {
        Moments {
            asked: self.asked,
            queued: self.queued,
            patient: self.verb.is_patient(),
            counted: self.kind.is_counted(),
        }
    }
}

impl Requests {
    /// Counts replies that came now: how long the client and the backend took for them. Who waits
    /// for something to come is not counted.
    #[inline]
    pub(crate) fn measure(&self, traffic: &mut Traffic, request: &Moments, done: u32) {
        if done == 0 || !request.counted {
            return;
        }
        traffic.replies += u64::from(done);
        if request.patient {
            return;
        }
        let since = |earlier: u32| u64::from(self.clock.wrapping_sub(earlier));
        let done = u64::from(done);
        traffic.client_latency.record(since(request.asked), done);
        traffic.backend_latency.record(since(request.queued), done);
    }
}
