//! Whether a worker waits a moment before it asks the poll.
//!
//! A worker is quicker than those who send to it. Left alone, it wakes for each request, and the
//! backend for each of them, too; most of what that costs is going to sleep and waking. When many
//! requests are under way and more come all the time, a wait of some 50 microseconds gives each
//! turn several of them: for both processes that is less work, so that under load nobody waits
//! longer. Who is alone, or asks now and then, is served at once.

use std::mem;

/// Fewer requests under way are not worth a wait: each client has to wait for its own reply. With
/// so many of them, what is saved makes up for it (30 clients that ask one at a time are served a
/// seventh faster with a sixth less CPU); a dozen clients would be served a sixth slower.
const UNDER_WAY_MIN: usize = 24;

/// The rate is looked at once in so many requests.
const SAMPLE: u64 = 16;

/// What counts is how many are under way at most while so many requests come: right after a turn
/// has delivered replies they are few, and yet about to be many again.
const SPAN: u64 = 256;

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
    /// Requests so far at the beginning of the span.
    span: u64,
    /// The most that were under way at a time: in this span, and in the one before it.
    most: usize,
    most_before: usize,
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
        if requests - self.span >= SPAN {
            self.span = requests;
            self.most_before = mem::take(&mut self.most);
        }
        self.most = self.most.max(under_way);
        if came >= SAMPLE {
            self.dense = came * 1_000 >= PER_MS_MIN * took;
            self.begin = (requests, now);
        } else if took * PER_MS_MIN > SAMPLE * 1_000 {
            self.dense = false;
        }
        let many = self.most.max(self.most_before) >= UNDER_WAY_MIN;
        self.dense && many && now >= self.rests_until
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
        assert!(
            gather.is_due(1_000, 101, 0),
            "all have been answered, and ask again"
        );
        assert!(!after(&mut gather, 20_000, 100, 50), "they are far apart");
        assert!(after(&mut gather, 40_000, 10, 24));
        let (at, requests) = (45_000, 40_100);
        assert!(!gather.is_due(at, requests, 50), "there was a pause");
    }

    #[test]
    fn few_requests_are_not_gathered_nor_those_of_a_crowd_that_has_gone() {
        let mut gather = Gather::default();
        assert!(!after(&mut gather, 0, 10, 23));
        assert!(after(&mut gather, 1_000, 10, 50));
        for from in [2_000, 3_000, 4_000] {
            after(&mut gather, from, 10, 12);
        }
        assert!(!after(&mut gather, 5_000, 10, 12));
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
