//! One pass over an object: its header, and sums over its samples.

use std::io::{Read, Seek, SeekFrom};

use crate::cmaf::{Defaults, Track, TrackHeader, TrafSummary};
use crate::isobmff::boxes::{FileType, Moof, Traf};
use crate::isobmff::{self, BoxRef, Event, FourCc, Stream, check, limits};

use super::ProbeError;

/// Bytes read at once. Small, because what follows a `moof` is mostly passed over.
const PIECE: usize = 16 << 10;

/// What was found.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) brands: Option<FileType>,
    /// Ticks per second of edit list durations.
    pub(super) movie_timescale: u32,
    pub(super) tracks: Vec<(Track, Sums)>,
}

/// Sums over the samples of one track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) samples: u64,
    /// Ticks.
    pub(super) duration: u64,
    /// Bytes.
    pub(super) size: u64,
    pub(super) first: Option<First>,
    pub(super) rate: Rate,
}

/// Where a track starts, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    /// Decode time of the first sample.
    pub(super) decode_time: u64,
    /// Its composition offset.
    pub(super) offset: i64,
    /// How far the first fragment's offsets reach below zero.
    pub(super) negative: u64,
    /// The samples are in a table, not in fragments.
    pub(super) in_table: bool,
}

/// What the frame rate is told from: the first fragment, or the table of a progressive file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) samples: u64,
    pub(super) duration: u64,
    /// Largest number of ticks that divides every sample's duration.
    pub(super) tick: u64,
}

pub(super) fn walk(
    source: &mut (impl Read + Seek),
    size: u64,
    header: Option<TrackHeader>,
) -> Result<Facts, ProbeError> {
    let mut walk = Walk {
        lent: header,
        ..Walk::default()
    };
    let broken = walk.run(source, size)?;
    if !walk.started {
        return Err(ProbeError::NotMedia);
    }
    match (walk.header, broken) {
        (Some(_), _) => Ok(Facts {
            brands: walk.brands,
            movie_timescale: walk.movie_timescale,
            tracks: walk.tracks,
        }),
        (None, Some(error)) => Err(ProbeError::Broken(error)),
        (None, None) if walk.fragments => Err(ProbeError::HeaderMissing),
        (None, None) => Err(ProbeError::NotMedia),
    }
}

#[derive(Debug, Default)]
struct Walk {
    /// The first box is one that media files begin with.
    started: bool,
    fragments: bool,
    lent: Option<TrackHeader>,
    brands: Option<FileType>,
    header: Option<Defaults>,
    movie_timescale: u32,
    tracks: Vec<(Track, Sums)>,
    /// The last `moof`, until its media data is whole.
    pending: Option<Moof>,
}

fn keep(kind: FourCc) -> Option<usize> {
    match &kind.0 {
        b"moov" | b"moof" => Some(limits::WHOLE_BOX),
        b"ftyp" => Some(limits::SMALL_BOX),
        _ => None,
    }
}

