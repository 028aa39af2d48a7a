//! What is asked of uploads, as a table.
//!
//! A sentence is what an upload that breaks the rule is told; a word in angle brackets in it stands for
//! what was found. Sentences are those that users of the Matter project's test server know, where that
//! has one.

use crate::finding::{Finding, Rule, Severity};

/// A rule of the Matter profile.
const fn rule(id: &'static str, looks_at: &'static str, sentence: &'static str) -> Rule {
    Rule {
        id,
        sentence,
        clause: None,
        looks_at,
        severities: [None, None, Some(Severity::Error)],
    }
}

macro_rules! table {
    ($($name:ident: $id:literal, $looks_at:literal, $sentence:literal;)*) => {
        $(pub(super) static $name: Rule = rule($id, $looks_at, $sentence);)*
        /// All rules of names and order, in the order in which broken ones are listed.
        pub(crate) static TABLE: &[&Rule] = &[$(&$name),*];
    };
}

table! {
    EXTENSION: "matter-extension", "path",
        "Invalid extension: <extension>, valid extensions are mpd, m3u8, m4s, init";
    MANIFEST_KIND: "matter-manifest-kind", "path",
        "Unsupported manifest object extension";
    MPD_MALFORMED: "matter-mpd-malformed", "manifest",
        "DASH manifest cannot be read: <why>";
    MPD_DYNAMIC_LATE: "matter-mpd-dynamic-late", "order",
        "Dynamic MPD cannot be uploaded after segments have been uploaded";
    MPD_STATIC_EARLY: "matter-mpd-static-early", "order",
        "Static MPD cannot be uploaded before segments have been uploaded";
    MPD_PATH: "matter-mpd-path", "path",
        "DASH manifest must be uploaded as session_X/index.mpd";
    PLAYLIST_PATH: "matter-playlist-path", "path",
        "HLS manifest must be uploaded as session_X/index.m3u8 (multi-variant) or session_X/track_name/index.m3u8 (media playlist)";
    PLAYLIST_MALFORMED: "matter-playlist-malformed", "manifest",
        "HLS manifest cannot be read: <why>";
    MULTIVARIANT_LATE: "matter-multivariant-late", "order",
        "Multi-variant playlist must be uploaded first, before any tracks";
    MULTIVARIANT_EMPTY: "matter-multivariant-empty", "manifest",
        "Multi-variant playlist must contain at least one EXT-X-MEDIA or EXT-X-STREAM-INF tag";
    PLAYLIST_NO_SESSION: "matter-media-playlist-no-session", "order",
        "No active session when uploading media playlist";
    DASH_NO_SESSION: "matter-dash-no-session", "order",
        "No active session when uploading <path>, segment uploaded before mpd";
    HLS_NO_SESSION: "matter-hls-no-session", "order",
        "No active session when uploading <path>, segment uploaded before multi-variant playlist";
    OBJECT_PATH: "matter-object-path", "path",
        "Path does not adhere to Matter's path format";
    TRACK_NAME: "matter-track-name", "path",
        "Track name mismatch: <track> != <expected>, must match TrackName provided in ContainerOptions";
    MULTIVARIANT_MISSING: "matter-multivariant-missing", "order",
        "Multi-variant playlist must be uploaded before media playlists";
    INITIAL_TYPE: "matter-initial-playlist-type", "manifest",
        "Initial media playlist must NOT contain #EXT-X-PLAYLIST-TYPE";
    INITIAL_ENDLIST: "matter-initial-playlist-endlist", "manifest",
        "Initial media playlist must NOT contain #EXT-X-ENDLIST";
    INITIAL_EXTINF: "matter-initial-playlist-extinf", "manifest",
        "Initial media playlist must NOT contain #EXTINF tags";
    INITIAL_SEGMENTS: "matter-initial-playlist-segments", "manifest",
        "Initial media playlist must NOT contain segment lines";
    FINAL_NO_TYPE: "matter-final-playlist-no-type", "manifest",
        "Final media playlist must contain #EXT-X-PLAYLIST-TYPE:VOD";
    FINAL_TYPE: "matter-final-playlist-type", "manifest",
        "Final media playlist must contain '#EXT-X-PLAYLIST-TYPE:VOD'";
    FINAL_EXTINF: "matter-final-playlist-extinf", "manifest",
        "Final media playlist must contain #EXTINF tags";
    FINAL_SEGMENTS: "matter-final-playlist-segments", "manifest",
        "Final media playlist must contain segment lines";
    FINAL_EARLY: "matter-final-playlist-early", "order",
        "Final media playlist uploaded for track '<track>' before init segment and segments were uploaded";
    INIT_LATE: "matter-init-late", "order",
        "Init segment for track '<track>' must be uploaded before any segments";
    INIT_AGAIN: "matter-init-again", "order",
        "Init segment for track '<track>' already uploaded, duplicate upload not allowed";
    HLS_INIT_EARLY: "matter-hls-init-early", "order",
        "Init segment for track '<track>' uploaded before initial media playlist";
    HLS_INIT_LATE: "matter-hls-init-late", "order",
        "Init segment for track '<track>' uploaded after segments started";
    HLS_INIT_COMPLETED: "matter-hls-init-completed", "order",
        "Init segment for track '<track>' uploaded after track was completed";
    SEGMENT_EARLY: "matter-segment-early", "order",
        "Media segment for track '<track>' uploaded before init segment";
    HLS_SEGMENT_EARLY: "matter-hls-segment-early", "order",
        "Media segment for track '<track>' uploaded before initial media playlist";
    HLS_SEGMENT_COMPLETED: "matter-hls-segment-completed", "order",
        "Media segment for track '<track>' uploaded after track was completed";
    EXTINF_MISSING: "matter-extinf-missing", "header",
        "HLS media segments must include X-EXTINF-duration header";
    EXTINF_INVALID: "matter-extinf-invalid", "header",
        "X-EXTINF-duration header must be a valid decimal floating-point value, got: <value>";
    EXTINF_ZERO: "matter-extinf-zero", "header",
        "X-EXTINF-duration header must be greater than 0, got: <value>";
    CERTIFICATE: "matter-certificate", "connection",
        "File upload did not happen with SSL context";
}

/// The rule, broken: its sentence with what was found in it.
pub(super) fn broken(rule: &'static Rule, found: &[(&str, &str)]) -> Finding {
    Finding::new(rule, fill(rule.sentence, found))
}

/// Puts values in the place of `<names>`. What is found in a value is left as it is.
fn fill(sentence: &str, found: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('<') {
        let value = after
            .split_once('>')
            .and_then(|(name, tail)| Some((found.iter().find(|(n, _)| *n == name)?.1, tail)));
        text.push_str(before);
        match value {
            Some((value, tail)) => {
                text.push_str(value);
                rest = tail;
            }
            None => {
                text.push('<');
                rest = after;
            }
        }
    }
    text + rest
}

/// Sorts broken rules as the table lists them.
pub(super) fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| TABLE.iter().position(|rule| *rule == finding.rule));
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_given_once_and_well_formed() {
        let ids: HashSet<_> = TABLE.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), TABLE.len());
        for id in ids {
            assert!(id.starts_with("matter-"), "{id}");
            assert!(
                id.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{id}"
            );
        }
    }

    #[test]
    fn values_are_not_looked_into() {
        let found = broken(
            &TRACK_NAME,
            &[("track", "<expected>"), ("expected", "media")],
        );
        assert_eq!(
            found.message,
            "Track name mismatch: <expected> != media, must match TrackName provided in ContainerOptions"
        );
    }
}
