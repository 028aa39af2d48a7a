//! Manifests and playlists of a session. Values in, text out.

use std::fmt::Write;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, Event};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::cut::duration;
use super::source::{Shape, Track};

/// The number in the name of a session's first segment, as cameras have it.
pub(super) const FIRST_NUMBER: u64 = 1001;

/// Segments that lie one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// Decode time of the first, in ticks.
    time: u64,
    /// Ticks of each.
    duration: u64,
    count: u64,
}

/// The segments of one track, as far as they are sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    runs: Vec<Run>,
    count: u64,
    bytes: u64,
}

impl Timeline {
    pub(super) fn add(&mut self, time: u64, end: u64, bytes: u64) {
        let length = end.saturating_sub(time);
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(run) = self.runs.last_mut()
            && run.duration == length
            && run
                .time
                .saturating_add(run.duration.saturating_mul(run.count))
                == time
        {
            run.count += 1;
            return;
        }
        self.runs.push(Run {
            time,
            duration: length,
            count: 1,
        });
    }

    /// When the last segment ends, in ticks.
    fn end(&self) -> u64 {
        let end = |run: &Run| {
            run.time
                .saturating_add(run.duration.saturating_mul(run.count))
        };
        self.runs.last().map_or(0, end)
    }

    /// The durations, in ticks.
    fn durations(&self) -> impl Iterator<Item = u64> {
        self.runs
            .iter()
            .flat_map(|run| (0..run.count).map(|_| run.duration))
    }

    /// Bits per second.
    fn bit_rate(&self, timescale: u32) -> Option<u64> {
        let ticks: u128 = self
            .runs
            .iter()
            .map(|run| u128::from(run.duration) * u128::from(run.count))
            .sum();
        let bits = u128::from(self.bytes) * 8 * u128::from(timescale);
        bits.checked_div(ticks)
            .and_then(|rate| u64::try_from(rate).ok())
    }
}

/// One track with what became of it.
pub(super) struct Sent<'a> {
    pub(super) track: &'a Track,
    pub(super) timeline: &'a Timeline,
}