impl Walk {
    /// Reads all boxes; gives the error that stopped it before the end, if one did.
    fn run(
        &mut self,
        source: &mut (impl Read + Seek),
        size: u64,
    ) -> Result<Option<isobmff::Error>, ProbeError> {
        source.rewind().map_err(ProbeError::Read)?;
        let mut stream = Stream::new(keep);
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        loop {
            let left = size - at;
            let pass = stream.to_pass().min(left);
            let mut piece = &[][..];
            if pass > PIECE as u64 {
                let by = i64::try_from(pass).unwrap_or(i64::MAX);
                source
                    .seek(SeekFrom::Current(by))
                    .map_err(ProbeError::Read)?;
                stream.pass(by.unsigned_abs());
                at += by.unsigned_abs();
            } else {
                let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let read = source.read(&mut buffer[..most]).map_err(ProbeError::Read)?;
                piece = &buffer[..read];
                at += read as u64;
                if read == 0 {
                    // Only a last mdat that goes to the end of the file becomes whole by that; any
                    // other box that is cut does not count.
                    return Ok(None);
                }
            }
            loop {
                match stream.next(&mut piece) {
                    Ok(Some(event)) => {
                        if let Err(error) = self.take(&event) {
                            return Ok(Some(error));
                        }
                        if !self.started {
                            return Ok(None);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return Ok(Some(error)),
                }
            }
        }
    }

    fn take(&mut self, event: &Event<'_>) -> isobmff::Result<()> {
        match event {
            Event::Start { header, .. } => {
                self.started |= matches!(
                    &header.kind.0,
                    b"ftyp"
                        | b"styp"
                        | b"moof"
                        | b"moov"
                        | b"prft"
                        | b"emsg"
                        | b"sidx"
                        | b"free"
                        | b"skip"
                        | b"mdat"
                        | b"wide"
                        | b"uuid"
                );
                Ok(())
            }
            Event::Whole(whole) => self.whole(whole),
            Event::Passed { kind, .. } => {
                if *kind == b"mdat"
                    && let Some(moof) = self.pending.take()
                {
                    self.add(&moof);
                }
                Ok(())
            }
        }
    }

    fn whole(&mut self, whole: &BoxRef<'_>) -> isobmff::Result<()> {
        match &whole.kind.0 {
            b"ftyp" => self.brands = Some(FileType::decode(whole)?),
            b"moov" if self.header.is_none() => {
                let header = TrackHeader::of_movie(self.brands.clone(), whole)?;
                self.begin(header);
            }
            b"moof" => {
                check(whole)?;
                self.fragments = true;
                self.pending = Some(Moof::decode(whole)?);
                if self.header.is_none()
                    && let Some(header) = self.lent.take()
                {
                    self.begin(header);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, header: TrackHeader) {
        self.header = Some(Defaults::of(&header));
        self.movie_timescale = header.movie_timescale;
        self.brands = self.brands.take().or(header.brands);
        self.tracks = header
            .tracks
            .into_iter()
            .map(|track| {
                let sums = Sums::of_table(&track);
                (track, sums)
            })
            .collect();
    }

    /// Adds a fragment whose media data is whole.
    fn add(&mut self, moof: &Moof) {
        let Some(defaults) = &self.header else {
            return;
        };
        for traf in &moof.trafs {
            let id = traf.tfhd.track_id;
            if let Some((_, sums)) = self.tracks.iter_mut().find(|(track, _)| track.id == id) {
                sums.add(traf, defaults);
            }
        }
    }
}

impl Sums {
    fn of_table(track: &Track) -> Self {
        let Some(table) = &track.table else {
            return Self::default();
        };
        Self {
            samples: table.sample_count,
            duration: table.duration,
            size: table.size,
            first: Some(First {
                decode_time: 0,
                offset: table.first_offset,
                negative: 0,
                in_table: true,
            }),
            rate: Rate {
                samples: table.sample_count,
                duration: table.duration,
                tick: table.tick,
            },
        }
    }

    fn add(&mut self, traf: &Traf, defaults: &Defaults) {
        let sum = TrafSummary::of(traf, defaults);
        if sum.sample_count == 0 {
            return;
        }
        let decode_time = sum.decode_time.unwrap_or(self.duration);
        self.first
            .get_or_insert_with(|| First::of(traf, decode_time));
        if self.rate.samples == 0 {
            self.rate = Rate {
                samples: sum.sample_count,
                duration: sum.duration,
                tick: sum.tick,
            };
        }
        self.samples = self.samples.saturating_add(sum.sample_count);
        self.duration = self.duration.saturating_add(sum.duration);
        self.size = self.size.saturating_add(sum.size);
    }
}

impl First {
    fn of(traf: &Traf, decode_time: u64) -> Self {
        let mut runs = traf.truns.iter().filter(|run| run.sample_count > 0);
        let offsets = traf.truns.iter().flat_map(|run| &run.composition_offsets);
        let lowest = offsets.copied().min().unwrap_or(0);
        Self {
            decode_time,
            offset: runs
                .next()
                .and_then(|run| run.composition_offsets.first())
                .copied()
                .unwrap_or(0),
            negative: if lowest < 0 { lowest.unsigned_abs() } else { 0 },
            in_table: false,
        }
    }
}
