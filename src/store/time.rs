//! The machine's time: milliseconds since its worker started.

/// Milliseconds since the worker started: the machine's only notion of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// A time with a resolution of a tenth of a second, in half the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tenths(u32);

pub(crate) const TENTH_MS: u64 = 100;

impl Millis {
    /// This much later.
    #[must_use]
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same time in tenths of a second, rounded down; saturates after 13 years.
    pub(crate) fn tenths(self) -> Tenths {
        Tenths(u32::try_from(self.0 / TENTH_MS).unwrap_or(u32::MAX))
    }

    /// Milliseconds from `earlier` to this, to a tenth of a second.
    pub(crate) fn since_tenths(self, earlier: Tenths) -> u64 {
        u64::from(self.tenths().0.saturating_sub(earlier.0)) * TENTH_MS
    }

    /// Whole seconds since the start; saturates after 136 years.
    #[must_use]
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0 / 1000).unwrap_or(u32::MAX)
    }
}
