//! Sample entries: what a track is coded with (`stsd` and what it holds).

use crate::isobmff::{BoxRef, Cause, Children, Error, FourCc, Result, limits};

use super::configuration::Configuration;
use super::protection::Sinf;
use super::visual::{Clli, Colr, Fiel, Mdcv, Pasp};

/// Sample description (`stsd`), in `stbl`. ISO/IEC 14496-12.
///
/// | field       | bits | unit                |
/// |-------------|------|---------------------|
/// | entry_count | 32   |                     |
/// | entries     |      | [`SampleEntry`]     |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stsd {
    /// At most [`limits::SAMPLE_ENTRIES`].
    pub entries: Vec<SampleEntry>,
}

impl Stsd {
    /// Reads an `stsd` box.
    ///
    /// # Errors
    ///
    /// The entries are no boxes, or their number is not the one given.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        reader.version_and_flags(1)?;
        let count = reader.count(8)?;
        let entries = Children::of(&reader)
            .take(limits::SAMPLE_ENTRIES)
            .map(|entry| entry.map(|entry| SampleEntry::decode(&entry)))
            .collect::<Result<Vec<_>>>()?;
        if u64::from(count) != u64::try_from(entries.len()).unwrap_or(0) {
            return Err(source.error(Cause::Value(
                "the number of sample entries is not the entry_count, or over the limit",
            )));
        }
        Ok(Self { entries })
    }
}

/// One entry of [`Stsd`]: coding name, dimensions or rate, and the boxes behind them.
///
/// A box in it that cannot be read does not spoil the rest; it is told in `troubles`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleEntry {
    /// Type of the entry: `avc1`, `mp4a`, `encv`, ...
    pub kind: FourCc,
    /// For video.
    pub visual: Option<Visual>,
    /// For audio.
    pub audio: Option<Audio>,
    /// What the decoder needs to know (`avcC`, `esds`, ...).
    pub configuration: Option<Configuration>,
    /// How it is encrypted (`sinf`).
    pub protection: Option<Sinf>,
    /// Shape of a pixel.
    pub pasp: Option<Pasp>,
    /// Colour.
    pub colr: Option<Colr>,
    /// Field order, from `QuickTime`; ffmpeg writes it.
    pub fiel: Option<Fiel>,
    /// Light level of the content.
    pub clli: Option<Clli>,
    /// Colour volume of the mastering display.
    pub mdcv: Option<Mdcv>,
    /// Buffer size and bit rates.
    pub btrt: Option<Btrt>,
    /// What could not be read, at most [`SampleEntry::MOST_TROUBLES`].
    pub troubles: Vec<Error>,
}

/// Fields of a visual sample entry, 70 bytes behind the data reference index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visual {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Name of the encoder, up to 31 bytes; often empty.
    pub compressor: String,
}

/// Fields of an audio sample entry, 20 bytes behind the data reference index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audio {
    /// Channels; the codec configuration knows better.
    pub channels: u16,
    /// Bits of a sample, 16 where it means nothing.
    pub sample_size: u16,
    /// Hertz.
    pub sample_rate: u32,
}

/// Bit rates (`btrt`). ISO/IEC 14496-12.
///
/// | field        | bits | unit            |
/// |--------------|------|-----------------|
/// | bufferSizeDB | 32   | bytes           |
/// | maxBitrate   | 32   | bits per second |
/// | avgBitrate   | 32   | bits per second |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Btrt {
    /// Bytes.
    pub buffer_size: u32,
    /// Bits per second over any one second.
    pub max_bitrate: u32,
    /// Bits per second over all.
    pub avg_bitrate: u32,
}

/// How the fields before the child boxes are laid out.
enum Layout {
    Visual,
    Audio,
    /// Strings or nothing.
    Text,
    /// Not known: nothing behind the data reference index is read.
    Unknown,
}

impl SampleEntry {
    /// Most troubles that are told.
    pub const MOST_TROUBLES: usize = 8;

