//! The `codecs` parameter: what a player needs to know to decide whether it can play a track.
//!
//! | sample entry      | form                                        | from                          |
//! |-------------------|---------------------------------------------|-------------------------------|
//! | `avc1`, `avc3`    | `avc1.PPCCLL`                               | RFC 6381                      |
//! | `hvc1`, `hev1`    | `hvc1.[space]profile.compatibility.tier level.constraints` | ISO/IEC 14496-15, Annex E |
//! | `vvc1`, `vvi1`    | `vvc1.profile.tier level`                   | ISO/IEC 14496-15, Annex E     |
//! | `av01`            | `av01.profile.level tier.depth`             | AV1 in ISOBMFF                |
//! | `vp08`, `vp09`    | `vp09.profile.level.depth`                  | VP codec ISO media binding    |
//! | `mp4a`            | `mp4a.object.audio object`                  | RFC 6381                      |
//! | `Opus`            | `opus`, the spelling of players and manifests | DASH-IF                     |
//! | others            | their four characters                       | RFC 6381                      |

use std::fmt::Write;

use crate::isobmff::boxes::{Av1C, Configuration, HvcC, SampleEntry, VpcC, VvcC};

use super::aac::AudioSpecificConfig;

/// The `codecs` parameter of a sample entry. An encrypted one gives that of its original coding.
#[must_use]
pub fn codecs(entry: &SampleEntry) -> String {
    let kind = entry.format();
    match &entry.configuration {
        Some(Configuration::Avc(avcc)) => {
            let (profile, constraints, level) = (avcc.profile, avcc.compatibility, avcc.level);
            format!("{kind}.{profile:02x}{constraints:02x}{level:02x}")
        }
        Some(Configuration::Hevc(hvcc)) => format!("{kind}.{}", hevc(hvcc)),
        Some(Configuration::Vvc(vvcc)) => {
            vvc(vvcc).map_or(kind.to_string(), |rest| format!("{kind}.{rest}"))
        }
        Some(Configuration::Av1(av1c)) => format!("{kind}.{}", av1(av1c)),
        Some(Configuration::Vp(vpcc)) => format!("{kind}.{}", vp(vpcc)),
        Some(Configuration::Mpeg4(esds)) => {
            let mut text = format!("{kind}.{:02x}", esds.object_type);
            if esds.object_type == 0x40
                && let Some(config) = AudioSpecificConfig::read(&esds.specific)
            {
                let object = match (config.parametric_stereo, config.sbr_rate) {
                    (true, _) => 29,
                    (false, Some(_)) => 5,
                    (false, None) => config.object_type,
                };
                // Writing to a string does not fail.
                let _ = write!(text, ".{object}");
            }
            text
        }
        Some(Configuration::Opus(_)) => "opus".to_owned(),
        _ => kind.to_string(),
    }
}

fn hevc(hvcc: &HvcC) -> String {
    let space = ["", "A", "B", "C"]
        .get(usize::from(hvcc.profile_space))
        .copied();
    let tier = if hvcc.high_tier { 'H' } else { 'L' };
    let mut text = format!(
        "{}{}.{:X}.{tier}{}",
        space.unwrap_or_default(),
        hvcc.profile,
        hvcc.compatibility.reverse_bits(),
        hvcc.level
    );
    let used = hvcc.constraints.iter().rposition(|byte| *byte != 0);
    let used = used.map_or(0, |last| last.saturating_add(1));
    for byte in hvcc.constraints.iter().take(used) {
        let _ = write!(text, ".{byte:X}");
    }
    text
}

fn vvc(vvcc: &VvcC) -> Option<String> {
    let ptl = vvcc.ptl.as_ref()?;
    let tier = if ptl.high_tier { 'H' } else { 'L' };
    Some(format!("{}.{tier}{}", ptl.profile, ptl.level))
}

fn av1(av1c: &Av1C) -> String {
    let tier = if av1c.high_tier { 'H' } else { 'M' };
    format!(
        "{}.{:02}{tier}.{:02}",
        av1c.profile, av1c.level, av1c.bit_depth
    )
}

fn vp(vpcc: &VpcC) -> String {
    format!(
        "{:02}.{:02}.{:02}",
        vpcc.profile, vpcc.level, vpcc.bit_depth
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmaf::TrackHeader;

    /// As ffmpeg and shaka-packager write them into the manifests that belong to these files; those
    /// without a manifest by hand from the bytes.
    const EXPECTED: [(&str, &str); 11] = [
        ("dash/init-stream1.m4s", "avc1.4d400c"),
        ("dash/init-stream2.m4s", "mp4a.40.2"),
        ("encrypted/h264-cenc/video/init.mp4", "avc1.4d400c"),
        ("encrypted/h264-cbcs/audio/init.mp4", "mp4a.40.2"),
        ("encrypted/hevc-cenc/video/init.mp4", "hvc1.1.6.L60.90"),
        ("matter/session_1/audio/audio.init", "opus"),
        ("tracks/av1-svt-360p.cmfv", "av01.0.01M.08"),
        ("tracks/vp9-360p.cmfv", "vp09.00.21.08"),
        ("tracks/vvc-180p.cmfv", "vvc1.1.L32"),
        ("tracks/hevc-hev1-180p.cmfv", "hev1.1.6.L60.90"),
        ("text/wvtt/init.mp4", "wvtt"),
    ];

    #[test]
    fn strings_are_those_of_the_manifests() {
        for (name, expected) in EXPECTED {
            let path = format!("{}/tests/data/media/{name}", env!("CARGO_MANIFEST_DIR"));
            let header = TrackHeader::parse(&std::fs::read(path).unwrap()).unwrap();
            assert_eq!(codecs(&header.tracks[0].entries[0]), expected, "{name}");
        }
    }
}
