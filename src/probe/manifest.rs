//! What is in the tracks that a manifest names.

use std::collections::HashMap;
use std::io::{self, Read};

use super::chain::{Chain, Source};
use super::report::{Format, Report, StreamReport, VideoReport, bit_rate, seconds};
use super::{ProbeError, probe};
use crate::layout::{Content, layout};
use crate::manifest::mpd::{self, Mpd, SegmentTemplate};
use crate::manifest::playlist::{self, Multivariant};
use crate::manifest::{MAX_SIZE, resolve};

/// Tracks of one manifest that are probed.
const MAX_TRACKS: usize = 64;

/// An object, and the bytes it has now.
pub type Opened = io::Result<(Box<dyn Source>, u64)>;

/// Probes the tracks that the manifest at `path` names, as far as they are among `objects`. `open`
/// opens one of these by its place.
///
/// A track whose objects are not there, or are encrypted as a whole, has what the manifest says.
///
/// # Errors
///
/// The manifest cannot be read.
pub fn manifest(
    bytes: &[u8],
    path: &str,
    objects: &[(&str, Content)],
    open: &mut dyn FnMut(usize) -> Opened,
) -> Result<Report, ProbeError> {
    let places = objects
        .iter()
        .enumerate()
        .map(|(place, (name, _))| (*name, place))
        .collect();
    let mut reading = Reading {
        objects,
        places,
        open,
        named: Vec::new(),
    };
    let (format_name, format_long_name) = if bytes.starts_with(b"#EXTM3U") {
        reading.playlist(bytes, path)?;
        ("hls", "Apple HTTP Live Streaming")
    } else {
        let mpd = mpd::read(bytes).map_err(ProbeError::Manifest)?;
        reading.mpd(&mpd, path);
        ("dash", "Dynamic Adaptive Streaming over HTTP")
    };
    Ok(reading.report(path, format_name, format_long_name))
}

struct Reading<'a> {
    objects: &'a [(&'a str, Content)],
    places: HashMap<&'a str, usize>,
    open: &'a mut dyn FnMut(usize) -> Opened,
    named: Vec<Named>,
}

/// A track as the manifest names it.
#[derive(Debug, Default)]
struct Named {
    /// Places of its header and its segments, in order.
    parts: Vec<usize>,
    kind: Option<&'static str>,
    codecs: Option<String>,
    size: Option<(u32, u32)>,
    bandwidth: Option<u64>,
    language: Option<String>,
}

