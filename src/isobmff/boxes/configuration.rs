//! What a decoder has to know before the first sample: `avcC`, `esds` and the like.

use crate::isobmff::{BoxRef, Cause, FourCc, Reader, Result, limits, through_mp4};

/// The configuration of any codec that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// `avcC`.
    Avc(AvcC),
    /// `hvcC`.
    Hevc(HvcC),
    /// `vvcC`.
    Vvc(VvcC),
    /// `av1C`.
    Av1(Av1C),
    /// `vpcC`.
    Vp(VpcC),
    /// `esds`.
    Mpeg4(Esds),
    /// `dOps`.
    Opus(DOps),
    /// `dfLa`.
    Flac(DfLa),
    /// `dac3`, as it is.
    Ac3(Vec<u8>),
    /// `dec3`, as it is.
    Ec3(Vec<u8>),
    /// `vttC`: the header of the `WebVTT` file.
    WebVtt(String),
    /// Fields of `stpp`.
    Ttml(Stpp),
    /// `uri ` of `urim`: what the metadata are.
    Uri(String),
}

impl Configuration {
    /// Reads a configuration box; `None` if the type is none of these.
    ///
    /// # Errors
    ///
    /// Its fields do not go with its length, or it is over [`limits::CONFIGURATION`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Option<Self>> {
        let mut reader = source.reader();
        Ok(Some(match &source.kind.0 {
            b"avcC" => Self::Avc(through_mp4::avcc(bounded(source)?)?),
            b"hvcC" => Self::Hevc(HvcC::decode(bounded(source)?)?),
            b"vvcC" => Self::Vvc(VvcC::decode(bounded(source)?)?),
            b"av1C" => Self::Av1(Av1C::decode(bounded(source)?)?),
            b"vpcC" => Self::Vp(VpcC::decode(source)?),
            b"esds" => Self::Mpeg4(Esds::decode(bounded(source)?)?),
            b"dOps" => Self::Opus(DOps::decode(source)?),
            b"dfLa" => Self::Flac(DfLa::decode(source)?),
            b"dac3" => Self::Ac3(bounded(source)?.payload().to_vec()),
            b"dec3" => Self::Ec3(bounded(source)?.payload().to_vec()),
            b"vttC" => Self::WebVtt(text(bounded(source)?.payload())),
            b"uri " => {
                bounded(source)?;
                reader.version_and_flags(0)?;
                Self::Uri(text(reader.text()))
            }
            _ => return Ok(None),
        }))
    }

    /// Reads what `stpp` has instead of a box. The reader is left where boxes go on.
    pub(super) fn of_fields(kind: FourCc, reader: &mut Reader<'_>) -> Option<Self> {
        if kind != b"stpp" || reader.left().len() > limits::CONFIGURATION {
            return None;
        }
        Some(Self::Ttml(Stpp {
            namespace: text(reader.text()),
            schema_location: text(reader.text()),
            auxiliary_mime_types: text(reader.text()),
        }))
    }
}

fn bounded<'b, 'a>(source: &'b BoxRef<'a>) -> Result<&'b BoxRef<'a>> {
    let limit = limits::CONFIGURATION;
    if source.bytes().len() > limit {
        return Err(source.error(Cause::TooLarge {
            size: u64::try_from(source.bytes().len()).unwrap_or(u64::MAX),
            limit: u64::try_from(limit).unwrap_or(u64::MAX),
        }));
    }
    Ok(source)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// H.264 configuration (`avcC`). ISO/IEC 14496-15.
///
/// | field                 | bits      | unit                          |
/// |-----------------------|-----------|-------------------------------|
/// | configurationVersion  | 8         | 1                             |
/// | profile, compatibility, level | 3 x 8 | second to fourth byte of the SPS |
/// | lengthSizeMinusOne    | 2         | bytes of a NAL length, less one |
/// | SPS                   | 5 + n     | count, then 16-bit length and NAL each |
/// | PPS                   | 8 + n     | same                          |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcC {
    /// `profile_idc`.
    pub profile: u8,
    /// The constraint flags.
    pub compatibility: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Bytes of the length before every NAL unit.
    pub nal_length_size: u8,
    /// Sequence parameter sets, NAL header included.
    pub sps: Vec<Vec<u8>>,
    /// Picture parameter sets, NAL header included.
    pub pps: Vec<Vec<u8>>,
}

