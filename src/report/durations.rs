//! How long manifests say that segments last.

use std::collections::HashMap;
use std::time::Duration;

use crate::cmaf::check::Expected;
use crate::manifest::mpd::{self, Mpd, Representation, SegmentTemplate};
use crate::manifest::playlist::{self, Content};
use crate::manifest::resolve;

/// Segments that are listed one by one, over all manifests.
const MAX_NAMES: usize = 100_000;
/// Representations whose segments are all said to be equally long.
const MAX_REGULAR: usize = 64;

/// What manifests say of the durations of segments.
#[derive(Debug, Default)]
pub struct Durations {
    listed: HashMap<String, Duration>,
    regular: Vec<Regular>,
}

/// The segments of a representation, by `SegmentTemplate@duration`.
#[derive(Debug)]
struct Regular {
    base: String,
    media: String,
    representation: Representation,
    duration: Duration,
}

impl Durations {
    /// Adds what the manifest at `path` says. One that cannot be read says nothing.
    pub fn add(&mut self, path: &str, bytes: &[u8]) {
        if path.ends_with(".m3u8") || bytes.starts_with(b"#EXTM3U") {
            match playlist::read(bytes).map(|playlist| playlist.content) {
                Ok(Content::Media(media)) => self.playlist(path, &media),
                Ok(Content::Multivariant(_)) | Err(_) => {}
            }
        } else if let Ok(mpd) = mpd::read(bytes) {
            self.mpd(path, &mpd);
        }
    }

    /// How long the segment of this name is said to last.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Expected> {
        if let Some(duration) = self.listed.get(name) {
            return Some(Expected::Exactly(*duration));
        }
        let number = number_of(name)?;
        let regular = self.regular.iter().find(|it| {
            SegmentTemplate::fill(&it.media, &it.representation, Some(number), None)
                .and_then(|url| resolve(&it.base, &url))
                .is_some_and(|made| made == name)
        });
        regular.map(|it| Expected::About(it.duration))
    }

    fn playlist(&mut self, path: &str, media: &playlist::Media) {
        // A range is not the whole of its object.
        let segments = media.segments.iter().filter(|segment| {
            segment.byte_range.is_none() && !segment.gap && segment.duration > 0.0
        });
        for segment in segments {
            let duration = Duration::try_from_secs_f64(segment.duration).ok();
            self.list(resolve(path, &segment.uri), duration);
        }
    }

    fn mpd(&mut self, path: &str, mpd: &Mpd) {
        for track in mpd.tracks() {
            let (Some(base), Some(template)) = (mpd.base(&track, path), track.template()) else {
                continue;
            };
            let timescale = template.timescale.unwrap_or(1);
            let media = template.media.as_deref().unwrap_or_default();
            if template.timeline.is_none() {
                let ticks = template.duration.filter(|ticks| *ticks > 0);
                if let Some(duration) = ticks.and_then(|ticks| length(ticks, timescale))
                    && self.regular.len() < MAX_REGULAR
                {
                    self.regular.push(Regular {
                        base,
                        media: media.to_owned(),
                        representation: track.representation.clone(),
                        duration,
                    });
                }
                continue;
            }
            let room = MAX_NAMES.saturating_sub(self.listed.len());
            let segments = template
                .runs()
                .flat_map(|run| (0..run.count.unwrap_or(1)).map_while(move |at| run.segment(at)));
            for segment in segments.take(room) {
                let url = SegmentTemplate::fill(
                    media,
                    track.representation,
                    Some(segment.number),
                    Some(segment.time),
                );
                let name = url.and_then(|url| resolve(&base, &url));
                self.list(name, length(segment.duration, timescale));
            }
        }
    }

    /// What was said first counts.
    fn list(&mut self, name: Option<String>, duration: Option<Duration>) {
        if let (Some(name), Some(duration)) = (name, duration)
            && !duration.is_zero()
            && self.listed.len() < MAX_NAMES
        {
            self.listed.entry(name).or_insert(duration);
        }
    }
}

fn length(ticks: u64, timescale: u32) -> Option<Duration> {
    let nanos = u128::from(ticks).checked_mul(1_000_000_000)?;
    let nanos = nanos.checked_div(u128::from(timescale))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// The last number of a name, without that of its extension.
fn number_of(name: &str) -> Option<u64> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut runs = stem.rsplit(|c: char| !c.is_ascii_digit());
    runs.find(|run| !run.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mpd(template: &str) -> String {
        format!(
            "<MPD><Period><AdaptationSet><SegmentTemplate timescale='1000' {template}\
             <Representation id='v'/></AdaptationSet></Period></MPD>"
        )
    }

    fn exactly(millis: u64) -> Option<Expected> {
        Some(Expected::Exactly(Duration::from_millis(millis)))
    }

    #[test]
    fn a_timeline_tells_of_each_segment() {
        let entries = "<SegmentTimeline><S t='500' d='2000' r='1'/><S d='1500'/></SegmentTimeline>";
        let mut by_number = Durations::default();
        let text = mpd(&format!(
            "media='$RepresentationID$/$Number%03d$.m4s' startNumber='7'>{entries}</SegmentTemplate>"
        ));
        by_number.add("s/index.mpd", text.as_bytes());
        for (name, expected) in [
            ("s/v/006.m4s", None),
            ("s/v/007.m4s", exactly(2000)),
            ("s/v/008.m4s", exactly(2000)),
            ("s/v/009.m4s", exactly(1500)),
            ("s/v/010.m4s", None),
            ("v/007.m4s", None),
        ] {
            assert_eq!(by_number.of(name), expected, "{name}");
        }
        let mut by_time = Durations::default();
        let text = mpd(&format!("media='$Time$.m4s'>{entries}</SegmentTemplate>"));
        by_time.add("index.mpd", text.as_bytes());
        assert_eq!(by_time.of("2500.m4s"), exactly(2000));
        assert_eq!(by_time.of("4500.m4s"), exactly(1500));
        assert_eq!(by_time.of("4501.m4s"), None);
    }

    #[test]
    fn a_template_tells_of_all_segments() {
        let mut durations = Durations::default();
        let text = mpd("media='seg-$Number$.m4s' duration='4000'/>");
        durations.add("index.mpd", text.as_bytes());
        let about = Some(Expected::About(Duration::from_secs(4)));
        assert_eq!(durations.of("seg-1000.m4s"), about);
        assert_eq!(durations.of("other-1000.m4s"), None);
        assert_eq!(durations.of("seg-.m4s"), None);
    }

    #[test]
    fn a_playlist_tells_of_whole_files() {
        let mut durations = Durations::default();
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.5,\n../a.m4s\n\
                    #EXT-X-BYTERANGE:10@0\n#EXTINF:1,\nb.m4s\n";
        durations.add("s/v/index.m3u8", text.as_bytes());
        durations.add("broken.m3u8", b"#EXTM3U\n#EXTINF:x\n");
        assert_eq!(durations.of("s/a.m4s"), exactly(1500));
        assert_eq!(durations.of("s/v/b.m4s"), None);
    }

    #[test]
    fn a_timeline_without_end_is_bounded() {
        let mut durations = Durations::default();
        let entries = format!(
            "<SegmentTimeline><S d='1' r='{}'/></SegmentTimeline>",
            i64::MAX
        );
        let text = mpd(&format!("media='$Number$'>{entries}</SegmentTemplate>"));
        durations.add("index.mpd", text.as_bytes());
        assert_eq!(durations.listed.len(), MAX_NAMES);
    }
}
