//! `r_frame_rate`: the lowest frame rate that all decode times are multiples of, as ffprobe finds it.

/// Durations that are looked at; ffprobe looks at so many, and at twice as many where the clock is
/// coarse.
const LOOKED_AT: usize = 20;

/// The first durations may be odd.
const ODD: usize = 3;

/// Twelfths of a thousand-and-first: the unit in which both 30 and 30000/1001 are whole.
const UNIT: u32 = 12 * 1001;

/// Frames per second, as a fraction, for a track whose first samples last so many ticks. `None` if
/// there is nothing regular about them.
pub(super) fn base(durations: &[u32], timescale: u64) -> Option<(u64, u64)> {
    let looked_at = if timescale < 2000 {
        2 * LOOKED_AT
    } else {
        LOOKED_AT
    };
    let durations = &durations[..durations.len().min(looked_at)];
    if let [all, rest @ ..] = durations
        && rest.iter().all(|ticks| ticks == all)
        && u64::from(*all) > timescale / 500
    {
        return Some((timescale, u64::from(*all)));
    }
    let gcd = durations.iter().skip(ODD).fold(0, |gcd, ticks| {
        super::stream::common_divisor(gcd, u64::from(*ticks))
    });
    if durations.len() > 15 && gcd > (timescale / 500).max(1) {
        return Some((timescale, gcd));
    }
    standard(durations, timescale).map(|rate| (u64::from(rate), u64::from(UNIT)))
}

/// The standard rate, in units of 1/[`UNIT`], of which the times of the frames are multiples but for
/// rounding: the one with the smallest variance of the rest, if that is small at all.
fn standard(durations: &[u32], timescale: u64) -> Option<u32> {
    let count = durations.len();
    if count < 2 {
        return None;
    }
    let total: f64 = durations.iter().map(|ticks| f64::from(*ticks)).sum();
    let mean = total / count as f64 / timescale as f64;
    let mut best = None;
    let mut smallest = 0.01;
    for rate in standard_rates() {
        let per_second = f64::from(rate) / f64::from(UNIT);
        if total / (timescale as f64) < 11.5 / 12.0 / per_second || mean < 0.8 / per_second {
            continue;
        }
        for shift in [0.0, 0.5] {
            let (mut sum, mut squares, mut at) = (0.0, 0.0, 0.0);
            for ticks in durations {
                at += f64::from(*ticks) / timescale as f64;
                let frames = at * per_second + shift;
                let rest = frames - frames.round_ties_even();
                sum += rest;
                squares += rest * rest;
            }
            let middle = sum / count as f64;
            let variance = squares / count as f64 - middle * middle;
            if variance < smallest && smallest > 1e-9 {
                smallest = variance;
                best = Some(rate);
            }
        }
    }
    best
}

/// Twelfths of a frame up to 30 per second, whole frames up to 60, some above, and those of film and
/// television, in units of 1/[`UNIT`].
fn standard_rates() -> impl Iterator<Item = u32> {
    let twelfths = (1..=30 * 12).map(|n| n * 1001);
    let whole = (31..=60).chain([80, 120, 240]).map(|n| n * UNIT);
    let television = [24, 30, 60, 12, 15, 48].map(|n| n * 12_000);
    twelfths.chain(whole).chain(television)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_rates_are_exact() {
        assert_eq!(base(&[512; 25], 12_800), Some((12_800, 512)));
        assert_eq!(base(&[3003; 5], 90_000), Some((90_000, 3003)));
        assert_eq!(base(&[5120], 1024), Some((1024, 5120)));
    }

    #[test]
    fn milliseconds_are_rounded_to_a_standard_rate() {
        let thirty: Vec<u32> = (0..40).map(|n| [33, 33, 34][n % 3]).collect();
        assert_eq!(
            base(&thirty, 1000),
            Some((30 * u64::from(UNIT), u64::from(UNIT)))
        );
        let ntsc: Vec<u32> = (1..40)
            .map(|n| (n * 1001 / 30) - ((n - 1) * 1001 / 30))
            .collect();
        assert_eq!(base(&ntsc, 1000), Some((30 * 12_000, u64::from(UNIT))));
    }

    #[test]
    fn dropped_frames_keep_the_rate() {
        let dropped: Vec<u32> = (0..30)
            .map(|n| if n % 6 == 2 { 6000 } else { 3000 })
            .collect();
        assert_eq!(base(&dropped, 90_000), Some((90_000, 3000)));
        assert_eq!(base(&[], 90_000), None);
    }
}
