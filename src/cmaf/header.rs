//! The CMAF header: `ftyp` and a `moov` that announces fragments.

use crate::isobmff::boxes::{
    ChunkOffsets, Ctts, Edit, Elst, FileType, Hdlr, Mdhd, Mvhd, SampleEntry, Stsd, Stsz, Stts,
    Tkhd, Trex,
};
use crate::isobmff::{BoxPath, BoxRef, Cause, Children, Error, FourCc, Result, check, limits};

/// What a header says about the fragments that follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackHeader {
    /// `ftyp`; `None` where the file has none.
    pub brands: Option<FileType>,
    /// Ticks per second of the movie's own clock (`mvhd`).
    pub movie_timescale: u32,
    /// The tracks, in file order. CMAF has one; muxed files have more.
    pub tracks: Vec<Track>,
}

/// One track of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The number fragments name it by.
    pub id: u32,
    /// It is enabled.
    pub enabled: bool,
    /// Size of the presentation in whole pixels; 0 for what is not seen.
    pub display_size: (u32, u32),
    /// What kind: `vide`, `soun`, `text`, `subt`, `meta`.
    pub handler: FourCc,
    /// Name of the handler, for people.
    pub handler_name: String,
    /// Ticks per second.
    pub timescale: u32,
    /// Three letters, `und` when not known.
    pub language: String,
    /// Coding of the first sample entry (`avc1`, `mp4a`, ...), as it was before encryption; `None` if
    /// there is none.
    pub codec: Option<FourCc>,
    /// The sample entries.
    pub entries: Vec<SampleEntry>,
    /// The edit list; usually empty.
    pub edits: Vec<Edit>,
    /// The samples that `moov` itself describes: none in a CMAF header.
    pub table: Option<SampleTable>,
    /// What holds where a fragment says nothing (`trex`).
    pub defaults: Option<Trex>,
}

/// Sums over the samples of a progressive file's track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleTable {
    /// Number of samples.
    pub sample_count: u64,
    /// Ticks.
    pub duration: u64,
    /// Bytes.
    pub size: u64,
    /// Ticks of the first samples, at most [`SampleTable::FIRST`] of them.
    pub first_durations: Vec<u32>,
    /// Presentation minus decode time of as many, in ticks; empty where all are 0.
    pub first_offsets: Vec<i64>,
    /// Where the first sample stands in the file, and its bytes.
    pub first_sample: Option<(u64, u32)>,
}

impl TrackHeader {
    /// Reads the header at the front of `bytes`: everything up to and with `moov`.
    ///
    /// # Errors
    ///
    /// A box cannot be read; there is no `moov`; or it announces no fragments (`mvex` is missing),
    /// as in a progressive file.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut brands = None;
        for found in Children::top(bytes, 0) {
            let found = found?;
            match &found.kind.0 {
                b"ftyp" => brands = Some(FileType::decode(&found)?),
                b"moov" => {
                    let missing = || found.error(Cause::Missing(b"mvex".into()));
                    return Self::from_boxes(brands, &found)?.ok_or_else(missing);
                }
                _ => {}
            }
        }
        let end = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Err(Error::new(
            &BoxPath::ROOT,
            end,
            Cause::Missing(b"moov".into()),
        ))
    }

    /// The header made of these two boxes; `None` if `moov` announces no fragments.
    ///
    /// # Errors
    ///
    /// A box in `moov` cannot be read, or one that every track needs is missing.
    pub fn from_boxes(brands: Option<FileType>, moov: &BoxRef<'_>) -> Result<Option<Self>> {
        check(moov)?;
        match moov.child(b"mvex")? {
            Some(_) => Self::of_movie(brands, moov).map(Some),
            None => Ok(None),
        }
    }

    /// As [`TrackHeader::from_boxes`], whether fragments are announced or not.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn of_movie(brands: Option<FileType>, moov: &BoxRef<'_>) -> Result<Self> {
        check(moov)?;
        let mut defaults = Vec::new();
        let mut tracks = Vec::new();
        if let Some(mvex) = moov.child(b"mvex")? {
            for child in mvex.children() {
                let child = child?;
                if child.kind == b"trex" && defaults.len() < limits::TRACKS {
                    defaults.push(Trex::decode(&child)?);
                }
            }
        }
        for child in moov.children() {
            let child = child?;
            if child.kind == b"trak" {
                if tracks.len() == limits::TRACKS {
                    return Err(child.error(Cause::TooMany));
                }
                tracks.push(Track::read(&child, &defaults)?);
            }
        }
        Ok(Self {
            brands,
            movie_timescale: Mvhd::decode(&moov.expect(b"mvhd")?)?.timescale,
            tracks,
        })
    }

    /// The track with this number.
    #[must_use]
    pub fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }
}