/// A list of NAL units of one type, in `hvcC` and `vvcC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NalArray {
    /// All units of the type are here, none in the samples.
    pub complete: bool,
    /// NAL unit type.
    pub nal_type: u8,
    /// The units, header included.
    pub nals: Vec<Vec<u8>>,
}

/// Reads the 16-bit lengths and NAL units of one array.
fn nals(reader: &mut Reader<'_>, count: u16) -> Result<Vec<Vec<u8>>> {
    let mut nals = Vec::new();
    for _ in 0..count {
        let len = usize::from(reader.u16()?);
        nals.push(reader.bytes(len)?.to_vec());
    }
    Ok(nals)
}

/// HEVC configuration (`hvcC`). ISO/IEC 14496-15.
///
/// | field                         | bits | unit                         |
/// |-------------------------------|------|------------------------------|
/// | configurationVersion          | 8    | 1                            |
/// | profile space, tier, idc      | 2 1 5 |                             |
/// | compatibility flags           | 32   | most significant = profile 0 |
/// | constraint flags              | 48   |                              |
/// | level                         | 8    | thirty times the level       |
/// | ...                           | 8 bytes | segmentation, parallelism, chroma, depths, rate |
/// | lengthSizeMinusOne            | 2    |                              |
/// | arrays                        | 8 + n | [`NalArray`]                |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HvcC {
    /// 0 for all defined profiles.
    pub profile_space: u8,
    /// High tier.
    pub high_tier: bool,
    /// `general_profile_idc`.
    pub profile: u8,
    /// Profiles a decoder may be of; bit 31 is profile 0.
    pub compatibility: u32,
    /// 48 bits, the first byte first.
    pub constraints: [u8; 6],
    /// Thirty times the level.
    pub level: u8,
    /// 0 monochrome, 1 = 4:2:0, 2 = 4:2:2, 3 = 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample.
    pub bit_depth_luma: u8,
    /// Bits of a chroma sample.
    pub bit_depth_chroma: u8,
    /// Bytes of the length before every NAL unit.
    pub nal_length_size: u8,
    /// Parameter sets and SEI.
    pub arrays: Vec<NalArray>,
}

impl HvcC {
    /// NAL unit type of a sequence parameter set.
    pub const SPS: u8 = 33;

    /// Reads an `hvcC` box.
    ///
    /// # Errors
    ///
    /// It is too short. So for all below.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.skip(1)?;
        let profile = reader.u8()?;
        let compatibility = reader.u32()?;
        let constraints = reader.array()?;
        let level = reader.u8()?;
        reader.skip(3)?;
        let chroma_format = reader.u8()? & 0x03;
        let bit_depth_luma = (reader.u8()? & 0x07).saturating_add(8);
        let bit_depth_chroma = (reader.u8()? & 0x07).saturating_add(8);
        reader.skip(2)?;
        let nal_length_size = (reader.u8()? & 0x03).saturating_add(1);
        let mut arrays = Vec::new();
        for _ in 0..reader.u8()? {
            let kind = reader.u8()?;
            let count = reader.u16()?;
            arrays.push(NalArray {
                complete: kind & 0x80 != 0,
                nal_type: kind & 0x3f,
                nals: nals(&mut reader, count)?,
            });
        }
        Ok(Self {
            profile_space: profile >> 6,
            high_tier: profile & 0x20 != 0,
            profile: profile & 0x1f,
            compatibility,
            constraints,
            level,
            chroma_format,
            bit_depth_luma,
            bit_depth_chroma,
            nal_length_size,
            arrays,
        })
    }

    /// The first sequence parameter set.
    #[must_use]
    pub fn sps(&self) -> Option<&[u8]> {
        let array = self
            .arrays
            .iter()
            .find(|array| array.nal_type == Self::SPS)?;
        array.nals.first().map(Vec::as_slice)
    }
}

