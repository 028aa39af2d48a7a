//! What the configuration of a codec says, before it is put into ffprobe's fields.

use crate::cmaf::Track;
use crate::cmaf::codec::aac::AudioSpecificConfig;
use crate::cmaf::codec::ac3::Ac3;
use crate::cmaf::codec::h264::FieldOrder;
use crate::cmaf::codec::{Chroma, Colour, Picture, av1, h264, hevc, nals};
use crate::isobmff::boxes::{Av1C, AvcC, Configuration, HvcC, SampleEntry, VpcC, VvcC};

use super::names;

/// A codec in ffprobe's words.
#[derive(Default)]
pub(super) struct Codec {
    pub(super) name: Option<&'static str>,
    pub(super) profile: Option<String>,
    pub(super) level: Option<u32>,
    pub(super) picture: Option<Picture>,
    pub(super) field_order: Option<&'static str>,
    pub(super) audio: Option<Audio>,
    /// The decoder reports the size before cropping: where the header has it.
    pub(super) shows_coded_size: bool,
    /// The decoder takes the parameter sets into account even where there are no samples.
    pub(super) read_at_once: bool,
}

/// What a codec says about sound.
pub(super) struct Audio {
    pub(super) sample_rate: u32,
    pub(super) channels: u32,
    pub(super) layout: Option<&'static str>,
}

impl Codec {
    /// The codec of a track's first sample entry. `head` is the beginning of its first sample, where
    /// parameter sets are that the header does not have; it may be empty.
    pub(super) fn of(track: &Track, entry: &SampleEntry, head: &[u8]) -> Self {
        // What is encrypted says nothing.
        let head = if entry.protection.is_some() {
            &[]
        } else {
            head
        };
        match &entry.configuration {
            Some(Configuration::Avc(avcc)) => Self::h264(avcc, head),
            Some(Configuration::Hevc(hvcc)) => Self::hevc(hvcc, head),
            Some(Configuration::Vvc(vvcc)) => Self::vvc(vvcc),
            Some(Configuration::Av1(av1c)) => Self::av1(av1c, head),
            Some(Configuration::Vp(vpcc)) => Self::vp(vpcc, entry),
            Some(Configuration::Mpeg4(esds)) => Self::mpeg4(esds.object_type, &esds.specific),
            Some(Configuration::Opus(dops)) => Self {
                audio: Some(Audio {
                    sample_rate: 48_000,
                    channels: u32::from(dops.channels),
                    layout: names::vorbis_layout(u32::from(dops.channels)),
                }),
                ..Self::named("opus")
            },
            Some(Configuration::Flac(dfla)) => Self {
                audio: Some(Audio {
                    sample_rate: dfla.sample_rate,
                    channels: u32::from(dfla.channels),
                    layout: names::flac_layout(u32::from(dfla.channels)),
                }),
                ..Self::named("flac")
            },
            Some(Configuration::Ac3(payload)) => Self {
                audio: Ac3::read(payload).map(Audio::ac3),
                ..Self::named("ac3")
            },
            Some(Configuration::Ec3(payload)) => Self {
                audio: Ac3::read_enhanced(payload).map(Audio::ac3),
                ..Self::named("eac3")
            },
            Some(Configuration::WebVtt(_)) => Self::named("webvtt"),
            Some(Configuration::Ttml(_)) => Self::named("ttml"),
            Some(Configuration::Uri(_)) | None => Self {
                name: track.codec.and_then(|kind| names::by_tag(&kind.0)),
                ..Self::default()
            },
        }
    }

    fn named(name: &'static str) -> Self {
        Self {
            name: Some(name),
            ..Self::default()
        }
    }

    fn h264(avcc: &AvcC, head: &[u8]) -> Self {
        let inside = || nals(head, avcc.nal_length_size);
        let parameter_set = |kind: u8| inside().find(|nal| nal[0] & 0x1f == kind);
        let sps = avcc.sps.first().map(Vec::as_slice);
        let sps = sps.or_else(|| parameter_set(7)).and_then(h264::Sps::read);
        let pps = avcc.pps.first().map(Vec::as_slice);
        let bottom_order = pps
            .or_else(|| parameter_set(8))
            .and_then(h264::bottom_field_order_present)
            .unwrap_or(false);
        let order = sps
            .as_ref()
            .and_then(|sps| sps.field_order(inside(), bottom_order));
        let (profile, constraints, level) = match &sps {
            Some(sps) => (sps.profile, sps.constraints, sps.level),
            None => (avcc.profile, avcc.compatibility, avcc.level),
        };
        Self {
            profile: Some(words(names::h264_profile(profile, constraints), profile)),
            level: Some(u32::from(level)),
            picture: sps.map(|sps| sps.picture),
            field_order: order.map(|order| match order {
                FieldOrder::Progressive => "progressive",
                FieldOrder::TopFirst => "tt",
                FieldOrder::BottomFirst => "bb",
            }),
            ..Self::named("h264")
        }
    }

