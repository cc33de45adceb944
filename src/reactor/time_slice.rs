//! Limits the time that a turn spends on connections with much data.
//!
//! Reading and writing have a time slice each. When it is used up, small reads and writes still
//! happen, so that a client with a small request gets its reply in this turn. The rest follows in
//! the next turn.

/// The time slice of reading, and that of writing, microseconds.
const SLICE_US: u64 = 100;

/// Served connections for each reading of the clock; large reads and writes count as several.
const CLOCK_EVERY: usize = 16;

/// Bytes that count as one more connection.
const PIECE_BYTES: usize = 4 * 1024;

/// Bytes that are read from one connection after the end of the time slice.
pub(super) const SMALL_READ_BYTES: usize = 4 * 1024;

/// Bytes that are written to one connection after the end of the time slice.
pub(super) const SMALL_WRITE_BYTES: usize = 16 * 1024;

/// The time slice of one phase.
#[derive(Debug, Default)]
pub(super) struct TimeSlice {
    began_us: u64,
    served: usize,
    over: bool,
}

impl TimeSlice {
    /// Starts a new time slice.
    pub(super) fn begin(&mut self, now_us: u64) {
        *self = Self {
            began_us: now_us,
            ..Self::default()
        };
    }

    /// Counts bytes that were read from or written to one connection; `now_us` reads the clock.
    #[inline]
    pub(super) fn serve(&mut self, bytes: usize, now_us: impl FnOnce() -> u64) {
        self.served += 1 + bytes / PIECE_BYTES;
        if self.served >= CLOCK_EVERY && !self.over {
            self.served = 0;
            self.over = now_us().saturating_sub(self.began_us) >= SLICE_US;
        }
    }

    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_is_read_once_per_several_connections() {
        let mut slice = TimeSlice::default();
        slice.begin(1_000);
        let mut looks = 0;
        for _ in 0..64 {
            slice.serve(100, || {
                looks += 1;
                1_050
            });
        }
        assert_eq!(looks, 4);
        assert!(!slice.is_over());
        slice.serve(64 * 1024, || 1_000 + SLICE_US);
        assert!(slice.is_over());
        slice.begin(2_000);
        assert!(!slice.is_over());
    }
}