/// VVC configuration (`vvcC`), a full box. ISO/IEC 14496-15.
///
/// | field                | bits | when                                       |
/// |----------------------|------|--------------------------------------------|
/// | reserved             | 5    | ones                                       |
/// | lengthSizeMinusOne   | 2    |                                            |
/// | ptl_present_flag     | 1    |                                            |
/// | ols_idx, num_sublayers, constant_frame_rate, chroma_format_idc | 9 3 2 2 | ptl present |
/// | bit_depth_minus8     | 3, 5 reserved | ptl present                       |
/// | native_ptl           |      | ptl present                                |
/// | max picture width, height, avg_frame_rate | 3 x 16 | ptl present         |
/// | arrays               |      | [`NalArray`]; one unit and no count for DCI and OPI |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VvcC {
    /// Bytes of the length before every NAL unit.
    pub nal_length_size: u8,
    /// What is said about profile and picture.
    pub ptl: Option<VvcPtl>,
    /// Parameter sets.
    pub arrays: Vec<NalArray>,
}

/// Profile, tier, level and picture of a [`VvcC`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VvcPtl {
    /// `general_profile_idc`.
    pub profile: u8,
    /// High tier.
    pub high_tier: bool,
    /// `general_level_idc`: sixteen times major, plus three times minor.
    pub level: u8,
    /// 0 monochrome, 1 = 4:2:0, 2 = 4:2:2, 3 = 4:4:4.
    pub chroma_format: u8,
    /// Bits of a sample.
    pub bit_depth: u8,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

impl VvcC {
    /// NAL unit type of a sequence parameter set.
    pub const SPS: u8 = 15;

    /// Reads a `vvcC` box.
    ///
    /// # Errors
    ///
    /// As [`HvcC::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(0)?;
        let first = reader.u8()?;
        let ptl = match first & 1 {
            0 => None,
            _ => Some(VvcPtl::read(&mut reader)?),
        };
        let mut arrays = Vec::new();
        for _ in 0..reader.u8()? {
            let kind = reader.u8()?;
            let nal_type = kind & 0x1f;
            // Decoding capability and operating point information: one unit each, not counted.
            let count = if matches!(nal_type, 12 | 13) {
                1
            } else {
                reader.u16()?
            };
            arrays.push(NalArray {
                complete: kind & 0x80 != 0,
                nal_type,
                nals: nals(&mut reader, count)?,
            });
        }
        Ok(Self {
            nal_length_size: ((first >> 1) & 0x03).saturating_add(1),
            ptl,
            arrays,
        })
    }

    /// The first sequence parameter set.
    #[must_use]
    pub fn sps(&self) -> Option<&[u8]> {
        let array = self
            .arrays
            .iter()
            .find(|array| array.nal_type == Self::SPS)?;
        array.nals.first().map(Vec::as_slice)
    }
}

impl VvcPtl {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let packed = reader.u16()?;
        let sublayers = (packed >> 4) & 0x07;
        let depth = reader.u8()?;
        let constraint_len = usize::from(reader.u8()? & 0x3f);
        let profile = reader.u8()?;
        let level = reader.u8()?;
        reader.skip(constraint_len)?;
        if sublayers > 1 {
            // One bit for each sublayer but the highest, most significant first, then their levels.
            let present = reader.u8()?;
            let levels = (0..sublayers.saturating_sub(1))
                .filter(|at| present & (0x80 >> at) != 0)
                .count();
            reader.skip(levels)?;
        }
        let subprofiles = usize::from(reader.u8()?);
        reader.skip(subprofiles.saturating_mul(4))?;
        let (width, height) = (reader.u16()?, reader.u16()?);
        reader.skip(2)?;
        Ok(Self {
            profile: profile >> 1,
            high_tier: profile & 1 != 0,
            level,
            chroma_format: u8::try_from(packed & 0x03).unwrap_or(0),
            bit_depth: (depth >> 5).saturating_add(8),
            width,
            height,
        })
    }
}

/// AV1 configuration (`av1C`). AV1 in ISOBMFF.
///
/// | field                    | bits | unit                    |
/// |--------------------------|------|-------------------------|
/// | marker, version          | 1 7  | 0x81                    |
/// | seq_profile              | 3    |                         |
/// | seq_level_idx_0          | 5    |                         |
/// | seq_tier_0               | 1    |                         |
/// | high_bitdepth, twelve_bit | 1 1 |                         |
/// | monochrome               | 1    |                         |
/// | chroma_subsampling_x, _y | 1 1  |                         |
/// | chroma_sample_position   | 2    |                         |
/// | initial presentation delay | 8  |                         |
/// | configOBUs               | 8 n  | sequence header OBU     |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Av1C {
    /// 0 Main, 1 High, 2 Professional.
    pub profile: u8,
    /// `seq_level_idx`.
    pub level: u8,
    /// High tier.
    pub high_tier: bool,
    /// 8, 10 or 12 bits.
    pub bit_depth: u8,
    /// No chroma.
    pub monochrome: bool,
    /// Chroma is halved horizontally, vertically.
    pub subsampling: (bool, bool),
    /// 0 unknown, 1 vertical, 2 colocated.
    pub chroma_sample_position: u8,
    /// OBUs.
    pub obus: Vec<u8>,
}

