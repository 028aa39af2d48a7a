//! What the runs of a `traf` add up to.

use crate::isobmff::boxes::{Traf, Trex, sample_flags};

use super::TrackHeader;

/// What holds for samples where their fragment says nothing, per track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults(Vec<Trex>);

impl Defaults {
    /// What `header` announces.
    #[must_use]
    pub fn of(header: &TrackHeader) -> Self {
        Self(
            header
                .tracks
                .iter()
                .filter_map(|track| track.defaults)
                .collect(),
        )
    }

    /// Entry of `stsd` that the samples of a track go by, from 1.
    pub(super) fn description(&self, id: u32) -> Option<u32> {
        Some(self.track(id)?.default_sample_description_index)
    }

    /// Bytes of a sample.
    pub(super) fn size(&self, id: u32) -> Option<u32> {
        Some(self.track(id)?.default_sample_size)
    }

    fn track(&self, id: u32) -> Option<&Trex> {
        self.0.iter().find(|trex| trex.track_id == id)
    }
}

/// The samples of one track in one fragment, added up. Sums that do not fit stay at their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrafSummary {
    /// The track.
    pub track_id: u32,
    /// Decode time of the first sample, in ticks, where `tfdt` says it.
    pub decode_time: Option<u64>,
    /// Number of samples.
    pub sample_count: u64,
    /// Ticks.
    pub duration: u64,
    /// Bytes.
    pub size: u64,
    /// The first sample is a sync sample. True where nothing is said; false without samples.
    pub sync: bool,
}

impl TrafSummary {
    /// Adds up `traf`.
    #[must_use]
    pub fn of(traf: &Traf, defaults: &Defaults) -> Self {
        let Sample { duration, size, .. } = Sample::default_of(traf, defaults);
        let mut sum = Self {
            track_id: traf.tfhd.track_id,
            decode_time: traf.tfdt.map(|tfdt| tfdt.base_media_decode_time),
            sample_count: 0,
            duration: 0,
            size: 0,
            sync: samples(traf, defaults)
                .next()
                .is_some_and(|first| first.flags & sample_flags::NON_SYNC == 0),
        };
        for trun in &traf.truns {
            let count = trun.sample_count;
            sum.sample_count = sum.sample_count.saturating_add(u64::from(count));
            sum.duration = sum
                .duration
                .saturating_add(total(&trun.durations, duration, count));
            sum.size = sum.size.saturating_add(total(&trun.sizes, size, count));
        }
        sum
    }
}

/// One sample, with the defaults of its fragment and track filled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// See [`sample_flags`].
    pub flags: u32,
    /// Presentation minus decode time, in ticks.
    pub composition_offset: i64,
}

impl Sample {
    /// What holds for the samples of `traf` that say nothing themselves.
    fn default_of(traf: &Traf, defaults: &Defaults) -> Self {
        let track = defaults.track(traf.tfhd.track_id);
        let tfhd = &traf.tfhd;
        Self {
            duration: tfhd
                .default_sample_duration
                .or(track.map(|trex| trex.default_sample_duration))
                .unwrap_or(0),
            size: tfhd
                .default_sample_size
                .or(track.map(|trex| trex.default_sample_size))
                .unwrap_or(0),
            flags: tfhd
                .default_sample_flags
                .or(track.map(|trex| trex.default_sample_flags))
                .unwrap_or(0),
            composition_offset: 0,
        }
    }
}

/// The samples of `traf` in decode order. Their number may be one that no bytes back: take a bounded
/// part.
pub fn samples<'a>(traf: &'a Traf, defaults: &Defaults) -> impl Iterator<Item = Sample> + 'a {
    let default = Sample::default_of(traf, defaults);
    traf.truns.iter().flat_map(move |run| {
        (0..run.sample_count).map(move |at| {
            let index = usize::try_from(at).unwrap_or(usize::MAX);
            let first = run.first_sample_flags.filter(|_| at == 0);
            let flags = first.or(run.sample_flags.get(index).copied());
            Sample {
                duration: run
                    .durations
                    .get(index)
                    .copied()
                    .unwrap_or(default.duration),
                size: run.sizes.get(index).copied().unwrap_or(default.size),
                flags: flags.unwrap_or(default.flags),
                composition_offset: run.composition_offsets.get(index).copied().unwrap_or(0),
            }
        })
    })
}

/// Sum of the values, or `count` times the default where there are none. The count alone is backed
/// by no bytes, so it is multiplied, not looped over.
fn total(values: &[u32], default: u32, count: u32) -> u64 {
    if values.is_empty() {
        u64::from(count).saturating_mul(u64::from(default))
    } else {
        values
            .iter()
            .fold(0, |sum: u64, value| sum.saturating_add(u64::from(*value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::boxes::{Tfhd, Trun};

    fn traf(default_sample_flags: Option<u32>, truns: Vec<Trun>) -> Traf {
        Traf {
            tfhd: Tfhd {
                flags: Tfhd::DEFAULT_BASE_IS_MOOF,
                track_id: 1,
                base_data_offset: None,
                sample_description_index: None,
                default_sample_duration: Some(512),
                default_sample_size: None,
                default_sample_flags,
            },
            tfdt: None,
            truns,
        }
    }

    fn bare(sample_count: u32) -> Trun {
        Trun {
            sample_count,
            ..Trun::default()
        }
    }

    #[test]
    fn durations_and_sizes_come_from_run_fragment_or_track() {
        let trex = Trex {
            track_id: 1,
            default_sample_description_index: 1,
            default_sample_duration: 7,
            default_sample_size: 100,
            default_sample_flags: 0,
        };
        let own = Trun {
            durations: vec![1, 2],
            ..bare(2)
        };
        let sum = TrafSummary::of(&traf(None, vec![own, bare(3)]), &Defaults(vec![trex]));
        assert_eq!(
            (sum.sample_count, sum.duration, sum.size),
            (5, 3 + 3 * 512, 500)
        );
    }

    #[test]
    fn a_count_without_bytes_is_not_looped_over() {
        let sum = TrafSummary::of(&traf(None, vec![bare(u32::MAX); 3]), &Defaults::default());
        assert_eq!(sum.sample_count, 3 * u64::from(u32::MAX));
    }

    #[test]
    fn the_first_sample_decides_on_sync() {
        let sync =
            |default, truns| TrafSummary::of(&traf(default, truns), &Defaults::default()).sync;
        let first = |flags| Trun {
            first_sample_flags: Some(flags),
            ..bare(2)
        };
        assert!(sync(Some(sample_flags::NON_SYNC), vec![first(0x0200_0000)]));
        assert!(!sync(Some(sample_flags::NON_SYNC), vec![bare(2)]));
        assert!(!sync(None, vec![first(sample_flags::NON_SYNC)]));
        assert!(sync(
            None,
            vec![bare(0), bare(1), first(sample_flags::NON_SYNC)]
        ));
        assert!(!sync(None, vec![]));
    }
}
