//! What is known of an upload's media before its first byte, and what is made of what is found in them.

use std::time::Duration;

use super::Ingest;
use super::upload::Running;
use crate::catalog::{FragmentRow, Object};
use crate::cmaf::check::{Context, Expected, FragmentEnd, Kind};
use crate::cmaf::{Ticks, Timescale, TrackHeader};
use crate::finding::{Finding, Findings, Severity};
use crate::manifest::mpd::{self, Mpd, SegmentTemplate};
use crate::manifest::playlist;
use crate::names::{Interface, Naming, ObjectPath, StreamId};
use crate::{Result, workdir};

/// Headers in one directory that are looked at to find that of a segment.
const MAX_CANDIDATES: usize = 100;

/// Largest header that is read for the segments that follow it.
const MAX_HEADER: u64 = 1 << 20;

/// Manifests in one directory that are asked, and the longest playlist.
const MAX_MANIFESTS: usize = 8;
const MAX_PLAYLIST: u64 = 1 << 20;

/// Longest MPD that is read for every segment it is about.
const MAX_MPD: u64 = 64 << 10;

/// Rules that ciphertext breaks in place of others.
const UNREADABLE: [&str; 4] = ["body-start", "box-type", "box-size", "body-cut"];

impl Ingest {
    /// What a body is held against that is to become an object of its own. `header` and `previous` may
    /// be missing for many good reasons; nothing is demanded then that depends on them.
    pub(super) async fn context_of(&self, stream: StreamId, path: &ObjectPath) -> Result<Context> {
        let kind = Kind::of_name(path.as_str());
        let is_piece =
            kind == Kind::Segment || kind == Kind::Track && path.naming() != Naming::Streams;
        if !is_piece {
            return Ok(Context {
                kind,
                ..Context::default()
            });
        }
        let described = self.described(stream, path).await?;
        let initialization = described.initialization;
        let name = path.as_str().to_owned();
        let (held, previous) = self
            .catalog
            .look_up(move |tables| {
                let is_header = |held: &Object| {
                    held.media_end == held.header_size && held.header_size <= MAX_HEADER
                };
                let named = match initialization {
                    Some(named) => tables.object(stream, &named)?.filter(is_header),
                    None => None,
                };
                let held = match named {
                    Some(named) => Some((named, true)),
                    None => tables.nearest_header(stream, &name, MAX_CANDIDATES, is_header)?,
                };
                let mut previous = None;
                for before in names_before(&name) {
                    if let Some(object) = tables.object(stream, &before)? {
                        previous = tables.last_fragment(object.id)?;
                        break;
                    }
                }
                Ok((held, previous))
            })
            .await?;
        let header = match &held {
            Some((held, true)) => self.read_header(stream, held).await?,
            Some((_, false)) | None => None,
        };
        let kind = match (kind, &held, &header) {
            // Which header it belongs to cannot be told.
            (Kind::Segment, Some(_), None) => Kind::Unknown,
            // The pieces of a track may have names of their own.
            (Kind::Track, _, Some(_)) => Kind::Segment,
            (kind, ..) => kind,
        };
        let previous = match (&header, previous) {
            (Some(header), Some(row)) => {
                header.tracks.first().and_then(|track| end(track.id, &row))
            }
            _ => None,
        };
        Ok(Context {
            kind,
            header,
            previous,
            expected: described.duration,
        })
    }

    /// What an MPD beside or above a segment says of it, if one does.
    async fn described(&self, stream: StreamId, path: &ObjectPath) -> Result<Described> {
        let name = path.as_str().to_owned();
        let mpds = self
            .catalog
            .look_up(move |tables| {
                let mut below = name.as_str();
                loop {
                    let directory = below.rfind('/').map_or("", |slash| &below[..=slash]);
                    let mut found = tables.manifests_in(stream, directory, MAX_MANIFESTS)?;
                    found.retain(|manifest| manifest.ends_with(".mpd"));
                    if !found.is_empty() || directory.is_empty() {
                        return Ok(found);
                    }
                    below = &directory[..directory.len() - 1];
                }
            })
            .await?;
        if mpds.is_empty() {
            return Ok(Described::default());
        }
        let (workdir, name) = (self.workdir.clone(), path.as_str().to_owned());
        workdir::blocking(move || {
            for manifest in mpds {
                let Some(object) = workdir.open_object(stream, &ObjectPath::parse(&manifest)?)?
                else {
                    continue;
                };
                if object.size > MAX_MPD {
                    continue;
                }
                let len = usize::try_from(object.size).unwrap_or(0);
                let bytes = workdir::read_range(&object.file, 0, len)?;
                let directory = manifest.rfind('/').map_or("", |slash| &manifest[..=slash]);
                let relative = name.strip_prefix(directory);
                let found = mpd::read(&bytes).ok().zip(relative);
                let found = found.and_then(|(mpd, relative)| Described::by(&mpd, relative));
                if let Some(mut found) = found {
                    found.initialization = found
                        .initialization
                        .map(|init| format!("{directory}{init}"));
                    return Ok(found);
                }
            }
            Ok(Described::default())
        })
        .await
    }

