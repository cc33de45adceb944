//! Histograms of durations, with buckets at powers of two.

/// Upper bounds of the buckets, in microseconds. One more bucket counts durations above the last.
pub const BOUNDS_US: [u64; BUCKETS - 1] = {
    let mut bounds = [0; BUCKETS - 1];
    let mut i = 0;
    while i < bounds.len() {
        bounds[i] = FIRST_US << i;
        i += 1;
    }
    bounds
};

/// From 64 µs, a fast reply over loopback, to 8 s, in steps of two.
const BUCKETS: usize = 19;
const FIRST_US: u64 = 64;

/// Counts of durations by bucket, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Histogram {
    /// Counts `n` durations of `us` microseconds each.
    pub fn record(&mut self, us: u64, n: u64) {
        let above = us.saturating_sub(1) / FIRST_US;
        let bucket = (u64::BITS - above.leading_zeros()) as usize;
        if let Some(count) = self.counts.get_mut(bucket.min(BUCKETS - 1)) {
            *count += n;
        }
        self.sum_us += us.saturating_mul(n);
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us += other.sum_us;
    }

    /// The counts that were added since `earlier`, a copy of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (count, less) in since.counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(less);
        }
        since.sum_us = since.sum_us.saturating_sub(earlier.sum_us);
        since
    }

    /// Each bound of [`BOUNDS_US`], with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut sum = 0;
        BOUNDS_US
            .into_iter()
            .zip(self.counts)
            .map(move |(bound, n)| {
                sum += n;
                (bound, sum)
            })
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_at_a_bound_belongs_to_its_bucket() {
        for (i, bound) in BOUNDS_US.into_iter().enumerate() {
            for (us, below) in [(bound, true), (bound + 1, false)] {
                let mut histogram = Histogram::default();
                histogram.record(us, 3);
                let counted = histogram.cumulative().nth(i);
                assert_eq!(counted, Some((bound, if below { 3 } else { 0 })), "{us}");
                assert_eq!((histogram.count(), histogram.sum_us()), (3, 3 * us));
            }
        }
        let mut both = Histogram::default();
        both.record(0, 1);
        both.record(u64::MAX / 2, 1);
        assert_eq!(both.cumulative().next(), Some((64, 1)));
        assert_eq!(both.count(), 2);
        let mut more = both;
        more.record(500, 3);
        let mut only = Histogram::default();
        only.record(500, 3);
        assert_eq!(more.since(&both), only);
    }
}
