//! The CMAF header: `ftyp` and a `moov` that announces fragments.

use crate::isobmff::boxes::{FileType, Hdlr, Mdhd, Mvhd, Tkhd, Trex};
use crate::isobmff::{BoxRef, Cause, Children, Error, FourCc, Result, check, limits};

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
    /// What kind: `vide`, `soun`, `text`, `subt`, `meta`.
    pub handler: FourCc,
    /// Name of the handler, for people.
    pub handler_name: String,
    /// Ticks per second.
    pub timescale: u32,
    /// Three letters, `und` when not known.
    pub language: String,
    /// Type of the first sample entry (`avc1`, `mp4a`, ...); `None` if there is none.
    pub codec: Option<FourCc>,
    /// What holds where a fragment says nothing (`trex`).
    pub defaults: Option<Trex>,
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
        let root = crate::isobmff::BoxPath::ROOT;
        Err(Error::new(&root, end, Cause::Missing(b"moov".into())))
    }

    /// The header made of these two boxes; `None` if `moov` announces no fragments.
    ///
    /// # Errors
    ///
    /// A box in `moov` cannot be read, or one that every track needs is missing.
    pub fn from_boxes(brands: Option<FileType>, moov: &BoxRef<'_>) -> Result<Option<Self>> {
        check(moov)?;
        let Some(mvex) = moov.child(b"mvex")? else {
            return Ok(None);
        };
        let mut defaults = Vec::new();
        let mut tracks = Vec::new();
        for child in mvex.children() {
            let child = child?;
            if child.kind == b"trex" && defaults.len() < limits::TRACKS {
                defaults.push(Trex::decode(&child)?);
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
        Ok(Some(Self {
            brands,
            movie_timescale: Mvhd::decode(&moov.expect(b"mvhd")?)?.timescale,
            tracks,
        }))
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
        let stsd = mdia.expect(b"minf")?.expect(b"stbl")?.expect(b"stsd")?;
        let mut entries = stsd.reader();
        entries.version_and_flags(1)?;
        entries.u32()?;
        let first = Children::of(&entries).next().transpose()?;
        Ok(Self {
            id: tkhd.track_id,
            handler: hdlr.handler,
            handler_name: hdlr.name,
            timescale: mdhd.timescale,
            language: mdhd.language,
            codec: first.map(|entry| entry.kind),
            defaults: defaults
                .iter()
                .find(|trex| trex.track_id == tkhd.track_id)
                .copied(),
        })
    }
}