    /// Reads one entry.
    #[must_use]
    pub fn decode(source: &BoxRef<'_>) -> Self {
        let mut entry = Self {
            kind: source.kind,
            ..Self::default()
        };
        if let Err(error) = entry.read(source) {
            entry.troubles.push(error);
        }
        entry
    }

    /// The coding: the type of the entry, or the type it had before it was encrypted.
    #[must_use]
    pub fn format(&self) -> FourCc {
        self.protection
            .as_ref()
            .map_or(self.kind, |protection| protection.original_format)
    }

    fn read(&mut self, source: &BoxRef<'_>) -> Result<()> {
        let mut reader = source.reader();
        // Six reserved bytes and the data reference index.
        reader.skip(8)?;
        match layout(source.kind) {
            Layout::Visual => {
                reader.skip(16)?;
                let (width, height) = (reader.u16()?, reader.u16()?);
                reader.skip(14)?;
                let name = reader.bytes(32)?;
                reader.skip(4)?;
                let len = name.first().map_or(0, |len| usize::from(*len));
                let name = name.get(1..).unwrap_or_default();
                let name = name.get(..len).unwrap_or(name);
                self.visual = Some(Visual {
                    width,
                    height,
                    compressor: String::from_utf8_lossy(name).into_owned(),
                });
            }
            Layout::Audio => {
                let version = reader.u16()?;
                reader.skip(6)?;
                let (channels, sample_size) = (reader.u16()?, reader.u16()?);
                reader.skip(4)?;
                let rate = reader.u32()?;
                self.audio = Some(Audio {
                    channels,
                    sample_size,
                    sample_rate: rate >> 16,
                });
                // Sound description versions 1 and 2 of QuickTime have more fields.
                match version {
                    1 => reader.skip(16)?,
                    2 => reader.skip(36)?,
                    _ => {}
                }
            }
            Layout::Text => {
                self.configuration = Configuration::of_fields(source.kind, &mut reader);
            }
            Layout::Unknown => return Ok(()),
        }
        for child in Children::of(&reader) {
            let child = child?;
            if let Err(error) = self.read_child(&child)
                && self.troubles.len() < Self::MOST_TROUBLES
            {
                self.troubles.push(error);
            }
        }
        Ok(())
    }

    fn read_child(&mut self, child: &BoxRef<'_>) -> Result<()> {
        match &child.kind.0 {
            // QuickTime puts the esds of AAC one level down.
            b"wave" => {
                if let Some(esds) = child.child(b"esds")? {
                    self.configuration = Configuration::decode(&esds)?;
                }
            }
            b"sinf" => self.protection = Some(Sinf::decode(child)?),
            b"pasp" => self.pasp = Some(Pasp::decode(child)?),
            b"colr" => {
                // A second one may hold an ICC profile; the first that is understood counts.
                let colr = Colr::decode(child)?;
                self.colr = self.colr.take().or(colr);
            }
            b"fiel" => self.fiel = Some(Fiel::decode(child)?),
            b"clli" => self.clli = Some(Clli::decode(child)?),
            b"mdcv" => self.mdcv = Some(Mdcv::decode(child)?),
            b"btrt" => self.btrt = Some(Btrt::decode(child)?),
            _ => {
                if let Some(configuration) = Configuration::decode(child)? {
                    self.configuration = Some(configuration);
                }
            }
        }
        Ok(())
    }
}

impl Btrt {
    /// Reads a `btrt` box.
    ///
    /// # Errors
    ///
    /// It is too short.
    pub fn decode(source: &BoxRef<'_>) -> Result<Self> {
        let mut reader = source.reader();
        Ok(Self {
            buffer_size: reader.u32()?,
            max_bitrate: reader.u32()?,
            avg_bitrate: reader.u32()?,
        })
    }
}

