//! The playlist reader, and the line counts, which must agree with it where it finds a playlist.

#![cfg_attr(fuzzing, no_main)]

use pavs_fuzz::fuzz_target;
use pavs_fuzz::manifest::playlist::{self, Content};

fuzz_target!(|data: &[u8]| {
    let facts = playlist::facts(data);
    match playlist::read(data) {
        Ok(playlist) => match playlist.content {
            Content::Media(media) => assert_eq!(facts.extinf, media.segments.len() as u64),
            Content::Multivariant(lists) => {
                let found = lists.variants.len() + lists.renditions.len();
                assert_eq!(facts.variants_and_renditions, found as u64);
            }
        },
        Err(fault) => assert!(fault.byte <= data.len() as u64),
    }
});
