//! The report for people.

use std::fmt::Write;

use super::junit::describe;
use super::{Group, Manifest, ManifestKind, Report, Session, Span, Track};
use crate::finding::Profile;

/// Stretches of a track that are shown.
const SPANS: usize = 20;

pub(super) fn write(report: &Report, profiles: &[Profile]) -> String {
    let mut out = String::new();
    for session in &report.sessions {
        let name = match session.name.as_str() {
            "" => report.name.as_str(),
            name => name,
        };
        let _ = writeln!(out, "{name}");
        for manifest in &session.manifests {
            write_manifest(&mut out, manifest);
        }
        for track in &session.tracks {
            write_track(&mut out, track);
        }
        write_findings(&mut out, session, profiles);
    }
    if report.truncated {
        let _ = writeln!(out, "there is more than was looked at");
    }
    for verdict in &report.verdicts {
        if !profiles.contains(&verdict.profile) {
            continue;
        }
        let _ = writeln!(
            out,
            "{}: {} ({}, {}, {})",
            verdict.profile.as_str(),
            if verdict.passed { "passed" } else { "failed" },
            number(verdict.errors, "error"),
            number(verdict.warnings, "warning"),
            number(verdict.infos, "note")
        );
    }
    out
}

fn write_manifest(out: &mut String, manifest: &Manifest) {
    let kind = match manifest.kind {
        ManifestKind::Mpd => "MPD",
        ManifestKind::Multivariant => "multivariant playlist",
        ManifestKind::MediaPlaylist => "media playlist",
        ManifestKind::Unreadable => "unreadable",
    };
    let mut words = vec![kind.to_owned()];
    words.extend(manifest.presentation_type.clone());
    match manifest.kind {
        ManifestKind::Mpd | ManifestKind::Multivariant => {
            words.push(number(manifest.tracks, "track"));
        }
        ManifestKind::MediaPlaylist => words.push(number(manifest.segments, "segment")),
        ManifestKind::Unreadable => {}
    }
    let _ = writeln!(out, "  manifest {}: {}", manifest.path, words.join(", "));
}

fn write_track(out: &mut String, track: &Track) {
    let mut words = Vec::new();
    words.extend(
        track
            .codecs
            .iter()
            .filter(|codecs| !codecs.is_empty())
            .cloned(),
    );
    if let (Some(width), Some(height)) = (track.width, track.height) {
        words.push(format!("{width}x{height}"));
    }
    words.extend(track.language.clone());
    if track.encrypted {
        words.push("encrypted".to_owned());
    }
    words.push(number(track.objects, "file"));
    words.push(number(track.fragments, "fragment"));
    if let Some(duration) = track.duration {
        words.push(format!("{duration:.3} s"));
    }
    if let Some(bit_rate) = track.bit_rate {
        words.push(format!("{bit_rate} bit/s"));
    }
    let kind = track.kind.filter(|_| !track.muxed).unwrap_or("track");
    let _ = writeln!(out, "  {kind} {}: {}", track.name, words.join(", "));
    if track.muxed {
        let _ = writeln!(out, "    several tracks in one file: no timeline is drawn");
    }
    for span in track.timeline.iter().take(SPANS) {
        write_span(out, span);
    }
    let more = track.timeline.len().saturating_sub(SPANS);
    if more > 0 || track.timeline_truncated {
        let _ = writeln!(out, "    and more stretches");
    }
}

fn write_span(out: &mut String, span: &Span) {
    let _ = write!(
        out,
        "    {:.3} to {:.3} s, {}",
        span.start,
        span.end,
        number(span.key_frames, "key frame")
    );
    if let Some(gap) = span.gap {
        let what = if gap > 0.0 { "gap" } else { "overlap" };
        let _ = write!(out, ", {what} of {:.3} s before {}", gap.abs(), span.object);
    }
    if let Some(wall_clock) = &span.wall_clock {
        let _ = write!(out, ", from {wall_clock}");
    }
    out.push('\n');
}

fn write_findings(out: &mut String, session: &Session, profiles: &[Profile]) {
    let worst = |group: &Group| {
        let severities = profiles.iter().map(|profile| group.rule.severity(*profile));
        severities.max().flatten()
    };
    for groups in [&session.findings, &session.past] {
        let mut told: Vec<_> = groups
            .iter()
            .filter_map(|group| Some((worst(group)?, group)))
            .collect();
        told.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        for (severity, group) in told {
            let status = group.status.map(|status| format!(" ({status})"));
            let _ = writeln!(
                out,
                "  {:7} {}{}: {}",
                severity.as_str(),
                group.rule.id,
                status.unwrap_or_default(),
                describe(group)
            );
        }
    }
}

/// `1 file`, `2 files`.
fn number(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