fn layout(kind: FourCc) -> Layout {
    match &kind.0 {
        b"avc1" | b"avc2" | b"avc3" | b"avc4" | b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" | b"dva1"
        | b"dvav" | b"vvc1" | b"vvi1" | b"av01" | b"dav1" | b"vp08" | b"vp09" | b"mp4v"
        | b"s263" | b"jpeg" | b"mjpg" | b"encv" => Layout::Visual,
        b"mp4a" | b"Opus" | b"fLaC" | b"ac-3" | b"ec-3" | b"ac-4" | b"alac" | b"mha1" | b"mhm1"
        | b"dtsc" | b"dtse" | b"dtsh" | b"dtsl" | b"dtsx" | b"ipcm" | b"fpcm" | b"sowt"
        | b"twos" | b".mp3" | b"samr" | b"sawb" | b"enca" => Layout::Audio,
        b"stpp" | b"wvtt" | b"urim" | b"evte" => Layout::Text,
        _ => Layout::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::build::{boxed, concat, full};

    #[test]
    fn a_box_that_cannot_be_read_does_not_spoil_the_others() {
        let pasp = boxed(b"pasp", &[0, 0, 0, 4, 0, 0, 0, 3]);
        let broken = boxed(b"avcC", &[1, 77, 64, 12, 0xff, 0xe1, 0, 9]);
        let entry = boxed(b"avc1", &concat(&[vec![0; 78], broken, pasp]));
        let found = SampleEntry::decode(&BoxRef::top(&entry, 0).unwrap());
        assert_eq!(
            found.pasp.map(|pasp| (pasp.h_spacing, pasp.v_spacing)),
            Some((4, 3))
        );
        assert_eq!(found.configuration, None);
        let troubles: Vec<_> = found.troubles.iter().map(ToString::to_string).collect();
        assert_eq!(troubles, ["avc1 > avcC at byte 102: need 9 bytes, 0 left"]);
    }

    #[test]
    fn troubles_are_limited() {
        let entry = boxed(
            b"avc1",
            &concat(&[vec![0; 78], boxed(b"pasp", &[]).repeat(1000)]),
        );
        let found = SampleEntry::decode(&BoxRef::top(&entry, 0).unwrap());
        assert_eq!(found.troubles.len(), SampleEntry::MOST_TROUBLES);
    }

    #[test]
    fn an_encrypted_entry_knows_what_it_was() {
        let tenc = full(
            b"tenc",
            1,
            0,
            &concat(&[&[0, 0x19, 1, 0][..], &[7; 16], &[2, 9, 9]]),
        );
        let sinf = concat(&[
            boxed(b"frma", b"hvc1"),
            full(b"schm", 0, 0, b"cbcs\0\x01\0\0"),
            boxed(b"schi", &tenc),
        ]);
        let entry = boxed(b"encv", &concat(&[vec![0; 78], boxed(b"sinf", &sinf)]));
        let found = SampleEntry::decode(&BoxRef::top(&entry, 0).unwrap());
        assert_eq!(
            (found.kind, found.format()),
            (b"encv".into(), b"hvc1".into())
        );
        let protection = found.protection.unwrap();
        assert_eq!(protection.scheme, Some((b"cbcs".into(), 0x0001_0000)));
        let tenc = protection.tenc.unwrap();
        assert_eq!((tenc.pattern, tenc.key_id), ((1, 9), [7; 16]));
        assert_eq!(
            (tenc.is_protected, tenc.iv_size, tenc.constant_iv),
            (true, 0, vec![9, 9])
        );
    }

    #[test]
    fn a_wrong_number_of_entries_is_refused() {
        let entry = boxed(b"avc1", &[0; 78]);
        for (count, fine) in [(0u32, false), (1, true), (2, false)] {
            let stsd = full(b"stsd", 0, 0, &concat(&[&count.to_be_bytes()[..], &entry]));
            let source = BoxRef::top(&stsd, 0).unwrap();
            assert_eq!(Stsd::decode(&source).is_ok(), fine, "{count}");
        }
    }
}