    fn hevc(hvcc: &HvcC, head: &[u8]) -> Self {
        let inside =
            || nals(head, hvcc.nal_length_size).find(|nal| (nal[0] >> 1) & 0x3f == HvcC::SPS);
        let sps = hvcc.sps().or_else(inside).and_then(hevc::Sps::read);
        Self {
            profile: Some(words(names::hevc_profile(hvcc.profile), hvcc.profile)),
            level: Some(u32::from(hvcc.level)),
            picture: sps.map(|sps| sps.picture),
            shows_coded_size: hvcc.sps().is_some(),
            read_at_once: true,
            ..Self::named("hevc")
        }
    }

    fn vvc(vvcc: &VvcC) -> Self {
        let ptl = vvcc.ptl.as_ref();
        Self {
            profile: ptl.map(|ptl| words(names::vvc_profile(ptl.profile), ptl.profile)),
            level: ptl.map(|ptl| u32::from(ptl.level)),
            picture: ptl.map(|ptl| Picture {
                chroma: Chroma::from_idc(u32::from(ptl.chroma_format)).unwrap_or_default(),
                bit_depth: ptl.bit_depth,
                ..Picture::sized(u32::from(ptl.width), u32::from(ptl.height))
            }),
            ..Self::named("vvc")
        }
    }

    fn av1(av1c: &Av1C, head: &[u8]) -> Self {
        let header =
            av1::SequenceHeader::find(&av1c.obus).or_else(|| av1::SequenceHeader::find(head));
        Self {
            profile: names::av1_profile(av1c.profile).map(str::to_owned),
            level: Some(u32::from(av1c.level)),
            picture: header.map(|header| header.picture),
            ..Self::named("av1")
        }
    }

    fn vp(vpcc: &VpcC, entry: &SampleEntry) -> Self {
        let visual = entry.visual.clone().unwrap_or_default();
        let vp9 = entry.format() == b"vp09";
        Self {
            profile: vp9.then(|| format!("Profile {}", vpcc.profile)),
            level: (vpcc.level > 0).then_some(u32::from(vpcc.level)),
            picture: Some(Picture {
                chroma: match vpcc.chroma_subsampling {
                    2 => Chroma::C422,
                    3 => Chroma::C444,
                    _ => Chroma::C420,
                },
                bit_depth: vpcc.bit_depth,
                colour: Colour {
                    full_range: Some(vpcc.full_range),
                    primaries: u16::from(vpcc.primaries),
                    transfer: u16::from(vpcc.transfer),
                    matrix: u16::from(vpcc.matrix),
                },
                ..Picture::sized(u32::from(visual.width), u32::from(visual.height))
            }),
            ..Self::named(if vp9 { "vp9" } else { "vp8" })
        }
    }

    fn mpeg4(object_type: u8, specific: &[u8]) -> Self {
        let Some(name) = names::by_object_type(object_type) else {
            return Self::default();
        };
        let config = AudioSpecificConfig::read(specific).filter(|_| name == "aac");
        Self {
            profile: config.and_then(|config| {
                let sbr = config.sbr_rate.is_some();
                names::aac_profile(config.object_type, sbr, config.parametric_stereo)
                    .map(str::to_owned)
            }),
            audio: config.and_then(Audio::aac),
            ..Self::named(name)
        }
    }
}

impl Audio {
    fn aac(config: AudioSpecificConfig) -> Option<Self> {
        let channels = u32::from(config.channels()?);
        Some(Self {
            sample_rate: config.sbr_rate.unwrap_or(config.sample_rate),
            channels,
            layout: match config.program {
                Some(program) => names::program_layout(program),
                None => names::aac_layout(config.channel_configuration, channels),
            },
        })
    }

    fn ac3(ac3: Ac3) -> Self {
        Self {
            sample_rate: ac3.sample_rate,
            channels: u32::from(ac3.channels()),
            layout: names::ac3_layout(ac3.mode, ac3.lfe),
        }
    }
}

/// A profile's name, or its number where it has none.
fn words(name: Option<&'static str>, number: u8) -> String {
    name.map_or_else(|| number.to_string(), str::to_owned)
}
