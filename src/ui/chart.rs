//! Drawings: where each mark goes, in the units of its `viewBox`.

use super::text;
use crate::view::overview::Series;
use crate::view::timeline::{Bar, Line, Timeline, seconds_of};

/// Width of a timeline.
pub(super) const WIDTH: f64 = 1000.0;
/// Newest seconds that a timeline shows.
const SHOWN: f64 = 120.0;
/// Narrowest mark.
const THIN: f64 = 1.5;
/// Height of a [`Spark`].
const SPARK: u64 = 24;

/// A mark of a timeline.
pub(super) struct Mark {
    pub(super) x: String,
    pub(super) width: String,
    pub(super) class: String,
    pub(super) title: String,
    /// Path and byte, for the script; empty for none.
    pub(super) path: String,
    pub(super) offset: u64,
}

/// One track, drawn.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) details: String,
    pub(super) codec: String,
    /// In the order of media time.
    pub(super) media: Vec<Mark>,
    /// In the order of arrival.
    pub(super) wall: Vec<Mark>,
    pub(super) media_from: String,
    pub(super) media_to: String,
    pub(super) wall_from: String,
    pub(super) wall_to: String,
    /// What is to be seen, in words.
    pub(super) summary: String,
    pub(super) gaps: usize,
    pub(super) overlaps: usize,
    pub(super) late: usize,
    pub(super) failed: usize,
}

/// Draws the tracks, over the same stretch of wall-clock time, and of media time where they share it.
pub(super) fn lanes(timeline: &Timeline) -> Vec<Lane> {
    let bars = || timeline.tracks.iter().flat_map(|line| &line.bars);
    let last = bars()
        .map(|bar| seconds_of(bar.last_byte))
        .fold(f64::NEG_INFINITY, f64::max);
    let first = bars()
        .map(|bar| seconds_of(bar.first_byte))
        .fold(f64::INFINITY, f64::min);
    let wall = (first.max(last - SHOWN), last);
    timeline
        .tracks
        .iter()
        .map(|line| lane(line, wall))
        .collect()
}

fn lane(line: &Line, wall: (f64, f64)) -> Lane {
    let timed = || line.bars.iter().filter_map(|bar| Some((bar, bar.start?)));
    let end = timed()
        .map(|(bar, start)| start + bar.duration)
        .fold(f64::NEG_INFINITY, f64::max);
    let begin = timed()
        .map(|(_, start)| start)
        .fold(f64::INFINITY, f64::min);
    let media = (begin.max(end - SHOWN), end);
    let mut marks: Vec<Mark> = timed()
        .filter_map(|(bar, start)| {
            let (x, width) = place(start, start + bar.duration, media)?;
            Some(mark(x, width, bar))
        })
        .collect();
    let stretches = [(&line.gaps, "gap"), (&line.overlaps, "overlap")];
    for (stretch, class) in stretches
        .iter()
        .flat_map(|(list, class)| list.iter().map(move |one| (one, class)))
    {
        if let Some((x, width)) = place(stretch.from, stretch.to, media) {
            marks.push(Mark {
                x,
                width,
                class: (*class).to_owned(),
                title: format!("{class}: {:.3} s to {:.3} s", stretch.from, stretch.to),
                path: String::new(),
                offset: 0,
            });
        }
    }
    let mut seen = std::collections::HashSet::new();
    let arrivals = line
        .bars
        .iter()
        .filter(|bar| seen.insert(bar.upload))
        .filter_map(|bar| {
            let (x, width) = place(seconds_of(bar.first_byte), seconds_of(bar.last_byte), wall)?;
            Some(mark(x, width, bar))
        })
        .collect();
    let late = line.bars.iter().filter(|bar| bar.late).count();
    let failed = line.bars.iter().filter(|bar| is_failed(bar)).count();
    Lane {
        name: line.name.clone(),
        details: details(line),
        codec: line
            .header
            .as_ref()
            .map_or_else(String::new, |header| header.codec.clone()),
        media: marks,
        wall: arrivals,
        media_from: seconds(media.0),
        media_to: seconds(media.1),
        wall_from: time_of_day(wall.0),
        wall_to: time_of_day(wall.1),
        summary: format!(
            "{} segments, {} gaps, {} overlaps, {late} late, {failed} failed",
            line.bars.len(),
            line.gaps.len(),
            line.overlaps.len(),
        ),
        gaps: line.gaps.len(),
        overlaps: line.overlaps.len(),
        late,
        failed,
    }
}

