//! What a stream's newest media looks like in time, track by track.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Header, Headers};
use crate::Result;
use crate::catalog::{Catalog, FragmentRow, Status, Stream, Tables, UploadLine};
use crate::clock::Timestamp;
use crate::names::{Naming, ObjectPath, StreamId};
use crate::workdir::{self, Workdir};

/// Newest uploads of the stream that are looked at.
const UPLOADS: usize = 1000;
/// Newest bars of a track.
const BARS: usize = 240;
/// Tracks.
const TRACKS: usize = 32;
/// Headers that are looked at.
const HEADERS: usize = 64;
/// Manifests that are named.
const MANIFESTS: usize = 50;
/// Gaps and overlaps below this are rounding, in seconds.
const ROUNDING: f64 = 0.001;
/// A segment is late when it comes at least this much, in seconds, after the most punctual one before it.
const LATE: f64 = 2.0;

/// The newest media of a stream.
#[derive(Debug, Serialize)]
pub(crate) struct Timeline {
    /// Manifests that are there, the newest first.
    pub(crate) manifests: Vec<String>,
    pub(crate) tracks: Vec<Line>,
}

/// The newest media of one track.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    /// The path of the track, or of its segments with `#` for their numbers.
    pub(crate) name: String,
    pub(crate) header: Option<Header>,
    /// In the order of media time; those without (rejected uploads, no media) in the order of arrival.
    pub(crate) bars: Vec<Bar>,
    /// Stretches between two bars that no media covers.
    pub(crate) gaps: Vec<Stretch>,
    /// Stretches that two bars cover.
    pub(crate) overlaps: Vec<Stretch>,
    /// Bits per second of the media that is shown.
    pub(crate) bit_rate: Option<u64>,
    /// Not all of the track is shown.
    pub(crate) cut: bool,
}

/// A fragment, or an upload without one.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) path: String,
    pub(crate) upload: i64,
    /// Bytes from the front of the object.
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// Media time in seconds.
    pub(crate) start: Option<f64>,
    /// Seconds of media.
    pub(crate) duration: f64,
    /// Begins with a sync sample.
    pub(crate) sync: bool,
    /// What the source says the time was, in its `prft`.
    pub(crate) wall_clock: Option<Timestamp>,
    pub(crate) first_byte: Timestamp,
    pub(crate) last_byte: Timestamp,
    /// What became of its upload.
    pub(crate) status: &'static str,
    /// Its upload broke rules.
    pub(crate) broken: bool,
    /// It came at least two seconds, and its own duration, later than the most punctual one before it.
    pub(crate) late: bool,
}

/// From where to where, in seconds of media time.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Stretch {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// A track's uploads with their fragments, as read.
#[derive(Default)]
struct Found {
    rows: Vec<(FragmentRow, UploadLine)>,
    bare: Vec<UploadLine>,
    cut: bool,
}

/// The newest media of a stream.
pub(crate) async fn read(
    catalog: &Catalog,
    workdir: &Workdir,
    stream: &Stream,
) -> Result<Timeline> {
    let id = stream.id;
    let (manifests, headers, found) = catalog
        .read(move |tables| {
            let manifests = tables.objects(id, true, MANIFESTS)?;
            Ok((
                manifests,
                tables.headers(id, "", HEADERS)?,
                find(tables, id)?,
            ))
        })
        .await?;
    let workdir = workdir.clone();
    workdir::blocking(move || {
        let headers = Headers::read(&workdir, id, &headers);
        Ok(Timeline {
            manifests: manifests.into_iter().map(|object| object.path).collect(),
            tracks: found
                .into_iter()
                .map(|(name, found)| line(name, found, &headers))
                .filter(|line| !line.bars.is_empty())
                .collect(),
        })
    })
    .await
}

fn find(tables: &Tables<'_>, stream: StreamId) -> rusqlite::Result<BTreeMap<String, Found>> {
    let mut tracks: BTreeMap<String, Found> = BTreeMap::new();
    let mut seen = std::collections::HashSet::new();
    for upload in tables.upload_lines(stream, i64::MAX, UPLOADS)? {
        let Some(name) = track_of(&upload.path) else {
            continue;
        };
        if !tracks.contains_key(&name) && tracks.len() >= TRACKS {
            continue;
        }
        let found = tracks.entry(name).or_default();
        if found.rows.len() + found.bare.len() >= BARS {
            found.cut = true;
            continue;
        }
        let rows = match upload.object {
            Some(object) if seen.insert(object) => {
                let room = BARS - found.rows.len();
                let rows = tables.last_fragments(object, room + 1)?;
                found.cut |= rows.len() > room;
                rows
            }
            // A track that many uploads have added to is read once.
            Some(_) => continue,
            None => Vec::new(),
        };
        if rows.is_empty() {
            found.bare.push(upload);
            continue;
        }
        let from = rows.len().saturating_sub(BARS - found.rows.len());
        for (row, by) in rows.into_iter().skip(from) {
            let line = if by == upload.id {
                upload.clone()
            } else {
                tables
                    .upload_lines(stream, by.saturating_add(1), 1)?
                    .pop()
                    .filter(|line| line.id == by)
                    .unwrap_or_else(|| upload.clone())
            };
            found.rows.push((row, line));
        }
    }
    Ok(tracks)
}