impl Av1C {
    /// Reads an `av1C` box.
    ///
    /// # Errors
    ///
    /// As [`HvcC::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.skip(1)?;
        let profile = reader.u8()?;
        let bits = reader.u8()?;
        reader.skip(1)?;
        Ok(Self {
            profile: profile >> 5,
            level: profile & 0x1f,
            high_tier: bits & 0x80 != 0,
            bit_depth: match (bits & 0x40 != 0, bits & 0x20 != 0) {
                (false, _) => 8,
                (true, false) => 10,
                (true, true) => 12,
            },
            monochrome: bits & 0x10 != 0,
            subsampling: (bits & 0x08 != 0, bits & 0x04 != 0),
            chroma_sample_position: bits & 0x03,
            obus: reader.left().to_vec(),
        })
    }
}

/// VP8 and VP9 configuration (`vpcC`), a full box. VP codec ISO media file format binding.
///
/// | field                    | bits | unit                        |
/// |--------------------------|------|-----------------------------|
/// | profile                  | 8    |                             |
/// | level                    | 8    | ten times the level         |
/// | bitDepth                 | 4    |                             |
/// | chromaSubsampling        | 3    | 0, 1 = 4:2:0; 2 = 4:2:2; 3 = 4:4:4 |
/// | videoFullRangeFlag       | 1    |                             |
/// | colourPrimaries          | 8    |                             |
/// | transferCharacteristics  | 8    |                             |
/// | matrixCoefficients       | 8    |                             |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VpcC {
    /// 0 to 3.
    pub profile: u8,
    /// Ten times the level.
    pub level: u8,
    /// 8, 10 or 12.
    pub bit_depth: u8,
    /// See the table.
    pub chroma_subsampling: u8,
    /// All values are used.
    pub full_range: bool,
    /// Code point.
    pub primaries: u8,
    /// Code point.
    pub transfer: u8,
    /// Code point.
    pub matrix: u8,
}

impl VpcC {
    /// Reads a `vpcC` box.
    ///
    /// # Errors
    ///
    /// As [`HvcC::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(1)?;
        let (profile, level, bits) = (reader.u8()?, reader.u8()?, reader.u8()?);
        Ok(Self {
            profile,
            level,
            bit_depth: bits >> 4,
            chroma_subsampling: (bits >> 1) & 0x07,
            full_range: bits & 1 != 0,
            primaries: reader.u8()?,
            transfer: reader.u8()?,
            matrix: reader.u8()?,
        })
    }
}

/// MPEG-4 elementary stream descriptor (`esds`), a full box. ISO/IEC 14496-14, 14496-1.
///
/// ```text
/// ES descriptor (3)
///   decoder configuration (4)   object type, bit rates
///     decoder specific (5)      AudioSpecificConfig
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Esds {
    /// 0 in a file.
    pub es_id: u16,
    /// What it is: 0x40 MPEG-4 audio, 0x6b MP3, ...
    pub object_type: u8,
    /// Bits per second.
    pub max_bitrate: u32,
    /// Bits per second.
    pub avg_bitrate: u32,
    /// For the decoder: an `AudioSpecificConfig`.
    pub specific: Vec<u8>,
}