    async fn read_header(&self, stream: StreamId, held: &Object) -> Result<Option<TrackHeader>> {
        let (workdir, path) = (self.workdir.clone(), ObjectPath::parse(&held.path)?);
        let wanted = held.header_size;
        workdir::blocking(move || {
            let Some(object) = workdir.open_object(stream, &path)? else {
                return Ok(None);
            };
            let len = usize::try_from(wanted.min(object.size)).unwrap_or(0);
            let bytes = workdir::read_range(&object.file, 0, len)?;
            Ok(TrackHeader::parse(&bytes).ok())
        })
        .await
    }

    /// Whether a playlist beside the object says that segments are ciphertext; `None` if there is no
    /// playlist that could say so.
    async fn is_ciphertext(&self, stream: StreamId, path: &ObjectPath) -> Result<Option<bool>> {
        let name = path.as_str().to_owned();
        let playlists = self
            .catalog
            .look_up(move |tables| {
                let directory = name.rfind('/').map_or("", |slash| &name[..=slash]);
                tables.manifests_in(stream, directory, MAX_MANIFESTS)
            })
            .await?;
        let workdir = self.workdir.clone();
        workdir::blocking(move || {
            let mut said = None;
            for name in playlists {
                let Some(object) = workdir.open_object(stream, &ObjectPath::parse(&name)?)? else {
                    continue;
                };
                let len = usize::try_from(object.size.min(MAX_PLAYLIST)).unwrap_or(0);
                let bytes = workdir::read_range(&object.file, 0, len)?;
                let content = playlist::read(&bytes).map(|playlist| playlist.content);
                if let Ok(playlist::Content::Media(media)) = content {
                    let hidden = media.keys.iter().any(playlist::Key::hides_boxes);
                    said = Some(said.unwrap_or(false) || hidden);
                }
            }
            Ok(said)
        })
        .await
    }
}

/// What an MPD says of a segment.
#[derive(Debug, Default, PartialEq)]
struct Described {
    /// Name of its header.
    initialization: Option<String>,
    /// How long it is to be.
    duration: Option<Expected>,
}

impl Described {
    /// By the representation whose `SegmentTemplate@media` makes this name of the number it ends in.
    fn by(mpd: &Mpd, relative: &str) -> Option<Self> {
        let (_, number, _) = numbered(relative)?;
        let number = number.parse().ok()?;
        mpd.tracks().find_map(|track| {
            let template = track.template()?;
            let media = template.media.as_deref()?;
            let made = |template: &str| {
                SegmentTemplate::fill(template, track.representation, Some(number), Some(number))
            };
            if made(media)? != relative {
                return None;
            }
            let timescale = Timescale(template.timescale.unwrap_or(1));
            let length = |ticks| timescale.duration(Ticks(ticks));
            let duration = match template.timeline {
                None => template.duration.and_then(length).map(Expected::About),
                Some(_) => {
                    let by_time = media.contains("$Time");
                    let listed = template.runs().find_map(|run| match by_time {
                        true => run.timed(number),
                        false => run.numbered(number),
                    });
                    // The first one may be listed without its priming.
                    let first = template.runs().next().map(|run| run.number);
                    let listed = listed.filter(|segment| Some(segment.number) != first);
                    let listed = listed.and_then(|segment| length(segment.duration));
                    listed.map(Expected::Exactly)
                }
            };
            Some(Self {
                initialization: template.initialization.as_deref().and_then(made),
                duration,
            })
        })
    }
}

impl Running {
    /// What its name, its stream and its header fields let one expect of its media.
    pub(super) async fn media_context(&self) -> Result<Context> {
        let (stream, path) = (self.incoming.stream.id, &self.incoming.path);
        let mut context = self.ingest.context_of(stream, path).await?;
        let told = self.incoming.extinf.as_deref();
        let seconds = told.and_then(|text| text.trim().parse::<f64>().ok());
        let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let length = length.filter(|length| !length.is_zero());
        context.expected = length.map(Expected::Exactly).or(context.expected);
        Ok(context)
    }

    /// What was found in its media so far.
    pub(super) fn media_findings(&self) -> Findings {
        let scanned = self.scanner.as_ref().and_then(|scanner| scanner.findings());
        scanned.unwrap_or(&self.media).clone()
    }

    /// Nothing is read in the body any more.
    pub(super) fn stop_scanning(&mut self) {
        if let Some(mut scanner) = self.scanner.take() {
            self.media = scanner.take_findings();
        }
    }

    /// Does not judge what is ciphertext, or may be: a playlist may come after its first segments.
    pub(super) async fn step_back_from_ciphertext(&mut self) -> Result<()> {
        if self.incoming.stream.interface != Interface::Hls {
            return Ok(());
        }
        let found = self.media_findings();
        if !found
            .iter()
            .any(|found| UNREADABLE.contains(&found.rule.id))
        {
            return Ok(());
        }
        let (stream, path) = (self.incoming.stream.id, &self.incoming.path);
        if self.ingest.is_ciphertext(stream, path).await? != Some(false) {
            self.stop_scanning();
            self.media = Findings::default();
        }
        Ok(())
    }