/// The name of the track that a path belongs to: the path itself, or with `#` for the last number in the
/// name of a segment. Manifests and headers are no part of a track.
fn track_of(path: &str) -> Option<String> {
    let parsed = ObjectPath::parse(path).ok()?;
    if parsed.is_manifest() || matches!(parsed.extension(), Some("init" | "header")) {
        return None;
    }
    if parsed.naming() != Naming::Plain {
        return Some(path.to_owned());
    }
    let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
    // A number in the extension counts nothing: `a.mp4` is one object.
    let stem_end = path
        .rfind('.')
        .filter(|dot| *dot > name_at)
        .unwrap_or(path.len());
    let stem = path.get(name_at..stem_end)?;
    let Some(last) = stem.rfind(|c: char| c.is_ascii_digit()) else {
        return Some(path.to_owned());
    };
    let first = stem[..last]
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .len();
    Some(format!(
        "{}#{}",
        path.get(..name_at + first)?,
        path.get(name_at + last + 1..)?
    ))
}

fn line(name: String, found: Found, headers: &Headers) -> Line {
    let path = found
        .rows
        .first()
        .map_or(name.as_str(), |(_, upload)| upload.path.as_str());
    let header = headers.of(path).cloned();
    let timescale = f64::from(header.as_ref().map_or(0, |header| header.timescale));
    let seconds = |ticks: u64| (timescale > 0.0).then(|| to_f64(ticks) / timescale);
    let mut bars: Vec<Bar> = found
        .rows
        .into_iter()
        .map(|(row, upload)| Bar {
            offset: row.offset,
            size: row.size,
            start: row.decode_time.and_then(seconds),
            duration: seconds(row.duration).unwrap_or(0.0),
            sync: row.sync,
            wall_clock: row.wall_clock,
            ..bare(upload)
        })
        .collect();
    bars.sort_by(|a, b| {
        a.start
            .partial_cmp(&b.start)
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    mark_late(&mut bars);
    let (gaps, overlaps) = seams(&bars);
    let covered: f64 = bars.iter().map(|bar| bar.duration).sum();
    let bytes: u64 = bars.iter().map(|bar| bar.size).sum();
    // A header alone is no media that is missing.
    let is_header = |upload: &UploadLine| headers.all().iter().any(|held| held.path == upload.path);
    let mut others: Vec<Bar> = found
        .bare
        .into_iter()
        .filter(|upload| upload.status != Status::Accepted || !is_header(upload))
        .map(bare)
        .collect();
    others.sort_by_key(|bar| bar.upload);
    bars.extend(others);
    Line {
        name,
        header,
        bit_rate: (covered > 0.0).then(|| to_u64(to_f64(bytes) * 8.0 / covered)),
        bars,
        gaps,
        overlaps,
        cut: found.cut,
    }
}

fn bare(upload: UploadLine) -> Bar {
    Bar {
        upload: upload.id,
        offset: 0,
        size: u64::try_from(upload.size).unwrap_or(0),
        start: None,
        duration: 0.0,
        sync: false,
        wall_clock: None,
        first_byte: upload.first_byte,
        last_byte: upload.last_byte,
        status: upload.status.as_str(),
        broken: upload.broken,
        late: false,
        path: upload.path,
    }
}

/// How long after the end of its media each bar came differs by a constant while the source keeps its
/// pace; what comes later than the most punctual one before it by two seconds, and by more than its own
/// duration, is late. Several fragments of one upload came with its last byte at the latest, so they are
/// held against the last of them.
fn mark_late(bars: &mut [Bar]) {
    let mut punctual = f64::INFINITY;
    let mut from = 0;
    while from < bars.len() {
        let upload = bars[from].upload;
        let same = bars[from..]
            .iter()
            .take_while(|bar| bar.upload == upload)
            .count();
        let group = &mut bars[from..from + same];
        from += same;
        let end = group
            .iter()
            .filter_map(|bar| Some(bar.start? + bar.duration))
            .fold(f64::NEG_INFINITY, f64::max);
        let Some(last) = group.last().filter(|_| end.is_finite()) else {
            continue;
        };
        let duration: f64 = group.iter().map(|bar| bar.duration).sum();
        let lag = seconds_of(last.last_byte) - end;
        if lag - punctual >= LATE.max(duration) {
            for bar in group {
                bar.late = true;
            }
        }
        punctual = punctual.min(lag);
    }
}

fn seams(bars: &[Bar]) -> (Vec<Stretch>, Vec<Stretch>) {
    let (mut gaps, mut overlaps) = (Vec::new(), Vec::new());
    let mut covered: Option<f64> = None;
    for bar in bars {
        let Some(start) = bar.start else { continue };
        let end = start + bar.duration;
        if let Some(covered) = covered {
            if start > covered + ROUNDING {
                gaps.push(Stretch {
                    from: covered,
                    to: start,
                });
            } else if start < covered - ROUNDING {
                overlaps.push(Stretch {
                    from: start,
                    to: covered.min(end),
                });
            }
        }
        covered = Some(covered.map_or(end, |covered| covered.max(end)));
    }
    (gaps, overlaps)
}

/// Seconds since 1970.
pub(crate) fn seconds_of(time: Timestamp) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of today fit into 53 bits"
    )]
    let micros = time.as_micros() as f64;
    micros / 1e6
}