impl Esds {
    /// Reads an `esds` box.
    ///
    /// # Errors
    ///
    /// A descriptor is cut, or the first is none of an elementary stream.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(0)?;
        let mut es = descriptor(&mut reader)?;
        if es.0 != 3 {
            return Err(source.error(Cause::Value("expected an elementary stream descriptor")));
        }
        let mut found = Self {
            es_id: es.1.u16()?,
            ..Self::default()
        };
        let flags = es.1.u8()?;
        if flags & 0x80 != 0 {
            es.1.skip(2)?;
        }
        if flags & 0x40 != 0 {
            let len = usize::from(es.1.u8()?);
            es.1.skip(len)?;
        }
        if flags & 0x20 != 0 {
            es.1.skip(2)?;
        }
        while !es.1.is_empty() {
            let (tag, mut decoder) = descriptor(&mut es.1)?;
            if tag != 4 {
                continue;
            }
            found.object_type = decoder.u8()?;
            decoder.skip(4)?;
            found.max_bitrate = decoder.u32()?;
            found.avg_bitrate = decoder.u32()?;
            while !decoder.is_empty() {
                let (tag, specific) = descriptor(&mut decoder)?;
                if tag == 5 {
                    found.specific = specific.left().to_vec();
                }
            }
        }
        Ok(found)
    }
}

/// Tag and content of a descriptor. Its length comes in up to four bytes of seven bits.
fn descriptor<'a>(reader: &mut Reader<'a>) -> Result<(u8, Reader<'a>)> {
    let tag = reader.u8()?;
    let mut len: usize = 0;
    for _ in 0..4 {
        let byte = reader.u8()?;
        len = (len << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let offset = reader.offset();
    let path = *reader.path();
    Ok((tag, Reader::new(reader.bytes(len)?, offset, path)))
}

/// Opus configuration (`dOps`). Opus in ISOBMFF.
///
/// | field                | bits | unit                     |
/// |----------------------|------|--------------------------|
/// | Version              | 8    | 0                        |
/// | OutputChannelCount   | 8    |                          |
/// | PreSkip              | 16   | samples at 48 kHz        |
/// | InputSampleRate      | 32   | hertz, for information   |
/// | OutputGain           | 16   | 8.8 dB, signed           |
/// | ChannelMappingFamily | 8    |                          |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DOps {
    /// Channels.
    pub channels: u8,
    /// Samples at 48 kHz to drop at the start.
    pub pre_skip: u16,
    /// Hertz before encoding.
    pub input_sample_rate: u32,
    /// 0 mono or stereo, 1 surround.
    pub mapping_family: u8,
}

impl DOps {
    /// Reads a `dOps` box.
    ///
    /// # Errors
    ///
    /// As [`HvcC::decode`].
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.skip(1)?;
        let channels = reader.u8()?;
        let pre_skip = reader.u16()?;
        let input_sample_rate = reader.u32()?;
        reader.skip(2)?;
        Ok(Self {
            channels,
            pre_skip,
            input_sample_rate,
            mapping_family: reader.u8()?,
        })
    }
}

/// FLAC configuration (`dfLa`), a full box: metadata blocks, STREAMINFO first. FLAC in ISOBMFF.
///
/// | field in STREAMINFO | bits | unit              |
/// |---------------------|------|-------------------|
/// | block and frame sizes | 80 |                   |
/// | sample rate         | 20   | hertz             |
/// | channels            | 3    | less one          |
/// | bits per sample     | 5    | less one          |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DfLa {
    /// Hertz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Bits of a sample.
    pub bits_per_sample: u8,
}

impl DfLa {
    /// Reads a `dfLa` box.
    ///
    /// # Errors
    ///
    /// It is too short, or its first block is not STREAMINFO.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(0)?;
        if reader.u8()? & 0x7f != 0 {
            return Err(reader.error(Cause::Value("expected a STREAMINFO block first")));
        }
        reader.skip(3)?;
        reader.skip(10)?;
        let packed = reader.u32()?;
        let low = |value: u32| u8::try_from(value).unwrap_or(0);
        Ok(Self {
            sample_rate: packed >> 12,
            channels: low((packed >> 9) & 0x07).saturating_add(1),
            bits_per_sample: low((packed >> 4) & 0x1f).saturating_add(1),
        })
    }
}

/// Fields of a TTML sample entry (`stpp`). ISO/IEC 14496-30.
///
/// | field                | bits | unit                             |
/// |----------------------|------|----------------------------------|
/// | namespace            | text | space-separated, ends with NUL   |
/// | schema_location      | text | same                             |
/// | auxiliary_mime_types | text | same                             |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stpp {
    /// XML namespaces.
    pub namespace: String,
    /// Where their schemas are.
    pub schema_location: String,
    /// Types of images in the samples.
    pub auxiliary_mime_types: String,
}
