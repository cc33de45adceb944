//! The current usage of a tenant: counters that all workers share.
//!
//! Workers take requests and bytes in portions, so that a request touches no shared counter.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// The current usage of one tenant. All workers share it; the limits are in [`TenantLimits`].
///
/// [`TenantLimits`]: super::TenantLimits
#[derive(Debug, Default)]
pub struct Quota {
    /// Logged-in clients.
    pub clients: Gauge,
    /// Dedicated backend connections.
    pub pinned: Gauge,
    /// Clients that wait because the tenant is paused.
    pub waiting: Gauge,
    /// The rate of requests.
    pub requests: Bucket,
    /// The rate of bytes of requests and replies.
    pub bytes: Bucket,
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    /// Adds 1 without a limit.
    pub fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Adds 1 if the value is below `max`. Returns whether it did.
    #[must_use]
    pub fn add_below(&self, max: u32) -> bool {
        let more = |n: u32| (n < max).then_some(n.saturating_add(1));
        self.0.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Subtracts 1.
    pub fn subtract(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// The current value.
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

/// A rate limiter with a burst of one second: a bucket that is unused for a second allows the
/// amount of one second at once.
///
/// This is the generic cell rate algorithm (GCRA). Its one number is the theoretical arrival time:
/// when all that was taken would be used up at exactly the allowed rate, in nanoseconds since the
/// start.
#[derive(Debug, Default)]
pub struct Bucket {
    at: AtomicU64,
    /// The rate after the last change that a worker followed. 0: the rate has not changed.
    rate: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Bucket {
    /// Takes `n` if the rate allows it. Returns whether it did. `now_ms` is in milliseconds since
    /// the start.
    #[must_use]
    pub fn take(&self, n: u64, per_second: u64, now_ms: u64) -> bool {
        let take = |at: u64| {
            let after = advanced(at, n, per_second, now_ms);
            (after <= latest(now_ms)).then_some(after)
        };
        self.at.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Takes `n`, which are already used, regardless of the rate. The bucket may be overdrawn
    /// afterwards.
    pub fn charge(&self, n: u64, per_second: u64, now_ms: u64) {
        // Another worker may know a higher rate already, and the tenant must not wait for `n` at
        // the old one.
        let per_second = per_second.max(self.rate.load(Relaxed));
        self.update(|at| advanced(at, n, per_second, now_ms));
    }

    /// Follows a change of the rate. A higher rate shortens in proportion the wait for what was
    /// taken before. A lower rate does not lengthen it: what was allowed when it was taken is not
    /// refused afterwards.
    ///
    /// Each worker calls this once per change that it learns of, and the first call has the effect.
    /// A worker that learns of a change so late that the rate has changed back shortens the wait
    /// once more.
    pub fn follow(&self, old: u64, new: u64, now_ms: u64) {
        let change = |rate| (rate == old || rate == 0).then_some(new);
        let first = self.rate.fetch_update(Relaxed, Relaxed, change).is_ok();
        if first && old < new {
            let now = nanoseconds(now_ms);
            self.update(|at| {
                let ahead = u128::from(at.saturating_sub(now)) * u128::from(old) / u128::from(new);
                at.min(now.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX)))
            });
        }
    }

    /// The amount that can be taken now.
    #[must_use]
    pub fn left(&self, per_second: u64, now_ms: u64) -> u64 {
        let at = self.at.load(Relaxed).max(nanoseconds(now_ms));
        latest(now_ms).saturating_sub(at) / duration_ns(1, per_second).max(1)
    }

    /// Milliseconds until `n` can be taken, rounded up.
    #[must_use]
    pub fn wait_ms(&self, n: u64, per_second: u64, now_ms: u64) -> u64 {
        let after = advanced(self.at.load(Relaxed), n, per_second, now_ms);
        after.saturating_sub(latest(now_ms)).div_ceil(1_000_000)
    }

    /// Whether more has been taken than the rate allows.
    #[must_use]
    pub fn is_overdrawn(&self, now_ms: u64) -> bool {
        self.at.load(Relaxed) > latest(now_ms)
    }

    fn update(&self, new: impl Fn(u64) -> u64) {
        // The closure never returns `None`, so this never fails.
        let _ = self.at.fetch_update(Relaxed, Relaxed, |at| Some(new(at)));
    }
}

/// The number of a bucket after `n` are taken from a bucket that is at `at`.
fn advanced(at: u64, n: u64, per_second: u64, now_ms: u64) -> u64 {
    at.max(nanoseconds(now_ms))
        .saturating_add(duration_ns(n, per_second))
}

/// The time that `n` take at an even pace, in nanoseconds.
fn duration_ns(n: u64, per_second: u64) -> u64 {
    n.saturating_mul(SECOND_NS) / per_second.max(1)
}

/// The largest number of a bucket that is not overdrawn.
fn latest(now_ms: u64) -> u64 {
    nanoseconds(now_ms).saturating_add(SECOND_NS)
}

fn nanoseconds(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauge_stops_at_its_limit() {
        let gauge = Gauge::default();
        assert!(gauge.add_below(2) && gauge.add_below(2) && !gauge.add_below(2));
        gauge.subtract();
        assert!(gauge.add_below(2));
        gauge.add();
        assert_eq!(gauge.get(), 3);
        assert!(!gauge.add_below(2));
    }

    #[test]
    fn unused_second_allows_the_amount_of_one_second_at_once() {
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
    fn charged_amount_delays_the_next_take() {
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

    #[test]
    fn higher_rate_shortens_the_wait_in_proportion() {
        let bucket = Bucket::default();
        bucket.charge(50_000, 1_000, 0);
        assert_eq!(bucket.wait_ms(0, 1_000, 0), 49_000);
        bucket.follow(1_000, 10_000, 0);
        assert_eq!(bucket.wait_ms(0, 10_000, 0), 4_000);
        bucket.follow(10_000, 200_000, 0);
        assert!(!bucket.is_overdrawn(0));
        assert_eq!(bucket.left(200_000, 0), 150_000);
        bucket.follow(200_000, u64::MAX, 0);
        bucket.follow(u64::MAX, 1_000, 0);
        assert_eq!(bucket.left(1_000, 0), 1_000);
    }

    #[test]
    fn lower_rate_does_not_lengthen_the_wait() {
        let bucket = Bucket::default();
        assert!(bucket.take(300, 300, 0));
        bucket.follow(300, 1, 0);
        assert_eq!(bucket.left(1, 0), 0);
        assert_eq!(bucket.wait_ms(1, 1, 0), 1_000);
        assert!(bucket.take(1, 1, 1_000));
    }

    #[test]
    fn change_that_all_workers_follow_counts_once() {
        let bucket = Bucket::default();
        bucket.charge(50_000, 1_000, 0);
        for _ in 0..3 {
            bucket.follow(1_000, 10_000, 0);
        }
        assert_eq!(bucket.wait_ms(0, 10_000, 0), 4_000);
        // One worker follows two changes, another one learns of both at once.
        bucket.follow(10_000, 5_000, 0);
        bucket.follow(5_000, 20_000, 0);
        assert_eq!(bucket.wait_ms(0, 20_000, 0), 250);
        bucket.follow(10_000, 20_000, 0);
        assert_eq!(bucket.wait_ms(0, 20_000, 0), 250);
    }

    /// Until it follows the change itself.
    #[test]
    fn worker_with_the_old_rate_charges_at_the_higher_rate_of_another() {
        let bucket = Bucket::default();
        bucket.follow(1_000, 200_000, 0);
        bucket.charge(50_000, 1_000, 0);
        assert!(!bucket.is_overdrawn(0));
        bucket.follow(200_000, 1_000, 0);
        bucket.charge(50_000, 200_000, 0);
        assert_eq!(bucket.wait_ms(0, 1_000, 0), 0);
    }
}
