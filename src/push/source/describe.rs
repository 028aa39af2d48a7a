//! What a track is, as manifests and headers say it.

use crate::cmaf::{self, codec};
use crate::isobmff::BoxRef;
use crate::isobmff::boxes::{Configuration, SampleEntry};
use crate::{Error, Kind, Result};

/// What a track shows or sounds like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::push) enum Shape {
    Video {
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
        /// The display's size as `tkhd` has it, 16.16.
        display: (u32, u32),
    },
    Audio {
        /// Hertz.
        rate: u32,
        channels: u16,
    },
}

/// A track that can be sent.
#[derive(Clone, Debug)]
pub(in crate::push) struct Track {
    /// `video`, `audio`; with a number from the second of its kind on.
    pub(in crate::push) name: String,
    pub(in crate::push) shape: Shape,
    /// Ticks per second.
    pub(in crate::push) timescale: u32,
    /// Three letters.
    pub(in crate::push) language: String,
    /// RFC 6381.
    pub(in crate::push) codec: String,
    /// The sample entry, byte for byte.
    pub(in crate::push) entry: Vec<u8>,
    /// Bits per second, as far as it is known.
    pub(in crate::push) bit_rate: u64,
    /// Ticks of the first sample.
    pub(in crate::push) sample_duration: u32,
    /// Ticks of audio at the beginning that only settle the decoder.
    pub(in crate::push) priming: u64,
}

/// Guesses for `@bandwidth` where nothing says it: it must be there before the first segment.
const VIDEO_BIT_RATE: u64 = 2_000_000;
const AUDIO_BIT_RATE: u64 = 128_000;

impl Track {
    pub(in crate::push) fn is_video(&self) -> bool {
        matches!(self.shape, Shape::Video { .. })
    }

    /// As a track is called in messages and by `--tracks`.
    pub(in crate::push) fn kind(&self) -> &'static str {
        match self.shape {
            Shape::Video { .. } => "video",
            Shape::Audio { .. } => "audio",
        }
    }

    /// What `trak` says; `None` for a track that is neither seen nor heard.
    ///
    /// # Errors
    /// It is encrypted, or has several sample entries, or none that is known.
    pub(super) fn read(header: &cmaf::Track, trak: &BoxRef<'_>) -> Result<Option<Self>> {
        let is_video = match &header.handler.0 {
            b"vide" => true,
            b"soun" => false,
            _ => return Ok(None),
        };
        let refused =
            |why: String| Error::new(Kind::Unsupported, format!("track {} {why}", header.id));
        let [entry] = header.entries.as_slice() else {
            return Err(refused(format!(
                "has {} sample entries: only tracks that keep one coding can be cut; make it one with ffmpeg -c copy, or code it anew",
                header.entries.len()
            )));
        };
        if entry.protection.is_some() || matches!(&entry.kind.0, b"encv" | b"enca") {
            return Err(refused(format!(
                "is encrypted ({}): only clear media can be cut; push what it was made of",
                entry.kind
            )));
        }
        if header.timescale == 0 {
            return Err(refused("has a timescale of 0".to_owned()));
        }
        let shape = match (is_video, &entry.visual, &entry.audio) {
            (true, Some(visual), _) => Shape::Video {
                width: visual.width,
                height: visual.height,
                display: display_size(trak)?,
            },
            (false, _, Some(audio)) => Shape::Audio {
                rate: if audio.sample_rate == 0 {
                    header.timescale
                } else {
                    audio.sample_rate
                },
                channels: channels(entry).unwrap_or(audio.channels),
            },
            _ => {
                return Err(refused(format!(
                    "is coded as {}, which is not known: leave it out with --tracks",
                    entry.kind
                )));
            }
        };
        let guess = if is_video {
            VIDEO_BIT_RATE
        } else {
            AUDIO_BIT_RATE
        };
        let told = entry
            .btrt
            .map(|rates| u64::from(rates.avg_bitrate.max(rates.max_bitrate)));
        Ok(Some(Self {
            name: String::new(),
            shape,
            timescale: header.timescale,
            language: header.language.clone(),
            codec: codec::codecs(entry),
            entry: without_es_id(entry_bytes(trak)?),
            bit_rate: told.filter(|rate| *rate > 0).unwrap_or(guess),
            sample_duration: 0,
            priming: 0,
        }))
    }
}

/// Channels by the configuration of the codec, which knows better than the fields of the entry.
fn channels(entry: &SampleEntry) -> Option<u16> {
    match &entry.configuration {
        Some(Configuration::Mpeg4(esds)) => {
            let config = codec::aac::AudioSpecificConfig::read(&esds.specific)?;
            config.channels().map(u16::from)
        }
        Some(Configuration::Opus(opus)) => Some(u16::from(opus.channels)),
        _ => None,
    }
}

/// Gives every track its name, in their order.
pub(super) fn name<'a>(tracks: impl Iterator<Item = &'a mut Track>) {
    let (mut videos, mut audios) = (0u32, 0u32);
    for track in tracks {
        let kind = track.kind();
        let count = if track.is_video() {
            &mut videos
        } else {
            &mut audios
        };
        *count += 1;
        track.name = match *count {
            1 => kind.to_owned(),
            n => format!("{kind}{n}"),
        };
    }
}

fn display_size(trak: &BoxRef<'_>) -> Result<(u32, u32)> {
    let tkhd = trak
        .expect(b"tkhd")
        .and_then(|tkhd| crate::isobmff::boxes::Tkhd::decode(&tkhd));
    let tkhd = tkhd.map_err(unreadable)?;
    Ok((tkhd.width, tkhd.height))
}

/// The first sample entry, as it stands in `stsd`.
fn entry_bytes(trak: &BoxRef<'_>) -> Result<Vec<u8>> {
    let find = || {
        let stsd = sample_table(trak)?.expect(b"stsd")?;
        let mut reader = stsd.reader();
        reader.version_and_flags(1)?;
        reader.u32()?;
        crate::isobmff::Children::of(&reader).next().transpose()
    };
    let entry = find().map_err(unreadable)?;
    entry
        .map(|entry| entry.bytes().to_vec())
        .ok_or_else(|| Error::new(Kind::Invalid, "a track has no sample entry"))
}

/// The sample entry with an ES_ID of 0 in its `esds`, as ISO/IEC 23000-19:2020 10.3.4 asks for; files give
/// the number of the track there.
fn without_es_id(mut entry: Vec<u8>) -> Vec<u8> {
    // Behind the type of the box: version and flags, the tag of the descriptor, its length in bytes whose
    // first bit says that there is one more, the ES_ID.
    let esds = entry.windows(4).position(|word| word == b"esds");
    let tag = esds.and_then(|at| entry.get_mut(at.checked_add(8)?..));
    if let Some([0x03, rest @ ..]) = tag {
        let length = rest.iter().take(4).position(|byte| byte & 0x80 == 0);
        if let Some([high, low]) = length.and_then(|at| rest.get_mut(at + 1..at + 3)) {
            (*high, *low) = (0, 0);
        }
    }
    entry
}

/// `stbl` of a `trak`.
pub(super) fn sample_table<'a>(trak: &BoxRef<'a>) -> crate::isobmff::Result<BoxRef<'a>> {
    trak.expect(b"mdia")?.expect(b"minf")?.expect(b"stbl")
}

/// An error of the boxes, as one of the source.
pub(super) fn unreadable(e: crate::isobmff::Error) -> Error {
    Error::new(
        Kind::Invalid,
        format!("this is no MP4 that can be read: {e}"),
    )
}