fn details(line: &Line) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(header) = &line.header {
        if let (Some(width), Some(height)) = (header.width, header.height) {
            parts.push(format!("{width}×{height}"));
        }
        if let Some(rate) = header.sample_rate {
            parts.push(format!("{rate} Hz"));
        }
        if header.encrypted {
            parts.push("encrypted".to_owned());
        }
    }
    if let Some(rate) = line.bit_rate {
        parts.push(text::bit_rate(rate));
    }
    parts.join(" · ")
}

fn is_failed(bar: &Bar) -> bool {
    matches!(bar.status, "rejected" | "aborted" | "refused")
}

fn mark(x: String, width: String, bar: &Bar) -> Mark {
    let class = match bar.status {
        _ if is_failed(bar) => "failed",
        _ if bar.late => "late",
        "incomplete" => "open",
        _ if bar.sync => "sync",
        _ => "plain",
    };
    let broken = if bar.broken { " broken" } else { "" };
    let name = bar.path.rsplit('/').next().unwrap_or_default();
    let media = bar.start.map_or_else(String::new, |start| {
        format!(", media {start:.3} s for {:.3} s", bar.duration)
    });
    Mark {
        x,
        width,
        class: format!("{class}{broken}"),
        title: format!(
            "{name}: {}, {}{media}, came {} in {}",
            if bar.late { "late" } else { bar.status },
            text::bytes(bar.size),
            text::clock(&bar.last_byte),
            text::took(&bar.first_byte, &bar.last_byte)
        ),
        path: bar.path.clone(),
        offset: bar.offset,
    }
}

/// Where a stretch lies in a range that fills the width; `None` where it is outside.
fn place(from: f64, to: f64, range: (f64, f64)) -> Option<(String, String)> {
    let (begin, end) = range;
    let length = (end - begin).max(0.001);
    if !length.is_finite() || to < begin || from > end {
        return None;
    }
    let scale = WIDTH / length;
    let x = ((from.max(begin) - begin) * scale).min(WIDTH - THIN);
    // A hair's breadth between two that meet.
    let width = ((to.min(end) - from.max(begin)) * scale - 0.8).max(THIN);
    Some((format!("{x:.1}"), format!("{width:.1}")))
}

fn seconds(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1} s")
    } else {
        String::new()
    }
}

fn time_of_day(seconds: f64) -> String {
    if !seconds.is_finite() {
        return String::new();
    }
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let micros = (seconds * 1e6) as i64;
    let text = text::clock(&crate::clock::Timestamp::from_micros(micros));
    text.split('.').next().unwrap_or_default().to_owned()
}

/// What came over the last minutes, as columns.
pub(super) struct Spark {
    pub(super) columns: Vec<Column>,
    pub(super) label: String,
    pub(super) rate: String,
}

/// One slot.
pub(super) struct Column {
    pub(super) x: usize,
    pub(super) y: u64,
    pub(super) height: u64,
}

impl Spark {
    pub(super) fn of(series: &Series) -> Self {
        let most = series.bytes.iter().copied().max().unwrap_or(0).max(1);
        let columns = series
            .bytes
            .iter()
            .enumerate()
            .filter(|(_, bytes)| **bytes > 0)
            .map(|(place, bytes)| {
                let height = (bytes.saturating_mul(SPARK) / most).max(1);
                Column {
                    x: place * 2,
                    y: SPARK - height,
                    height,
                }
            })
            .collect();
        let uploads: u64 = series.uploads.iter().map(|count| u64::from(*count)).sum();
        let rate = text::bit_rate(series.bit_rate());
        Self {
            columns,
            label: format!("{uploads} uploads in 5 min, {rate} over the last minute"),
            rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_in_the_picture() {
        assert_eq!(place(0.0, 1.0, (2.0, 4.0)), None);
        assert_eq!(
            place(1.0, 3.0, (2.0, 4.0)),
            Some(("0.0".into(), "499.2".into()))
        );
        assert_eq!(
            place(4.0, 4.0, (2.0, 4.0)),
            Some(("998.5".into(), "1.5".into()))
        );
        assert_eq!(place(0.0, 0.0, (f64::INFINITY, f64::NEG_INFINITY)), None);
    }

    #[test]
    fn the_busiest_slot_fills_the_height() {
        let spark = Spark::of(&Series {
            slot_seconds: 5,
            bytes: vec![0, 50, 100],
            uploads: vec![0, 1, 2],
        });
        let heights: Vec<_> = spark
            .columns
            .iter()
            .map(|column| (column.x, column.height))
            .collect();
        assert_eq!(heights, [(2, 12), (4, 24)]);
        assert!(spark.label.starts_with("3 uploads"));
    }
}
