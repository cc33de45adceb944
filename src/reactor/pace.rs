//! How long a turn spends on connections that have much to say or much to hear.
//!
//! Reading and writing have some time each. When it is over, what is small is done nevertheless, so
//! that a client that asks little is answered in this turn; the rest has its place in the next.

/// The time for reading, and the time for writing, microseconds.
const LONG_US: u64 = 100;

/// The clock is looked at when so many connections were served; large pieces count as several.
const LOOK: usize = 16;

/// What counts as one connection more, bytes.
const PIECE_BYTES: usize = 4 * 1024;

/// Bytes that are read from one connection when the time is over.
pub(super) const SMALL_READ_BYTES: usize = 4 * 1024;

/// Bytes that are written to one connection when the time is over.
pub(super) const SMALL_WRITE_BYTES: usize = 16 * 1024;

/// What is left of the time of one phase.
#[derive(Debug, Default)]
pub(super) struct Pace {
    began_us: u64,
    served: usize,
    over: bool,
}

impl Pace {
    /// A phase begins.
    pub(super) fn begin(&mut self, now_us: u64) {
        *self = Self {
            began_us: now_us,
            ..Self::default()
        };
    }

    /// So many bytes went over one connection; `now_us` is the clock.
    #[inline]
    pub(super) fn serve(&mut self, bytes: usize, now_us: impl FnOnce() -> u64) {
        self.served += 1 + bytes / PIECE_BYTES;
        if self.served >= LOOK && !self.over {
            self.served = 0;
            self.over = now_us().saturating_sub(self.began_us) >= LONG_US;
        }
    }

    /// Is the time over?
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_looked_at_now_and_then_and_the_time_is_over_once() {
        let mut pace = Pace::default();
        pace.begin(1_000);
        let mut looks = 0;
        for _ in 0..64 {
            pace.serve(100, || {
                looks += 1;
                1_050
            });
        }
        assert_eq!(looks, 4);
        assert!(!pace.is_over());
        pace.serve(64 * 1024, || 1_000 + LONG_US);
        assert!(pace.is_over());
        pace.begin(2_000);
        assert!(!pace.is_over());
    }
}
