//! The words ffprobe has for numbers.

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

/// `channel_layout` for a number of channels in the order that MPEG gives them.
pub(super) fn channel_layout(channels: u32) -> Option<&'static str> {
    Some(match channels {
        1 => "mono",
        2 => "stereo",
        3 => "3.0",
        4 => "4.0",
        5 => "5.0",
        6 => "5.1",
        7 => "6.1(back)",
        8 => "7.1",
        _ => return None,
    })
}
