//! Time on a track's own clock.

use std::fmt;
use std::time::Duration;

/// A moment or a length in ticks of a track; how long one is, its [`Timescale`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// This moment and `length` more; `None` past 2^64 - 1.
    #[must_use]
    pub fn checked_add(self, length: Self) -> Option<Self> {
        self.0.checked_add(length.0).map(Self)
    }

    /// This moment and `length` more, or the last there is.
    #[must_use]
    pub fn saturating_add(self, length: Self) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// What lies between two moments, whichever is earlier.
    #[must_use]
    pub fn distance(self, other: Self) -> Self {
        Self(self.0.abs_diff(other.0))
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ticks per second of a track (`mdhd`); 0 is what a broken header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timescale(pub u32);

impl Timescale {
    /// How long `ticks` are, to the nanosecond below; `None` if the scale is 0 or the time is too long
    /// to be told.
    #[must_use]
    pub fn duration(self, ticks: Ticks) -> Option<Duration> {
        let scale = u64::from(self.0);
        let seconds = ticks.0.checked_div(scale)?;
        let rest = ticks.0.checked_rem(scale)?;
        // Less than 2^32 ticks are left, so this fits.
        let nanos = rest.saturating_mul(1_000_000_000).checked_div(scale)?;
        Some(Duration::new(seconds, u32::try_from(nanos).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_time() {
        let half = Timescale(12_800).duration(Ticks(6_400));
        assert_eq!(half, Some(Duration::from_millis(500)));
        assert_eq!(Timescale(0).duration(Ticks(1)), None);
        let long = Timescale(u32::MAX).duration(Ticks(u64::MAX)).unwrap();
        assert_eq!(long.as_secs(), u64::from(u32::MAX) + 2);
        assert_eq!(Ticks(u64::MAX).checked_add(Ticks(1)), None);
        assert_eq!(Ticks(3).distance(Ticks(5)), Ticks(2));
    }
}
