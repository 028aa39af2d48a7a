//! The MPD reader, and what is made of the templates it found.

#![cfg_attr(fuzzing, no_main)]

use pavs_fuzz::fuzz_target;
use pavs_fuzz::manifest::mpd::{self, SegmentTemplate};

fuzz_target!(|data: &[u8]| {
    match mpd::read(data) {
        Ok(mpd) => {
            for track in mpd.tracks() {
                let media = track.template().and_then(|template| template.media);
                let media = media.unwrap_or_default();
                let _ = SegmentTemplate::fill(&media, track.representation, Some(7), Some(9));
            }
        }
        Err(fault) => assert!(fault.byte <= data.len() as u64),
    }
});
