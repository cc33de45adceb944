//! What a tenant uses at the moment, over all workers: a few numbers that they share.
//!
//! Nothing here is touched per request: workers take requests and bytes in portions.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What one tenant uses. Workers share it; its limits are in [`TenantLimits`].
///
/// [`TenantLimits`]: super::TenantLimits
#[derive(Debug, Default)]
pub struct Quota {
    /// Clients that are logged in.
    pub clients: Gauge,
    /// Backend connections that are clients' own.
    pub pinned: Gauge,
    /// Clients that wait because the tenant is paused.
    pub waiting: Gauge,
    /// Requests.
    pub requests: Bucket,
    /// Bytes of requests and replies.
    pub bytes: Bucket,
}

/// How many there are.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// One more, whatever the limit.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One more, if there are fewer than `max`.
    #[must_use]
    pub fn add_below(&self, max: u32) -> bool {
        let more = |n: u32| (n < max).then_some(n.saturating_add(1));
        let order = Ordering::Relaxed;
        self.0.fetch_update(order, order, more).is_ok()
    }

    /// One less.
    pub fn subtract(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A rate: what may be spent in one second may also be spent at once after a second of rest.
///
/// One number is enough for that (the "generic cell rate algorithm"): the moment at which all that
/// was spent so far would have been spent at an even pace, in nanoseconds since the start.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

const SECOND_NS: u64 = 1_000_000_000;

impl Bucket {
    /// Takes `n` at this time (milliseconds since the start), if the rate allows that.
    #[must_use]
    pub fn take(&self, n: u64, per_second: u64, now_ms: u64) -> bool {
        let order = Ordering::Relaxed;
        let spend = |at: u64| {
            let after = spent(at, n, per_second, now_ms);
            (after <= most(now_ms)).then_some(after)
        };
        self.0.fetch_update(order, order, spend).is_ok()
    }

    /// Takes `n` that are spent already.
    pub fn charge(&self, n: u64, per_second: u64, now_ms: u64) {
        let order = Ordering::Relaxed;
        let spend = |at: u64| Some(spent(at, n, per_second, now_ms));
        // It never says no.
        let _ = self.0.fetch_update(order, order, spend);
    }

    /// How many could be taken now.
    #[must_use]
    pub fn left(&self, per_second: u64, now_ms: u64) -> u64 {
        let at = self
            .0
            .load(Ordering::Relaxed)
            .max(now_ms.saturating_mul(1_000_000));
        most(now_ms).saturating_sub(at) / pace(1, per_second).max(1)
    }

    /// How long until `n` could be taken, rounded up, ms.
    #[must_use]
    pub fn wait_ms(&self, n: u64, per_second: u64, now_ms: u64) -> u64 {
        let after = spent(self.0.load(Ordering::Relaxed), n, per_second, now_ms);
        after.saturating_sub(most(now_ms)).div_ceil(1_000_000)
    }

    /// Is more spent than the rate allows?
    #[must_use]
    pub fn is_overdrawn(&self, now_ms: u64) -> bool {
        self.0.load(Ordering::Relaxed) > most(now_ms)
    }
}

fn spent(at: u64, n: u64, per_second: u64, now_ms: u64) -> u64 {
    at.max(now_ms.saturating_mul(1_000_000))
        .saturating_add(pace(n, per_second))
}

/// How long `n` take at an even pace, in nanoseconds.
fn pace(n: u64, per_second: u64) -> u64 {
    n.saturating_mul(SECOND_NS) / per_second.max(1)
}

fn most(now_ms: u64) -> u64 {
    now_ms.saturating_mul(1_000_000).saturating_add(SECOND_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_stops_at_its_limit() {
        let gauge = Gauge::default();
        assert!(gauge.add_below(2) && gauge.add_below(2) && !gauge.add_below(2));
        gauge.subtract();
        assert!(gauge.add_below(2));
        gauge.add();
        assert_eq!(gauge.get(), 3);
        assert!(!gauge.add_below(2));
    }

    #[test]
    fn a_second_of_rest_is_worth_a_second_of_spending() {
        let bucket = Bucket::default();
        let taken = |now_ms| (0..).take_while(|_| bucket.take(10, 100, now_ms)).count();
        assert_eq!(bucket.left(100, 5_000), 100);
        assert_eq!(taken(5_000), 10);
        assert_eq!(taken(5_050), 0);
        assert_eq!(bucket.left(100, 5_050), 5);
        assert_eq!(bucket.wait_ms(10, 100, 5_050), 50);
        assert_eq!(bucket.wait_ms(5, 100, 5_050), 0);
        assert_eq!(taken(5_100), 1);
        assert_eq!(taken(5_600), 5);
        assert_eq!(taken(60_000), 10);
    }

    #[test]
    fn what_is_spent_already_has_to_be_waited_for() {
        let bucket = Bucket::default();
        bucket.charge(1_000, 1_000, 0);
        assert!(!bucket.is_overdrawn(0));
        bucket.charge(2_000, 1_000, 0);
        assert!(bucket.is_overdrawn(1_999));
        assert!(!bucket.is_overdrawn(2_000));
        assert!(!bucket.take(1, 1_000, 2_000));
        bucket.charge(u64::MAX, 1, 3_000);
        assert!(bucket.is_overdrawn(u64::MAX / 2_000_000));
    }
}
