//! Wall-clock time beside media time: `prft`.

use crate::isobmff::{BoxRef, Result};

/// Producer reference time (`prft`), before the `moof` it belongs to. ISO/IEC 14496-12.
///
/// | field              | bits         | unit                                     |
/// |--------------------|--------------|------------------------------------------|
/// | reference_track_ID | 32           |                                          |
/// | ntp_timestamp      | 64           | [`Ntp`], the producer's clock            |
/// | media_time         | 32 (v0) / 64 | ticks of the track's `mdhd` timescale    |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prft {
    /// What moment the time was taken at.
    pub flags: u32,
    /// The track it is about.
    pub track_id: u32,
    /// The producer's clock.
    pub ntp: Ntp,
    /// Media time at that moment.
    pub media_time: u64,
}

impl Prft {
    /// Reads a `prft` box.
    ///
    /// # Errors
    ///
    /// It is too short, or of a version above 1.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        let (version, flags) = reader.version_and_flags(1)?;
        Ok(Self {
            flags,
            track_id: reader.u32()?,
            ntp: Ntp(reader.u64()?),
            media_time: match version {
                0 => u64::from(reader.u32()?),
                _ => reader.u64()?,
            },
        })
    }
}

/// 64-bit NTP time: seconds since 1900 in the upper half, fractions of 2^-32 s in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntp(pub u64);

impl Ntp {
    /// Seconds from 1900 to 1970.
    const UNIX_EPOCH: i64 = 2_208_988_800;

    /// The time this many microseconds after 1970; what is before 1900 or after 2036 is cut to that.
    #[must_use]
    pub fn from_unix_micros(micros: i64) -> Self {
        let since_1900 = Self::UNIX_EPOCH
            .saturating_mul(1_000_000)
            .saturating_add(micros);
        let micros = u64::try_from(since_1900).unwrap_or(0);
        let seconds = micros
            .checked_div(1_000_000)
            .unwrap_or(0)
            .min(u64::from(u32::MAX));
        let rest = micros.checked_rem(1_000_000).unwrap_or(0);
        let fraction = (rest << 32)
            .saturating_add(500_000)
            .checked_div(1_000_000)
            .unwrap_or(0);
        Self(seconds << 32 | fraction)
    }

    /// Microseconds since 1970, to the nearest.
    #[must_use]
    pub fn unix_micros(self) -> i64 {
        let seconds = i64::try_from(self.0 >> 32).unwrap_or(i64::MAX);
        let half = 1 << 31;
        let micros = (self.0 & 0xffff_ffff)
            .saturating_mul(1_000_000)
            .saturating_add(half)
            >> 32;
        seconds
            .saturating_sub(Self::UNIX_EPOCH)
            .saturating_mul(1_000_000)
            .saturating_add(i64::try_from(micros).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::build::{concat, full};

    #[test]
    fn both_versions() {
        let ntp = (2_208_988_801u64 << 32 | 1 << 31).to_be_bytes();
        let v0 = concat(&[&[0, 0, 0, 1][..], &ntp, &[0, 0, 0, 5]]);
        let v1 = concat(&[&[0, 0, 0, 1][..], &ntp, &[0, 0, 0, 1, 0, 0, 0, 5]]);
        let v0 = full(b"prft", 0, 24, &v0);
        let v0 = Prft::decode(&BoxRef::top(&v0, 0).unwrap()).unwrap();
        assert_eq!((v0.track_id, v0.media_time), (1, 5));
        assert_eq!(v0.ntp.unix_micros(), 1_500_000);
        for micros in [0, 1, 1_500_000, 1_795_276_800_123_456] {
            assert_eq!(Ntp::from_unix_micros(micros).unix_micros(), micros);
        }
        let v1 = full(b"prft", 1, 24, &v1);
        let v1 = Prft::decode(&BoxRef::top(&v1, 0).unwrap()).unwrap();
        assert_eq!(v1.media_time, (1 << 32) + 5);
    }
}