impl Reading<'_> {
    fn place(&self, path: &str, url: &str) -> Option<usize> {
        self.places.get(resolve(path, url)?.as_str()).copied()
    }

    fn mpd(&mut self, mpd: &Mpd, path: &str) {
        let tracks: HashMap<_, _> = layout(self.objects)
            .into_iter()
            .flat_map(|session| session.tracks)
            .filter_map(|track| Some((track.header?, track.media)))
            .collect();
        for track in mpd.tracks() {
            let set = track.adaptation_set;
            let base = mpd.base(&track, path);
            let segments = [
                &track.representation.segments,
                &set.segments,
                &track.period.segments,
            ];
            let list = segments.into_iter().find_map(|it| it.list.as_ref());
            let template = track.template();
            let header = match (&template, list) {
                (Some(template), _) => template.initialization.as_deref().and_then(|template| {
                    SegmentTemplate::fill(template, track.representation, None, None)
                }),
                (None, list) => list.and_then(|list| list.initialization.clone()),
            };
            let place = base.and_then(|base| match &header {
                Some(url) => self.place(&base, url),
                // One file, whose name is the base.
                None => self.places.get(base.as_str()).copied(),
            });
            let mut parts = Vec::from_iter(place);
            if let Some(media) = place.and_then(|place| tracks.get(&place)) {
                parts.extend(media);
            }
            let kind = track
                .mime_type()
                .or(set.content_type.as_deref())
                .and_then(|kind| kind.split('/').next());
            self.add(Named {
                parts,
                kind: kind.and_then(codec_type),
                codecs: track.codecs().map(str::to_owned),
                size: track.size(),
                bandwidth: track.representation.bandwidth,
                language: set.lang.clone(),
            });
        }
    }

    fn playlist(&mut self, bytes: &[u8], path: &str) -> Result<(), ProbeError> {
        let playlist = playlist::read(bytes).map_err(ProbeError::Manifest)?;
        match playlist.content {
            playlist::Content::Media(media) => {
                let named = self.media_playlist(&media, path, Named::default());
                self.add(named);
            }
            playlist::Content::Multivariant(multivariant) => {
                self.multivariant(&multivariant, path);
            }
        }
        Ok(())
    }

    fn multivariant(&mut self, multivariant: &Multivariant, path: &str) {
        let variants = multivariant.variants.iter().map(|variant| {
            let named = Named {
                codecs: variant.codecs.clone(),
                size: variant.resolution,
                bandwidth: variant.bandwidth,
                kind: variant.resolution.map(|_| "video"),
                ..Named::default()
            };
            (variant.uri.clone(), named)
        });
        let renditions = multivariant.renditions.iter().filter_map(|rendition| {
            let named = Named {
                kind: codec_type(&rendition.kind.to_ascii_lowercase()),
                language: rendition.language.clone(),
                ..Named::default()
            };
            Some((rendition.uri.clone()?, named))
        });
        let mut seen = Vec::new();
        for (uri, named) in variants.chain(renditions) {
            if seen.len() == MAX_TRACKS || seen.contains(&uri) {
                continue; // a variant of audio only is a rendition too
            }
            let found = resolve(path, &uri);
            let named = match found.as_deref().and_then(|path| self.read_media(path)) {
                Some(media) => {
                    self.media_playlist(&media, found.as_deref().unwrap_or_default(), named)
                }
                None => named,
            };
            seen.push(uri);
            self.add(named);
        }
    }

    /// The media playlist at `path`, if it is there and is one.
    fn read_media(&mut self, path: &str) -> Option<playlist::Media> {
        let place = *self.places.get(path)?;
        let (source, size) = (self.open)(place).ok()?;
        let mut bytes = Vec::new();
        let most = size.min(MAX_SIZE as u64 + 1);
        source.take(most).read_to_end(&mut bytes).ok()?;
        match playlist::read(&bytes).ok()?.content {
            playlist::Content::Media(media) => Some(media),
            playlist::Content::Multivariant(_) => None,
        }
    }

    fn media_playlist(&self, media: &playlist::Media, path: &str, named: Named) -> Named {
        if media.keys.iter().any(playlist::Key::hides_boxes) {
            return named;
        }
        let header = media.maps.first().map(|map| map.uri.as_str());
        let segments = media.segments.iter().map(|segment| segment.uri.as_str());
        let mut parts: Vec<usize> = Vec::new();
        for place in header
            .into_iter()
            .chain(segments)
            .filter_map(|url| self.place(path, url))
        {
            // Ranges of one file are that file.
            if parts.first() != Some(&place) && parts.last() != Some(&place) {
                parts.push(place);
            }
        }
        Named { parts, ..named }
    }

    /// Adds a track, unless it has the objects of one that is there: that of another period.
    fn add(&mut self, named: Named) {
        let known = |other: &Named| !named.parts.is_empty() && other.parts == named.parts;
        if self.named.len() < MAX_TRACKS && !self.named.iter().any(known) {
            self.named.push(named);
        }
    }

    fn report(mut self, path: &str, name: &'static str, long_name: &'static str) -> Report {
        let (mut size, mut duration, mut start) = (0u64, 0i128, None);
        let mut streams = Vec::new();
        for named in std::mem::take(&mut self.named) {
            let found = self.probe(&named.parts);
            let Some((report, bytes)) = found.filter(|(report, _)| !report.streams.is_empty())
            else {
                streams.push(described(&named));
                continue;
            };
            size = size.saturating_add(bytes);
            duration = duration.max(micros(report.format.duration.as_deref()).unwrap_or(0));
            start = match (start, micros(report.format.start_time.as_deref())) {
                (Some(one), Some(other)) => Some(i128::min(one, other)),
                (one, other) => one.or(other),
            };
            streams.extend(report.streams);
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            stream.index = index;
        }
        Report {
            format: Format {
                filename: path.to_owned(),
                nb_streams: streams.len(),
                nb_programs: 0,
                format_name: name,
                format_long_name: long_name,
                start_time: start.map(seconds),
                duration: (duration > 0).then(|| seconds(duration)),
                size: size.to_string(),
                bit_rate: bit_rate(size, u64::try_from(duration).unwrap_or(0), 1_000_000),
                probe_score: 100,
                tags: None,
            },
            streams,
        }
    }

    /// The report on objects that are one track, and their bytes.
    fn probe(&mut self, places: &[usize]) -> Option<(Report, u64)> {
        let mut parts = Vec::new();
        for place in places {
            // An object may be gone since it was listed.
            if let Ok((_, size)) = (self.open)(*place) {
                parts.push((*place, size));
            }
        }
        let mut chain = Chain::new(parts, |place| (self.open)(place).map(|(source, _)| source));
        let size = chain.len();
        let report = probe(&mut chain, size, None, "").ok()?;
        Some((report, size))
    }
}

/// What the manifest alone says.
fn described(named: &Named) -> StreamReport {
    let (width, height) = named.size.unwrap_or_default();
    let mut report = StreamReport {
        codec_type: named.kind.unwrap_or("data"),
        codecs: named.codecs.clone().unwrap_or_default(),
        bit_rate: named.bandwidth.map(|rate| rate.to_string()),
        video: named.size.map(|_| VideoReport {
            width,
            height,
            coded_width: width,
            coded_height: height,
            ..VideoReport::default()
        }),
        ..StreamReport::default()
    };
    report.tags.language = named.language.clone().unwrap_or_default();
    report
}

fn codec_type(kind: &str) -> Option<&'static str> {
    match kind {
        "video" => Some("video"),
        "audio" => Some("audio"),
        "text" | "subtitles" => Some("subtitle"),
        _ => None,
    }
}

/// Seconds with six decimals in microseconds.
fn micros(text: Option<&str>) -> Option<i128> {
    let (whole, fraction) = text?.split_once('.')?;
    let fraction: i128 = fraction.parse().ok()?;
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    Some(whole.parse::<i128>().ok()? * 1_000_000 + sign * fraction)
}