    /// Errors in its media, if its stream does not put up with any; each says where it is.
    pub(super) fn media_refusals(&self) -> Vec<Finding> {
        if !self.incoming.stream.strict_media {
            return Vec::new();
        }
        let profile = self.incoming.stream.interface.profile();
        let found = self.media_findings();
        let errors = found
            .iter()
            .filter(|found| found.severity(profile) == Some(Severity::Error));
        errors.map(with_place).collect()
    }
}

/// The finding with its place in its message.
fn with_place(found: &Finding) -> Finding {
    let path = found.box_path.as_deref().unwrap_or("the body");
    let at = match found.offset {
        Some(offset) => format!(" at byte {offset}"),
        None => String::new(),
    };
    let (message, rule) = (&found.message, found.rule.id);
    Finding {
        message: format!("{path}{at}: {message} ({rule})"),
        ..found.clone()
    }
}

/// A recorded fragment of a track, as the next one has to go with it.
pub(super) fn end(track_id: u32, row: &FragmentRow) -> Option<FragmentEnd> {
    let decode_time = Ticks(row.decode_time?);
    Some(FragmentEnd {
        track_id,
        decode_time,
        end: decode_time.saturating_add(Ticks(row.duration)),
        sequence_number: row.sequence,
    })
}

/// A name that ends in a number: what is before it, the digits, and the extension.
fn numbered(path: &str) -> Option<(&str, &str, &str)> {
    let (stem, extension) = path.split_at(path.rfind('.').unwrap_or(path.len()));
    let digits = stem.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (front, number) = stem.split_at(stem.len() - digits);
    (digits > 0).then_some((front, number, extension))
}

/// Names that the segment before may have: the number that `path` ends in, less one.
fn names_before(path: &str) -> Vec<String> {
    let Some((front, number, extension)) = numbered(path) else {
        return Vec::new();
    };
    let digits = number.len();
    let before = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_sub(1));
    let Some(before) = before else {
        return Vec::new();
    };
    let mut names = vec![format!("{front}{before:0digits$}{extension}")];
    let plain = format!("{front}{before}{extension}");
    if !names.contains(&plain) && !number.starts_with('0') {
        names.push(plain);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mpd_tells_header_and_length() {
        let mpd = mpd::read(
            br#"<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>
            <SegmentTemplate timescale="1000" duration="2000" media="$RepresentationID$/s-$Number%05d$.m4s"
            initialization="$RepresentationID$/head.mp4"/><Representation id="a"/><Representation id="b"/>
            </AdaptationSet></Period></MPD>"#,
        )
        .unwrap();
        let expected = Described {
            initialization: Some("b/head.mp4".to_owned()),
            duration: Some(Expected::About(Duration::from_secs(2))),
        };
        assert_eq!(Described::by(&mpd, "b/s-00007.m4s"), Some(expected));
        assert_eq!(Described::by(&mpd, "b/s-7.m4s"), None);
        assert_eq!(Described::by(&mpd, "c/s-00007.m4s"), None);
    }

    #[test]
    fn a_timeline_tells_the_length_by_number_or_time() {
        for (media, name, millis) in [
            ("$Number$.m4s", "4.m4s", None),
            ("$Number$.m4s", "5.m4s", None), // the first one
            ("$Number$.m4s", "6.m4s", Some(2000)),
            ("$Number$.m4s", "7.m4s", Some(1000)),
            ("$Number$.m4s", "8.m4s", None),
            ("$Time$.m4s", "12000.m4s", Some(2000)),
            ("$Time$.m4s", "12001.m4s", None),
            ("$Time$.m4s", "14000.m4s", Some(1000)),
        ] {
            let mpd = format!(
                "<MPD><Period><AdaptationSet><SegmentTemplate timescale='1000' startNumber='5' \
                 media='{media}'><SegmentTimeline><S t='10000' d='2000' r='1'/><S d='1000'/>\
                 </SegmentTimeline></SegmentTemplate><Representation id='a'/></AdaptationSet>\
                 </Period></MPD>"
            );
            let described = Described::by(&mpd::read(mpd.as_bytes()).unwrap(), name).unwrap();
            let expected = millis.map(|millis| Expected::Exactly(Duration::from_millis(millis)));
            assert_eq!(described.duration, expected, "{media} {name}");
        }
    }

    #[test]
    fn the_segment_before_has_the_number_before() {
        let names = |path| names_before(path);
        assert_eq!(names("v/segment_1001.m4s"), ["v/segment_1000.m4s"]);
        assert_eq!(
            names("chunk-stream0-00002.m4s"),
            ["chunk-stream0-00001.m4s"]
        );
        assert_eq!(names("a/10.m4s"), ["a/09.m4s", "a/9.m4s"]);
        assert_eq!(names("a/0.m4s"), [""; 0]);
        assert_eq!(names("a7/init.m4s"), [""; 0]);
        assert_eq!(names("a/99999999999999999999.m4s"), [""; 0]);
    }
}