fn to_f64(ticks: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "what is drawn need not be exact"
    )]
    let ticks = ticks as f64;
    ticks
}

fn to_u64(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and a rate is not negative"
    )]
    let value = value as u64;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(upload: i64, start: f64, duration: f64, came: i64) -> Bar {
        let came = Timestamp::from_micros(came * 1_000_000);
        Bar {
            path: String::new(),
            upload,
            offset: 0,
            size: 0,
            start: Some(start),
            duration,
            sync: true,
            wall_clock: None,
            first_byte: came,
            last_byte: came,
            status: "accepted",
            broken: false,
            late: false,
        }
    }

    #[test]
    fn segments_of_a_track_have_one_name() {
        for (path, expected) in [
            (
                "session_1/video/segment_1001.m4s",
                Some("session_1/video/segment_#.m4s"),
            ),
            ("chunk-stream0-00001.m4s", Some("chunk-stream0-#.m4s")),
            ("v1/seg.7.m4s", Some("v1/seg.#.m4s")),
            ("12.m4s", Some("#.m4s")),
            ("movie.mp4", Some("movie.mp4")),
            ("ü1.m4s", Some("ü#.m4s")),
            ("video-720p.cmfv", Some("video-720p.cmfv")),
            ("Streams(video1.cmfv)", Some("Streams(video1.cmfv)")),
            ("index.mpd", None),
            ("v/v.init", None),
        ] {
            assert_eq!(track_of(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_missing_and_what_is_there_twice() {
        let bars = [
            bar(1, 0.0, 2.0, 2),
            bar(2, 2.0004, 2.0, 4),
            bar(3, 6.0, 2.0, 8),
            bar(4, 7.5, 2.0, 9),
        ];
        let (gaps, overlaps) = seams(&bars);
        assert_eq!(
            gaps,
            [Stretch {
                from: 4.0004,
                to: 6.0
            }]
        );
        assert_eq!(overlaps, [Stretch { from: 7.5, to: 8.0 }]);
    }

    #[test]
    fn what_comes_out_of_pace_is_late() {
        let late = |bars: &mut [Bar]| {
            mark_late(bars);
            bars.iter().map(|bar| bar.late).collect::<Vec<_>>()
        };
        // In real time, one of them five seconds late.
        let mut paced = [
            bar(1, 0.0, 2.0, 102),
            bar(2, 2.0, 2.0, 104),
            bar(3, 4.0, 2.0, 111),
            bar(4, 6.0, 2.0, 108),
        ];
        assert_eq!(late(&mut paced), [false, false, true, false]);
        // As fast as the line carries it.
        let mut hurried = [
            bar(1, 0.0, 6.0, 100),
            bar(2, 6.0, 6.0, 101),
            bar(3, 12.0, 6.0, 102),
        ];
        assert_eq!(late(&mut hurried), [false; 3]);
        // One endless upload.
        let mut endless = [
            bar(1, 0.0, 2.0, 110),
            bar(1, 2.0, 2.0, 110),
            bar(1, 4.0, 2.0, 110),
        ];
        assert_eq!(late(&mut endless), [false; 3]);
    }
}
