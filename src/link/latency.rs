//! The latency of requests, as clients see it and as servers cause it.

use crate::metrics::Traffic;

use crate::link::request::{Request, Requests};

/// The fields of a record that are needed to measure its latency.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments {
    arrived: u32,
    queued: u32,
    untimed: bool,
    counted: bool,
}

impl Request {
    pub(crate) fn moments(&self) -> Moments {
        Moments {
            arrived: self.arrived,
            queued: self.queued,
            untimed: self.verb.is_untimed(),
            counted: self.kind.is_counted(),
        }
    }
}

impl Requests {
    /// Counts the latency of replies that arrived now, as the client saw it and as the server
    /// caused it. Blocking requests are not counted.
    #[inline]
    pub(crate) fn measure(&self, traffic: &mut Traffic, request: &Moments, done: u32) {
        if done == 0 || !request.counted {
            return;
        }
        traffic.replies += u64::from(done);
        if request.untimed {
            return;
        }
        let since = |earlier: u32| u64::from(self.clock.wrapping_sub(earlier));
        let done = u64::from(done);
        traffic.client_latency.record(since(request.arrived), done);
        traffic.backend_latency.record(since(request.queued), done);
    }
}