/// The MPD of a session: dynamic before its first segment, static after its last.
///
/// The dynamic one gives the segments' duration, the static one says where each segment lies.
pub(super) fn mpd(
    tracks: &[Sent<'_>],
    segment: Duration,
    began: OffsetDateTime,
    is_over: bool,
) -> String {
    let mut mpd = BytesStart::new("MPD");
    let began = began
        .replace_nanosecond(began.nanosecond() / 1_000_000 * 1_000_000)
        .unwrap_or(began);
    let began = began.format(&Rfc3339).unwrap_or_default();
    mpd.push_attribute(("xmlns", "urn:mpeg:dash:schema:mpd:2011"));
    mpd.push_attribute(("profiles", "urn:mpeg:dash:profile:isoff-live:2011"));
    mpd.push_attribute(("type", if is_over { "static" } else { "dynamic" }));
    mpd.push_attribute(("minBufferTime", seconds(segment).as_str()));
    if is_over {
        let ends = tracks
            .iter()
            .map(|sent| duration(sent.timeline.end(), sent.track.timescale));
        let whole = ends.max().unwrap_or_default();
        mpd.push_attribute(("mediaPresentationDuration", seconds(whole).as_str()));
    } else {
        mpd.push_attribute(("availabilityStartTime", began.as_str()));
        mpd.push_attribute(("publishTime", began.as_str()));
        mpd.push_attribute(("minimumUpdatePeriod", seconds(segment).as_str()));
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let mut put = |event: Event<'_>| {
        // Writing to memory does not fail.
        let _ = writer.write_event(event);
    };
    put(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    put(Event::Start(mpd));
    let mut period = BytesStart::new("Period");
    period.push_attribute(("id", "0"));
    period.push_attribute(("start", "PT0S"));
    put(Event::Start(period));
    for (id, sent) in tracks.iter().enumerate() {
        adaptation_set(&mut put, id, sent, segment, is_over);
    }
    put(Event::End(BytesEnd::new("Period")));
    put(Event::End(BytesEnd::new("MPD")));
    let mut text = String::from_utf8(writer.into_inner()).unwrap_or_default();
    text.push('\n');
    text
}

fn adaptation_set(
    put: &mut impl FnMut(Event<'_>),
    id: usize,
    sent: &Sent<'_>,
    segment: Duration,
    is_over: bool,
) {
    let Sent { track, timeline } = sent;
    let timescale = track.timescale.to_string();
    let mut set = BytesStart::new("AdaptationSet");
    set.push_attribute(("id", id.to_string().as_str()));
    set.push_attribute(("contentType", track.kind()));
    if track.language != "und" {
        set.push_attribute(("lang", track.language.as_str()));
    }
    set.push_attribute(("segmentAlignment", "true"));
    set.push_attribute(("startWithSAP", "1"));
    put(Event::Start(set));

    let mut representation = BytesStart::new("Representation");
    let rate = timeline.bit_rate(track.timescale).unwrap_or(track.bit_rate);
    representation.push_attribute(("id", track.name.as_str()));
    representation.push_attribute((
        "mimeType",
        if track.is_video() {
            "video/mp4"
        } else {
            "audio/mp4"
        },
    ));
    representation.push_attribute(("codecs", track.codec.as_str()));
    representation.push_attribute(("bandwidth", rate.to_string().as_str()));
    match track.shape {
        Shape::Video { width, height, .. } => {
            representation.push_attribute(("width", width.to_string().as_str()));
            representation.push_attribute(("height", height.to_string().as_str()));
            let frame_rate = format!("{}/{}", track.timescale, track.sample_duration.max(1));
            representation.push_attribute(("frameRate", frame_rate.as_str()));
        }
        Shape::Audio { rate, .. } => {
            representation.push_attribute(("audioSamplingRate", rate.to_string().as_str()));
        }
    }
    put(Event::Start(representation));
    if let Shape::Audio { channels, .. } = track.shape {
        let mut channel = BytesStart::new("AudioChannelConfiguration");
        channel.push_attribute((
            "schemeIdUri",
            "urn:mpeg:dash:23003:3:audio_channel_configuration:2011",
        ));
        channel.push_attribute(("value", channels.to_string().as_str()));
        put(Event::Empty(channel));
    }

    let mut template = BytesStart::new("SegmentTemplate");
    template.push_attribute(("timescale", timescale.as_str()));
    template.push_attribute((
        "initialization",
        "$RepresentationID$/$RepresentationID$.init",
    ));
    template.push_attribute(("media", "$RepresentationID$/segment_$Number%04d$.m4s"));
    template.push_attribute(("startNumber", FIRST_NUMBER.to_string().as_str()));
    if is_over {
        put(Event::Start(template));
        put(Event::Start(BytesStart::new("SegmentTimeline")));
        for run in &timeline.runs {
            let mut s = BytesStart::new("S");
            s.push_attribute(("t", run.time.to_string().as_str()));
            s.push_attribute(("d", run.duration.to_string().as_str()));
            if run.count > 1 {
                s.push_attribute(("r", (run.count - 1).to_string().as_str()));
            }
            put(Event::Empty(s));
        }
        put(Event::End(BytesEnd::new("SegmentTimeline")));
        put(Event::End(BytesEnd::new("SegmentTemplate")));
    } else {
        let length = super::cut::ticks(segment, track.timescale);
        template.push_attribute(("duration", length.to_string().as_str()));
        put(Event::Empty(template));
    }
    put(Event::End(BytesEnd::new("Representation")));
    put(Event::End(BytesEnd::new("AdaptationSet")));
}

/// `PT4S`, `PT1.5S`.
fn seconds(time: Duration) -> String {
    format!("PT{}S", decimal(time))
}

/// Seconds with as many digits as they need, six at most.
pub(super) fn decimal(time: Duration) -> String {
    let text = format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The multivariant playlist: one line that names a playlist for each track.
pub(super) fn master(tracks: &[Sent<'_>]) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let has_video = tracks.iter().any(|sent| sent.track.is_video());
    let audio = || tracks.iter().filter(|sent| !sent.track.is_video());
    let group = if has_video && audio().next().is_some() {
        Some("audio")
    } else {
        None
    };
    if let Some(group) = group {
        for (place, sent) in audio().enumerate() {
            let name = &sent.track.name;
            let default = if place == 0 { "YES" } else { "NO" };
            let _ = writeln!(
                text,
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{group}\",NAME=\"{name}\",DEFAULT={default},AUTOSELECT=YES,URI=\"{name}/index.m3u8\""
            );
        }
    }
    let first_audio = audio()
        .next()
        .filter(|_| group.is_some())
        .map(|sent| sent.track);
    for sent in tracks
        .iter()
        .filter(|sent| sent.track.is_video() || group.is_none())
    {
        let track = sent.track;
        let rate = track
            .bit_rate
            .saturating_add(first_audio.map_or(0, |audio| audio.bit_rate));
        let audio_codec = first_audio.map_or_else(String::new, |audio| format!(",{}", audio.codec));
        let _ = write!(
            text,
            "#EXT-X-STREAM-INF:BANDWIDTH={rate},CODECS=\"{}{audio_codec}\"",
            track.codec
        );
        if let Shape::Video { width, height, .. } = track.shape {
            let _ = write!(text, ",RESOLUTION={width}x{height}");
        }
        if let Some(group) = group {
            let _ = write!(text, ",AUDIO=\"{group}\"");
        }
        let _ = writeln!(text, "\n{}/index.m3u8", track.name);
    }
    text
}

/// The media playlist of a track before its first segment (which names none), or after its last.
pub(super) fn media_playlist(sent: &Sent<'_>, segment: Duration, is_over: bool) -> String {
    let Sent { track, timeline } = sent;
    let longest = timeline
        .runs
        .iter()
        .map(|run| duration(run.duration, track.timescale))
        .max();
    let target = longest.unwrap_or_default().max(segment);
    // RFC 8216: no EXTINF, rounded, is longer than the target.
    let target = target.as_secs() + u64::from(target.subsec_millis() >= 500);
    let name = &track.name;
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{FIRST_NUMBER}\n",
        target.max(1)
    );
    if is_over {
        text.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    }
    let _ = writeln!(text, "#EXT-X-MAP:URI=\"{name}.init\"");
    if is_over {
        for (number, ticks) in (FIRST_NUMBER..).zip(timeline.durations()) {
            let length = duration(ticks, track.timescale);
            let _ = writeln!(
                text,
                "#EXTINF:{},\nsegment_{number:04}.m4s",
                decimal(length)
            );
        }
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::source::Source;

    fn both(is_over: bool) -> String {
        let tracks = Source::synthetic().unwrap().tracks();
        let mut timelines = [Timeline::default(), Timeline::default()];
        if is_over {
            for (timeline, track) in timelines.iter_mut().zip(&tracks) {
                let second = u64::from(track.timescale);
                for k in 0..3 {
                    timeline.add(4 * k * second, 4 * (k + 1) * second, 1000);
                }
                timeline.add(12 * second, 13 * second, 300);
            }
        }
        let sent: Vec<_> = tracks
            .iter()
            .zip(&timelines)
            .map(|(track, timeline)| Sent { track, timeline })
            .collect();
        mpd(
            &sent,
            Duration::from_secs(4),
            OffsetDateTime::UNIX_EPOCH,
            is_over,
        )
    }

    #[test]
    fn a_session_begins_dynamic_and_ends_static() {
        let dynamic = both(false);
        assert!(
            dynamic.contains("type=\"dynamic\"") && dynamic.contains("startNumber=\"1001\""),
            "{dynamic}"
        );
        assert!(
            dynamic.contains("duration=\"51200\"") && !dynamic.contains("SegmentTimeline"),
            "{dynamic}"
        );
        let over = both(true);
        assert!(
            over.contains("type=\"static\"")
                && over.contains("mediaPresentationDuration=\"PT13S\""),
            "{over}"
        );
        assert!(over.contains("<S t=\"0\" d=\"51200\" r=\"2\"/>"), "{over}");
        assert!(over.contains("<S t=\"153600\" d=\"12800\"/>"), "{over}");
        quick_xml::Reader::from_str(&over).read_event().unwrap();
    }

    #[test]
    fn playlists_name_segments_only_at_the_end() {
        let tracks = Source::synthetic().unwrap().tracks();
        let mut timeline = Timeline::default();
        let empty = Timeline::default();
        let sent = |timeline| Sent {
            track: &tracks[0],
            timeline,
        };
        let initial = media_playlist(&sent(&empty), Duration::from_secs(4), false);
        assert!(
            initial.lines().all(|line| line.starts_with('#')),
            "{initial}"
        );
        assert!(
            !initial.contains("EXTINF") && !initial.contains("PLAYLIST-TYPE"),
            "{initial}"
        );
        timeline.add(0, 12800 * 4, 1);
        timeline.add(12800 * 4, 12800 * 4 + 19200, 1);
        let last = media_playlist(&sent(&timeline), Duration::from_secs(4), true);
        assert!(
            last.contains(
                "#EXTINF:4,\nsegment_1001.m4s\n#EXTINF:1.5,\nsegment_1002.m4s\n#EXT-X-ENDLIST"
            ),
            "{last}"
        );
    }

    #[test]
    fn a_master_names_each_track_once() {
        let tracks = Source::synthetic().unwrap().tracks();
        let empty = Timeline::default();
        let sent: Vec<_> = tracks
            .iter()
            .map(|track| Sent {
                track,
                timeline: &empty,
            })
            .collect();
        let all = master(&sent);
        assert_eq!(
            all.matches("#EXT-X-MEDIA:").count() + all.matches("#EXT-X-STREAM-INF:").count(),
            2
        );
        let audio_only = master(&sent[1..]);
        assert_eq!(
            audio_only.matches("#EXT-X-STREAM-INF:").count(),
            1,
            "{audio_only}"
        );
    }
}