impl Track {
    fn read(trak: &BoxRef<'_>, defaults: &[Trex]) -> Result<Self> {
        let tkhd = Tkhd::decode(&trak.expect(b"tkhd")?)?;
        let mdia = trak.expect(b"mdia")?;
        let mdhd = Mdhd::decode(&mdia.expect(b"mdhd")?)?;
        let hdlr = Hdlr::decode(&mdia.expect(b"hdlr")?)?;
        let stbl = mdia.expect(b"minf")?.expect(b"stbl")?;
        let entries = Stsd::decode(&stbl.expect(b"stsd")?)?.entries;
        let edits = match trak.child(b"edts")? {
            Some(edts) => match edts.child(b"elst")? {
                Some(elst) => Elst::decode(&elst)?.edits,
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        Ok(Self {
            id: tkhd.track_id,
            enabled: tkhd.flags & Tkhd::ENABLED != 0,
            display_size: (tkhd.width >> 16, tkhd.height >> 16),
            handler: hdlr.handler,
            handler_name: hdlr.name,
            timescale: mdhd.timescale,
            language: mdhd.language,
            codec: entries.first().map(SampleEntry::format),
            entries,
            edits,
            table: SampleTable::read(&stbl)?,
            defaults: defaults
                .iter()
                .find(|trex| trex.track_id == tkhd.track_id)
                .copied(),
        })
    }
}

impl SampleTable {
    /// Most samples that are kept one by one: rate and reordering show in the first few.
    pub const FIRST: usize = 64;

    /// Adds up the tables of `stbl`; `None` if they are empty.
    fn read(stbl: &BoxRef<'_>) -> Result<Option<Self>> {
        let mut sum = Self::default();
        if let Some(stts) = stbl.child(b"stts")? {
            let stts = Stts::decode(&stts)?;
            sum.first_durations = stts
                .runs
                .iter()
                .flat_map(|(count, ticks)| (0..*count).map(|_| *ticks))
                .take(Self::FIRST)
                .collect();
            for (count, ticks) in stts.runs {
                let (count, ticks) = (u64::from(count), u64::from(ticks));
                sum.sample_count = sum.sample_count.saturating_add(count);
                sum.duration = sum.duration.saturating_add(count.saturating_mul(ticks));
            }
        }
        if let Some(stsz) = stbl.child(b"stsz")? {
            let stsz = Stsz::decode(&stsz)?;
            let first = match stsz.sample_size {
                0 => stsz.sizes.first().copied(),
                all => Some(all),
            };
            let offset = first_chunk(stbl)?;
            sum.first_sample = offset.zip(first);
            sum.size = if stsz.sample_size == 0 {
                let sizes = stsz.sizes.iter().map(|size| u64::from(*size));
                sizes.fold(0, u64::saturating_add)
            } else {
                u64::from(stsz.sample_size).saturating_mul(u64::from(stsz.sample_count))
            };
        }
        if let Some(ctts) = stbl.child(b"ctts")? {
            let ctts = Ctts::decode(&ctts)?;
            sum.first_offsets = ctts
                .runs
                .iter()
                .flat_map(|(count, offset)| (0..*count).map(|_| *offset))
                .take(Self::FIRST)
                .collect();
        }
        Ok((sum.sample_count > 0).then_some(sum))
    }
}

/// Where the first chunk stands in the file.
fn first_chunk(stbl: &BoxRef<'_>) -> Result<Option<u64>> {
    let offsets = match (stbl.child(b"stco")?, stbl.child(b"co64")?) {
        (Some(short), _) => ChunkOffsets::decode(&short)?,
        (None, Some(long)) => ChunkOffsets::decode(&long)?,
        (None, None) => return Ok(None),
    };
    Ok(offsets.0.first().copied())
}
