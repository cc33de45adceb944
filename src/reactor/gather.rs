//! Whether a worker waits a moment before it asks the poll.
//!
//! A worker is quicker than those who send to it. Left alone, it wakes for each request, and the
//! backend for each of them, too; most of what that costs is going to sleep and waking. When many
//! requests are under way and more come all the time, a wait of some 50 microseconds gives each
//! turn several of them: for both processes that is less work, so that under load nobody waits
//! longer. Who is alone, or asks now and then, is served at once.

/// Fewer requests under way are not worth a wait: each client has to wait for its own reply. With
/// so many of them, what is saved makes up for it; a dozen clients would be served a sixth slower.
const UNDER_WAY_MIN: usize = 16;

/// The rate is looked at once in so many requests.
const SAMPLE: u64 = 16;

/// Below this rate a wait gathers nothing: requests per millisecond.
const PER_MS_MIN: u64 = 25;

/// Waits that take longer than this on average are given up for as long as [`REST_US`]: timers are
/// that coarse here. Microseconds.
const WAIT_US_MAX: u64 = 200;

/// See [`WAIT_US_MAX`], microseconds.
const REST_US: u64 = 1_000_000;

/// What is known of the load. Times are microseconds since the start.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Requests so far, and the time, at the beginning of the sample.
    begin: (u64, u64),
    /// So many came in the last sample that the next ones will not be long.
    dense: bool,
    /// What a wait takes, on average over the last eight or so.
    average: u64,
    rests_until: u64,
}

impl Gather {
    /// Is the poll to be asked a moment later? There were `requests` so far, and `under_way` are
    /// not answered.
    pub(super) fn is_due(&mut self, now: u64, requests: u64, under_way: usize) -> bool {
        let (begin, since) = self.begin;
        let (came, took) = (requests - begin, now.saturating_sub(since));
        if came >= SAMPLE {
            self.dense = came * 1_000 >= PER_MS_MIN * took;
            self.begin = (requests, now);
        } else if took * PER_MS_MIN > SAMPLE * 1_000 {
            self.dense = false;
        }
        self.dense && under_way >= UNDER_WAY_MIN && now >= self.rests_until
    }

    /// The wait took so long.
    pub(super) fn waited(&mut self, now: u64, took: u64) {
        // Somebody else may have had the processor: once is no rule.
        let took = took.min(2 * WAIT_US_MAX);
        self.average = (7 * self.average + took) / 8;
        if self.average > WAIT_US_MAX {
            self.rests_until = now.saturating_add(REST_US);
            self.average = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests at this distance, so many under way; was there a wait in the end?
    fn after(gather: &mut Gather, from: u64, distance: u64, under_way: usize) -> bool {
        let mut due = false;
        for i in 1..=100 {
            due = gather.is_due(from + i * distance, from + i, under_way);
        }
        due
    }

    #[test]
    fn only_many_requests_in_quick_succession_are_gathered() {
        let mut gather = Gather::default();
        assert!(after(&mut gather, 0, 10, 50));
        assert!(after(&mut gather, 5_000, 10, 16));
        assert!(!after(&mut gather, 10_000, 10, 12), "few are under way");
        assert!(!after(&mut gather, 20_000, 100, 50), "they are far apart");
        assert!(after(&mut gather, 40_000, 10, 50));
        let (at, requests) = (45_000, 40_100);
        assert!(!gather.is_due(at, requests, 50), "there was a pause");
    }

    #[test]
    fn coarse_timers_are_not_waited_for() {
        let mut gather = Gather::default();
        assert!(after(&mut gather, 0, 10, 50));
        for took in [60, 60, 60, 60, 9_000, 60, 60] {
            gather.waited(1_000, took);
        }
        assert!(after(&mut gather, 1_000, 10, 50), "one was long");
        for _ in 0..8 {
            gather.waited(2_000, 1_100);
        }
        assert!(!after(&mut gather, 2_000, 10, 50));
        assert!(after(&mut gather, 1_002_000, 10, 50));
    }
}
