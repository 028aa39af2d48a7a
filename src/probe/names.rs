//! The words ffprobe has for numbers.

use crate::cmaf::codec::aac::Program;
use crate::cmaf::codec::{Chroma, Colour};

/// `color_primaries`; `None` for what ffprobe calls unknown.
pub(super) fn primaries(code: u16) -> Option<&'static str> {
    Some(match code {
        1 => "bt709",
        4 => "bt470m",
        5 => "bt470bg",
        6 => "smpte170m",
        7 => "smpte240m",
        8 => "film",
        9 => "bt2020",
        10 => "smpte428",
        11 => "smpte431",
        12 => "smpte432",
        22 => "ebu3213",
        _ => return None,
    })
}

/// `color_transfer`.
pub(super) fn transfer(code: u16) -> Option<&'static str> {
    Some(match code {
        1 => "bt709",
        4 => "bt470m",
        5 => "bt470bg",
        6 => "smpte170m",
        7 => "smpte240m",
        8 => "linear",
        9 => "log100",
        10 => "log316",
        11 => "iec61966-2-4",
        12 => "bt1361e",
        13 => "iec61966-2-1",
        14 => "bt2020-10",
        15 => "bt2020-12",
        16 => "smpte2084",
        17 => "smpte428",
        18 => "arib-std-b67",
        _ => return None,
    })
}

/// `color_space`.
pub(super) fn matrix(code: u16) -> Option<&'static str> {
    Some(match code {
        0 => "gbr",
        1 => "bt709",
        4 => "fcc",
        5 => "bt470bg",
        6 => "smpte170m",
        7 => "smpte240m",
        8 => "ycgco",
        9 => "bt2020nc",
        10 => "bt2020c",
        11 => "smpte2085",
        12 => "chroma-derived-nc",
        13 => "chroma-derived-c",
        14 => "ictcp",
        _ => return None,
    })
}

/// `chroma_location`.
pub(super) fn chroma_location(code: u8) -> Option<&'static str> {
    ["left", "center", "topleft", "top", "bottomleft", "bottom"]
        .get(usize::from(code))
        .copied()
}

/// `pix_fmt`. The H.264 and HEVC decoders of ffmpeg have names of their own (`yuvj…`) for eight bits
/// in full range.
pub(super) fn pixel_format(chroma: Chroma, depth: u8, colour: Colour, jpeg_names: bool) -> String {
    let base = match chroma {
        Chroma::Monochrome => "gray",
        Chroma::C444 if colour.matrix == 0 => "gbrp",
        Chroma::C420 => "yuv420p",
        Chroma::C422 => "yuv422p",
        Chroma::C444 => "yuv444p",
    };
    match depth {
        8 if jpeg_names && colour.full_range == Some(true) => base.replace("yuv", "yuvj"),
        8 => base.to_owned(),
        deep => format!("{base}{deep}le"),
    }
}

/// `codec_name` of sample entries that need no configuration to be known.
pub(super) fn by_tag(tag: &[u8; 4]) -> Option<&'static str> {
    Some(match tag {
        b"avc1" | b"avc2" | b"avc3" | b"avc4" => "h264",
        b"hvc1" | b"hev1" => "hevc",
        b"vvc1" | b"vvi1" => "vvc",
        b"av01" => "av1",
        b"vp08" => "vp8",
        b"vp09" => "vp9",
        b"mp4v" => "mpeg4",
        b"mjpg" | b"jpeg" => "mjpeg",
        b"mp4a" => "aac",
        b"Opus" => "opus",
        b"fLaC" => "flac",
        b"ac-3" => "ac3",
        b"ec-3" => "eac3",
        b"ac-4" => "ac4",
        b"alac" => "alac",
        b".mp3" => "mp3",
        b"wvtt" => "webvtt",
        b"stpp" => "ttml",
        b"tx3g" => "mov_text",
        _ => return None,
    })
}

/// `codec_name` for the object type of an `esds`.
pub(super) fn by_object_type(object_type: u8) -> Option<&'static str> {
    Some(match object_type {
        0x20 => "mpeg4",
        0x21 => "h264",
        0x23 => "hevc",
        0x40 | 0x66..=0x68 => "aac",
        0x69 | 0x6b => "mp3",
        0x6c => "mjpeg",
        0xa5 => "ac3",
        0xa6 => "eac3",
        0xa9 => "dts",
        0xad => "opus",
        0xc1 => "flac",
        _ => return None,
    })
}

/// `sample_fmt` that the decoder gives.
pub(super) fn sample_format(codec: &str, bits: u32) -> Option<&'static str> {
    Some(match codec {
        "aac" | "opus" | "mp3" | "ac3" | "eac3" | "dts" => "fltp",
        "flac" if bits > 16 => "s32",
        "flac" => "s16",
        "alac" if bits > 16 => "s32p",
        "alac" => "s16p",
        _ => return None,
    })
}

/// `profile` of H.264.
pub(super) fn h264_profile(profile: u8, constraints: u8) -> Option<&'static str> {
    let set = |index: u8| constraints & (0x80 >> index) != 0;
    Some(match profile {
        66 if set(1) => "Constrained Baseline",
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 if set(3) => "High 10 Intra",
        110 => "High 10",
        118 => "Multiview High",
        122 if set(3) => "High 4:2:2 Intra",
        122 => "High 4:2:2",
        128 => "Stereo High",
        144 => "High 4:4:4",
        244 if set(3) => "High 4:4:4 Intra",
        244 => "High 4:4:4 Predictive",
        44 => "CAVLC 4:4:4",
        _ => return None,
    })
}

