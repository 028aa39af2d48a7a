//! All that a verdict depends on, beside the session that it is given in.
//!
//! They are recorded with each upload that was judged, in a compact JSON form, so that a replay needs
//! neither the bytes nor the settings of that time.

use serde::{Deserialize, Serialize};

use crate::manifest::{mpd, playlist};
use crate::names::Interface;

/// Bytes of a manifest's own words that are recorded.
const MAX_TEXT: usize = 256;

/// What is known of an upload, beside its path and the time of its last byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) interface: Interface,
    /// The track name that its stream expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) track_name: Option<String>,
    /// Its sender showed a client certificate.
    pub(crate) certificate: bool,
    /// Value of its `X-EXTINF-duration` header field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extinf: Option<String>,
    /// What its body says, where that is a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<Manifest>,
    /// Microseconds without an upload after which a session may begin anew.
    pub(crate) timeout: i64,
    /// Its media are rejected by a stream that asks for good ones, so that it moves no state.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) unfit: bool,
}

/// What a manifest says, as far as rules ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Manifest {
    /// An MPD that cannot be read, and why.
    Malformed(String),
    /// An MPD.
    Mpd {
        /// `MPD@type` as written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
    },
    /// A playlist, of either kind.
    Playlist {
        /// `EXT-X-STREAM-INF` and `EXT-X-MEDIA` tags.
        #[serde(default, skip_serializing_if = "is_zero")]
        variants: u64,
        /// Value of `EXT-X-PLAYLIST-TYPE`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// `EXT-X-ENDLIST` is there.
        #[serde(default, skip_serializing_if = "is_false")]
        ended: bool,
        /// `EXTINF` tags.
        #[serde(default, skip_serializing_if = "is_zero")]
        durations: u64,
        /// Lines that name segments.
        #[serde(default, skip_serializing_if = "is_zero")]
        segments: u64,
        /// Where it breaks the grammar, and how. The rest is what its lines look like.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for it
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Reads a manifest: an MPD for DASH, else a playlist.
pub(crate) fn of_manifest(interface: Interface, bytes: &[u8]) -> Manifest {
    if interface == Interface::Dash {
        return match mpd::read(bytes) {
            Ok(mpd) => Manifest::Mpd {
                kind: mpd.presentation_type.map(cut),
            },
            Err(fault) => Manifest::Malformed(cut(fault.to_string())),
        };
    }
    let facts = playlist::facts(bytes);
    Manifest::Playlist {
        variants: facts.variants_and_renditions,
        kind: facts.playlist_type.map(cut),
        ended: facts.ended,
        durations: facts.extinf,
        segments: facts.uris,
        fault: playlist::read(bytes)
            .err()
            .map(|fault| cut(fault.to_string())),
    }
}

/// A manifest's words, as long as a record needs them: no value that a rule asks for is as long.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifests_words_are_recorded_to_a_length() {
        let long = "é".repeat(100_000);
        for (interface, text) in [
            (Interface::Dash, format!("<MPD type=\"{long}\"/>")),
            (Interface::Dash, format!("<{long}")),
            (
                Interface::Hls,
                format!("#EXTM3U\n#EXT-X-PLAYLIST-TYPE:{long}\n#EXTINF:{long},\n"),
            ),
        ] {
            let facts = of_manifest(interface, text.as_bytes());
            let recorded = serde_json::to_string(&facts).unwrap();
            assert!(recorded.len() < 1000, "{} bytes", recorded.len());
        }
    }
}