/// `profile` of HEVC.
pub(super) fn hevc_profile(profile: u8) -> Option<&'static str> {
    Some(match profile {
        1 => "Main",
        2 => "Main 10",
        3 => "Main Still Picture",
        4 => "Rext",
        9 => "Scc",
        _ => return None,
    })
}

/// `profile` of VVC, as later versions of ffprobe have it.
pub(super) fn vvc_profile(profile: u8) -> Option<&'static str> {
    Some(match profile {
        1 => "Main 10",
        33 => "Main 10 4:4:4",
        _ => return None,
    })
}

/// `profile` of AV1.
pub(super) fn av1_profile(profile: u8) -> Option<&'static str> {
    ["Main", "High", "Professional"]
        .get(usize::from(profile))
        .copied()
}

/// `profile` of AAC, by audio object type.
pub(super) fn aac_profile(
    object_type: u8,
    sbr: bool,
    parametric_stereo: bool,
) -> Option<&'static str> {
    Some(match object_type {
        _ if parametric_stereo => "HE-AACv2",
        _ if sbr => "HE-AAC",
        1 => "Main",
        2 => "LC",
        3 => "SSR",
        4 => "LTP",
        23 => "LD",
        39 => "ELD",
        42 => "xHE-AAC",
        _ => return None,
    })
}

/// `channel_layout` of AAC by channel configuration.
pub(super) fn aac_layout(configuration: u8, channels: u32) -> Option<&'static str> {
    Some(match configuration {
        1 if channels == 2 => "stereo",
        1 => "mono",
        2 => "stereo",
        3 => "3.0",
        4 => "4.0",
        5 => "5.0",
        6 => "5.1",
        // By the letter wide; but what is meant is not, and the decoder knows.
        7 => "7.1",
        11 => "6.1(back)",
        12 => "7.1",
        _ => return None,
    })
}

/// `channel_layout` of AAC with a program configuration.
pub(super) fn program_layout(program: Program) -> Option<&'static str> {
    let Program {
        front,
        side,
        back,
        lfe,
    } = program;
    Some(match (front, side, back, lfe) {
        (1, 0, 0, 0) => "mono",
        (2, 0, 0, 0) => "stereo",
        (2, 0, 0, 1) => "2.1",
        (3, 0, 0, 0) => "3.0",
        (3, 0, 0, 1) => "3.1",
        (3, 0, 1, 0) => "4.0",
        (3, 0, 1, 1) => "4.1",
        (2, 0, 2, 0) => "quad",
        (2, 2, 0, 0) => "quad(side)",
        (3, 0, 2, 0) => "5.0",
        (3, 0, 2, 1) => "5.1",
        (3, 2, 0, 0) => "5.0(side)",
        (3, 2, 0, 1) => "5.1(side)",
        (3, 2, 1, 1) => "6.1",
        (3, 2, 2, 0) => "7.0",
        (3, 2, 2, 1) => "7.1",
        (5, 0, 2, 1) => "7.1(wide)",
        _ => return None,
    })
}

/// `channel_layout` in the order of Vorbis, which Opus has.
pub(super) fn vorbis_layout(channels: u32) -> Option<&'static str> {
    Some(match channels {
        1 => "mono",
        2 => "stereo",
        3 => "3.0",
        4 => "quad",
        5 => "5.0",
        6 => "5.1",
        7 => "6.1",
        8 => "7.1",
        _ => return None,
    })
}

/// `channel_layout` of FLAC.
pub(super) fn flac_layout(channels: u32) -> Option<&'static str> {
    Some(match channels {
        5 => "5.0(side)",
        6 => "5.1(side)",
        other => return vorbis_layout(other),
    })
}

/// `channel_layout` of AC-3 by audio coding mode.
pub(super) fn ac3_layout(mode: u8, lfe: bool) -> Option<&'static str> {
    Some(match (mode, lfe) {
        (0 | 2, false) => "stereo",
        (1, false) => "mono",
        (3, false) => "3.0",
        (4, false) => "3.0(back)",
        (5, false) => "4.0",
        (6, false) => "quad(side)",
        (7, false) => "5.0(side)",
        (0 | 2, true) => "2.1",
        (3, true) => "3.1",
        (5, true) => "4.1",
        (7, true) => "5.1(side)",
        _ => return None,
    })
}

/// `channel_layout` where only the number is known.
pub(super) fn default_layout(channels: u32) -> Option<&'static str> {
    vorbis_layout(channels)
}

/// Languages of the numbers below 0x400, which `QuickTime` has in the place of three letters.
const QUICKTIME_LANGUAGES: [&str; 24] = [
    "eng", "fra", "ger", "ita", "dut", "sve", "spa", "dan", "por", "nor", "heb", "jpn", "ara",
    "fin", "gre", "ice", "mlt", "tur", "hrv", "chi", "urd", "hin", "tha", "kor",
];

/// Tag `language` of what `mdhd` has; empty where that is no language.
pub(super) fn language(letters: &str) -> String {
    if letters.bytes().all(|letter| letter.is_ascii_lowercase()) {
        return letters.to_owned();
    }
    let number = letters
        .bytes()
        .fold(0, |number, letter| number << 5 | usize::from(letter & 0x1f));
    QUICKTIME_LANGUAGES
        .get(number)
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_letters_or_numbers() {
        assert_eq!(language("deu"), "deu");
        assert_eq!(language("```"), "eng");
        assert_eq!(language("``b"), "ger");
        assert_eq!(language("\x7f\x7f\x7f"), "");
    }
}
